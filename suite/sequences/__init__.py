"""Task sequences: what they are, how a data set becomes tasks, and which are registered."""

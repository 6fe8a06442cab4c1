"""The same number of trials for every strategy."""

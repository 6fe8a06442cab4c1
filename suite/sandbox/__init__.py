"""Running other people's code in a process of its own, with limits."""

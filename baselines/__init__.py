"""Published numbers: the paper's tables as data. Trains nothing."""

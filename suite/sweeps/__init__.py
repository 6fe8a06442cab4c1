"""One sequence at many update magnitudes."""

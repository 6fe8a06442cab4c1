"""Checking a submission: what its records alone can tell, and what re-running cells can."""

"""A run on a Ray cluster: see README.md in this folder."""

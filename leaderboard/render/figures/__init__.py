"""The figures: of a board, of the claim, and of a sweep; each of them in one module."""

"""Named random streams: the same on every device, and for every strategy.

Each random choice of the benchmark (class order, subset, permutation, noise, initial weights,
batch order) has a stream of its own, drawn on the CPU by NumPy's Philox from a key that is the
hash of its names. So strategies are compared on the same draws, and one choice more or less
never shifts another.
"""

import hashlib

import numpy as np


def stream(*names: str | int) -> np.random.Generator:
    """Return the generator whose key is the SHA-256 digest of ``names``."""
    text = "\x1f".join(str(name) for name in names)
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))

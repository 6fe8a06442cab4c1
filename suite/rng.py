"""Named random streams: the same on every device, and for every strategy.

Each random choice of the benchmark (class order, subset, permutation, noise, initial weights,
batch order) has its own stream: NumPy's Philox on the CPU, with the hash of the names of the
choice as its key. So all strategies are compared on the same draws, and adding or removing one
choice never shifts another.
"""

import hashlib

import numpy as np


def stream(*names: str | int) -> np.random.Generator:
    """Return a new generator, at its start, whose key is the SHA-256 digest of ``names``.

    >>> stream("class order", 0).permutation(5).tolist()  # the same on every machine
    [3, 1, 2, 4, 0]
    """
    text = "\x1f".join(str(name) for name in names)
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))

"""Random numbers that a pure function can draw: they follow from where they are asked for.

A number depends on the learner's key, on a name, on a moment of the training and on its place in
the tensor, and on nothing else. So a hook that draws twice gets the same, learners that are trained
together draw what each draws alone, and a recorded step draws anew whenever it is replayed.

The generator is SplitMix64 (Steele, Lea and Flood 2014, OOPSLA), whose n-th number is a function of
its seed and n. Integer arithmetic wraps in the same way on every device, so uniform numbers have
the same bits everywhere. Normal ones are the same up to rounding.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """Return an unsigned 64-bit integer as the signed one of the same bits."""
    return value - 2**64 if value >= 2**63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right as if it were unsigned."""
    shifted: Tensor = (value >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def _mixed(value: Tensor) -> Tensor:
    """Return SplitMix64's output of a state, int64."""
    value = (value ^ _shifted(value, 30)) * _FIRST
    value = (value ^ _shifted(value, 27)) * _SECOND
    return value ^ _shifted(value, 31)


@lru_cache(maxsize=256)
def _number_of(name: str) -> int:
    """Return 64 bits that a name stands for, as a signed integer."""
    return _signed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def bits(key: Tensor, moment: Tensor, name: str, count: int) -> Tensor:
    """Return ``count`` random 64-bit integers, int64, shape (count,).

    Args:
        key: int64, a scalar; that of the learner and task.
        moment: int64, a scalar; when they are drawn.
        name: what they are for.
        count: how many.

    >>> zero = torch.tensor(0)
    >>> one, other = (bits(zero, zero, name, 2).tolist() for name in ("mask", "order"))
    >>> one == other
    False
    """
    seed = _mixed(_mixed(key + _number_of(name)) + (moment + 1) * _GOLDEN)
    places = torch.arange(1, count + 1, device=key.device)
    return _mixed(seed + places * _GOLDEN)


def uniform(
    key: Tensor, moment: Tensor, name: str, shape: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """Return numbers in [0, 1), of ``shape``; the other arguments are those of ``bits``.

    They are multiples of 2**-24 in float32 and of 2**-53 in float64.
    """
    kept = 53 if dtype == torch.float64 else 24
    drawn = _shifted(bits(key, moment, name, math.prod(shape)), 64 - kept)
    return (drawn.to(dtype) * 2.0**-kept).reshape(tuple(shape))


def normal(
    key: Tensor, moment: Tensor, name: str, shape: Sequence[int], dtype: torch.dtype
) -> Tensor:
    """Return standard normal numbers, of ``shape``, by Box and Muller's transformation."""
    count = math.prod(shape)
    both = uniform(key, moment, name, (2, count), dtype)
    radius = torch.sqrt(-2 * torch.log1p(-both[0]))
    return (radius * torch.cos(2 * math.pi * both[1])).reshape(tuple(shape))

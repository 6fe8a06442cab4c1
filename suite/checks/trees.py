"""What hooks get and return, as trees of tensors that can be copied and compared."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Examples, Task, UpdatePlan


def copied(value: Any) -> Any:
    """Return a copy that shares no tensor and no container; gradients still flow through it."""
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    if isinstance(value, Examples):
        return Examples(*copied(opened(value)))
    if isinstance(value, Task):
        names = ("examples", "classes", "units", "initial", "noise")
        return replace(value, **{name: copied(getattr(value, name)) for name in names})
    return pytree.tree_map_only(Tensor, torch.clone, value)


def opened(value: Any) -> Any:
    """Return the same with tasks, examples and plans as tuples of what is in them."""
    if isinstance(value, tuple):
        return tuple(opened(part) for part in value)
    if isinstance(value, UpdatePlan):
        return value.share, value.restart
    if isinstance(value, Examples):
        return value.images, value.labels, value.allowed
    if isinstance(value, Task):
        tensors = (value.classes, value.units, value.initial, value.noise)
        return (opened(value.examples), *tensors)
    return value


def tensors(value: Any) -> list[Tensor]:
    """Return all tensors in a value, in order."""
    return [leaf for leaf in pytree.tree_leaves(opened(value)) if isinstance(leaf, Tensor)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values have the same containers, and tensors that agree bit by bit."""
    if pytree.tree_structure(opened(one)) != pytree.tree_structure(opened(other)):
        return False
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(_same_tensor(a.detach(), b.detach()) for a, b in pairs)


def all_finite(value: Any) -> bool:
    """Tell whether no tensor in a value holds NaN or infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(value))


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    equal = one == other
    return bool((equal | ((one != one) & (other != other))).all())  # NaN is the same as NaN

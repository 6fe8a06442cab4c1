"""Arguments and results of hooks as trees of tensors that can be copied and compared."""

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
        return Examples(*copied(unpacked(value)))
    if isinstance(value, Task):
        names = ("examples", "classes", "units", "initial", "noise")
        return replace(value, **{name: copied(getattr(value, name)) for name in names})
    return pytree.tree_map_only(Tensor, torch.clone, value)


def unpacked(value: Any) -> Any:
    """Return the value with tasks, examples and plans replaced by tuples of their tensors."""
    if isinstance(value, tuple):
        return tuple(unpacked(part) for part in value)
    if isinstance(value, UpdatePlan):
        return value.share, value.restart
    if isinstance(value, Examples):
        return value.images, value.labels, value.allowed
    if isinstance(value, Task):
        tensors = (value.classes, value.units, value.initial, value.noise)
        return (unpacked(value.examples), *tensors)
    return value


def tensors(value: Any) -> list[Tensor]:
    """Return all tensors in a value, in order.

    >>> len(tensors(({"a": torch.ones(2)}, "text", [torch.zeros(1)])))
    2
    """
    return [leaf for leaf in pytree.tree_leaves(unpacked(value)) if isinstance(leaf, Tensor)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values have the same structure and bitwise equal tensors.

    >>> same({"a": torch.ones(2)}, {"a": torch.ones(2)})
    True
    >>> same({"a": torch.ones(2)}, {"a": torch.ones(2).double()})
    False
    """
    if pytree.tree_structure(unpacked(one)) != pytree.tree_structure(unpacked(other)):
        return False
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(_same_tensor(a.detach(), b.detach()) for a, b in pairs)


def all_finite(value: Any) -> bool:
    """Tell whether no tensor in a value holds NaN or infinity.

    >>> all_finite([torch.tensor([1.0, torch.inf])])
    False
    """
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(value))


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    equal = one == other
    return bool((equal | ((one != one) & (other != other))).all())  # NaN counts as equal to NaN

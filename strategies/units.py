"""Units of the head, as rows of its parameters."""

from torch import Tensor

from driftboard.strategies.base import Task


def rows_of(units: Tensor, like: Tensor) -> Tensor:
    """Return units, bool, (head units,), shaped to broadcast over a parameter of the head.

    >>> import torch
    >>> rows_of(torch.tensor([True, False]), torch.zeros(2, 3)).shape
    torch.Size([2, 1])
    """
    return units.reshape((-1,) + (1,) * (like.ndim - 1))


def answering(task: Task) -> Tensor:
    """Return which units an answer on the task's images is chosen from, bool, (head units,)."""
    return task.examples.allowed.any(dim=0)

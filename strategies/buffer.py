"""A bounded buffer of examples: which are kept, how they are drawn, and how they may answer.

A buffer is a memory with one row per stored example: ``images`` as bytes, ``labels``, ``allowed``
(the units that answers were chosen from), ``priorities``, and what else its owner keeps of every
example. No row is empty: there are as many as examples were seen, until the buffer is full.

An example draws its priority once, when it is seen. The lowest ones stay, so that of all examples
seen so far each is kept with the same probability, as by reservoir sampling (Vitter 1985, ACM
TOMS 11), and which ones stay does not depend on their order.
"""

import torch
from torch import Tensor

from driftboard.strategies.base import Examples, Memory, Task

_PRIORITIES = 2**40
"""How many priorities there are: two of 10,000 examples share one in 1 of 20,000 buffers."""


def of_task(task: Task, **more: Tensor) -> Memory:
    """Return all examples of a task as a buffer, in their order.

    Args:
        task: what its examples are, and their random priorities.
        more: further tensors with a row per example, (n, ...), such as logits.

    Raises:
        ValueError: the task is a regression, which has no images.

    >>> from driftboard.suite.checks import example_task
    >>> {name: tuple(value.shape) for name, value in of_task(example_task()).items()}
    {'images': (24, 1, 5, 5), 'labels': (24,), 'allowed': (24, 6), 'priorities': (24,)}
    """
    if task.scaling is None:
        raise ValueError("only images can be stored, and this task has none")
    examples = task.examples
    return {
        "images": task.scaling.to_bytes(examples.images),
        "labels": examples.labels,
        "allowed": examples.allowed,
        "priorities": task.integers("priorities", _PRIORITIES, examples.labels.shape[0]),
        **more,
    }


def reservoir(stored: Memory, new: Memory, capacity: int) -> Memory:
    """Return a uniform choice of all examples that were ever offered to the buffer.

    Args:
        stored: what this function returned before; ``{}`` if nothing is stored.
        new: a buffer of further examples.
        capacity: how many are kept, at least 1.
    """
    both = _joined(stored, new)
    return rows(both, _lowest(both["priorities"], capacity))


def balanced(stored: Memory, new: Memory, capacity: int) -> Memory:
    """Return a choice of as equally many examples of every class as there are.

    Greedy: rank by rank, a class gives its examples by their priorities, as long as there is room;
    of the last rank the lowest priorities stay. The arguments are those of ``reservoir``. Of every
    class the examples that stay are a uniform choice of all that were offered.
    """
    both = _joined(stored, new)
    priorities = both["priorities"]
    units = torch.arange(both["allowed"].shape[1], device=priorities.device)
    order = priorities.argsort(stable=True)
    own = (both["labels"][order][:, None] == units).long()
    rank_in_order = ((own.cumsum(0) - 1) * own).sum(1)
    rank = rank_in_order[order.argsort(stable=True)]
    return rows(both, _lowest(rank * _PRIORITIES + priorities, capacity))


def drawn(task: Task, stored: Memory, count: int, name: str = "replay") -> Memory:
    """Return ``count`` rows of a buffer, each drawn uniformly from all, with replacement.

    They follow from the step and ``name``, see ``task.integers``.
    """
    return rows(stored, task.integers(name, stored["labels"].shape[0], count))


def examples_of(task: Task, stored: Memory) -> Examples:
    """Return the rows of a buffer as examples to train on during ``task``.

    In a class-incremental sequence an answer is chosen from the units of all tasks so far, also on
    images of earlier tasks; elsewhere from the units of the image's own task.
    """
    if task.scaling is None:
        raise ValueError("only images can be stored, and this task has none")
    images = task.scaling(stored["images"], task.examples.images.dtype)
    allowed = stored["allowed"]
    if task.answers.shape[0] > task.units.shape[0]:
        allowed = task.examples.allowed[:1].expand_as(allowed)
    return Examples(images, stored["labels"], allowed)


def together(one: Examples, other: Examples) -> Examples:
    """Return the examples of both, in this order."""
    return Examples(
        torch.cat([one.images, other.images]),
        torch.cat([one.labels, other.labels]),
        torch.cat([one.allowed, other.allowed]),
    )


def rows(buffer: Memory, places: Tensor) -> Memory:
    """Return some rows of a buffer, by their places, int64, (n,)."""
    return {name: value[places] for name, value in buffer.items()}


def _joined(stored: Memory, new: Memory) -> Memory:
    if not stored:
        return new
    return {name: torch.cat([stored[name], value]) for name, value in new.items()}


def _lowest(keys: Tensor, count: int) -> Tensor:
    """Return the places of the lowest keys, in ascending order of the keys; all if they are few."""
    return keys.argsort(stable=True)[:count]

"""PackNet: every task has weights of its own, which no later task moves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from driftboard.strategies.base import (
    Memory,
    Parameters,
    Query,
    Range,
    Strategy,
    Task,
    UpdatePlan,
)
from driftboard.strategies.units import rows_of

FREE = 2**15 - 1
"""The owner of a weight that no task owns, so that tasks compare with it as with a later one."""

SAMPLED = 256
"""From at most how many weights of a layer the threshold is found while a task trains."""


@dataclass(frozen=True)
class PackNet(Strategy):
    """Train the free weights, give the largest of them to the task, free the others for the next.

    The paper's (Mallya and Lazebnik 2018, arXiv 1711.05769): a task trains all free weights, of
    every layer the smallest ones are then pruned, the kept ones train on and stay fixed after the
    task. Biases and the parameters of norms stay as the first task left them. Images of a task
    are answered by the weights of that task and of those before it, so on sequences whose tests
    tell the task nothing is forgotten.

    Ours: the paper trains and retrains for a number of epochs each; here both together take the
    protocol's steps. While a task trains, the threshold of a layer is that of at most 256 evenly
    spread weights, since a sort of all at every step would cost more than the step. Where it is
    too high, a few per cent more than the share are pruned; where it is too low, the rest is pruned
    at the end and nothing retrains after that. Momentum is not reset at the pruning, so that in the
    few steps after it some weights near the threshold still change places. A weight that training
    leaves at 0 stays free. Of the head, which is not pruned, the rows of the task's units train;
    where tasks share units, so do their rows, and they forget. Where a test does not tell the task,
    all weights answer.

    Parameters:
        pruned: share of a layer's free weights that is pruned, in [0, 1); the paper's largest.
        retrained: share of the steps that is taken after the pruning, in [0, 1).
    """

    pruned: float = 0.75
    retrained: float = 0.5

    name: ClassVar[str] = "packnet"
    summary: ClassVar[str] = (
        "Each task trains weights of its own; those of earlier tasks are fixed."
    )
    search: ClassVar[Mapping[str, Range]] = {"pruned": Range(0.3, 0.95)}
    literature: ClassVar[str] = "Mallya and Lazebnik 2018, arXiv 1711.05769"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("pruned", "retrained"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field} must be in [0, 1), not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Note which weights are free."""
        owner = memory.get("owner") or {
            name: torch.full_like(value, FREE, dtype=torch.int16)
            for name, value in parameters.items()
            if self._is_weight(task, name, value)
        }
        free = {name: value == FREE for name, value in owner.items()}
        # How many of a sample are pruned stays the same throughout the task.
        count = {name: self._count(_sample(value)) for name, value in free.items()}
        return task.everything(), {"owner": owner, "free": free, "count": count}

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Let the gradient pass where a parameter is the task's to move."""
        head = task.network.blocks[-1].parameters
        result = {}
        for name, value in gradient.items():
            if name in memory["free"]:
                moves = memory["free"][name]
                if task.step is not None:  # a weight that has been pruned is 0 and stays so
                    early = task.step.number < self._first(task.step.total)
                    moves = moves & (early | (parameters[name] != 0))
                result[name] = torch.where(moves, value, 0.0)
            elif name in head:
                result[name] = torch.where(rows_of(task.classes, value), value, 0.0)
            else:
                result[name] = value if task.index == 0 else torch.zeros_like(value)
        return result

    def constrain(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Set the smallest free weights to 0, from the step of the pruning on."""
        if task.step is None:
            return parameters
        late = task.step.number + 1 >= self._first(task.step.total)
        result = dict(parameters)
        for name, free in memory["free"].items():
            threshold = _threshold(
                _sample(parameters[name]).abs(), _sample(free), memory["count"][name]
            )
            small = free & (parameters[name].abs() <= torch.where(late, threshold, -1.0))
            result[name] = torch.where(small, 0.0, parameters[name])
        return result

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Prune exactly; what is left of the free weights is the task's from now on."""
        solution, owner = dict(parameters), {}
        for name, free in memory["free"].items():
            size = parameters[name].abs()
            count = self._count(free.flatten())
            small = free & (size <= _threshold(size.flatten(), free.flatten(), count))
            solution[name] = torch.where(small, 0.0, parameters[name])
            own = torch.full_like(memory["owner"][name], task.index)
            owner[name] = torch.where(free & ~small, own, memory["owner"][name])
        return solution, {"owner": owner}

    def answer(self, query: Query, parameters: Parameters, memory: Memory) -> Tensor:
        """Answer with the weights of the images' task and of those before it."""
        if query.task is not None:
            kept = {
                name: torch.where(owner <= query.task, parameters[name], 0.0)
                for name, owner in memory["owner"].items()
            }
            parameters = {**parameters, **kept}
        return query.network.logits(parameters, query.images)

    def _is_weight(self, task: Task, name: str, value: Tensor) -> bool:
        return value.ndim > 1 and name not in task.network.blocks[-1].parameters

    def _first(self, steps: int) -> int:
        """Return how many of a task's steps are taken before the pruning."""
        return steps - round(self.retrained * steps)

    def _count(self, free: Tensor) -> Tensor:
        """Return how many of the weights are pruned, an int64 scalar."""
        # In double precision: 0.7 * 10 in single precision is not 7.
        return (free.sum().double() * self.pruned + 1e-9).floor().long()


def _threshold(size: Tensor, free: Tensor, count: Tensor) -> Tensor:
    """Return the largest of the ``count`` smallest sizes, a scalar; -1 of none.

    ``size`` and ``free`` have the shape (n,); sizes that are not free do not count.
    """
    ordered = torch.where(free, size, torch.inf).sort().values
    largest = ordered.gather(0, (count - 1).clamp_min(0)[None])[0]
    return torch.where(count > 0, largest, -1.0)


def _sample(value: Tensor) -> Tensor:
    """Return at most ``SAMPLED`` entries at equal distances, (n,); they fall on all columns."""
    every = -(-value.numel() // SAMPLED)
    columns = value[0].numel()
    while every > 1 and math.gcd(every, columns) > 1:
        every += 1
    return value.flatten()[::every]

"""Averaged gradient episodic memory: no step may raise the loss on stored examples."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.func import grad

from driftboard.strategies.base import Memory, Parameters, Strategy, Task
from driftboard.strategies.buffer import drawn, examples_of, of_task, reservoir


@dataclass(frozen=True)
class AGem(Strategy):
    """Take from a step's gradient what points against the gradient on stored examples.

    A-GEM (Chaudhry et al. 2019, arXiv 1812.00420, equation 11): with g the gradient of a batch and
    r that of stored examples, drawn anew at every step, g becomes ``g - (g.r / r.r) r`` where g.r
    is negative. All parameters that train count as one vector.

    Ours: r is over as many examples as a batch has (the paper draws more of them than its batches
    of 10 have), and what is stored is a reservoir of all tasks, where the paper stores as many
    examples of every class.

    Parameters:
        capacity: how many examples are stored in all, at least 1.
    """

    capacity: int = 100

    name: ClassVar[str] = "a-gem"
    summary: ClassVar[str] = "Every block trains, but not against the gradient of stored examples."
    literature: ClassVar[str] = "Chaudhry et al. 2019, arXiv 1812.00420"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "examples"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {self.capacity}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Project the gradient, where it points against that of stored examples."""
        if not memory:
            return gradient
        count = task.examples.labels.shape[0] if task.step is None else len(task.step.positions)
        stored = examples_of(task, drawn(task, memory, count))

        def loss(trained: Parameters) -> torch.Tensor:
            return task.loss(parameters | trained, stored)

        reference = grad(loss)({name: parameters[name] for name in gradient})
        along = _inner_product(gradient, reference)
        length = _inner_product(reference, reference)
        # Where the reference vanishes it is nothing that a gradient could point against.
        excess = torch.where(length > 0, along.clamp_max(0) / length, 0.0)
        return {name: value - excess * reference[name] for name, value in gradient.items()}

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Offer the task's examples to the reservoir."""
        return parameters, reservoir(memory, of_task(task), self.capacity)


def _inner_product(one: Parameters, other: Parameters) -> torch.Tensor:
    return torch.stack([(one[name] * other[name]).sum() for name in one]).sum()

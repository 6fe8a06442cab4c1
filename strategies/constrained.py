"""The family between the ends: bounded updates of constant size."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class Constrained(Strategy):
    """Move on every new task, but by less than plain training would.

    The paper's (arXiv 2602.20796): frozen and initialized training are the ends of a family of
    constrained updates, and some magnitude between them forgets least. Our reading: that paper's
    magnitude counts trainable parameters; here are the other ways to measure one, each of which
    can be used alone or together with others. They take effect from the second task on. A
    constant share is little more than a lower learning rate, so these are the controls that any
    rule for choosing the magnitude has to beat.

    A fraction of the finished update and a ball are different things: a projection after every
    step changes the path, a rescaling at the end doesn't, and of two tasks the closer one can
    want the larger fraction and still the smaller norm.

    Parameters:
        share: share of every step that every block takes, in [0, 1].
        first_block: the first block's share is multiplied by this, in [0, 1].
        fraction: alpha in [0, 1]; the solution is w_prev + alpha (w - w_prev), where w_prev is
            the last task's solution and w what training found.
        radius: parameters stay within this Euclidean distance of the last solution, all
            parameters taken together; 0 means no such bound.
    """

    share: float = 1.0
    first_block: float = 1.0
    fraction: float = 1.0
    radius: float = 0.0

    name: ClassVar[str] = "constrained"
    summary: ClassVar[str] = "Every block continues, by a constant share of what training would do."
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("share", "first_block", "fraction"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], not {getattr(self, field)}")
        if not self.radius >= 0:
            raise ValueError(f"radius must be at least 0, not {self.radius}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Give every block its constant share, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            first = ~task.last_blocks(task.block_count - 1)
            share = self.share * torch.where(first, self.first_block, 1.0)
            plan = UpdatePlan(share.to(plan.share.dtype), plan.restart)
        return plan, memory

    def constrain(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the nearest point of the ball; a point inside comes back bit by bit."""
        if self.radius == 0 or not memory:
            return parameters
        solution = memory["solution"]
        update = {name: value - solution[name] for name, value in parameters.items()}
        norm = torch.stack([value.square().sum() for value in update.values()]).sum().sqrt()
        # The quotient of the bound and the longer of bound and norm can't divide by 0.
        scale = self.radius / norm.clamp(min=self.radius)
        return {
            name: torch.where(norm <= self.radius, value, solution[name] + scale * update[name])
            for name, value in parameters.items()
        }

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Take the fraction of the update; remember the solution where it will be needed."""
        if self.fraction == 1 and self.radius == 0:
            return parameters, memory
        if self.fraction < 1 and memory:
            parameters = {
                name: last + self.fraction * (parameters[name] - last)
                for name, last in memory["solution"].items()
            }
        return parameters, {"solution": parameters}

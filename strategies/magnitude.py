"""Updates of bounded magnitude: a fraction of the finished update, and a ball around the last
solution.

Both bound how far all parameters together move on one task, from the second task on, and they
are different things: a projection after every step changes the path, a rescaling at the end does
not, and of two tasks the closer one can want the larger fraction and still the smaller norm.

The magnitude lies in the memory, under ``magnitude``, so that learners that are trained together
can have different ones: whoever starts them may put it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan

_LITERATURE = "After He, Bai, Yang 2026, arXiv 2602.20796"


@dataclass(frozen=True)
class Fraction(Strategy):
    """Take a fraction of the update that training found.

    The solution is ``w_prev + alpha (w - w_prev)``, where ``w_prev`` is the last task's solution
    and ``w`` what training found: the update magnitude of the project's linear theory. With a
    ``share`` training finds it by smaller steps. Constant, both are the control of ``hybrid``,
    which lets gradients choose the fraction.

    Parameters:
        fraction: alpha, in [0, 1].
        share: share of every step that every block takes from the second task on, in [0, 1].
    """

    fraction: float = 0.5
    share: float = 1.0

    name: ClassVar[str] = "fraction"
    summary: ClassVar[str] = "Every block continues; a fraction of the finished update is taken."
    search: ClassVar[Mapping[str, Range]] = {
        "fraction": Range(0.0, 1.0),
        "share": Range(0.03, 1.0, logarithmic=True),
    }
    literature: ClassVar[str] = _LITERATURE

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("fraction", "share"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Remember where the task starts; from the second task on take the share of each step."""
        plan, memory = _begun(task, parameters, memory, self.fraction)
        share = self.share if task.index > 0 else 1.0
        return UpdatePlan(share * plan.share, plan.restart), memory

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Take the fraction of the update."""
        if task.index > 0:
            parameters = {
                name: last + memory["magnitude"] * (parameters[name] - last)
                for name, last in memory["start"].items()
            }
        return parameters, memory


@dataclass(frozen=True)
class Ball(Strategy):
    """Stay within a Euclidean ball around the last solution, by projection after every step.

    Parameters:
        radius: of the ball, all parameters taken together; at least 0.
    """

    radius: float = 1.0

    name: ClassVar[str] = "ball"
    summary: ClassVar[str] = "Every block continues, within a ball around the last solution."
    literature: ClassVar[str] = _LITERATURE

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not self.radius >= 0:
            raise ValueError(f"radius must be at least 0, not {self.radius}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Remember where the task starts."""
        return _begun(task, parameters, memory, self.radius)

    def constrain(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the nearest point of the ball; a point inside comes back bit by bit."""
        if task.index == 0:
            return parameters
        start, radius = memory["start"], memory["magnitude"]
        update = {name: value - start[name] for name, value in parameters.items()}
        norm = torch.stack([value.square().sum() for value in update.values()]).sum().sqrt()
        # Where the norm is 0 so is the update, and any scale does.
        scale = radius / torch.where(norm > 0, norm, 1.0)
        return {
            name: torch.where(norm <= radius, value, start[name] + scale * update[name])
            for name, value in parameters.items()
        }


def _begun(
    task: Task, parameters: Parameters, memory: Memory, magnitude: float
) -> tuple[UpdatePlan, Memory]:
    own: Tensor = task.noise.new_tensor(magnitude)
    return task.everything(), {"magnitude": own} | memory | {"start": parameters}

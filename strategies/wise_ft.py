"""WiSE-FT: what training found, interpolated towards the solution that all tasks began from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task
from driftboard.strategies.units import rows_of


@dataclass(frozen=True)
class WiseFt(Strategy):
    """Take a point between the first task's solution and what training found.

    The paper's (Wortsman et al. 2022, arXiv 2109.01903, section 3): ``(1 - alpha) theta_0 + alpha
    theta_1``, where theta_0 is a pre-trained network and theta_1 the one that was fine-tuned from
    it, once. Ours: theta_0 is the first task's solution, the nearest that a sequence has to a
    pre-trained network, and the next task goes on from the interpolated point. ``fraction`` has
    the last solution in its place. Of the head only the rows of the task's units are interpolated,
    so that those of earlier tasks do not shrink from task to task.

    Parameters:
        alpha: 1 is plain training, 0 keeps the first task's solution; in [0, 1].
    """

    alpha: float = 0.5

    name: ClassVar[str] = "wise-ft"
    summary: ClassVar[str] = "Every block continues; a point towards the first solution is taken."
    search: ClassVar[Mapping[str, Range]] = {"alpha": Range(0.0, 1.0)}
    literature: ClassVar[str] = "Wortsman et al. 2022, arXiv 2109.01903"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], not {self.alpha}")

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Interpolate, from the second task on; remember the first solution."""
        if task.index == 0:
            return parameters, {"first": parameters}
        solution = {
            name: torch.lerp(memory["first"][name], value, self.alpha)
            for name, value in parameters.items()
        }
        for name in task.network.blocks[-1].parameters:
            value = parameters[name]
            if not task.regression:
                solution[name] = torch.where(rows_of(task.classes, value), solution[name], value)
        return solution, memory

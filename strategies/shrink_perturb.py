"""Shrink and perturb: a task starts at the last solution, made smaller and noisy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.units import answering, rows_of


@dataclass(frozen=True)
class ShrinkPerturb(Strategy):
    """Start every later task at ``shrinking`` times the last solution plus normal noise.

    The paper's (Ash and Adams 2020, arXiv 1910.08475, section 4): ``lambda theta + p`` with p of
    standard deviation sigma, before training goes on with more data; its figures use lambda 0.6
    and sigma 0.01. Nothing there protects earlier tasks: it is for learning new ones. Ours: head
    units that may not answer on the task stay as they are, because training would not bring them
    back.

    Parameters:
        shrinking: lambda, in [0, 1]; 1 with noise 0 is plain training.
        noise: sigma, at least 0.
    """

    shrinking: float = 0.6
    noise: float = 0.01

    name: ClassVar[str] = "shrink-perturb"
    summary: ClassVar[str] = "Every block trains, from the last solution made smaller and noisy."
    search: ClassVar[Mapping[str, Range]] = {
        "shrinking": Range(0.0, 1.0),
        "noise": Range(0.001, 0.1, logarithmic=True),
    }
    literature: ClassVar[str] = "Ash and Adams 2020, arXiv 1910.08475"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.shrinking <= 1:
            raise ValueError(f"shrinking must be in [0, 1], not {self.shrinking}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be at least 0 and finite, not {self.noise}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Say where the task starts, from the second one on."""
        plan = task.everything()
        if task.index == 0:
            return plan, memory
        start = {name: self._moved(task, name, value) for name, value in parameters.items()}
        for name in task.network.blocks[-1].parameters:
            if not task.regression:
                rows = rows_of(answering(task), parameters[name])
                start[name] = torch.where(rows, start[name], parameters[name])
        return UpdatePlan(plan.share, plan.restart, start), memory

    def _moved(self, task: Task, name: str, value: Tensor) -> Tensor:
        return self.shrinking * value + self.noise * task.normal(name, *value.shape)

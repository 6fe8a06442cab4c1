"""LP-FT: first the head alone, then everything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task


@dataclass(frozen=True)
class LpFt(Strategy):
    """Train the head alone for the first steps of every later task, then all blocks.

    The paper's (Kumar et al. 2022, arXiv 2202.10054): a head that fits the features before they
    move distorts them less. Ours: the paper trains each of the two to its end; here both together
    take the protocol's steps, and the optimiser goes on from one to the other. The first task
    trains everything throughout, since nothing is pre-trained.

    Under Adam, whose averages have seen only zeros of the blocks that wait, the first steps of
    these are up to about three times as long as usual.

    Parameters:
        probing: share of a task's steps in which the head trains alone, in [0, 1].
    """

    probing: float = 0.5

    name: ClassVar[str] = "lp-ft"
    summary: ClassVar[str] = "The head trains alone, then every block."
    search: ClassVar[Mapping[str, Range]] = {"probing": Range(0.0, 1.0)}
    literature: ClassVar[str] = "Kumar et al. 2022, arXiv 2202.10054"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.probing <= 1:
            raise ValueError(f"probing must be in [0, 1], not {self.probing}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Hold all blocks but the head back in the first steps; a solved task has no steps."""
        if task.index == 0 or task.step is None:
            return gradient
        head = task.network.blocks[-1].parameters
        waits = task.step.number < round(self.probing * task.step.total)
        return {
            name: value if name in head else torch.where(waits, 0.0, value)
            for name, value in gradient.items()
        }

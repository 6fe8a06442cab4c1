"""The controls: on every new task each block moves by a constant share of what it would."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class Constrained(Strategy):
    """Move on every new task, but take only a constant share of every step.

    The paper's (arXiv 2602.20796): frozen and initialized training are the ends of a family of
    constrained updates, and some magnitude between them forgets least. Our reading: that paper's
    magnitude counts trainable parameters; here is another way to measure one, and
    ``magnitude.py`` has two more. A constant share is little more than a lower learning rate, so
    these are the controls that any rule for choosing the magnitude has to beat.

    Parameters:
        share: share of every step that every block takes from the second task on, in [0, 1].
        first_block: the first block's share is multiplied by this, in [0, 1].
    """

    share: float = 1.0
    first_block: float = 1.0

    name: ClassVar[str] = "constrained"
    summary: ClassVar[str] = "Every block continues, by a constant share of what training would do."
    search: ClassVar[Mapping[str, Range]] = {
        "share": Range(0.03, 1.0, logarithmic=True),
        "first_block": Range(0.0, 1.0),
    }
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("share", "first_block"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], not {getattr(self, field)}")

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

"""One end of the family: the shared parameters stay, the task-specific ones train."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan


def share_of_blocks(share: float, count: int) -> int:
    """Return how many of ``count`` blocks are a share in (0, 1] of them, rounded up."""
    # 0.07 * 100 is a little more than 7 in floating point and must still be 7.
    return ceil(share * count - 1e-9)


def check_share_of_blocks(name: str, share: float) -> None:
    """Refuse a share of the blocks that would leave none, not even the head, or more than all."""
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be in (0, 1], not {share}")


@dataclass(frozen=True)
class Frozen(Strategy):
    """Keep the shared blocks as they are; go on training the task-specific ones.

    The paper's (arXiv 2602.20796): shared parameters u learned so far stay fixed, task-specific
    parameters q train. Our reading: u are the first blocks of the network and q the last ones,
    head included, stored once and overwritten by every task (the paper's numbers show that
    frozen training forgets, so not everything an old task needs can be fixed); u is what the
    first task learned; q continues from the last solution.

    Parameters:
        task_specific: share of the blocks that are q, in (0, 1], rounded up; 1 is plain training.
    """

    task_specific: float = 0.5

    name: ClassVar[str] = "frozen"
    summary: ClassVar[str] = "Shared blocks are frozen; task-specific ones continue."
    literature: ClassVar[str] = "He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_share_of_blocks("task_specific", self.task_specific)

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Train only the task-specific blocks, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            own = task.last_blocks(share_of_blocks(self.task_specific, task.block_count))
            plan = UpdatePlan(own.to(plan.share.dtype), plan.restart)
        return plan, memory

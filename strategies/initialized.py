"""The other end of the family: everything trains again."""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.frozen import check_share_of_blocks, share_of_blocks


@dataclass(frozen=True)
class Initialized(Strategy):
    """Go on from the shared blocks' last solution, restart the task-specific ones, train all.

    The paper's (arXiv 2602.20796): start from the earlier solution and optimise every parameter
    again. Our reading: what is taken over is the shared part u; the task-specific part q starts
    afresh at the seeded initialisation. Of the head only the units of the task's own classes
    restart, so that the units of earlier tasks are not wiped.

    Parameters:
        task_specific: share of the blocks that are q, in (0, 1], rounded up; 1 restarts all.
    """

    task_specific: float = 0.5

    name: ClassVar[str] = "initialized"
    summary: ClassVar[str] = "Shared blocks continue, task-specific ones restart; all train fully."
    literature: ClassVar[str] = "He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_share_of_blocks("task_specific", self.task_specific)

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Restart the task-specific blocks, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            own = task.last_blocks(share_of_blocks(self.task_specific, task.block_count))
            plan = UpdatePlan(plan.share, own)
        return plan, memory

"""The other end of the family: everything trains again."""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Task, UpdatePlan
from driftboard.strategies.task_specific import TaskSpecific


@dataclass(frozen=True)
class Initialized(TaskSpecific):
    """Go on from the shared blocks' last solution, restart the task-specific ones, train all.

    The paper's (arXiv 2602.20796): start from the earlier solution and optimise every parameter
    again. Our reading: what is taken over is the shared part u; the task-specific part q starts
    afresh at the seeded initialisation. Of the head only the units of the task's own classes
    restart, so that the units of earlier tasks are not wiped.
    """

    name: ClassVar[str] = "initialized"
    summary: ClassVar[str] = "Shared blocks continue, task-specific ones restart; all train fully."
    literature: ClassVar[str] = "He, Bai, Yang 2026, arXiv 2602.20796"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Restart the task-specific blocks, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            own = self.own_blocks(task)
            plan = UpdatePlan(plan.share, own)
        return plan, memory

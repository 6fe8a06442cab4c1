"""One end of the family: the shared parameters stay, the task-specific ones train."""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Task, UpdatePlan
from driftboard.strategies.task_specific import TaskSpecific


@dataclass(frozen=True)
class Frozen(TaskSpecific):
    """Keep the shared blocks as they are; go on training the task-specific ones.

    The paper's (arXiv 2602.20796): shared parameters u learned so far stay fixed, task-specific
    parameters q train. Our reading: u are the first blocks of the network and q the last ones,
    head included, stored once and overwritten by every task (the paper's numbers show that
    frozen training forgets, so not everything an old task needs can be fixed); u is what the
    first task learned; q continues from the last solution.
    """

    name: ClassVar[str] = "frozen"
    summary: ClassVar[str] = "Shared blocks are frozen; task-specific ones continue."
    literature: ClassVar[str] = "He, Bai, Yang 2026, arXiv 2602.20796"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Train only the task-specific blocks, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            own = self.own_blocks(task)
            plan = UpdatePlan(own.to(plan.share.dtype), plan.restart)
        return plan, memory

"""Reference rows: what a board's numbers mean is seen between these.

None of them is a strategy of the paper (arXiv 2602.20796), and none is ranked.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.task_specific import TaskSpecific


@dataclass(frozen=True)
class Noop(Strategy):
    """Learn the first task and never move again: forgetting 0, so forgetting alone proves nothing.

    Our own bound.
    """

    name: ClassVar[str] = "noop"
    summary: ClassVar[str] = "Nothing moves after the first task."
    literature: ClassVar[str] = "Lower bound of forgetting"
    role: ClassVar[Literal["ranked", "bound"]] = "bound"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Freeze every block, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            plan = UpdatePlan(torch.zeros_like(plan.share), plan.restart)
        return plan, memory


@dataclass(frozen=True)
class Scratch(Strategy):
    """Start every task at the seeded initialisation: what a task can reach with no past.

    Our own bound. Head units of other tasks stay where they are.
    """

    name: ClassVar[str] = "scratch"
    summary: ClassVar[str] = "Every block restarts and trains fully."
    literature: ClassVar[str] = "Independent training"
    role: ClassVar[Literal["ranked", "bound"]] = "bound"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Restart every block, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            plan = UpdatePlan(plan.share, torch.ones_like(plan.restart))
        return plan, memory


@dataclass(frozen=True)
class FrozenReset(TaskSpecific):
    """Freeze the shared blocks and restart the task-specific ones.

    Our own bound: beside ``frozen`` it shows what carrying the task-specific part q over is
    worth, beside ``initialized`` what training the shared part u is worth.
    """

    name: ClassVar[str] = "frozen-reset"
    summary: ClassVar[str] = "Shared blocks are frozen; task-specific ones restart and train."
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796"
    role: ClassVar[Literal["ranked", "bound"]] = "bound"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Train only the task-specific blocks, afresh, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            own = self.own_blocks(task)
            plan = UpdatePlan(own.to(plan.share.dtype), own)
        return plan, memory


@dataclass(frozen=True)
class Joint(Strategy):
    """Train on the data of all tasks so far: what no stored data costs.

    The usual upper bound of the field.
    """

    name: ClassVar[str] = "joint"
    summary: ClassVar[str] = "Every block continues, on the data of all tasks so far."
    literature: ClassVar[str] = "Upper bound with all data stored"
    role: ClassVar[Literal["ranked", "bound"]] = "bound"
    trains_on_all_tasks: ClassVar[bool] = True

"""The operations of a training, counted without training: one learner takes one step per task."""

from collections.abc import Sequence

import torch

from driftboard.strategies.base import Memory, Strategy
from driftboard.suite.records import PlanStamp
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.training.cohort import Setting, prepare
from driftboard.suite.training.engine import train_task


def count_operations(
    setting: Setting, strategy: Strategy, plans: Sequence[PlanStamp] | None = None
) -> tuple[int, ...] | None:
    """Return per task the operations that a record of this cell tells.

    Args:
        setting: with one seed.
        strategy: what is counted.
        plans: of the record, for a strategy whose plans follow from what it has learned. None
            takes those that it makes here, after one step on every task before.

    Returns:
        The same integers as a run, or None for a linear sequence, whose runs count nothing.
    """
    if isinstance(setting.sequence.scenario, LinearSetting):
        return None
    cohort = prepare(setting).cohort
    parameters, memory = cohort.initial, Memory()
    counts: list[int] = []
    for index in range(len(cohort.train)):
        share = None if plans is None else torch.tensor([plans[index].share], device=cohort.device)
        trained = train_task(
            cohort, strategy, index, parameters, memory, "loop", steps=1, share=share
        )
        parameters, memory = trained.parameters, trained.memory
        counts += trained.operations
    return tuple(counts)

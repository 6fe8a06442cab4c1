"""What one record says in a few numbers, recomputed from its counts or losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from msgspec import UNSET

from driftboard.leaderboard.analysis.statistics import mean
from driftboard.suite import metrics
from driftboard.suite.records import AnyRecord, LossRecord, Record

Measure = Literal["accuracy", "excess-loss"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the board: its name in ``Cell.metrics``, its title and its possible range.

    A share is shown in percent, everything else as it is.
    """

    name: str
    title: str
    low: float
    high: float
    is_share: bool
    has_ceiling: bool
    lower_is_better: bool

    def is_better(self, a: float, b: float) -> bool:
        return a < b if self.lower_is_better else a > b


METRICS: Mapping[Measure, tuple[Metric, ...]] = {
    "accuracy": (
        Metric("avg_acc", "Avg.Acc", 0.0, 1.0, True, has_ceiling=True, lower_is_better=False),
        Metric("forgetting", "Forgetting", -1.0, 1.0, True, False, lower_is_better=True),
        Metric("task_acc", "Task.Acc", 0.0, 1.0, True, has_ceiling=True, lower_is_better=False),
    ),
    "excess-loss": (
        Metric("avg_loss", "Avg.Loss", 0.0, math.inf, False, False, lower_is_better=True),
        Metric("forgetting", "Forgetting", -math.inf, math.inf, False, False, lower_is_better=True),
        Metric("task_loss", "Task.Loss", 0.0, math.inf, False, False, lower_is_better=True),
    ),
}
"""The metrics of each measure; the first one ranks."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one record says in a few numbers.

    ``metrics`` holds, by name, what ``suite/metrics.py`` defines. Of accuracies: ``avg_acc`` and
    ``task_acc`` in [0, 1], ``forgetting``, ``backward_transfer`` and ``forward_transfer`` in
    [-1, 1]. Of excess losses: ``avg_loss`` and ``task_loss``, at least 0, and ``forgetting``,
    any number, positive where a task was forgotten. ``step`` and ``drift`` are what the functions
    of these names say, NaN of a run that diverged. ``memory_bytes`` is the most that the strategy
    carried over between tasks, ``seconds`` the training time of all tasks together,
    ``operations`` the floating-point operations of training, None where they were not counted.
    ``near_chance`` says whether the first task ended near chance, see ``ends_near_chance``.
    ``track`` says what the strategy stores: ``nothing``, ``parameters`` or ``examples (n)`` with n
    the most images. ``own_optimiser`` says that it does not use the protocol's.
    ``passed``, ``shift_new`` and ``shift_old`` are what ``passed`` and ``shift`` say, None where
    the record does not tell, NaN of a run that diverged.
    """

    sequence: str
    tier: str
    strategy: str
    role: Literal["ranked", "bound"]
    seed: int
    status: Literal["finished", "diverged"]
    metrics: Mapping[str, float]
    step: float
    drift: float
    memory_bytes: int
    seconds: float
    operations: int | None
    near_chance: bool
    passed: float | None
    shift_new: float | None
    shift_old: float | None
    track: str
    own_optimiser: bool

    @property
    def has_finished(self) -> bool:
        """Whether the run did not diverge."""
        return self.status == "finished"


def cell_of(record: AnyRecord, matrix: metrics.Matrix) -> Cell:
    """Recompute every number of one record; ``matrix`` is what ``matrix_of`` returns of it."""
    finished = record.status == "finished"  # else its norms are 0 from where it diverged
    return Cell(
        sequence=record.sequence.name,
        tier=record.sequence.tier,
        strategy=record.strategy.name,
        role=record.strategy.role,
        seed=record.seed,
        status=record.status,
        metrics=_metrics(record, matrix),
        step=step(record.update_norms, record.solution_norms) if finished else math.nan,
        drift=drift(record.drift_norms, record.solution_norms) if finished else math.nan,
        memory_bytes=max(record.memory_bytes),
        seconds=math.fsum(record.cost.seconds),
        operations=None if record.operations is None else sum(record.operations),
        near_chance=ends_near_chance(record),
        passed=passed(record),
        shift_new=shift(record, "shift_new"),
        shift_old=shift(record, "shift_old"),
        track=_track(record),
        own_optimiser=record.strategy.optimiser == "own",
    )


def _track(record: AnyRecord) -> str:
    """Return what a strategy stores, by its own word; without one by whether it carries anything.

    Records made before there was such a word are of strategies that store no images.
    """
    stores = record.strategy.stores
    if stores is UNSET:
        return "parameters" if any(record.memory_bytes) else "nothing"
    most = record.strategy.parameters.get("capacity", "?")
    return f"examples ({most})" if stores == "examples" else stores


def matrix_of(record: AnyRecord) -> metrics.Matrix:
    """Return the accuracy matrix of a record, or its matrix of excess losses."""
    if isinstance(record, LossRecord):
        return np.asarray(record.losses, dtype=np.float64)
    return metrics.accuracy_matrix(record.correct, record.test_sizes)


def ends_near_chance(record: AnyRecord) -> bool:
    """Tell whether the first task ends near chance: nothing was learned that could be forgotten.

    It does where (accuracy - chance) / (1 - chance) is below a tenth. Excess losses have no
    chance, and a single class leaves nothing to guess: there the answer is no.
    """
    if not isinstance(record, Record) or record.classes[0] == 1:
        return False
    correct, size, classes = record.correct[0][0], record.test_sizes[0], record.classes[0]
    return 10 * (correct * classes - size) < size * (classes - 1)  # in integers, so exactly


def passed(record: AnyRecord) -> float | None:
    """Return which part of a new task's gradient passes the strategy, 1 where a step is plain.

    The mean of ``Record.passed`` over all tasks but the first and over all blocks, each of the same
    weight. None where the record does not tell, NaN of a run that diverged.
    """
    if not isinstance(record, Record) or record.passed is UNSET:
        return None
    if record.status != "finished":
        return math.nan
    return mean(list(chain.from_iterable(record.passed[1:])))


def shift(record: AnyRecord, name: Literal["shift_new", "shift_old"]) -> float | None:
    """Return how far a new task moves the outputs, in nats: the mean over all tasks but the first.

    None where the record does not tell, NaN of a run that diverged or where a number is not finite.
    """
    if not isinstance(record, Record) or (shifts := getattr(record, name)) is UNSET:
        return None
    known = [value for value in shifts[1:] if value is not None]
    return mean(known) if len(known) == record.tasks - 1 else math.nan


def step(
    update_norms: Sequence[Sequence[float]], solution_norms: Sequence[Sequence[float]]
) -> float:
    """Return how far the parameters before the head move on a new task, relative to their size.

    Both arguments hold a norm per task and block, the head last. The norm of the update of all
    other blocks together is divided by that of the solution reached; the mean over all tasks
    but the first, at least 0. NaN where a solution is zero or has no block but the head.
    """
    pairs = list(zip(update_norms, solution_norms, strict=True))
    ratios = [_relative_norm(update, solution) for update, solution in pairs[1:]]
    return sum(ratios) / len(ratios)


def drift(
    drift_norms: Sequence[Sequence[float]], solution_norms: Sequence[Sequence[float]]
) -> float:
    """Return how far the final parameters before the head are from the first task's solution.

    The arguments are as in ``step``; ``drift_norms`` are distances from the first solution. The
    distance of all blocks but the head together, relative to the norm of the first solution, at
    least 0. NaN where that is zero or there is no block but the head.
    """
    return _relative_norm(drift_norms[-1], solution_norms[0])


def _relative_norm(norms: Sequence[float], unit: Sequence[float]) -> float:
    """Return the norm of all blocks but the last over that of ``unit``, NaN if that is zero."""
    size = math.hypot(*unit[:-1])
    return math.hypot(*norms[:-1]) / size if size else math.nan


def _metrics(record: AnyRecord, matrix: metrics.Matrix) -> dict[str, float]:
    if isinstance(record, LossRecord):
        return metrics.loss_metrics(matrix)
    return metrics.accuracy_metrics(matrix, np.divide(record.correct_untrained, record.test_sizes))

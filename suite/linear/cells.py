"""Cells of linear sequences: records of excess losses, and comparisons with the exact errors."""

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.linear.exact import (
    STRATEGIES,
    best_fractions,
    expected_excess,
    expected_excess_of_fraction,
)
from driftboard.suite.linear.learner import (
    LinearData,
    LinearOutcome,
    draw,
    linear_network,
    run,
    why_not_solved,
)
from driftboard.suite.loading import LoadedStrategy, load_strategy
from driftboard.suite.metrics import loss_metrics
from driftboard.suite.protocol import PROTOCOL, digest
from driftboard.suite.records import LossRecord
from driftboard.suite.rng import stream
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.record_builder import RecordBuilder, environment

TITLE = "Linear regression"


def linear_records(
    setting: Setting, loaded: LoadedStrategy, on_step: Callable[[], None]
) -> list[LossRecord]:
    """Train all seeds of a linear sequence together, on the CPU, and return the record of each."""
    sequence, scenario = setting.sequence, setting.sequence.scenario
    assert isinstance(scenario, LinearSetting)
    setting = replace(setting, device="cpu")
    _data(sequence.name, scenario, setting.seeds)  # not a cost of the first strategy
    began = time.perf_counter()
    outcome = measure(sequence.name, scenario, loaded, setting.seeds, on_step)
    seconds = time.perf_counter() - began
    data_hash = digest([PROTOCOL.name, PROTOCOL.version, sequence.name])
    builder = RecordBuilder(
        setting,
        loaded.stamp,
        sequence.stamp(TITLE, data_hash, linear_network(scenario).blocks),
        environment(torch.device("cpu"), "vmap", setting.seeds),
    )
    return [
        _record(builder, scenario, outcome, position, seconds)
        for position in range(len(setting.seeds))
    ]


def default_strategies(sequences: Iterable[TaskSequence]) -> tuple[str, ...]:
    """Return which strategies run when none is named, in the board's order.

    All that run by default, but where a sequence is linear only those that can be solved.

    >>> "er" in default_strategies([])
    True
    """
    if not any(isinstance(one.scenario, LinearSetting) for one in sequences):
        return tuple(BUILTIN)
    return tuple(name for name, strategy in BUILTIN.items() if not why_not_solved(strategy))


def measure(
    name: str,
    setting: LinearSetting,
    loaded: LoadedStrategy,
    seeds: tuple[int, ...],
    on_step: Callable[[], None] = lambda: None,
) -> LinearOutcome:
    """Train every seed's draws under a strategy; all strategies meet the same data."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return run(
        setting,
        loaded.strategy,
        _data(name, setting, seeds),
        lambda task: [stream(*names, seed, "strategy", loaded.stamp.name, task) for seed in seeds],
        on_step,
    )


@functools.lru_cache(maxsize=1)
def _data(name: str, setting: LinearSetting, seeds: tuple[int, ...]) -> LinearData:
    """Return a sequence's data, kept for the next strategy: a run takes one after the other."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return draw(setting, [stream(*names, seed, "linear data") for seed in seeds])


def _record(
    builder: RecordBuilder,
    setting: LinearSetting,
    outcome: LinearOutcome,
    position: int,
    seconds: float,
) -> LossRecord:
    """Return the record of one seed: means over its draws; of restarts what most draws did.

    A strategy whose parameters are no longer finite has diverged, and its losses are from then
    on those of the initialisation.
    """
    own = slice(position * setting.draws, (position + 1) * setting.draws)

    def mean(values: Tensor) -> Tensor:
        return values[own].double().mean(dim=0)

    finite = torch.isfinite(outcome.excess[own]).all(dim=2).all(dim=0)
    untrained = mean(outcome.untrained)
    losses = torch.where(finite[:, None], mean(outcome.excess), untrained)
    return LossRecord(
        **builder.fields(
            position,
            # Not for a blow-up: weights start at 0, so a move has no size to be compared with.
            divergence=[None if fine else "not finite" for fine in finite.tolist()],
            update_norms=mean(outcome.update_norms),
            solution_norms=mean(outcome.solution_norms),
            drift_norms=mean(outcome.drift_norms),
            operations=None,  # they are solved, not trained by steps
            share=mean(outcome.share).clamp(0.0, 1.0),
            restart=mean(outcome.restart) >= 0.5,
            memory_bytes=outcome.memory_bytes,
            seconds=[seconds / setting.tasks] * setting.tasks,
        ),
        losses=tuple(map(tuple, losses.tolist())),
        losses_untrained=tuple(untrained.tolist()),
        draws=setting.draws,
    )


MEASURES = {"forgetting": "forgetting", "average error": "avg_loss", "task error": "task_loss"}
"""Metric by what a table calls it."""


@dataclass(frozen=True)
class Comparison:
    """One measure of one strategy; ``z`` is the difference in standard errors.

    ``z`` is 0 where both agree and nothing varies, and infinite where they disagree then.
    """

    strategy: str
    measure: str
    exact: float
    measured: float
    error: float  # standard error of the measured mean over learners

    @property
    def z(self) -> float:
        """The difference of measured and exact in standard errors."""
        difference = self.measured - self.exact
        if abs(difference) <= 1e-9 * max(1.0, abs(self.exact)):
            return 0.0
        return difference / self.error if self.error > 0 else math.copysign(math.inf, difference)


def compare(setting: LinearSetting, seeds: tuple[int, ...]) -> Iterator[Comparison]:
    """Train every strategy that has a closed form, and yield all measures beside the exact ones."""
    for name in STRATEGIES:
        exact = loss_metrics(np.asarray(expected_excess(setting, name)))
        outcome = measure("linear", setting, load_strategy(name), seeds)
        learners = [loss_metrics(matrix) for matrix in outcome.excess.numpy()]
        for label, metric in MEASURES.items():
            values = np.array([one[metric] for one in learners])
            yield Comparison(name, label, exact[metric], float(values.mean()), _error(values))


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def measured_curves(
    name: str, setting: LinearSetting, fractions: tuple[float, ...], seeds: tuple[int, ...]
) -> dict[str, list[list[float]]]:
    """Return per metric, fraction and seed the value that ``fraction`` reaches.

    Every fraction meets the same data; a seed's value is that of the mean over its draws.
    """
    found = []
    for fraction in fractions:
        outcome = measure(name, setting, load_strategy(f"fraction,fraction={fraction}"), seeds)
        matrices = outcome.excess.numpy().reshape(
            len(seeds), setting.draws, setting.tasks, setting.tasks
        )
        found.append([loss_metrics(matrix) for matrix in matrices.mean(axis=1)])
    return {metric: [[one[metric] for one in row] for row in found] for metric in found[0][0]}


def exact_curves(setting: LinearSetting, fractions: tuple[float, ...]) -> dict[str, list[float]]:
    """Return per metric and fraction the exact expectation."""
    matrices = [np.asarray(expected_excess_of_fraction(setting, one)) for one in fractions]
    found = [loss_metrics(matrix) for matrix in matrices]
    return {metric: [one[metric] for one in found] for metric in found[0]}


def exact_optima(setting: LinearSetting) -> dict[str, float]:
    """Return the exact best fraction for two tasks, by metric; nothing for more tasks."""
    if setting.tasks != 2:
        return {}
    forgetting, errors = best_fractions(setting)
    return {"forgetting": forgetting, "avg_loss": errors}

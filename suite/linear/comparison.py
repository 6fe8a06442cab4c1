"""Measured against exact: every strategy with a closed form, and curves over the magnitude."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftboard.suite import metrics
from driftboard.suite.linear.cells import measure
from driftboard.suite.linear.exact import (
    STRATEGIES,
    best_fractions,
    expected_excess,
    expected_excess_of_fraction,
)
from driftboard.suite.loading import load_strategy
from driftboard.suite.sequences.linear import LinearSetting

Curves = dict[str, list[list[float]]]

FUNCTIONS: dict[str, Callable[[metrics.Matrix], float]] = {
    "avg_loss": metrics.average_loss,
    "forgetting": metrics.loss_forgetting,
    "task_loss": metrics.task_loss,
}

MEASURES = {"forgetting": "forgetting", "average error": "avg_loss", "task error": "task_loss"}
"""The same by what a table calls them."""


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
        exact = expected_excess(setting, name)
        outcome = measure("linear", setting, load_strategy(name), seeds)
        learners = outcome.excess.numpy()
        for label, metric in MEASURES.items():
            function = FUNCTIONS[metric]
            values = np.array([function(matrix) for matrix in learners])
            yield Comparison(name, label, function(exact), float(values.mean()), _error(values))


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def measured_curves(
    name: str, setting: LinearSetting, fractions: tuple[float, ...], seeds: tuple[int, ...]
) -> Curves:
    """Return per metric, fraction and seed the value that ``fraction`` reaches.

    Every fraction meets the same data; a seed's value is that of the mean over its draws.
    """
    curves: Curves = {metric: [] for metric in FUNCTIONS}
    for fraction in fractions:
        outcome = measure(name, setting, load_strategy(f"fraction,fraction={fraction}"), seeds)
        matrices = outcome.excess.numpy().reshape(
            len(seeds), setting.draws, setting.tasks, setting.tasks
        )
        for metric, function in FUNCTIONS.items():
            curves[metric].append([function(matrix) for matrix in matrices.mean(axis=1)])
    return curves


def exact_curves(setting: LinearSetting, fractions: tuple[float, ...]) -> dict[str, list[float]]:
    """Return per metric and fraction the exact expectation."""
    matrices = [np.asarray(expected_excess_of_fraction(setting, one)) for one in fractions]
    return {name: [function(matrix) for matrix in matrices] for name, function in FUNCTIONS.items()}


def exact_optima(setting: LinearSetting) -> dict[str, float]:
    """Return the exact best fraction for two tasks, by metric; nothing for more tasks."""
    if setting.tasks != 2:
        return {}
    forgetting, errors = best_fractions(setting)
    return {"forgetting": forgetting, "avg_loss": errors}

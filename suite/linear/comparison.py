"""Measured against exact: every strategy with a closed form on one linear setting."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftboard.suite import metrics
from driftboard.suite.linear.cells import measure
from driftboard.suite.linear.exact import STRATEGIES, expected_excess
from driftboard.suite.loading import load_strategy
from driftboard.suite.sequences.linear import LinearSetting

MEASURES: dict[str, Callable[[metrics.Matrix], float]] = {
    "forgetting": metrics.loss_forgetting,
    "average error": metrics.average_loss,
    "task error": metrics.task_loss,
}


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
        for label, function in MEASURES.items():
            values = np.array([function(matrix) for matrix in learners])
            yield Comparison(name, label, function(exact), float(values.mean()), _error(values))


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0

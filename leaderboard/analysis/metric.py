"""The metrics of a board: names, titles, possible ranges, and which way is better."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from driftboard.leaderboard.analysis.collect import Measure


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
        """Whether ``a`` is better than ``b``."""
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

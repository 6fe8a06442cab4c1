"""What the axes of a board's figures show: numbers in their unit, titles, and intervals."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.metric import Metric
from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference
from driftboard.leaderboard.render.layout import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shown = tuple[float, float, float]
"""A mean and the bounds of its interval, in the unit of an axis."""


def shown(found: Interval | PairedDifference, metric: Metric) -> Shown:
    """Return a number with its interval as it is drawn: shares in percent, others as they are."""
    unit = 100.0 if metric.is_share else 1.0
    return unit * found.mean, unit * found.low, unit * found.high


def axis_title(metric: Metric) -> str:
    """Return a metric's title with its unit and an arrow to where it is better."""
    unit = " (%)" if metric.is_share else ""
    return f"{metric.title}{unit}   {_arrow(metric)}"


def difference_title(board: Board) -> str:
    """Return the title for differences from the reference, likewise."""
    metric = board.metrics[0]
    unit = " (points)" if metric.is_share else ""
    return f"Δ {metric.title} from {shortened(board.reference)}{unit}   {_arrow(metric)}"


def draw_intervals(
    panel: "Axes", axis: Literal["x", "y"], values: Iterable[tuple[float, Shown]], colour: str
) -> None:
    """Draw intervals along an axis, each at its place on the other one; none without bounds."""
    lines = [(at, low, high) for at, (_, low, high) in values if math.isfinite(high - low)]
    if lines:
        draw = panel.hlines if axis == "x" else panel.vlines
        places, lows, highs = zip(*lines, strict=True)
        draw(places, lows, highs, colors=colour, linewidth=0.9, label="95 % interval")


def _arrow(metric: Metric) -> str:
    return "← better" if metric.lower_is_better else "better →"

"""What the figures share: settings, colours, axis titles, intervals, and how they become bytes.

Equal figures give equal bytes, whatever a reader has set for matplotlib. matplotlib is slow to
import and only a figure needs it, so it is imported when one is drawn.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.cells import Metric
from driftboard.leaderboard.analysis.section import Row
from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference
from driftboard.leaderboard.formatting import short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Form = Literal["svg", "png"]
Shown = tuple[float, float, float]
"""A mean and the bounds of its interval, in the unit of an axis."""

PAGE = 7.0  # inches: both columns of a page
COLUMN = 3.4  # inches: one column

# Okabe and Ito's colours, which colour-blind readers can tell apart. No figure relies on colour
# alone.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "0.5"

NOBODY = "no strategy is ranked"

_SETTINGS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "axes.formatter.limits": (-3, 5),  # beyond these, the axis shows its power of ten once
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a name may look like a formula
    "svg.hashsalt": "driftboard",
}
_NO_TRACES: dict[Form, dict[str, None]] = {"svg": {"Date": None}, "png": {"Software": None}}


@dataclass(frozen=True, slots=True)
class Illustration:
    """A figure for a page, as SVG and as PNG.

    ``name`` is the stem of its files. ``description`` is a text alternative in plain text: what
    is drawn, and its main numbers.
    """

    name: str
    title: str
    description: str
    svg: bytes
    png: bytes


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with our settings alone, whatever the user has configured.

    It also decorates functions that make a figure.
    """
    from matplotlib import style

    with style.context(["default", _SETTINGS]):
        yield


@house_style()
def images(figure: "Figure") -> dict[Form, bytes]:
    """Return the figure in every form; it is laid out once, so that all forms look the same."""
    found = {}
    for form, metadata in _NO_TRACES.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, dpi=200, metadata=metadata)
        figure.set_layout_engine("none")
        found[form] = buffer.getvalue()
    return found


def widest(figure: "Figure", texts: Sequence["Text"]) -> float:
    """Return the width of the widest text, in inches; the figure must have a canvas."""
    return max(text.get_window_extent().width for text in texts) / figure.dpi


def shown(found: Interval | PairedDifference, metric: Metric) -> Shown:
    """Return a number and its interval as they are drawn: shares in percent, others as they are."""
    unit = unit_of(metric)
    return unit * found.mean, unit * found.low, unit * found.high


def unit_of(metric: Metric) -> float:
    """Return what a number of this metric is multiplied by before it is drawn."""
    return 100.0 if metric.is_share else 1.0


def axis_title(metric: Metric) -> str:
    """Return a metric's title with its unit and an arrow that points to better values."""
    unit = " (%)" if metric.is_share else ""
    return f"{metric.title}{unit}   {_arrow(metric)}"


def difference_title(board: Board) -> str:
    """Return the title of an axis of differences from the reference in the metric that ranks."""
    metric = board.metrics[0]
    unit = " (points)" if metric.is_share else ""
    name = short_names(row.strategy for row in board.overall.rows)[board.reference]
    return f"Δ {metric.title} from {name}{unit}   {_arrow(metric)}"


def draw_intervals(
    panel: "Axes", axis: Literal["x", "y"], values: Iterable[tuple[float, Shown]], colour: str
) -> None:
    """Draw the intervals that have bounds along an axis, each at its place on the other axis."""
    lines = [(at, low, high) for at, (_, low, high) in values if math.isfinite(high - low)]
    if lines:
        draw = panel.hlines if axis == "x" else panel.vlines
        places, lows, highs = zip(*lines, strict=True)
        draw(places, lows, highs, colors=colour, linewidth=0.9, label="95 % interval")


def half_widths(widths: Sequence[float]) -> list[float]:
    """Return half widths of symmetric intervals, 0 where a single seed gives none."""
    return [0.0 if math.isnan(width) else width for width in widths]


def labels_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return by strategy its name, shortened, and how many of its runs diverged, if any."""
    names = short_names(row.strategy for row in rows)
    counts = {row.strategy: row.diverged_runs for row in rows}
    return {
        strategy: name + (f" ({counts[strategy]} diverged)" if counts[strategy] else "")
        for strategy, name in names.items()
    }


def _arrow(metric: Metric) -> str:
    return "← better" if metric.lower_is_better else "better →"

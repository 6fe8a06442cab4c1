"""The plane of a board: what strategies forget against how good they are in the end.

Beside every point stands its name, or where points are many a number that the key explains. The
layout is made by hand, because a label stays clear of the others only where it was put.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.metric import Metric
from driftboard.leaderboard.render.figures.axes import Shown, axis_title, draw_intervals, shown
from driftboard.leaderboard.render.figures.drawing import BLUE, GREY, PAGE, house_style, widest
from driftboard.leaderboard.render.figures.labels import Box, place_labels
from driftboard.leaderboard.render.figures.words import NOBODY
from driftboard.leaderboard.render.layout import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES = 8  # where there are more points, they are numbered

_LOWEST, _LINE = 3.3, 0.125  # inches: of the figure, and of a line of the key
_LEFT, _BOTTOM = 0.35, 0.45  # inches: for the title of an axis, below with its numbers
_TOP = 0.22  # inches: there matplotlib puts a power of ten of the axis, where it needs one
_EDGE, _GUTTER = 0.1, 0.2  # inches: around the figure, and between plot and key
_FORMS = {"ranked": ("o", BLUE, BLUE), "bound": ("D", "black", "white")}  # marker, edge, face
_SIZE, _SMALL = 3.5, 7.0  # points: of a marker, and of the letters beside it
_FAR = 6.0  # points: a label further from its point is joined to it
_PER_INCH = 72.0  # points


@dataclass(frozen=True, slots=True)
class _Spot:
    """A strategy on the plane, with its label and its name, shortened."""

    label: str
    name: str
    role: Literal["ranked", "bound"]
    x: Shown
    y: Shown


@house_style()
def plane_figure(board: Board) -> "Figure":
    """Draw the overall section: x Forgetting, y the metric that ranks, both with intervals.

    One point per ranked strategy and, with open markers, per bound; none without a mean.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spots = _spots(board)
    key = _key(spots, board.metrics[0])
    height = max(_LOWEST, _LINE * (key.count("\n") + 1) + 2 * _EDGE)
    figure = Figure(figsize=(PAGE, height))
    FigureCanvasAgg(figure)
    right, top = 1.0 - _EDGE / PAGE, 1.0 - _EDGE / height
    text = figure.text(right, top, key, size=_SMALL, ha="right", va="top", multialignment="left")
    panel = figure.subplots()
    panel.set_ylabel(axis_title(board.metrics[0]))
    panel.set_xlabel(axis_title(board.metrics[1]))
    panel.margins(0.08)
    for role in _FORMS:
        _draw(panel, role, [spot for spot in spots if spot.role == role])
    left = (widest(figure, panel.get_yticklabels()) + _LEFT) / PAGE
    end = right - (widest(figure, [text]) + _GUTTER) / PAGE
    figure.subplots_adjust(left=left, right=end, bottom=_BOTTOM / height, top=1.0 - _TOP / height)
    _label(panel, spots)
    return figure


def _spots(board: Board) -> list[_Spot]:
    """Return the ranked strategies, best first, and the bounds."""
    up, across = board.metrics[:2]
    places = [
        (row, shown(row.scores[across.name].interval, across), shown(row.first.interval, up))
        for row in board.overall.ranked + board.overall.bounds
    ]
    places = [(row, x, y) for row, x, y in places if math.isfinite(x[0] + y[0])]
    spots = list[_Spot]()
    for number, (row, x, y) in enumerate(places, start=1):
        name = shortened(row.strategy)
        label = name if len(places) <= MOST_NAMES else str(number)
        spots.append(_Spot(label, name, row.role, x, y))
    return spots


def _key(spots: Sequence[_Spot], metric: Metric) -> str:
    """Return what the markers mean, and the numbers where points are numbered."""
    titles = {"ranked": f"● ranked by {metric.title}", "bound": "◇ bounds, not ranked"}
    parts = []
    for role, title in titles.items():
        members = [spot for spot in spots if spot.role == role]
        names = [
            f"{spot.label:\u2007>2} {spot.name}" for spot in members if spot.label != spot.name
        ]
        if members:
            parts.append("\n".join([title, *names]))
    if any(math.isfinite(spot.x[1]) for spot in spots):
        parts.append("Lines: 95 % intervals")
    return "\n\n".join(parts) or NOBODY


def _draw(panel: "Axes", role: str, spots: Sequence[_Spot]) -> None:
    marker, edge, face = _FORMS[role]
    draw_intervals(panel, "x", [(spot.y[0], spot.x) for spot in spots], edge)
    draw_intervals(panel, "y", [(spot.x[0], spot.y) for spot in spots], edge)
    panel.plot(
        [spot.x[0] for spot in spots],
        [spot.y[0] for spot in spots],
        marker=marker,
        markersize=_SIZE,
        markeredgecolor=edge,
        markerfacecolor=face,
        linestyle="none",
        zorder=3,
        label=role,
    )


def _label(panel: "Axes", spots: Sequence[_Spot]) -> None:
    """Put every label beside its point, and join the two where they are far apart."""
    panel.set_xlim(panel.get_xlim())  # a line to a label must not move what is there
    panel.set_ylim(panel.get_ylim())
    texts = [panel.text(0, 0, spot.label, size=_SMALL, ha="center", va="center") for spot in spots]
    extents = [text.get_window_extent() for text in texts]
    points = [_pixels(panel, spot.x[0], spot.y[0]) for spot in spots]
    half = (_SIZE / 2 + 1) * panel.figure.dpi / _PER_INCH
    boxes = place_labels(
        points,
        [(extent.width + 2, extent.height + 2) for extent in extents],
        Box(*panel.get_window_extent().extents),
        [Box(x - half, y - half, x + half, y + half) for x, y in points],
        [box for spot in spots for box in _cross(panel, spot)],
    )
    to_data = panel.transData.inverted()
    for text, point, box in zip(texts, points, boxes, strict=True):
        text.set_position(tuple(to_data.transform(box.centre)))
        end = box.nearest(point)
        if math.dist(point, end) > _FAR:
            (x, up), (right, top) = to_data.transform([point, end])
            panel.plot([x, right], [up, top], color=GREY, linewidth=0.5, zorder=1)


def _cross(panel: "Axes", spot: _Spot) -> list[Box]:
    """Return where the intervals of a spot are drawn, in pixels."""
    (x, *across), (y, *up) = spot.x, spot.y
    ends = [((across[0], y), (across[1], y)), ((x, up[0]), (x, up[1]))]
    return [Box(*_pixels(panel, *low), *_pixels(panel, *high)) for low, high in ends]


def _pixels(panel: "Axes", x: float, y: float) -> tuple[float, float]:
    across, up = panel.transData.transform((x, y))
    return float(across), float(up)

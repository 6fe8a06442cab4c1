"""Planes of a board: how good strategies are in the end against what they forget, or how far they
move the parameters.

Every point is labelled with its name or, where there are many, with a number that the key
explains. The layout is made by hand: matplotlib's own would move the labels after they were placed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.section import Row
from driftboard.leaderboard.render.figures.drawing import (
    BLUE,
    GREEN,
    GREY,
    NOBODY,
    PAGE,
    VERMILION,
    Shown,
    axis_title,
    draw_intervals,
    house_style,
    labels_of,
    shown,
    widest,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRIFT = "Drift of the parameters, relative to their size"
MOST_NAMES = 40  # where there are more points, they are numbered

_LOWEST, _LINE = 3.3, 0.125  # inches: of the figure, and of a line of the key
_PER_NAME = 0.06  # inches that a named point adds to the height
_LEFT, _BOTTOM = 0.35, 0.45  # inches: for the title of an axis, below with its numbers
_TOP = 0.22  # inches: there matplotlib puts a power of ten of the axis, where it needs one
_EDGE, _GUTTER = 0.1, 0.2  # inches: around the figure, and between plot and key
_FORMS: dict["Kind", tuple[str, str, str, str]] = {
    "nothing": ("o", BLUE, BLUE, "● stores nothing"),
    "parameters": ("s", VERMILION, VERMILION, "■ stores parameters"),
    "examples": ("^", GREEN, GREEN, "▲ stores examples"),
    "bound": ("D", "black", "white", "◇ bounds, not ranked"),
}
"""By what a strategy stores: marker, edge, face and the title in the key."""
_SIZE, _SMALL = 3.5, 7.0  # points: of a marker, and of the letters beside it
_FAR = 6.0  # points: a label further from its point is joined to it
_PER_INCH = 72.0  # points
_GAP, _STEP = 2.0, 3.0  # pixels: between a point and its label, and between rings of places
_DIRECTIONS = 16  # places on each ring


Kind = Literal["nothing", "parameters", "examples", "bound"]
Across = Literal["forgetting", "drift"]
"""What a plane shows to the right: the second metric of the board, or the drift of parameters."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with sides along the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2.0, (self.bottom + self.top) / 2.0

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """Return the point of the box that is nearest to a point."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def overlaps(self, other: "Box") -> bool:
        """Whether the two have more than an edge in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )

    def contains(self, other: "Box") -> bool:
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )


@dataclass(frozen=True, slots=True)
class _Spot:
    """A strategy on the plane, with its label and its name, shortened."""

    label: str
    name: str
    kind: Kind
    x: Shown
    y: Shown


@house_style()
def plane_figure(board: Board, across: Across = "forgetting") -> "Figure":
    """Draw the overall section: y the metric that ranks, x Forgetting or Drift, with intervals.

    One point per ranked strategy, by what it stores, and, with open markers, per bound; none
    without a mean.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spots = _spots(board, across)
    key = _key(spots)
    named = sum(spot.label == spot.name for spot in spots)
    height = max(_LOWEST + _PER_NAME * named, _LINE * (len(key) + 1) + 2 * _EDGE)
    figure = Figure(figsize=(PAGE, height))
    FigureCanvasAgg(figure)
    right, top = 1.0 - _EDGE / PAGE, 1.0 - _EDGE / height
    texts = [
        figure.text(right, top - place * _LINE / height, line, size=_SMALL, color=colour, va="top")
        for place, (line, colour) in enumerate(key)
    ]
    width = widest(figure, texts) / PAGE
    for text in texts:
        text.set_x(right - width)
    panel = figure.subplots()
    panel.set_ylabel(axis_title(board.metrics[0]))
    panel.set_xlabel(axis_title(board.metrics[1]) if across == "forgetting" else DRIFT)
    panel.margins(0.08)
    for kind in _FORMS:
        _draw(panel, kind, [spot for spot in spots if spot.kind == kind])
    left = (widest(figure, panel.get_yticklabels()) + _LEFT) / PAGE
    end = right - width - _GUTTER / PAGE
    figure.subplots_adjust(left=left, right=end, bottom=_BOTTOM / height, top=1.0 - _TOP / height)
    _label(panel, spots)
    return figure


def _spots(board: Board, across: Across) -> list[_Spot]:
    """Return the ranked strategies, best first, those with examples after, and the bounds."""
    places = [
        (row, to_the_right(board, row, across), shown(row.first.interval, board.metrics[0]))
        for row in board.overall.ranked + board.overall.examples + board.overall.bounds
    ]
    places = [(row, x, y) for row, x, y in places if math.isfinite(x[0] + y[0])]
    labels, spots = labels_of(board.overall.rows), list[_Spot]()
    for number, (row, x, y) in enumerate(places, start=1):
        name = labels[row.strategy]
        label = name if len(places) <= MOST_NAMES else str(number)
        spots.append(_Spot(label, name, _kind(row), x, y))
    return spots


def to_the_right(board: Board, row: Row, across: Across) -> Shown:
    """Return where a row stands on the axis to the right, with its interval over seeds."""
    if across == "drift":
        drift = row.drift_over_seeds
        return drift.mean, drift.low, drift.high
    metric = board.metrics[1]
    return shown(row.scores[metric.name].interval, metric)


def _kind(row: Row) -> Kind:
    if row.role == "bound":
        return "bound"
    if row.track == "nothing":
        return "nothing"
    return "parameters" if row.track == "parameters" else "examples"


def _key(spots: Sequence[_Spot]) -> list[tuple[str, str]]:
    """Return lines with their colour: what the markers mean, and the numbers of points."""
    lines: list[tuple[str, str]] = []
    for kind, (_, colour, _, title) in _FORMS.items():
        members = [spot for spot in spots if spot.kind == kind]
        names = [
            f"{spot.label:\u2007>2} {spot.name}" for spot in members if spot.label != spot.name
        ]
        if members:
            lines += [(title, colour), *((name, "black") for name in names), ("", "black")]
    if any(math.isfinite(spot.x[1]) for spot in spots):
        lines.append(("Lines: 95 % intervals", "black"))
    return lines or [(NOBODY, "black")]


def _draw(panel: "Axes", kind: Kind, spots: Sequence[_Spot]) -> None:
    marker, edge, face, _ = _FORMS[kind]
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
        label=kind,
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


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    solid: Sequence[Box],
    thin: Sequence[Box] = (),
) -> list[Box]:
    """Return a box of the given width and height for each point, as close to it as possible.

    Any unit will do. One point after the other gets the first free place on rings around it that
    grow until they leave ``area``. No box overlaps another one or ``solid``, and none overlaps
    ``thin`` unless no other place is left. Where there is no place at all, the label covers its
    point.

    >>> place_labels([(50.0, 50.0)], [(8.0, 4.0)], Box(0.0, 0.0, 100.0, 100.0), solid=[])
    [Box(left=52.0, bottom=48.0, right=60.0, top=52.0)]
    """
    placed: list[Box] = []
    for point, size in zip(points, sizes, strict=True):
        free = _first_free(point, size, area, (*placed, *solid, *thin))
        free = free or _first_free(point, size, area, (*placed, *solid))
        placed.append(free or _around(point, size))
    return placed


def _first_free(
    point: tuple[float, float], size: tuple[float, float], area: Box, taken: Sequence[Box]
) -> Box | None:
    for box in _places(point, size, area):
        if area.contains(box) and not any(box.overlaps(other) for other in taken):
            return box
    return None


def _places(point: tuple[float, float], size: tuple[float, float], area: Box) -> Iterator[Box]:
    """Yield boxes around a point, the nearest ones first, each ring from the right on."""
    rings = math.ceil(max(area.right - area.left, area.top - area.bottom) / _STEP)
    for ring in range(rings):
        reach = _GAP + ring * _STEP
        for turn in range(_DIRECTIONS):
            angle = 2.0 * math.pi * turn / _DIRECTIONS
            across = math.cos(angle) * (size[0] / 2.0 + reach)
            up = math.sin(angle) * (size[1] / 2.0 + reach)
            yield _around((point[0] + across, point[1] + up), size)


def _around(centre: tuple[float, float], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = centre, size
    return Box(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)

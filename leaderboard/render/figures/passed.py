"""The figure of what passes of a new task's gradient, against the distance between tasks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftboard.leaderboard.claim.passed import Passed
from driftboard.leaderboard.claim.trend import GROUPS
from driftboard.leaderboard.formatting import short_names
from driftboard.leaderboard.render.figures.drawing import (
    BLUE,
    GREEN,
    PAGE,
    PURPLE,
    VERMILION,
    half_widths,
    house_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 2.8  # inches
_STYLES = ((BLUE, "o"), (VERMILION, "^"), (GREEN, "s"), (PURPLE, "D"))

MOST_SERIES = len(_STYLES)


def drawn_strategies(found: Sequence[Passed]) -> tuple[str, ...]:
    """Return the strategies that the figure shows: the first ones by name."""
    return tuple(sorted({one.strategy for one in found})[:MOST_SERIES])


@house_style()
def passed_figure(found: Sequence[Passed]) -> "Figure":
    """Draw a panel for every group of sequences, with a series for each strategy."""
    from matplotlib.figure import Figure

    strategies = drawn_strategies(found)
    styles = dict(zip(strategies, _STYLES, strict=False))
    names = short_names(strategies)
    groups = [group for group in GROUPS if any(one.group == group for one in found)]
    figure = Figure(figsize=(PAGE, _HEIGHT), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, group in zip(panels, groups, strict=True):
        panel.set_title(GROUPS[group])
        panel.set_xlabel("measured distance")
        for one in found:
            if one.group == group and one.strategy in styles:
                _draw(panel, one, names[one.strategy], *styles[one.strategy])
    panels[0].set_ylabel("part of the gradient that passes (%)")
    handles = dict[str, Any]()  # by label: a panel may lack a strategy of another
    for panel in panels:
        drawn, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=MOST_SERIES,
        frameon=False,
    )
    return figure


def _draw(panel: "Axes", one: Passed, name: str, colour: str, marker: str) -> None:
    """Draw the graded sequences of one strategy with their intervals."""
    points = [point for point in one.points if point.grade is not None and point.by_seed]
    distances = [point.grade.distance for point in points if point.grade is not None]
    panel.errorbar(
        [distance.value for distance in distances],
        [100.0 * point.interval.mean for point in points],
        xerr=half_widths([distance.value - distance.low for distance in distances]),
        yerr=half_widths([100.0 * (p.interval.mean - p.interval.low) for p in points]),
        color=colour,
        marker=marker,
        markersize=4,
        linestyle="none",
        elinewidth=0.7,
        label=name,
    )

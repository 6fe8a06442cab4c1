"""The figures of the claim and of a sweep: curves against the distance or the update magnitude.

Markers and lines tell groups and metrics apart without colour as well.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftboard.leaderboard.claim.magnitude import Curve, Sweep
from driftboard.leaderboard.claim.trend import GROUPS, HYBRID, PAPER, Claim, ContrastResult, Group
from driftboard.leaderboard.render.figures.drawing import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    PAGE,
    VERMILION,
    half_widths,
    house_style,
    images,
    unit_of,
)
from driftboard.suite.records import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_HEIGHT = 2.2  # inches: of a row of the claim's panels
_PANEL_HEIGHT = 1.9  # inches: of a panel of a sweep

_STYLES: dict[Group, tuple[str, str, str]] = {
    "full": (BLUE, "o", "-"),
    "few-shot": (VERMILION, "^", "--"),
}
_COLOURS = (BLUE, VERMILION, GREEN)
_MARKERS = ("o", "s", "^")


@house_style()
def claim_figure(claim: Claim) -> "Figure":
    """Draw a panel for every metric, in a row for each contrast: the paper's, and the hybrid's.

    The hybrid's row is left out where it has no points.
    """
    from matplotlib.figure import Figure

    contrasts = [
        contrast
        for contrast in (PAPER, HYBRID)
        if any(point.grade for result in claim.of(contrast) for point in result.points)
    ]
    figure = Figure(figsize=(PAGE, _ROW_HEIGHT * len(contrasts) + 0.3), layout="constrained")
    panels = figure.subplots(len(contrasts), len(claim.metrics), sharex=True, squeeze=False)
    for row, contrast in zip(panels, contrasts, strict=True):
        for panel, metric in zip(row, claim.metrics, strict=True):
            better = "lower" if metric.lower_is_better else "higher"
            panel.set_title(f"{metric.title} ({better}: {contrast.first} ahead)")
            panel.axhline(0.0, color=GREY, linewidth=0.8)
            for result in claim.of(contrast):
                if result.metric == metric:
                    _draw_result(panel, result)
        unit = " (points)" if claim.metrics[0].is_share else ""
        row[0].set_ylabel(contrast.title.replace(" - ", " \u2212\n") + unit)
    for panel in panels[-1]:
        panel.set_xlabel("measured distance")
    # Every panel has the same groups, but one may lack the points of a group.
    found = dict[str, Any]()
    for panel in panels.flat:
        handles, labels = panel.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    labels = [label for label in GROUPS.values() if label in found]
    handles = [found[label] for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw_result(panel: "Axes", result: ContrastResult) -> None:
    """Draw the graded points of one group with their intervals, and the fitted line."""
    color, marker, line = _STYLES[result.group]
    unit = unit_of(result.metric)
    points = [point for point in result.points if point.grade is not None]
    if not points:
        return
    distances = [point.grade.distance for point in points if point.grade is not None]
    panel.errorbar(
        [distance.value for distance in distances],
        [unit * point.difference.mean for point in points],
        xerr=half_widths([d.value - d.low for d in distances]),
        yerr=half_widths([unit * (p.difference.mean - p.difference.low) for p in points]),
        color=color,
        marker=marker,
        markersize=4,
        linestyle="none",
        elinewidth=0.7,
        label=GROUPS[result.group],
    )
    trend = result.trend
    if trend is not None:
        ends = (trend.nearest, trend.farthest)
        start, rise = trend.intercept.sequences.value, trend.slope.sequences.value
        heights = [unit * (start + rise * end) for end in ends]
        panel.plot(ends, heights, color=color, linestyle=line, linewidth=1.2)


@house_style()
def sweep_figure(sweep: Sweep) -> "Figure":
    """Draw a panel for every curve; a dashed line marks the best magnitude."""
    from matplotlib.figure import Figure

    height = _PANEL_HEIGHT * len(sweep.curves)
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    panels = figure.subplots(len(sweep.curves), 1, sharex=True, squeeze=False)[:, 0]
    for place, (panel, curve) in enumerate(zip(panels, sweep.curves, strict=True)):
        _draw_curve(panel, sweep, curve, place)
    panels[-1].set_xlabel(f"update magnitude: {sweep.kind}")
    panels[0].set_title(sweep.sequence)
    return figure


def _draw_curve(panel: "Axes", sweep: Sweep, curve: Curve, place: int) -> None:
    colour, unit = _COLOURS[place % len(_COLOURS)], unit_of(curve.metric)
    means = [unit * one.mean for one in curve.intervals]
    below = [unit * (one.mean - one.low) for one in curve.intervals]
    above = [unit * (one.high - one.mean) for one in curve.intervals]
    panel.errorbar(
        sweep.magnitudes,
        means,
        yerr=(below, above) if sweep.seeds > 1 else None,
        color=colour,
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=3,
        linewidth=1,
        capsize=2,
        label="measured",
    )
    if curve.exact is not None:
        exact = [unit * one for one in curve.exact]
        panel.plot(sweep.magnitudes, exact, color="black", linestyle=":", label="exact")
    lost = [one for one, count in enumerate(sweep.diverged) if count]
    if lost:
        places, heights = [sweep.magnitudes[one] for one in lost], [means[one] for one in lost]
        panel.plot(places, heights, "x", color="black", label="with diverged seeds")
    if lost or curve.exact is not None:
        panel.legend(frameon=False)
    panel.axvline(sweep.magnitudes[curve.best], color=colour, linewidth=0.8, linestyle="--")
    panel.set_ylabel(curve.metric.title + (" (%)" if curve.metric.is_share else ""))


def write_figures(sweep: Sweep, folder: Path) -> None:
    """Write ``curve.svg`` and ``curve.png`` below ``folder``."""
    for form, image in images(sweep_figure(sweep)).items():
        write_atomically(folder / f"curve.{form}", image)

"""The claim as a figure: differences of two strategies against the distance of the sequences.

Groups are told apart without colour as well: by the marker and by the line.
"""

import math
from typing import TYPE_CHECKING, Any

from driftboard.leaderboard.claim.claim import GROUPS, HYBRID, PAPER, Claim, Finding, Group
from driftboard.leaderboard.render.figures.drawing import BLUE, GREY, PAGE, VERMILION, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_HEIGHT = 2.2  # inches

_STYLES: dict[Group, tuple[str, str, str]] = {
    "full": (BLUE, "o", "-"),
    "few-shot": (VERMILION, "^", "--"),
}


@house_style()
def claim_figure(claim: Claim) -> "Figure":
    """Draw a panel for every metric, in a row for each contrast: the paper's, and the hybrid's.

    The hybrid's row is left out where it has no points.
    """
    from matplotlib.figure import Figure

    contrasts = [
        contrast
        for contrast in (PAPER, HYBRID)
        if any(point.grade for finding in claim.of(contrast) for point in finding.points)
    ]
    figure = Figure(figsize=(PAGE, _ROW_HEIGHT * len(contrasts) + 0.3), layout="constrained")
    panels = figure.subplots(len(contrasts), len(claim.metrics), sharex=True, squeeze=False)
    for row, contrast in zip(panels, contrasts, strict=True):
        for panel, metric in zip(row, claim.metrics, strict=True):
            better = "lower" if metric.lower_is_better else "higher"
            panel.set_title(f"{metric.title} ({better}: {contrast.first} ahead)")
            panel.axhline(0.0, color=GREY, linewidth=0.8)
            for finding in claim.of(contrast):
                if finding.metric == metric:
                    _draw(panel, finding)
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


def _draw(panel: "Axes", finding: Finding) -> None:
    """Draw the graded points of one group with their intervals, and the fitted line."""
    color, marker, line = _STYLES[finding.group]
    unit = 100.0 if finding.metric.is_share else 1.0
    points = [point for point in finding.points if point.grade is not None]
    if not points:
        return
    distances = [point.grade.distance for point in points if point.grade is not None]
    panel.errorbar(
        [distance.value for distance in distances],
        [unit * point.difference.mean for point in points],
        xerr=_half([d.value - d.low for d in distances]),
        yerr=_half([unit * (p.difference.mean - p.difference.low) for p in points]),
        color=color,
        marker=marker,
        markersize=4,
        linestyle="none",
        elinewidth=0.7,
        label=GROUPS[finding.group],
    )
    trend = finding.trend
    if trend is not None:
        ends = (trend.nearest, trend.farthest)
        heights = [unit * (trend.intercept.mean + trend.slope.mean * end) for end in ends]
        panel.plot(ends, heights, color=color, linestyle=line, linewidth=1.2)


def _half(widths: list[float]) -> list[float]:
    """Return half widths of symmetric intervals, 0 where a single seed gives none."""
    return [0.0 if math.isnan(width) else width for width in widths]

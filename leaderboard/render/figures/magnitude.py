"""The figure of a sweep: every metric against the update magnitude, with its interval."""

from pathlib import Path
from typing import TYPE_CHECKING

from driftboard.leaderboard.claim.magnitude_curve import Curve, Sweep
from driftboard.leaderboard.render.figures.drawing import (
    BLUE,
    COLUMN,
    GREEN,
    VERMILION,
    house_style,
    images,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILION, GREEN)
_MARKERS = ("o", "s", "^")
_PANEL_HEIGHT = 1.9  # inches


@house_style()
def sweep_figure(sweep: Sweep) -> "Figure":
    """Draw a panel for every curve; a dashed line marks the best magnitude."""
    from matplotlib.figure import Figure

    height = _PANEL_HEIGHT * len(sweep.curves)
    figure = Figure(figsize=(COLUMN, height), layout="constrained")
    panels = figure.subplots(len(sweep.curves), 1, sharex=True, squeeze=False)[:, 0]
    for place, (panel, curve) in enumerate(zip(panels, sweep.curves, strict=True)):
        _draw(panel, sweep, curve, place)
    panels[-1].set_xlabel(f"update magnitude: {sweep.kind}")
    panels[0].set_title(sweep.sequence)
    return figure


def _draw(panel: "Axes", sweep: Sweep, curve: Curve, place: int) -> None:
    colour, percent = _COLOURS[place % len(_COLOURS)], curve.measured.high == 1.0
    scale = 100.0 if percent else 1.0
    means = [scale * one.mean for one in curve.intervals]
    below = [scale * (one.mean - one.low) for one in curve.intervals]
    above = [scale * (one.high - one.mean) for one in curve.intervals]
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
    if curve.measured.exact is not None:
        exact = [scale * one for one in curve.measured.exact]
        panel.plot(sweep.magnitudes, exact, color="black", linestyle=":", label="exact")
        panel.legend(frameon=False)
    panel.axvline(sweep.magnitudes[curve.best], color=colour, linewidth=0.8, linestyle="--")
    panel.set_ylabel(curve.measured.title + (" (%)" if percent else ""))


def write_figures(sweep: Sweep, folder: Path) -> None:
    """Write ``curve.svg`` and ``curve.png`` below ``folder``."""
    from driftboard.suite.records import write_atomically

    for form, image in images(sweep_figure(sweep)).items():
        write_atomically(folder / f"curve.{form}", image)

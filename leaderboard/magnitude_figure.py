"""The figure of a sweep: every metric against the update magnitude, with its interval."""

import io
from pathlib import Path
from typing import Any

from driftboard.leaderboard.magnitude_curve import Curve, Sweep

COLOURS = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito's, told apart by colour-blind readers
MARKERS = ("o", "s", "^")


def figure_bytes(sweep: Sweep, kind: str) -> bytes:
    """Return the figure as ``svg`` or ``png``; the same sweep gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "driftboard", "font.size": 8, "svg.fonttype": "none"}):
        figure = Figure(figsize=(3.4, 1.9 * len(sweep.curves)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(sweep.curves), 1, sharex=True, squeeze=False)[:, 0]
        for place, (panel, curve) in enumerate(zip(panels, sweep.curves, strict=True)):
            _draw(panel, sweep, curve, place)
        panels[-1].set_xlabel(f"update magnitude: {sweep.kind}")
        panels[0].set_title(sweep.sequence, parse_math=False)
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _draw(panel: Any, sweep: Sweep, curve: Curve, place: int) -> None:
    colour, percent = COLOURS[place % len(COLOURS)], curve.measured.high == 1.0
    scale = 100.0 if percent else 1.0
    means = [scale * one.mean for one in curve.intervals]
    below = [scale * (one.mean - one.low) for one in curve.intervals]
    above = [scale * (one.high - one.mean) for one in curve.intervals]
    panel.errorbar(
        sweep.magnitudes,
        means,
        yerr=(below, above) if sweep.seeds > 1 else None,
        color=colour,
        marker=MARKERS[place % len(MARKERS)],
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
    panel.set_ylabel(curve.measured.title + (" (%)" if percent else ""), parse_math=False)
    panel.spines[["top", "right"]].set_visible(False)


def write_figures(sweep: Sweep, folder: Path) -> None:
    """Write ``curve.svg`` and ``curve.png`` below ``folder``."""
    from driftboard.suite.records import write_atomically

    for kind in ("svg", "png"):
        write_atomically(folder / f"curve.{kind}", figure_bytes(sweep, kind))

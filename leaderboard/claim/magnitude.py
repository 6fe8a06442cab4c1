"""Curves of accuracy and forgetting against the update magnitude, with intervals over seeds."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from driftboard.leaderboard.analysis.cells import METRICS, Metric
from driftboard.leaderboard.analysis.statistics import (
    SIGNIFICANT,
    Interval,
    holm,
    mean,
    mean_interval,
    paired_difference,
)
from driftboard.suite import metrics
from driftboard.suite.sweeps import SweepRecord

COLUMNS: tuple[str, ...] = ("sequence", "kind", "metric", "magnitude", "mean", "low", "high", "n")
COLUMNS += ("best", "tied", "exact", "update_norm", "diverged", "finished")

_ACCURACY = {
    "avg_acc": metrics.average_accuracy,
    "forgetting": metrics.forgetting,
    "task_acc": metrics.task_accuracy,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric against magnitude: an interval over seeds for each magnitude.

    ``best`` is the index of the magnitude with the best mean. ``tied`` holds the indices of those
    that are not significantly worse (paired t over seeds, Holm's correction over the other
    magnitudes). ``exact`` and ``exact_best`` are what theory expects, where it is known.
    ``finished`` are the means without learners that diverged, NaN where none did or all.
    """

    metric: Metric
    intervals: tuple[Interval, ...]
    best: int
    tied: tuple[int, ...]
    exact: Sequence[float] | None = None
    exact_best: float | None = None
    finished: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """All curves of one sweep."""

    sequence: str
    kind: str
    magnitudes: tuple[float, ...]
    seeds: int
    curves: tuple[Curve, ...]
    update_norms: tuple[float, ...] | None  # of what finished: over seeds, all tasks but the first
    diverged: tuple[int, ...]


def sweep_of(records: Sequence[SweepRecord]) -> Sweep:
    """Return the curves of one sweep, whose records are one per seed and at least one."""
    first = records[0]
    places = range(len(first.magnitudes))
    matrices = [
        [metrics.accuracy_matrix(record.correct[place], record.test_sizes) for record in records]
        for place in places
    ]
    finished = [
        [seed for seed, record in enumerate(records) if not record.diverged[place]]
        for place in places
    ]
    curves = []
    for metric in METRICS["accuracy"]:
        function = _ACCURACY[metric.name]
        curves.append(
            curve_of(metric, [[function(one) for one in row] for row in matrices], finished)
        )
    return Sweep(
        sequence=first.sequence.name,
        kind=first.kind,
        magnitudes=first.magnitudes,
        seeds=len(records),
        curves=tuple(curves),
        update_norms=tuple(
            mean([fmean(records[seed].update_norms[place][1:]) for seed in finished[place]])
            for place in places
        ),
        diverged=tuple(sum(record.diverged[place] for record in records) for place in places),
    )


def sweep_of_losses(
    sequence: str,
    fractions: tuple[float, ...],
    measured: Mapping[str, Sequence[Sequence[float]]],
    exact: Mapping[str, Sequence[float]],
    optima: Mapping[str, float],
) -> Sweep:
    """Return the curves of a linear sequence, each with its exact expectation.

    Args:
        sequence: its name.
        fractions: of the update, ascending.
        measured: by metric (avg_loss, forgetting, task_loss), fraction and seed.
        exact: by metric and fraction.
        optima: by metric, where theory knows the best fraction.
    """
    curves = tuple(
        curve_of(metric, measured[metric.name], None, exact[metric.name], optima.get(metric.name))
        for metric in METRICS["excess-loss"]
    )
    seeds = len(measured["avg_loss"][0])
    return Sweep(sequence, "fraction", fractions, seeds, curves, None, (0,) * len(fractions))


def curve_of(
    metric: Metric,
    values: Sequence[Sequence[float]],
    finished: Sequence[Sequence[int]] | None = None,
    exact: Sequence[float] | None = None,
    exact_best: float | None = None,
) -> Curve:
    """Return the curve of a metric whose ``values[m][s]`` belong to magnitude m and seed s.

    ``finished[m]`` are the places s of those that did not diverge, by default all.
    """
    intervals = tuple(mean_interval(row, metric.low, metric.high) for row in values)
    sign = -1.0 if metric.lower_is_better else 1.0
    best = max(range(len(intervals)), key=lambda place: sign * intervals[place].mean)
    reference = dict(enumerate(values[best]))
    others = [place for place in range(len(intervals)) if place != best]
    worse = [paired_difference(dict(enumerate(values[one])), reference).p for one in others]
    adjusted = dict(zip(others, holm(worse), strict=True))
    tied = tuple(p for p in range(len(intervals)) if not adjusted.get(p, 1.0) < SIGNIFICANT)
    without = None
    if finished is not None:
        without = [
            mean([row[seed] for seed in kept]) if len(kept) < len(row) else math.nan
            for row, kept in zip(values, finished, strict=True)
        ]
    return Curve(metric, intervals, best, tied, exact, exact_best, without)


def files_of(sweep: Sweep, command: str) -> Mapping[str, str]:
    """Return the text files of a sweep by name."""
    return {"curve.md": markdown_of(sweep, command), "curve.csv": csv_of(sweep)}


def csv_of(sweep: Sweep) -> str:
    """Return the curves as tidy CSV, one row per metric and magnitude."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in sweep.curves:
        for place, magnitude in enumerate(sweep.magnitudes):
            interval = curve.intervals[place]
            exact = math.nan if curve.exact is None else curve.exact[place]
            norm = math.nan if sweep.update_norms is None else sweep.update_norms[place]
            finished = math.nan if curve.finished is None else curve.finished[place]
            writer.writerow(
                [
                    *(sweep.sequence, sweep.kind, curve.metric.name, _number(magnitude)),
                    *map(_number, (interval.mean, interval.low, interval.high)),
                    *(interval.n, int(place == curve.best), int(place in curve.tied)),
                    *(_number(exact), _number(norm), sweep.diverged[place], _number(finished)),
                ]
            )
    return text.getvalue()


def markdown_of(sweep: Sweep, command: str) -> str:
    """Return the curves as a Markdown table with the optimum of every metric."""
    head = [f"{sweep.kind}", *(curve.metric.title for curve in sweep.curves)]
    lines = [
        f"# `{sweep.sequence}`: the update magnitude, by {sweep.kind}",
        "",
        f"{sweep.seeds} seeds; mean and 95 % interval over seeds (Student t). **Bold**: best mean. "
        "`~`: not significantly worse than it (paired t over seeds, Holm).",
        "",
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---:" for _ in head) + " |",
    ]
    for place, magnitude in enumerate(sweep.magnitudes):
        cells = [_cell(curve, place) for curve in sweep.curves]
        lines.append("| " + " | ".join([f"{magnitude:g}", *cells]) + " |")
    lines.append("")
    lines += [f"- {optimum_text(sweep, curve)}" for curve in sweep.curves]
    lines += [f"- {text}" for text in divergence_texts(sweep)]
    lines += ["", f"Command: `{command}`", ""]
    return "\n".join(lines)


def optimum_text(sweep: Sweep, curve: Curve) -> str:
    """Return one sentence on where a metric is best."""
    tied = ", ".join(f"{sweep.magnitudes[place]:g}" for place in curve.tied)
    text = (
        f"{curve.metric.title} is best at {sweep.kind} {sweep.magnitudes[curve.best]:g}; "
        f"as good as seeds can tell: {tied}"
    )
    if curve.exact_best is not None:
        text += f"; the exact optimum is {curve.exact_best:.3f}"
    return text + "."


def divergence_texts(sweep: Sweep) -> list[str]:
    """Return a sentence for each magnitude at which learners diverged."""
    texts = []
    for place, magnitude in enumerate(sweep.magnitudes):
        if not sweep.diverged[place]:
            continue
        means = [
            f"{curve.metric.title} {_shown(curve, curve.finished[place])}"
            for curve in sweep.curves
            if curve.finished is not None and not math.isnan(curve.finished[place])
        ]
        texts.append(
            f"At {sweep.kind} {magnitude:g} {sweep.diverged[place]} of {sweep.seeds} seeds "
            "diverged and count with the accuracy of chance; without them "
            f"{', '.join(means) or 'nothing is left'}."
        )
    return texts


def _shown(curve: Curve, value: float) -> str:
    scale, form = (100.0, "z.1f") if curve.metric.is_share else (1.0, "z.4f")
    return f"{scale * value:{form}}"


def _cell(curve: Curve, place: int) -> str:
    interval = curve.intervals[place]
    shown = _shown(curve, interval.mean)
    text = f"**{shown}**" if place == curve.best else shown
    if not math.isnan(interval.low):
        text += f" [{_shown(curve, interval.low)}, {_shown(curve, interval.high)}]"
    if curve.exact is not None:
        text += f" (exact {_shown(curve, curve.exact[place])})"
    return text + (" ~" if place in curve.tied and place != curve.best else "")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"

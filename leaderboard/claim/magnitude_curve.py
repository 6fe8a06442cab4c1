"""Curves of accuracy and forgetting against the update magnitude, with intervals over seeds."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftboard.leaderboard.analysis.statistics import (
    Interval,
    holm,
    mean_interval,
    paired_difference,
)
from driftboard.suite import metrics
from driftboard.suite.sweeps import SweepRecord

SIGNIFICANT = 0.05

COLUMNS = (
    "sequence",
    "kind",
    "metric",
    "magnitude",
    "mean",
    "low",
    "high",
    "n",
    "best",
    "tied",
    "exact",
    "update_norm",
    "diverged",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric over magnitudes and seeds: ``values[m][s]`` at magnitude m of seed s."""

    name: str
    title: str
    higher_is_better: bool
    low: float
    high: float
    values: Sequence[Sequence[float]]
    exact: Sequence[float] | None = None  # where theory says what to expect
    exact_best: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric against magnitude.

    ``best`` is the place of the best mean; ``tied`` the places that are not significantly worse
    (paired t over seeds, Holm's correction over the other magnitudes).
    """

    measured: Measured
    intervals: tuple[Interval, ...]
    best: int
    tied: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All curves of one sweep."""

    sequence: str
    kind: str
    magnitudes: tuple[float, ...]
    seeds: int
    curves: tuple[Curve, ...]
    update_norms: tuple[float, ...] | None  # mean over tasks but the first, and seeds
    diverged: tuple[int, ...]


def sweep_of(records: Sequence[SweepRecord]) -> Sweep:
    """Return the curves of the records of one sweep, one per seed; at least one."""
    first = records[0]
    places = range(len(first.magnitudes))

    def values(metric: str) -> list[list[float]]:
        function = getattr(metrics, metric)
        return [
            [function(metrics.accuracy_matrix(r.correct[m], r.test_sizes)) for r in records]
            for m in places
        ]

    measured = (
        Measured("avg_acc", "Avg.Acc", True, 0.0, 1.0, values("average_accuracy")),
        Measured("forgetting", "Forgetting", False, -1.0, 1.0, values("forgetting")),
        Measured("task_acc", "Task.Acc", True, 0.0, 1.0, values("task_accuracy")),
    )
    return Sweep(
        sequence=first.sequence.name,
        kind=first.kind,
        magnitudes=first.magnitudes,
        seeds=len(records),
        curves=tuple(curve_of(one) for one in measured),
        update_norms=tuple(_mean([_later(r.update_norms[m]) for r in records]) for m in places),
        diverged=tuple(sum(r.diverged[m] for r in records) for m in places),
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
    titles = {"avg_loss": "Avg.Loss", "forgetting": "Forgetting", "task_loss": "Task.Loss"}
    lows = {"avg_loss": 0.0, "forgetting": -math.inf, "task_loss": 0.0}
    curves = tuple(
        curve_of(
            Measured(
                name,
                title,
                False,
                lows[name],
                math.inf,
                measured[name],
                exact[name],
                optima.get(name),
            )
        )
        for name, title in titles.items()
    )
    seeds = len(measured["avg_loss"][0])
    return Sweep(sequence, "fraction", fractions, seeds, curves, None, (0,) * len(fractions))


def curve_of(measured: Measured) -> Curve:
    """Return intervals, the best magnitude, and those that are as good as seeds can tell."""
    intervals = [mean_interval(row, measured.low, measured.high) for row in measured.values]
    sign = 1.0 if measured.higher_is_better else -1.0
    best = max(range(len(intervals)), key=lambda place: sign * intervals[place].mean)
    others = [place for place in range(len(intervals)) if place != best]
    seeds = range(len(measured.values[best]))
    reference = {seed: measured.values[best][seed] for seed in seeds}
    worse = [
        paired_difference({seed: measured.values[place][seed] for seed in seeds}, reference).p
        for place in others
    ]
    adjusted = dict(zip(others, holm(worse), strict=True))
    tied = tuple(p for p in range(len(intervals)) if not adjusted.get(p, 1.0) < SIGNIFICANT)
    return Curve(measured, tuple(intervals), best, tied)


def csv_of(sweep: Sweep) -> str:
    """Return the curves as tidy CSV, one row per metric and magnitude."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in sweep.curves:
        exact = curve.measured.exact
        for place, magnitude in enumerate(sweep.magnitudes):
            interval = curve.intervals[place]
            norm = "" if sweep.update_norms is None else f"{sweep.update_norms[place]:.6g}"
            writer.writerow(
                [
                    *(sweep.sequence, sweep.kind, curve.measured.name, f"{magnitude:.6g}"),
                    *map(_number, (interval.mean, interval.low, interval.high)),
                    interval.n,
                    int(place == curve.best),
                    int(place in curve.tied),
                    "" if exact is None else _number(exact[place]),
                    norm,
                    sweep.diverged[place],
                ]
            )
    return text.getvalue()


def markdown_of(sweep: Sweep, command: str) -> str:
    """Return the curves as a Markdown table with the optimum of every metric."""
    head = [f"{sweep.kind}", *(curve.measured.title for curve in sweep.curves)]
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
        if sweep.diverged[place]:
            cells[0] += f" ({sweep.diverged[place]} diverged)"
        lines.append("| " + " | ".join([f"{magnitude:g}", *cells]) + " |")
    lines.append("")
    lines += [f"- {optimum_text(sweep, curve)}" for curve in sweep.curves]
    lines += ["", f"Command: `{command}`", ""]
    return "\n".join(lines)


def optimum_text(sweep: Sweep, curve: Curve) -> str:
    """Return one sentence on where a metric is best."""
    tied = [sweep.magnitudes[place] for place in curve.tied]
    text = (
        f"{curve.measured.title} is best at {sweep.kind} {sweep.magnitudes[curve.best]:g}; "
        f"as good as seeds can tell: {', '.join(f'{one:g}' for one in tied)}"
    )
    if curve.measured.exact_best is not None:
        text += f"; the exact optimum is {curve.measured.exact_best:.3f}"
    return text + "."


def _cell(curve: Curve, place: int) -> str:
    interval, percent = curve.intervals[place], curve.measured.high == 1.0
    scale, form = (100.0, "z.1f") if percent else (1.0, "z.4f")
    mean = f"{scale * interval.mean:{form}}"
    text = f"**{mean}**" if place == curve.best else mean
    if not math.isnan(interval.low):
        text += f" [{scale * interval.low:{form}}, {scale * interval.high:{form}}]"
    if curve.measured.exact is not None:
        text += f" (exact {scale * curve.measured.exact[place]:{form}})"
    return text + (" ~" if place in curve.tied and place != curve.best else "")


def _later(norms: Sequence[float]) -> float:
    return _mean(norms[1:])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def files_of(sweep: Sweep, command: str) -> Mapping[str, str]:
    """Return the text files of a sweep by name."""
    return {"curve.md": markdown_of(sweep, command), "curve.csv": csv_of(sweep)}

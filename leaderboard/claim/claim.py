"""The paper's claim under test: does a small distance between tasks favour freezing?

Every comparison of two strategies is laid against the measured distance of the sequences. What
is estimated is over new seeds on these sequences: distances and sequences count as given.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.analysis.collect import Collection
from driftboard.leaderboard.analysis.metric import METRICS, Metric
from driftboard.leaderboard.analysis.statistics import (
    Interval,
    PairedDifference,
    line_fit,
    mean_interval,
    paired_difference,
    spearman,
)
from driftboard.suite.distance.distance import Estimate, jackknife
from driftboard.suite.distance.grades import Grade
from driftboard.suite.errors import RecordError

FEWEST_SEQUENCES = 3  # a line through two points fits always

Group = Literal["full", "few-shot"]
GROUPS: dict[Group, str] = {"full": "full data", "few-shot": "few samples in later tasks"}
"""The groups in which sequences are looked at apart, with their titles."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A strategy minus another one, or minus the best of several on each sequence."""

    first: str
    others: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its name, e.g. ``frozen - initialized``."""
        if len(self.others) == 1:
            return f"{self.first} - {self.others[0]}"
        return f"{self.first} - best of {' and '.join(self.others)}"


PAPER = Contrast("frozen", ("initialized",))
HYBRID = Contrast("hybrid", ("frozen", "initialized"))
CONTRASTS = (
    PAPER,
    Contrast("frozen-reset", ("initialized",)),
    Contrast("frozen", ("scratch",)),
    Contrast("frozen", ("sgd",)),
    Contrast("initialized", ("scratch",)),
    HYBRID,
)
"""The paper's, then the same under other readings of what restarts, then the paper's hybrid."""


@dataclass(frozen=True, slots=True)
class Point:
    """A contrast on one sequence: ``by_seed`` holds the differences of one metric.

    ``other`` is the strategy that was subtracted; ``grade`` is None without a usable distance.
    """

    sequence: str
    group: Group
    grade: Grade | None
    other: str
    by_seed: Mapping[int, float]
    difference: PairedDifference

    @property
    def distance(self) -> float:
        """The measured distance, infinite where there is none, so that it sorts last."""
        return math.inf if self.grade is None else self.grade.distance.value


@dataclass(frozen=True, slots=True)
class Trend:
    """How a contrast's difference depends on the distance, over the graded sequences of a group.

    Everything is over the ``seeds`` that all of these sequences share. ``spearman`` is the rank
    correlation of mean difference and distance, with a jackknife interval over seeds. A line is
    fitted to every seed's differences: ``slope`` and ``intercept`` are the means of theirs, and
    ``at_nearest`` that of the lines' values at the smallest distance, ``nearest``; with t
    intervals over seeds. ``crossover`` is where the mean line is zero, with a jackknife interval;
    None if the interval of the slope contains zero or the line has no zero in the measured range,
    from ``nearest`` to ``farthest``.
    """

    sequences: int
    seeds: int
    nearest: float
    farthest: float
    spearman: Estimate
    slope: Interval
    intercept: Interval
    at_nearest: Interval
    crossover: Estimate | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One contrast in one metric over one group of sequences.

    ``missing`` names the sequences on which the strategies share no seed; ``no_trend`` says why
    there is no trend where there is none.
    """

    contrast: Contrast
    metric: Metric
    group: Group
    points: tuple[Point, ...]  # by distance, those without one last
    missing: tuple[str, ...]
    trend: Trend | None
    no_trend: str

    @property
    def change(self) -> Literal["falls", "rises", "unclear"]:
        """What the first strategy's advantage does as the distance grows.

        Clear only if the intervals of slope and rank correlation both exclude zero.
        """
        if self.trend is None:
            return "unclear"
        sign = self._advantage(self.trend.slope)
        if sign == 0 or sign != self._advantage(self.trend.spearman):
            return "unclear"
        return "rises" if sign > 0 else "falls"

    @property
    def ahead(self) -> Literal["first", "other", "neither"]:
        """Which strategy is ahead at the smallest distance, by the interval of the fit there."""
        sign = 0 if self.trend is None else self._advantage(self.trend.at_nearest)
        if sign == 0:
            return "neither"
        return "first" if sign > 0 else "other"

    @property
    def holds(self) -> bool | None:
        """Whether a small distance favours the first strategy; None if that cannot be said."""
        if self.trend is None:
            return None
        return self.change == "falls" and self.ahead == "first"

    def _advantage(self, interval: Interval | Estimate) -> int:
        """Return the sign of an interval, positive for the first strategy; 0 if it has none."""
        sign = (interval.low > 0.0) - (interval.high < 0.0)
        return -sign if self.metric.lower_is_better else sign


@dataclass(frozen=True, slots=True)
class Claim:
    """All findings, by contrast, group and metric, and what they were made from.

    ``unusable`` says of every sequence without a usable distance why it has none; ``absent``
    names the graded sequences without a record.
    """

    findings: tuple[Finding, ...]
    unusable: Mapping[str, str]
    absent: tuple[str, ...]
    source: Collection

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the collection."""
        return METRICS[self.source.measure]

    def of(self, contrast: Contrast, group: Group | None = None) -> tuple[Finding, ...]:
        """Return the findings of one contrast, of one group only if it is named."""
        return tuple(
            finding
            for finding in self.findings
            if finding.contrast == contrast and group in (None, finding.group)
        )


def make_claim(collection: Collection, grades: Mapping[str, Grade]) -> Claim:
    """Compare the strategies of every contrast on every sequence, against its distance.

    ``grades`` are looked up by the hash of the sequence.

    Raises:
        RecordError: the collection lacks one of the paper's strategies, or none of its sequences
            has a usable distance.
    """
    strategies = {cell.strategy for cell in collection.cells}
    for name in (PAPER.first, *PAPER.others):
        if name not in strategies:
            raise RecordError(
                f"there are no records of {name!r}; the claim compares {PAPER.first!r} with "
                f"{PAPER.others[0]!r}, run both"
            )
    stamps = collection.sequences
    found = {name: grades.get(stamp.hash) for name, stamp in sorted(stamps.items())}
    usable = {
        name: grade
        for name, grade in found.items()
        if grade is not None and grade.level is not None
    }
    if not usable:
        raise RecordError(
            f"none of the {len(stamps)} sequences has a usable distance; measure distances with "
            "'driftboard grade' and name the folder of the grades as well"
        )
    hashes = {stamp.hash for stamp in stamps.values()}
    return Claim(
        findings=tuple(
            _finding(contrast, metric, group, collection, usable)
            for contrast in CONTRASTS
            for group in GROUPS
            for metric in METRICS[collection.measure]
        ),
        unusable={
            name: grade.note if grade is not None else "not measured"
            for name, grade in found.items()
            if name not in usable
        },
        absent=tuple(sorted(g.sequence for digest, g in grades.items() if digest not in hashes)),
        source=collection,
    )


def group_of(sequence: str) -> Group:
    """Return whether the later tasks of a sequence have few samples.

    A record does not tell the number of its training samples. The registry's names do, they are
    its documentation: few-shot sequences have a part ``fewshot``.
    """
    return "few-shot" if "fewshot" in re.split(r"[-._]", sequence) else "full"


def _finding(
    contrast: Contrast,
    metric: Metric,
    group: Group,
    collection: Collection,
    grades: Mapping[str, Grade],
) -> Finding:
    names = [name for name in sorted(collection.sequences) if group_of(name) == group]
    found = {name: _point(contrast, metric, name, collection, grades.get(name)) for name in names}
    points = [point for point in found.values() if point is not None]
    trend, no_trend = _trend([point for point in points if point.grade is not None])
    return Finding(
        contrast=contrast,
        metric=metric,
        group=group,
        points=tuple(sorted(points, key=lambda point: (point.distance, point.sequence))),
        missing=tuple(name for name, point in found.items() if point is None),
        trend=trend,
        no_trend=no_trend,
    )


def _point(
    contrast: Contrast, metric: Metric, sequence: str, collection: Collection, grade: Grade | None
) -> Point | None:
    """Return the contrast on one sequence, None if its strategies share no seed there."""
    values: dict[str, dict[int, float]] = {
        strategy: {} for strategy in (contrast.first, *contrast.others)
    }
    for cell in collection.cells:
        if cell.sequence == sequence and cell.strategy in values:
            values[cell.strategy][cell.seed] = cell.metrics[metric.name]
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in values.values())))
    if not seeds:
        return None
    first, *others = ({seed: by_seed[seed] for seed in seeds} for by_seed in values.values())
    totals = [math.fsum(other.values()) for other in others]
    best = totals.index(min(totals) if metric.lower_is_better else max(totals))
    other = others[best]
    return Point(
        sequence=sequence,
        group=group_of(sequence),
        grade=grade,
        other=contrast.others[best],
        by_seed={seed: first[seed] - other[seed] for seed in seeds},
        difference=paired_difference(first, other),
    )


def _trend(points: Sequence[Point]) -> tuple[Trend | None, str]:
    """Return the trend over graded points, or None and why there is none."""
    if len(points) < FEWEST_SEQUENCES:
        return None, f"{len(points)} graded of the {FEWEST_SEQUENCES} sequences that a fit needs"
    distances = [point.distance for point in points]
    if min(distances) == max(distances):
        return None, "all sequences have the same distance"
    seeds = sorted(set.intersection(*(set(point.by_seed) for point in points)))
    if not seeds:
        return None, "no seed is common to all sequences"
    by_seed = [[point.by_seed[seed] for point in points] for seed in seeds]
    fits = [line_fit(distances, differences) for differences in by_seed]
    slope, intercept = (_over_seeds([fit[part] for fit in fits]) for part in (0, 1))
    nearest, farthest = min(distances), max(distances)

    def rank_correlation(kept: Sequence[int]) -> float:
        means = [_mean([by_seed[seed][index] for seed in kept]) for index in range(len(points))]
        return spearman(distances, means)

    def crossing(kept: Sequence[int]) -> float:
        mean_slope = _mean([fits[seed][0] for seed in kept])
        return -_mean([fits[seed][1] for seed in kept]) / mean_slope if mean_slope else math.nan

    ranks = jackknife(rank_correlation, len(seeds))
    crossover = None
    if slope.low > 0.0 or slope.high < 0.0:
        found = jackknife(crossing, len(seeds))
        crossover = found if nearest <= found.value <= farthest else None
    return (
        Trend(
            sequences=len(points),
            seeds=len(seeds),
            nearest=nearest,
            farthest=farthest,
            spearman=Estimate(ranks.value, max(ranks.low, -1.0), min(ranks.high, 1.0), ranks.n),
            slope=slope,
            intercept=intercept,
            at_nearest=_over_seeds([one + rise * nearest for rise, one in fits]),
            crossover=crossover,
        ),
        "",
    )


def _over_seeds(values: Sequence[float]) -> Interval:
    return mean_interval(values, -math.inf, math.inf)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

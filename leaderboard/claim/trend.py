"""The paper's claim under test: does a small distance between tasks favour freezing?

The difference of two strategies on each sequence is related to the measured distance of its tasks.
Distances are taken as given; ``fit.py`` says what the intervals are over.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.analysis.cells import METRICS, Metric
from driftboard.leaderboard.analysis.collect import Collection
from driftboard.leaderboard.analysis.statistics import (
    ROUNDING,
    PairedDifference,
    common_seeds,
    paired_difference,
)
from driftboard.leaderboard.claim.fit import Fitted, Trend, fit_trend, values_to_fit
from driftboard.suite.distance.grades import Grade
from driftboard.suite.errors import RecordError
from driftboard.suite.sequences.task_sequence import family_of

Group = Literal["full", "few-shot"]
GROUPS: dict[Group, str] = {"full": "full data", "few-shot": "few samples in later tasks"}
"""The groups of sequences that are analysed separately, with their titles."""


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
"""The paper's contrast, the same under other readings of what restarts, and that of the hybrid."""


@dataclass(frozen=True, slots=True)
class ContrastPoint:
    """A contrast on one sequence; ``by_seed`` holds the differences in one metric.

    ``other`` is the strategy that was subtracted. ``grade`` is None where the sequence has no
    usable distance. ``finished`` is the difference without the seeds of which a run ``diverged``.
    """

    sequence: str
    grade: Grade | None
    other: str
    by_seed: Mapping[int, float]
    difference: PairedDifference
    diverged: int
    finished: PairedDifference

    @property
    def distance(self) -> float:
        """The measured distance; infinite where there is none, so that these sort last."""
        return math.inf if self.grade is None else self.grade.distance.value


@dataclass(frozen=True, slots=True)
class ContrastResult:
    """One contrast in one metric over one group of sequences.

    ``missing`` names the sequences on which the strategies share no seed. ``no_trend`` says why
    ``trend`` is None.
    """

    contrast: Contrast
    metric: Metric
    group: Group
    points: tuple[ContrastPoint, ...]  # by distance, those without one last
    missing: tuple[str, ...]
    trend: Trend | None
    no_trend: str

    @property
    def change(self) -> Literal["falls", "rises", "unclear"]:
        """What the first strategy's advantage does as the distance grows.

        It is unclear unless the intervals over sequences of slope and rank correlation both
        exclude zero, and from one seed.
        """
        if self.trend is None or self.trend.seeds < 2:
            return "unclear"
        sign = self._advantage(self.trend.slope)
        if sign == 0 or sign != self._advantage(self.trend.spearman):
            return "unclear"
        return "rises" if sign > 0 else "falls"

    @property
    def ahead(self) -> Literal["first", "other", "neither"]:
        """Which strategy is ahead at the smallest distance, by the interval over sequences."""
        if self.trend is None or self.trend.seeds < 2:
            return "neither"
        sign = self._advantage(self.trend.at_nearest)
        if sign == 0:
            return "neither"
        return "first" if sign > 0 else "other"

    @property
    def holds(self) -> bool | None:
        """Whether a small distance favours the first strategy; None without a trend."""
        if self.trend is None:
            return None
        return self.change == "falls" and self.ahead == "first"

    def _advantage(self, fitted: Fitted) -> int:
        """Return which way the sequences point: 1 to the first strategy, -1 to the other, 0."""
        sign = (fitted.sequences.low > ROUNDING) - (fitted.sequences.high < -ROUNDING)
        return -sign if self.metric.lower_is_better else sign


@dataclass(frozen=True, slots=True)
class Claim:
    """The results of all contrasts, groups and metrics, and the records they were made from.

    ``unusable`` maps every sequence without a usable distance to the reason; ``absent`` names the
    graded sequences without a record.
    """

    results: tuple[ContrastResult, ...]
    unusable: Mapping[str, str]
    absent: tuple[str, ...]
    source: Collection

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return METRICS[self.source.measure]

    def of(self, contrast: Contrast, group: Group | None = None) -> tuple[ContrastResult, ...]:
        """Return the results of one contrast, in all groups or in one."""
        return tuple(
            result
            for result in self.results
            if result.contrast == contrast and group in (None, result.group)
        )


def make_claim(collection: Collection, grades: Mapping[str, Grade]) -> Claim:
    """Return every contrast on every sequence and its trend with the distance.

    Args:
        collection: the records of all strategies.
        grades: by the hash of the sequence; those of other sequences are named as absent.

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
    usable = {name: grade for name, grade in found.items() if grade and grade.level is not None}
    if not usable:
        raise RecordError(
            f"none of the {len(stamps)} sequences has a usable distance; measure distances with "
            "'driftboard grade' and name the folder of the grades as well"
        )
    hashes = {stamp.hash for stamp in stamps.values()}
    return Claim(
        results=tuple(
            _result(contrast, metric, group, collection, usable)
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
    """Return the group of a sequence by its name.

    Records do not say how many training samples a task has, but the registry's names do: a
    few-shot sequence has the part ``fewshot``.

    >>> group_of("cifar100-fewshot-5"), group_of("digits-split")
    ('few-shot', 'full')
    """
    return "few-shot" if "fewshot" in re.split(r"[-._]", sequence) else "full"


def _result(
    contrast: Contrast,
    metric: Metric,
    group: Group,
    collection: Collection,
    grades: Mapping[str, Grade],
) -> ContrastResult:
    names = [name for name in sorted(collection.sequences) if group_of(name) == group]
    found = {name: _point(contrast, metric, name, collection, grades.get(name)) for name in names}
    points = [point for point in found.values() if point is not None]
    trend, no_trend = _trend([point for point in points if point.grade is not None])
    return ContrastResult(
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
) -> ContrastPoint | None:
    """Return the contrast on one sequence; None if its strategies share no seed there."""
    names = (contrast.first, *contrast.others)
    values: dict[str, dict[int, float]] = {strategy: {} for strategy in names}
    diverged: dict[str, set[int]] = {strategy: set() for strategy in names}
    for cell in collection.cells:
        if cell.sequence == sequence and cell.strategy in values:
            values[cell.strategy][cell.seed] = cell.metrics[metric.name]
            if not cell.has_finished:
                diverged[cell.strategy].add(cell.seed)
    seeds = common_seeds(list(values.values()))
    if not seeds:
        return None
    first, *others = ({seed: by_seed[seed] for seed in seeds} for by_seed in values.values())
    totals = [math.fsum(other.values()) for other in others]
    best = totals.index(min(totals) if metric.lower_is_better else max(totals))
    other = others[best]
    lost = set(seeds) & (diverged[contrast.first] | diverged[contrast.others[best]])
    kept = {seed: value for seed, value in first.items() if seed not in lost}
    return ContrastPoint(
        sequence=sequence,
        grade=grade,
        other=contrast.others[best],
        by_seed={seed: first[seed] - other[seed] for seed in seeds},
        difference=paired_difference(first, other),
        diverged=len(lost),
        finished=paired_difference(kept, other),
    )


def _trend(points: Sequence[ContrastPoint]) -> tuple[Trend | None, str]:
    """Return the trend over graded points, or None and why there is none."""
    distances = [point.distance for point in points]
    by_seed, why_not = values_to_fit(distances, [point.by_seed for point in points])
    if why_not:
        return None, why_not
    return fit_trend(distances, by_seed, [family_of(point.sequence) for point in points]), ""

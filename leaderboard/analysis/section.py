"""One table of the board as data: every strategy on one sequence, or on several on average.

The rules behind the numbers are in docs/concepts/statistics.md.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.analysis.cells import Cell, Metric
from driftboard.leaderboard.analysis.collect import Badge
from driftboard.leaderboard.analysis.statistics import (
    ROUNDING,
    SIGNIFICANT,
    Comparison,
    Interval,
    PairedDifference,
    RankSet,
    all_comparisons,
    clopper_pearson,
    holm,
    letters,
    mean,
    mean_interval,
    paired_difference,
    rank_sets,
    seed_averages,
    sequence_averages,
)
from driftboard.suite.distance.grades import Grade

FEW_SEEDS = "few-seeds"
AT_CEILING = "at-ceiling"
ENOUGH_SEEDS = 5
CEILING = 0.995  # a mean accuracy from which on the interval is too narrow to be trusted


@dataclass(frozen=True, slots=True)
class Score:
    """One strategy on one metric.

    ``interval`` and ``difference`` are over new seeds on these sequences; ``difference`` is
    strategy minus reference, None for the reference itself. ``p_holm`` is NaN where the strategy
    is not in the family of the correction: bounds, incomplete strategies. ``over_sequences`` and
    ``difference_over_sequences`` are the same means with intervals over new sequences: t with one
    value per sequence, NaN bounds with one sequence only.
    """

    metric: Metric
    interval: Interval
    difference: PairedDifference | None
    p_holm: float
    over_sequences: Interval
    difference_over_sequences: PairedDifference | None
    flags: tuple[str, ...]

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value of the difference is below .05."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy in one section.

    ``diverged`` counts seeds with at least one diverged cell; ``divergence`` is their share of
    the strategy's seeds. ``memory_bytes`` is the largest of its cells, None without any.
    ``relative_time`` is its training time over that of the reference on the cells that both have
    from the same kind of device, NaN where there is none. ``step`` and ``drift`` are means over
    its cells (see ``collect.py``), NaN where there is none or one is not defined. ``rank``, by the
    mean, and ``rank_set`` are None for bounds and incomplete strategies; ``letters`` of the groups
    without significant differences are empty for them. ``evidence`` says how far its numbers were
    checked. ``cells`` by sequence and seed are what all of it was computed from.
    """

    strategy: str
    role: Literal["ranked", "bound"]
    scores: Mapping[str, Score]  # by name of the metric, first the one that ranks
    diverged: int
    divergence: Interval
    step: float
    drift: float
    memory_bytes: int | None
    relative_time: float
    missing: int
    expected: int
    rank: int | None
    rank_set: RankSet | None
    letters: str
    evidence: Badge | None
    cells: Mapping[tuple[str, int], Cell]
    sequences: tuple[str, ...]

    @property
    def first(self) -> Score:
        """The score of the metric that ranks."""
        return next(iter(self.scores.values()))

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all metrics, each once, in order of the metrics."""
        return tuple(dict.fromkeys(flag for score in self.scores.values() for flag in score.flags))

    def average(self, name: str, low: float, high: float) -> Interval:
        """Return the mean over new seeds of a number of ``Cell.metrics`` in [low, high].

        As for the scores, each seed is first averaged over the sequences, and one that misses a
        sequence is left out. NaN throughout where the cells do not have that number.
        """
        values = seed_averages(_by_sequence(self.sequences, self.cells, name))
        return mean_interval(list(values.values()), low, high)


@dataclass(frozen=True, slots=True)
class Section:
    """One table: a sequence, or several on average: a suite's, a grade's, or all (``overall``).

    A strategy is incomplete if it misses a cell that any other one has; whatever its role, it
    then stands there and nowhere else. ``comparisons`` are those of all pairs of ranked
    strategies on the metric that ranks. ``grade`` is that of a single sequence, None where it has
    not been graded.
    """

    name: str
    tier: str
    sequences: tuple[str, ...]
    grade: Grade | None
    ranked: tuple[Row, ...]  # best first
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order of the tables."""
        return self.ranked + self.bounds + self.incomplete


@dataclass(frozen=True, slots=True)
class Scope:
    """The cells of one section, by strategy and by (sequence, seed).

    Every strategy of the board has an entry, even if it has no cell here.
    """

    sequences: tuple[str, ...]
    cells: Mapping[str, Mapping[tuple[str, int], Cell]]
    roles: Mapping[str, Literal["ranked", "bound"]]
    evidence: Mapping[str, Badge]
    reference: str
    metrics: tuple[Metric, ...]

    @property
    def expected(self) -> frozenset[tuple[str, int]]:
        """The (sequence, seed) that any strategy has."""
        return frozenset(place for cells in self.cells.values() for place in cells)

    @property
    def complete(self) -> tuple[str, ...]:
        """The strategies that miss no expected cell."""
        count = len(self.expected)
        return tuple(strategy for strategy, cells in self.cells.items() if len(cells) == count)

    @property
    def family(self) -> tuple[str, ...]:
        """The strategies that are ranked: complete ones that are no bounds."""
        return tuple(strategy for strategy in self.complete if self.roles[strategy] == "ranked")

    def by_sequence(self, strategy: str, metric: Metric) -> list[dict[int, float]]:
        """Return the values of a strategy, a mapping from seed to value for each sequence."""
        return _by_sequence(self.sequences, self.cells[strategy], metric.name)


def _by_sequence(
    sequences: Iterable[str], cells: Mapping[tuple[str, int], Cell], name: str
) -> list[dict[int, float]]:
    """Return what cells hold of a metric, a mapping from seed to value for each sequence."""
    per_sequence: dict[str, dict[int, float]] = {sequence: {} for sequence in sequences}
    for (sequence, seed), cell in cells.items():
        if name in cell.metrics:
            per_sequence[sequence][seed] = cell.metrics[name]
    return list(per_sequence.values())


def build_section(name: str, tier: str, scope: Scope, grade: Grade | None = None) -> Section:
    """Compute one table from its cells."""
    family, complete, expected = scope.family, scope.complete, len(scope.expected)
    scores, comparisons = _scores(scope, family)
    first = scope.metrics[0]
    ranks = _ranks({name: scores[name][first.name].interval.mean for name in family}, first)
    sets = rank_sets(family, comparisons, first.lower_is_better)
    shared = letters(tuple(ranks), comparisons)
    rows = {
        strategy: _row(scope, strategy, scores[strategy], expected, ranks, sets, shared)
        for strategy in scope.cells
    }
    return Section(
        name=name,
        tier=tier,
        sequences=scope.sequences,
        grade=grade,
        ranked=tuple(rows[strategy] for strategy in ranks),
        bounds=tuple(rows[strategy] for strategy in complete if strategy not in ranks),
        incomplete=tuple(row for row in rows.values() if row.missing),
        comparisons=comparisons,
    )


def _scores(
    scope: Scope, family: Sequence[str]
) -> tuple[dict[str, dict[str, Score]], tuple[Comparison, ...]]:
    """Return every strategy's scores by metric, and all comparisons on the first metric.

    ``family`` are the strategies over which differences are corrected.
    """
    scores: dict[str, dict[str, Score]] = {strategy: {} for strategy in scope.cells}
    comparisons: tuple[Comparison, ...] = ()
    for metric in scope.metrics:
        by_sequence = {name: scope.by_sequence(name, metric) for name in scope.cells}
        values = {name: seed_averages(by_sequence[name]) for name in scope.cells}
        means = {name: sequence_averages(by_sequence[name]) for name in scope.cells}
        if metric == scope.metrics[0]:
            comparisons = all_comparisons({name: values[name] for name in family})
        differences = _differences(values, scope.reference)
        tested = [name for name in family if name != scope.reference]
        adjusted = holm([differences[name].p for name in tested])
        corrected = dict(zip(tested, adjusted, strict=True))
        between_sequences = _differences(means, scope.reference)
        for strategy in scope.cells:
            by_seed = list(values[strategy].values())
            interval = mean_interval(by_seed, metric.low, metric.high)
            scores[strategy][metric.name] = Score(
                metric=metric,
                interval=interval,
                difference=differences.get(strategy),
                p_holm=corrected.get(strategy, math.nan),
                over_sequences=mean_interval(
                    list(means[strategy].values()), metric.low, metric.high
                ),
                difference_over_sequences=between_sequences.get(strategy),
                flags=_flags(metric, by_seed, interval),
            )
    return scores, comparisons


def _differences(
    values: Mapping[str, Mapping[int, float]], reference: str
) -> dict[str, PairedDifference]:
    return {
        strategy: paired_difference(own, values[reference])
        for strategy, own in values.items()
        if strategy != reference
    }


def _flags(metric: Metric, by_seed: Sequence[float], interval: Interval) -> tuple[str, ...]:
    at_ceiling = (
        metric.has_ceiling
        and by_seed
        and (interval.mean >= CEILING - ROUNDING or max(by_seed) >= metric.high - ROUNDING)
    )
    flags = {FEW_SEEDS: interval.n < ENOUGH_SEEDS, AT_CEILING: at_ceiling}
    return tuple(flag for flag, applies in flags.items() if applies)


def _ranks(means: Mapping[str, float], metric: Metric) -> dict[str, int]:
    """Return ranks, best first: 1 + the number of strategies with a better mean."""
    ranks = {
        strategy: 1 + sum(metric.is_better(other, mean) for other in means.values())
        for strategy, mean in means.items()
    }
    return dict(sorted(ranks.items(), key=lambda item: (item[1], item[0])))


def _row(
    scope: Scope,
    strategy: str,
    scores: Mapping[str, Score],
    expected: int,
    ranks: Mapping[str, int],
    sets: Mapping[str, RankSet],
    shared: Mapping[str, str],
) -> Row:
    cells = scope.cells[strategy]
    seeds = {cell.seed for cell in cells.values()}
    # The seed is the unit here as well: the sequences share it, so their cells may fail together.
    diverged = {cell.seed for cell in cells.values() if cell.status == "diverged"}
    return Row(
        strategy=strategy,
        role=scope.roles[strategy],
        scores=scores,
        diverged=len(diverged),
        divergence=clopper_pearson(len(diverged), len(seeds)),
        step=mean([cell.step for cell in cells.values()]),
        drift=mean([cell.drift for cell in cells.values()]),
        memory_bytes=max((cell.memory_bytes for cell in cells.values()), default=None),
        relative_time=_relative_time(cells, scope.cells[scope.reference]),
        missing=expected - len(cells),
        expected=expected,
        rank=ranks.get(strategy),
        rank_set=sets.get(strategy),
        letters=shared.get(strategy, ""),
        evidence=scope.evidence.get(strategy),
        cells=cells,
        sequences=scope.sequences,
    )


def _relative_time(
    cells: Mapping[tuple[str, int], Cell], reference: Mapping[tuple[str, int], Cell]
) -> float:
    common = [
        place
        for place in sorted(cells.keys() & reference.keys())
        if cells[place].device == reference[place].device
    ]
    seconds = math.fsum(reference[place].seconds for place in common)
    return math.fsum(cells[place].seconds for place in common) / seconds if seconds else math.nan

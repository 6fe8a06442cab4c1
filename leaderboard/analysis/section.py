"""One table of the board as data: every strategy on one sequence, or on several on average.

The rules behind the numbers are in docs/concepts/statistics.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from driftboard.leaderboard.analysis.cells import Cell, Metric
from driftboard.leaderboard.analysis.evidence import Badge
from driftboard.leaderboard.analysis.scope import (
    Cells,
    Scope,
    by_sequence,
    finished_of,
    mean_difference,
    mean_over_sequences,
    relative_operations,
)
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

    ``finished_mean`` is the mean without the strategy's diverged runs, each sequence's over its
    finished ones, then over the sequences; NaN where none diverged or a sequence has no finished
    one. ``finished_difference`` is that of the differences from the reference on the runs that
    finished for both, NaN where neither diverged.
    """

    metric: Metric
    interval: Interval
    difference: PairedDifference | None
    p_holm: float
    over_sequences: Interval
    difference_over_sequences: PairedDifference | None
    flags: tuple[str, ...]
    finished_mean: float
    finished_difference: float

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p-value of the difference is below .05."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy in one section.

    ``diverged`` counts seeds with at least one diverged run; ``divergence`` is their share of the
    strategy's seeds. ``cells``, by sequence and seed, are its runs, ``finished`` those that did not
    diverge. ``step``, ``drift`` and ``memory_bytes`` are of these: the means (see ``cells.py``),
    NaN where there is none or one is not defined, and the largest, None without any. ``compute``
    is what training takes over what the reference's takes, in floating-point operations on the
    ``compute_runs`` that finished for both, NaN where there is none or one was not counted.
    ``shift_new`` and ``shift_old`` are means of the finished runs, NaN where one lacks the number.
    ``near_chance`` counts the runs whose first task ended near chance.

    ``rank``, by the mean, and ``rank_set`` are None for bounds and incomplete strategies;
    ``letters`` of the groups without significant differences are empty for them.
    ``may_be_best`` says that it is marked as not ruled out as best, see ``_may_be_best``.
    ``track`` and ``own_optimiser`` are those of ``Cell``.
    ``evidence`` says how far its numbers were checked.
    """

    strategy: str
    role: Literal["ranked", "bound"]
    scores: Mapping[str, Score]  # by name of the metric, first the one that ranks
    diverged: int
    divergence: Interval
    finished: tuple[Cell, ...]
    step: float
    drift: float
    memory_bytes: int | None
    compute: float
    compute_runs: int
    shift_new: float
    shift_old: float
    near_chance: int
    missing: int
    expected: int
    rank: int | None
    rank_set: RankSet | None
    letters: str
    may_be_best: bool
    track: str
    own_optimiser: bool
    evidence: Badge | None
    cells: Cells
    sequences: tuple[str, ...]

    @property
    def first(self) -> Score:
        """The score of the metric that ranks."""
        return next(iter(self.scores.values()))

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all metrics, each once, in order of the metrics."""
        return tuple(dict.fromkeys(flag for score in self.scores.values() for flag in score.flags))

    @property
    def diverged_runs(self) -> int:
        """How many of its runs diverged, over all seeds and sequences."""
        return len(self.cells) - len(self.finished)

    @property
    def drift_over_seeds(self) -> Interval:
        """The mean of the drift over new seeds; each seed is first averaged over the sequences.

        Seeds with a run that diverged or is missing are left out. NaN throughout where there is
        none, or a drift is not defined.
        """
        drifts: dict[int, list[float]] = {}
        for cell in self.finished:
            drifts.setdefault(cell.seed, []).append(cell.drift)
        whole = [mean(one) for one in drifts.values() if len(one) == len(self.sequences)]
        if not whole or any(map(math.isnan, whole)):
            return Interval(math.nan, math.nan, math.nan, len(whole))
        return mean_interval(whole, 0.0, math.inf)

    def average(self, name: str, low: float, high: float) -> Interval:
        """Return the mean over new seeds of a number of ``Cell.metrics`` in [low, high].

        As for the scores, each seed is first averaged over the sequences, and one that misses a
        sequence is left out. NaN throughout where the cells do not have that number.
        """
        values = seed_averages(by_sequence(self.sequences, self.cells, name))
        return mean_interval(list(values.values()), low, high)


@dataclass(frozen=True, slots=True)
class Section:
    """One table: a sequence, or several on average: a suite's, a grade's, or all (``overall``).

    Strategies that store examples are ranked among those that store as many, and stand apart.

    A strategy is incomplete if it misses a cell that any other one has; whatever its role, it
    then stands there and nowhere else. ``comparisons`` are those of all pairs of ranked
    strategies on the metric that ranks. ``grade`` is that of a single sequence, None where it has
    not been graded.
    """

    name: str
    tier: str
    sequences: tuple[str, ...]
    grade: Grade | None
    ranked: tuple[Row, ...]  # without stored examples, best first
    examples: tuple[Row, ...]  # with stored ones, by their number, then best first
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order of the tables."""
        return self.ranked + self.examples + self.bounds + self.incomplete


def build_section(name: str, tier: str, scope: Scope, grade: Grade | None = None) -> Section:
    """Compute one table from its cells."""
    scores, comparisons = _scores(scope)
    places = [_places(scope, family, scores, comparisons) for family in scope.families]
    place = {name: place for found in places for name, place in found.items()}
    rows = {
        strategy: _row(scope, strategy, scores[strategy], place.get(strategy, _UNRANKED))
        for strategy in scope.cells
    }
    ranked, *with_examples = (tuple(rows[strategy] for strategy in found) for found in places)
    return Section(
        name=name,
        tier=tier,
        sequences=scope.sequences,
        grade=grade,
        ranked=ranked,
        examples=tuple(chain.from_iterable(with_examples)),
        bounds=tuple(rows[strategy] for strategy in scope.complete if strategy not in place),
        incomplete=tuple(row for row in rows.values() if row.missing),
        comparisons=comparisons,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a strategy stands among the others of its family; see ``Row``."""

    rank: int | None = None
    rank_set: RankSet | None = None
    letters: str = ""
    may_be_best: bool = False


_UNRANKED = _Place()


def _places(
    scope: Scope,
    family: tuple[str, ...],
    scores: Mapping[str, Mapping[str, Score]],
    comparisons: tuple[Comparison, ...],
) -> dict[str, _Place]:
    """Return the place of every strategy of a family, best first."""
    first = scope.metrics[0]
    of_first = {name: scores[name][first.name] for name in family}
    own = tuple(one for one in comparisons if one.first in of_first)
    ranks = _ranks({name: score.interval.mean for name, score in of_first.items()}, first)
    sets = rank_sets(family, own, first.lower_is_better)
    shared = letters(tuple(ranks), own)
    marked = _may_be_best(of_first, sets, scope)
    return {
        name: _Place(rank, sets.get(name), shared.get(name, ""), name in marked)
        for name, rank in ranks.items()
    }


def _scores(scope: Scope) -> tuple[dict[str, dict[str, Score]], tuple[Comparison, ...]]:
    """Return every strategy's scores by metric, and all comparisons on the first metric.

    Differences are corrected, and pairs compared, within each family of the scope.
    """
    scores: dict[str, dict[str, Score]] = {strategy: {} for strategy in scope.cells}
    comparisons: tuple[Comparison, ...] = ()
    finished = {name: finished_of(cells) for name, cells in scope.cells.items()}
    diverged = {name for name, cells in scope.cells.items() if len(finished[name]) < len(cells)}
    for metric in scope.metrics:
        by_sequence = {name: scope.by_sequence(name, metric) for name in scope.cells}
        values = {name: seed_averages(by_sequence[name]) for name in scope.cells}
        means = {name: sequence_averages(by_sequence[name]) for name in scope.cells}
        differences = _differences(values, scope.reference)
        corrected: dict[str, float] = {}
        for family in scope.families:
            if metric == scope.metrics[0]:
                comparisons += all_comparisons({name: values[name] for name in family})
            tested = [name for name in family if name != scope.reference]
            adjusted = holm([differences[name].p for name in tested])
            corrected |= dict(zip(tested, adjusted, strict=True))
        between_sequences = _differences(means, scope.reference)
        for strategy in scope.cells:
            by_seed = list(values[strategy].values())
            left, difference = math.nan, math.nan
            if strategy in diverged:
                left = mean_over_sequences(scope.sequences, finished[strategy], metric)
            if strategy != scope.reference and {strategy, scope.reference} & diverged:
                pair = finished[strategy], finished[scope.reference]
                difference = mean_difference(scope.sequences, *pair, metric)
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
                finished_mean=left,
                finished_difference=difference,
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


def _may_be_best(
    scores: Mapping[str, Score], sets: Mapping[str, RankSet], scope: Scope
) -> frozenset[str]:
    """Return the ranked strategies that are marked as not ruled out as best.

    None is significantly better than one of these, neither in the tests of all pairs nor in those
    against the reference, whose correction is over fewer. Where that holds for all ranked
    strategies a mark would say nothing, and none has it.
    """
    ruled_out = {name for name, ranks in sets.items() if ranks.best > 1}
    # A reference of another track is no rival.
    for name, score in scores.items() if scope.reference in scores else ():
        if score.is_significant and score.difference is not None:
            is_better = score.metric.is_better(score.difference.mean, 0.0)
            ruled_out.add(scope.reference if is_better else name)
    marked = scores.keys() - ruled_out
    return frozenset(marked) if marked != scores.keys() else frozenset()


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
    place: _Place,
) -> Row:
    expected = len(scope.expected)
    cells = scope.cells[strategy]
    finished = finished_of(cells)
    seeds = {cell.seed for cell in cells.values()}
    # The seed is the unit here as well: the sequences share it, so their cells may fail together.
    diverged = {cell.seed for cell in cells.values() if not cell.has_finished}
    compute, compute_runs = relative_operations(finished, finished_of(scope.cells[scope.reference]))
    return Row(
        strategy=strategy,
        role=scope.roles[strategy],
        scores=scores,
        diverged=len(diverged),
        divergence=clopper_pearson(len(diverged), len(seeds)),
        finished=tuple(finished.values()),
        step=mean([cell.step for cell in finished.values()]),
        drift=mean([cell.drift for cell in finished.values()]),
        memory_bytes=max((cell.memory_bytes for cell in finished.values()), default=None),
        compute=compute,
        compute_runs=compute_runs,
        shift_new=_mean_of_all([cell.shift_new for cell in finished.values()]),
        shift_old=_mean_of_all([cell.shift_old for cell in finished.values()]),
        near_chance=sum(cell.near_chance for cell in cells.values()),
        missing=expected - len(cells),
        expected=expected,
        rank=place.rank,
        rank_set=place.rank_set,
        letters=place.letters,
        may_be_best=place.may_be_best,
        track=max((cell.track for cell in cells.values()), default=""),
        own_optimiser=any(cell.own_optimiser for cell in cells.values()),
        evidence=scope.evidence.get(strategy),
        cells=cells,
        sequences=scope.sequences,
    )


def _mean_of_all(values: Sequence[float | None]) -> float:
    """Return the mean, NaN where a value is missing."""
    return mean([math.nan if value is None else value for value in values])

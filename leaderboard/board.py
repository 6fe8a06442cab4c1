"""The board as data: what every table, page and figure of a leaderboard is written from.

The rules behind the numbers stand in this room's README.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.collect import OVERALL, Cell, Collection, Measure
from driftboard.leaderboard.statistics import (
    ROUNDING,
    Interval,
    PairedDifference,
    clopper_pearson,
    holm,
    mean_interval,
    paired_difference,
    seed_averages,
)
from driftboard.suite.errors import RecordError
from driftboard.suite.grades import LEVELS, Grade, Level

FEW_SEEDS = "few-seeds"
AT_CEILING = "at-ceiling"
ENOUGH_SEEDS = 5
CEILING = 0.995  # a mean accuracy from which on the interval is too narrow to be trusted
SIGNIFICANT = 0.05

Stratum = Level | Literal["ungraded"]
UNGRADED: Literal["ungraded"] = "ungraded"
STRATA: tuple[Stratum, ...] = (*LEVELS, UNGRADED)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the board: its name in ``Cell.metrics``, its title and its possible range.

    A share is shown in percent, everything else as it is.
    """

    name: str
    title: str
    low: float
    high: float
    is_share: bool
    has_ceiling: bool
    lower_is_better: bool

    def is_better(self, a: float, b: float) -> bool:
        """Whether ``a`` is better than ``b``."""
        return a < b if self.lower_is_better else a > b


METRICS: Mapping[Measure, tuple[Metric, ...]] = {
    "accuracy": (
        Metric("avg_acc", "Avg.Acc", 0.0, 1.0, True, has_ceiling=True, lower_is_better=False),
        Metric("forgetting", "Forgetting", -1.0, 1.0, True, False, lower_is_better=True),
        Metric("task_acc", "Task.Acc", 0.0, 1.0, True, has_ceiling=True, lower_is_better=False),
    ),
    "excess-loss": (
        Metric("avg_loss", "Avg.Loss", 0.0, math.inf, False, False, lower_is_better=True),
        Metric("forgetting", "Forgetting", -math.inf, math.inf, False, False, lower_is_better=True),
        Metric("task_loss", "Task.Loss", 0.0, math.inf, False, False, lower_is_better=True),
    ),
}
"""The metrics of each measure; the first one ranks."""


@dataclass(frozen=True, slots=True)
class Score:
    """One strategy on one metric.

    ``difference`` is strategy minus reference, None for the reference itself. ``p_holm`` is NaN
    where the strategy is not in the family of the correction: bounds, incomplete strategies.
    """

    metric: Metric
    interval: Interval
    difference: PairedDifference | None
    p_holm: float
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
    ``relative_time`` is its training time over that of the reference on the cells both have,
    NaN where there is none. ``step`` and ``drift`` are means over its cells (see ``collect.py``),
    NaN where there is none or one is not defined. ``rank`` is None for bounds and incomplete
    strategies.
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

    @property
    def first(self) -> Score:
        """The score of the metric that ranks."""
        return next(iter(self.scores.values()))

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all metrics, each once, in order of the metrics."""
        return tuple(dict.fromkeys(flag for score in self.scores.values() for flag in score.flags))


@dataclass(frozen=True, slots=True)
class Section:
    """One table: a sequence, a grade's sequences on average, or ``overall``, all on average.

    A strategy is incomplete if it misses a cell that any other one has; whatever its role, it
    then stands there and nowhere else. ``grade`` is that of a single sequence, None where it has
    not been graded.
    """

    name: str
    tier: str
    sequences: tuple[str, ...]
    grade: Grade | None
    ranked: tuple[Row, ...]  # best first
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order of the tables."""
        return self.ranked + self.bounds + self.incomplete


@dataclass(frozen=True, slots=True)
class Board:
    """The whole leaderboard, and the collection that it was made from.

    ``strata`` holds a section per grade that occurs, named ``grade:near`` and so on, and
    ``grade:ungraded`` where only some of the sequences have a grade.
    """

    reference: str
    overall: Section
    strata: tuple[Section, ...]
    sections: tuple[Section, ...]  # one per sequence, by name
    source: Collection

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of this board, first the one that ranks."""
        return METRICS[self.source.measure]

    def sections_of(self, stratum: Section) -> tuple[Section, ...]:
        """Return the sections of a stratum's sequences, near ones first."""
        chosen = [section for section in self.sections if section.name in stratum.sequences]
        return tuple(sorted(chosen, key=_by_distance))


def level_of(grade: Grade | None) -> Stratum:
    """Return the grade of a sequence, ``ungraded`` where it has none."""
    return UNGRADED if grade is None or grade.level is None else grade.level


def _by_distance(section: Section) -> tuple[float, str]:
    grade = section.grade
    if grade is None or grade.level is None:
        return math.inf, section.name
    return grade.distance.value, section.name


@dataclass(frozen=True, slots=True)
class _Scope:
    """The cells of one section, by strategy and by (sequence, seed)."""

    sequences: tuple[str, ...]
    cells: Mapping[str, Mapping[tuple[str, int], Cell]]
    roles: Mapping[str, Literal["ranked", "bound"]]
    reference: str
    metrics: tuple[Metric, ...]

    def values(self, strategy: str, metric: Metric) -> dict[int, float]:
        """Return one value per seed: the average over the sequences of this section."""
        per_sequence: dict[str, dict[int, float]] = {name: {} for name in self.sequences}
        for (sequence, seed), cell in self.cells[strategy].items():
            per_sequence[sequence][seed] = cell.metrics[metric.name]
        return seed_averages(list(per_sequence.values()))


def build_board(
    collection: Collection, reference: str = "sgd", grades: Mapping[str, Grade] = {}
) -> Board:
    """Compute the leaderboard of a collection, with differences from ``reference``.

    ``grades`` are looked up by the hash of the sequence; those of other sequences do not matter.

    Raises:
        RecordError: there is no cell of the reference strategy.
    """
    strategies = sorted({cell.strategy for cell in collection.cells})
    if reference not in strategies:
        raise RecordError(
            f"there are no records of the reference strategy {reference!r}; "
            f"name one of these with --reference: {', '.join(strategies)}"
        )
    sequences = tuple(sorted(collection.sequences))
    found = {name: grades.get(collection.sequences[name].hash) for name in sequences}
    return Board(
        reference=reference,
        overall=_section(OVERALL, sequences, collection, reference),
        strata=tuple(
            _section(f"grade:{level}", chosen, collection, reference)
            for level, chosen in _strata(found).items()
        ),
        sections=tuple(
            _section(name, (name,), collection, reference, found[name]) for name in sequences
        ),
        source=collection,
    )


def _strata(grades: Mapping[str, Grade | None]) -> dict[str, tuple[str, ...]]:
    """Return the sequences of each grade that occurs; nothing where none is graded."""
    strata = {
        level: tuple(name for name, grade in grades.items() if level_of(grade) == level)
        for level in STRATA
    }
    if len(strata[UNGRADED]) == len(grades):
        return {}
    return {level: sequences for level, sequences in strata.items() if sequences}


def _section(
    name: str,
    sequences: tuple[str, ...],
    collection: Collection,
    reference: str,
    grade: Grade | None = None,
) -> Section:
    scope = _scope(sequences, collection, reference)
    expected = {place for cells in scope.cells.values() for place in cells}
    missing = {strategy: len(expected - cells.keys()) for strategy, cells in scope.cells.items()}
    complete = [strategy for strategy, count in missing.items() if count == 0]
    ranked = [strategy for strategy in complete if scope.roles[strategy] == "ranked"]
    scores = _scores(scope, ranked)
    first = scope.metrics[0]
    means = {strategy: scores[strategy][first.name].interval.mean for strategy in ranked}
    ranks = _ranks(means, first)
    rows = {
        strategy: _row(
            scope, strategy, scores[strategy], missing[strategy], len(expected), ranks.get(strategy)
        )
        for strategy in scope.cells
    }
    return Section(
        name=name,
        tier=" ".join(sorted({collection.sequences[sequence].tier for sequence in sequences})),
        sequences=sequences,
        grade=grade,
        ranked=tuple(rows[strategy] for strategy in ranks),
        bounds=tuple(rows[strategy] for strategy in complete if strategy not in ranks),
        incomplete=tuple(row for row in rows.values() if row.missing),
    )


def _scope(sequences: tuple[str, ...], collection: Collection, reference: str) -> _Scope:
    roles = {cell.strategy: cell.role for cell in collection.cells}
    cells: dict[str, dict[tuple[str, int], Cell]] = {strategy: {} for strategy in sorted(roles)}
    for cell in collection.cells:
        if cell.sequence in sequences:
            cells[cell.strategy][cell.sequence, cell.seed] = cell
    return _Scope(sequences, cells, roles, reference, METRICS[collection.measure])


def _scores(scope: _Scope, ranked: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Return every strategy's scores by metric; ``ranked`` are the family of the correction."""
    scores: dict[str, dict[str, Score]] = {strategy: {} for strategy in scope.cells}
    family = [strategy for strategy in ranked if strategy != scope.reference]
    for metric in scope.metrics:
        values = {strategy: scope.values(strategy, metric) for strategy in scope.cells}
        differences = {
            strategy: paired_difference(values[strategy], values[scope.reference])
            for strategy in scope.cells
            if strategy != scope.reference
        }
        adjusted = dict(
            zip(family, holm([differences[strategy].p for strategy in family]), strict=True)
        )
        for strategy in scope.cells:
            by_seed = list(values[strategy].values())
            interval = mean_interval(by_seed, metric.low, metric.high)
            scores[strategy][metric.name] = Score(
                metric=metric,
                interval=interval,
                difference=differences.get(strategy),
                p_holm=adjusted.get(strategy, math.nan),
                flags=_flags(metric, by_seed, interval),
            )
    return scores


def _flags(metric: Metric, by_seed: Sequence[float], interval: Interval) -> tuple[str, ...]:
    flags = []
    if interval.n < ENOUGH_SEEDS:
        flags.append(FEW_SEEDS)
    if metric.has_ceiling and by_seed and _is_at_ceiling(metric, by_seed, interval):
        flags.append(AT_CEILING)
    return tuple(flags)


def _is_at_ceiling(metric: Metric, by_seed: Sequence[float], interval: Interval) -> bool:
    return interval.mean >= CEILING - ROUNDING or max(by_seed) >= metric.high - ROUNDING


def _ranks(means: Mapping[str, float], metric: Metric) -> dict[str, int]:
    """Return ranks, best first: 1 + the number of strategies with a better mean."""
    ranks = {
        strategy: 1 + sum(metric.is_better(other, mean) for other in means.values())
        for strategy, mean in means.items()
    }
    return dict(sorted(ranks.items(), key=lambda item: (item[1], item[0])))


def _row(
    scope: _Scope,
    strategy: str,
    scores: Mapping[str, Score],
    missing: int,
    expected: int,
    rank: int | None,
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
        step=_mean([cell.step for cell in cells.values()]),
        drift=_mean([cell.drift for cell in cells.values()]),
        memory_bytes=max((cell.memory_bytes for cell in cells.values()), default=None),
        relative_time=_relative_time(cells, scope.cells[scope.reference]),
        missing=missing,
        expected=expected,
        rank=rank,
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _relative_time(
    cells: Mapping[tuple[str, int], Cell], reference: Mapping[tuple[str, int], Cell]
) -> float:
    common = sorted(cells.keys() & reference.keys())
    seconds = math.fsum(reference[place].seconds for place in common)
    return math.fsum(cells[place].seconds for place in common) / seconds if seconds else math.nan

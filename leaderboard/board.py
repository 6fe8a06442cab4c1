"""The board as data: what every table, page and figure of a leaderboard is written from.

The rules behind the numbers stand in this room's README.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.collect import OVERALL, Cell, Collection
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

FEW_SEEDS = "few-seeds"
AT_CEILING = "at-ceiling"
ENOUGH_SEEDS = 5
CEILING = 0.995  # a mean accuracy from which on the interval is too narrow to be trusted
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the board: a field of ``Cell``, its title and its possible range."""

    name: Literal["avg_acc", "forgetting", "task_acc"]
    title: str
    low: float
    high: float
    has_ceiling: bool


METRICS = (
    Metric("avg_acc", "Avg.Acc", 0.0, 1.0, has_ceiling=True),
    Metric("forgetting", "Forgetting", -1.0, 1.0, has_ceiling=False),
    Metric("task_acc", "Task.Acc", 0.0, 1.0, has_ceiling=True),
)


@dataclass(frozen=True, slots=True)
class Score:
    """One strategy on one metric.

    ``difference`` is strategy minus reference, None for the reference itself. ``p_holm`` is NaN
    where the strategy is not in the family of the correction: bounds, incomplete strategies.
    """

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
    NaN where there is none. ``rank`` is None for bounds and incomplete strategies.
    """

    strategy: str
    role: Literal["ranked", "bound"]
    scores: Mapping[str, Score]  # by name of the metric
    diverged: int
    divergence: Interval
    memory_bytes: int | None
    relative_time: float
    missing: int
    expected: int
    rank: int | None

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of all metrics, each once, in order of the metrics."""
        return tuple(dict.fromkeys(flag for score in self.scores.values() for flag in score.flags))


@dataclass(frozen=True, slots=True)
class Section:
    """One table: a sequence, or ``overall``, the average over all sequences.

    A strategy is incomplete if it misses a cell that any other one has; whatever its role, it
    then stands there and nowhere else.
    """

    name: str
    tier: str
    sequences: tuple[str, ...]
    ranked: tuple[Row, ...]  # best Avg.Acc first
    bounds: tuple[Row, ...]
    incomplete: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order of the tables."""
        return self.ranked + self.bounds + self.incomplete


@dataclass(frozen=True, slots=True)
class Board:
    """The whole leaderboard, and the collection that it was made from."""

    reference: str
    overall: Section
    sections: tuple[Section, ...]  # one per sequence, by name
    source: Collection


@dataclass(frozen=True, slots=True)
class _Scope:
    """The cells of one section, by strategy and by (sequence, seed)."""

    sequences: tuple[str, ...]
    cells: Mapping[str, Mapping[tuple[str, int], Cell]]
    roles: Mapping[str, Literal["ranked", "bound"]]
    reference: str

    def values(self, strategy: str, metric: Metric) -> dict[int, float]:
        """Return one value per seed: the average over the sequences of this section."""
        per_sequence: dict[str, dict[int, float]] = {name: {} for name in self.sequences}
        for (sequence, seed), cell in self.cells[strategy].items():
            per_sequence[sequence][seed] = float(getattr(cell, metric.name))
        return seed_averages(list(per_sequence.values()))


def build_board(collection: Collection, reference: str = "sgd") -> Board:
    """Compute the leaderboard of a collection, with differences from ``reference``.

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
    return Board(
        reference=reference,
        overall=_section(OVERALL, sequences, collection, reference),
        sections=tuple(_section(name, (name,), collection, reference) for name in sequences),
        source=collection,
    )


def _section(
    name: str, sequences: tuple[str, ...], collection: Collection, reference: str
) -> Section:
    scope = _scope(sequences, collection, reference)
    expected = {place for cells in scope.cells.values() for place in cells}
    missing = {strategy: len(expected - cells.keys()) for strategy, cells in scope.cells.items()}
    complete = [strategy for strategy, count in missing.items() if count == 0]
    ranked = [strategy for strategy in complete if scope.roles[strategy] == "ranked"]
    scores = _scores(scope, ranked)
    ranks = _ranks({strategy: scores[strategy]["avg_acc"].interval.mean for strategy in ranked})
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
    return _Scope(sequences, cells, roles, reference)


def _scores(scope: _Scope, ranked: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Return every strategy's scores by metric; ``ranked`` are the family of the correction."""
    scores: dict[str, dict[str, Score]] = {strategy: {} for strategy in scope.cells}
    family = [strategy for strategy in ranked if strategy != scope.reference]
    for metric in METRICS:
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


def _ranks(means: Mapping[str, float]) -> dict[str, int]:
    """Return ranks, best first: 1 + the number of strategies with a higher mean."""
    ordered = sorted(means, key=lambda strategy: (-means[strategy], strategy))
    return {
        strategy: 1 + sum(other > means[strategy] for other in means.values())
        for strategy in ordered
    }


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
        memory_bytes=max((cell.memory_bytes for cell in cells.values()), default=None),
        relative_time=_relative_time(cells, scope.cells[scope.reference]),
        missing=missing,
        expected=expected,
        rank=rank,
    )


def _relative_time(
    cells: Mapping[tuple[str, int], Cell], reference: Mapping[tuple[str, int], Cell]
) -> float:
    common = sorted(cells.keys() & reference.keys())
    seconds = math.fsum(reference[place].seconds for place in common)
    return math.fsum(cells[place].seconds for place in common) / seconds if seconds else math.nan

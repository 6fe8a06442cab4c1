"""The cells of one table of the board, and what is computed of them without a test."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from driftboard.leaderboard.analysis.cells import Cell, Metric
from driftboard.leaderboard.analysis.evidence import Badge
from driftboard.leaderboard.analysis.statistics import common_seeds, mean

Cells = Mapping[tuple[str, int], Cell]
"""Cells of one strategy by sequence and seed."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The cells of one section, by strategy and by (sequence, seed).

    Every strategy of the board has an entry, even if it has no cell here.
    """

    sequences: tuple[str, ...]
    cells: Mapping[str, Cells]
    roles: Mapping[str, Literal["ranked", "bound"]]
    leagues: Mapping[str, str]  # the track of strategies that store examples, empty for all others
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
        """The strategies that are ranked and store no examples: complete, and no bounds."""
        return self._family("")

    @property
    def families(self) -> tuple[tuple[str, ...], ...]:
        """The same, then those that store examples, a family for each number of them.

        Each family is ranked, and its tests corrected, by itself.
        """
        leagues = dict.fromkeys(sorted(self.leagues.values(), key=lambda one: (len(one), one)))
        return tuple(self._family(league) for league in ("", *filter(None, leagues)))

    def _family(self, league: str) -> tuple[str, ...]:
        return tuple(
            strategy
            for strategy in self.complete
            if self.roles[strategy] == "ranked" and self.leagues[strategy] == league
        )

    def by_sequence(self, strategy: str, metric: Metric) -> list[dict[int, float]]:
        """Return the values of a strategy, a mapping from seed to value for each sequence."""
        return by_sequence(self.sequences, self.cells[strategy], metric.name)


def by_sequence(sequences: Iterable[str], cells: Cells, name: str) -> list[dict[int, float]]:
    """Return what cells hold of a metric, a mapping from seed to value for each sequence."""
    per_sequence: dict[str, dict[int, float]] = {sequence: {} for sequence in sequences}
    for (sequence, seed), cell in cells.items():
        if name in cell.metrics:
            per_sequence[sequence][seed] = cell.metrics[name]
    return list(per_sequence.values())


def finished_of(cells: Cells) -> dict[tuple[str, int], Cell]:
    return {place: cell for place, cell in cells.items() if cell.has_finished}


def mean_over_sequences(sequences: Iterable[str], cells: Cells, metric: Metric) -> float:
    """Return the mean over sequences of each one's mean, NaN where one has no cell."""
    per_sequence = by_sequence(sequences, cells, metric.name)
    return mean([mean(list(values.values())) for values in per_sequence])


def mean_difference(
    sequences: Iterable[str], cells: Cells, reference: Cells, metric: Metric
) -> float:
    """Return the same of the differences between cells that both have."""
    pairs = zip(
        by_sequence(sequences, cells, metric.name),
        by_sequence(sequences, reference, metric.name),
        strict=True,
    )
    return mean(
        [
            mean([own[seed] - other[seed] for seed in common_seeds([own, other])])
            for own, other in pairs
        ]
    )


def relative_operations(cells: Cells, reference: Cells) -> tuple[float, int]:
    """Return the operations of cells over those of the reference's, and on how many both have."""
    counts = [
        (cells[place].operations, reference[place].operations)
        for place in cells.keys() & reference.keys()
    ]
    known = [(own, other) for own, other in counts if own is not None and other is not None]
    whole = sum(other for _, other in known)
    if len(known) < len(counts) or not whole:
        return math.nan, 0
    return sum(own for own, _ in known) / whole, len(known)

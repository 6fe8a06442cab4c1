"""Which ranks are possible: simultaneous rank sets from all paired comparisons.

A rank by the mean alone says nothing of chance. The sets here hold together: with probability 95 %
all of them contain the true ranks, because Holm's correction runs over all pairs (the way from
tests to ranks as in Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from driftboard.leaderboard.statistics import PairedDifference, holm, paired_difference

SIGNIFICANT = 0.05

ValuesBySeed = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two strategies on the seeds they share, ``first`` minus ``second``.

    ``p_holm`` is corrected over all pairs; NaN where there are no two common seeds.
    """

    first: str
    second: str
    difference: PairedDifference
    p_holm: float

    @property
    def is_significant(self) -> bool:
        """Whether the two differ, p < .05 after the correction."""
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True, slots=True)
class RankSet:
    """The ranks from ``best`` to ``worst`` that a strategy may have, both included."""

    best: int
    worst: int

    @property
    def is_tied_best(self) -> bool:
        """Whether no other strategy is significantly better."""
        return self.best == 1


def all_comparisons(values: ValuesBySeed) -> tuple[Comparison, ...]:
    """Compare every pair of strategies by a paired t test, with Holm's correction over all."""
    pairs = list(combinations(values, 2))
    differences = [paired_difference(values[first], values[second]) for first, second in pairs]
    adjusted = holm([difference.p for difference in differences])
    return tuple(
        Comparison(first, second, difference, p)
        for (first, second), difference, p in zip(pairs, differences, adjusted, strict=True)
    )


def rank_sets(
    strategies: tuple[str, ...], comparisons: tuple[Comparison, ...], lower_is_better: bool
) -> dict[str, RankSet]:
    """Return the rank set of each strategy.

    From 1 + the number of strategies that are significantly better, to the number of strategies
    minus those that are significantly worse.
    """
    better = dict.fromkeys(strategies, 0)
    worse = dict.fromkeys(strategies, 0)
    for comparison in comparisons:
        if not comparison.is_significant:
            continue
        first_wins = (comparison.difference.mean < 0.0) == lower_is_better
        winner, loser = (
            (comparison.first, comparison.second)
            if first_wins
            else (comparison.second, comparison.first)
        )
        better[loser] += 1
        worse[winner] += 1
    return {name: RankSet(1 + better[name], len(strategies) - worse[name]) for name in strategies}

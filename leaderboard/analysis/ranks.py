"""Which ranks are possible: simultaneous rank sets from all paired comparisons.

A rank by the mean alone says nothing of chance. The sets here hold together: with probability 95 %
all of them contain the true ranks, because Holm's correction runs over all pairs (the way from
tests to ranks as in Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from string import ascii_lowercase

from driftboard.leaderboard.analysis.statistics import holm, paired_test

SIGNIFICANT = 0.05

ValuesBySeed = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two strategies on the seeds they share.

    ``difference`` is the mean of ``first`` minus ``second``; ``p_holm`` is corrected over all
    pairs, NaN where there are no two common seeds.
    """

    first: str
    second: str
    difference: float
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
    tests = [paired_test(values[first], values[second]) for first, second in pairs]
    adjusted = holm([p for _, p in tests])
    return tuple(
        Comparison(first, second, difference, p)
        for (first, second), (difference, _), p in zip(pairs, tests, adjusted, strict=True)
    )


def letters(strategies: tuple[str, ...], comparisons: tuple[Comparison, ...]) -> dict[str, str]:
    """Return the compact letter display: two strategies share a letter iff they do not differ.

    A letter stands for a largest set of strategies without a significant difference, found by
    insertion and absorption (Piepho 2004, Journal of Computational and Graphical Statistics 13);
    ``a`` is the first one's in the order given. After ``z`` follow ``a1``, ``b1`` and so on, so
    that the letters of a strategy are divided by spaces.
    """
    sets = [frozenset(strategies)]
    for comparison in comparisons:
        if comparison.is_significant:
            sets = _separated(sets, comparison.first, comparison.second)
    place = {name: index for index, name in enumerate(strategies)}
    groups = sorted(sorted(place[name] for name in names) for names in sets)
    return {
        name: " ".join(_letter(index) for index, group in enumerate(groups) if place[name] in group)
        for name in strategies
    }


def _separated(sets: list[frozenset[str]], a: str, b: str) -> list[frozenset[str]]:
    """Return the largest subsets that do not hold both ``a`` and ``b``."""
    both = [names for names in sets if a in names and b in names]
    kept = [names for names in sets if not (a in names and b in names)]
    parts = {names - {left_out} for names in both for left_out in (a, b)}
    return [*kept, *(p for p in parts if not any(p < other for other in (*kept, *parts)))]


def _letter(index: int) -> str:
    series, position = divmod(index, len(ascii_lowercase))
    return ascii_lowercase[position] + (str(series) if series else "")


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
        first_wins = (comparison.difference < 0.0) == lower_is_better
        winner, loser = (
            (comparison.first, comparison.second)
            if first_wins
            else (comparison.second, comparison.first)
        )
        better[loser] += 1
        worse[winner] += 1
    return {name: RankSet(1 + better[name], len(strategies) - worse[name]) for name in strategies}

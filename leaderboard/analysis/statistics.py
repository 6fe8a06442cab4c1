"""The statistics of the leaderboard, as pure functions of plain numbers.

Every interval is over seeds: it says what to expect of new seeds on the same sequences. Only
``scipy.special`` is used, because ``scipy.stats`` takes more than twice as long to import.

A rank by the mean alone says nothing of chance. The rank sets here hold together: with probability
95 % all of them contain the true ranks, because Holm's correction runs over all pairs (the way from
tests to ranks as in Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import sub
from string import ascii_lowercase

from scipy.special import betaincinv, stdtr, stdtrit

SIGNIFICANT = 0.05

# Accuracies are sums of ratios of counts, so equal ones may differ by a few units in the last
# place. A real difference is at least 1 / (tasks x test images), many orders above this. For
# values above 1, as losses may be, it is relative to the largest.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of ``n`` values with its confidence interval; NaN where it is not defined."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The mean of ``a - b`` over ``n`` common seeds; NaN where a part is not defined.

    ``p`` is the two-sided p-value of a mean of zero, ``correlation`` Pearson's between a and b.
    """

    mean: float
    low: float
    high: float
    p: float
    correlation: float
    n: int


def mean(values: Sequence[float]) -> float:
    """Return the mean, exactly rounded; NaN of no values.

    >>> mean([0.1] * 10)
    0.1
    """
    return math.fsum(values) / len(values) if values else math.nan


def mean_interval(
    values: Sequence[float], low: float, high: float, confidence: float = 0.95
) -> Interval:
    """Return the mean with its Student t interval, clipped to the possible range [low, high].

    No value gives NaN throughout, a single one NaN bounds, values without variance an interval
    of width zero.

    Raises:
        ValueError: a value lies outside [low, high] or is NaN.
    """
    if not all(low - ROUNDING <= value <= high + ROUNDING for value in values):
        raise ValueError(f"a value lies outside [{low}, {high}]")
    n = len(values)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    centre, error = _mean_and_error(values)
    centre = min(max(centre, low), high)
    if n == 1:
        return Interval(centre, math.nan, math.nan, n)
    below, above = t_interval(centre, error, n - 1, confidence)
    return Interval(centre, max(below, low), min(above, high), n)


def t_interval(
    value: float, error: float, freedom: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return Student's interval of a value from its standard error and degrees of freedom.

    >>> low, high = t_interval(10.0, 1.0, freedom=4)
    >>> round(low, 3), round(high, 3)
    (7.224, 12.776)
    """
    half = float(stdtrit(freedom, (1.0 + confidence) / 2.0)) * error
    return value - half, value + half


def paired_difference(
    a: Mapping[int, float], b: Mapping[int, float], confidence: float = 0.95
) -> PairedDifference:
    """Compare two strategies, each given as value per seed, on the seeds they share (paired t).

    No common seed gives NaN throughout, a single one only the difference. Differences without
    variance are no matter of chance: p is 1 if they are zero and 0 otherwise.
    """
    seeds = common_seeds([a, b])
    if not seeds:
        return PairedDifference(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    n = len(seeds)
    first, second = [a[seed] for seed in seeds], [b[seed] for seed in seeds]
    centre, error = _mean_and_error(list(map(sub, first, second)))
    low, high = t_interval(centre, error, n - 1, confidence) if n > 1 else (math.nan, math.nan)
    return PairedDifference(
        mean=centre,
        low=low,
        high=high,
        p=_p_of_zero(centre, error, n - 1),
        correlation=_correlation(first, second),
        n=n,
    )


def paired_test(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[float, float]:
    """Return ``mean`` and ``p`` of ``paired_difference``, for the many pairs of a rank set."""
    differences = [a[seed] - b[seed] for seed in common_seeds([a, b])]
    if not differences:
        return math.nan, math.nan
    centre, error = _mean_and_error(differences)
    return centre, _p_of_zero(centre, error, len(differences) - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjustment of a family of p-values, in the order given.

    ``adjusted(i) = max over j <= i of min(1, (m - j + 1) p(j))`` over the sorted p-values (Holm
    1979, Scandinavian Journal of Statistics 6). A NaN stays NaN and is not part of the family.

    Raises:
        ValueError: a p-value lies outside [0, 1].
    """
    adjusted = [math.nan] * len(p_values)
    family = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    if any(not 0.0 <= p <= 1.0 for p, _ in family):
        raise ValueError("a p-value lies outside [0, 1]")
    largest = 0.0
    for step, (p, index) in enumerate(family):
        largest = max(largest, min(1.0, (len(family) - step) * p))
        adjusted[index] = largest
    return adjusted


def common_seeds(groups: Sequence[Mapping[int, float]]) -> list[int]:
    """Return the seeds that all groups of values by seed have, in order; none of no groups.

    >>> common_seeds([{0: 0.5, 2: 0.25}, {2: 0.5, 1: 0.75}])
    [2]
    """
    return sorted(set.intersection(*map(set, groups))) if groups else []


def seed_averages(per_sequence: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Average each seed over the sequences, given as one mapping from seed to value for each.

    Seeds are shared by the sequences, so the seed is the unit: take the interval over what this
    returns, with n - 1 degrees of freedom. A seed that misses a sequence is left out.
    """
    return {
        seed: mean([values[seed] for values in per_sequence]) for seed in common_seeds(per_sequence)
    }


def sequence_averages(per_sequence: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Average each sequence over the seeds that it shares with all others, by its position.

    The mean of what this returns is that of ``seed_averages``. Take the interval over it for a
    statement on new sequences of the same kind. Without a common seed nothing is returned.
    """
    seeds = common_seeds(per_sequence)
    means = (mean([values[seed] for seed in seeds]) for values in per_sequence)
    return dict(enumerate(means)) if seeds else {}


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation, in [-1, 1]; ties share the mean of their ranks.

    NaN where one side does not vary.
    """
    return _correlation(_ranks(a), _ranks(b))


def line_fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line through the points (x, y).

    Raises:
        ValueError: there are no two different x.
    """
    mean_x, mean_y = mean(x), mean(y)
    square = math.fsum((one - mean_x) ** 2 for one in x)
    if not square:
        raise ValueError("a line needs two different x")
    slope = math.fsum((i - mean_x) * (j - mean_y) for i, j in zip(x, y, strict=True)) / square
    return slope, mean_y - slope * mean_x


def clopper_pearson(failures: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the share of failures with its exact binomial interval (Clopper and Pearson 1934).

    No trial gives the share NaN and the interval [0, 1].

    Raises:
        ValueError: ``failures`` is not in 0..trials.
    """
    if not 0 <= failures <= trials:
        raise ValueError(f"{failures} failures in {trials} trials")
    tail = (1.0 - confidence) / 2.0
    low, high = 0.0, 1.0
    if failures > 0:
        low = float(betaincinv(failures, trials - failures + 1, tail))
    if failures < trials:
        high = float(betaincinv(failures + 1, trials - failures, 1.0 - tail))
    return Interval(failures / trials if trials else math.nan, low, high, trials)


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


def all_comparisons(values: Mapping[str, Mapping[int, float]]) -> tuple[Comparison, ...]:
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


def _is_constant(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= ROUNDING * max(1.0, *map(abs, values))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error: 0 without variance, NaN for a single value."""
    centre, n = mean(values), len(values)
    if n < 2:
        return centre, math.nan
    if _is_constant(values):
        return centre, 0.0
    return centre, math.sqrt(math.fsum([(value - centre) ** 2 for value in values]) / (n - 1) / n)


def _p_of_zero(centre: float, error: float, freedom: int) -> float:
    """Return the two-sided p-value of the one-sample t test against zero, NaN for one value."""
    if not error:
        return 1.0 if abs(centre) <= ROUNDING else 0.0
    return math.nan if freedom < 1 else float(2.0 * stdtr(freedom, -abs(centre) / error))


def _ranks(values: Sequence[float]) -> list[float]:
    # rounded, because equal means of counts may differ in their last places
    rounded = [round(value, 12) for value in values]
    below = [sum(other < value for other in rounded) for value in rounded]
    return [low + (rounded.count(value) + 1) / 2 for low, value in zip(below, rounded, strict=True)]


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Pearson's correlation, NaN where one side does not vary."""
    if _is_constant(a) or _is_constant(b):
        return math.nan
    mean_a, mean_b = mean(a), mean(b)
    covariance = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    scale = math.sqrt(
        math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b)
    )
    return min(max(covariance / scale, -1.0), 1.0)

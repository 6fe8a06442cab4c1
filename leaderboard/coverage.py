"""What the leaderboard's statistics promise, measured by simulation beside rules not chosen.

Every study draws records whose truth is known, applies the functions of ``statistics.py`` and
``ranks.py`` to them, and counts how often what they say is true. Where our function would take too
long, ``t_tests`` stands for it; the tests hold it to our function. All shares are in [0, 1].
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from driftboard.leaderboard.analysis.ranks import SIGNIFICANT, Comparison, RankSet, rank_sets
from driftboard.leaderboard.analysis.statistics import (
    Interval,
    PairedDifference,
    clopper_pearson,
    holm,
    mean_interval,
    paired_difference,
    seed_averages,
)

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

SEEDS = (3, 5, 10, 20)
SEQUENCES = 6
STRATEGIES = 8
FAILURE_SHARES = (0.01, 0.1, 0.3)
TAIL = 0.025  # on each side of a 95 % interval
RESAMPLES = 1000
# Repetitions that share their bootstrap resamples: few, so that the luck of these averages out.
BATCH = 100
RANKS_PER_SET = "ranks per set"  # the one number of a study that is no share


@dataclass(frozen=True, slots=True)
class Distribution:
    """How accuracies spread over seeds; all strategies (or sequences) have the same true mean.

    ``deviations`` are the standard deviations that they take in turn, ``correlation`` is that
    between any two of them over the seeds, 0 for skewed ones. A skewed one is 1 minus an error
    with a gamma distribution, whose skewness is twice its deviation over its mean.
    """

    name: str
    mean: float
    deviations: tuple[float, ...]
    correlation: float = 0.0
    is_skewed: bool = False

    @property
    def deviation(self) -> float:
        """The root mean square of the deviations."""
        return math.hypot(*self.deviations) / math.sqrt(len(self.deviations))


NORMAL = Distribution("normal", 0.7, (0.02,))
SKEWED = Distribution("skewed", 0.99, (0.007, 0.002), is_skewed=True)
CORRELATED = Distribution("correlated", 0.7, (0.02,), correlation=0.8)
UNEQUAL = Distribution("unequal variance", 0.7, (0.01, 0.04))
DISTRIBUTIONS = (NORMAL, SKEWED, CORRELATED, UNEQUAL)

Measure = Callable[[np.random.Generator, int, Distribution, int], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Study:
    """One table: ``measure(random, repetitions, distribution, n)`` gives the columns of a row."""

    title: str
    about: str
    distributions: tuple[Distribution, ...]
    measure: Measure


def draw(
    random: np.random.Generator, distribution: Distribution, repetitions: int, columns: int, n: int
) -> Numbers:
    """Return accuracies of shape (repetitions, columns, n); a column is a strategy or a sequence.

    The last axis is the seeds.
    """
    shape = (repetitions, columns, n)
    deviations = np.resize(distribution.deviations, columns)[:, None]
    if distribution.is_skewed:
        error = 1.0 - distribution.mean
        return 1.0 - random.gamma((error / deviations) ** 2, deviations**2 / error, shape)
    shared = random.standard_normal((repetitions, 1, n))
    own = random.standard_normal(shape)
    correlation = distribution.correlation
    luck = math.sqrt(correlation) * shared + math.sqrt(1.0 - correlation) * own
    return distribution.mean + deviations * luck


def t_tests(differences: Numbers) -> tuple[Numbers, Numbers]:
    """Return mean and p as ``paired_difference`` does, for many sets of differences at once.

    The last axis is the seeds, and each set must vary.
    """
    n = differences.shape[-1]
    means = differences.mean(axis=-1)
    errors = differences.std(axis=-1, ddof=1) / math.sqrt(n)
    return means, 2.0 * stdtr(n - 1, -np.abs(means) / errors)


# The rules that were not chosen.


def z_bounds(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bounds of the normal 95 % interval of each row's mean, (rows, n)."""
    means = values.mean(axis=1)
    half = ndtri(1.0 - TAIL) * values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])
    return means - half, means + half


def welch(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """Return the mean of ``a - b`` for each row, both (rows, n), and half its Welch interval."""
    n = a.shape[1]
    squares = a.var(axis=1, ddof=1) / n, b.var(axis=1, ddof=1) / n
    total = squares[0] + squares[1]
    freedom = total**2 * (n - 1) / (squares[0] ** 2 + squares[1] ** 2)
    half = stdtrit(freedom, 1.0 - TAIL) * np.sqrt(total)
    return a.mean(axis=1) - b.mean(axis=1), half


def resampling_weights(random: np.random.Generator, n: int) -> Numbers:
    """Return (n, RESAMPLES): how much each of n values counts in the mean of each resample."""
    return random.multinomial(n, np.full(n, 1.0 / n), RESAMPLES).T / n


def resampled_means(values: Numbers, weights: Numbers) -> Numbers:
    """Return the means of the resamples of each row in ascending order, (rows, resamples)."""
    return np.sort(values @ weights, axis=1)


def percentile_bounds(resampled: Numbers) -> tuple[Numbers, Numbers]:
    """Return the percentile bootstrap interval from the result of ``resampled_means``."""
    low = np.full(len(resampled), TAIL)
    return _quantiles(resampled, low), _quantiles(resampled, 1.0 - low)


def bca_bounds(values: Numbers, resampled: Numbers) -> tuple[Numbers, Numbers]:
    """Return the BCa bootstrap interval of the mean of each row, (rows, n).

    Bias-corrected and accelerated (Efron 1987, Journal of the American Statistical Association
    82), as in ``scipy.stats.bootstrap``.
    """
    means = values.mean(axis=1, keepdims=True)
    # a resample of all values once has their mean, but for rounding: it counts half
    rounding = 1e-12
    below = np.mean(resampled < means - rounding, axis=1)
    at_most = np.mean(resampled <= means + rounding, axis=1)
    bias = ndtri((below + at_most) / 2.0)
    deviations = values - means
    acceleration = np.sum(deviations**3, axis=1) / 6.0 / np.sum(deviations**2, axis=1) ** 1.5
    low, high = (
        ndtr(bias + (bias + z) / (1.0 - acceleration * (bias + z)))
        for z in (ndtri(TAIL), ndtri(1.0 - TAIL))
    )
    return _quantiles(resampled, low), _quantiles(resampled, high)


def bootstrap_ranks_hold(values: Numbers, weights: Numbers, truth: Sequence[RankSet]) -> Flags:
    """Return for each row whether all bootstrap rank intervals contain the ranks of ``truth``.

    Seeds are resampled for all strategies together, ``values`` is (rows, strategies, n); an
    interval goes from the 2.5th to the 97.5th percentile of the ranks of the resampled means.
    """
    means = values @ weights
    rows = np.arange(len(values))  # those without a failure yet: soon few, which saves the time
    for column, ranks in enumerate(truth):
        # 8 bits hold the rank of one in up to 127 strategies, four times as fast as 64 do
        rank = 1 + np.sum(means[rows] > means[rows, column, None], axis=1, dtype=np.int8)
        reaches_best = np.mean(rank <= ranks.best, axis=1) >= TAIL
        reaches_worst = np.mean(rank >= ranks.worst, axis=1) >= TAIL
        rows = rows[reaches_best & reaches_worst]
    return np.isin(np.arange(len(values)), rows)


def _quantiles(ordered: Numbers, levels: Numbers) -> Numbers:
    """Return the quantile of each row at its own level, linear between the ordered values."""
    places = levels * (ordered.shape[1] - 1)
    left = np.floor(places).astype(np.intp)
    right = np.ceil(places).astype(np.intp)
    rows = np.arange(len(ordered))
    low, high = ordered[rows, left], ordered[rows, right]
    return np.asarray(low + (places - left) * (high - low))


# The studies.


def mean_study(
    random: np.random.Generator, repetitions: int, distribution: Distribution, n: int
) -> dict[str, float]:
    """Measure how often 95 % intervals contain the mean of one cell."""
    values = draw(random, distribution, repetitions, 1, n)[:, 0]
    truth = distribution.mean
    chosen = [_covers(mean_interval(row, 0.0, 1.0), truth) for row in values.tolist()]
    percentile, bca = [], []
    for batch in _batches(values):
        resampled = resampled_means(batch, resampling_weights(random, n))
        percentile.append(_contain(percentile_bounds(resampled), truth))
        bca.append(_contain(bca_bounds(batch, resampled), truth))
    return {
        "t, clipped": _share(chosen),
        "z": _share(_contain(z_bounds(values), truth)),
        "percentile bootstrap": _share(np.concatenate(percentile)),
        "BCa bootstrap": _share(np.concatenate(bca)),
    }


def difference_study(
    random: np.random.Generator, repetitions: int, distribution: Distribution, n: int
) -> dict[str, float]:
    """Measure the difference of two strategies, without one and with half a deviation."""
    pairs = draw(random, distribution, repetitions, 2, n)
    gap = distribution.deviation / 2.0
    apart = pairs - np.array([[0.0], [gap]])
    level = [_paired(a, b) for a, b in pairs.tolist()]
    found = [_paired(a, b) for a, b in apart.tolist()]
    mean, half = welch(apart[:, 0], apart[:, 1])
    level_mean, level_half = welch(pairs[:, 0], pairs[:, 1])
    return {
        "paired t covers": _share([one.low <= gap <= one.high for one in found]),
        "Welch covers": _share(np.abs(mean - gap) <= half),
        "paired t false alarm": _share([one.p < SIGNIFICANT for one in level]),
        "Welch false alarm": _share(np.abs(level_mean) > level_half),
        "paired t power": _share([one.p < SIGNIFICANT for one in found]),
        "Welch power": _share(np.abs(mean) > half),
    }


def aggregate_study(
    random: np.random.Generator, repetitions: int, distribution: Distribution, n: int
) -> dict[str, float]:
    """Measure how often 95 % intervals contain the mean over sequences.

    The stratified bootstrap resamples the runs of each sequence independently, as rliable does
    (Agarwal et al. 2021, NeurIPS), and takes percentiles.
    """
    values = draw(random, distribution, repetitions, SEQUENCES, n)
    chosen = []
    for sequences in values.tolist():
        averages = seed_averages([dict(enumerate(runs)) for runs in sequences])
        interval = mean_interval(list(averages.values()), 0.0, 1.0)
        chosen.append(_covers(interval, distribution.mean))
    stratified = []
    for batch in _batches(values):
        weights = [resampling_weights(random, n) / SEQUENCES for _ in range(SEQUENCES)]
        resampled = resampled_means(batch.reshape(len(batch), -1), np.concatenate(weights))
        stratified.append(_contain(percentile_bounds(resampled), distribution.mean))
    return {
        "t over seed averages": _share(chosen),
        "stratified bootstrap": _share(np.concatenate(stratified)),
    }


def rank_study(
    random: np.random.Generator, repetitions: int, distribution: Distribution, n: int
) -> dict[str, float]:
    """Measure how often all rank sets together hold the truth.

    True ranks are those of the block that a strategy is tied in; a set is right only if it
    contains all of them.
    """
    tied = draw(random, distribution, repetitions, STRATEGIES, n)
    parted = _parted(tied, distribution)
    all_tied = [RankSet(1, STRATEGIES)] * STRATEGIES
    half = STRATEGIES // 2
    two_blocks = [RankSet(1, half)] * half + [RankSet(half + 1, STRATEGIES)] * half
    of_tied, of_parted = simulated_rank_sets(tied), simulated_rank_sets(parted)
    sizes = [one.worst - one.best + 1 for sets in of_parted for one in sets]
    return {
        "8 tied, rank sets": _share([_all_contain(sets, all_tied) for sets in of_tied]),
        "8 tied, bootstrap": _bootstrap_ranks(random, tied, all_tied),
        "4 above 4, rank sets": _share([_all_contain(sets, two_blocks) for sets in of_parted]),
        "4 above 4, bootstrap": _bootstrap_ranks(random, parted, two_blocks),
        RANKS_PER_SET: float(np.mean(sizes)),
    }


def reference_study(
    random: np.random.Generator, repetitions: int, distribution: Distribution, n: int
) -> dict[str, float]:
    """Measure how often any strategy that equals the reference is said to differ from it."""
    tied = draw(random, distribution, repetitions, STRATEGIES, n)
    shares = {}
    cases = {
        "8 tied": (tied, STRATEGIES),
        "4 above 4": (_parted(tied, distribution), STRATEGIES // 2),
    }
    for name, (values, equal) in cases.items():
        _, p = t_tests(values[:, 1:] - values[:, :1])
        corrected = np.array([holm(family) for family in p.tolist()])
        for rule, family in (("Holm", corrected), ("uncorrected", p)):
            alarms = np.any(family[:, : equal - 1] < SIGNIFICANT, axis=1)
            shares[f"{name}, {rule}"] = _share(alarms)
    return shares


def clopper_pearson_coverage(share: float, n: int) -> float:
    """Return the exact probability that the interval contains the true share of failures."""
    return math.fsum(
        math.comb(n, failures) * share**failures * (1.0 - share) ** (n - failures)
        for failures in range(n + 1)
        if _covers(clopper_pearson(failures, n), share)
    )


def simulated_rank_sets(values: Numbers) -> list[list[RankSet]]:
    """Return the rank sets of each repetition, as ``all_comparisons`` and ``rank_sets`` give them.

    ``values`` is (repetitions, strategies, n); higher is better.
    """
    strategies = tuple(map(str, range(values.shape[1])))
    pairs = list(combinations(strategies, 2))
    first, second = np.array(list(combinations(range(len(strategies)), 2))).T
    means, p_values = t_tests(values[:, first] - values[:, second])
    simulated = []
    for row, p_row in zip(means.tolist(), p_values.tolist(), strict=True):
        comparisons: tuple[Comparison, ...] = ()
        # else Holm rejects nothing, as in most repetitions, and rank_sets passes over such pairs
        if len(pairs) * min(p_row) < SIGNIFICANT:
            comparisons = tuple(
                Comparison(*pair, mean, corrected)
                for pair, mean, corrected in zip(pairs, row, holm(p_row), strict=True)
            )
        sets = rank_sets(strategies, comparisons, lower_is_better=False)
        simulated.append(list(sets.values()))
    return simulated


STUDIES: tuple[Study, ...] = (
    Study(
        "Mean of one cell",
        "Share of 95 % intervals that contain the true mean. One cell knows no other strategy, so "
        "the other two distributions are the normal one here.",
        (NORMAL, SKEWED),
        mean_study,
    ),
    Study(
        "Difference of two strategies",
        "Share of 95 % intervals that contain the true difference; share of false alarms, p < .05 "
        "where there is none; power, the share of p < .05 where the true difference is half a "
        "standard deviation of a strategy over seeds.",
        DISTRIBUTIONS,
        difference_study,
    ),
    Study(
        f"Mean over {SEQUENCES} sequences",
        "Share of 95 % intervals that contain the true mean over the sequences, to which the "
        "distributions apply as they do to strategies elsewhere. The stratified bootstrap "
        "resamples the runs of each sequence independently.",
        DISTRIBUTIONS,
        aggregate_study,
    ),
    Study(
        f"Ranks of {STRATEGIES} strategies",
        "Share of repetitions in which all sets together are right, each containing every rank of "
        "the block that its strategy is tied in: one block of 8, or 4 one standard deviation above "
        "the other 4. Bootstrap: 2.5th to 97.5th percentile of the ranks of resampled means. "
        f"*{RANKS_PER_SET.capitalize()}*: mean size of the rank sets of 4 above 4, where 4 is the "
        "smallest right one.",
        DISTRIBUTIONS,
        rank_study,
    ),
    Study(
        f"{STRATEGIES - 1} strategies against a reference",
        "Share of repetitions with at least one false alarm, p < .05 for a strategy that equals "
        "the reference, the first of them: all of them, or 3 with 4 others one standard deviation "
        "below.",
        DISTRIBUTIONS,
        reference_study,
    ),
)
"""What is simulated, in the order of the page."""


def measured_row(
    study: Study, distribution: Distribution, n: int, seed: int, repetitions: int
) -> Mapping[str, float]:
    """Measure one row of a table; its random numbers depend on no other row."""
    place = [STUDIES.index(study), DISTRIBUTIONS.index(distribution), n]
    return study.measure(np.random.default_rng([seed, *place]), repetitions, distribution, n)


def _parted(tied: Numbers, distribution: Distribution) -> Numbers:
    """Return the values with the second half of the strategies one deviation lower."""
    lower = np.arange(STRATEGIES) >= STRATEGIES // 2
    return tied - distribution.deviation * lower[:, None]


def _bootstrap_ranks(
    random: np.random.Generator, values: Numbers, truth: Sequence[RankSet]
) -> float:
    n = values.shape[2]
    right = [
        bootstrap_ranks_hold(batch, resampling_weights(random, n), truth)
        for batch in _batches(values)
    ]
    return _share(np.concatenate(right))


def _paired(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    return paired_difference(dict(enumerate(a)), dict(enumerate(b)))


def _all_contain(sets: Sequence[RankSet], truth: Sequence[RankSet]) -> bool:
    return all(
        one.best <= true.best and true.worst <= one.worst
        for one, true in zip(sets, truth, strict=True)
    )


def _covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def _contain(bounds: tuple[Numbers, Numbers], truth: float) -> Flags:
    return (bounds[0] <= truth) & (truth <= bounds[1])


def _batches(values: Numbers) -> Iterator[Numbers]:
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def _share(flags: Sequence[bool] | Flags) -> float:
    return float(np.mean(flags))

"""The studies of the leaderboard's statistics, one for each kind of statement on a board.

Every study draws records whose truth is known, applies the functions of ``statistics.py`` to
them, and counts how often what they say is true. All shares are in [0, 1].
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from coverage_rules import (
    CORRELATED,
    NORMAL,
    SKEWED,
    UNEQUAL,
    Distribution,
    Flags,
    Numbers,
    bca_bounds,
    bootstrap_ranks_hold,
    draw,
    percentile_bounds,
    resampled_means,
    resampling_weights,
    t_tests,
    welch,
    z_bounds,
)

from driftboard.leaderboard.analysis.statistics import (
    SIGNIFICANT,
    Comparison,
    Interval,
    PairedDifference,
    RankSet,
    clopper_pearson,
    holm,
    mean_interval,
    paired_difference,
    rank_sets,
    seed_averages,
)

SEEDS = (3, 5, 10, 20)
SEQUENCES = 6
STRATEGIES = 8
FAILURE_SHARES = (0.01, 0.1, 0.3)
# Repetitions that share their bootstrap resamples: few, so that the luck of these averages out.
BATCH = 100
RANKS_PER_SET = "ranks per set"  # the one number of a study that is no share


DISTRIBUTIONS = (NORMAL, SKEWED, CORRELATED, UNEQUAL)
Measurement = Callable[[np.random.Generator, int, Distribution, int], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Study:
    """One table: ``measure(random, repetitions, distribution, n)`` gives the columns of a row."""

    title: str
    about: str
    distributions: tuple[Distribution, ...]
    measure: Measurement


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

"""Accuracies with known means, and the rules that the leaderboard's statistics did not choose.

``t_tests`` is the shortcut for the leaderboard's own test where that would take too long; the tests
compare it with ``paired_difference``. Arrays have the seeds as their last axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from driftboard.leaderboard.analysis.statistics import RankSet

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

TAIL = 0.025  # on each side of a 95 % interval
RESAMPLES = 1000


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

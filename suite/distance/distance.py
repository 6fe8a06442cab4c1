"""Parameter distance between tasks, from inner products of independently found solutions.

Let ``t_k^a = w_k^a - w_0`` be what training alone on part ``a`` of task k's data, from the seeded
initialisation ``w_0``, adds to it. The cross-validated relative distance of tasks k and l is

    D2 = <t_k^a - t_l^a, t_k^b - t_l^b> / ( (<t_k^a, t_k^b> + <t_l^a, t_l^b>) / 2 ),  a != b.

Noise of one part is independent of that of another, so numerator and denominator are free of it:
in linear regression D2 estimates ``||w*_k - w*_l||^2`` relative to the mean squared norm of both
truths, whatever the number of samples and the noise. It is 0 for the same task, 1 at an angle of
60 degrees, 2 for unrelated tasks and more for opposed ones, and it may be slightly negative. The
cross-validated form is that of the crossnobis distance (Walther et al. 2016, NeuroImage 137).

An interval is over seeds. Every seed starts anew and deals its images out anew, so parts are nested
in seeds: how much seeds differ contains the noise of their parts already, and to add it once more
would count it twice. What parts alone contribute is told apart by ``parts_error``.

All of it follows from the matrix of inner products of one seed, shape (tasks, parts, tasks,
parts), with entry ``[k, a, l, b]`` for ``<t_k^a, t_l^b>``. NumPy only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Products = NDArray[np.float64]
"""Inner products of one seed, shape (tasks, parts, tasks, parts)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval over ``n`` seeds.

    With one seed the interval of a distance is over its parts; with two parts, which leave no
    pair when one is left out, its bounds are NaN.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PairMeasures:
    """What is known of the distance of two tasks, over all seeds.

    ``distance`` is D2, and ``parts_error`` the standard error that the noise of the parts alone
    gives it, NaN with two parts. The naive measures compare two trainings as they are and do not
    vanish for equal tasks: ``naive_norm`` is ``||t_k - t_l||``, ``naive_relative`` that over the
    root of the mean squared norm of both, ``noise_floor`` what ``naive_relative`` is between two
    parts of the same task. ``reliability`` is ``<t^a, t^b> / ||t||^2``, at most about 1.
    """

    first: int
    second: int
    distance: Estimate
    parts_error: float
    naive_norm: float
    naive_relative: float
    noise_floor: float
    reliability: float


@dataclass(frozen=True, slots=True)
class _Terms:
    """Averages over the parts of one seed, for a pair of tasks."""

    numerator: float
    scale: float
    naive_square: float
    norm_square: float
    floor_square: float


def sequence_distance(products: Sequence[Products]) -> Estimate:
    """Return the mean D2 of consecutive tasks, with its jackknife interval.

    Args:
        products: one entry per seed; at least one, with at least two tasks and two parts.
    """
    steps = [(task, task + 1) for task in range(products[0].shape[0] - 1)]
    return _mean_distance(products, steps)


def pair_measures(products: Sequence[Products], first: int, second: int) -> PairMeasures:
    """Return all measures of the distance of two tasks, pooled over seeds."""
    terms = [_terms(seed, first, second) for seed in products]
    norm_square = fmean([term.norm_square for term in terms])
    naive_square = fmean([term.naive_square for term in terms])
    floor_square = fmean([term.floor_square for term in terms])
    return PairMeasures(
        first=first,
        second=second,
        distance=_mean_distance(products, [(first, second)]),
        parts_error=parts_error(products, [(first, second)]),
        naive_norm=math.sqrt(max(naive_square, 0.0)),
        naive_relative=_root_ratio(naive_square, norm_square),
        noise_floor=_root_ratio(floor_square, norm_square),
        reliability=fmean([term.scale for term in terms]) / norm_square if norm_square else 0.0,
    )


def sequence_reliability(products: Sequence[Products]) -> float:
    """Return the reliability of all solutions together: mean <t^a, t^b> over mean ||t||^2."""
    tasks = products[0].shape[0]
    terms = [_terms(seed, k, k) for seed in products for k in range(tasks)]
    norm_square = fmean([term.norm_square for term in terms])
    return fmean([term.scale for term in terms]) / norm_square if norm_square else 0.0


def parts_error(products: Sequence[Products], pairs: Sequence[tuple[int, int]]) -> float:
    """Return the standard error of the mean D2 of pairs of tasks that is due to the parts alone.

    The stratified jackknife (Shao and Tu 1995, chapter 6): one part of one seed is left out at a
    time, and the variances of the seeds are added. D2 is quadratic in the parts' noise, so
    that the error comes out too large, never too small, on average: for N parts and equal tasks
    by a factor of up to the root of ``2 (N - 1) / (N - 2)``. NaN with fewer than three parts.
    """
    parts = products[0].shape[1]
    if parts < 3:
        return math.nan
    terms = [[_terms(seed, *pair) for seed in products] for pair in pairs]
    variance = 0.0
    for place, seed in enumerate(products):
        without = []
        for left in range(parts):
            kept = [part for part in range(parts) if part != left]
            fewer = seed[:, kept][..., kept]
            changed = [
                [*others[:place], _terms(fewer, *pair), *others[place + 1 :]]
                for pair, others in zip(pairs, terms, strict=True)
            ]
            without.append(fmean([_relative(pair, range(len(products))) for pair in changed]))
        variance += _jackknife_variance(without)
    return math.sqrt(variance)


def jackknife(statistic: Callable[[Sequence[int]], float], count: int) -> Estimate:
    """Return a statistic of ``count`` units with Student's t interval from leaving out one each.

    The interval is centred on the statistic of all units (Efron and Tibshirani 1993, chapter
    11); ``statistic`` is given the numbers of the units that it may use.
    """
    everyone = list(range(count))
    value = statistic(everyone)
    if count < 2:
        return Estimate(value, math.nan, math.nan, count)
    without = [statistic([unit for unit in everyone if unit != left]) for left in everyone]
    return _student(value, math.sqrt(_jackknife_variance(without)), count - 1, count)


def _mean_distance(products: Sequence[Products], pairs: Sequence[tuple[int, int]]) -> Estimate:
    terms = [[_terms(seed, *pair) for seed in products] for pair in pairs]
    found = jackknife(lambda kept: fmean([_relative(pair, kept) for pair in terms]), len(products))
    parts = products[0].shape[1]
    if found.n > 1 or parts < 3:
        return found
    return _student(found.value, parts_error(products, pairs), parts - 1, found.n)


def _student(value: float, error: float, freedom: int, count: int) -> Estimate:
    half = float(stdtrit(freedom, 0.975)) * error
    return Estimate(value, value - half, value + half, count)


def _jackknife_variance(without: Sequence[float]) -> float:
    """Return the variance of a statistic from its values without one unit each."""
    centre, count = fmean(without), len(without)
    return (count - 1) / count * math.fsum((one - centre) ** 2 for one in without)


def _terms(products: Products, k: int, l: int) -> _Terms:  # noqa: E741
    kk, ll = products[k, :, k, :], products[l, :, l, :]
    kl = products[k, :, l, :]
    difference = kk - kl - kl.T + ll  # [a, b]: <t_k^a - t_l^a, t_k^b - t_l^b>
    norm_square = (_within(kk) + _within(ll)) / 2
    scale = (_across(kk) + _across(ll)) / 2
    return _Terms(
        numerator=_across(difference),
        scale=scale,
        naive_square=_within(difference),
        norm_square=norm_square,
        floor_square=2 * (norm_square - scale),
    )


def _across(matrix: Products) -> float:
    """Return the mean over pairs of different parts."""
    parts = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (parts * (parts - 1)))


def _within(matrix: Products) -> float:
    return float(np.trace(matrix) / len(matrix))


def _relative(terms: Sequence[_Terms], kept: Sequence[int]) -> float:
    scale = math.fsum(terms[seed].scale for seed in kept)
    return math.fsum(terms[seed].numerator for seed in kept) / scale if scale else math.nan


def _root_ratio(square: float, unit: float) -> float:
    return math.sqrt(max(square, 0.0) / unit) if unit else math.nan

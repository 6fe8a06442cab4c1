"""How a difference depends on the distance: a line through the sequences, with two intervals.

A statement about distances is one about sequences, so the interval over new sequences comes first.
Sequences of one family, such as rotations, lie on the same side of the line more often than not,
so for the line the unit is the family: each is left out in turn. With too few of them, and for
the rank correlation, it is the sequence. The interval over new seeds on these sequences stands
beside it; it is narrower where sequences differ in more than their distance.
``tests/studies/slope_coverage.py`` measures how often each is right.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import ndtri, stdtrit

from driftboard.leaderboard.analysis.statistics import (
    common_seeds,
    line_fit,
    mean,
    mean_interval,
    spearman,
    t_interval,
)
from driftboard.suite.distance.distance import Estimate, jackknife

FEWEST_SEQUENCES = 3  # any two points lie on a line
FEWEST_FAMILIES = 5  # to leave out one of them
FEWEST_RANKED = 5  # four in perfect order are in it by chance with p = .083


class Fitted(NamedTuple):
    """One number of a fit with two intervals: over new sequences, and over new seeds on these.

    ``n`` of the first is the number of families, or of sequences where these are the unit.
    """

    sequences: Estimate
    seeds: Estimate


@dataclass(frozen=True, slots=True)
class Trend:
    """How a contrast's difference depends on the distance, over the graded sequences of a group.

    Only the ``seeds`` that all of these sequences share are used. ``spearman`` is the rank
    correlation of mean difference and distance. A least-squares line is fitted to the mean
    differences: ``slope``, ``intercept`` and ``at_nearest``, its value at the smallest distance
    ``nearest``. ``crossover`` is where it is zero; None if the interval of the slope over
    sequences contains zero or the zero lies outside ``nearest`` to ``farthest``. ``families`` is
    None where the unit is the sequence.
    """

    sequences: int
    families: int | None
    seeds: int
    nearest: float
    farthest: float
    spearman: Fitted
    slope: Fitted
    intercept: Fitted
    at_nearest: Fitted
    crossover: Fitted | None


def fit_trend(
    distances: Sequence[float], by_seed: Sequence[Sequence[float]], families: Sequence[str]
) -> Trend:
    """Return the trend of the differences of every seed.

    Args:
        distances: of each sequence.
        by_seed: for every seed the difference on each of them.
        families: what each of them is one of.

    >>> trend = fit_trend([0.0, 1.0, 2.0], [[1.0, 2.0, 2.5], [0.0, 1.0, 1.5]], ["a", "a", "b"])
    >>> trend.slope.sequences.value, trend.at_nearest.seeds.value
    (0.75, 0.583...)

    Raises:
        ValueError: all distances are equal.
    """
    nearest, farthest = min(distances), max(distances)
    means = [mean(column) for column in zip(*by_seed, strict=True)]
    units = _by_family(distances, families)
    found = _over_families(distances, means, units) if units else _over_sequences(distances, means)
    slope, intercept, at_nearest, crossover = found
    fits = [line_fit(distances, differences) for differences in by_seed]

    def crossing(kept: Sequence[int]) -> float:
        return _zero(mean([fits[seed][0] for seed in kept]), mean([fits[seed][1] for seed in kept]))

    crosses = not slope.low <= 0.0 <= slope.high and nearest <= crossover.value <= farthest
    return Trend(
        sequences=len(distances),
        families=len(units) or None,
        seeds=len(by_seed),
        nearest=nearest,
        farthest=farthest,
        spearman=rank_correlation(distances, by_seed),
        slope=Fitted(slope, _over_seeds([rise for rise, _ in fits])),
        intercept=Fitted(intercept, _over_seeds([start for _, start in fits])),
        at_nearest=Fitted(
            at_nearest, _over_seeds([start + rise * nearest for rise, start in fits])
        ),
        crossover=Fitted(crossover, jackknife(crossing, len(fits))) if crosses else None,
    )


def rank_correlation(distances: Sequence[float], by_seed: Sequence[Sequence[float]]) -> Fitted:
    """Return Spearman's correlation of the means over seeds with the distances, in [-1, 1].

    Over sequences by Fisher's transformation, over seeds by jackknife; the arguments are those of
    ``fit_trend``. NaN where one side does not vary.

    >>> found = rank_correlation([0.0, 1.0, 2.0], [[1.0, 2.0, 3.0], [1.0, 2.0, 1.5]])
    >>> found.sequences.value
    1.0
    """

    def correlation(kept: Sequence[int]) -> float:
        columns = zip(*(by_seed[seed] for seed in kept), strict=True)
        return spearman(distances, [mean(column) for column in columns])

    ranks = jackknife(correlation, len(by_seed))
    within = Estimate(ranks.value, max(ranks.low, -1.0), min(ranks.high, 1.0), ranks.n)
    return Fitted(_over_ranked_sequences(ranks.value, len(distances)), within)


def values_to_fit(
    distances: Sequence[float], values: Sequence[Mapping[int, float]]
) -> tuple[list[list[float]], str]:
    """Return for every seed that all sequences share its value on each; or why nothing fits.

    Args:
        distances: of each sequence.
        values: of each of them, by seed.

    >>> values_to_fit([0.0, 1.0, 2.0], [{0: 0.5, 1: 0.25}, {1: 0.5}, {1: 0.75, 2: 0.5}])
    ([[0.25, 0.5, 0.75]], '')
    """
    if len(distances) < FEWEST_SEQUENCES:
        return [], f"{len(distances)} graded of the {FEWEST_SEQUENCES} sequences that a fit needs"
    if min(distances) == max(distances):
        return [], "all sequences have the same distance"
    seeds = common_seeds(values)
    if not seeds:
        return [], "no seed is common to all sequences"
    return [[of_sequence[seed] for of_sequence in values] for seed in seeds], ""


class _Estimates(NamedTuple):
    slope: Estimate
    intercept: Estimate
    at_nearest: Estimate
    crossover: Estimate


def _by_family(distances: Sequence[float], families: Sequence[str]) -> list[list[int]]:
    """Return the positions of each family's sequences; nothing if families cannot be the unit.

    There have to be enough, and two different distances without any one of them.
    """
    units = [
        [i for i, one in enumerate(families) if one == name] for name in dict.fromkeys(families)
    ]
    without = [{x for i, x in enumerate(distances) if i not in unit} for unit in units]
    return units if len(units) >= FEWEST_FAMILIES and min(map(len, without)) > 1 else []


def _over_families(
    distances: Sequence[float], means: Sequence[float], units: Sequence[Sequence[int]]
) -> _Estimates:
    """Return all numbers with jackknife intervals from leaving out one family each."""

    def interval(number: Callable[[Sequence[float], Sequence[float]], float]) -> Estimate:
        def statistic(kept: Sequence[int]) -> float:
            places = [place for unit in kept for place in units[unit]]
            return number([distances[i] for i in places], [means[i] for i in places])

        return jackknife(statistic, len(units))

    nearest = min(distances)
    return _Estimates(
        slope=interval(lambda x, y: line_fit(x, y)[0]),
        intercept=interval(lambda x, y: line_fit(x, y)[1]),
        at_nearest=interval(lambda x, y: _height(nearest, *line_fit(x, y))),
        crossover=interval(lambda x, y: _zero(*line_fit(x, y))),
    )


def _height(place: float, rise: float, start: float) -> float:
    return start + rise * place


def _zero(rise: float, start: float) -> float:
    return -start / rise if rise else math.nan


def _over_sequences(distances: Sequence[float], means: Sequence[float]) -> _Estimates:
    """Return all numbers with intervals from the scatter of the sequences around the line."""
    line = _Line.through(distances, means)
    return _Estimates(
        slope=line.slope,
        intercept=line.at(0.0),
        at_nearest=line.at(min(distances)),
        crossover=line.zero(),
    )


class _Line(NamedTuple):
    """A least-squares line through ``n`` points, in the distance from their centre."""

    n: int
    centre: float  # mean of x
    square: float  # sum of squares of x around it
    height: float  # mean of y
    rise: float
    scatter: float  # standard deviation of y around the line, on n - 2 degrees of freedom

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> "_Line":
        rise, start = line_fit(x, y)
        centre = mean(x)
        residuals = [one - start - rise * place for place, one in zip(x, y, strict=True)]
        scatter = math.sqrt(math.fsum(one**2 for one in residuals) / (len(x) - 2))
        square = math.fsum((place - centre) ** 2 for place in x)
        return cls(len(x), centre, square, mean(y), rise, scatter)

    @property
    def slope(self) -> Estimate:
        return self._estimate(self.rise, self.scatter / math.sqrt(self.square))

    def at(self, place: float) -> Estimate:
        """Return the height of the line at a place."""
        away = place - self.centre
        error = self.scatter * math.sqrt(1.0 / self.n + away**2 / self.square)
        return self._estimate(self.height + self.rise * away, error)

    def zero(self) -> Estimate:
        """Return where it crosses zero: the places where the interval of ``at`` contains zero.

        The interval is Fieller's (1954, Journal of the Royal Statistical Society B 16); there is
        none where that of the slope contains zero.
        """
        allowed = (float(stdtrit(self.n - 2, 0.975)) * self.scatter) ** 2
        # (height + rise u)^2 = allowed (1 / n + u^2 / square), for u = place - centre
        a = self.rise**2 - allowed / self.square
        if a <= 0.0:
            return Estimate(_zero(self.rise, self.at(0.0).value), math.nan, math.nan, self.n)
        b = self.height * self.rise
        half = math.sqrt(max(b**2 - a * (self.height**2 - allowed / self.n), 0.0))
        low, high = (self.centre + (-b + sign * half) / a for sign in (-1.0, 1.0))
        return Estimate(self.centre - self.height / self.rise, low, high, self.n)

    def _estimate(self, value: float, error: float) -> Estimate:
        return Estimate(value, *t_interval(value, error, self.n - 2), self.n)


def _over_seeds(values: Sequence[float]) -> Estimate:
    found = mean_interval(values, -math.inf, math.inf)
    return Estimate(found.mean, found.low, found.high, found.n)


def _over_ranked_sequences(value: float, n: int) -> Estimate:
    """Return a rank correlation over n sequences with the interval by Fisher's transformation.

    Its variance is that of Bonett and Wright (2000, Psychometrika 65). Leaving out families
    would promise too much of few of them, because ranks move in steps.
    """
    if n < FEWEST_RANKED:
        return Estimate(value, math.nan, math.nan, n)
    half = float(ndtri(0.975)) * math.sqrt((1.0 + value**2 / 2.0) / (n - 3))
    centre = math.copysign(math.inf, value) if abs(value) == 1.0 else math.atanh(value)
    return Estimate(value, math.tanh(centre - half), math.tanh(centre + half), n)

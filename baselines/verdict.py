"""Does a re-run reproduce published numbers? Equivalence within a margin fixed beforehand.

REPRODUCED: the 90 % interval of the difference lies within the margin (two one-sided tests,
Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15). CONTRADICTED: the 95 %
interval lies wholly outside, after Holm's correction over all comparisons. INCONCLUSIVE: neither;
more seeds decide.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtr, stdtrit

from driftboard.leaderboard.analysis.statistics import ROUNDING, holm

Verdict = Literal["REPRODUCED", "CONTRADICTED", "INCONCLUSIVE"]

MARGIN_DEVIATIONS = 2.0
SIGNIFICANT = 0.05
MOST_SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """Found minus published, with its standard error on ``freedom`` degrees of freedom.

    ``paired`` tells that it was taken seed by seed. ``error`` is NaN and ``freedom`` 0 where one
    value alone cannot tell; ``identical`` says that all values are equal, which needs no test.
    """

    mean: float
    error: float
    freedom: float
    n: int
    paired: bool
    identical: bool

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the t interval of the difference; NaN where there is none."""
        if self.identical or self.error == 0.0:
            return self.mean, self.mean
        if math.isnan(self.error):
            return math.nan, math.nan
        half = float(stdtrit(self.freedom, (1.0 + confidence) / 2.0)) * self.error
        return self.mean - half, self.mean + half


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one number; ``seeds`` says how many would settle it, None if unknown."""

    difference: Difference
    margin: float
    p_contradicted: float  # corrected
    verdict: Verdict
    seeds: int | None


def margin(published: Sequence[float], least: float) -> float:
    """Return how far a re-run may be off: twice the deviation over the published seeds.

    It is at least ``least``, for numbers that do not vary over the published seeds.

    >>> margin([0.75, 0.75], least=0.005), margin([1.0, 2.0, 3.0], least=0.005)
    (0.005, 2.0)
    """
    spread = stdev(published) if len(published) > 1 else 0.0
    return max(MARGIN_DEVIATIONS * spread, least)


def difference(published: Mapping[int, float], found: Mapping[int, float]) -> Difference:
    """Compare values by seed: paired where all found seeds were published, else by Welch.

    >>> found = difference({0: 0.5, 1: 0.75}, {0: 0.625, 1: 0.875})
    >>> found.mean, found.n, found.paired
    (0.125, 2, True)

    Raises:
        ValueError: one side has no value.
    """
    if not published or not found:
        raise ValueError("nothing to compare")
    if found.keys() <= published.keys():
        return _paired([found[seed] - published[seed] for seed in sorted(found)])
    return _welch(list(published.values()), list(found.values()))


def _paired(differences: Sequence[float]) -> Difference:
    n = len(differences)
    identical = all(abs(one) <= ROUNDING for one in differences)
    error = stdev(differences) / math.sqrt(n) if n > 1 else math.nan
    return Difference(fmean(differences), error, n - 1, n, paired=True, identical=identical)


def _welch(published: Sequence[float], found: Sequence[float]) -> Difference:
    mean = fmean(found) - fmean(published)
    n = min(len(published), len(found))
    if n < 2:
        return Difference(mean, math.nan, 0, n, paired=False, identical=False)
    parts = [stdev(values) ** 2 / len(values) for values in (published, found)]
    error = math.sqrt(sum(parts))
    weights = sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (published, found), strict=True)
    )
    freedom = error**4 / weights if weights else math.inf
    return Difference(mean, error, freedom, n, paired=False, identical=False)


def judge(differences: Sequence[Difference], margins: Sequence[float]) -> list[Judgement]:
    """Judge all numbers of a re-run together, each with its margin.

    >>> equal = difference({0: 0.5, 1: 0.75}, {0: 0.5, 1: 0.75})
    >>> judge([equal], [0.005])[0].verdict
    'REPRODUCED'
    """
    p_values = [_p_outside(one, limit) for one, limit in zip(differences, margins, strict=True)]
    return [
        Judgement(one, limit, p, _verdict(one, limit, p), _seeds_needed(one, limit))
        for one, limit, p in zip(differences, margins, holm(p_values), strict=True)
    ]


def _p_outside(found: Difference, limit: float) -> float:
    """Return the two-sided p-value of a difference no larger than the margin."""
    excess = abs(found.mean) - limit
    if found.identical or excess <= 0.0:
        return 1.0
    if math.isnan(found.error):
        return math.nan
    if found.error == 0.0:
        return 0.0
    return min(1.0, 2.0 * float(stdtr(found.freedom, -excess / found.error)))


def _verdict(found: Difference, limit: float, p: float) -> Verdict:
    low, high = found.interval(0.90)
    if -limit < low and high < limit:
        return "REPRODUCED"
    return "CONTRADICTED" if p < SIGNIFICANT else "INCONCLUSIVE"


def _seeds_needed(found: Difference, limit: float) -> int | None:
    """Return the fewest seeds that would reproduce this difference if it and its spread stay.

    None where no number of seeds would, or where one seed tells nothing of the spread.
    """
    room = limit - abs(found.mean)
    if room <= 0.0 or math.isnan(found.error):
        return None
    spread = found.error * math.sqrt(found.n)
    for n in range(2, MOST_SEEDS + 1):
        freedom = n - 1 if found.paired else 2 * (n - 1)
        if float(stdtrit(freedom, 0.95)) * spread / math.sqrt(n) < room:
            return n
    return None

"""The verdict on one number of a re-run: is it the one that was published on the same seeds?

Both runs trained the same seeds, so only re-run noise may part them: sums in another order, other
processors, other versions of torch. It has been measured (``rerun_noise.json``), and what it does
not explain is CONTRADICTED: the 95 % interval by it lies wholly outside the margin, after Holm's
correction. REPRODUCED: the 90 % interval lies within the margin (two one-sided tests, Schuirmann
1987, Journal of Pharmacokinetics and Biopharmaceutics 15), that by the noise and that by the
re-run's own spread over seeds, so that two methods of equal means do not pass. INCONCLUSIVE:
neither.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtr, stdtrit

from driftboard.leaderboard.analysis.statistics import ROUNDING, SIGNIFICANT, common_seeds, holm
from driftboard.leaderboard.verification.rerun import Noise

Verdict = Literal["REPRODUCED", "INCONCLUSIVE", "CONTRADICTED"]

POWER = 0.90  # of what is said to have been contradicted
HONEST = 0.80  # of honest re-runs of all published seeds, how many the margin lets pass


@dataclass(frozen=True, slots=True)
class Difference:
    """Found minus published, the mean over ``n`` common seeds.

    ``error`` is its standard error by the spread over these seeds, NaN of one seed; ``noise``
    what it is of an honest re-run, None where that was not measured. ``identical`` says that all
    values are equal, which needs no test.
    """

    mean: float
    error: float
    n: int
    noise: Noise | None
    identical: bool

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the wider of the t intervals by own spread and by noise; NaN of one seed."""
        if self.identical:
            return self.mean, self.mean
        half = _quantile(self.n - 1, (1.0 + confidence) / 2.0) * self.error
        if self.noise is not None:
            quantile = _quantile(self.noise.freedom, (1.0 + confidence) / 2.0)
            half = max(half, quantile * self.noise.size)  # a NaN comes first and stays
        return self.mean - half, self.mean + half

    @property
    def expected(self) -> Noise:
        """How far an honest re-run may be off, by its own spread where it was not measured."""
        return Noise(self.error, self.n - 1) if self.noise is None else self.noise


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one number.

    ``detectable`` is the smallest true difference that this re-run would have contradicted with
    90 %, NaN if unknown.
    """

    difference: Difference
    margin: float
    p_contradicted: float  # corrected
    detectable: float
    verdict: Verdict


def margin(noise: Noise | None, least: float, most: float = math.inf) -> float:
    """Return how far the mean of a re-run may be off and still be called the same.

    The least that 80 % of all honest re-runs of all published seeds pass, where ``noise`` is that
    of their mean: ``(t(.95) + t(.90)) size``. It is held between ``least`` and ``most``.

    >>> margin(None, 0.5), margin(Noise(0.1, 1000), 0.5), margin(Noise(3.0, 1000), 0.5, most=2.0)
    (0.5, 0.5, 2.0)
    >>> round(margin(Noise(1.0, 10**9), 0.5), 3)
    2.926
    """
    if noise is None:
        return least
    passing = _quantile(noise.freedom, 0.95) + _quantile(noise.freedom, (1.0 + HONEST) / 2.0)
    return min(max(passing * noise.size, least), most)


def mean_noise(noises: Sequence[Noise | None], seeds: int) -> Noise | None:
    """Return the noise of a mean over seeds and sequences, from that of a cell of each sequence.

    It has the fewest degrees of freedom of them all. None where that of one is not known.

    >>> mean_noise([Noise(3.0, 12), Noise(4.0, 20)], seeds=4)
    Noise(size=1.25, freedom=12)
    """
    known = [noise for noise in noises if noise is not None]
    if len(known) < len(noises):
        return None
    size = math.hypot(*(noise.size for noise in known)) / len(known) / math.sqrt(seeds)
    return Noise(size, min(noise.freedom for noise in known))


def difference(
    published: Mapping[int, float], found: Mapping[int, float], noise: Noise | None = None
) -> Difference:
    """Compare values on the seeds that both have; ``noise`` is that of the mean over them.

    >>> found = difference({0: 0.5, 1: 0.75, 2: 0.5}, {0: 0.625, 1: 0.875})
    >>> found.mean, found.n
    (0.125, 2)

    Raises:
        ValueError: no seed is common.
    """
    seeds = common_seeds([published, found])
    if not seeds:
        raise ValueError("no common seed")
    differences = [found[seed] - published[seed] for seed in seeds]
    n = len(seeds)
    return Difference(
        mean=fmean(differences),
        error=stdev(differences) / math.sqrt(n) if n > 1 else math.nan,
        n=n,
        noise=noise,
        identical=all(abs(one) <= ROUNDING for one in differences),
    )


def judge(differences: Sequence[Difference], margins: Sequence[float]) -> list[Judgement]:
    """Judge numbers of a re-run together, each with its margin.

    >>> equal = difference({0: 0.5, 1: 0.75}, {0: 0.5, 1: 0.75})
    >>> judge([equal], [0.005])[0].verdict
    'REPRODUCED'
    """
    numbers = list(zip(differences, margins, strict=True))
    p_values = holm([_p_outside(one, limit) for one, limit in numbers])
    return [
        Judgement(one, limit, p, _detectable(one, limit, len(numbers)), _verdict(one, limit, p))
        for (one, limit), p in zip(numbers, p_values, strict=True)
    ]


def _p_outside(found: Difference, limit: float) -> float:
    """Return the two-sided p-value of a true difference no larger than the margin."""
    excess = abs(found.mean) - limit
    if found.identical or excess <= 0.0:
        return 1.0
    expected = found.expected
    if math.isnan(expected.size):
        return math.nan
    if expected.size == 0.0:
        return 0.0
    return min(1.0, 2.0 * float(stdtr(expected.freedom, -excess / expected.size)))


def _detectable(found: Difference, limit: float, family: int) -> float:
    """Return the least difference that is contradicted with 90 %, were it the first in Holm's."""
    expected = found.expected
    beyond = _quantile(expected.freedom, 1.0 - SIGNIFICANT / family / 2.0)
    return limit + (beyond + _quantile(expected.freedom, POWER)) * expected.size


def _verdict(found: Difference, limit: float, p: float) -> Verdict:
    low, high = found.interval(0.90)
    if -limit < low and high < limit:
        return "REPRODUCED"
    return "CONTRADICTED" if p < SIGNIFICANT else "INCONCLUSIVE"


def _quantile(freedom: float, share: float) -> float:
    """Return Student's quantile; NaN without a degree of freedom."""
    return float(stdtrit(freedom, share)) if freedom > 0 else math.nan

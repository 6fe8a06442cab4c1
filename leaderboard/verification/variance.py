"""Do the counts of the seeds differ as much as counts of right answers must?

Were the test images drawn anew for every seed, the count of a task over seeds would vary at
least as a binomial does, ``v = n p (1 - p)``: training only adds. But a sequence's test images
may be the same for all seeds, and then image i, answered rightly by a share p_i of all possible
trainings, adds only ``p_i (1 - p_i)``. The sum over images of that is below v by n times the
variance of the p_i: easy images are right and hard ones wrong whatever the seed. No bound above
zero holds without knowing the p_i, so ``LEAST`` times v, taken as the smallest honest variance,
is a measured bound: see ``tests/benchmarks/README.md`` for the least that real strategies show.

The statistic is the variance over S seeds summed over tasks, relative to LEAST times the sum of
v; the smaller of that after the last task and that right after each. Tasks share learner and
images, so they count as one: (S - 1) times the statistic is compared with the lower tail of a
chi-square distribution with S - 1 degrees of freedom, which is exact for perfectly correlated
normal counts and too cautious for others. Sequences have random streams of their own, so their
statistics are independent, and their sum is tested with S - 1 degrees of freedom for each. All
tests together may raise a false alarm with probability ``LEVEL``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from driftboard.leaderboard.verification.contents import chance
from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.material import Material
from driftboard.suite.records import Record

LEAST = 0.25
LEVEL = 1e-6
SMALLEST_EXPECTED = 10.0
"""Below this sum of v counts stand at the floor or the ceiling and say too little."""


def spread(records: Sequence[Record]) -> tuple[float, int] | None:
    """Return the variance of counts over seeds relative to ``LEAST * v``, and S - 1.

    The smaller of two: over the counts after the last task, and over those right after each task.
    None where too little could vary: fewer than two seeds, counts at the ceiling, or answers
    of chance, as of a network that always says the same.
    """
    own = [record for record in records if record.status == "finished"]
    if len(own) < 2 or len({(record.tasks, record.test_sizes) for record in own}) > 1:
        return None
    counts = np.asarray([record.correct for record in own], dtype=np.float64)
    sizes = np.asarray(own[0].test_sizes, dtype=np.float64)
    guess = np.asarray(chance(own[0]))
    ratios = [
        ratio
        for part in (counts[:, -1], np.diagonal(counts, axis1=1, axis2=2))
        if (ratio := _ratio(part, sizes, guess)) is not None
    ]
    return (min(ratios), len(own) - 1) if ratios else None


def _ratio(
    counts: NDArray[np.float64], sizes: NDArray[np.float64], guess: NDArray[np.int64]
) -> float | None:
    """Return the ratio for counts of shape (seeds, tasks)."""
    mean = counts.mean(axis=0)
    expected = mean * (1.0 - mean / sizes)
    expected[(counts == guess).all(axis=0)] = 0.0
    if expected.sum() < SMALLEST_EXPECTED:
        return None
    return float(counts.var(axis=0, ddof=1).sum() / (LEAST * expected.sum()))


def lower_tail(statistic: float, freedom: int) -> float:
    """Return the probability of a chi-square value of at most ``statistic``."""
    return float(gammainc(freedom / 2.0, statistic / 2.0))


def check_variance(material: Material) -> Finding:
    """Accuracies vary over seeds at least as counting a limited number of test images lets them."""
    spreads = {
        name: value
        for name, records in material.counted_by_sequence.items()
        if (value := spread(records)) is not None
    }
    if not spreads:
        return Finding("ok", "variance", "nothing to test")
    level = LEVEL / (len(spreads) + 1)
    small = [
        f"{name} ({LEAST * ratio:.3f})"
        for name, (ratio, freedom) in spreads.items()
        if lower_tail(freedom * ratio, freedom) < level
    ]
    freedom = sum(one for _, one in spreads.values())
    total = sum(ratio * one for ratio, one in spreads.values())
    if not small and lower_tail(total, freedom) < level:
        small = [f"all together ({LEAST * total / freedom:.3f})"]
    if small:
        found = f"variance over seeds far below that of counting, as a share of it: {some(small)}"
        return Finding("FAILED", "variance", found, "submit every seed as its own run made it")
    least = min(LEAST * ratio for ratio, _ in spreads.values())
    return Finding("ok", "variance", f"at least {least:.2f} times that of counting")

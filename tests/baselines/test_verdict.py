"""Verdicts on a re-run: against scipy and statsmodels, by hand, and how often they are wrong."""

import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from driftboard.baselines.verdict import (
    Difference,
    difference,
    judge,
    margin,
    mean_noise,
)
from driftboard.leaderboard.verification.rerun import Noise

MANY = 10**9  # degrees of freedom: the noise is known


def values(mean, deviation, seeds, start):
    generator = random.Random(start)
    return {seed: generator.gauss(mean, deviation) for seed in seeds}


def verdict(published, found, limit, noise=None):
    (judgement,) = judge([difference(published, found, noise)], [limit])
    return judgement


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("limit", [0.4, 0.9, 2.0])
def test_without_noise_the_paired_test_is_that_of_statsmodels_and_scipy(start, limit):
    published = values(0.0, 1.0, range(8), start)
    found = {seed: value + 0.3 for seed, value in values(0.0, 1.0, range(6), start + 90).items()}
    judgement = verdict(published, found, limit)
    new, old = (np.array([side[seed] for seed in found]) for side in (found, published))
    test = scipy.stats.ttest_rel(new, old).confidence_interval(0.90)
    assert judgement.difference.interval(0.90) == pytest.approx((test.low, test.high))
    p = ttost_paired(new, old, -limit, limit)[0]
    assert (judgement.verdict == "REPRODUCED") == (p < 0.05)
    low, high = scipy.stats.ttest_rel(new, old).confidence_interval(0.95)
    assert (judgement.verdict == "CONTRADICTED") == (low > limit or high < -limit)


@given(
    mean=st.floats(-5, 5),
    error=st.floats(0.01, 3),
    noise=st.floats(0.01, 3),
    freedom=st.integers(3, 60),
    n=st.integers(2, 20),
    limit=st.floats(0.1, 3),
)
def test_noise_contradicts_and_the_wider_of_both_reproduces(mean, error, noise, freedom, n, limit):
    found = Difference(mean, error, n, Noise(noise, freedom), identical=False)
    (judgement,) = judge([found], [limit])
    by_noise = scipy.stats.t.interval(0.95, freedom, mean, noise)
    assert (judgement.verdict == "CONTRADICTED") == (by_noise[0] > limit or by_noise[1] < -limit)
    intervals = [
        scipy.stats.t.interval(0.90, freedom, mean, noise),
        scipy.stats.t.interval(0.90, n - 1, mean, error),
    ]
    inside = all(-limit < low and high < limit for low, high in intervals)
    assert (judgement.verdict == "REPRODUCED") == inside
    widest = max(intervals, key=lambda interval: interval[1] - interval[0])
    assert found.interval(0.90) == pytest.approx(widest)


def test_holm_runs_over_all_numbers():
    far = Difference(3.0, 0.7, 10, Noise(0.7, 9), identical=False)
    alone = judge([far], [1.0])[0]
    among = judge([far] * 6, [1.0] * 6)[0]
    assert (alone.verdict, among.verdict) == ("CONTRADICTED", "INCONCLUSIVE")
    assert among.p_contradicted == pytest.approx(6 * alone.p_contradicted)


def test_equal_values_need_no_test():
    published = {0: 0.5, 1: 0.75, 2: 0.625}
    judgement = verdict(published, {1: 0.75}, 0.005)
    assert judgement.verdict == "REPRODUCED"
    assert judgement.difference.identical
    assert judgement.difference.interval(0.9) == (0.0, 0.0)


def test_one_seed_is_contradicted_by_noise_and_never_reproduced():
    published = {0: 0.5, 1: 0.6}
    alone = verdict(published, {0: 0.9}, 0.01)
    assert alone.verdict == "INCONCLUSIVE"
    assert math.isnan(alone.difference.interval(0.9)[0])
    assert math.isnan(alone.detectable)
    assert verdict(published, {0: 0.9}, 0.01, Noise(0.05, 30)).verdict == "CONTRADICTED"
    assert verdict(published, {0: 0.501}, 0.1, Noise(0.001, 30)).verdict == "INCONCLUSIVE"


def test_two_methods_of_equal_means_are_not_reproduced():
    """The means agree, but the seeds lie farther apart than noise would bring them."""
    published = dict.fromkeys(range(3), 0.5)
    found = {0: 0.56, 1: 0.44, 2: 0.5}
    assert verdict(published, found, 0.01, Noise(0.001, 100)).verdict == "INCONCLUSIVE"
    close = {0: 0.501, 1: 0.499, 2: 0.5}
    assert verdict(published, close, 0.01, Noise(0.001, 100)).verdict == "REPRODUCED"


def test_a_constant_shift_is_judged_without_chance():
    published = {seed: seed / 8 for seed in range(4)}
    near = verdict(published, {seed: value + 0.25 for seed, value in published.items()}, 0.5)
    far = verdict(published, {seed: value + 0.75 for seed, value in published.items()}, 0.5)
    assert (near.verdict, far.verdict) == ("REPRODUCED", "CONTRADICTED")


def test_only_common_seeds_are_compared():
    found = difference({0: 1.0, 1: 2.0, 2: 9.0}, {0: 2.0, 1: 3.5, 7: 90.0})
    assert (found.n, found.mean) == (2, 1.25)
    with pytest.raises(ValueError, match="no common seed"):
        difference({0: 1.0}, {1: 1.0})


def test_margin_by_hand():
    z = scipy.stats.norm.ppf(0.95) + scipy.stats.norm.ppf(0.90)
    assert margin(Noise(1.0, MANY), 0.5) == pytest.approx(z)
    assert margin(Noise(1.0, MANY), 0.5, most=2.0) == 2.0
    assert margin(Noise(0.1, MANY), 0.5, most=2.0) == 0.5
    assert margin(None, 0.5, most=2.0) == 0.5
    t = scipy.stats.t.ppf(0.95, 12) + scipy.stats.t.ppf(0.90, 12)
    assert margin(Noise(1.0, 12), 0.5) == pytest.approx(t)


def test_noise_of_a_mean_is_that_of_simulated_means():
    sizes, seeds = (3.0, 1.0, 2.0), 4
    generator = np.random.default_rng(1)
    cells = generator.standard_normal((20_000, seeds, 3)) * sizes
    found = mean_noise([Noise(size, 10 + index) for index, size in enumerate(sizes)], seeds)
    assert found.size == pytest.approx(cells.mean(axis=(1, 2)).std(), rel=0.02)
    assert found.freedom == 10
    assert mean_noise([Noise(1.0, 10), None], seeds) is None


# How often the verdict is wrong, with a noise that was itself estimated.


def simulated(shift, count=1500, n=5, cells=30, size=1.0, family=1):
    """Return the verdicts on re-runs of all of ``n`` seeds that are off by ``shift``."""
    generator = np.random.default_rng(2)
    found = []
    for _ in range(count):
        measured = Noise(float(np.sqrt(np.mean(generator.normal(0, size, cells) ** 2))), cells)
        noise = mean_noise([measured], n)
        numbers = [
            difference(
                dict.fromkeys(range(n), 0.0),
                dict(enumerate(generator.normal(shift, size, n).tolist())),
                noise,
            )
            for _ in range(family)
        ]
        found.append(judge(numbers, [margin(noise, 0.1)] * family))
    return found


def share(found, verdict):
    return np.mean([any(one.verdict == verdict for one in each) for each in found])


def test_on_the_margin_a_family_is_contradicted_in_at_most_5_percent():
    noise = Noise(1.0 / math.sqrt(5), 30)
    found = simulated(margin(noise, 0.1), family=4)
    assert share(found, "CONTRADICTED") < 0.05 + 4 * math.sqrt(0.05 * 0.95 / len(found))


def test_an_honest_rerun_is_hardly_ever_contradicted_and_mostly_reproduced_by_noise():
    found = simulated(0.0)
    assert share(found, "CONTRADICTED") < 0.005
    assert share(found, "REPRODUCED") == pytest.approx(expected_share(5, 30), abs=0.05)


def expected_share(n, cells):
    """Return by arrays how often noise and spread over seeds both lie within the margin.

    By noise alone it would be 80 %; five seeds do not always show a spread that small.
    """
    generator, count = np.random.default_rng(7), 20_000
    t = scipy.stats.t.ppf
    draws = generator.standard_normal((count, n))
    noise = np.sqrt(generator.chisquare(cells, count) / cells) / math.sqrt(n)
    by_seeds = t(0.95, n - 1) * draws.std(axis=1, ddof=1) / math.sqrt(n)
    limit = (t(0.95, cells) + t(0.9, cells)) * noise
    by_noise = np.abs(draws.mean(axis=1)) + t(0.95, cells) * noise < limit
    assert by_noise.mean() == pytest.approx(0.8, abs=0.02)
    half = np.maximum(t(0.95, cells) * noise, by_seeds)
    return (np.abs(draws.mean(axis=1)) + half < limit).mean()


def test_the_detectable_difference_is_contradicted_with_90_percent():
    noise = Noise(1.0 / math.sqrt(5), 30)
    (one,) = judge([Difference(0.0, 1.0, 5, noise, identical=False)], [margin(noise, 0.1)])
    found = simulated(one.detectable)
    # the noise is estimated anew each time, which costs nothing on average
    assert share(found, "CONTRADICTED") == pytest.approx(0.90, abs=0.05)


def test_detectable_is_larger_among_more_numbers():
    found = Difference(0.0, 1.0, 5, Noise(1.0, MANY), identical=False)
    z = scipy.stats.norm.ppf
    for family in (1, 9):
        detectable = judge([found] * family, [0.5] * family)[0].detectable
        assert detectable == pytest.approx(0.5 + z(1 - 0.025 / family) + z(0.90))

"""Verdicts on a re-run: against scipy and statsmodels, by hand, and how often they are wrong."""

import math
import random

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from driftboard.baselines.reproduction import Difference, difference, judge, margin


def values(mean, deviation, seeds, start):
    generator = random.Random(start)
    return {seed: generator.gauss(mean, deviation) for seed in seeds}


def verdict(published, found, limit):
    (judgement,) = judge([difference(published, found)], [limit])
    return judgement


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("limit", [0.4, 0.9, 2.0])
def test_paired_equals_statsmodels_and_scipy(start, limit):
    published = values(0.0, 1.0, range(8), start)
    found = {seed: value + 0.3 for seed, value in values(0.0, 1.0, range(6), start + 90).items()}
    judgement = verdict(published, found, limit)
    new, old = list(found.values()), [published[seed] for seed in found]
    test = scipy.stats.ttest_rel(new, old).confidence_interval(0.90)
    assert judgement.difference.paired
    assert judgement.difference.interval(0.90) == pytest.approx((test.low, test.high))
    p = ttost_paired(_array(new), _array(old), -limit, limit)[0]
    assert (judgement.verdict == "REPRODUCED") == (p < 0.05)


@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("limit", [0.4, 0.9, 2.0])
@pytest.mark.parametrize("count", [2, 6])
def test_unpaired_equals_statsmodels_and_scipy(start, limit, count):
    published = values(0.0, 1.0, range(9), start)
    found = values(0.2, 2.0, range(100, 100 + count), start + 50)
    judgement = verdict(published, found, limit)
    new, old = list(found.values()), list(published.values())
    test = scipy.stats.ttest_ind(new, old, equal_var=False)
    assert not judgement.difference.paired
    assert judgement.difference.freedom == pytest.approx(test.df)
    bounds = test.confidence_interval(0.90)
    assert judgement.difference.interval(0.90) == pytest.approx((bounds.low, bounds.high))
    p = ttost_ind(_array(new), _array(old), -limit, limit, usevar="unequal")[0]
    assert (judgement.verdict == "REPRODUCED") == (p < 0.05)


def _array(numbers):
    import numpy as np

    return np.asarray(numbers)


@given(
    mean=st.floats(-5, 5),
    error=st.floats(0.01, 3),
    n=st.integers(2, 20),
    limit=st.floats(0.1, 3),
)
def test_one_number_is_contradicted_iff_its_95_percent_interval_lies_outside(mean, error, n, limit):
    found = Difference(mean, error, n - 1, n, paired=True, identical=False)
    (judgement,) = judge([found], [limit])
    low, high = found.interval(0.95)
    assert (judgement.verdict == "CONTRADICTED") == (low > limit or high < -limit)
    low, high = found.interval(0.90)
    assert (judgement.verdict == "REPRODUCED") == (-limit < low and high < limit)


def test_holm_runs_over_all_numbers():
    far = Difference(3.0, 0.7, 9, 10, paired=True, identical=False)
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


@pytest.mark.parametrize("seed", [0, 7])
def test_one_seed_that_differs_tells_nothing(seed):
    judgement = verdict({0: 0.5, 1: 0.6}, {seed: 0.9}, 0.01)
    assert judgement.verdict == "INCONCLUSIVE"
    assert math.isnan(judgement.difference.interval(0.9)[0])
    assert judgement.seeds is None


def test_a_constant_shift_is_judged_without_chance():
    published = {seed: seed / 8 for seed in range(4)}
    near = verdict(published, {seed: value + 0.25 for seed, value in published.items()}, 0.5)
    far = verdict(published, {seed: value + 0.75 for seed, value in published.items()}, 0.5)
    assert (near.verdict, far.verdict) == ("REPRODUCED", "CONTRADICTED")


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        difference({0: 1.0}, {})


def test_margin_is_twice_the_deviation_or_the_least():
    assert margin([1.0, 2.0, 3.0], 0.005) == pytest.approx(2.0)
    assert margin([1.0, 1.0], 0.005) == 0.005
    assert margin([1.0], 0.005) == 0.005


@pytest.mark.parametrize("paired", [True, False])
def test_the_seeds_named_are_the_fewest_that_settle_it(paired):
    found = Difference(0.2, 1.0, 4, 5, paired=paired, identical=False)
    (judgement,) = judge([found], [1.0])
    assert judgement.verdict == "INCONCLUSIVE"
    assert judgement.seeds is not None
    spread = math.sqrt(5)

    def settles(n):
        freedom = n - 1 if paired else 2 * n - 2
        return 0.2 + scipy.stats.t.ppf(0.95, freedom) * spread / math.sqrt(n) < 1.0

    assert settles(judgement.seeds)
    assert not settles(judgement.seeds - 1)


def test_no_number_of_seeds_reproduces_what_lies_outside():
    found = Difference(1.5, 1.0, 4, 5, paired=True, identical=False)
    assert judge([found], [1.0])[0].seeds is None


def test_an_equal_truth_is_mostly_reproduced_and_hardly_ever_contradicted():
    """At 5 against 5 other seeds with a margin of twice the true deviation, one number."""
    verdicts = [
        verdict(values(0, 1, range(5), i), values(0, 1, range(5, 10), -1 - i), 2.0).verdict
        for i in range(600)
    ]
    share = verdicts.count("REPRODUCED") / len(verdicts)
    assert share == pytest.approx(0.76, abs=0.06)
    assert verdicts.count("CONTRADICTED") == 0

"""The statistics by value, against second implementations, and by measured coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from driftboard.leaderboard.analysis.statistics import (
    clopper_pearson,
    holm,
    line_fit,
    mean_interval,
    paired_difference,
    seed_averages,
    spearman,
)
from driftboard.suite.metrics import accuracy_matrix, average_accuracy

ACCURACIES = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12)


def random_values(n, seed):
    return np.random.default_rng(seed).normal(0.5, 0.05, n).tolist()


def by_seed(values):
    return dict(enumerate(values))


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_mean_interval_equals_scipy(n, confidence):
    values = random_values(n, n)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    interval = mean_interval(values, -100.0, 100.0, confidence)
    assert interval.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert interval.n == n


def test_mean_interval_by_hand():
    # mean 0.6, sd 0.1, standard error 0.1 / sqrt(3), t(0.975, 2) = 4.302653
    interval = mean_interval([0.5, 0.6, 0.7], 0.0, 1.0)
    assert interval.low == pytest.approx(0.6 - 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)
    assert interval.high == pytest.approx(0.6 + 4.302653 * 0.1 / math.sqrt(3), abs=1e-6)


def test_mean_interval_is_clipped_to_the_possible_range():
    interval = mean_interval([0.0, 1.0], 0.0, 1.0)
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_mean_interval_of_one_value_has_no_bounds():
    interval = mean_interval([0.7], 0.0, 1.0)
    assert interval.mean == 0.7
    assert interval.n == 1
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_mean_interval_of_no_value_is_empty():
    interval = mean_interval([], 0.0, 1.0)
    assert interval.n == 0
    assert all(math.isnan(part) for part in (interval.mean, interval.low, interval.high))


@pytest.mark.parametrize("values", [[1.0] * 5, [0.3] * 3, [0.1 + 0.2, 0.3]])
def test_mean_interval_without_variance_has_no_width(values):
    interval = mean_interval(values, 0.0, 1.0)
    assert interval.low == interval.mean == interval.high == pytest.approx(values[0])


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_mean_interval_refuses_impossible_values(value):
    with pytest.raises(ValueError, match="outside"):
        mean_interval([0.5, value], 0.0, 1.0)


@given(ACCURACIES)
def test_mean_interval_properties(values):
    interval = mean_interval(values, 0.0, 1.0)
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0
    assert interval == mean_interval(values[::-1], 0.0, 1.0)
    narrow = mean_interval(values, 0.0, 1.0, confidence=0.5)
    assert interval.low <= narrow.low <= narrow.high <= interval.high


@pytest.mark.parametrize("n", [2, 3, 5, 10, 40])
def test_paired_difference_equals_scipy(n):
    a, b = random_values(n, 1), random_values(n, 2)
    expected = scipy.stats.ttest_rel(a, b)
    bounds = expected.confidence_interval(0.95)
    difference = paired_difference(by_seed(a), by_seed(b))
    assert difference.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (difference.low, difference.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)
    assert difference.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-9)


def test_paired_difference_uses_common_seeds_whatever_their_order():
    a = {7: 0.9, 1: 0.5, 2: 0.7, 3: 0.6}
    b = {3: 0.5, 2: 0.5, 9: 0.1, 1: 0.4}
    difference = paired_difference(a, b)
    assert difference.n == 3
    assert difference.mean == pytest.approx((0.1 + 0.2 + 0.1) / 3)
    assert difference == paired_difference({1: 0.5, 2: 0.7, 3: 0.6}, {1: 0.4, 2: 0.5, 3: 0.5})


@pytest.mark.parametrize(("shift", "p"), [(0.0, 1.0), (0.1, 0.0), (-0.1, 0.0)])
def test_paired_difference_without_variance(shift, p):
    b = by_seed([0.1, 0.2, 0.7])
    difference = paired_difference({seed: value + shift for seed, value in b.items()}, b)
    assert difference.p == p
    assert difference.low == difference.mean == difference.high == pytest.approx(shift)
    assert difference.correlation == pytest.approx(1.0)


def test_rounding_is_no_difference():
    # the same three accuracies added in another order differ by one unit in the last place
    a, b = (0.1 + 0.2 + 0.3) / 3, (0.3 + 0.2 + 0.1) / 3
    assert a != b
    assert paired_difference(by_seed([a] * 5), by_seed([b] * 5)).p == 1.0


def test_rounding_of_large_losses_is_no_difference():
    values = [1e6 + shift * 1e-9 for shift in range(5)]
    interval = mean_interval(values, 0.0, math.inf)
    assert (interval.low, interval.high) == (interval.mean, interval.mean)
    small = mean_interval([1e-9, 2e-9, 3e-9], 0.0, math.inf)
    assert small.low < small.mean < small.high


def test_correlation_is_not_defined_without_variance():
    difference = paired_difference(by_seed([0.5, 0.5, 0.5]), by_seed([0.1, 0.2, 0.4]))
    assert math.isnan(difference.correlation)
    assert 0.0 < difference.p < 1.0


def test_paired_difference_of_one_or_no_common_seed():
    one = paired_difference({1: 0.5, 2: 0.6}, {2: 0.4, 3: 0.5})
    assert one.n == 1
    assert one.mean == pytest.approx(0.2)
    assert all(math.isnan(part) for part in (one.low, one.high, one.p, one.correlation))
    none = paired_difference({1: 0.5}, {2: 0.4})
    assert none.n == 0
    assert math.isnan(none.mean)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=2, max_size=12))
def test_paired_difference_is_antisymmetric(pairs):
    a, b = by_seed([x for x, _ in pairs]), by_seed([y for _, y in pairs])
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert 0.0 <= forth.p <= 1.0
    assert forth.p == back.p
    assert forth.mean == -back.mean
    assert forth.low == -back.high
    assert math.isnan(forth.correlation) or -1.0 <= forth.correlation <= 1.0


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.0, 1.0, 0.0], [0.0, 1.0, 0.0]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([], []),
    ],
)
def test_holm_by_hand(raw, adjusted):
    assert holm(raw) == pytest.approx(adjusted)


def test_holm_leaves_nan_out_of_the_family():
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.inf])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="outside"):
        holm([0.5, p])


@given(st.lists(st.floats(0.0, 1.0), max_size=20), st.randoms(use_true_random=False))
def test_holm_properties(raw, random):
    adjusted = holm(raw)
    assert all(p <= q <= 1.0 for p, q in zip(raw, adjusted, strict=True))
    order = sorted(range(len(raw)), key=raw.__getitem__)
    assert [adjusted[index] for index in order] == sorted(adjusted)
    # never more than Bonferroni
    assert all(q <= min(1.0, len(raw) * p) for p, q in zip(raw, adjusted, strict=True))
    shuffled = list(enumerate(raw))
    random.shuffle(shuffled)
    again = holm([p for _, p in shuffled])
    assert {index: q for (index, _), q in zip(shuffled, again, strict=True)} == by_seed(adjusted)


def test_seed_averages_keep_the_seeds_of_all_sequences():
    averages = seed_averages([{1: 0.2, 2: 0.4, 3: 0.9}, {2: 0.8, 1: 0.6}])
    assert averages == pytest.approx({1: 0.4, 2: 0.6})
    assert list(averages) == [1, 2]
    assert seed_averages([]) == {}
    assert seed_averages([{1: 0.5}, {}]) == {}


TIES = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 0.5, 6.0]


@pytest.mark.parametrize("a", [random_values(9, 1), TIES])
@pytest.mark.parametrize("b", [random_values(9, 2), TIES[::-1]])
def test_spearman_equals_scipy(a, b):
    assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)


def test_spearman_takes_no_rounding_for_an_order():
    assert spearman([1.0, 2.0, 3.0], [0.3, 0.1 + 0.2, 0.4]) == pytest.approx(math.sqrt(0.75))
    assert math.isnan(spearman([1.0, 2.0, 3.0], [0.3, 0.1 + 0.2, 0.3]))


def test_line_fit_equals_scipy():
    x, y = random_values(9, 3), random_values(9, 4)
    expected = scipy.stats.linregress(x, y)
    assert line_fit(x, y) == pytest.approx((expected.slope, expected.intercept))


def test_line_fit_needs_two_different_x():
    with pytest.raises(ValueError, match="two different"):
        line_fit([0.5, 0.5], [0.0, 1.0])


@pytest.mark.parametrize("trials", [1, 3, 5, 10])
def test_clopper_pearson_equals_scipy(trials):
    for failures in range(trials + 1):
        expected = scipy.stats.binomtest(failures, trials).proportion_ci(0.95, method="exact")
        interval = clopper_pearson(failures, trials)
        assert interval.mean == failures / trials
        bounds = (interval.low, interval.high)
        assert bounds == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_of_no_failure_in_five_still_allows_half():
    assert clopper_pearson(0, 5).high == pytest.approx(0.5218, abs=1e-4)


def test_clopper_pearson_of_no_trial_knows_nothing():
    interval = clopper_pearson(0, 0)
    assert (interval.low, interval.high, interval.n) == (0.0, 1.0, 0)
    assert math.isnan(interval.mean)


@pytest.mark.parametrize(("failures", "trials"), [(-1, 5), (6, 5)])
def test_clopper_pearson_refuses_impossible_counts(failures, trials):
    with pytest.raises(ValueError, match="failures"):
        clopper_pearson(failures, trials)


# Coverage. 2,000 repetitions have a standard error of 0.5 points. With 5 seeds the interval with
# z instead of t covers 88 % and the one that takes sequences for independent still less.

REPETITIONS = 2000
COVERED = (0.935, 0.965)
TRUTH = 0.7
TASKS, TEST_SIZE = 5, 400


def simulated_accuracies(random, strategies, sequences, seeds):
    """Draw last rows of counts, return Avg.Acc[strategy][sequence][seed] with mean TRUTH.

    A seed is good or bad on all sequences together, as real seeds are: they set the classes.
    """
    shared = random.normal(0.0, 0.02, seeds)
    own = random.normal(0.0, 0.01, (strategies, sequences, seeds))
    chance = np.clip(TRUTH + shared + own, 0.0, 1.0)
    counts = random.binomial(TEST_SIZE, chance[..., None], (*chance.shape, TASKS))
    return [
        [
            {
                seed: average_accuracy(accuracy_matrix([row], [TEST_SIZE] * TASKS))
                for seed, row in enumerate(cells)
            }
            for cells in by_sequence
        ]
        for by_sequence in counts
    ]


def covers(interval, truth):
    return interval.low <= truth <= interval.high


def test_coverage_of_the_mean_and_of_the_mean_over_sequences():
    random = np.random.default_rng(20)
    one, all_sequences = 0, 0
    for _ in range(REPETITIONS):
        sequences = simulated_accuracies(random, strategies=1, sequences=3, seeds=5)[0]
        one += covers(mean_interval(list(sequences[0].values()), 0.0, 1.0), TRUTH)
        averages = list(seed_averages(sequences).values())
        all_sequences += covers(mean_interval(averages, 0.0, 1.0), TRUTH)
    assert COVERED[0] < one / REPETITIONS < COVERED[1]
    assert COVERED[0] < all_sequences / REPETITIONS < COVERED[1]


def test_coverage_of_the_paired_difference_and_its_false_alarms():
    random = np.random.default_rng(21)
    covered, alarms, correlations = 0, 0, []
    for _ in range(REPETITIONS):
        (a,), (b,) = simulated_accuracies(random, strategies=2, sequences=1, seeds=5)
        difference = paired_difference(a, b)
        covered += covers(difference, 0.0)
        alarms += difference.p < 0.05
        correlations.append(difference.correlation)
    assert COVERED[0] < covered / REPETITIONS < COVERED[1]
    assert alarms == REPETITIONS - covered
    # the seeds' common part is what makes pairing worth its while
    assert np.mean(correlations) > 0.4

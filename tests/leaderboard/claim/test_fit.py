"""The fit over sequences: against statsmodels and scipy, by hand, and on published records."""

import math
import random

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.api

from driftboard.baselines.published import published_records
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.analysis.join import Source
from driftboard.leaderboard.claim.fit import fit_trend
from driftboard.leaderboard.claim.trend import PAPER, make_claim
from driftboard.suite.distance.grades import known_grades

DISTANCES = [0.0, 0.3, 0.9, 1.2, 1.5, 2.0, 1.1]
ALONE = ["one family"] * 7  # too few families: the sequence is the unit
FAMILIES = ["a", "b", "a", "c", "d", "e", "e"]


def by_seed(start, seeds=4, slope=-3.0, scatter=0.5, distances=DISTANCES):
    """Return differences by seed: sequences scatter around a line, seeds around their sequence."""
    generator = random.Random(start)
    means = [2.0 + slope * x + generator.gauss(0.0, scatter) for x in distances]
    return [[mean + generator.gauss(0.0, 0.1) for mean in means] for _ in range(seeds)]


def bounds(estimate):
    return pytest.approx((estimate.low, estimate.high), abs=1e-9)


def ordinary(values):
    """Return statsmodels' least-squares fit of the mean differences."""
    return statsmodels.api.OLS(
        np.mean(values, axis=0), statsmodels.api.add_constant(DISTANCES)
    ).fit()


@pytest.mark.parametrize("start", range(4))
def test_line_over_sequences_is_that_of_statsmodels(start):
    values = by_seed(start)
    trend, expected = fit_trend(DISTANCES, values, ALONE), ordinary(values)
    (intercept, slope), ((_, _), (low, high)) = expected.params, expected.conf_int()
    assert trend.slope.sequences.value == pytest.approx(slope)
    assert bounds(trend.slope.sequences) == (low, high)
    assert trend.intercept.sequences.value == pytest.approx(intercept)
    assert bounds(trend.intercept.sequences) == tuple(expected.conf_int()[0])
    distances = [x + 0.25 for x in DISTANCES]
    shifted = fit_trend(distances, values, ALONE)
    assert shifted.at_nearest.sequences.value == pytest.approx(intercept)
    assert bounds(shifted.at_nearest.sequences) == tuple(expected.conf_int()[0])
    assert shifted.slope.sequences.n == len(DISTANCES)


@pytest.mark.parametrize("start", range(4))
def test_line_over_seeds_is_a_t_interval_of_the_lines_of_each_seed(start):
    values = by_seed(start)
    lines = [scipy.stats.linregress(DISTANCES, one) for one in values]
    trend = fit_trend(DISTANCES, values, ALONE)
    for fitted, numbers in (
        (trend.slope, [line.slope for line in lines]),
        (trend.intercept, [line.intercept for line in lines]),
    ):
        expected = scipy.stats.ttest_1samp(numbers, 0.0).confidence_interval()
        assert fitted.seeds.value == pytest.approx(fitted.sequences.value)
        assert bounds(fitted.seeds) == (expected.low, expected.high)
        assert fitted.seeds.n == 4


@pytest.mark.parametrize("start", range(4))
def test_crossover_ends_where_the_band_of_the_line_touches_zero(start):
    values = by_seed(start)
    trend, line = fit_trend(DISTANCES, values, ALONE), ordinary(values)

    def end_of_band(place, which):
        return line.get_prediction([1.0, place]).conf_int()[0][which]

    found = trend.crossover.sequences
    assert found.value == pytest.approx(-line.params[0] / line.params[1])
    assert found.low == pytest.approx(scipy.optimize.brentq(end_of_band, -5, 5, args=(0,)))
    assert found.high == pytest.approx(scipy.optimize.brentq(end_of_band, -5, 5, args=(1,)))
    assert found.low < found.value < found.high


def test_there_is_no_crossover_where_sequences_leave_the_slope_open():
    values = by_seed(2, scatter=6.0)
    trend = fit_trend(DISTANCES, values, ALONE)
    assert trend.slope.seeds.high < 0.0 < trend.slope.sequences.high
    assert trend.crossover is None


@pytest.mark.parametrize("start", range(3))
def test_spearman_over_sequences(start):
    values = by_seed(start, scatter=2.0)
    found = fit_trend(DISTANCES, values, ALONE).spearman.sequences
    r = scipy.stats.spearmanr(DISTANCES, np.mean(values, axis=0)).statistic
    half = 1.959964 * math.sqrt((1 + r**2 / 2) / (7 - 3))
    assert found.value == pytest.approx(r)
    assert math.atanh(found.low) == pytest.approx(math.atanh(r) - half)
    assert math.atanh(found.high) == pytest.approx(math.atanh(r) + half)


def test_four_sequences_in_perfect_order_are_no_evidence_of_a_rank_correlation():
    exact = scipy.stats.permutation_test(
        ([0.0, 1.0, 2.0, 3.0],), lambda x: scipy.stats.spearmanr(x, [0, 1, 2, 4]).statistic,
        permutation_type="pairings",
    )  # fmt: skip
    assert exact.pvalue == pytest.approx(2 / 24)
    four = fit_trend([0.0, 1.0, 2.0, 3.0], [[0.0, 1.0, 2.0, 4.0]] * 2, ["a"] * 4).spearman
    assert four.sequences.value == 1.0
    assert math.isnan(four.sequences.low)
    places = [0.0, 1.0, 2.0, 3.0, 4.0]
    five = fit_trend(places, [[0.0, 1.0, 2.0, 4.0, 5.0]] * 2, ["a"] * 5).spearman.sequences
    assert (five.low, five.high) == (1.0, 1.0)  # p = 2 / 120


def jackknifed(number, families):
    """Return the t interval of a number of sequences, by leaving out each family."""
    names = sorted(set(families))
    without = [number([i for i, one in enumerate(families) if one != name]) for name in names]
    count, value = len(names), number(range(len(families)))
    error = math.sqrt((count - 1) * np.var(without))
    half = scipy.stats.t.ppf(0.975, count - 1) * error
    return value - half, value + half


@pytest.mark.parametrize("start", range(3))
def test_with_enough_families_each_is_left_out_in_turn(start):
    values = by_seed(start)
    means = np.mean(values, axis=0)
    trend = fit_trend(DISTANCES, values, FAMILIES)

    def line(kept):
        return np.polyfit(np.take(DISTANCES, kept), means[list(kept)], 1)

    assert trend.families == 5
    found = {name: getattr(trend, name).sequences for name in ("slope", "intercept", "crossover")}
    assert {one.n for one in found.values()} == {5}
    assert bounds(found["slope"]) == jackknifed(lambda kept: line(kept)[0], FAMILIES)
    assert bounds(found["intercept"]) == jackknifed(lambda kept: line(kept)[1], FAMILIES)
    assert bounds(trend.at_nearest.sequences) == (found["intercept"].low, found["intercept"].high)
    zero = jackknifed(lambda kept: -line(kept)[1] / line(kept)[0], FAMILIES)
    assert bounds(found["crossover"]) == zero
    by_sequence = fit_trend(DISTANCES, values, ALONE)
    assert trend.spearman == by_sequence.spearman
    assert trend.slope.seeds == by_sequence.slope.seeds


@pytest.mark.parametrize(
    ("distances", "families"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], list("aabcdd")),
        ([1.0, 1.0, 1.0, 1.0, 0.0, 2.0], list("abcdee")),  # without e there is no line
    ],
)
def test_where_families_cannot_be_the_unit_the_sequence_is(distances, families):
    trend = fit_trend(distances, [[0.0, 1.0, 1.5, 2.0, 2.0, 3.0]] * 2, families)
    assert trend.families is None
    assert trend.slope.sequences.n == 6


def test_published_slope_of_few_samples_does_not_exclude_zero():
    """Recomputed elsewhere: -1.2 [-2.8, +0.4] over sequences, [-1.7, -0.8] over seeds."""
    source = Source("published core-fashion", is_published=True)
    records = {source: published_records("core-fashion")}
    claim = make_claim(collect([], records=records), known_grades(()))
    (result,) = (r for r in claim.of(PAPER, "few-shot") if r.metric.name == "task_acc")
    slope = result.trend.slope
    assert f"{100 * slope.sequences.value:+.1f}" == "-1.2"
    assert f"{100 * slope.sequences.low:+.1f} {100 * slope.sequences.high:+.1f}" == "-2.8 +0.4"
    assert f"{100 * slope.seeds.low:+.1f} {100 * slope.seeds.high:+.1f}" == "-1.7 -0.8"
    assert (result.change, result.holds) == ("unclear", False)

"""The cross-validated distance: by hand, against the vectors, and against known truths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from driftboard.suite.distance.distance import (
    jackknife,
    pair_measures,
    parts_error,
    sequence_distance,
    sequence_reliability,
)


def products(vectors):
    """Return the inner products of vectors of shape (tasks, parts, size)."""
    return np.einsum("kap,lbp->kalb", vectors, vectors)


def noiseless(*solutions, parts=2):
    return products(np.stack([np.stack([np.asarray(s, dtype=float)] * parts) for s in solutions]))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((3.0, 4.0), (3.0, 4.0), 0.0),
        ((1.0, 0.0), (0.5, math.sqrt(0.75)), 1.0),
        ((2.0, 0.0), (0.0, 2.0), 2.0),
        ((1.0, 1.0), (-1.0, -1.0), 4.0),
        ((2.0, 0.0), (0.0, 0.0), 2.0),
        ((3.0, 0.0), (1.0, 0.0), 0.8),
    ],
)
def test_distance_of_known_solutions(one, other, expected):
    found = pair_measures([noiseless(one, other)], 0, 1)
    assert found.distance.value == pytest.approx(expected, abs=1e-12)
    assert found.reliability == pytest.approx(1.0)
    assert found.noise_floor == pytest.approx(0.0, abs=1e-12)
    assert found.naive_norm == pytest.approx(math.dist(one, other))


def test_all_measures_against_the_vectors_themselves():
    random = np.random.default_rng(0)
    seeds = [random.normal(size=(3, 4, 7)) + random.normal(size=(3, 1, 7)) for _ in range(5)]

    def mean_over_parts(function, same):
        return np.mean([function(a, b) for a in range(4) for b in range(4) if (a == b) == same])

    numerator, scale, norm, naive, floor = [], [], [], [], []
    for v in seeds:
        numerator.append(
            mean_over_parts(lambda a, b, v=v: (v[0, a] - v[2, a]) @ (v[0, b] - v[2, b]), False)
        )
        scale.append(
            mean_over_parts(lambda a, b, v=v: (v[0, a] @ v[0, b] + v[2, a] @ v[2, b]) / 2, False)
        )
        norm.append(np.mean([(v[k] ** 2).sum(1).mean() for k in (0, 2)]))
        naive.append(((v[0] - v[2]) ** 2).sum(1).mean())
        floor.append(
            mean_over_parts(
                lambda a, b, v=v: sum(((v[k, a] - v[k, b]) ** 2).sum() for k in (0, 2)) / 2, False
            )
        )
    found = pair_measures([products(v) for v in seeds], 0, 2)
    assert found.distance.value == pytest.approx(sum(numerator) / sum(scale))
    assert found.reliability == pytest.approx(np.mean(scale) / np.mean(norm))
    assert found.naive_norm == pytest.approx(math.sqrt(np.mean(naive)))
    assert found.naive_relative == pytest.approx(math.sqrt(np.mean(naive) / np.mean(norm)))
    assert found.noise_floor == pytest.approx(math.sqrt(np.mean(floor) / np.mean(norm)))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100.0))
def test_distance_does_not_depend_on_scale_rotation_or_the_order_of_parts(number, scale):
    random = np.random.default_rng(number)
    seeds = random.normal(size=(3, 4, 3, 6)) + random.normal(size=(3, 4, 1, 6))
    turn = np.linalg.qr(random.normal(size=(6, 6)))[0]
    changed = scale * seeds[:, :, random.permutation(3)] @ turn
    one = sequence_distance([products(v) for v in seeds])
    other = sequence_distance([products(v) for v in changed])
    assert other.value == pytest.approx(one.value, rel=1e-6, abs=1e-9)
    assert other.high == pytest.approx(one.high, rel=1e-6, abs=1e-9)


def test_a_sequences_distance_is_the_mean_over_consecutive_tasks():
    seed = noiseless((1.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    assert sequence_distance([seed]).value == pytest.approx((0 + 2 + 4) / 3)
    assert sequence_reliability([seed]) == pytest.approx(1.0)


def test_one_seed_has_no_interval():
    found = sequence_distance([noiseless((1.0, 0.0), (0.0, 1.0))])
    assert found.n == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_jackknife_of_a_mean_is_students_interval(count):
    values = np.array([1.0, 4.0, 2.0, 7.0, 5.0])[:count]
    found = jackknife(lambda kept: float(values[list(kept)].mean()), count)
    half = student.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_parts_error_against_leaving_out_vectors():
    random = np.random.default_rng(0)
    seeds = [random.normal(size=(3, 4, 7)) + random.normal(size=(3, 1, 7)) for _ in range(3)]
    variance = 0.0
    for place in range(3):
        without = []
        for part in range(4):
            fewer = [np.delete(v, part, 1) if k == place else v for k, v in enumerate(seeds)]
            without.append(sequence_distance([products(v) for v in fewer]).value)
        variance += 3 / 4 * ((without - np.mean(without)) ** 2).sum()
    found = parts_error([products(v) for v in seeds], [(0, 1), (1, 2)])
    assert found == pytest.approx(math.sqrt(variance))


def test_one_seed_has_an_interval_over_its_parts_from_three_on():
    vectors = np.random.default_rng(0).normal(size=(2, 4, 7)) + np.eye(2, 7)[:, None]
    found = sequence_distance([products(vectors)])
    half = student.ppf(0.975, 3) * parts_error([products(vectors)], [(0, 1)])
    assert found.n == 1
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    two = [products(vectors[:, :2])]
    assert math.isnan(sequence_distance(two).low)
    assert math.isnan(pair_measures(two, 0, 1).parts_error)


# Linear regression, where the truth is known: solutions t = P w* + noise, P a random projection.


def solutions(random, truths, samples, noise, parts=2):
    """Return minimum-norm solutions, shape (tasks, parts, p), from independent data."""
    size = truths.shape[1]
    found = np.empty((len(truths), parts, size))
    for k, truth in enumerate(truths):
        for a in range(parts):
            inputs = random.normal(size=(samples, size))
            targets = inputs @ truth + noise * random.normal(size=samples)
            found[k, a] = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    return found


def truths_at(distance_square):
    """Return two truths of norm 1 at a given squared distance."""
    cosine = 1 - distance_square / 2
    truths = np.zeros((2, 30))
    truths[0, 0] = 1.0
    truths[1, :2] = cosine, math.sqrt(1 - cosine**2)
    return truths


@pytest.mark.parametrize(("samples", "noise"), [(12, 0.0), (12, 0.5), (60, 0.5)])
@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 2.0])
def test_the_numerator_is_unbiased_whatever_the_samples_and_the_noise(samples, noise, distance):
    random = np.random.default_rng(1)
    share = min(1.0, samples / 30)
    numerators = []
    for _ in range(300):
        t = solutions(random, truths_at(distance), samples, noise)
        numerators.append((t[0, 0] - t[1, 0]) @ (t[0, 1] - t[1, 1]))
    error = np.std(numerators, ddof=1) / math.sqrt(300)
    assert abs(np.mean(numerators) - share**2 * distance) < 4 * error


def test_the_naive_distance_of_equal_tasks_is_far_from_zero_and_ours_is_not():
    random = np.random.default_rng(2)
    seeds = [products(solutions(random, truths_at(0.0), 10, 0.2)) for _ in range(40)]
    found = pair_measures(seeds, 0, 1)
    assert found.distance.low < 0 < found.distance.high
    assert found.naive_relative > 1
    assert found.naive_relative == pytest.approx(found.noise_floor, rel=0.1)


@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_cover_the_true_distance(seeds):
    """Coverage of 95 % intervals over 400 repetitions; its standard error is about 1 point."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        measured = [products(solutions(random, truths_at(0.8), 40, 1.0)) for _ in range(seeds)]
        found = sequence_distance(measured)
        hits += found.low <= 0.8 <= found.high
    assert 0.92 <= hits / 400 <= 0.985


# Seeds that differ by themselves beside parts that differ by noise: which interval is right?


def seeds_with_truths_of_their_own(random, count, parts, spread, noise):
    """Return solutions whose distance is 0.8 on average over seeds, and noise of length ``noise``.

    A seed's own distance is uniform in 0.8 +- 2 ``spread``.
    """
    cosine = 0.6 + spread * random.uniform(-1, 1, size=count)
    truths = np.zeros((count, 2, 1, 30))
    truths[:, 0, 0, 0] = 1.0
    truths[:, 1, 0, 0], truths[:, 1, 0, 1] = cosine, np.sqrt(1 - cosine**2)
    return truths + noise / math.sqrt(30) * random.normal(size=(count, 2, parts, 30))


@pytest.mark.parametrize(("spread", "noise"), [(0.0, 1.0), (0.2, 0.5), (0.2, 1.0)])
def test_the_interval_over_seeds_covers_what_parts_and_seeds_add(spread, noise):
    """With four parts the spread of five seeds holds the noise of their parts once.

    To add it a second time covers nearly always; over the parts alone, seeds are forgotten.
    """
    random = np.random.default_rng(4)
    hits = {"seeds": 0, "both added": 0, "parts": 0}
    for _ in range(300):
        drawn = seeds_with_truths_of_their_own(random, 5, 4, spread, noise)
        measured = [products(v) for v in drawn]
        found = sequence_distance(measured)
        of_seeds = (found.high - found.low) / 2 / student.ppf(0.975, 4)
        of_parts = parts_error(measured, [(0, 1)])
        away = abs(found.value - 0.8)
        hits["seeds"] += found.low <= 0.8 <= found.high
        hits["both added"] += away <= student.ppf(0.975, 4) * math.hypot(of_seeds, of_parts)
        hits["parts"] += away <= student.ppf(0.975, 15) * of_parts
    assert 0.91 <= hits["seeds"] / 300 <= 0.985
    if spread == 0 or noise == 1:
        assert hits["both added"] / 300 > 0.985
    if noise == 0.5:
        assert hits["parts"] / 300 < 0.8


@pytest.mark.parametrize("parts", [3, 4, 8])
def test_the_interval_over_the_parts_of_one_seed_covers_that_seeds_distance(parts):
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        (vectors,) = seeds_with_truths_of_their_own(random, 1, parts, 0.0, 1.0)
        found = sequence_distance([products(vectors)])
        hits += found.low <= 0.8 <= found.high
    assert 0.92 <= hits / 400 <= 0.99


def test_parts_error_is_the_standard_deviation_over_new_parts_and_errs_upwards():
    random = np.random.default_rng(6)
    for noise, most in ((0.2, 1.1), (1.0, 1.5)):
        values, variances = [], []
        for _ in range(300):
            drawn = seeds_with_truths_of_their_own(random, 3, 4, 0.0, noise)
            measured = [products(v) for v in drawn]
            values.append(sequence_distance(measured).value)
            variances.append(parts_error(measured, [(0, 1)]) ** 2)
        assert 0.9 < math.sqrt(np.mean(variances)) / np.std(values, ddof=1) < most

"""Linear settings and their expected errors: published tables, second formulas, properties."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftboard.suite.linear.exact import (
    STRATEGIES,
    best_fractions,
    crossover_distance,
    expected_excess,
    expected_excess_of_fraction,
    expected_untrained,
)
from driftboard.suite.metrics import average_loss, loss_forgetting, task_loss
from driftboard.suite.sequences.linear import LinearSetting

HALF = math.sqrt(0.5)


def one_block(parameters, samples, **settings):
    """Return a setting with no shared parameters and truths of norm 1."""
    return LinearSetting(
        shared=0, own=parameters, samples=samples, shared_norm=0.0, own_norm=1.0, **settings
    )


def two_blocks(**settings):
    """Return a first task with many samples, then one with few."""
    chosen = {"tasks": 2, "shared": 60, "own": 40, "samples": 20, "first_samples": 300}
    return LinearSetting(**(chosen | {"noise": 0.3} | settings))


@st.composite
def settings_of_any_size(draw, **fixed):
    """Return a valid setting, all sizes small."""
    tasks = fixed.get("tasks") or draw(st.integers(2, 5))
    shared = draw(st.integers(0, 20))
    own_norm = draw(st.floats(0.1, 3))
    values = {
        "tasks": tasks,
        "shared": shared,
        "own": draw(st.integers(tasks + 1, 20)),
        "samples": draw(st.integers(1, 60)),
        "first_samples": draw(st.none() | st.integers(1, 60)),
        "noise": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "distance": draw(st.floats(0, 1)) * math.sqrt(2) * own_norm,
        "shared_norm": draw(st.floats(0, 3)) if shared else 0.0,
        "own_norm": own_norm,
    }
    try:
        return LinearSetting(**(values | fixed))
    except ValueError as error:
        assume("infinite" not in str(error))
        raise


# Settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": 1}, "tasks must be at least 2, not 1"),
        ({"shared": -1}, "shared must be at least 0, not -1"),
        ({"own": 2}, "own must be at least 3, not 2"),
        ({"samples": 0}, "samples must be at least 1, not 0"),
        ({"first_samples": 0}, "first_samples must be at least 1, not 0"),
        ({"draws": 0}, "draws must be at least 1, not 0"),
        ({"noise": -0.1}, "noise must be a number of at least 0, not -0.1"),
        ({"noise": math.nan}, "noise must be a number"),
        ({"noise": math.inf}, "noise must be a number"),
        ({"shared_norm": -1.0}, "shared_norm must be a number"),
        ({"own_norm": 0.0}, "own_norm must be greater than 0"),
        ({"shared": 0}, "shared_norm must be 0"),
        ({"distance": -0.1}, "distance must be from 0 to 1, not -0.1"),
        ({"distance": 1.001}, "distance must be from 0 to 1, not 1.001"),
        ({"distance": math.nan}, "distance must be from 0 to 1"),
        *(
            ({"samples": n}, "samples must differ by 2 or more from the 100")
            for n in (99, 100, 101)
        ),
        *(({"first_samples": n}, "first_samples must differ by 2") for n in (99, 100, 101)),
        *(({"samples": n}, "samples must differ by 2 or more from the 40") for n in (39, 40, 41)),
        ({"noise": 0.0, "samples": 40, "first_samples": 99}, "more from the 40 own"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        two_blocks(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 98},
        {"samples": 102},
        {"samples": 38},
        {"samples": 42},
        {"first_samples": 40},
        {"distance": math.sqrt(2) * HALF},
        {"noise": 0.0, "samples": 100},
        {"noise": 0.0, "first_samples": 99},
        {"noise": 0.0, "samples": 40, "first_samples": 100},
        {"noise": 0.0, "shared": 0, "shared_norm": 0.0, "samples": 40, "first_samples": 3},
    ],
)
def test_settings_with_finite_expectations_are_accepted(change):
    setting = two_blocks(**change)
    for strategy in STRATEGIES:
        assert np.isfinite(expected_excess(setting, strategy)).all()


def test_the_first_task_may_have_its_own_number_of_samples():
    assert [two_blocks(tasks=3).samples_of(k) for k in range(3)] == [300, 20, 20]
    assert [two_blocks(first_samples=None).samples_of(k) for k in range(2)] == [20, 20]
    assert two_blocks().parameters == 100


def test_settings_and_their_expectations_load_no_torch():
    code = "import sys, driftboard.suite.linear.exact; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Losses as metrics


def test_losses_are_summarised_from_their_matrix():
    loss = np.array([[1.0, 9.0, 9.0], [4.0, 2.0, 9.0], [7.0, 1.0, 4.0]])
    assert average_loss(loss) == pytest.approx(4)
    assert task_loss(loss) == pytest.approx(7 / 3)
    assert loss_forgetting(loss) == pytest.approx((6 - 1) / 2)


# Tables


@pytest.mark.parametrize(
    ("parameters", "samples", "noise", "distance", "tasks", "forgetting", "average"),
    [
        (40, 20, 0.0, 0.5, 2, -0.1250, 0.3438),
        (40, 20, 0.5, 1.4, 2, 0.8616, 1.3797),
        (60, 40, 0.3, 1.0, 5, 0.6183, 1.0839),
        (100, 20, 0.5, 1.2, 10, 0.3870, 1.5467),
    ],
)
def test_training_everything_has_the_tabulated_errors(
    parameters, samples, noise, distance, tasks, forgetting, average
):
    setting = one_block(parameters, samples, noise=noise, distance=distance, tasks=tasks)
    excess = expected_excess(setting, "sgd")

    assert round(loss_forgetting(excess), 4) == forgetting
    assert round(average_loss(excess), 4) == average

    # Forgetting once more, from the recursion's solution.
    r = 1 - samples / parameters
    nu = samples * noise**2 / (parameters - samples - 1)
    terms = [
        (r**i - r**tasks) * (distance**2 + nu / (1 - r) - 1)
        + (1 - r) * distance**2 * (1 - r ** (tasks - i))
        for i in range(1, tasks)
    ]
    assert loss_forgetting(excess) == pytest.approx(np.mean(terms), rel=1e-12)


NAMES = ("frozen", "frozen-reset", "initialized", "sgd", "scratch")


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0.0, ".1143/.1595 .3552/.4004 .3993/.4445 .0137/.0590 .7776/.8228"),
        (0.5, ".2393/.2845 .4802/.4629 .4493/.4695 .0637/.1840 .8276/.8478"),
        (1.0, ".6143/.6595 .8552/.6504 .5993/.5445 .2137/.5590 .9776/.9228"),
    ],
)
def test_strategies_have_the_tabulated_errors(distance, expected):
    for name, cell in zip(NAMES, expected.split(), strict=True):
        excess = expected_excess(two_blocks(distance=distance), name)
        found = f"{loss_forgetting(excess):.4f}/{average_loss(excess):.4f}".replace("0.", ".")
        assert (name, found) == (name, cell)


@pytest.mark.parametrize(
    ("noise", "forgetting", "both"), [(0.0, 0.333, 0.667), (0.5, 0.305, 0.525)]
)
def test_the_best_fractions_are_the_tabulated_ones(noise, forgetting, both):
    found = best_fractions(one_block(60, 20, noise=noise, distance=1.0, tasks=2))
    assert found == (pytest.approx(forgetting, abs=5e-4), pytest.approx(both, abs=5e-4))


# Expectations


@given(settings_of_any_size())
def test_all_strategies_begin_alike_and_untrained_errors_are_the_truths_norms(setting):
    """The first row once more: the shared part's error and the own part's, added."""
    n, p, s, size = setting.samples_of(0), setting.shared, setting.own, setting.parameters
    u, q = setting.shared_norm**2, setting.own_norm**2
    a = max(0.0, 1 - n / size)
    y = n * (size - n) / (size * (size - 1) * (size + 2)) if n < size else 0.0
    nu = 0.0
    if setting.noise:
        nu = setting.noise**2 * min(n, size) / (abs(size - n) - 1)
    c = a - y * size
    shared = c * u + y * p * (u + q) + p / size * nu
    own = c * q + y * s * (u + q) + s / size * nu
    inner = q - setting.distance**2 / 2
    other = own - 2 * a * (q - inner) + setting.distance**2
    expected = [shared + own, *[shared + other] * (setting.tasks - 1)]

    for name in STRATEGIES:
        np.testing.assert_allclose(expected_excess(setting, name)[0], expected, rtol=1e-9)
    np.testing.assert_allclose(expected_untrained(setting), [u + q] * setting.tasks)


@given(settings_of_any_size())
def test_noop_forgets_nothing_and_scratch_has_no_memory(setting):
    noop, scratch = (expected_excess(setting, name) for name in ("noop", "scratch"))
    assert loss_forgetting(noop) == 0
    later = replace(setting, first_samples=setting.samples)
    np.testing.assert_allclose(scratch[1:], expected_excess(later, "scratch")[1:])
    np.testing.assert_allclose(np.diagonal(scratch)[1:], scratch[1, 1])


@given(settings_of_any_size(shared=0, shared_norm=0.0))
def test_without_shared_parameters_freezing_them_is_plain_training(setting):
    for one, other in (("frozen", "sgd"), ("frozen-reset", "scratch"), ("initialized", "scratch")):
        np.testing.assert_allclose(
            expected_excess(setting, one), expected_excess(setting, other), rtol=1e-9, atol=1e-12
        )


@given(settings_of_any_size(first_samples=None))
def test_with_enough_samples_all_that_train_on_are_alike(setting):
    """Then nothing of the start is left; the first task must have as many samples."""
    assume(setting.samples >= setting.parameters + 2)
    expected = expected_excess(setting, "sgd")
    assert loss_forgetting(expected) == pytest.approx(setting.distance**2, abs=1e-9)
    for name in NAMES:
        np.testing.assert_allclose(expected_excess(setting, name), expected, atol=1e-9)


def test_a_strategy_without_a_closed_form_is_refused():
    with pytest.raises(ValueError, match=r"no closed form for 'ewc', only for sgd, frozen"):
        expected_excess(two_blocks(), "ewc")


# Crossover


@pytest.mark.parametrize("samples", [5, 20, 37])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_crossover_has_its_closed_form(samples, noise):
    setting = two_blocks(samples=samples, noise=noise, first_samples=80, shared_norm=0.2)
    p, s, size, n, n1 = 60, 40, 100, samples, 80
    a, b, eta = 1 - n / size, 1 - n / s, n / (s - n - 1)
    y = n1 * (size - n1) / (size * (size - 1) * (size + 2))
    c = 1 - n1 / size - y * size
    nu, nu1 = (k * noise**2 / (size - k - 1) for k in (n, n1))
    u, q = 0.2**2, 0.5
    shared = c * u + y * p * (u + q) + p / size * nu1
    own = c * q + y * s * (u + q) + s / size * nu1
    excess = a * q + nu - n / size * shared - b * own - eta * (noise**2 + shared)
    expected = math.sqrt(excess / (n / s - n / size)) if excess > 0 else math.inf

    found = crossover_distance(setting)

    if expected <= math.sqrt(2) * setting.own_norm:
        assert found == pytest.approx(expected, rel=1e-10)
    else:
        assert found is None


def test_frozen_forgets_less_below_the_crossover_and_more_above():
    setting = two_blocks(tasks=4)
    crossover = crossover_distance(setting)
    assert 0.1 < crossover < 0.9

    def lead(distance):
        at = replace(setting, distance=distance)
        frozen, initialized = (
            loss_forgetting(expected_excess(at, name)) for name in ("frozen", "initialized")
        )
        return frozen - initialized

    assert lead(crossover - 0.05) < -1e-3
    assert lead(crossover) == pytest.approx(0, abs=1e-12)
    assert lead(crossover + 0.05) > 1e-3


def test_other_strategies_and_measures_have_crossovers_too():
    setting = two_blocks()
    crossover = crossover_distance(setting, "frozen-reset", "initialized", average_loss)
    at = replace(setting, distance=crossover)
    averages = [average_loss(expected_excess(at, name)) for name in ("frozen-reset", "initialized")]
    assert averages[0] == pytest.approx(averages[1], rel=1e-12)


def test_where_two_strategies_are_alike_nothing_crosses():
    assert crossover_distance(two_blocks(samples=300)) is None
    assert crossover_distance(two_blocks(), "sgd", "sgd") is None


# Fractions


@given(settings_of_any_size())
def test_the_whole_update_is_plain_training_and_none_of_it_is_noop(setting):
    for fraction, name in ((1.0, "sgd"), (0.0, "noop")):
        np.testing.assert_allclose(
            expected_excess_of_fraction(setting, fraction),
            expected_excess(setting, name),
            rtol=1e-9,
            atol=1e-12,
        )


@given(settings_of_any_size(tasks=2), st.floats(0, 1))
def test_no_fraction_is_better_than_the_best(setting, fraction):
    least, least_sum = best_fractions(setting)
    assert 0 <= least <= 1
    assert 0 <= least_sum <= 1
    for best, measure in ((least, loss_forgetting), (least_sum, average_loss)):
        found = measure(expected_excess_of_fraction(setting, best))
        other = measure(expected_excess_of_fraction(setting, fraction))
        assert found <= other + 1e-12 * (1 + abs(other))


@given(settings_of_any_size(tasks=2))
def test_the_best_fractions_are_stationary(setting):
    for best, measure in zip(best_fractions(setting), (loss_forgetting, average_loss), strict=True):
        left, here, right = (
            measure(expected_excess_of_fraction(setting, best + step)) for step in (-0.1, 0, 0.1)
        )
        assert left - here == pytest.approx(right - here, rel=1e-6, abs=1e-10)


def test_the_best_fractions_follow_from_distance_and_error_of_the_first_task():
    """In one block with equal samples: from ``|e_1|^2``, ``e_1 . d`` and ``|d - e_1|^2``."""
    setting = one_block(60, 20, noise=0.5, distance=0.7, tasks=2)
    r, kappa, nu, square = 2 / 3, 1 / 3, 20 * 0.25 / 39, 0.49
    error = r + nu
    along = r * square / 2
    apart = error + kappa * square
    expected = (
        kappa * (error - along) / (kappa * apart + nu),
        kappa * (square - 3 * along + 2 * error) / (2 * (kappa * apart + nu)),
    )
    assert best_fractions(setting) == pytest.approx(expected, rel=1e-12)


def test_where_nothing_moves_the_best_fraction_is_none():
    assert best_fractions(two_blocks(noise=0.0)) == (0.0, 0.0)


def test_best_fractions_are_for_two_tasks():
    with pytest.raises(ValueError, match="for two tasks, not for 3"):
        best_fractions(two_blocks(tasks=3))

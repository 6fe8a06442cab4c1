"""Linear learners: against exact expectations, iterated training and what must hold by design."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap

from driftboard.strategies import Examples, Strategy, Task, UpdatePlan
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.strategies.constrained import Constrained
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.fisher import diagonal_fisher
from driftboard.strategies.magnitude import Ball, Fraction
from driftboard.strategies.template import MyMethod
from driftboard.suite.errors import StrategyError
from driftboard.suite.linear.exact import (
    STRATEGIES,
    best_fractions,
    expected_excess,
    expected_excess_of_fraction,
    expected_untrained,
)
from driftboard.suite.linear.learner import draw, linear_network, run, why_not_solved
from driftboard.suite.linear.solutions import least_squares, stationary_point
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.training.hooks import CohortStep, CohortTask, Hooks
from driftboard.suite.training.networks.stacked_mlp import StackedMlp

CLOSE = {"rtol": 1e-9, "atol": 1e-11}
CONVERGED = {"rtol": 1e-7, "atol": 1e-8}


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def noise(index):
    return generators(100 + index)


def trained(setting, strategy, data=None):
    """Return what one seed's learners did."""
    return run(setting, strategy, data or draw(setting, generators(0)), noise)


def small(**changes):
    """Return a setting that naive training solves fast: fewer samples than own parameters."""
    chosen = {"tasks": 3, "shared": 3, "own": 5, "samples": 3, "noise": 0.2, "distance": 0.6}
    return LinearSetting(**(chosen | {"draws": 3} | changes))


# Data


@settings(max_examples=20)
@given(
    shared=st.integers(0, 5),
    tasks=st.integers(2, 4),
    part=st.floats(0, 1),
    noise=st.sampled_from([0.0, 0.5]),
)
def test_truths_have_the_settings_geometry_and_make_the_targets(shared, tasks, part, noise):
    setting = LinearSetting(
        tasks=tasks,
        shared=shared,
        own=tasks + 1,
        samples=2 * (shared + tasks) + 9,
        first_samples=3 * (shared + tasks) + 9,
        noise=noise,
        distance=part * math.sqrt(2) * 1.7,
        shared_norm=0.4 if shared else 0.0,
        own_norm=1.7,
        draws=4,
    )
    data = draw(setting, generators(0, 1))
    common, own = data.truths[:, :, :shared], data.truths[:, :, shared:]

    assert data.truths.shape == (8, tasks, setting.parameters)
    assert data.truths.dtype == torch.float64
    assert torch.equal(common, common[:, :1].expand_as(common))
    norms = torch.full((8, tasks), setting.shared_norm, dtype=torch.float64)
    torch.testing.assert_close(common.norm(dim=2), norms, **CLOSE)
    torch.testing.assert_close(own.norm(dim=2), torch.full_like(norms, 1.7), **CLOSE)
    apart = torch.cdist(own, own, compute_mode="donot_use_mm_for_euclid_dist")
    expected = setting.distance * (1 - torch.eye(tasks, dtype=torch.float64))
    torch.testing.assert_close(apart, expected.expand_as(apart), rtol=1e-9, atol=1e-9)
    for task, (inputs, targets) in enumerate(zip(data.inputs, data.targets, strict=True)):
        assert inputs.shape == (8, setting.samples_of(task), setting.parameters)
        errors = targets - (inputs @ data.truths[:, task, :, None])[..., 0]
        assert errors.std() == pytest.approx(noise, abs=0.15 * noise + 1e-12)


def test_inputs_and_directions_are_standard_normal_and_uniform():
    setting = LinearSetting(tasks=2, shared=3, own=4, samples=30, distance=0.5, draws=2000)
    data = draw(setting, generators(3))
    for inputs in data.inputs:
        values = inputs.flatten(0, 1)
        torch.testing.assert_close(values.T.cov(), torch.eye(7).double(), rtol=0, atol=0.02)
        assert values.mean(0).abs().max() < 0.02
    # A uniform direction has mean 0 and the same second moment in every coordinate.
    for part, norm in ((data.truths[:, 0, :3], 0.5), (data.truths[:, 1, 3:], 0.5)):
        moments = part.T @ part / 2000
        expected = norm / part.shape[1] * torch.eye(part.shape[1]).double()
        torch.testing.assert_close(moments, expected, rtol=0, atol=0.02)
        assert part.mean(0).abs().max() < 0.05


def test_learners_and_tasks_differ_and_seeds_do_not_depend_on_each_other():
    setting = small()
    both, second = draw(setting, generators(5, 6)), draw(setting, generators(6))
    assert torch.equal(both.truths[3:], second.truths)
    assert torch.equal(both.inputs[1][3:], second.inputs[1])
    assert torch.equal(both.targets[2][3:], second.targets[2])
    rows = torch.cat([inputs[:, 0] for inputs in both.inputs])
    assert torch.cdist(rows, rows).fill_diagonal_(1).min() > 0.1

    together = run(setting, Ewc(), both, lambda index: generators(7, 8))
    alone = run(setting, Ewc(), second, lambda index: generators(8))
    torch.testing.assert_close(together.excess[3:], alone.excess, **CLOSE)


def test_settings_that_differ_in_distance_and_noise_share_the_random_numbers():
    one, other = (draw(small(distance=d, noise=s), generators(0)) for d, s in ((0, 0), (1, 1)))
    assert all(torch.equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))


# Expectations

GRID = {
    "few": {"samples": 8, "own": 20},
    "few, far, many tasks": {"samples": 8, "own": 20, "tasks": 5, "distance": 1.0},
    "few, no noise": {"samples": 8, "own": 20, "noise": 0.0},
    "few, same task": {"samples": 8, "own": 20, "distance": 0.0, "first_samples": 60},
    "between": {"samples": 20, "own": 10, "shared": 25},
    "between, no noise": {"samples": 20, "own": 10, "shared": 25, "noise": 0.0, "tasks": 2},
    "many": {"samples": 50, "own": 20},
    "many, few at first": {"samples": 50, "own": 20, "first_samples": 10, "distance": 1.0},
    "as many as parameters, no noise": {"samples": 40, "first_samples": 50, "noise": 0.0},
    "one block": {"shared": 0, "shared_norm": 0.0, "own": 30, "samples": 15, "own_norm": 1.0},
}


def grid_setting(name):
    chosen = {"tasks": 3, "shared": 20, "own": 20, "noise": 0.3, "distance": 0.6, "draws": 700}
    return LinearSetting(**(chosen | GRID[name]))


def z_scores(found, expected):
    """Return how many standard errors the means of (L, ...) are away, where there are any."""
    mean, error = found.mean(0), found.std(0) / math.sqrt(found.shape[0])
    away = (mean - torch.as_tensor(expected)).abs()
    return torch.where(away < 1e-12, 0.0, away / error)


@pytest.mark.parametrize("name", GRID)
def test_measured_errors_agree_with_the_expected_ones(name):
    setting = grid_setting(name)
    data = draw(setting, generators(1))
    for strategy in STRATEGIES:
        outcome = trained(setting, BUILTIN[strategy], data)
        scores = z_scores(outcome.excess, expected_excess(setting, strategy))
        assert scores.max() < 4, strategy
        torch.testing.assert_close(
            outcome.untrained.mean(0), torch.as_tensor(expected_untrained(setting)), **CLOSE
        )


@pytest.mark.parametrize("fraction", [0.3, 0.8])
@pytest.mark.parametrize("name", ["few, far, many tasks", "between", "one block"])
def test_measured_errors_of_fractions_agree_with_the_expected_ones(name, fraction):
    setting = grid_setting(name)
    outcome = trained(setting, Fraction(fraction))
    expected = expected_excess_of_fraction(setting, fraction)
    assert z_scores(outcome.excess, expected).max() < 4


@pytest.mark.parametrize("first_samples", [None, 26])
def test_the_best_fractions_are_best_when_measured(first_samples):
    setting = LinearSetting(
        tasks=2,
        shared=20,
        own=20,
        samples=12,
        first_samples=first_samples,
        noise=0.4,
        distance=0.9,
        draws=1500,
    )
    data = draw(setting, generators(2))

    def measured(fraction):
        """Return forgetting and the sum of both errors of every learner."""
        excess = trained(setting, Fraction(fraction), data).excess
        return torch.stack([excess[:, 1, 0] - excess[:, 0, 0], excess[:, 1].sum(1)])

    for which, best in enumerate(best_fractions(setting)):
        assert 0.15 < best < 0.85
        for other in (best - 0.15, best + 0.15):
            lead = (measured(other) - measured(best))[which]
            assert lead.mean() > 4 * lead.std() / math.sqrt(setting.draws)


# Training step by step


def one_task(setting, data, index, learner):
    """Return the task that one learner sees, made without the cohort."""
    inputs, targets = data.inputs[index][learner], data.targets[index][learner]
    count = targets.shape[0]
    network = linear_network(setting)
    return Task(
        index=index,
        network=network,
        examples=Examples(inputs, targets, torch.ones(count, 1, dtype=torch.bool)),
        classes=torch.ones(1, dtype=torch.bool),
        units=torch.zeros(1, dtype=torch.int64),
        answers=torch.zeros(1, dtype=torch.int64),
        initial={k: torch.zeros_like(v) for k, v in network.module.named_parameters()},
        noise=torch.full((count,), 0.25 if learner % 2 else 0.75, dtype=torch.float64),
        regression=True,
    )


def iterated(setting, strategy, data):
    """Return excess losses of gradient descent with a great many steps, shape (L, tasks, tasks)."""
    blocks = ("shared.weight", "own.weight")

    def split(weights):
        parts = weights[None].split([setting.shared, setting.own], dim=1)
        return dict(zip(blocks, parts, strict=True))

    def learner_alone(learner):
        tasks = [one_task(setting, data, k, learner) for k in range(setting.tasks)]
        parameters, memory, rows = tasks[0].initial, {}, []
        for task in tasks:
            plan, memory = strategy.begin(task, parameters, memory)
            share = dict(zip(blocks, plan.share.double(), strict=True))
            restart = dict(zip(blocks, plan.restart, strict=True))
            start = torch.cat(
                [(task.initial if restart[name] else parameters)[name][0] for name in blocks]
            )
            largest = torch.linalg.matrix_norm(task.examples.images, ord=2) ** 2 / len(task.noise)
            rate = 0.2 / (largest + 5)

            def step(weights, task=task, share=share, rate=rate, memory=memory):
                parameters = split(weights)
                gradient = {
                    name: torch.where(share[name] > 0, value, 0.0)
                    for name, value in grad(task.loss)(parameters, task.examples).items()
                }
                gradient = strategy.correct(task, gradient, parameters, memory)
                return torch.cat(
                    [(parameters[n] - rate * share[n] * gradient[n])[0] for n in blocks]
                )

            parameters, memory = strategy.finish(task, split(many_steps(step, start)), memory)
            weights = torch.cat([parameters[name] for name in blocks], dim=1)
            rows.append((weights - data.truths[learner]).square().sum(1))
        return torch.stack(rows)

    return torch.stack([learner_alone(k) for k in range(setting.draws)])


def many_steps(step, start, doublings=22):
    """Return where ``2 ** doublings`` steps lead; a step is an affine map and is composed."""
    offset = step(torch.zeros_like(start))
    matrix = torch.stack([step(e) - offset for e in torch.eye(len(start)).double()], dim=1)
    for _ in range(doublings):
        matrix, offset = matrix @ matrix, matrix @ offset + offset
    return matrix @ start + offset


@dataclass(frozen=True)
class Mixed(Strategy):
    """Freeze the shared block of some learners and restart the own one of the others."""

    name: ClassVar[str] = "mixed"

    def begin(self, task, parameters, memory):
        frozen = task.noise[0] < 0.5
        share = torch.stack([torch.where(frozen, 0.0, 0.3), torch.tensor(1.0)])
        restart = torch.stack([torch.tensor(False), ~frozen])
        plan = UpdatePlan(share, restart)
        return (plan if task.index else task.everything()), memory


@dataclass(frozen=True)
class MixedPull(Mixed):
    """The same, pulled towards the last solution; the blocks' gradients touch each other."""

    strength: float = 0.3

    def correct(self, task, gradient, parameters, memory):
        pulled = MyMethod(self.strength).correct(task, gradient, parameters, memory)
        if not memory:
            return pulled
        return pulled | {"own.weight": pulled["own.weight"] + 0.1 * gradient["shared.weight"].sum()}

    def finish(self, task, parameters, memory):
        return MyMethod(self.strength).finish(task, parameters, memory)


@dataclass(frozen=True)
class Projection(Strategy):
    """Leave the first coordinate of the own block alone: the gradient is no loss's gradient."""

    name: ClassVar[str] = "projection"

    def begin(self, task, parameters, memory):
        plan = task.everything()
        return UpdatePlan(torch.tensor([0.5, 1.0]), plan.restart), memory

    def correct(self, task, gradient, parameters, memory):
        mask = torch.ones_like(gradient["own.weight"])
        mask = mask - torch.nn.functional.one_hot(torch.tensor(0), mask.shape[1])
        return gradient | {"own.weight": mask * gradient["own.weight"]}


SIZES = {
    "few": {},
    "between": {"samples": 6, "own": 4, "shared": 4},
    "many": {"samples": 12},
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "strategy",
    [
        BUILTIN["sgd"],
        BUILTIN["frozen"],
        BUILTIN["initialized"],
        Constrained(share=0.5, first_block=0.2),
        Fraction(0.4),
        Ewc(strength=2.0),
        Ewc(strength=0.5, separate=True),
        MyMethod(strength=0.1),
        Projection(),
    ],
    ids=str,
)
def test_solutions_are_where_gradient_descent_ends(strategy, size):
    setting = small(**SIZES[size], tasks=2, draws=1)
    data = draw(setting, generators(4))
    expected = iterated(setting, strategy, data)
    torch.testing.assert_close(trained(setting, strategy, data).excess, expected, **CONVERGED)


class Halves:
    """A strategy's noise: .75 for learners with an even number and .25 for the others."""

    def random(self, size):
        number = np.arange(size[0])[:, None]
        return np.broadcast_to(np.where(number % 2, 0.25, 0.75), size).copy()

    def integers(self, high, size):
        return np.zeros(size, dtype=np.int64)


@pytest.mark.parametrize("strategy", [Mixed(), MixedPull()], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_learners_with_different_plans_are_solved_together(strategy, size):
    setting = small(**SIZES[size], draws=4)
    data = draw(setting, generators(4))
    outcome = run(setting, strategy, data, lambda index: [Halves()])

    torch.testing.assert_close(outcome.excess, iterated(setting, strategy, data), **CONVERGED)
    frozen = torch.tensor([False, True, False, True])
    assert torch.equal(outcome.share[:, 1, 0] == 0, frozen)
    assert torch.equal(outcome.restart[:, 2, 1], ~frozen)
    assert torch.equal(outcome.update_norms[:, 1, 0] == 0, frozen)


def test_many_steps_are_as_many_as_they_say():
    matrix = torch.tensor([[0.9, 0.1], [-0.2, 0.8]]).double()
    offset, start = torch.tensor([[0.3, -0.1], [1.0, 2.0]]).double()
    point = start
    for _ in range(8):
        point = matrix @ point + offset
    found = many_steps(lambda w: matrix @ w + offset, start, doublings=3)
    torch.testing.assert_close(found, point, **CLOSE)


@pytest.mark.parametrize("samples", [19, 20, 21])
def test_solutions_are_accurate_next_to_as_many_samples_as_parameters(samples):
    random = torch.Generator().manual_seed(0)
    shapes = (50, samples, 20), (50, 20), (50, 20)
    inputs, truth, start = (torch.randn(*s, generator=random).double() for s in shapes)
    targets = (inputs @ truth[..., None])[..., 0]
    share = torch.tensor([0.01] * 5 + [1.0] * 15).double().expand(50, 20)

    solution = least_squares(inputs, targets, start, share)

    torch.testing.assert_close((inputs @ solution[..., None])[..., 0], targets, **CLOSE)
    if samples == 19:
        # Nothing is moved along the one direction that no sample sees, in the shares' metric.
        unseen = torch.linalg.svd(inputs).Vh[:, -1]
        along = (unseen * (solution - start) / share).sum(1)
        torch.testing.assert_close(along, torch.zeros(50).double(), rtol=0, atol=1e-8)
    else:
        torch.testing.assert_close(solution, truth, rtol=1e-6, atol=1e-6)


@given(
    samples=st.sampled_from([2, 6, 15]), share=st.floats(0.01, 1), seed=st.integers(0, 2**32 - 1)
)
@settings(max_examples=25)
def test_a_correction_that_changes_nothing_gives_the_least_squares_solution(samples, share, seed):
    random = np.random.default_rng(seed)
    inputs, targets, start = (
        torch.from_numpy(random.standard_normal(size))
        for size in ((4, samples, 8), (4, samples), (4, 8))
    )
    share = torch.tensor([share] * 3 + [1.0] * 3 + [0.0] * 2).double().expand(4, 8)

    def slope(weights):
        return torch.einsum("lnj,pln->plj", inputs, (inputs * weights[:, :, None]).sum(3) - targets)

    solution, ends = stationary_point(slope, start, share)

    assert ends.all()
    expected = least_squares(inputs, targets, start, share)
    torch.testing.assert_close(solution, expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(solution[:, 6:], start[:, 6:])


def test_a_slope_must_be_affine_on_the_other_side_of_the_start_too():
    start, share = torch.zeros(2, 1).double(), torch.ones(2, 1).double()
    bent = torch.tensor([[1.0], [3.0]]).double()  # the slope below 0, of two learners

    solution, ends = stationary_point(lambda w: torch.where(w < 0, bent, 1.0) * w - 1, start, share)

    assert solution.flatten().tolist() == pytest.approx([1, 1])
    assert ends.tolist() == [True, False]


# What must hold by design


def test_joint_training_without_noise_finds_the_one_truth_once_it_has_seen_enough():
    setting = LinearSetting(tasks=4, shared=10, own=10, samples=6, draws=20)
    excess = trained(setting, BUILTIN["joint"]).excess
    assert (excess[:, 3] < 1e-16).all()
    assert (excess[:, 2] > 1e-3).all()
    assert (trained(setting, BUILTIN["sgd"]).excess[:, 3] > 1e-3).all()


def test_the_same_share_everywhere_changes_nothing_of_what_training_converges_to():
    data = draw(small(), generators(0))
    plain, slow, first = (
        trained(small(), strategy, data).excess
        for strategy in (BUILTIN["sgd"], Constrained(share=0.1), Constrained(first_block=0.1))
    )
    torch.testing.assert_close(slow, plain, **CLOSE)
    assert (first[:, 1:] - plain[:, 1:]).abs().min() > 1e-4


SOLVED = [name for name, strategy in BUILTIN.items() if why_not_solved(strategy) is None]


@pytest.mark.parametrize("name", SOLVED)
def test_every_strategy_runs_with_and_without_shared_parameters(name):
    for changes in ({}, {"shared": 0, "shared_norm": 0.0}):
        setting = small(**changes)
        outcome = trained(setting, BUILTIN[name])
        again = trained(setting, BUILTIN[name])
        assert outcome.excess.shape == (3, 3, 3)
        assert torch.isfinite(outcome.excess).all()
        assert torch.equal(outcome.excess, again.excess)


def test_the_outcome_says_what_was_done():
    setting = small(noise=0.0)
    data = draw(setting, generators(0))
    outcome = trained(setting, BUILTIN["frozen-reset"], data)

    assert outcome.share[0].tolist() == [[1, 1], [0, 1], [0, 1]]
    assert outcome.restart[0].tolist() == [[False, False], [False, True], [False, True]]
    update, solution, drift = outcome.update_norms, outcome.solution_norms, outcome.drift_norms
    assert update.shape == solution.shape == drift.shape == (3, 3, 2)
    torch.testing.assert_close(update[:, 0], solution[:, 0], **CLOSE)
    assert not drift[:, 0].any()
    assert not update[:, 1:, 0].any()
    assert torch.equal(solution[:, 1, 0], solution[:, 0, 0])
    torch.testing.assert_close(drift[:, 1], update[:, 1], **CLOSE)
    assert (drift[:, 2, 1] - update[:, 2, 1]).abs().min() > 1e-3
    # Without noise the first solution is the truth's projection: the errors tell its norm.
    first = outcome.untrained[:, 0] - outcome.excess[:, 0, 0]
    torch.testing.assert_close(solution[:, 0].square().sum(1), first, **CLOSE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sgd", (0, 0, 0)), ("ewc", (128, 128, 128)), ("algorithm-1-initial", (24, 32, 32))],
)
def test_memory_is_counted_per_learner(name, expected):
    """Of 8 parameters, 3 of them shared, in float64."""
    assert trained(small(), (BUILTIN | FURTHER)[name]).memory_bytes == expected


@dataclass(frozen=True)
class OwnLoss(Strategy):
    name: ClassVar[str] = "own-loss"

    def loss(self, task, examples, parameters, memory):
        return 2 * task.loss(parameters, examples)


@dataclass(frozen=True)
class Clipped(Strategy):
    name: ClassVar[str] = "clipped"

    def correct(self, task, gradient, parameters, memory):
        return {name: value.clamp(-0.1, 0.1) for name, value in gradient.items()}


@dataclass(frozen=True)
class Scaled(Strategy):
    """Stationary where plain training is, and not affine on the way."""

    name: ClassVar[str] = "scaled"

    def correct(self, task, gradient, parameters, memory):
        size = sum(value.square().sum() for value in gradient.values())
        return {name: value * (1 + size) for name, value in gradient.items()}


@dataclass(frozen=True)
class Uphill(Strategy):
    name: ClassVar[str] = "uphill"

    def correct(self, task, gradient, parameters, memory):
        return {name: -value for name, value in gradient.items()}


@dataclass(frozen=True)
class Drifting(Strategy):
    """Never comes to rest: a constant force where the data have no say."""

    name: ClassVar[str] = "drifting"

    def correct(self, task, gradient, parameters, memory):
        return {name: value + 1 for name, value in gradient.items()}


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Ball(radius=0.5), r"'ball' .* solved in closed form and know begin\(\), .*constrain\(\)"),
        (OwnLoss(), r"'own-loss' .* not loss\(\)"),
        (Clipped(), r"'clipped' .* must be affine .*task 1"),
        (Scaled(), r"'scaled' .* must be affine"),
        (Uphill(), r"'uphill' .* lead to convergence"),
        (Drifting(), r"'drifting' .* lead to convergence"),
        (Ewc(labels="empirical"), r"'ewc': finish\(\) .* must be 'exact' in regression"),
    ],
    ids=lambda value: value.name if isinstance(value, Strategy) else "",
)
def test_what_cannot_be_solved_is_refused_in_one_line(strategy, message):
    with pytest.raises(StrategyError, match=message) as caught:
        trained(small(), strategy)
    assert "\n" not in str(caught.value)


# Regression in the strategies' interface


@pytest.mark.parametrize("hook", ["begin", "correct", "finish"])
def test_what_a_hook_is_shown_is_not_to_be_changed(hook):
    def zero(self, task, *given):
        task.examples.labels.zero_()
        return getattr(Strategy, hook)(self, task, *given)

    strategy = type("Zeroing", (Strategy,), {"name": "zeroing", hook: zero})()
    with pytest.raises(StrategyError) as caught:
        trained(small(), strategy)
    said = f"strategy 'zeroing': {hook}() changes task.examples.labels in place"
    assert str(caught.value) == f"{said}; return new tensors instead (task 1)"


def test_a_regression_task_has_half_the_mean_squared_error():
    setting = small(samples=7, noise=0.0)
    task = one_task(setting, draw(setting, generators(0)), 0, 0)
    parameters = {name: value + 0.3 for name, value in task.initial.items()}
    weights = torch.cat(list(parameters.values()), dim=1)[0]
    inputs, targets = task.examples.images, task.examples.labels
    missing = inputs @ weights - targets

    predictions = task.logits(parameters, replace(task.examples, allowed=torch.zeros(7, 1).bool()))
    torch.testing.assert_close(predictions[:, 0], inputs @ weights, **CLOSE)
    torch.testing.assert_close(
        task.loss(parameters, task.examples), missing.square().mean() / 2, **CLOSE
    )
    gradient = torch.cat(list(task.gradient(parameters).values()), dim=1)[0]
    torch.testing.assert_close(gradient, missing @ inputs / 7, **CLOSE)


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_a_cohort_passes_regression_on(mode):
    setting = small(draws=1)
    data = draw(setting, generators(0))
    one = one_task(setting, data, 0, 0)
    cohort = CohortTask(
        index=0,
        network=replace(linear_network(setting), stacked=StackedMlp(())),
        images=one.examples.images[None],
        labels=one.examples.labels[None],
        allowed=one.examples.allowed[None],
        classes=one.classes[None],
        units=one.units[None],
        answers=one.answers[None],
        initial={name: value[None] for name, value in one.initial.items()},
        noise=one.noise[None],
        keys=torch.zeros(1, dtype=torch.int64),
        regression=True,
    )
    parameters = {name: (value + 0.3).requires_grad_() for name, value in cohort.initial.items()}
    batch = Examples(cohort.images, cohort.labels, cohort.allowed)

    hooks = Hooks(BUILTIN["sgd"], cohort, mode)
    step = CohortStep(cohort.keys, torch.arange(cohort.labels.shape[1])[None], total=1)
    losses, gradient = hooks.losses_and_gradient(batch, parameters, {}, parameters, step)

    alone = {name: value[0] for name, value in parameters.items()}
    torch.testing.assert_close(losses[0], one.loss(alone, one.examples), **CLOSE)
    for name, value in one.gradient(alone).items():
        torch.testing.assert_close(gradient[name][0], value, **CLOSE)


def test_a_linear_predictions_fisher_is_the_mean_squared_input():
    setting = small(samples=7, noise=0.0)
    data = draw(setting, generators(0))
    tasks = [one_task(setting, data, 0, learner) for learner in range(3)]

    def fisher(images, labels):
        task = replace(tasks[0], examples=replace(tasks[0].examples, images=images, labels=labels))
        return torch.cat(list(diagonal_fisher(task, task.initial).values()), dim=1)[0]

    found = vmap(fisher)(data.inputs[0], data.targets[0])
    torch.testing.assert_close(found, data.inputs[0].square().mean(1), **CLOSE)

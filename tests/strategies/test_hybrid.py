"""The hybrid by value: dense formulas, both ends, joint least squares, and what it carries."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.utils import _pytree as pytree

from driftboard.strategies.bounds import Joint
from driftboard.strategies.hybrid import LEAST_WEIGHT, Hybrid, learned_weight
from driftboard.strategies.layers import layers_applied_once, matrix
from driftboard.strategies.second_moments import layer_moments
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.linear.learner import draw, run
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.training import engine

EXACT = {"rtol": 1e-9, "atol": 1e-11}
ALL = 10_000


def mlp():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.Tanh(),
        nn.Linear(5, 7, bias=False),
        nn.Tanh(),
        nn.Linear(7, 4),
    )


def with_norm():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(64, 4)
    )


@pytest.fixture
def tasks(make_task):
    """Three tasks with different classes: two that were learned, and one that begins."""
    module = mlp()
    return [
        make_task(
            module, shape=(1, 2, 3), units=4, classes=classes, index=index, seed=index, count=20
        )
        for index, classes in enumerate([[0, 1], [1, 2, 3], [0, 1, 2, 3]])
    ]


def begun(strategy, tasks, solutions):
    """Return the memory with which the last task trains, after all others."""
    memory = {}
    for task, solution in zip(tasks[:-1], solutions, strict=True):
        returned, memory = strategy.finish(task, solution, memory)
        assert returned is solution
    plan, memory = strategy.begin(tasks[-1], solutions[-1], memory)
    assert plan.share.tolist() == [1.0] * tasks[-1].block_count
    assert not plan.restart.any()
    return memory


def dense_rule(strategy, tasks, solutions, gradient, parameters):
    """Return the corrected gradient by the rule, with whole matrices and all eigenvectors."""
    layers = layers_applied_once(tasks[0], solutions[0])
    result, total, sums = {}, 0.0, {}
    for task, solution in zip(tasks[:-1], solutions, strict=True):
        weight = learned_weight(task, solution)
        total = total + weight
        for name, moments in layer_moments(task, solution, layers).items():
            a, g = moments.rows.T @ moments.rows, moments.outputs
            a, g = a * len(a) / a.trace(), g * len(g) / g.trace()
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + weight * a, before[1] + weight * g
    for name, layer in layers.items():
        (a_values, v), (g_values, u) = (torch.linalg.eigh(part) for part in sums[name])
        g_values = (1 - strategy.floor) * g_values + strategy.floor * total
        curvature = torch.outer(g_values, a_values) / total
        slope = u.T @ matrix(name, layer, gradient) @ v
        moved = matrix(name, layer, parameters) - matrix(name, layer, solutions[-1])
        slope = slope + strategy.pull * curvature * (u.T @ moved @ v)
        result[name] = u @ (slope / (1 + strategy.strength * curvature)) @ v.T
    return result


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_with_all_eigenvectors_the_gradient_follows_the_rule(tasks, floor):
    strategy = Hybrid(strength=2.0, pull=0.4, rank=ALL, output_rank=ALL, floor=floor)
    solutions, last = [task.initial for task in tasks[:2]], tasks[2]
    gradient = last.gradient(last.initial)
    memory = begun(strategy, tasks, solutions)
    found = strategy.correct(last, gradient, last.initial, memory)
    assert found.keys() == gradient.keys()
    wanted = dense_rule(strategy, tasks, solutions, gradient, last.initial)
    for name, layer in layers_applied_once(last, last.initial).items():
        torch.testing.assert_close(matrix(name, layer, found), wanted[name], **EXACT)


def test_beyond_the_leading_eigenvectors_one_mean_stands_for_all_others(tasks):
    strategy = Hybrid(strength=2.0, pull=0.4, rank=2, output_rank=3)
    first, last = replace(tasks[2], index=0), tasks[1]
    solutions = [first.initial]
    memory = begun(strategy, [first, last], solutions)
    gradient = last.gradient(last.initial)
    found = strategy.correct(last, gradient, last.initial, memory)
    for name, layer in layers_applied_once(last, last.initial).items():
        moments = memory["layers"][name]
        (v, a, a_rest), (u, g, g_rest) = (
            [moments[side][part] for part in ("vectors", "values", "rest")]
            for side in ("inputs", "outputs")
        )
        v = torch.linalg.qr(torch.cat([v, torch.eye(len(v)).double()], 1)).Q
        u = torch.linalg.qr(torch.cat([u, torch.eye(len(u)).double()], 1)).Q
        a = torch.cat([a, a_rest.expand(v.shape[1] - 2)])
        g = torch.cat([g, g_rest.expand(u.shape[1] - 3)])
        curvature = torch.outer(g, a) / memory["weight"]
        share, pull = 1 / (1 + 2.0 * curvature), 0.4 * curvature
        pull[:, 2:] = 0  # inputs outside the leading ones are not pulled back,
        share[:, 2:] = share[:, 2:].mean(0)  # and are scaled by the mean share
        moved = matrix(name, layer, last.initial) - matrix(name, layer, solutions[0])
        inside = u.T @ matrix(name, layer, gradient) @ v + pull * (u.T @ moved @ v)
        torch.testing.assert_close(matrix(name, layer, found), u @ (share * inside) @ v.T, **EXACT)


@pytest.mark.parametrize("earlier", [False, True])
def test_floor_and_pull_are_others_where_an_answer_may_name_an_earlier_class(tasks, earlier):
    first, last = tasks[0], tasks[1]  # classes 0 and 1, then 1 to 3
    if earlier:
        last = replace(last, answers=torch.arange(4))
    gradient = last.gradient(last.initial)

    def corrected(**settings):
        strategy = Hybrid(rank=3, output_rank=2, **settings)
        memory = begun(strategy, [first, last], [first.initial])
        return strategy.correct(last, gradient, last.initial, memory)

    seen = {"seen_floor": 0.3, "seen_pull": 3.0}
    plain, unused = {"floor": 0.0, "pull": 0.1}, {"floor": 0.9, "pull": 0.7}
    wanted = corrected(**seen, **unused) if earlier else corrected(**plain)
    same = {"floor": 0.3, "pull": 3.0, "seen_floor": 0.3, "seen_pull": 3.0}
    for name, value in corrected().items():
        assert torch.equal(value, wanted[name])
        assert torch.equal(value, corrected(**same)[name]) == earlier


def test_a_sequence_whose_tasks_are_known_takes_no_notice_of_earlier_classes():
    cohort = tiny_cohort("MLP", (0, 1))
    usual = engine.run(cohort, Hybrid(), "vmap")
    found = engine.run(cohort, Hybrid(seen_floor=1.0, seen_pull=9.0), "vmap")
    for one, other in zip(usual.drift_norms, found.drift_norms, strict=True):
        assert torch.equal(one, other)


def test_without_strength_and_pull_it_is_sgd_bit_for_bit():
    cohort = tiny_cohort("MLP", (0, 1))
    plain = engine.run(cohort, Sgd(), "vmap")
    found = engine.run(cohort, Hybrid(strength=0.0, pull=0.0), "vmap")
    for one, other in zip(plain.correct, found.correct, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(plain.drift_norms, found.drift_norms, strict=True):
        assert torch.equal(one, other)


def test_with_endless_strength_nothing_moves_that_earlier_tasks_have_seen(tasks):
    strategy = Hybrid(strength=1e12, pull=0.0, rank=ALL, output_rank=ALL, floor=0.1)
    last = tasks[2]
    memory = begun(strategy, tasks, [task.initial for task in tasks[:2]])
    found = strategy.correct(last, last.gradient(last.initial), last.initial, memory)
    assert max(value.abs().max().item() for value in found.values()) < 1e-9


def test_what_no_layer_holds_is_frozen_from_the_second_task_on(make_task):
    first, second = (
        make_task(with_norm(), shape=(2, 4, 4), units=4, index=index, seed=index)
        for index in (0, 1)
    )
    gradient = second.gradient(second.initial)
    assert Hybrid().correct(first, gradient, first.initial, {}) is gradient
    memory = begun(Hybrid(), [first, second], [first.initial])
    found = Hybrid().correct(second, gradient, second.initial, memory)
    assert not found["1.weight"].any()
    assert not found["1.bias"].any()
    assert found["0.weight"].any()
    assert found["3.bias"].any()


def test_the_memory_is_as_large_after_three_tasks_as_after_one(tasks):
    memory, sizes = {}, []
    for task in tasks:
        _, memory = Hybrid(rank=3).finish(task, task.initial, memory)
        sizes.append(sum(leaf.numel() for leaf in pytree.tree_leaves(memory)))
    # Per layer: vectors and values of 3 inputs and of up to 20 outputs, two means; and the weight.
    assert sizes == [3 * (7 + 1) + 5 * 6 + 3 * (5 + 1) + 7 * 8 + 3 * (8 + 1) + 4 * 5 + 6 + 1] * 3


def test_a_task_counts_by_what_was_learned_of_it(tasks):
    task = tasks[1]
    nothing = {name: torch.zeros_like(value) for name, value in task.initial.items()}
    assert learned_weight(task, nothing).item() == LEAST_WEIGHT  # chance: loss log(3)
    loss = 0.4 * math.log(3)
    odds = math.log(math.exp(-loss) / (1 - math.exp(-loss)) * 2)
    sure = nothing | {"5.bias": torch.zeros(4).double()}
    same = replace(task, examples=replace(task.examples, labels=torch.full((20,), 2)))
    sure["5.bias"][2] = odds
    assert learned_weight(same, sure).item() == pytest.approx(0.6)
    assert learned_weight(replace(task, regression=True), nothing).item() == 20


@pytest.mark.parametrize("samples", [4, 30])  # fewer and more than parameters
@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_a_linear_network_ends_at_joint_least_squares(samples, strength):
    setting = LinearSetting(
        tasks=10,
        shared=0,
        own=12,
        samples=samples,
        noise=0.3,
        distance=0.8,
        shared_norm=0.0,
        draws=3,
    )
    data = draw(setting, [np.random.default_rng(0)])
    exact = Hybrid(strength=strength, pull=1.0, rank=ALL, output_rank=ALL)

    def noise(_):
        return [np.random.default_rng(1)]

    found, joint = (run(setting, one, data, noise) for one in (exact, Joint()))
    torch.testing.assert_close(found.excess, joint.excess, **EXACT)


def test_first_samples_count_as_many_times_as_there_are(make_task):
    setting = LinearSetting(
        tasks=3,
        shared=0,
        own=6,
        samples=9,
        first_samples=40,
        distance=0.8,
        shared_norm=0.0,
        noise=0.3,
    )
    data = draw(setting, [np.random.default_rng(0)])
    exact = Hybrid(pull=1.0, rank=ALL, output_rank=ALL)

    def noise(_):
        return [np.random.default_rng(1)]

    found, joint = (run(setting, one, data, noise) for one in (exact, Joint()))
    torch.testing.assert_close(found.excess, joint.excess, **EXACT)


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_of_layers_side_by_side_only_what_their_inputs_share_is_lost(strength):
    setting = LinearSetting(tasks=4, shared=6, own=7, samples=30, noise=0.3, distance=0.8, draws=3)
    data = draw(setting, [np.random.default_rng(0)])
    exact = Hybrid(strength=strength, pull=1.0, rank=ALL, output_rank=ALL)

    def noise(_):
        return [np.random.default_rng(1)]

    def ends(data):
        """Excess losses of: the hybrid; joint training; the same without what layers share."""
        apart = torch.block_diag(torch.ones(6, 6), torch.ones(7, 7)).double()
        weights, earlier, rows = torch.zeros(3, 13).double(), torch.zeros(3, 13, 13).double(), []
        for inputs, targets in zip(data.inputs, data.targets, strict=True):
            own = inputs.mT @ inputs
            slope = (own @ weights[..., None] - inputs.mT @ targets[..., None])[..., 0]
            weights = weights - torch.linalg.solve(own + earlier * apart, slope)
            earlier = earlier + own
            rows.append((weights[:, None] - data.truths).square().sum(2))
        found, joint = (run(setting, one, data, noise).excess for one in (exact, Joint()))
        return found, joint, torch.stack(rows, 1)

    found, joint, apart = ends(data)
    torch.testing.assert_close(found, apart, **EXACT)
    assert (found - joint)[:, 1:].abs().max() > 1e-3  # so it is not joint least squares,

    def uncorrelated(inputs):
        shared, own = inputs[..., :6], inputs[..., 6:]
        basis = torch.linalg.qr(shared).Q
        return torch.cat([shared, own - basis @ (basis.mT @ own)], -1)

    found, joint, _ = ends(replace(data, inputs=tuple(map(uncorrelated, data.inputs))))
    torch.testing.assert_close(found, joint, **EXACT)  # unless their inputs are uncorrelated


def test_both_modes_agree(tasks):
    strategy, last = Hybrid(rank=3, output_rank=2), tasks[2]
    memory = begun(strategy, tasks, [task.initial for task in tasks[:2]])
    gradient = last.gradient(last.initial)

    def twice(tree):
        return pytree.tree_map(lambda value: torch.stack([value, 2 * value]), tree)

    def correct(gradient, parameters, memory):
        return strategy.correct(last, gradient, parameters, memory)

    given = gradient, last.initial, memory
    together = vmap(correct)(*twice(given))
    for place, factor in enumerate((1, 2)):
        scaled = pytree.tree_map(lambda value, factor=factor: factor * value, given)
        for name, value in correct(*scaled).items():
            torch.testing.assert_close(together[name][place], value, **EXACT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": -1.0},
        {"strength": math.inf},
        {"pull": -0.1},
        {"pull": math.nan},
        {"rank": 0},
        {"output_rank": 0},
        {"floor": 1.5},
        {"seen_floor": -0.1},
        {"seen_pull": math.inf},
    ],
)
def test_values_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        Hybrid(**wrong)

"""The hybrid per weight: the rule by plain loops, the exact case, and what is held or free."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from driftboard.strategies.hybrid import learned_weight
from driftboard.strategies.hybrid_diagonal import HybridDiagonal
from driftboard.strategies.layers import layers_applied_once
from driftboard.strategies.second_moments import layer_moments

EXACT = {"rtol": 1e-9, "atol": 1e-11}
NETWORKS = ["mlp", "convolutions"]


def begun(strategy, tasks, solutions):
    """Return the memory with which a task trains after earlier ones with these solutions."""
    memory = {}
    for task, solution in zip(tasks, solutions, strict=False):
        returned, memory = strategy.finish(task, solution, memory)
        assert returned is solution
    plan, memory = strategy.begin(tasks[len(solutions)], solutions[-1], memory)
    assert plan.share.tolist() == [1.0] * tasks[0].block_count
    assert not plan.restart.any()
    return memory


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("earlier", [1, 2])
def test_every_weights_gradient_follows_the_rule(
    three_tasks, rows_of, matrices_of, network, earlier
):
    tasks = three_tasks(network)
    strategy, task = HybridDiagonal(strength=2.0, pull=0.4), tasks[earlier]
    solutions = [one.initial for one in tasks[:earlier]]
    weights = [learned_weight(one, one.initial) for one in tasks[:earlier]]
    layers = layers_applied_once(task, task.initial)
    rows = [rows_of(one, one.initial) for one in tasks[:earlier]]
    outputs = [layer_moments(one, one.initial, layers) for one in tasks[:earlier]]
    gradient = task.gradient(task.initial)

    memory = begun(strategy, tasks, solutions)
    found = strategy.correct(task, gradient, task.initial, memory)

    assert found.keys() == gradient.keys()
    parts = (gradient, found, task.initial, solutions[-1])
    slopes, ours, now, start = (matrices_of(part, layers) for part in parts)
    for name, whole in slopes.items():
        for i in range(whole.shape[0]):
            for j in range(whole.shape[1]):
                a = g = 0.0
                for weight, own, moments in zip(weights, rows, outputs, strict=True):
                    a += weight * (own[name][:, j] ** 2).sum()
                    g_diagonal = moments[name].outputs.diagonal()
                    g += weight * g_diagonal[i] / g_diagonal.mean()
                curvature = a * g / sum(weights)
                slope = whole[i, j] + 0.4 * curvature * (now[name][i, j] - start[name][i, j])
                wanted = slope / (1 + 2.0 * curvature)
                torch.testing.assert_close(ours[name][i, j], wanted, **EXACT)


def regression(task, count, index, seed):
    """Return a task of a linear network whose inputs are uncorrelated, and its targets' weights."""
    random = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 7, generator=random, dtype=torch.float64)
    inputs = torch.linalg.qr(normal).Q[:, :6] * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    examples = replace(task.examples, images=inputs, labels=normal[:, 6])
    return replace(task, examples=examples, index=index, regression=True)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_where_inputs_are_uncorrelated_it_ends_at_joint_least_squares(make_task, strength):
    module = nn.Sequential(nn.Linear(6, 1, bias=False))
    counts = (30, 8, 17)  # a task counts as often as it has examples
    tasks = [
        regression(make_task(module, shape=(6,), units=1, count=count), count, k, k)
        for k, count in enumerate(counts)
    ]

    def joint(number):
        parts = [task.examples for task in tasks[:number]]
        inputs, targets = (
            torch.cat([getattr(p, of) for p in parts]) for of in ("images", "labels")
        )
        return {"0.weight": torch.linalg.lstsq(inputs, targets[:, None]).solution.T}

    strategy = HybridDiagonal(strength=strength, pull=1.0)
    for earlier in (1, 2):
        memory = begun(strategy, tasks, [joint(number + 1) for number in range(earlier)])
        task, end = tasks[earlier], joint(earlier + 1)
        gradient = task.gradient(end)
        assert gradient["0.weight"].abs().min() > 1e-3
        found = strategy.correct(task, gradient, end, memory)
        torch.testing.assert_close(found["0.weight"], torch.zeros(1, 6).double(), **EXACT)


def test_a_strong_hold_leaves_free_only_what_earlier_tasks_do_not_need(three_tasks, matrices_of):
    tasks = three_tasks()
    images = tasks[0].examples.images.clone()
    images[:, :, :, 0] = 0.0  # two inputs that the first task never shows
    tasks[0] = replace(tasks[0], examples=replace(tasks[0].examples, images=images))
    strategy, second = HybridDiagonal(strength=1e9, pull=0.0), tasks[1]
    gradient = second.gradient(second.initial)

    memory = begun(strategy, tasks, [tasks[0].initial])
    found = strategy.correct(second, gradient, second.initial, memory)

    unseen = torch.zeros(6, dtype=torch.bool)
    unseen[[0, 3]] = True
    torch.testing.assert_close(
        found["1.weight"][:, unseen], gradient["1.weight"][:, unseen], rtol=0, atol=0
    )
    assert gradient["1.weight"].abs().min() > 1e-6
    assert found["1.weight"][:, ~unseen].abs().max() < 1e-7
    # Of the head, logits 2 and 3 belong to tasks that come later.
    assert torch.equal(found["5.bias"][2:], gradient["5.bias"][2:])
    assert found["5.bias"][:2].abs().max() < 1e-7


def test_without_strength_and_pull_no_layer_is_held(three_tasks, matrices_of):
    tasks = three_tasks()
    strategy = HybridDiagonal(strength=0.0, pull=0.0)
    gradient = tasks[1].gradient(tasks[1].initial)
    memory = begun(strategy, tasks, [tasks[0].initial])
    found = strategy.correct(tasks[1], gradient, tasks[1].initial, memory)
    torch.testing.assert_close(found, gradient, rtol=0, atol=0)


def test_the_first_task_is_plain_training_and_then_norms_are_frozen(three_tasks):
    tasks = three_tasks("convolutions")
    strategy = HybridDiagonal()
    gradient = tasks[1].gradient(tasks[1].initial)
    _, memory = strategy.begin(tasks[0], tasks[0].initial, {})
    assert strategy.correct(tasks[0], gradient, tasks[0].initial, memory) is gradient

    memory = begun(strategy, tasks, [tasks[0].initial])
    found = strategy.correct(tasks[1], gradient, tasks[1].initial, memory)

    assert gradient["1.weight"].all()
    assert {name for name, value in found.items() if not value.any()} == {"1.weight", "1.bias"}


def test_a_number_per_input_and_output_is_carried_over(three_tasks):
    strategy, memory = HybridDiagonal(), {}
    for task in three_tasks():
        _, memory = strategy.begin(task, task.initial, memory)
        _, memory = strategy.finish(task, task.initial, memory)
        sizes = {
            name: (len(kept["inputs"]), len(kept["outputs"]))
            for name, kept in memory["layers"].items()
        }
        assert memory.keys() == {"layers", "weight"}
        assert sizes == {"1": (7, 5), "3": (5, 7), "5": (8, 4)}

"""PackNet by value: a plain loop with masks, exact forgetting of 0, and what is pruned."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from driftboard.strategies import packnet
from driftboard.strategies.packnet import FREE, PackNet
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks import example_task
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import TASKS, tiny_cohort
from driftboard.suite.training import engine

EXACT = {"rtol": 1e-9, "atol": 1e-11}


def smallest(value, free, pruned):
    """Return which of the free entries are the smallest ``floor(pruned * free)``, by a sort."""
    places = sorted(
        (abs(float(entry)), place)
        for place, (entry, own) in enumerate(zip(value.flatten(), free.flatten(), strict=True))
        if own
    )
    count = math.floor(pruned * len(places) + 1e-9)
    found = torch.zeros(value.numel(), dtype=torch.bool)
    found[[place for _, place in places[:count]]] = True
    return found.reshape(value.shape)


def naive(learner, pruned, late):
    """Return the solutions: train, and prune after the first ``late`` steps.

    From then on a weight that is 0 gets no gradient, and whatever momentum does, after every step
    the smallest free weights are set to 0.
    """
    theta, solutions, owner = learner.initial, [], {}
    for name, value in theta.items():
        if value.ndim > 1 and name not in learner.head:
            owner[name] = torch.full(value.shape, -1)
    for index in range(TASKS):
        free = {name: value == -1 for name, value in owner.items()}
        own = learner.cohort.classes[index][0]

        def correct(step, rows, gradient, at, index=index, free=free, own=own):
            result = {}
            for name, value in gradient.items():
                if name in free:
                    result[name] = value * free[name]
                    if step >= late:
                        result[name] = result[name] * (at[name] != 0)
                elif name in learner.head:
                    result[name] = value * own.reshape(-1, *[1] * (value.ndim - 1))
                else:
                    result[name] = value * (index == 0)
            return result

        def after(step, gradient, before, at, free=free):
            if step + 1 < late:
                return at
            gone = {name: smallest(at[name], free[name], pruned) for name in free}
            return {n: v.masked_fill(gone[n], 0.0) if n in gone else v for n, v in at.items()}

        theta = dict(learner.descend(theta, index, correct, after))
        for name, where in free.items():
            gone = smallest(theta[name], where, pruned) | (where & (theta[name] == 0))
            theta[name] = theta[name].masked_fill(gone, 0.0)
            owner[name] = torch.where(where & ~gone, index, owner[name])
        solutions.append(theta)
    return solutions, owner


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize(("pruned", "retrained", "late"), [(0.5, 0.5, 2), (0.75, 0.0, 4)])
def test_solutions_are_those_of_a_plain_loop(
    plain_learner, solutions_of, network, pruned, retrained, late
):
    wanted, owner = naive(plain_learner(network), pruned, late)
    strategy = PackNet(pruned=pruned, retrained=retrained)
    torch.testing.assert_close(solutions_of(strategy, network), wanted, **EXACT)
    *_, end = learn(tiny_cohort(network, (3,)), strategy, "loop")
    for name, value in end.memory["owner"].items():
        assert torch.equal(torch.where(value[0] == FREE, -1, value[0].long()), owner[name])


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_nothing_is_forgotten_where_the_test_tells_the_task(network):
    cohort = tiny_cohort(network, (0, 1))
    assert cohort.tells_task
    strategy, counts, logits = PackNet(pruned=0.4), [], []
    outcome = engine.run(cohort, strategy, "vmap")
    for index, correct in enumerate(outcome.correct):
        counts.append(correct[:, : index + 1])
    for earlier, later in pairwise(counts):
        assert torch.equal(later[:, : earlier.shape[1]], earlier)
    # Not the number of right answers alone: the logits of the first task's images, to the bit.
    for end in learn(tiny_cohort(network, (0,)), strategy, "loop"):
        images = cohort.scaling(cohort.test[0].images[0], cohort.dtype)
        query = packnet.Query(cohort.network, images, cohort.test[0].active[0], torch.tensor(0))
        one = ({k: v[0] for k, v in tree.items()} for tree in (end.parameters, end.memory["owner"]))
        parameters, owner = one
        found = strategy.answer(query, parameters, {"owner": owner})
        logits.append(found[:, cohort.classes[0][0]])
    assert all(torch.equal(value, logits[0]) for value in logits)


def test_what_a_task_owns_and_what_other_tasks_units_are_stays_to_the_bit():
    ends = learn(tiny_cohort("MLP", (0,)), PackNet(pruned=0.5), "loop")
    classes = tiny_cohort("MLP", (0,)).classes
    for index in range(1, TASKS):
        before, after = ends[index - 1].parameters, ends[index].parameters
        for name, owner in ends[index - 1].memory["owner"].items():
            owned = owner < index
            assert torch.equal(after[name][owned], before[name][owned])
            assert not torch.equal(after[name], before[name])
        for name in ("hidden1.bias", "hidden2.bias"):
            assert torch.equal(after[name], before[name])
        for name in ("head.weight", "head.bias"):
            other = ~classes[index][0]
            assert torch.equal(after[name][0][other], before[name][0][other])
            assert not torch.equal(after[name], before[name])


def test_of_the_head_only_the_units_of_the_task_move():
    task = example_task(index=1, step=0)
    strategy = PackNet()
    _, memory = strategy.begin(task, task.initial, {})
    ones = {name: torch.ones_like(value) for name, value in task.initial.items()}
    found = strategy.correct(task, ones, task.initial, memory)
    for name in ("head.weight", "head.bias"):
        assert found[name][task.classes].all()
        assert not found[name][~task.classes].any()


def test_an_owned_weight_stays_however_small_it_is():
    task, strategy = example_task(index=1), PackNet(pruned=0.5)
    parameters = {name: value + 1.0 for name, value in task.initial.items()}
    _, memory = strategy.begin(task, parameters, {})
    name = "hidden2.weight"
    parameters[name][0] = 1e-6
    memory["free"][name][0] = False
    memory["owner"][name][0] = 0
    solution, kept = strategy.finish(task, parameters, memory)
    assert torch.equal(solution[name][0], parameters[name][0])
    assert not kept["owner"][name][0].any()
    assert int((kept["owner"][name] == FREE).sum()) == 15  # half of 5 rows of 6


def test_without_a_task_all_weights_answer_and_with_one_those_until_it(make_task, small_network):
    module, shape = small_network("mlp")
    task = make_task(module, shape=shape, units=4)
    owner = {"1.weight": torch.zeros(5, 6, dtype=torch.int16)}
    owner["1.weight"][2:] = 1
    owner["1.weight"][4:] = FREE
    query = packnet.Query(task.network, task.examples.images, task.examples.allowed, None)
    strategy = PackNet()
    for number, rows in ((None, 5), (0, 2), (1, 4), (7, 4)):
        asked = replace(query, task=None if number is None else torch.tensor(number))
        kept = dict(task.initial)
        kept["1.weight"] = task.initial["1.weight"].clone()
        kept["1.weight"][rows:] = 0
        torch.testing.assert_close(
            strategy.answer(asked, task.initial, {"owner": owner}),
            task.network.logits(kept, query.images),
            **EXACT,
        )


@pytest.mark.parametrize("pruned", [0.0, 0.3, 0.75])
def test_the_share_of_a_layer_is_exact(pruned):
    first, *others = learn(tiny_cohort("MLP", (0,)), PackNet(pruned=pruned), "loop")
    for owner in first.memory["owner"].values():
        assert int((owner == FREE).sum()) == math.floor(pruned * owner.numel() + 1e-9)
    before = first
    for index, end in enumerate(others, start=1):
        for name, owner in end.memory["owner"].items():
            earlier = before.memory["owner"][name]
            free, was_free = (int((value == FREE).sum()) for value in (owner, earlier))
            assert free >= math.floor(pruned * was_free + 1e-9)  # more where training left zeros
            assert not end.parameters[name][owner == FREE].any()
            assert bool((end.parameters[name][owner == index] != 0).all()) or pruned == 0
            assert torch.equal(owner[earlier != FREE], earlier[earlier != FREE])
        before = end


def test_a_sample_of_a_large_layer_finds_the_threshold():
    random = torch.Generator().manual_seed(0)
    value = torch.randn(100, 784, generator=random, dtype=torch.float64)
    places = packnet._sample(torch.arange(value.numel()).reshape(value.shape))
    assert 200 < len(places) <= packnet.SAMPLED
    assert len(set((places % 784).tolist())) == len(places)
    assert len(set((places // 784).tolist())) == 100
    assert len(packnet._sample(torch.zeros(16, 16))) == 256
    strategy, threshold = PackNet(pruned=0.75), []
    for found in (value.flatten(), packnet._sample(value)):
        free = torch.ones(found.numel(), dtype=torch.bool)
        threshold.append(packnet._threshold(found.abs(), free, strategy._count(free)))
    exact, sampled = ((value.abs() <= one).double().mean() for one in threshold)
    assert exact == 0.75
    assert abs(sampled - 0.75) < 0.06


def test_the_first_task_without_pruning_is_plain_training(solutions_of):
    found, plain = (solutions_of(one, "MLP")[0] for one in (PackNet(pruned=0.0), Sgd()))
    torch.testing.assert_close(found, plain, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrong", [{"pruned": 1.0}, {"pruned": -0.1}, {"pruned": math.nan}, {"retrained": 1.0}]
)
def test_values_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        PackNet(**wrong)

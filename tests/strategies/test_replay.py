"""Replay by value: whole trainings of er, derpp, a-gem and gdumb against plain loops."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from driftboard.strategies.a_gem import AGem
from driftboard.strategies.derpp import Derpp
from driftboard.strategies.er import Er
from driftboard.strategies.gdumb import GDumb
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import IMAGES, TASKS, tiny_cohort
from driftboard.suite.training.engine import train_task

EXACT = {"rtol": 1e-9, "atol": 1e-12}
PRIORITIES = 2**40
SEED = 3


def examples(task, step):
    """Return a list entry per example of a task: priority, byte image, label, units."""
    drawn = task.integers(step, "priorities", PRIORITIES, len(task.labels))
    own = zip(drawn, task.bytes, task.labels.tolist(), task.allowed, strict=True)
    return [dict(zip(("priority", "bytes", "label", "allowed"), one, strict=True)) for one in own]


def lowest(stored, capacity):
    return sorted(stored, key=lambda one: one["priority"])[:capacity]


def tensors(task, stored):
    """Return images, labels and allowed units to train on during a task."""
    images = task.scaled(torch.stack([one["bytes"] for one in stored]))
    labels = torch.tensor([one["label"] for one in stored])
    incremental = bool((task.allowed[0] != task.own).any())
    allowed = [task.allowed[0] if incremental else one["allowed"] for one in stored]
    return images, labels, torch.stack(allowed)


def draw(task, stored, step, count, name="replay"):
    return [stored[place] for place in task.integers(step, name, len(stored), count)]


def naive_er(tasks, theta, capacity):
    """Chaudhry et al. 2019, Algorithm 1, with a buffer that is filled at a task's end."""
    stored = []
    for task in tasks:

        def slope(now, rows, step, task=task, stored=stored):
            batch = task.images[rows], task.labels[rows], task.allowed[rows]
            if stored:
                more = tensors(task, draw(task, stored, step, len(rows)))
                batch = [torch.cat(parts) for parts in zip(batch, more, strict=True)]
            return task.gradient(lambda leaves: task.cross_entropy(leaves, *batch), now)

        theta = task.trained(theta, slope)
        stored = lowest(stored + examples(task, -2), capacity)
        yield theta, stored


def naive_derpp(tasks, theta, capacity, alpha, beta):
    """Buzzega et al. 2020, equation 6: three terms, three forward passes."""
    stored = []
    for task in tasks:

        def loss(now, rows, step, task=task, stored=stored):
            total = task.cross_entropy(
                now, task.images[rows], task.labels[rows], task.allowed[rows]
            )
            if stored:
                held = draw(task, stored, step, len(rows), "logits")
                wanted = torch.stack([one["logits"] for one in held])
                logits = task.network.logits(now, tensors(task, held)[0])
                total = total + alpha * F.mse_loss(logits, wanted)
                asked = tensors(task, draw(task, stored, step, len(rows), "labels"))
                total = total + beta * task.cross_entropy(now, *asked)
            return total

        def slope(now, rows, step, task=task, loss=loss):
            return task.gradient(lambda leaves: loss(leaves, rows, step), now)

        theta = task.trained(theta, slope)
        logits = task.network.logits(theta, task.images)
        new = [one | {"logits": own} for one, own in zip(examples(task, -2), logits, strict=True)]
        stored = lowest(stored + new, capacity)
        yield theta, stored


def naive_a_gem(tasks, theta, capacity, projected):
    """Chaudhry et al. 2019, equation 11, on gradients written as one vector."""
    stored = []
    for task in tasks:

        def slope(now, rows, step, task=task, stored=stored):
            batch = task.images[rows], task.labels[rows], task.allowed[rows]
            own = task.gradient(lambda leaves: task.cross_entropy(leaves, *batch), now)
            if not stored:
                return own
            past = tensors(task, draw(task, stored, step, len(rows)))
            reference = task.gradient(lambda leaves: task.cross_entropy(leaves, *past), now)
            g, r = (torch.cat([v.flatten() for v in one.values()]) for one in (own, reference))
            projected.append(bool(g @ r < 0))
            if g @ r < 0:
                g = g - (g @ r) / (r @ r) * r
            parts = g.split([value.numel() for value in own.values()])
            return {n: p.reshape(own[n].shape) for n, p in zip(own, parts, strict=True)}

        theta = task.trained(theta, slope)
        stored = lowest(stored + examples(task, -2), capacity)
        yield theta, stored


def naive_gdumb(tasks, theta, capacity):
    """Prabhu et al. 2020: rank by rank every class gives its example of the lowest priority."""
    initial, stored = theta, []
    for task in tasks:
        stored = lowest(stored + examples(task, -1), len(stored) + IMAGES)
        ranked = []
        for one in stored:
            rank = sum(other["label"] == one["label"] for other in ranked)
            ranked.append(one | {"rank": rank})
        stored = sorted(ranked, key=lambda one: (one["rank"], one["priority"]))[:capacity]

        def slope(now, rows, step, task=task, stored=stored):
            batch = tensors(task, draw(task, stored, step, len(rows)))
            return task.gradient(lambda leaves: task.cross_entropy(leaves, *batch), now)

        yield task.trained(initial, slope), stored


@pytest.fixture
def learned(plain_tasks):
    """Return what trains a strategy and its plain loop, and compares solutions and memories."""

    def compare(strategy, naive, network, mode, incremental):
        seeds = (SEED, SEED + 1) if mode == "vmap" else (SEED,)
        cohort, alone = (
            replace(tiny_cohort(network, some), class_incremental=incremental)
            for some in (seeds, (SEED,))
        )
        ends = learn(cohort, strategy, mode)
        expected = list(naive(*plain_tasks(alone)))
        assert len(ends) == len(expected) == TASKS
        for end, (theta, stored) in zip(ends, expected, strict=True):
            found = {name: value[0] for name, value in end.parameters.items()}
            torch.testing.assert_close(found, theta, **EXACT)
            memory = {name: value[0] for name, value in end.memory.items()}
            assert memory["priorities"].tolist() == [one["priority"] for one in stored]
            assert memory["labels"].tolist() == [one["label"] for one in stored]
            assert (memory["images"] == torch.stack([one["bytes"] for one in stored])).all()
            if "logits" in memory:
                logits = torch.stack([one["logits"] for one in stored])
                torch.testing.assert_close(memory["logits"], logits, **EXACT)

    return compare


CASES = pytest.mark.parametrize(
    ("network", "mode", "incremental"),
    [
        ("MLP", "loop", False),
        ("MLP", "vmap", True),
        ("convolutions", "loop", True),
        ("convolutions", "vmap", False),
    ],
)


@CASES
@pytest.mark.parametrize("capacity", [10, 30, 100])
def test_er_by_value(learned, network, mode, incremental, capacity):
    learned(
        Er(capacity=capacity),
        lambda tasks, theta: naive_er(tasks, theta, capacity),
        network,
        mode,
        incremental,
    )


@CASES
def test_derpp_by_value(learned, network, mode, incremental):
    learned(
        Derpp(alpha=0.4, beta=0.7, capacity=30),
        lambda tasks, theta: naive_derpp(tasks, theta, 30, 0.4, 0.7),
        network,
        mode,
        incremental,
    )


@CASES
def test_a_gem_by_value(learned, network, mode, incremental):
    projected = []
    learned(
        AGem(capacity=30),
        lambda tasks, theta: naive_a_gem(tasks, theta, 30, projected),
        network,
        mode,
        incremental,
    )
    if incremental:
        assert any(projected)


@CASES
@pytest.mark.parametrize("capacity", [10, 100])
def test_gdumb_by_value(learned, network, mode, incremental, capacity):
    learned(
        GDumb(capacity=capacity),
        lambda tasks, theta: naive_gdumb(tasks, theta, capacity),
        network,
        mode,
        incremental,
    )


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize("strategy", [Er(), Derpp(), AGem()], ids=lambda one: one.name)
def test_the_first_task_is_plain_training(network, strategy):
    (end, *_), (plain, *_) = (
        learn(tiny_cohort(network, (0,)), one, "loop") for one in (strategy, Sgd())
    )
    torch.testing.assert_close(end.parameters, plain.parameters, rtol=0, atol=0)


def test_without_weights_derpp_is_plain_training():
    ends, plain = (
        learn(tiny_cohort("MLP", (0,)), one, "loop") for one in (Derpp(alpha=0, beta=0), Sgd())
    )
    for end, other in zip(ends, plain, strict=True):
        torch.testing.assert_close(end.parameters, other.parameters, **EXACT)


def test_gdumb_does_not_depend_on_what_was_trained_before():
    """Its memory of the last task, trained from the initialisation, is the last solution."""
    cohort = tiny_cohort("MLP", (0,))
    *_, end = learn(cohort, GDumb(capacity=9), "loop")
    moved = {name: value + 1 for name, value in cohort.initial.items()}
    strategy = GDumb(capacity=9)
    memory = {}
    for index in range(TASKS):
        trained = train_task(cohort, strategy, index, moved, memory, "loop")
        memory = trained.memory
    torch.testing.assert_close(trained.parameters, end.parameters, rtol=0, atol=0)
    counts = torch.bincount(memory["labels"][0], minlength=6)
    assert counts.sort().values.tolist() == [1, 1, 1, 2, 2, 2]


def test_a_gem_leaves_a_gradient_that_agrees_and_projects_one_that_does_not(make_task):
    projected = []
    for seed in range(20):
        first, second = (
            make_task(nn.Sequential(nn.Linear(6, 4)), shape=(6,), units=4, index=index, seed=number)
            for index, number in ((0, seed), (1, 100 + seed))
        )
        _, memory = AGem(capacity=8).finish(first, first.initial, {})
        own = second.gradient(second.initial)
        found = AGem(capacity=8).correct(second, own, second.initial, memory)
        taken = {name: own[name] - found[name] for name in own}
        length = sum(value.square().sum() for value in taken.values())
        projected.append(bool(length > 0))
        # What is taken away is at right angles to what is left, and is a multiple of a descent.
        assert abs(sum((taken[name] * found[name]).sum() for name in own)) < 1e-12
    assert 0 < sum(projected) < 20


def test_memory_is_bounded_by_the_capacity():
    for strategy in (Er(capacity=5), Derpp(capacity=5), AGem(capacity=5), GDumb(capacity=5)):
        for end in learn(tiny_cohort("MLP", (0,)), strategy, "loop"):
            assert end.memory["images"].shape == (1, 5, 1, 5, 5)
            assert end.memory["images"].dtype == torch.uint8
        assert strategy.stores == "examples"


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        (Er, {"capacity": 0}),
        (Derpp, {"capacity": 0}),
        (Derpp, {"alpha": -0.1}),
        (Derpp, {"beta": float("nan")}),
        (AGem, {"capacity": -1}),
        (GDumb, {"capacity": 0}),
    ],
)
def test_settings_out_of_range_are_refused(strategy, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        strategy(**settings)

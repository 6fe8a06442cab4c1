"""Class-incremental sequences: any class seen so far may be the answer, in training and tests."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from driftboard.strategies import Strategy
from driftboard.strategies.base import masked, mean_cross_entropy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.data import load_pool
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.sequences import Overlap, Split, TaskSequence
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.splits import make_splits
from driftboard.suite.training import engine
from driftboard.suite.training.cohort import Setting, prepare
from driftboard.suite.training.record_builder import numbers_seen

DIGITS = registered()["digits-class-incremental"]
SMALL = TaskSequence(
    name="own",
    description="",
    source="digits",
    scenario=Split(5),
    network="mlp-8x2",
    train_per_class=10,
    test_per_class=15,
    training=Training(epochs=2, batch_size=5, learning_rate=0.05, minimum_steps=12),
    class_incremental=True,
)
SEEDS = (0, 1, 2)


def cohort_of(sequence=SMALL, seeds=SEEDS):
    """The learners of some seeds, in float64."""
    cohort = prepare(Setting(sequence, seeds, "test", None, "cpu")).cohort
    return replace(cohort, initial={n: value.double() for n, value in cohort.initial.items()})


def naive_counts(cohort, seed, *, all_tasks):
    """Train on the registered digits by a plain loop; images and units come from the recipes."""
    pool = load_pool("digits", None)
    recipes = make_splits(DIGITS, pool, PROTOCOL, seed, "test")
    mean, std = float(cohort.scaling.mean), float(cohort.scaling.std)

    def part(name, task):
        rows = getattr(recipes[task], name)
        images, labels = getattr(pool, f"{name}_images")[rows], getattr(pool, f"{name}_labels")
        units = torch.from_numpy(recipes[task].units[labels[rows]])
        return (torch.from_numpy(images).double() / 255 - mean) / std, units

    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
        nn.Linear(128, 10),
    ).double()  # fmt: skip
    with torch.no_grad():
        for value, first in zip(model.parameters(), cohort.initial.values(), strict=True):
            value.copy_(first[0])
    correct = []
    for task in range(5):
        parts = [part("train", k) for k in range(task + 1)]
        seen = sorted({unit for _, units in parts for unit in units.tolist()})
        trained = parts if all_tasks else parts[-1:]
        images, units = (torch.cat([one[place] for one in trained]) for place in (0, 1))
        targets = torch.tensor([seen.index(unit) for unit in units.tolist()])
        count = len(images)
        random = cohort.batch_orders(task, count)[0]
        batches = []
        while len(batches) < max(60, 5 * (count // 50)):
            order = torch.from_numpy(random.permutation(count))
            batches += order[: count // 50 * 50].split(50)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for batch in batches[: max(60, 5 * (count // 50))]:
            optimiser.zero_grad()
            F.cross_entropy(model(images[batch])[:, seen], targets[batch]).backward()
            optimiser.step()
        row = []
        for k in range(5):
            images, units = part("test", k)
            with torch.no_grad():
                answers = torch.tensor(seen)[model(images)[:, seen].argmax(dim=1)]
            row.append(int((answers == units).sum()))
        correct.append(row)
    return correct


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize(("name", "low", "high"), [("sgd", 0.18, 0.205), ("joint", 0.88, 1.0)])
def test_counts_are_those_of_a_plain_loop(mode, name, low, high):
    cohort = cohort_of(DIGITS, (3,))
    outcome = engine.run(cohort, BUILTIN[name], mode)
    expected = naive_counts(cohort, 3, all_tasks=name == "joint")
    assert [row[0].tolist() for row in outcome.correct] == expected
    assert low < sum(expected[-1]) / 500 < high
    assert not any(expected[t][k] for t in range(5) for k in range(t + 1, 5))


def test_before_the_first_task_no_unit_may_answer():
    outcome = engine.run(cohort_of(), BUILTIN["sgd"], "vmap")
    assert not outcome.correct_untrained.any()
    task_incremental = cohort_of(replace(SMALL, class_incremental=False))
    assert engine.run(task_incremental, BUILTIN["sgd"], "vmap").correct_untrained.any()


@pytest.mark.parametrize("name", ["sgd", "joint"])
def test_a_strategy_is_told_which_units_may_answer(name):
    tasks = []

    class Spy(type(BUILTIN[name])):
        def begin(self, task, parameters, memory):
            tasks.append(task)
            return super().begin(task, parameters, memory)

    cohort = cohort_of(seeds=(1,))
    recipes = make_splits(SMALL, load_pool("digits", None), PROTOCOL, 1, "test")
    engine.run(cohort, Spy(), "loop")
    seen = set()
    for task, recipe in zip(tasks, recipes, strict=True):
        own = np.flatnonzero(recipe.active).tolist()
        seen |= set(own)
        assert sorted(task.units.tolist()) == own
        assert task.classes.nonzero()[:, 0].tolist() == own
        assert sorted(task.answers.tolist()) == sorted(seen)
        assert len(task.examples.labels) == 20 * (task.index + 1 if name == "joint" else 1)
        for allowed in task.examples.allowed:
            assert set(allowed.nonzero()[:, 0].tolist()) == seen
    assert len(seen) == 10


@dataclass(frozen=True)
class OwnLoss(Strategy):
    """As sgd, but by automatic differentiation, not by the closed form of an MLP."""

    name = "own-loss"

    def loss(self, task, examples, parameters, memory):
        logits = task.network.logits(parameters, examples.images)
        return mean_cross_entropy(masked(logits, examples.allowed), examples.labels)


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("strategy", [BUILTIN["sgd"], OwnLoss()])
def test_units_of_classes_not_yet_seen_stay_as_they_were_made(mode, strategy):
    cohort = cohort_of(seeds=(2,))
    recipes = make_splits(SMALL, load_pool("digits", None), PROTOCOL, 2, "test")
    parameters, seen = cohort.initial, np.zeros(10, dtype=bool)
    for task in range(5):
        parameters = engine.train_task(cohort, strategy, task, parameters, {}, mode).parameters
        seen |= recipes[task].active
        for name in ("head.weight", "head.bias"):
            same = (parameters[name] == cohort.initial[name])[0].reshape(10, -1).all(dim=1)
            assert same.tolist() == (~seen).tolist()


@pytest.mark.parametrize("name", [*BUILTIN, "own-loss"])
def test_learners_together_are_what_each_is_alone(name):
    strategy = OwnLoss() if name == "own-loss" else BUILTIN[name]
    together = engine.run(cohort_of(), strategy, "vmap")
    for position, seed in enumerate(SEEDS):
        alone = engine.run(cohort_of(seeds=(seed,)), strategy, "loop")
        for key in ("correct", "update_norms", "drift_norms"):
            for both, one in zip(getattr(together, key), getattr(alone, key), strict=True):
                torch.testing.assert_close(both[position], one[0], rtol=1e-9, atol=1e-9)


def test_the_closed_form_is_automatic_differentiation():
    closed, plain = (engine.run(cohort_of(), s, "vmap") for s in (BUILTIN["sgd"], OwnLoss()))
    for one, other in zip(closed.solution_norms, plain.solution_norms, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_windows_that_overlap_show_fewer_new_classes():
    cohort = cohort_of(replace(SMALL, scenario=Overlap(5, 4, 2)))
    assert numbers_seen(cohort, 0) == (4, 6, 8, 10, 10)
    assert numbers_seen(replace(cohort, class_incremental=False), 0) is None
    outcome = engine.run(cohort, BUILTIN["sgd"], "vmap")
    for task in range(4):  # of the next task half the classes have been seen, which may be right
        assert outcome.correct[task][:, task + 1].max() <= 2 * 15

"""Learning without forgetting by value: whole trainings against plain loops."""

from dataclasses import replace

import pytest
import torch

from driftboard.strategies.base import Examples, Step
from driftboard.strategies.lwf import Lwf
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import tiny_cohort

EXACT = {"rtol": 1e-9, "atol": 1e-12}
SEED = 3


def softened(logits, units, temperature):
    """Li and Hoiem 2016, equation 3: probabilities to the power 1/T, normalised again."""
    probabilities = torch.softmax(logits[:, units], dim=1) ** (1 / temperature)
    return probabilities / probabilities.sum(1, keepdim=True)


def naive(tasks, theta, strength, temperature, old_tasks_of):
    """Equations 1 to 3; ``old_tasks_of(index)`` are the units of every task that is kept."""
    for task in tasks:
        recorded = task.network.logits(theta, task.images)

        def loss(now, rows, task=task, recorded=recorded):
            logits = task.network.logits(now, task.images[rows])
            total = task.cross_entropy(
                now, task.images[rows], task.labels[rows], task.allowed[rows]
            )
            for units in old_tasks_of(task.index):
                wanted = softened(recorded[rows], units, temperature)
                found = softened(logits, units, temperature)
                total = total - strength * (wanted * found.log()).sum(1).mean()
            return total

        def slope(now, rows, step, task=task, loss=loss):
            return task.gradient(lambda leaves: loss(leaves, rows), now)

        theta = task.trained(theta, slope)
        yield theta


def cohort_of(kind, network, seeds):
    cohort = tiny_cohort(network, seeds)
    if kind == "class-incremental":
        return replace(cohort, class_incremental=True)
    if kind == "same units":  # the second task's classes are those of the first
        first, _, third = cohort.train
        train, classes = [first, first, third], cohort.classes
        return replace(
            cohort, train=train, test=train, classes=[classes[0], classes[0], classes[2]]
        )
    return cohort


def old_tasks(kind, cohort):
    own = [one[0].nonzero().flatten().tolist() for one in cohort.classes]
    return {
        "task-incremental": [[], [own[0]], [own[0], own[1]]],
        "same units": [[], [own[0]], [own[0]]],
        "class-incremental": [[], [own[0]], [own[0] + own[1]]],
    }[kind]


@pytest.mark.parametrize("kind", ["task-incremental", "same units", "class-incremental"])
@pytest.mark.parametrize(("network", "mode"), [("MLP", "vmap"), ("convolutions", "loop")])
def test_lwf_by_value(plain_tasks, network, mode, kind):
    seeds = (SEED, SEED + 1) if mode == "vmap" else (SEED,)
    alone = cohort_of(kind, network, (SEED,))
    ends = learn(cohort_of(kind, network, seeds), Lwf(strength=1.5, temperature=3.0), mode)
    kept = old_tasks(kind, alone)
    expected = naive(*plain_tasks(alone), 1.5, 3.0, lambda index: kept[index])
    for end, theta in zip(ends, expected, strict=True):
        found = {name: value[0] for name, value in end.parameters.items()}
        torch.testing.assert_close(found, theta, **EXACT)


def test_only_units_are_carried_over():
    for number, end in enumerate(learn(tiny_cohort("MLP", (0,)), Lwf(), "loop"), start=1):
        assert end.memory.keys() == {"units"}
        assert end.memory["units"].shape == (1, number, 6)
    incremental = cohort_of("class-incremental", "MLP", (0,))
    counts = [end.memory["units"].sum().item() for end in learn(incremental, Lwf(), "loop")]
    assert counts == [2, 4, 6]
    assert all(end.memory["units"].shape[1] == 1 for end in learn(incremental, Lwf(), "loop"))


def test_strength_zero_is_plain_training():
    ends, plain = (
        learn(tiny_cohort("MLP", (0,)), one, "loop") for one in (Lwf(strength=0.0), Sgd())
    )
    for end, other in zip(ends, plain, strict=True):
        torch.testing.assert_close(end.parameters, other.parameters, rtol=0, atol=0)


def test_the_old_answers_pull_nothing_where_training_starts(make_task):
    """The cross-entropy of two equal distributions has no gradient."""
    module = torch.nn.Sequential(torch.nn.Linear(6, 4))
    first, second = (
        make_task(module, shape=(6,), units=4, classes=classes, index=index)
        for index, classes in enumerate(([0, 1], [2, 3]))
    )
    strategy = Lwf(strength=5.0)
    _, memory = strategy.finish(first, first.initial, {})
    _, memory = strategy.begin(second, first.initial, memory)
    positions = torch.arange(4)
    own = second.examples
    batch = Examples(own.images[:4], own.labels[:4], own.allowed[:4])
    stepped = replace(second, step=Step(torch.tensor(0), 1, positions))
    slope = torch.func.grad(lambda now: strategy.loss(stepped, batch, now, memory))(first.initial)
    plain = torch.func.grad(lambda now: second.loss(now, batch))(first.initial)
    torch.testing.assert_close(slope, plain, **EXACT)


@pytest.mark.parametrize(
    "settings", [{"strength": -1.0}, {"strength": float("inf")}, {"temperature": 0.0}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Lwf(**settings)

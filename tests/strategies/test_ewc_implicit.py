"""EWC with an implicit step by value: where a step ends, at any strength."""

from dataclasses import replace

import pytest
import torch

from driftboard.strategies.ewc import Ewc
from driftboard.strategies.ewc_implicit import EwcImplicit
from driftboard.strategies.fisher import diagonal_fisher
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import tiny_cohort

EXACT = {"rtol": 1e-10, "atol": 1e-13}
NETWORKS = ["mlp", "convolutions"]


def after_two_tasks(strategy, tasks):
    memory = {}
    for task in tasks[:2]:
        returned, memory = strategy.finish(task, task.initial, memory)
        assert returned is task.initial
    return memory


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("strength", [0.0, 3.0, 1e6])
def test_a_plain_step_ends_where_the_penaltys_gradient_is_taken(
    three_tasks, network, strength, separate
):
    """The end e of a step: ``e = theta - r (g + s sum F (e - theta*))``, solved for e."""
    tasks = three_tasks(network)
    task, rate = replace(tasks[2], rate=0.05), 0.05
    strategy = EwcImplicit(strength=strength, separate=separate)
    fishers = [diagonal_fisher(one, one.initial) for one in tasks[:2]]
    centres = [tasks[0].initial if separate else tasks[1].initial, tasks[1].initial]
    gradient = task.gradient(task.initial)

    memory = after_two_tasks(strategy, tasks)
    found = strategy.correct(task, gradient, task.initial, memory)

    assert found.keys() == gradient.keys()
    for name, theta in task.initial.items():
        end = theta - rate * found[name]
        stiffness, pulled = torch.zeros_like(theta), torch.zeros_like(theta)
        for fisher, centre in zip(fishers, centres, strict=True):
            stiffness += rate * strength * fisher[name]
            pulled += rate * strength * fisher[name] * centre[name]
        wanted = (theta - rate * gradient[name] + pulled) / (1 + stiffness)
        torch.testing.assert_close(end, wanted, **EXACT)


@pytest.mark.parametrize("settings", [{}, {"decay": 0.5}, {"separate": True}])
def test_where_nothing_is_stepped_it_is_ewc(three_tasks, settings):
    tasks = three_tasks()
    assert tasks[2].rate == 0.0
    gradient = tasks[2].gradient(tasks[2].initial)
    found = [
        strategy.correct(tasks[2], gradient, tasks[2].initial, after_two_tasks(strategy, tasks))
        for strategy in (EwcImplicit(strength=7.0, **settings), Ewc(strength=7.0, **settings))
    ]
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_the_first_task_is_plain_training(three_tasks):
    task = replace(three_tasks()[0], rate=0.05)
    gradient = task.gradient(task.initial)
    found = EwcImplicit(strength=1e6).correct(task, gradient, task.initial, {})
    torch.testing.assert_close(found, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("separate", [False, True])
def test_training_with_momentum_holds_still_where_that_of_ewc_runs_away(separate):
    def solutions(strategy):
        return [end.parameters for end in learn(tiny_cohort("MLP", (0, 1)), strategy, "vmap")]

    ours = solutions(EwcImplicit(strength=1e6, separate=separate))
    theirs = solutions(Ewc(strength=1e6, separate=separate))

    start = tiny_cohort("MLP", (0, 1)).initial
    for first, later in zip(ours[:1] * 2, ours[1:], strict=True):
        assert all((later[name] - first[name]).abs().max() < 2 for name in start)
    assert any(
        not torch.isfinite(value).all() or value.abs().max() > 1e3 for value in theirs[-1].values()
    )


def test_the_rate_is_that_of_training():
    """With the rate of the tiny sequence, 0.05, by hand in place of the task's own."""

    class ByHand(EwcImplicit):
        def correct(self, task, gradient, parameters, memory):
            return super().correct(replace(task, rate=0.05), gradient, parameters, memory)

    ends = [
        learn(tiny_cohort("MLP", (0,)), strategy, "loop")[-1].parameters
        for strategy in (EwcImplicit(strength=50.0), ByHand(strength=50.0))
    ]
    torch.testing.assert_close(*ends, rtol=0, atol=0)
    explicit = learn(tiny_cohort("MLP", (0,)), Ewc(strength=50.0), "loop")[-1].parameters
    assert any(not torch.equal(ends[0][name], explicit[name]) for name in explicit)

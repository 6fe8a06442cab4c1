"""wise-ft, ema and cofima by value: what a plain loop and each paper's equation give."""

import math

import pytest
import torch

from driftboard.strategies.cofima import Cofima
from driftboard.strategies.ema import Ema
from driftboard.strategies.fisher import diagonal_fisher
from driftboard.strategies.magnitude import Fraction
from driftboard.strategies.sgd import Sgd
from driftboard.strategies.wise_ft import WiseFt
from driftboard.suite.checks.tiny import TASKS

EXACT = {"rtol": 1e-9, "atol": 1e-11}
networks = pytest.mark.parametrize("network", ["MLP", "convolutions"])


@networks
@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_wise_ft_interpolates_towards_the_first_solution(
    plain_learner, solutions_of, network, alpha
):
    learner, wanted = plain_learner(network), []
    theta = learner.initial
    for index in range(TASKS):
        theta = learner.descend(theta, index)
        if index > 0:
            own, trained, theta = learner.cohort.classes[index][0], theta, {}
            for name, value in trained.items():
                theta[name] = (1 - alpha) * wanted[0][name] + alpha * value
                if name in learner.head:
                    theta[name][~own] = value[~own]
        wanted.append(theta)
    torch.testing.assert_close(solutions_of(WiseFt(alpha=alpha), network), wanted, **EXACT)


def test_at_both_ends_wise_ft_is_plain_training_and_the_first_solution(solutions_of):
    plain = solutions_of(Sgd(), "MLP")
    torch.testing.assert_close(solutions_of(WiseFt(alpha=1.0), "MLP"), plain, rtol=0, atol=0)
    for found in solutions_of(WiseFt(alpha=0.0), "MLP"):
        for name in ("hidden1.weight", "hidden2.bias"):
            assert torch.equal(found[name], plain[0][name])


@networks
@pytest.mark.parametrize("continued", [False, True])
def test_ema_averages_over_the_steps_of_all_tasks(plain_learner, solutions_of, network, continued):
    decay = 0.8  # reached in the second task: the mean of n steps has the decay (n - 1) / n
    learner = plain_learner(network)
    state = {"average": None, "steps": 0}

    def after(step, gradient, before, theta):
        state["steps"] += 1
        kept = min(decay, (state["steps"] - 1) / state["steps"])
        if state["average"] is None:
            state["average"] = theta
        state["average"] = {n: kept * state["average"][n] + (1 - kept) * theta[n] for n in theta}
        return theta

    theta, wanted = learner.initial, []
    for index in range(TASKS):
        theta = learner.descend(theta, index, after=after)
        wanted.append(state["average"])
        theta = state["average"] if continued else theta
    found = solutions_of(Ema(decay=decay, continued=continued), network)
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("continued", [False, True])
def test_without_decay_ema_is_plain_training(solutions_of, continued):
    found = solutions_of(Ema(decay=0.0, continued=continued), "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=1e-12, atol=1e-14)


def test_the_first_task_of_ema_is_the_mean_of_its_steps(plain_learner, solutions_of):
    points = []

    def after(step, gradient, before, theta):
        points.append(theta)
        return theta

    learner = plain_learner("MLP")
    learner.descend(learner.initial, 0, after=after)
    mean = {name: sum(point[name] for point in points) / len(points) for name in points[0]}
    torch.testing.assert_close(solutions_of(Ema(), "MLP")[0], mean, **EXACT)


def squares(learner, theta, index):
    """Return the exact Fisher: over images and labels, squared gradients by probability."""
    images, _, allowed = learner.data(index)
    total = {name: torch.zeros_like(value) for name, value in theta.items()}
    for image, units in zip(images, allowed, strict=True):
        for unit in units.nonzero().flatten():
            leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
            logits = learner.network.logits(leaves, image[None])[0]
            chance = logits.masked_fill(~units, -1e300).log_softmax(0)[unit]
            slopes = torch.autograd.grad(chance, list(leaves.values()))
            for name, slope in zip(leaves, slopes, strict=True):
                total[name] += chance.exp().detach() * slope**2 / len(images)
    return total


@networks
def test_cofima_weighs_both_solutions_by_their_fishers(plain_learner, solutions_of, network):
    alpha, learner = 0.3, plain_learner(network)
    theta, fisher, wanted = learner.initial, None, []
    for index in range(TASKS):
        start, trained = theta, learner.descend(theta, index)
        own = squares(learner, trained, index)
        theta = trained
        if fisher:
            theta = {}
            for name, value in trained.items():
                old, new = (1 - alpha) * fisher[name], alpha * own[name]
                plain = (1 - alpha) * start[name] + alpha * value
                weighted = (old * start[name] + new * value) / (old + new)
                theta[name] = torch.where(old + new == 0, plain, weighted)
        fisher = own
        wanted.append(theta)
    found = solutions_of(Cofima(alpha=alpha), network)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def test_equal_fishers_make_cofima_the_fraction(three_tasks, monkeypatch):
    tasks = three_tasks()
    monkeypatch.setattr(
        "driftboard.strategies.cofima.diagonal_fisher",
        lambda task, parameters, labels: {k: torch.ones_like(v) for k, v in parameters.items()},
    )
    found = []
    for strategy in (Cofima(alpha=0.3), Fraction(fraction=0.3)):
        solution, memory = tasks[0].initial, {}
        for number, task in enumerate(tasks):
            _, memory = strategy.begin(task, solution, memory)
            trained = {name: (2 + number) * value for name, value in tasks[0].initial.items()}
            solution, memory = strategy.finish(task, trained, memory)
        found.append(solution)
    torch.testing.assert_close(*found, **EXACT)


def test_a_parameter_of_no_fisher_on_the_new_task_stays(three_tasks):
    task = three_tasks()[0]
    start = {name: value + 1 for name, value in task.initial.items()}
    earlier = {name: torch.ones_like(value) for name, value in start.items()}
    memory = {"fisher": earlier, "start": start}
    solution, kept = Cofima().finish(task, task.initial, memory)
    unseen = ~task.classes
    assert torch.equal(solution["5.weight"][unseen], start["5.weight"][unseen])
    torch.testing.assert_close(kept["fisher"], diagonal_fisher(task, task.initial))


@pytest.mark.parametrize(
    ("strategy", "wrong"),
    [
        (WiseFt, {"alpha": 1.1}),
        (WiseFt, {"alpha": math.nan}),
        (Ema, {"decay": 1.0}),
        (Ema, {"decay": -0.1}),
        (Cofima, {"alpha": -0.1}),
        (Cofima, {"labels": "true"}),
    ],
)
def test_values_outside_their_range_are_refused_by_name(strategy, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        strategy(**wrong)

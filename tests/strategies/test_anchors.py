"""The quadratic anchors by value: a plain loop with each paper's equations, and both steps."""

import math

import pytest
import torch

from driftboard.strategies import mas
from driftboard.strategies.anchors import L2
from driftboard.strategies.mas import MemoryAwareSynapses, output_importance
from driftboard.strategies.sgd import Sgd
from driftboard.strategies.si import SynapticIntelligence
from driftboard.suite.checks.tiny import TASKS, TRAINING
from driftboard.suite.training import engine

EXACT = {"rtol": 1e-9, "atol": 1e-11}
RATE = TRAINING.learning_rate


class NoImportance:
    """The importance of L2: equal weights, which do not add up."""

    def __init__(self, learner):
        self.omega = {name: torch.ones_like(value) for name, value in learner.initial.items()}

    def after(self, *_):
        return _[-1]

    def end(self, index, start, theta):
        pass


class PathIntegral:
    """Zenke et al. 2017, equations 3 and 5."""

    def __init__(self, learner, xi=0.1):
        zeros = {name: torch.zeros_like(value) for name, value in learner.initial.items()}
        self.omega, self.path, self.xi, self.zeros = zeros, zeros, xi, zeros

    def after(self, step, gradient, before, theta):
        self.path = {n: v - gradient[n] * (theta[n] - before[n]) for n, v in self.path.items()}
        return theta

    def end(self, index, start, theta):
        self.omega = {
            n: (v + self.path[n] / ((theta[n] - start[n]) ** 2 + self.xi)).clamp(min=0)
            for n, v in self.omega.items()
        }
        self.path = self.zeros


class Sensitivity:
    """Aljundi et al. 2018, equation 3: image by image, with autograd."""

    def __init__(self, learner):
        self.learner = learner
        self.omega = {name: torch.zeros_like(value) for name, value in learner.initial.items()}

    def after(self, *_):
        return _[-1]

    def end(self, index, start, theta):
        images, _, allowed = self.learner.data(index)
        for image, units in zip(images, allowed, strict=True):
            leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
            logits = self.learner.network.logits(leaves, image[None])[0]
            slopes = torch.autograd.grad((logits[units] ** 2).sum(), list(leaves.values()))
            for name, slope in zip(leaves, slopes, strict=True):
                self.omega[name] = self.omega[name] + slope.abs() / len(images)


def naive(learner, importance, weight, explicit):
    """Return the solutions: ``weight * sum omega (theta - solution)^2`` is added to the loss."""
    theta, solutions = learner.initial, []
    for index in range(TASKS):
        start = theta

        def correct(step, rows, gradient, at, index=index, start=start):
            if index == 0:
                return gradient
            result = {}
            for name, value in gradient.items():
                stiff = 2 * weight * importance.omega[name]
                if explicit:
                    result[name] = value + stiff * (at[name] - start[name])
                else:  # the end e of a plain step: e = at - r (g + stiff (e - start))
                    end = at[name] - RATE * value + RATE * stiff * start[name]
                    result[name] = (at[name] - end / (1 + RATE * stiff)) / RATE
            return result

        theta = learner.descend(theta, index, correct, importance.after)
        importance.end(index, start, theta)
        solutions.append(theta)
    return solutions


KINDS = [(L2, NoImportance), (SynapticIntelligence, PathIntegral)]
KINDS += [(MemoryAwareSynapses, Sensitivity)]
kinds = pytest.mark.parametrize(("strategy", "importance"), KINDS)


@kinds
@pytest.mark.parametrize(
    ("network", "explicit", "strength"),
    [
        ("MLP", False, 0.5),
        ("MLP", True, 3.0),
        ("convolutions", False, 3.0),
        ("convolutions", True, 0.5),
    ],
)
def test_solutions_are_those_of_a_plain_loop(
    plain_learner, solutions_of, strategy, importance, network, explicit, strength
):
    learner = plain_learner(network)
    wanted = naive(learner, importance(learner), strength / 2, explicit)
    found = solutions_of(strategy(strength=strength, explicit=explicit), network)
    torch.testing.assert_close(found, wanted, **EXACT)


@kinds
def test_without_strength_it_is_plain_training_to_the_bit(solutions_of, strategy, importance):
    for explicit in (False, True):
        found = solutions_of(strategy(strength=0.0, explicit=explicit), "MLP")
        torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=0, atol=0)


@kinds
def test_the_first_task_is_plain_training(solutions_of, strategy, importance):
    found, plain = (solutions_of(one, "MLP") for one in (strategy(strength=1e6), Sgd()))
    torch.testing.assert_close(found[0], plain[0], rtol=0, atol=0)
    assert any(not torch.allclose(found[1][name], value) for name, value in plain[1].items())


@kinds
def test_the_implicit_step_holds_where_the_explicit_one_runs_away(
    solutions_of, strategy, importance
):
    held = solutions_of(strategy(strength=1e8), "MLP")
    assert all((held[2][name] - value).abs().max() < 2 for name, value in held[0].items())
    lost = solutions_of(strategy(strength=1e8, explicit=True), "MLP")[2]
    assert any(not value.isfinite().all() or value.abs().max() > 1e3 for value in lost.values())


def test_a_large_strength_of_l2_keeps_the_first_solution(solutions_of):
    found = solutions_of(L2(strength=1e12), "MLP")
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-9)


def test_si_counts_what_raised_the_loss_as_nothing(three_tasks):
    task = three_tasks()[1]
    start = {name: torch.zeros_like(value) for name, value in task.initial.items()}
    earlier = {name: torch.full_like(value, 0.25) for name, value in start.items()}
    _, memory = SynapticIntelligence(damping=0.5).begin(
        task, start, {"solution": start, "importance": earlier}
    )
    moved = {name: value + 1 for name, value in start.items()}
    for size, wanted in ((-0.3, 0.25 - 0.3 / 1.5), (-3.0, 0.0), (3.0, 2.25)):
        gained = {name: torch.full_like(value, size) for name, value in start.items()}
        _, kept = SynapticIntelligence(damping=0.5).finish(task, moved, memory | {"gained": gained})
        for value in kept["importance"].values():
            torch.testing.assert_close(value, torch.full_like(value, wanted), **EXACT)


@pytest.mark.parametrize("network", ["mlp", "convolutions"])
def test_both_forms_of_the_importance_agree(three_tasks, network, monkeypatch):
    task = three_tasks(network)[1]
    by_layers = output_importance(task, task.initial)
    monkeypatch.setattr(mas, "layers_with_closed_form", lambda *_: {})
    monkeypatch.setattr(mas, "SAMPLES_AT_ONCE", 3)
    torch.testing.assert_close(by_layers, output_importance(task, task.initial), **EXACT)


def test_units_that_may_not_answer_have_no_importance(three_tasks):
    found = output_importance(three_tasks()[1], three_tasks()[1].initial)
    assert not found["5.weight"][0].any()
    assert found["5.weight"][1:].any(dim=1).all()


def test_what_is_carried_over_does_not_grow(plain_learner):
    start = plain_learner("MLP").initial
    size = sum(value.numel() * value.element_size() for value in start.values())
    for strategy, times in ((L2(), 1), (SynapticIntelligence(), 2), (MemoryAwareSynapses(), 2)):
        outcome = engine.run(plain_learner("MLP").cohort, strategy, "loop")
        assert outcome.memory_bytes == [times * size] * TASKS
        assert strategy.stores == "parameters"


@pytest.mark.parametrize(
    ("strategy", "wrong"),
    [
        *((one, {"strength": value}) for one, _ in KINDS for value in (-0.1, math.nan, math.inf)),
        (SynapticIntelligence, {"damping": 0.0}),
        (SynapticIntelligence, {"damping": math.nan}),
    ],
)
def test_values_outside_their_range_are_refused_by_name(strategy, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        strategy(**wrong)

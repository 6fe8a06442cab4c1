"""Strategies that set rates, starts and gradients of steps, by value: plain loops of each paper."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from driftboard.strategies.layer_rates import Discriminative, SlowBackbone, Surgical
from driftboard.strategies.lp_ft import LpFt
from driftboard.strategies.sam import Sam
from driftboard.strategies.sgd import Sgd
from driftboard.strategies.shrink_perturb import ShrinkPerturb
from driftboard.strategies.stable_sgd import StableSgd
from driftboard.suite.checks import example_task
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import TASKS, tiny_cohort
from driftboard.suite.errors import StrategyError

EXACT = {"rtol": 1e-9, "atol": 1e-11}
networks = pytest.mark.parametrize("network", ["MLP", "convolutions"])


@networks
@pytest.mark.parametrize(
    ("strategy", "shares"),
    [
        (SlowBackbone(), (0.01, 0.01, 1.0)),
        (Discriminative(ratio=0.5), (0.25, 0.5, 1.0)),
        (Surgical(block=0), (1.0, 0.0, 1.0)),
        (Surgical(block=1), (0.0, 1.0, 1.0)),
        (Surgical(block=-1), (0.0, 0.0, 1.0)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_later_tasks_train_every_block_at_its_rate(
    plain_learner, solutions_of, network, strategy, shares
):
    learner = plain_learner(network)
    rates = {
        name: share
        for block, share in zip(learner.network.blocks, shares, strict=True)
        for name in block.parameters
    }
    theta, wanted = learner.initial, []
    for index in range(TASKS):
        theta = learner.descend(theta, index, rates=rates if index else None)
        wanted.append(theta)
    # Shares are in single precision, as every plan's.
    torch.testing.assert_close(solutions_of(strategy, network), wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("strategy", [SlowBackbone(share=1.0), Discriminative(ratio=1.0)])
def test_a_share_of_1_is_plain_training(solutions_of, strategy):
    found = solutions_of(strategy, "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=0, atol=0)


@pytest.mark.parametrize("block", [3, -4])
def test_a_block_that_is_not_there_is_refused(block):
    with pytest.raises(StrategyError, match=r"'surgical'.*block must be from -3 to 2"):
        learn(tiny_cohort("MLP", (0,)), Surgical(block=block), "loop")


@networks
@pytest.mark.parametrize(("probing", "first"), [(0.5, 2), (1.0, 4)])
def test_the_head_trains_alone_first(plain_learner, solutions_of, network, probing, first):
    learner = plain_learner(network)

    def correct(step, rows, gradient, theta):
        if step >= first:
            return gradient
        return {n: g if n in learner.head else torch.zeros_like(g) for n, g in gradient.items()}

    theta, wanted = learner.initial, []
    for index in range(TASKS):
        theta = learner.descend(theta, index, correct if index else None)
        wanted.append(theta)
    torch.testing.assert_close(solutions_of(LpFt(probing=probing), network), wanted, **EXACT)


def test_without_probing_it_is_plain_training(solutions_of):
    found = solutions_of(LpFt(probing=0.0), "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=0, atol=0)


@networks
def test_sam_steps_along_the_gradient_at_the_worst_point(plain_learner, solutions_of, network):
    learner, radius = plain_learner(network), 0.3
    theta, wanted = learner.initial, []
    for index in range(TASKS):

        def correct(step, rows, gradient, at, index=index):
            norm = math.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
            worst = {n: at[n] + radius * g / norm for n, g in gradient.items()}
            return learner.gradient(worst, index, rows)

        theta = learner.descend(theta, index, correct)
        wanted.append(theta)
    torch.testing.assert_close(solutions_of(Sam(radius=radius), network), wanted, **EXACT)


def test_sam_without_radius_is_plain_training(solutions_of):
    found = solutions_of(Sam(radius=0.0), "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=1e-12, atol=1e-14)


def test_sam_perturbs_only_what_moves_and_bears_a_gradient_of_zero():
    task = example_task(step=1)
    head = {name: task.initial[name] for name in ("head.weight", "head.bias")}
    found = Sam().correct(task, head, task.initial, {})
    assert found.keys() == head.keys()
    zero = {name: torch.zeros_like(value) for name, value in head.items()}
    assert all(v.isfinite().all() for v in Sam().correct(task, zero, task.initial, {}).values())
    assert Sam().correct(example_task(), head, task.initial, {}) is head


class Masks:
    """Takes what ``task.uniform`` draws from the strategy, so that a plain loop has the same."""

    def __init__(self, monkeypatch):
        from driftboard.strategies.task import Task

        self.drawn, original = [], Task.uniform

        def uniform(task, name, *shape):
            numbers = original(task, name, *shape)
            self.drawn.append((task.index, int(task.moment), name, numbers.clone()))
            return numbers

        monkeypatch.setattr(Task, "uniform", uniform)


def test_stable_sgd_leaves_hidden_units_out_and_lowers_the_rate(plain_learner, monkeypatch):
    masks = Masks(monkeypatch)
    strategy = StableSgd(decay=0.5, dropout=0.3)
    ends = learn(tiny_cohort("MLP", (3,)), strategy, "loop")
    drawn = {(index, moment, name): numbers for index, moment, name, numbers in masks.drawn}
    assert len(drawn) == len(masks.drawn) == TASKS * 4 * 2  # steps, hidden layers
    learner = plain_learner("MLP")
    theta = learner.initial
    for index, end in enumerate(ends):

        def loss(step, index=index):
            def of_batch(leaves, images, labels, allowed):
                values = images.flatten(1)
                for number in (1, 2):
                    weight, bias = (leaves[f"hidden{number}.{w}"] for w in ("weight", "bias"))
                    kept = drawn[index, step + 1, f"dropout {number - 1}"] >= 0.3
                    values = F.relu(values @ weight.T + bias) * kept / 0.7
                logits = values @ leaves["head.weight"].T + leaves["head.bias"]
                return F.cross_entropy(logits.masked_fill(~allowed, -1e300), labels)

            return of_batch

        rates = dict.fromkeys(theta, 0.5**index)
        theta = learner.descend(theta, index, rates=rates, loss=loss)
        found = {name: value[0] for name, value in end.parameters.items()}
        torch.testing.assert_close(found, theta, **EXACT)


@networks
def test_stable_sgd_trains_learners_together_as_alone(solutions_of, network):
    found = solutions_of(StableSgd(), network)
    other = solutions_of(StableSgd(dropout=0.0), network)
    assert any(not torch.allclose(value, other[0][name]) for name, value in found[0].items())


def test_stable_sgd_without_dropout_and_decay_is_plain_training(solutions_of):
    found = solutions_of(StableSgd(decay=1.0, dropout=0.0), "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=1e-12, atol=1e-14)


def test_dropout_is_over_when_the_loss_is_known():
    task = example_task(step=0)
    before = task.loss(task.initial, task.examples)
    dropped = StableSgd().loss(task, task.examples, task.initial, {})
    assert dropped != before
    assert task.loss(task.initial, task.examples) == before
    assert not any(layer._forward_hooks for layer in task.network.module.modules())
    assert isinstance(task.network.module.relu1, nn.ReLU)


def test_a_task_starts_at_the_smaller_noisy_solution(plain_learner, solutions_of, monkeypatch):
    from driftboard.strategies.task import Task

    def normal(task, name, *shape):  # a pattern that a plain loop has, too
        count = math.prod(shape)
        numbers = torch.linspace(-1, 1, count, dtype=task.noise.dtype)
        return (numbers + len(name)).reshape(shape)

    monkeypatch.setattr(Task, "normal", normal)
    learner = plain_learner("convolutions")
    theta, wanted = learner.initial, []
    for index in range(TASKS):
        if index > 0:
            own, last, theta = learner.cohort.classes[index][0], theta, {}
            for name, value in last.items():
                numbers = torch.linspace(-1, 1, value.numel(), dtype=value.dtype) + len(name)
                theta[name] = 0.6 * value + 0.01 * numbers.reshape(value.shape)
                if name in learner.head:
                    theta[name][~own] = value[~own]
        theta = learner.descend(theta, index)
        wanted.append(theta)
    torch.testing.assert_close(solutions_of(ShrinkPerturb(), "convolutions"), wanted, **EXACT)


def test_the_noise_is_normal_and_of_its_size():
    task = example_task(index=1)
    zeros = {name: torch.zeros_like(value) for name, value in task.initial.items()}
    plan, _ = ShrinkPerturb(noise=0.05).begin(task, zeros, {})
    drawn = plan.start["hidden1.weight"].flatten()
    assert abs(drawn.std() - 0.05) < 0.01
    assert abs(drawn.mean()) < 0.015
    again, _ = ShrinkPerturb(noise=0.05).begin(task, zeros, {})
    torch.testing.assert_close(again.start, plan.start, rtol=0, atol=0)


def test_neither_smaller_nor_noisy_is_plain_training(solutions_of):
    found = solutions_of(ShrinkPerturb(shrinking=1.0, noise=0.0), "MLP")
    torch.testing.assert_close(found, solutions_of(Sgd(), "MLP"), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("strategy", "wrong"),
    [
        (SlowBackbone, {"share": 1.1}),
        (SlowBackbone, {"share": math.nan}),
        (Discriminative, {"ratio": -0.1}),
        (LpFt, {"probing": 1.5}),
        (StableSgd, {"decay": 0.0}),
        (StableSgd, {"dropout": 1.0}),
        (Sam, {"radius": -0.1}),
        (Sam, {"radius": math.inf}),
        (ShrinkPerturb, {"shrinking": 1.1}),
        (ShrinkPerturb, {"noise": -0.1}),
    ],
)
def test_values_outside_their_range_are_refused_by_name(strategy, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        strategy(**wrong)

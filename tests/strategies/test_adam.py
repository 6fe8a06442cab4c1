"""An optimiser of a strategy's own: Adam is that of torch, made anew for every task."""

import math

import pytest
import torch

from driftboard.strategies.adam import Adam
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import TASKS, TRAINING, tiny_cohort
from driftboard.suite.training import engine


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize(
    "settings", [{}, {"scale": 0.3, "first": 0.5, "second": 0.9, "epsilon": 1e-3}]
)
def test_it_is_adam_of_torch(plain_learner, solutions_of, network, settings):
    strategy, learner = Adam(**settings), plain_learner(network)
    theta, wanted = learner.initial, []
    for index in range(TASKS):
        leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
        optimiser = torch.optim.Adam(
            leaves.values(),
            lr=strategy.scale * TRAINING.learning_rate,
            betas=(strategy.first, strategy.second),
            eps=strategy.epsilon,
        )
        for rows in learner.batches(index):
            optimiser.zero_grad()
            learner.loss(leaves, *learner.data(index, rows)).backward()
            optimiser.step()
        theta = {name: value.detach().clone() for name, value in leaves.items()}
        wanted.append(theta)
    found = solutions_of(strategy, network)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_it_carries_nothing_over():
    assert engine.run(tiny_cohort("MLP", (0,)), Adam(), "loop").memory_bytes == [0] * TASKS
    assert Adam.stores == "nothing"


def test_single_precision_stays_single():
    cohort = tiny_cohort("MLP", (0, 1))
    for name, value in cohort.initial.items():
        cohort.initial[name] = value.float()
    *_, end = learn(cohort, Adam(), "vmap")
    assert all(value.dtype == torch.float32 for value in end.parameters.values())


@pytest.mark.parametrize(
    "wrong",
    [{"scale": 0.0}, {"epsilon": math.nan}, {"first": 1.0}, {"second": -0.1}],
)
def test_values_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        Adam(**wrong)

"""The closed form of a stack of MLPs against one learner at a time, differentiated."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from driftboard.strategies.base import Examples, masked
from driftboard.suite.training.networks import build_network

INPUTS = (1, 4, 3)
UNITS = 5


def stack(depth, *, seeds=3, images=7, dtype=torch.float64, width=6):
    """Return a network, parameters and a batch of several learners, all drawn anew."""
    torch.manual_seed(depth)
    network = build_network(f"mlp-{width}x{depth}", INPUTS, UNITS)
    parameters = {
        name: torch.randn(seeds, *value.shape, dtype=dtype).requires_grad_()
        for name, value in network.module.named_parameters()
    }
    allowed = torch.rand(seeds, images, UNITS) < 0.5
    labels = torch.randint(UNITS, (seeds, images))
    allowed.scatter_(2, labels[..., None], True)
    return (
        network,
        parameters,
        Examples(torch.randn(seeds, images, *INPUTS, dtype=dtype), labels, allowed),
    )


def differentiated(network, parameters, batch, seed):
    """Return one learner's loss and gradient, by the module itself."""
    own = {name: value.detach()[seed].requires_grad_() for name, value in parameters.items()}
    logits = masked(network.logits(own, batch.images[seed]), batch.allowed[seed])
    loss = F.cross_entropy(logits, batch.labels[seed])
    return loss, dict(zip(own, torch.autograd.grad(loss, list(own.values())), strict=True))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_learner_has_its_own_loss_and_gradient(depth):
    network, parameters, batch = stack(depth)

    losses, gradient = network.stacked.losses_and_gradient(parameters, batch, parameters)

    assert list(gradient) == list(parameters)
    for seed in range(3):
        loss, alone = differentiated(network, parameters, batch, seed)
        torch.testing.assert_close(losses[seed], loss, rtol=1e-12, atol=0)
        for name, value in alone.items():
            torch.testing.assert_close(gradient[name][seed], value, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_learner_has_its_own_logits(depth):
    network, parameters, batch = stack(depth)

    logits = network.stacked.logits(parameters, batch.images)

    for seed in range(3):
        own = {name: value[seed] for name, value in parameters.items()}
        alone = network.logits(own, batch.images[seed])
        torch.testing.assert_close(logits[seed], alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "wanted",
    [["hidden1.weight", "hidden1.bias"], ["head.weight"], ["hidden2.bias", "head.bias"], []],
)
def test_a_part_of_the_gradient_is_that_part_of_the_whole(wanted):
    network, parameters, batch = stack(2)
    _, whole = network.stacked.losses_and_gradient(parameters, batch, parameters)

    _, part = network.stacked.losses_and_gradient(parameters, batch, wanted)

    assert list(part) == wanted
    assert all(torch.equal(part[name], whole[name]) for name in wanted)


def test_a_unit_that_no_example_allows_gets_no_gradient():
    network, parameters, batch = stack(1)
    allowed = batch.allowed.clone()
    allowed[0, :, 2] = False
    batch = replace(batch, allowed=allowed, labels=torch.where(batch.labels == 2, 1, batch.labels))
    batch.allowed.scatter_(2, batch.labels[..., None], True)

    _, gradient = network.stacked.losses_and_gradient(parameters, batch, parameters)

    assert bool((gradient["head.weight"][0, 2] == 0).all())
    assert gradient["head.bias"][0, 2] == 0


def test_nothing_that_is_given_is_changed():
    network, parameters, batch = stack(2)
    before = [value.clone() for value in (*parameters.values(), batch.images)]

    network.stacked.losses_and_gradient(parameters, batch, parameters)

    after = [*parameters.values(), batch.images]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_learner_that_is_not_finite_says_so_and_leaves_the_others_alone():
    network, parameters, batch = stack(2)
    _, fine = network.stacked.losses_and_gradient(parameters, batch, parameters)
    with torch.no_grad():
        parameters["hidden1.weight"][1] = torch.nan

    losses, gradient = network.stacked.losses_and_gradient(parameters, batch, parameters)

    assert losses.isfinite().tolist() == [True, False, True]
    assert all(torch.equal(gradient[name][[0, 2]], fine[name][[0, 2]]) for name in fine)

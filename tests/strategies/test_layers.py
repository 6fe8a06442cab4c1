"""What goes into the head, by value."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from driftboard.strategies.layers import features, logits_of_task
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.training.networks import initial_parameters


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_features_are_what_the_layers_before_the_head_return(network):
    cohort = tiny_cohort(network, (0,))
    parameters = {name: value[0] for name, value in cohort.initial.items()}
    images = cohort.scaling(cohort.train[0].images[0], torch.float64)
    module = cohort.network.module
    body = nn.Sequential(*list(module.children())[:-1])
    own = dict(zip(dict(body.named_parameters()), list(parameters.values())[:-2], strict=True))

    found = features(cohort.network, parameters, images)

    torch.testing.assert_close(found, torch.func.functional_call(body, own, (images,)))
    logits = found @ parameters["head.weight"].mT + parameters["head.bias"]
    torch.testing.assert_close(logits, cohort.network.logits(parameters, images))
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_features_of_learners_that_are_mapped(network):
    cohort = tiny_cohort(network, (0, 1))
    images = cohort.scaling(cohort.train[0].images, torch.float64)
    found = vmap(lambda own, seen: features(cohort.network, own, seen))(cohort.initial, images)
    for seed in (0, 1):
        own = {name: value[seed] for name, value in cohort.initial.items()}
        torch.testing.assert_close(found[seed], features(cohort.network, own, images[seed]))


@pytest.mark.parametrize(("name", "width"), [("resnet9-w8", 32), ("timm:resnet10t", 512)])
def test_features_of_networks_of_the_registry(name, width):
    network, parameters = initial_parameters(name, (3, 32, 32), 10, 0)
    found = features(network, parameters, torch.zeros(2, 3, 32, 32))
    assert found.shape == (2, width)


def test_a_head_of_several_layers_has_no_features(make_task):
    head = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 4))
    module = nn.Sequential(nn.Linear(6, 5), head)
    task = make_task(module, shape=(6,), units=4)
    with pytest.raises(ValueError, match="the head has 2"):
        features(task.network, task.initial, task.examples.images)


def test_logits_of_a_task_are_those_of_all_units_and_of_all_examples(make_task):
    task = make_task(nn.Linear(6, 4), shape=(6,), units=4, classes=[1, 2], count=1201)
    found = logits_of_task(task, task.initial)
    expected = task.network.logits(task.initial, task.examples.images)
    torch.testing.assert_close(found, expected)
    assert found.shape == (1201, 4)

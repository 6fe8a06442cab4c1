"""What a strategy changes in place of what it is shown: the run fails and says what it was."""

import pytest
import torch
from torch import nn

from driftboard.strategies import Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training import engine
from driftboard.suite.training.untouched import Untouched, UntouchedModule


def bias(parameters):
    return parameters["head.bias"]


def set_first_weight(task):
    with torch.no_grad():
        next(iter(task.network.module.parameters())).zero_()


# What is said -> what is done, with the task and the parameters that a hook is given.
DONE = {
    "task.initial['head.bias']": lambda task, given: bias(task.initial).mul_(5),
    "task.examples.images": lambda task, given: task.examples.images.add_(1),
    "task.examples.labels": lambda task, given: task.examples.labels.zero_(),
    "task.examples.allowed": lambda task, given: task.examples.allowed.fill_(True),
    "task.classes": lambda task, given: task.classes.logical_not_(),
    "task.units": lambda task, given: task.units.zero_(),
    "task.answers": lambda task, given: task.answers.zero_(),
    "task.noise": lambda task, given: task.noise.zero_(),
    "parameters['head.bias']": lambda task, given: bias(given).detach().add_(1),
    "task.network.module's '": lambda task, given: set_first_weight(task),
    "task.network.module in place": lambda task, given: (
        task.network.module.head.register_forward_hook(lambda *_: None)
    ),
}

# Ways past the count of changes; ``vmap`` refuses them.
BY_STEALTH = {
    "task.initial['head.bias']": lambda task, given: bias(task.initial).data.mul_(5),
    "task.examples.labels": lambda task, given: task.examples.labels.numpy().fill(0),
    "task.examples.images": lambda task, given: task.examples.images.data[:1].zero_(),
    "task.noise": lambda task, given: task.noise.numpy().sort(),
    "parameters['head.bias']": lambda task, given: bias(given).data.add_(1),
}

HOOKS = ("begin", "loss", "correct", "constrain", "observe", "finish")


def doing(hook, what, task=0):
    """Return a strategy that does something in a hook of a task, and else what sgd does."""

    def method(self, current, *given):
        if current.index == task:
            what(current, given[-2])
        return getattr(Strategy, hook)(self, current, *given)

    return type("Doing", (Strategy,), {"name": "doing", hook: method})()


def refusal(strategy, network, mode):
    with pytest.raises(StrategyError) as caught:
        engine.run(tiny_cohort(network, (0,) if mode == "loop" else (0, 1)), strategy, mode)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("said", DONE)
def test_a_change_in_place_is_an_error_that_names_it(said, mode):
    text = refusal(doing("begin", DONE[said]), "MLP", mode)
    assert text.startswith("strategy 'doing': ")
    assert said in text.partition(" changes ")[2]
    assert "in place; return new tensors instead" in text


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("network", NETWORKS)
def test_whatever_the_hook(hook, mode, network):
    said = "task.initial['head.bias']"
    text = refusal(doing(hook, DONE[said], task=1), network, mode)
    expected = f"strategy 'doing': {hook}() changes {said} in place; return new tensors instead"
    assert text == f"{expected} (task 2)"


@pytest.mark.parametrize("hook", ["begin", "loss", "correct", "constrain", "finish"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_parameters_are_not_to_be_changed_either(hook, mode):
    """Those of ``observe`` are copies."""
    said = "parameters['head.bias']"
    text = refusal(doing(hook, DONE[said]), "MLP", mode)
    assert text.startswith(f"strategy 'doing': {hook}() changes {said} in place")


@pytest.mark.parametrize("hook", ["begin", "finish"])
@pytest.mark.parametrize("said", BY_STEALTH)
def test_a_change_that_torch_does_not_count_is_found(hook, said):
    text = refusal(doing(hook, BY_STEALTH[said]), "convolutions", "loop")
    assert text.startswith(f"strategy 'doing': {hook}() changes {said} in place")


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_a_solution_that_a_strategy_has_kept_is_not_to_be_changed_later(mode):
    class Keeping(Strategy):
        name = "keeping"

        def finish(self, task, parameters, memory):
            return parameters, {"old": parameters}

        def begin(self, task, parameters, memory):
            if memory:
                bias(memory["old"]).add_(1)
            return task.everything(), memory

    text = refusal(Keeping(), "MLP", mode)
    assert "begin() changes parameters['head.bias'] in place" in text


def test_labels_that_a_strategy_has_kept_are_not_to_be_changed_later():
    """They are no longer among what it is shown, but other strategies will be shown them."""
    kept = []

    class Late(Strategy):
        name = "late"

        def begin(self, task, parameters, memory):
            kept.append(task.examples.labels)
            if task.index == 1:
                kept[0].zero_()
            return task.everything(), memory

    assert "a hook changes the labels of task 1" in refusal(Late(), "MLP", "loop")


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("name", BUILTIN)
def test_no_strategy_of_ours_changes_anything(mode, name):
    for network in NETWORKS:
        engine.run(tiny_cohort(network, (0,)), BUILTIN[name], mode)


def test_several_changes_are_counted():
    text = refusal(
        doing("begin", lambda task, _: [v.zero_() for v in task.initial.values()]), "MLP", "vmap"
    )
    first = "task.initial['hidden1.weight'], task.initial['hidden1.bias'] and 4 more"
    assert f"begin() changes {first} in place" in text


def test_values_that_are_no_numbers_are_no_change():
    value = torch.tensor([torch.nan, torch.inf])
    untouched = Untouched({"it": value, "nothing": torch.zeros(0)}, exactly=True)
    assert untouched.changed() == []
    value[1] = 0.0
    assert untouched.changed() == ["it"]


@pytest.mark.parametrize(
    ("said", "change"),
    [
        (
            "task.network.module's '0.num_batches_tracked'",
            lambda m: m[0].num_batches_tracked.add_(1),
        ),
        ("task.network.module's '1.bias'", lambda m: m[1].bias.data.add_(1)),
        ("task.network.module", lambda m: m.train()),
        ("task.network.module", lambda m: setattr(m[2], "inplace", True)),
        ("task.network.module", lambda m: setattr(m[1], "eps", 1.0)),
        ("task.network.module", lambda m: m.append(nn.ReLU())),
        ("task.network.module", lambda m: m.register_forward_pre_hook(lambda *_: None)),
    ],
)
def test_a_network_is_layers_settings_weights_and_buffers(said, change):
    module = nn.Sequential(nn.BatchNorm2d(2), nn.GroupNorm(1, 2), nn.ReLU()).eval()
    untouched = UntouchedModule(module)
    assert untouched.changed() == []
    change(module)
    assert untouched.changed() == [said]


def test_a_hook_that_a_strategy_takes_back_is_no_change():
    module = nn.Sequential(nn.ReLU())
    untouched = UntouchedModule(module)
    module.register_forward_hook(lambda *_: None).remove()
    assert untouched.changed() == []

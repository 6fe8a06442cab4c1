"""Networks of a user's own: as good as a built-in one, and refused in a line where they are not."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import vmap

from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.strategies.layers import features, layers_applied_once
from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import Training
from driftboard.suite.training.memory_plan import demand_of
from driftboard.suite.training.networks import build_network, choose_mode, initial_parameters

SHAPE, UNITS = (1, 4, 4), 6
CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Mlp(nn.Module):
    """What ``mlp-WIDTHx2`` is, written by hand; the subclasses below each have one flaw."""

    def __init__(self, units, inputs=16, width=5):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, units)

    def hidden(self, images):
        return self.second(self.first(images.flatten(1)).relu()).relu()

    def forward(self, images):
        return self.last(self.hidden(images))


@dataclass(frozen=True)
class Hand:
    """The definition of a module class; ``build`` is what one of a user's would be."""

    module: Any = Mlp
    name: str = "hand"

    def build(self, image_shape, units):
        return self.module(units, math.prod(image_shape))


class Convolutional(nn.Module):
    """Two blocks that are no children: ``blocks`` names them."""

    def __init__(self, units, _):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, units)])

    def blocks(self):
        body = nn.ModuleList(self.layers[:2])
        return {"body": body, "head": self.layers[2]}

    def forward(self, images):
        convolution, norm, head = self.layers
        return head(norm(convolution(images)).relu().mean(dim=(2, 3)))


def test_a_network_written_by_hand_is_the_built_in_one(nine_steps, outcome_of):
    """With the same initial weights, to the last bit, one learner at a time."""
    for strategy in ("sgd", "ewc", "hybrid", "frozen"):
        ours = nine_steps("mlp-5x2", (3,))
        theirs = nine_steps(Hand(), (3,))
        names = dict(zip(theirs.initial, ours.initial, strict=True))
        assert all(torch.equal(theirs.initial[n], ours.initial[o]) for n, o in names.items())
        one, other = (outcome_of(each, BUILTIN[strategy], "loop") for each in (ours, theirs))
        for task, counts in enumerate(one["correct"]):
            assert torch.equal(counts, other["correct"][task])
            tolerance = {"rtol": 1e-5, "atol": 1e-6}  # the closed form sums in another order
            for norms in ("update_norms", "drift_norms", "solution_norms"):
                torch.testing.assert_close(one[norms][task], other[norms][task], **tolerance)


def test_in_double_precision_both_modes_agree_with_the_built_in_network(nine_steps, outcome_of):
    from dataclasses import replace

    def in_double(cohort):
        return replace(cohort, initial={n: v.double() for n, v in cohort.initial.items()})

    strategy = BUILTIN["ewc"]
    ours = outcome_of(in_double(nine_steps("mlp-5x2")), strategy)
    theirs = outcome_of(in_double(nine_steps(Hand())), strategy)
    assert all(map(torch.equal, ours["correct"], theirs["correct"]))
    for one, other in zip(ours["solution_norms"], theirs["solution_norms"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_children_with_parameters_are_the_blocks_and_the_last_is_the_head():
    network, parameters = initial_parameters(Hand(), SHAPE, UNITS, 0)
    assert [block.name for block in network.blocks] == ["first", "second", "last"]
    assert network.head.parameters == ("last.weight", "last.bias")
    assert [name for block in network.blocks for name in block.parameters] == list(parameters)


def test_a_module_may_name_its_blocks():
    network, _ = initial_parameters(Hand(Convolutional), SHAPE, UNITS, 0)
    assert [(block.name, len(block.parameters)) for block in network.blocks] == [
        ("body", 4),
        ("head", 2),
    ]
    assert network.blocks[0].parameters[0] == "layers.0.weight"


def test_layers_and_features_are_found_in_a_users_module(make_task):
    network, parameters = initial_parameters(Hand(Convolutional), SHAPE, UNITS, 0)
    images = torch.rand(3, *SHAPE)
    inputs = features(network, parameters, images)
    logits = inputs @ parameters["layers.2.weight"].T + parameters["layers.2.bias"]
    torch.testing.assert_close(logits, network.logits(parameters, images))
    from dataclasses import replace

    from driftboard.suite.checks.tiny import example_task

    task = replace(example_task(), network=network)
    shaped = replace(task, examples=replace(task.examples, images=images))
    assert list(layers_applied_once(shaped, parameters)) == ["layers.0", "layers.2"]


@pytest.mark.parametrize("name", ["slda", "packnet", "gpm", "er", "wise-ft", "lp-ft", "mas"])
def test_strategies_of_every_kind_train_a_users_network(nine_steps, outcome_of, name):
    """As they train the built-in one: to a few counts, since sums have another order."""
    strategy = (BUILTIN | FURTHER)[name]
    one, other = (
        outcome_of(nine_steps(network, (3,)), strategy, "loop")["correct"][-1]
        for network in ("mlp-5x2", Hand())
    )
    assert (one - other).abs().max() <= 1


class Deciding(Mlp):
    """Takes another way where a value says so, which cannot be mapped."""

    def forward(self, images):
        hidden = self.hidden(images)
        return self.last(hidden if hidden.sum() > -1 else -hidden)


@pytest.mark.parametrize(
    ("module", "on_cpu", "on_gpu"),
    [(Mlp, "vmap", "vmap"), (Convolutional, "loop", "vmap"), (Deciding, "loop", "loop")],
)
def test_what_can_be_mapped_is_mapped_where_that_is_faster(module, on_cpu, on_gpu):
    network = build_network(Hand(module), SHAPE, UNITS)
    assert (choose_mode(network, CPU), choose_mode(network, GPU)) == (on_cpu, on_gpu)


def test_mapping_gives_what_each_learner_gives_alone():
    learners = [initial_parameters(Hand(Convolutional), SHAPE, UNITS, seed) for seed in (1, 2)]
    images = torch.rand(2, 3, *SHAPE)
    stacked = {n: torch.stack([one[n] for _, one in learners]) for n in learners[0][1]}
    together = vmap(learners[0][0].logits)(stacked, images)
    for (network, own), seen, found in zip(learners, images, together, strict=True):
        torch.testing.assert_close(found, network.logits(own, seen), rtol=1e-5, atol=1e-5)


def test_seeds_have_weights_of_their_own_that_follow_from_them():
    one, same, other = (initial_parameters(Hand(), SHAPE, UNITS, seed)[1] for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


class Bare(nn.Module):
    """Computes outside of layers, with parameters of its own blocks."""

    def __init__(self, units, inputs):
        super().__init__()
        self.body, self.head = nn.ParameterList([torch.randn(inputs, 7)]), nn.Module()
        self.head.weight = nn.Parameter(torch.randn(units, 7))

    def forward(self, images):
        values = torch.tanh(images.flatten(1) @ self.body[0])
        return values @ self.head.weight.T


def test_memory_is_counted_that_is_used_outside_of_layers():
    network = build_network(Hand(Bare), SHAPE, UNITS)
    demand = demand_of(network, SHAPE, (8,), (8,), Training(1, 4, 0.1))
    assert demand.activations == demand.widest == 7  # what tanh keeps for its gradient
    assert not demand.linear
    assert demand.parameters == 16 * 7 + 7 * UNITS


# What a module must not be.


class Failing(Mlp):
    def forward(self, images):
        raise KeyError("no such layer")


class TwoNames(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.again = self.second


class Tied(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.second.bias = self.first.bias


class Running(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.second = nn.Sequential(self.second, nn.BatchNorm1d(5))


class Outside(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.scale = nn.Parameter(torch.ones(()))


class Double(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.double()


class Constant(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.first.requires_grad_(False)


class Lazy(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.first = nn.LazyLinear(5)


class NoHead(Mlp):
    def __init__(self, units, *others):
        super().__init__(units + 1, *others)


class OneBlock(nn.Sequential):
    def __init__(self, units, inputs):
        super().__init__(nn.Flatten(), nn.Linear(inputs, units))


class Infinite(Mlp):
    def forward(self, images):
        return super().forward(images) / 0


class Squeezed(Mlp):
    def forward(self, images):
        return super().forward(images).squeeze(0)


class Several(Mlp):
    def forward(self, images):
        return super().forward(images), None


class Random(Mlp):
    def forward(self, images):
        return super().forward(images) + torch.rand(())


class Dropping(Mlp):
    def forward(self, images):
        return self.last(nn.functional.dropout(self.hidden(images), 0.5))


class Counting(Mlp):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images):
        self.calls += 1
        return super().forward(images)


class Setting(Mlp):
    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images)


class InPlace(Mlp):
    def forward(self, images):
        return super().forward(images.mul_(2))


class OfBatch(Mlp):
    def forward(self, images):
        return super().forward(images - images.mean(dim=0))


class Softmax(Mlp):
    def forward(self, images):
        return super().forward(images).softmax(dim=1)


class Unused(Mlp):
    def forward(self, images):
        return self.last(self.first(images.flatten(1)))


class Printing(Mlp):
    def forward(self, images):
        print("here I am")
        return super().forward(images)


class Seeding(Mlp):
    def __init__(self, *sizes):
        torch.manual_seed(1)
        super().__init__(*sizes)


class OfNumpy(Mlp):
    def __init__(self, *sizes):
        import numpy as np

        super().__init__(*sizes)
        nn.init.constant_(self.first.bias, np.random.rand())


class OfTheSystem(Mlp):
    def __init__(self, *sizes):
        import secrets

        super().__init__(*sizes)
        nn.init.constant_(self.first.bias, secrets.randbelow(1000) / 1000)


class DrawnBuffer(Mlp):
    """Mapped over learners, it would give all of them the buffer of the first."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("mask", torch.rand(5), persistent=False)

    def forward(self, images):
        return self.last(self.hidden(images) * self.mask)


class WrongBlocks(Mlp):
    def blocks(self):
        return [self.first, self.last]


class Forgotten(Mlp):
    def blocks(self):
        return {"first": self.first, "last": self.last}


class Twice(Mlp):
    def blocks(self):
        return {"all": self, "second": self.second, "last": self.last}


FLAWS = {
    Failing: "forward of images (3, 1, 4, 4) fails: KeyError: 'no such layer'; test_own_network.py",
    TwoNames: "'second.weight' and 'again.weight' are one parameter; register a module once",
    Tied: "'first.bias' and 'second.bias' are one parameter",
    Running: "'second.1' is a BatchNorm1d with running statistics, which would move",
    Outside: "parameter 'scale' is in no block; a block is a child of the module",
    Double: "parameter 'first.weight' is torch.float64 on cpu; make it torch.float32",
    Constant: "parameter 'first.weight' does not require a gradient; make what is not trained a",
    Lazy: "parameter 'first.weight' has no shape yet; use layers that are not lazy",
    NoHead: "'last', has the shape (7, 5); the head needs a row for each of the 6 units",
    OneBlock: "there are 1 blocks with parameters; expected at least one and the head",
    Infinite: "returns numbers that are not finite",
    Squeezed: "forward of images (1, 1, 4, 4) returns torch.float32 (6,); expected",
    Several: "returns a tuple; expected a tensor (3, 6)",
    Random: "forward gives two answers to one question; leave out what is random",
    Dropping: "forward gives two answers to one question",
    Counting: "forward changes 'calls'; it has to leave the module as it is",
    Setting: "forward changes the module's settings",
    InPlace: "forward changes the images in place",
    OfBatch: "an answer depends on the other images of a batch",
    Softmax: "a row of the head changes the logits of other units; return logits",
    Unused: "no answer depends on parameter 'second.weight'; leave it out",
    Printing: "it prints 'here I am",
    Seeding: "build sets torch's seed, so all seeds would begin alike",
    OfNumpy: "build changes NumPy's random state; draw from torch's generator alone",
    OfTheSystem: "build makes other weights when it is called again",
    DrawnBuffer: "build draws a buffer from torch's generator, and all seeds share",
    WrongBlocks: "blocks() does not return modules of its own by name",
    Forgotten: "parameter 'second.weight' is in no block",
    Twice: "is in several blocks",
}


@pytest.mark.parametrize(
    ("module", "words"), FLAWS.items(), ids=lambda one: getattr(one, "__name__", "")
)
def test_what_is_no_network_is_refused_in_a_line_that_says_where(module, words, capsys):
    with pytest.raises(DriftboardError) as caught:
        build_network(Hand(module), SHAPE, UNITS)
    line = str(caught.value)
    start = f"network 'hand' (test_own_network.py, line {Hand.build.__code__.co_firstlineno}): "
    assert line.startswith(start)
    assert words in line
    assert "\n" not in line
    assert capsys.readouterr().out == ""


def test_dropout_layers_do_nothing_since_networks_are_in_evaluation_mode():
    class Regularised(Mlp):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.second = nn.Sequential(self.second, nn.Dropout(0.9))

    network, parameters = initial_parameters(Hand(Regularised), SHAPE, UNITS, 0)
    plain, others = initial_parameters(Hand(), SHAPE, UNITS, 0)
    images = torch.rand(2, *SHAPE)
    renamed = dict(zip(others, parameters.values(), strict=True))
    assert torch.equal(network.logits(parameters, images), plain.logits(renamed, images))


@dataclass(frozen=True)
class Broken:
    """A definition whose ``build`` fails, or returns what is no module."""

    result: Any = None
    name: str = "broken"

    def build(self, image_shape, units):
        if isinstance(self.result, type):
            raise self.result("not today")
        return self.result


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "build returns a NoneType; expected a torch.nn.Module"),
        (ValueError, "build fails: ValueError: not today; test_own_network.py, line"),
        (SystemExit, "build fails: SystemExit: not today"),
    ],
)
def test_a_definition_that_builds_nothing_is_refused(result, words):
    with pytest.raises(DriftboardError, match=r"network 'broken' \(.*\): ") as caught:
        build_network(Broken(result), SHAPE, UNITS)
    assert words in str(caught.value)


def test_building_leaves_the_process_as_it_was():
    class Careless(Mlp):
        def __init__(self, *sizes):
            torch.set_default_dtype(torch.float64)
            super().__init__(*sizes)

    with pytest.raises(DriftboardError, match="build changes torch's default dtype"):
        build_network(Hand(Careless), SHAPE, UNITS)
    assert torch.get_default_dtype() == torch.float32

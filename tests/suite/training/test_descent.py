"""The optimisers by value: against PyTorch's own, in both modes, with shares and frozen blocks."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Strategy
from driftboard.strategies.constrained import Constrained
from driftboard.suite.checks.tiny import TRAINING, tiny_cohort
from driftboard.suite.protocol import PROTOCOL, AdamTraining
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import describe
from driftboard.suite.training import engine
from driftboard.suite.training.descent import optimiser_of

ADAM = AdamTraining(
    **{name: getattr(TRAINING, name) for name in ("epochs", "batch_size", "minimum_steps")},
    learning_rate=0.01,
    momentum=0.8,
    second_momentum=0.99,
    epsilon=1e-6,
)


def cohort_of(network, seeds, training):
    return replace(tiny_cohort(network, seeds), training=training)


def by_torch(cohort, index, rates):
    """Train one learner on a task with PyTorch's optimiser; ``rates`` are by parameter."""
    training, data = cohort.training, cohort.train[index]
    values = {name: value[0].clone().requires_grad_() for name, value in cohort.initial.items()}
    groups = [{"params": [values[name]], "lr": rates[name]} for name in values]
    if isinstance(training, AdamTraining):
        betas = (training.momentum, training.second_momentum)
        optimiser = torch.optim.Adam(groups, betas=betas, eps=training.epsilon)
    else:
        optimiser = torch.optim.SGD(groups, momentum=training.momentum)
    images = cohort.scaling(data.images[0], cohort.dtype)
    order, size = cohort.batch_orders(index, data.count)[0], training.batch_size
    batches = []
    while len(batches) < training.minimum_steps:
        drawn = order.permutation(data.count)
        batches += [drawn[at : at + size] for at in range(0, data.count - size + 1, size)]
    for rows in batches[: training.minimum_steps]:
        logits = cohort.network.logits(values, images[rows])
        logits = logits.masked_fill(~data.active[0][rows], -1e300)
        optimiser.zero_grad()
        F.cross_entropy(logits, data.labels[0][rows]).backward()
        optimiser.step()
    return {name: value.detach()[None] for name, value in values.items()}


def trained(cohort, strategy, mode, tasks):
    parameters, memory = dict(cohort.initial), {}
    for index in range(tasks):
        end = engine.train_task(cohort, strategy, index, parameters, memory, mode)
        parameters, memory = end.parameters, end.memory
    return parameters


@pytest.mark.parametrize("training", [TRAINING, ADAM], ids=["momentum", "Adam"])
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_two_tasks_end_where_torch_ends(training, network, mode):
    training = replace(training, minimum_steps=7)
    seeds = (3, 4) if mode == "vmap" else (3,)
    found = trained(cohort_of(network, seeds, training), Strategy(), mode, 2)
    rates = dict.fromkeys(found, training.learning_rate)
    for position, seed in enumerate(seeds):
        alone = cohort_of(network, (seed,), training)
        for index in range(2):  # the state starts anew with the task
            alone = replace(alone, initial=by_torch(alone, index, rates))
        own = {name: value[position : position + 1] for name, value in found.items()}
        torch.testing.assert_close(own, alone.initial, rtol=1e-9, atol=1e-11)
    start = tiny_cohort(network, seeds).initial
    assert max(float((found[name] - start[name]).abs().max()) for name in start) > 0.02


def test_a_share_is_a_share_of_adams_step():
    """A tenth of the step in every block, and half of that in the first."""
    cohort = cohort_of("MLP", (3,), ADAM)
    low = cohort.network.blocks[0].parameters
    first = trained(cohort, Strategy(), "loop", 1)
    strategy = Constrained(share=0.1, first_block=0.5)
    second = engine.train_task(cohort, strategy, 1, first, {}, "loop").parameters
    rates = {name: ADAM.learning_rate * (0.05 if name in low else 0.1) for name in first}
    expected = by_torch(replace(cohort, initial=first), 1, rates)
    torch.testing.assert_close(second, expected, rtol=1e-7, atol=1e-9)


def test_adam_does_not_move_what_is_frozen_for_one_learner():
    """The engine gives it no gradient and no share; nor does zero over zero become NaN."""
    start = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    values = {"weight": start.clone()}
    adam = optimiser_of(ADAM, values)
    for _ in range(3):
        gradient = {"weight": torch.tensor([[0.0, 0.0], [5.0, -5.0]])}
        adam.step(gradient, values, {"weight": torch.tensor([[0.0], [0.1]])})
    assert values["weight"][0].equal(start[0])
    torch.testing.assert_close(values["weight"][1] - start[1], torch.tensor([-0.3, 0.3]))


def test_steps_by_adam_can_be_recorded():
    """What it changes, it changes in place: nothing that it holds is replaced."""
    values = {"weight": torch.tensor([[1.0, -2.0]])}
    adam = optimiser_of(ADAM, values)
    held = {name: value for name, value in vars(adam).items() if name != "_training"}
    places = [leaf.data_ptr() for leaf in pytree.tree_leaves(held)]
    before = values["weight"].clone()
    adam.step({"weight": torch.tensor([[3.0, 4.0]])}, values, {"weight": torch.tensor([[0.5]])})
    left = {name: value for name, value in vars(adam).items() if name != "_training"}
    assert [leaf.data_ptr() for leaf in pytree.tree_leaves(left)] == places
    # the first step of Adam goes by the sign of the gradient alone
    torch.testing.assert_close(
        values["weight"], before - torch.tensor([[0.5, 0.5]]), rtol=0, atol=1e-6
    )


def test_settings_of_adam_are_part_of_a_sequences_hash_and_of_no_others():
    name = "cifar10-split-van-de-ven"
    one = registered()[name]
    assert describe(one)["training"]["class"] == "AdamTraining"
    for change in ({"momentum": 0.5}, {"second_momentum": 0.5}, {"epsilon": 0.5}):
        assert replace(one, training=replace(one.training, **change)).hash() != one.hash()
    same = {field: getattr(one.training, field) for field in vars(PROTOCOL.other_training)}
    assert replace(one, training=type(PROTOCOL.other_training)(**same)).hash() != one.hash()


@pytest.mark.parametrize(("name", "batch"), [("mnist", 128), ("cifar10", 256)])
def test_the_registered_setting_is_that_of_van_de_ven(name, batch):
    training = registered()[f"{name}-split-van-de-ven"].training
    assert (training.learning_rate, training.batch_size) == (0.001, batch)
    assert (training.momentum, training.second_momentum, training.epsilon) == (0.9, 0.999, 1e-8)
    images = {"mnist": 12_665, "cifar10": 10_000}[name]  # of the two classes with the most
    assert max(training.epochs * (images // batch), training.minimum_steps) == 2000

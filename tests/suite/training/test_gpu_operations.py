"""The engine on a pretended GPU: nothing mixes devices or is refused, and no step waits."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from driftboard.strategies.base import Examples, Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.gpu import (
    ELSEWHERE,
    REFUSED,
    MixedDevicesError,
    pretended_gpu,
)
from driftboard.suite.checks.tiny import example_task
from driftboard.suite.distance.measurement import measure
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import AdamTraining
from driftboard.suite.runs.cells import Cells
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import Rotated
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sweeps import Sweep
from driftboard.suite.training import cuda_graph, engine
from driftboard.suite.training.cohort import Setting


def names(operations):
    return {operation.name for operation in operations}


@pytest.fixture
def gpu(monkeypatch):
    """Return what pretends a GPU and, filled as it is used, the operations of all steps."""
    every, of_steps = [], []

    @contextmanager
    def pretended():
        with pretended_gpu() as operations:
            every.append(operations)
            yield operations

    def noted(step, orders, runner):
        def noting(order):
            began = len(every[-1]) if every else 0
            step(order)
            of_steps.extend(every[-1][began:] if every else [])

        cuda_graph.run_steps(noting, orders, runner)

    monkeypatch.setattr(engine, "run_steps", noted)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield pretended, of_steps
    torch.set_num_threads(threads)


@pytest.fixture
def compared(gpu, outcome_of):
    """Return what trains here and elsewhere, and finds the same there and no step that waits."""
    pretended, of_steps = gpu

    def compare(cohort, strategy):
        expected = outcome_of(cohort, strategy)
        with pretended() as operations:
            found = outcome_of(cohort.on(ELSEWHERE), strategy)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert of_steps
        assert not [operation for operation in of_steps if operation.synchronizes]
        assert not names(operations) & REFUSED

    return compare


@pytest.mark.parametrize("strategy", BUILTIN.values(), ids=BUILTIN)
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_every_step_of_every_strategy_can_be_recorded(strategy, network, compared, nine_steps):
    compared(nine_steps(network), strategy)


@pytest.mark.parametrize("labels", ["sampled", "empirical"])
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_other_fishers_too(network, labels, compared, nine_steps):
    compared(nine_steps(network), Ewc(labels=labels))


@pytest.mark.parametrize("network", ["resnet9-w8", "resnet18-w8"])
@pytest.mark.parametrize("strategy", [Sgd(), Ewc()], ids=lambda strategy: strategy.name)
def test_networks_of_the_registry_too(network, strategy, compared, nine_steps):
    cohort = nine_steps(network)
    compared(replace(cohort, train=cohort.train[:1], test=cohort.test[:1]), strategy)


def test_adam_too(compared, nine_steps):
    training = AdamTraining(epochs=1, batch_size=8, learning_rate=0.01, minimum_steps=6)
    compared(replace(nine_steps("MLP"), training=training), Sgd())


@dataclass(frozen=True)
class Decaying(Strategy):
    """Has a loss of its own, as strategies of users may."""

    name: ClassVar[str] = "decaying"

    def loss(self, task, examples, parameters, memory):
        squares = sum(value.square().sum() for value in parameters.values())
        return super().loss(task, examples, parameters, memory) + 0.01 * squares


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_a_loss_of_ones_own_does_not_hold_a_step_up(network, compared, nine_steps):
    compared(nine_steps(network), Decaying())


@dataclass(frozen=True)
class Holding(Strategy):
    """Asks for a value on the host, or brings one from there."""

    name: ClassVar[str] = "holding"
    how: str = "asks"

    def correct(self, task, gradient, parameters, memory):
        if self.how == "asks":
            factor = float(next(iter(gradient.values())).abs().max() > 1e9) + 1
        elif self.how == "chooses":
            return {k: torch.where(v > 0, v, torch.tensor(0.0)) for k, v in gradient.items()}
        else:
            factor = torch.tensor([1.0], dtype=torch.float64).to(task.classes.device)
        return {name: value * factor for name, value in gradient.items()}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("asks", "aten::_local_scalar_dense"),
        ("brings", "aten::_to_copy"),
        ("chooses", "aten::where.self"),
    ],
)
def test_a_step_that_is_held_up_is_found(how, expected, gpu, nine_steps):
    pretended, of_steps = gpu
    with pretended():
        engine.run(nine_steps("MLP", (3,)).on(ELSEWHERE), Holding(how=how), "loop")
    assert names(operation for operation in of_steps if operation.synchronizes) == {expected}


@pytest.mark.parametrize("other", [0.0, torch.zeros(())], ids=["a number", "a tensor"])
def test_numbers_that_are_passed_on_with_a_kernel_do_not_hold_it_up(other):
    with pretended_gpu() as operations:
        there = torch.ones(3, device=ELSEWHERE)
        there = there * other + other
        if isinstance(other, float):
            torch.where(there > 0, there, other)
    assert not [operation for operation in operations if operation.synchronizes]


def test_tensors_of_two_devices_are_found():
    with pretended_gpu(), pytest.raises(MixedDevicesError, match="meet in aten::add"):
        torch.ones(3, device=ELSEWHERE) + torch.ones(3)


def small_sequence():
    return TaskSequence(
        name="small",
        description="Digits, turned.",
        source="digits",
        scenario=Rotated(2, 30),
        network="mlp-16x1",
        train_per_class=10,
    )


def test_cells_are_measured_elsewhere_as_here(gpu):
    """From the data set to the records: what is made on the CPU is brought there."""

    def records(device):
        setting = Setting(registered()["digits-split"], (0, 1), "test", None, device)
        found = Cells().measure(setting, load_strategy("ewc"), 2, lambda: None)
        return [(one.correct, one.update_norms) for one in found]

    expected = records("cpu")
    with gpu[0]():
        assert records("meta") == expected
    assert not [operation for operation in gpu[1] if operation.synchronizes]


def test_grades_are_measured_elsewhere_as_here(gpu):
    def products(device):
        sequence = small_sequence()
        setting = Setting(sequence, (0, 1), "test", None, device)
        return [record.seeds for record in measure(setting, parts=2, at_once=4)]

    expected = products("cpu")
    with gpu[0]():
        assert products("meta") == expected


@pytest.mark.parametrize("kind", ["fraction", "ball"])
def test_a_sweep_is_made_elsewhere_as_here(kind, gpu):
    def curves(device):
        setting = Setting(registered()["digits-split"], (0, 1), "test", None, device)
        found = Sweep(kind, (0.0, 0.5, 1.0)).measure(setting, None, 6, lambda: None)
        return [(one.correct, one.update_norms) for one in found]

    expected = curves("cpu")
    with gpu[0]():
        assert curves("meta") == expected
    assert not [operation for operation in gpu[1] if operation.synchronizes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_loss_is_torchs_cross_entropy_to_the_last_bit_of_its_gradient(dtype, mapped):
    task = example_task()
    parameters = {name: value.to(dtype) for name, value in task.initial.items()}
    images = task.examples.images.to(dtype)
    examples = Examples(images, task.examples.labels, task.examples.allowed)

    def theirs(parameters, examples):
        logits = task.logits(parameters, examples)
        return torch.nn.functional.cross_entropy(logits, examples.labels)

    def both(loss):
        def value_and_gradient(images):
            return torch.func.grad_and_value(loss)(
                parameters, Examples(images, examples.labels, examples.allowed)
            )

        return (
            torch.func.vmap(value_and_gradient)(images[None])
            if mapped
            else value_and_gradient(images)
        )

    (ours, value), (gradient, expected) = both(task.loss), both(theirs)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours, gradient, rtol=0, atol=0)

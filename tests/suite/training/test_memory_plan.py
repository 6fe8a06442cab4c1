"""The memory plan by value: closed forms, and beside what torch's allocator really hands out."""

import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from driftboard.strategies.base import Scaling
from driftboard.strategies.bounds import Joint
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.fisher import SAMPLES_AT_ONCE
from driftboard.strategies.hybrid_scalar import HybridScalar
from driftboard.strategies.sgd import Sgd
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.sequences.registry import registered
from driftboard.suite.training import engine, memory_plan
from driftboard.suite.training.cohort import TaskData
from driftboard.suite.training.memory_plan import (
    Demand,
    Stacking,
    cohort_bytes,
    demand_of,
    in_groups,
    stacking_of,
)
from driftboard.suite.training.networks import build_network, initial_parameters

CUDA = torch.device("cuda")
CPU = torch.device("cpu")
TASKS = 2
COUNT = 600


def test_demand_of_an_mlp_in_closed_form():
    network = build_network("mlp-20x2", (3, 4, 5), 7)
    demand = demand_of(network, (3, 4, 5), (100, 200), (10, 30), Training(3, 25, 0.1))
    assert demand == Demand(
        parameters=60 * 20 + 20 + 20 * 20 + 20 + 20 * 7 + 7,
        activations=2 * (20 + 20) + 7,  # two layers before and after the ReLU; to flatten is free
        widest=20,
        linear=True,
        pixels=60,
        units=7,
        trained=(100, 200),
        tested=(10, 30),
        batch=25,
        epochs=3,
    )
    assert demand.of_data == 340 * (60 + 8 + 7)
    assert demand.of_a_task == 300 * (60 + 4 * 60 + 8 + 7 + 4 + 2 * 3 * 8)
    assert demand.of_parameters == 12 * 4 * demand.parameters
    assert demand.at_work == 4 * 300 * (60 + 2 * 87)
    assert demand.of_outputs == 40 * 2 * 4 * 7
    kept = (demand.of_data, demand.of_outputs, demand.of_parameters)
    assert demand.total == sum(kept) + demand.of_a_task + demand.at_work


def test_large_batches_and_tests_count_where_they_are_the_most():
    network = build_network("mlp-20x2", (3, 4, 5), 7)
    demand = demand_of(network, (3, 4, 5), (2000,), (10,), Training(1, 900, 0.1))
    assert demand.at_work == 4 * 900 * (60 + 2 * 87)
    demand = demand_of(network, (3, 4, 5), (8,), (1000,), Training(1, 8, 0.1))
    assert demand.at_work == 4 * 250 * (60 + 2 * 20)


def test_demand_of_convolutions_counts_every_layer_and_gradients_of_examples():
    network = build_network("resnet9-w2", (1, 16, 16), 3)
    demand = demand_of(network, (1, 16, 16), (8,), (8,), Training(1, 4, 0.1))
    # convolution, norm, activation, ...: every one at least two channels of 16 x 16
    assert demand.activations > 3 * 2 * 16 * 16
    assert not demand.linear
    assert demand.widest == 2 * 16 * 16
    of_each = 256 + 2 * demand.activations
    assert demand.at_work == 4 * 8 * (3 * demand.parameters + of_each)


def test_counting_does_not_wait_for_a_compiler():
    program = """
import sys
from driftboard.suite.protocol import Training
from driftboard.suite.training.memory_plan import demand_of
from driftboard.suite.training.networks import build_network

demand_of(build_network("mlp-4x1", (1, 4, 4), 3), (1, 4, 4), (8,), (8,), Training(1, 4, 0.1))
print("torch._dynamo" in sys.modules)
"""
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True).split() == ["False"]


def test_counting_leaves_no_hook_and_no_change_behind():
    network = build_network("mlp-4x1", (1, 2, 2), 3)
    before = {name: value.clone() for name, value in network.module.named_parameters()}
    demand_of(network, (1, 2, 2), (8,), (8,), Training(1, 4, 0.1))
    assert not any(layer._forward_hooks for layer in network.module.modules())
    for name, value in network.module.named_parameters():
        assert torch.equal(before[name], value)


# Against what is really handed out.


def cohort(name, shape, seeds, count, training):
    learners = [initial_parameters(name, shape, 5, seed) for seed in range(seeds)]
    random = np.random.default_rng(3)

    def data(size):
        return TaskData(
            torch.from_numpy(random.integers(0, 256, (seeds, size, *shape), dtype=np.uint8)),
            torch.from_numpy(random.integers(0, 5, (seeds, size))),
            torch.ones(seeds, size, 5, dtype=torch.bool),
        )

    train, test = [data(count) for _ in range(TASKS)], [data(300) for _ in range(TASKS)]
    half = torch.full((1, 1, 1), 0.5)
    return engine.Cohort(
        network=learners[0][0],
        initial={k: torch.stack([values[k] for _, values in learners]) for k in learners[0][1]},
        train=train,
        test=test,
        classes=[one.active[:, 0] for one in train],
        scaling=Scaling(half, half),
        training=training,
        batch_orders=lambda task, size: [np.random.default_rng([s, task]) for s in range(seeds)],
        strategy_noise=lambda task: [np.random.default_rng([s, task]) for s in range(seeds)],
    )


def peak_of(function):
    """Return the most bytes that torch's CPU allocator had handed out at one time meanwhile."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        function()
    now = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def test_the_measure_sees_the_peak_and_not_the_sum():
    def work():
        for _ in range(3):
            one = torch.ones(1000, 1000)
            two = one + 1
            del one, two

    assert peak_of(work) == pytest.approx(8e6, rel=0.01)


def share_measured(name, shape, seeds, mode, strategy, count=COUNT):
    """Return the peak of a run as a share of the estimate."""
    training = Training(epochs=1, batch_size=50, learning_rate=0.01, minimum_steps=1)
    made = []

    def work():
        made.append(cohort(name, shape, seeds, count, training))
        engine.run(made[0], strategy, mode)

    peak = peak_of(work)
    counts = (count,) * TASKS, (300,) * TASKS
    demand = demand_of(made[0].network, shape, *counts, Training(1, 50, 0.1))
    # NumPy's images are not torch's, so what is measured lacks them
    kept = sum(data.images.nbytes for data in (*made[0].train, *made[0].test))
    return (peak + kept) / (seeds * demand.total)


@pytest.mark.parametrize("strategy", [Sgd(), Ewc(), HybridScalar(), Joint()], ids=lambda s: s.name)
@pytest.mark.parametrize("name", ["mlp-256x2", "mlp-16x1"])
def test_an_mlp_needs_between_a_third_and_all_of_the_estimate(name, strategy):
    assert 1 / 3 <= share_measured(name, (1, 28, 28), 3, "vmap", strategy) <= 1


def test_convolutions_need_between_a_third_and_all_where_all_images_pass_at_once():
    assert 1 / 3 <= share_measured("resnet9-w4", (3, 8, 8), 1, "loop", HybridScalar()) <= 1


@pytest.fixture
def one_thread():
    """Compute as workers do: some kernels need memory for every thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_gradients_of_single_examples_need_between_a_third_and_all_of_the_estimate():
    count = 2 * SAMPLES_AT_ONCE
    share = share_measured("resnet9-w16", (3, 8, 8), 1, "loop", Ewc(), count)
    assert 1 / 3 <= share <= 1


# What there is, and how many fit.


def test_a_cohort_takes_no_more_than_a_fixed_limit(monkeypatch):
    monkeypatch.setattr(memory_plan, "COHORT_BYTES", {"cpu": 30, "cuda": 70})
    assert cohort_bytes("cpu") == 30
    assert cohort_bytes("cuda") == 70


def test_a_small_machine_gives_its_processes_equal_parts_of_what_it_has(monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}
    monkeypatch.setattr(memory_plan.os, "sysconf", pages.__getitem__)
    monkeypatch.setattr(memory_plan, "worker_count", lambda device, wanted: 2)
    assert cohort_bytes("cpu") == pytest.approx(0.7 * 4_096_000_000 / 2)


def test_a_small_gpu_gives_of_all_that_it_has(monkeypatch):
    properties = namedtuple("Properties", "total_memory")(8_000_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert cohort_bytes("cuda") == pytest.approx(7_200_000_000)


@pytest.mark.parametrize(
    ("at_once", "groups"),
    [
        (9, [(3, 4, 5, 6, 7)]),
        (5, [(3, 4, 5, 6, 7)]),
        (4, [(3, 4, 5, 6), (7,)]),
        (2, [(3, 4), (5, 6), (7,)]),
        (1, [(3,), (4,), (5,), (6,), (7,)]),
    ],
)
def test_groups_are_as_few_as_there_can_be(at_once, groups):
    assert in_groups((3, 4, 5, 6, 7), at_once) == groups


@pytest.mark.parametrize("tested", [(10, 30), ()])
def test_as_many_learners_are_stacked_as_fit(tested, monkeypatch):
    training = Training(epochs=3, batch_size=25, learning_rate=0.1, minimum_steps=1)
    network = build_network("mlp-20x2", (3, 4, 5), 7)
    demand = demand_of(network, (3, 4, 5), (100, 200), tested, Training(3, 25, 0.1))
    for room, fit in ((3 * demand.total, 3), (3 * demand.total - 1, 2), (1, 1)):
        monkeypatch.setitem(memory_plan.COHORT_BYTES, "cpu", room)
        found = stacking_of(network, (3, 4, 5), (100, 200), tested, training, "cpu")
        assert found == Stacking("vmap", fit)
        assert found.at_once == fit


def test_the_loop_mode_has_one_learner_however_many_fit():
    training = Training(epochs=3, batch_size=25, learning_rate=0.1, minimum_steps=1)
    network = build_network("resnet9-w2", (3, 8, 8), 7)
    found = stacking_of(network, (3, 8, 8), (100,), (10,), training, "cpu")
    assert (found.mode, found.at_once) == ("loop", 1)
    assert found.fit > 1
    assert found.note("name", 10**6, "seeds") is None


def core():
    return [one for one in registered().values() if one.tier == "core"]


@pytest.mark.parametrize("sequence", core(), ids=lambda one: one.name)
def test_ten_seeds_of_the_core_suite_need_less_than_half_of_what_a_gpu_is_planned_for(sequence):
    """As the cluster's README says; ten classes, and every task's images anew at the most."""
    shape, classes = ((3, 32, 32) if sequence.source == "cifar10" else (1, 28, 28)), 10
    tasks = sequence.scenario.tasks
    trained = sequence.train_per_class * sequence.scenario.fresh_sets * classes // tasks
    training = sequence.training_under(PROTOCOL)
    demand = demand_of(
        build_network(sequence.network, shape, classes),
        shape,
        [trained] * tasks,
        [10_000] * tasks,
        training,
    )
    assert 2 * 10 * demand.total < memory_plan.COHORT_BYTES["cuda"]


def test_a_line_says_what_does_not_fit():
    stacking = Stacking("vmap", 4)
    assert stacking.note("name", 4, "seeds") is None
    line = "name: 5 seeds do not fit into memory at once, trained 4 at a time"
    assert stacking.note("name", 5, "seeds") == line

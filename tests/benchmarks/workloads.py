"""What is trained for the speed tables: networks on images drawn at random, and one way to time it.

The shapes, batches and settings are those of the protocol; the pixels are random bytes, so that a
table can be made anywhere. What a pixel's value is does not change how long a step takes.
"""

import functools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from plain_loop import descend, initial_module, solo_tasks
from torch import Tensor

from driftboard.strategies.base import Scaling, Strategy
from driftboard.strategies.sgd import Sgd
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.training import engine
from driftboard.suite.training.cohort import Cohort, TaskData
from driftboard.suite.training.cuda_graph import GraphRunner, StepFunction, graph_runner_on
from driftboard.suite.training.networks import Mode, initial_parameters

Kind = Literal["plain loop", "solo", "stacked"]

SEED = 20260220


@dataclass(frozen=True)
class Workload:
    """A network, its images and how it trains; every task has as many classes."""

    title: str
    network: str
    shape: tuple[int, int, int]
    units: int
    images: int  # of a task; a multiple of the batch
    training: Training
    tasks: int = 1
    tested: int = 10  # images of a task

    @property
    def steps(self) -> int:
        """Steps of one seed."""
        per_task = self.training.epochs * self.images // self.training.batch_size
        return self.tasks * per_task

    @property
    def trained(self) -> int:
        """Images that one seed trains on, repetitions counted."""
        return self.steps * self.training.batch_size


def workload(
    title: str, network: str, shape: tuple[int, int, int], batches: int, epochs: int
) -> Workload:
    """Return one task of ten classes under the protocol's settings, with so many full batches."""
    training = replace(PROTOCOL.training_of(network), epochs=epochs, minimum_steps=1)
    return Workload(title, network, shape, 10, batches * training.batch_size, training)


@functools.lru_cache(maxsize=16)  # the cases of one network come in turn
def cohort_of(work: Workload, seeds: int, device: str) -> Cohort:
    """Return a cohort of so many seeds on random images."""
    learners = [
        initial_parameters(work.network, work.shape, work.units, seed) for seed in range(seeds)
    ]
    names = learners[0][1]
    target = torch.device(device)
    train = [_data(work, seeds, task, work.images, target) for task in range(work.tasks)]
    half = torch.full((1, 1, 1), 0.5, device=target)
    return Cohort(
        network=learners[0][0],
        initial={
            name: torch.stack([values[name] for _, values in learners]).to(target) for name in names
        },
        train=train,
        test=[_data(work, seeds, -1 - task, work.tested, target) for task in range(work.tasks)],
        classes=[data.active[:, 0] for data in train],
        scaling=Scaling(half, half),
        training=work.training,
        batch_orders=lambda task, count: [
            np.random.default_rng([SEED, task, seed]) for seed in range(seeds)
        ],
        strategy_noise=lambda task: [
            np.random.default_rng([SEED, task, seed, 1]) for seed in range(seeds)
        ],
    )


def _data(work: Workload, seeds: int, task: int, count: int, device: torch.device) -> TaskData:
    """Return random images with random labels; a seed has the same whatever the others are."""
    images, labels = [], []
    for seed in range(seeds):
        random = np.random.default_rng([SEED, task % 2**32, count, seed])
        images.append(random.integers(0, 256, (count, *work.shape), dtype=np.uint8))
        labels.append(random.integers(0, work.units, count))
    return TaskData(
        torch.from_numpy(np.stack(images)).to(device),
        torch.from_numpy(np.stack(labels)).to(device),
        torch.ones(seeds, count, work.units, dtype=torch.bool, device=device),
    )


@dataclass(frozen=True)
class Case:
    """One way to train a workload: what the table has a row for."""

    work: Workload
    kind: Kind
    seeds: int
    device: str
    processes: int = 1
    recorded: bool = True
    """On a GPU: the step is recorded and replayed; else it is taken as it is written."""

    keeps: bool = True
    """On a CPU: what is freed is kept, as in a worker; else given back, as in any process."""

    at_least: float = 0.0
    """Seconds: what is shorter is done several times over."""

    @property
    def usual(self) -> bool:
        """Whether it is done as a run does it."""
        return self.recorded and self.keeps

    @property
    def how(self) -> str:
        """What a table calls it."""
        if not self.recorded:
            return f"{self.kind}, as written"
        return self.kind if self.keeps else f"{self.kind}, memory given back"

    @property
    def trained(self) -> int:
        """Images that all seeds of all processes train on."""
        return self.processes * self.seeds * self.work.trained


def measure(case: Case) -> float:
    """Return the seconds that one process of a case takes to train once.

    Making tensors and tests of the network are not timed; Driftboard turns bytes into floats
    within its time, the plain loop has them.
    """
    seconds = [trained(case)[0]]
    while sum(seconds) < case.at_least:
        seconds.append(trained(case)[0])
    return sum(seconds) / len(seconds)


def trained(case: Case) -> tuple[float, dict[str, Tensor]]:
    """Return the seconds of training and the weights at the end, (S, ...)."""
    cohort = cohort_of(case.work, case.seeds, case.device)
    if case.kind == "plain loop":
        tasks, module = solo_tasks(cohort), initial_module(cohort)
        _wait(case.device)
        began = time.perf_counter()
        descend(cohort, tasks, module)
        _wait(case.device)
        seconds = time.perf_counter() - began
        return seconds, {name: value.detach()[None] for name, value in module.named_parameters()}
    parameters, memory = dict(cohort.initial), {}
    runner = _runner_of(case)
    mode: Mode = "vmap" if case.kind == "stacked" else "loop"
    _wait(case.device)
    began = time.perf_counter()
    for task in range(case.work.tasks):
        end = engine.train_task(cohort, Sgd(), task, parameters, memory, mode, runner)
        parameters, memory = end.parameters, end.memory
    _wait(case.device)
    return time.perf_counter() - began, parameters


def _runner_of(case: Case) -> GraphRunner | None:
    """Return how a case records its steps; one that cannot be recorded ends the measurement."""
    runner = graph_runner_on(torch.device(case.device)) if case.recorded else None
    if runner is None:
        return None
    failed = f"error: a step of {case.work.network} cannot be recorded"

    def record(step: StepFunction, place: Tensor) -> Callable[[], None]:
        try:
            return runner.record(step, place)
        except RuntimeError as error:
            sys.exit(f"{failed}: {error}")

    def synchronizes(step: StepFunction, order: Tensor) -> bool:
        if runner.synchronizes(step, order):
            sys.exit(f"{failed}: the host waits for the GPU in it")
        return False

    return GraphRunner(record, synchronizes)


def whole_run(work: Workload, seeds: int, device: str, strategy: Strategy) -> tuple[float, float]:
    """Return the seconds of training and of testing a whole sequence, stacked, tests included."""
    outcome = engine.run(cohort_of(work, seeds, device), strategy, "vmap")
    return sum(outcome.seconds), outcome.evaluation_seconds


def _wait(device: str) -> None:
    """Wait until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()

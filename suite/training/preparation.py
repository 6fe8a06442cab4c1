"""Preparation: everything of a cohort that is the same for all strategies."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from driftboard.strategies.base import Parameters
from driftboard.suite.data import Pool, load_pool
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.sequences.splits import Purpose, cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.engine import Cohort
from driftboard.suite.training.networks import ModuleNetwork, initial_parameters
from driftboard.suite.training.task_data import TaskData, build_task, scaling_of


@dataclass(frozen=True)
class Setting:
    """What decides a cohort's data: hashable, so that a process prepares each only once."""

    sequence: TaskSequence
    seeds: tuple[int, ...]
    purpose: Purpose
    data: Path | None
    device: str


@dataclass(frozen=True)
class Prepared:
    """A cohort without a strategy, and what records say of its data."""

    cohort: Cohort
    data_title: str
    data_hash: str

    def for_strategy(self, setting: Setting, name: str) -> Cohort:
        """Return the cohort with random numbers of the strategy's own."""
        return replace(
            self.cohort,
            strategy_noise=lambda task: streams(setting, "strategy", name, task),
        )


@functools.lru_cache(maxsize=1)  # jobs come sequence by sequence, so one is enough
def prepare(setting: Setting) -> Prepared:
    """Load, split and transform the data of a cohort, and initialise its networks.

    Raises:
        DataError: the data set is missing, incomplete or too small.
    """
    pool = load_pool(setting.sequence.source, setting.data)
    device = torch.device(setting.device)
    recipes = cached_splits(setting.sequence, pool, PROTOCOL, setting.seeds, setting.purpose)
    units = len(recipes[0][0].active)
    networks = [initial_network(setting, pool, units, seed) for seed in setting.seeds]
    train, test = _task_data(setting, pool, recipes, device)
    cohort = Cohort(
        network=networks[0][0],
        initial={
            name: torch.stack([values[name] for _, values in networks]).to(device)
            for name in networks[0][1]
        },
        train=train,
        test=test,
        classes=[
            torch.from_numpy(np.stack([row[task].active for row in recipes])).to(device)
            for task in range(setting.sequence.scenario.tasks)
        ],
        scaling=scaling_of(pool, device),
        training=setting.sequence.training_under(PROTOCOL),
        batch_orders=lambda task, count: streams(setting, "batch order", task, count),
        strategy_noise=lambda task: streams(setting, "strategy", task),
    )
    return Prepared(cohort, pool.title, pool.fingerprint)


def initial_network(
    setting: Setting, pool: Pool, units: int, seed: int
) -> tuple[ModuleNetwork, Parameters]:
    """Return the network and the initial parameters of one seed, on the CPU."""
    random = stream(*names_of(setting, seed), "initial weights")
    shape = pool.train_images.shape[1:]
    return initial_parameters(setting.sequence.network, shape, units, int(random.integers(2**63)))


def _task_data(
    setting: Setting, pool: Pool, recipes: list[list[Recipe]], device: torch.device
) -> tuple[list[TaskData], list[TaskData]]:
    """Return the training and the testing data of every task."""
    train_pool = (pool.train_images, pool.train_labels)
    test_pool = (pool.test_images, pool.test_labels)
    parts = {"train": train_pool, "test": test_pool if setting.purpose == "test" else train_pool}
    built: dict[str, list[TaskData]] = {"train": [], "test": []}
    for part, (images, labels) in parts.items():
        # The same image has the same noise in training and in validation, so the name of its
        # stream is that of the pool it comes from.
        pool_name = "train" if labels is pool.train_labels else "test"
        for task in range(setting.sequence.scenario.tasks):
            row = [one_seed[task] for one_seed in recipes]
            positions = [getattr(recipe, part) for recipe in row]
            names = [(*names_of(setting, seed), "image noise", pool_name) for seed in setting.seeds]
            built[part].append(build_task(images, labels, row, positions, names, device))
    return built["train"], built["test"]


def names_of(setting: Setting, seed: int) -> tuple[str | int, ...]:
    """Return the names that all random streams of one seed begin with."""
    return (PROTOCOL.name, PROTOCOL.version, setting.sequence.name, seed)


def streams(setting: Setting, *names: str | int) -> list[np.random.Generator]:
    """Return the stream of a purpose, one per seed."""
    return [stream(*names_of(setting, seed), *names) for seed in setting.seeds]

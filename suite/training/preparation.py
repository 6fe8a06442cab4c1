"""Preparation: everything of a cohort that is the same for all strategies."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from driftboard.strategies.base import Parameters
from driftboard.suite.data import Pool, load_pool
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Indices, Recipe
from driftboard.suite.sequences.splits import Purpose, cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.engine import Cohort
from driftboard.suite.training.networks import ModuleNetwork, initial_parameters
from driftboard.suite.training.task_data import TaskData, build_task, scaling_of


@dataclass(frozen=True)
class Setting:
    """What decides a cohort's data: hashable, so that a process prepares each only once."""

    sequence: TaskSequence
    seeds: tuple[int, ...]  # one for every learner
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
    recipes = cached_splits(setting.sequence, pool, PROTOCOL, setting.seeds, setting.purpose)
    return Prepared(build_cohort(setting, pool, recipes), pool.title, pool.fingerprint)


def build_cohort(
    setting: Setting, pool: Pool, recipes: Sequence[Sequence[Recipe]], *, tested: bool = True
) -> Cohort:
    """Return learners without a strategy, one for every entry of the setting's seeds.

    Args:
        setting: several learners may have the same seed, and so the same initial weights.
        pool: the images that the recipes point into.
        recipes: one list per learner, of one recipe per task.
        tested: whether there are to be test data.
    """
    device = torch.device(setting.device)
    units = len(recipes[0][0].active)
    networks = {
        seed: initial_network(setting, pool, units, seed) for seed in dict.fromkeys(setting.seeds)
    }
    network, names = networks[setting.seeds[0]]
    train = (pool.train_images, pool.train_labels)
    test = (pool.test_images, pool.test_labels) if setting.purpose == "test" else train
    return Cohort(
        network=network,
        initial={
            name: torch.stack([networks[seed][1][name] for seed in setting.seeds]).to(device)
            for name in names
        },
        train=_task_data(setting, "train", *train, recipes, device),
        test=_task_data(setting, "test", *test, recipes, device) if tested else [],
        classes=[
            torch.from_numpy(np.stack([recipe.active for recipe in row])).to(device)
            for row in zip(*recipes, strict=True)
        ],
        scaling=scaling_of(pool, device),
        training=setting.sequence.training_under(PROTOCOL),
        batch_orders=lambda task, count: streams(setting, "batch order", task, count),
        strategy_noise=lambda task: streams(setting, "strategy", task),
    )


def initial_network(
    setting: Setting, pool: Pool, units: int, seed: int
) -> tuple[ModuleNetwork, Parameters]:
    """Return the network and the initial parameters of one seed, on the CPU."""
    random = stream(*names_of(setting, seed), "initial weights")
    shape = pool.train_images.shape[1:]
    return initial_parameters(setting.sequence.network, shape, units, int(random.integers(2**63)))


def _task_data(
    setting: Setting,
    part: Literal["train", "test"],
    images: NDArray[np.uint8],
    labels: Indices,
    recipes: Sequence[Sequence[Recipe]],
    device: torch.device,
) -> list[TaskData]:
    """Return the data of every task that are trained on, or those that are tested on."""
    # The same image has the same noise in training and in validation, so the name of its
    # stream is that of the pool it comes from.
    pool = part if setting.purpose == "test" else "train"
    names = [(*names_of(setting, seed), "image noise", pool) for seed in setting.seeds]
    return [
        build_task(images, labels, row, [getattr(recipe, part) for recipe in row], names, device)
        for row in zip(*recipes, strict=True)
    ]


def names_of(setting: Setting, seed: int) -> tuple[str | int, ...]:
    """Return the names that all random streams of one seed begin with."""
    return (PROTOCOL.name, PROTOCOL.version, setting.sequence.name, seed)


def streams(setting: Setting, *names: str | int) -> list[np.random.Generator]:
    """Return the stream of a purpose, one per seed."""
    return [stream(*names_of(setting, seed), *names) for seed in setting.seeds]

"""A cohort: the learners that train together, their images and networks, from a data set.

What is made here is the same for all strategies. The images of a task are stacked tensors with a
leading dimension S, one entry for every learner.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from driftboard.strategies.base import Parameters, Scaling
from driftboard.suite.data import Pool, load_pool
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.records import SequenceStamp
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Indices, Recipe
from driftboard.suite.sequences.splits import Purpose, cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sequences.transformed import Transformations, transformations_of
from driftboard.suite.training.networks import ModuleNetwork, initial_parameters
from driftboard.suite.training.networks.weights import State, read_weights
from driftboard.suite.training.transformations import transformed


@dataclass(frozen=True)
class TaskData:
    """Images and labels of one task for S seeds; images stay bytes until a pass uses them."""

    images: Tensor  # uint8, (S, n, channels, height, width)
    labels: Tensor  # int64, (S, n); -1 for the padding of a seed with fewer images than another
    active: Tensor  # bool, (S, n, head units): the units that belong to the image's task

    @property
    def count(self) -> int:
        """The number of images of a seed."""
        return self.labels.shape[1]

    def changed(self, change: Callable[[Tensor], Tensor]) -> "TaskData":
        """Return the same with every tensor changed by a function."""
        return TaskData(change(self.images), change(self.labels), change(self.active))


@dataclass(frozen=True)
class Cohort:
    """Everything that is needed to train S seeds; the same for every strategy."""

    network: ModuleNetwork
    initial: Parameters  # (S, ...)
    train: Sequence[TaskData]
    test: Sequence[TaskData]
    classes: Sequence[Tensor]  # per task bool, (S, head units): the units that belong to it
    scaling: Scaling
    training: Training
    batch_orders: Callable[[int, int], Sequence[np.random.Generator]]
    """(task, number of images) -> one generator per seed, which draws the order of the images."""

    strategy_noise: Callable[[int], Sequence[np.random.Generator]]
    """(task) -> one generator per seed, which draws ``Task.noise``."""

    class_incremental: bool = False
    """Whether an answer is chosen from the units of all tasks so far, not of the image's task."""

    @property
    def size(self) -> int:
        """The number of seeds."""
        return self.train[0].labels.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.train[0].images.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(iter(self.initial.values())).dtype

    @property
    def tells_task(self) -> bool:
        """Whether a test tells of which task an image is: only where their units differ anyway."""
        first, *others = self.classes
        return not self.class_incremental and any(not torch.equal(first, one) for one in others)

    def seen(self, tasks: int) -> Tensor:
        """Return the units that belong to any of the first ``tasks`` tasks, bool, (S, units)."""
        none = torch.zeros_like(self.classes[0])
        return torch.stack([none, *self.classes[:tasks]]).any(dim=0)

    def allowed(self, data: TaskData, tasks: int) -> Tensor:
        """Return the units that an answer on every image is chosen from, bool, (S, n, units).

        Args:
            data: the images.
            tasks: how many tasks the learners have seen, with that in training. With 0 a
                class-incremental sequence allows none.
        """
        if self.class_incremental:
            return self.seen(tasks)[:, None].expand_as(data.active)
        return data.active

    def on(self, device: torch.device) -> "Cohort":
        """Return the same learners with all tensors on a device."""
        moved = self._changed(lambda value: value.to(device))
        return replace(moved, scaling=self.scaling.on(device), network=self.network.on(device))

    def chosen(self, positions: Sequence[int]) -> "Cohort":
        """Return the learners at some positions, which may be named several times."""
        index = torch.tensor(positions, device=self.device)
        return replace(
            self._changed(lambda value: value[index]),
            # A generator per learner, so that learners of one seed draw the same numbers.
            batch_orders=lambda *task: [self.batch_orders(*task)[one] for one in positions],
            strategy_noise=lambda task: [self.strategy_noise(task)[one] for one in positions],
        )

    def _changed(self, change: Callable[[Tensor], Tensor]) -> "Cohort":
        return replace(
            self,
            initial={name: change(value) for name, value in self.initial.items()},
            train=[task.changed(change) for task in self.train],
            test=[task.changed(change) for task in self.test],
            classes=[change(value) for value in self.classes],
        )


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
    """A cohort without a strategy, and what records say of its sequence and data."""

    cohort: Cohort
    stamp: SequenceStamp

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
    cohort = build_cohort(setting, pool, recipes)
    blocks = cohort.network.blocks
    return Prepared(cohort, setting.sequence.stamp(pool.title, pool.fingerprint, blocks))


def build_cohort(
    setting: Setting, pool: Pool, recipes: Sequence[Sequence[Recipe]], *, tested: bool = True
) -> Cohort:
    """Return learners without a strategy, one for every entry of the setting's seeds.

    Args:
        setting: several learners may have the same seed, and so the same initial weights.
        pool: the images that the recipes point into.
        recipes: one list per learner, of one recipe per task.
        tested: whether there are to be test data.

    Raises:
        ValueError: learners have unequal numbers of training images, and would be trained on the
            padding.
    """
    if any(len({len(recipe.train) for recipe in row}) > 1 for row in zip(*recipes, strict=True)):
        raise ValueError("learners that are trained together need equally many training images")
    device = torch.device(setting.device)
    units = len(recipes[0][0].active)
    pretrained = pretrained_of(setting.sequence, setting.data)
    networks = {
        seed: initial_network(setting, pool, units, seed, pretrained)
        for seed in dict.fromkeys(setting.seeds)
    }
    network, names = networks[setting.seeds[0]]
    train = (pool.train_images, pool.train_labels)
    test = (pool.test_images, pool.test_labels) if setting.purpose == "test" else train
    return Cohort(
        network=network.on(device),
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
        scaling=scaling_of(pool, device) if network.scaling is None else network.scaling.on(device),
        training=setting.sequence.training_under(PROTOCOL),
        batch_orders=lambda task, count: streams(setting, "batch order", task, count),
        strategy_noise=lambda task: streams(setting, "strategy", task),
        class_incremental=setting.sequence.class_incremental,
    )


def pretrained_of(sequence: TaskSequence, data: Path | None) -> State | None:
    """Return the pretrained weights that a sequence names, None if it names none.

    Raises:
        DataError: their file is missing, or not what the sequence says.
    """
    return None if sequence.weights is None else read_weights(sequence.weights, data)


def initial_network(
    setting: Setting, pool: Pool, units: int, seed: int, pretrained: State | None
) -> tuple[ModuleNetwork, Parameters]:
    """Return the network and the initial parameters of one seed, on the CPU."""
    random = stream(*names_of(setting, seed), "initial weights")
    shape = pool.train_images.shape[1:]
    number = int(random.integers(2**63))
    return initial_parameters(setting.sequence.network, shape, units, number, pretrained)


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
    own = transformations_of(setting.sequence.scenario)
    return [
        build_task(
            images, labels, row, [getattr(recipe, part) for recipe in row], names, device, own
        )
        for row in zip(*recipes, strict=True)
    ]


def names_of(setting: Setting, seed: int) -> tuple[str | int, ...]:
    """Return the names that all random streams of one seed begin with."""
    return (PROTOCOL.name, PROTOCOL.version, setting.sequence.name, seed)


def streams(setting: Setting, *names: str | int) -> list[np.random.Generator]:
    """Return the stream of a purpose, one per seed."""
    return [stream(*names_of(setting, seed), *names) for seed in setting.seeds]


def scaling_of(pool: Pool, device: torch.device) -> Scaling:
    """Return the scaling that gives a pool's training images mean 0 and variance 1."""
    images = pool.train_images
    count = images.size // images.shape[1]
    # Sums of squares of bytes are exact in 64 bits, whatever the order of summation.
    total = images.sum(axis=(0, 2, 3), dtype=np.uint64).astype(np.float64)
    squares = sum(
        (part.astype(np.uint32) ** 2).sum(axis=(0, 2, 3), dtype=np.uint64)
        for part in np.array_split(images, max(1, len(images) // 4096))
    )
    mean = total / count
    std = np.sqrt(np.maximum(np.asarray(squares, dtype=np.float64) / count - mean**2, 1.0))
    shape = (-1, 1, 1)
    return Scaling(
        torch.tensor(mean / 255.0, dtype=torch.float32, device=device).reshape(shape),
        torch.tensor(std / 255.0, dtype=torch.float32, device=device).reshape(shape),
    )


def build_task(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    labels: Indices,
    recipes: Sequence[Recipe],
    positions: Sequence[Indices],
    noise_names: Sequence[tuple[str | int, ...]],
    device: torch.device,
    transformations: Transformations = (),
) -> TaskData:
    """Stack one task of several seeds.

    Args:
        images: (N, channels, height, width), the pool that ``positions`` point into.
        labels: (N,), the classes of the data set.
        recipes: one per seed.
        positions: one array of rows of ``images`` per seed; shorter ones are padded.
        noise_names: the name of the random stream of each seed's image noise.
        device: where the tensors go.
        transformations: what the recipes' ``transformation`` counts.
    """
    longest = max(len(rows) for rows in positions)
    all_images, all_labels, all_active = [], [], []
    for recipe, rows, names in zip(recipes, positions, noise_names, strict=True):
        padding = longest - len(rows)
        chosen = torch.from_numpy(images[rows])
        chosen = transformed(chosen, rows, recipe, names, transformations)
        units = torch.from_numpy(recipe.units[labels[rows]])
        all_images.append(F.pad(chosen, (0, 0) * 3 + (0, padding)))
        all_labels.append(F.pad(units, (0, padding), value=-1))
        all_active.append(torch.from_numpy(recipe.active).expand(longest, -1))
    return TaskData(
        torch.stack(all_images).to(device),
        torch.stack(all_labels).to(device),
        torch.stack(all_active).to(device),
    )


def joined(tasks: Sequence[TaskData]) -> TaskData:
    """Return the images of several tasks as one; each keeps the units of its task."""
    return TaskData(
        torch.cat([task.images for task in tasks], dim=1),
        torch.cat([task.labels for task in tasks], dim=1),
        torch.cat([task.active for task in tasks], dim=1),
    )

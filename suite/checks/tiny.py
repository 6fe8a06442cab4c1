"""The tiny sequence that strategies are tried on: three tasks of made-up images, in float64.

There are two networks, so that both kinds of blocks occur: an MLP, and convolutions with group
norms. A learner's classes, images and initial weights follow from its seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from driftboard.strategies.base import (
    Block,
    Examples,
    Parameters,
    Scaling,
    Step,
    Task,
)
from driftboard.suite.protocol import Training
from driftboard.suite.rng import stream
from driftboard.suite.training.cohort import Cohort, TaskData
from driftboard.suite.training.networks import ModuleNetwork, build_network

SHAPE = (1, 5, 5)
UNITS = 6
TASKS = 3
IMAGES = 24  # of a task
TRAINING = Training(epochs=1, batch_size=8, learning_rate=0.05, minimum_steps=4)
LONG = 120
"""Steps of the longest task of the quick suite, within which a strategy may change what it does."""


def _mlp() -> ModuleNetwork:
    return build_network("mlp-6x2", SHAPE, UNITS)


def _convolutions() -> ModuleNetwork:
    def block(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1, bias=False), nn.GroupNorm(2, 4), nn.ReLU()
        )

    module = nn.Sequential()
    module.add_module("block1", block(SHAPE[0]))
    module.add_module("block2", block(4))
    module.add_module("pool", nn.Sequential(nn.AvgPool2d(3, 2), nn.Flatten()))
    module.add_module("head", nn.Linear(16, UNITS))
    owned = {
        name: tuple(f"{name}.{own}" for own, _ in layer.named_parameters())
        for name, layer in module.named_children()
    }
    blocks = tuple(Block(name, names) for name, names in owned.items() if names)
    return ModuleNetwork(module.eval(), blocks)


NETWORKS: dict[str, Callable[[], ModuleNetwork]] = {"MLP": _mlp, "convolutions": _convolutions}
"""What messages call a network -> what builds it from torch's global generator."""


def tiny_cohort(
    network: str,
    seeds: Sequence[int],
    class_incremental: bool = False,
    steps: int = TRAINING.minimum_steps,
) -> Cohort:
    """Return the learners of these seeds on one of ``NETWORKS``, all tensors new.

    ``steps`` are those of a task.
    """
    learners = [_initial(NETWORKS[network], seed) for seed in seeds]
    train = [_task_data(task, seeds) for task in range(TASKS)]
    return Cohort(
        network=learners[0][0],
        initial={
            name: torch.stack([values[name] for _, values in learners]) for name in learners[0][1]
        },
        train=train,
        test=train,
        classes=[data.active[:, 0] for data in train],
        scaling=Scaling(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.3)),
        training=replace(TRAINING, minimum_steps=steps),
        batch_orders=lambda task, count: [_stream("order", task, count, seed) for seed in seeds],
        strategy_noise=lambda task: [_stream("noise", task, seed) for seed in seeds],
        class_incremental=class_incremental,
    )


def example_task(index: int = 0, seed: int = 0, step: int | None = None) -> Task:
    """Return a task of the tiny sequence as a hook sees it, for tests of hooks by value.

    Args:
        index: 0 for the first task, at most 2.
        seed: of the learner: its classes, images and initial weights.
        step: the number of the step that is taken, from 0; None is the task's beginning.

    Returns:
        A task of an MLP with three blocks, in float64; ``task.initial`` are the parameters that
        the first task begins with.
    """
    cohort = tiny_cohort("MLP", (seed,))
    data, classes = cohort.train[index], cohort.classes[index][0]
    images = cohort.scaling(data.images[0], cohort.dtype)
    random = cohort.strategy_noise(index)[0]
    units = classes.nonzero().flatten()
    return Task(
        index=index,
        network=cohort.network,
        examples=Examples(images, data.labels[0], data.active[0]),
        classes=classes,
        units=units,
        answers=units.clone(),
        initial={name: value[0] for name, value in cohort.initial.items()},
        noise=torch.from_numpy(random.random(data.count)),
        rate=cohort.training.learning_rate,
        scaling=cohort.scaling,
        key=torch.tensor(int(random.integers(2**63))),
        moment=torch.tensor(0 if step is None else step + 1),
        step=None if step is None else _step(step),
    )


def _step(number: int) -> Step:
    positions = torch.arange(TRAINING.batch_size)
    return Step(torch.tensor(number), TRAINING.minimum_steps, positions)


def _initial(build: Callable[[], ModuleNetwork], seed: int) -> tuple[ModuleNetwork, Parameters]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    named = network.module.named_parameters()
    return network, {name: value.detach().double() for name, value in named}


def _task_data(task: int, seeds: Sequence[int]) -> TaskData:
    """Return a task of two classes a learner; the images of one are brighter at the top."""
    images, labels, active = [], [], []
    for seed in seeds:
        own = _stream("classes", seed).permutation(UNITS)[2 * task : 2 * task + 2]
        labels.append(np.resize(own, IMAGES))
        random = _stream("images", task, seed).integers(0, 200, (IMAGES, *SHAPE))
        random[labels[-1] == own[0], :, :2] += 55
        images.append(random.astype(np.uint8))
        active.append(np.tile(np.isin(np.arange(UNITS), own), (IMAGES, 1)))
    return TaskData(*(torch.from_numpy(np.stack(part)) for part in (images, labels, active)))


def _stream(*names: str | int) -> np.random.Generator:
    return stream("driftboard check", *names)

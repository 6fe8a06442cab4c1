"""The plain PyTorch loop that the speeds are compared with: one seed, written as one would by hand.

An ``nn.Module`` in eager mode, autograd and ``torch.optim.SGD``, on float tensors that lie on the
device already. It takes the tasks, the initial weights and the batch order of a cohort's first
seed, so it does the same work as the engine's solo lane and ends at the same weights.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from driftboard.suite.training.cohort import Cohort


@dataclass(frozen=True)
class SoloTask:
    """One task of the first seed, as float tensors."""

    images: Tensor
    labels: Tensor
    mask: Tensor  # bool, (head units,): the units that belong to the task
    test_images: Tensor
    test_labels: Tensor


def solo_tasks(cohort: Cohort) -> list[SoloTask]:
    """Return the tasks of a cohort's first seed."""
    return [
        SoloTask(
            cohort.scaling(train.images[0]),
            train.labels[0],
            classes[0],
            cohort.scaling(test.images[0]),
            test.labels[0],
        )
        for train, test, classes in zip(cohort.train, cohort.test, cohort.classes, strict=True)
    ]


def initial_module(cohort: Cohort) -> nn.Module:
    """Return the network at the first seed's initial weights."""
    module = copy.deepcopy(cohort.network.module)
    module.load_state_dict({name: value[0] for name, value in cohort.initial.items()})
    return module.to(cohort.device)


def masked(logits: Tensor, mask: Tensor) -> Tensor:
    """Return logits in which the units of other tasks are far below all."""
    return logits.masked_fill(~mask, torch.finfo(logits.dtype).min / 2)


def descend(cohort: Cohort, tasks: list[SoloTask], module: nn.Module) -> tuple[int, int]:
    """Train the module in place through all tasks; return the number of steps and of images.

    The images of a task fill whole batches, else the engine leaves some out and this does not.
    """
    settings = cohort.training
    steps = images = 0
    for index, task in enumerate(tasks):
        optimiser = torch.optim.SGD(
            module.parameters(), lr=settings.learning_rate, momentum=settings.momentum
        )
        count = len(task.labels)
        order = cohort.batch_orders(index, count)[0]
        for _ in range(settings.epochs):
            epoch = torch.from_numpy(order.permutation(count)).to(cohort.device)
            for rows in epoch.split(settings.batch_size):
                optimiser.zero_grad()
                logits = masked(module(task.images[rows]), task.mask)
                F.cross_entropy(logits, task.labels[rows]).backward()
                optimiser.step()
                steps += 1
                images += len(rows)
    return steps, images

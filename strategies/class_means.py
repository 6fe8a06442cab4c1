"""Classifiers by class means: the body learns the first task only, and the head is not used.

Features are what goes into the head. Their mean for every class, and how they vary around it, need
no gradient and no stored examples, so nothing that later tasks bring makes them worse. Computed in
float64.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from driftboard.strategies.base import (
    EXAMPLES_AT_ONCE,
    Memory,
    Parameters,
    Query,
    Strategy,
    Task,
    UpdatePlan,
    masked,
)
from driftboard.strategies.layers import features


@dataclass(frozen=True)
class ByMeans(Strategy):
    """What both have in common: a frozen body, and answers that are affine in its features."""

    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Freeze every block, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            plan = UpdatePlan(torch.zeros_like(plan.share), plan.restart)
        return plan, memory

    def answer(self, query: Query, parameters: Parameters, memory: Memory) -> Tensor:
        """Return the classes' discriminants; those of classes not yet seen are far below."""
        found = features(query.network, parameters, query.images)
        return masked(found @ memory["weight"].mT + memory["bias"], memory["counts"] > 0)


@dataclass(frozen=True)
class Ncm(ByMeans):
    """Answer with the class whose mean feature is the nearest.

    The nearest class mean classifier (Mensink et al. 2013, IEEE TPAMI 35) with the Euclidean
    distance, here on the features of the network that the first task has trained. A class that
    returns in a later task has one mean over all its examples.
    """

    name: ClassVar[str] = "ncm"
    summary: ClassVar[str] = "Nothing moves after the first task; the nearest class mean answers."
    literature: ClassVar[str] = "Mensink et al. 2013 (IEEE TPAMI)"

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the features of the task's examples to the means of their classes."""
        found = _features_of_task(task, parameters)
        counts, means = _with_examples(memory, found, _membership(task))
        # |z - m|^2 / 2 = |z|^2 / 2 - (m.z - m.m / 2), and the first term is the same for all.
        kept = {"counts": counts, "means": means, "weight": means}
        kept["bias"] = -means.square().sum(1) / 2
        return parameters, _like(task, kept)


@dataclass(frozen=True)
class Slda(ByMeans):
    """Answer by a linear discriminant of class means and one covariance, both kept by streaming.

    Deep streaming linear discriminant analysis (Hayes and Kanan 2020, arXiv 1909.01520, equations
    1 to 4): with the means m of the classes and ``L = ((1 - shrinkage) C + shrinkage I)^-1``, the
    class of a feature z is that with the largest ``m.Lz - m.Lm / 2``. The covariance C begins with
    that of the first task within its classes, shrunk as by Chen et al. 2010 (IEEE TSP 58). From
    then on the (t + 1)-th feature z, of a class whose mean until then is m, makes it
    ``(t C + t / (t + 1) (z - m) (z - m)^T) / (t + 1)``. As in the authors' code a class that has
    no mean yet has the mean 0.

    Ours: the paper's network was trained on ImageNet; here it is trained on the first task.

    Parameters:
        shrinkage: epsilon, in (0, 1].
    """

    shrinkage: float = 1e-4

    name: ClassVar[str] = "slda"
    summary: ClassVar[str] = (
        "Nothing moves after the first task; a linear discriminant of the features answers."
    )
    literature: ClassVar[str] = "Hayes, Kanan 2020, arXiv 1909.01520"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 < self.shrinkage <= 1:
            raise ValueError(f"shrinkage must be above 0 and at most 1, not {self.shrinkage}")

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the features of the task's examples to the means and to the covariance."""
        found = _features_of_task(task, parameters)
        member = _membership(task)
        counts, means = _with_examples(memory, found, member)
        if memory:
            covariance = _streamed(memory, found, member, task.units)
        else:
            covariance = _shrunk(found - member @ means)
        unit = torch.ones_like(covariance[0]).diag()
        # Does not raise where a learner has diverged.
        inverse = torch.linalg.inv_ex((1 - self.shrinkage) * covariance + self.shrinkage * unit)[0]
        weight = means @ inverse.mT
        kept = {"counts": counts, "means": means, "covariance": covariance, "weight": weight}
        kept["bias"] = -(weight * means).sum(1) / 2
        return parameters, _like(task, kept)


def _features_of_task(task: Task, parameters: Parameters) -> Tensor:
    """Return the features of all examples, float64, (n, features)."""
    parts = task.examples.slices(EXAMPLES_AT_ONCE)
    found = [features(task.network, parameters, part.images) for part in parts]
    return torch.cat(found).double()


def _membership(task: Task) -> Tensor:
    """Return 1 where an example belongs to a unit, else 0: float64, (n, head units)."""
    units = torch.arange(task.classes.shape[0], device=task.classes.device)
    return (task.examples.labels[:, None] == units).double()


def _with_examples(memory: Memory, found: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Return the counts, (units,), and means, (units, features), with those of further examples."""
    counts, sums = member.sum(0), member.mT @ found
    if memory:
        before = memory["counts"].double()
        counts, sums = counts + before, sums + before[:, None] * memory["means"].double()
    return counts, sums / counts.clamp_min(1)[:, None]


def _streamed(memory: Memory, found: Tensor, member: Tensor, units: Tensor) -> Tensor:
    """Return the covariance after one feature after another, (features, features).

    Args:
        memory: before them.
        found: (n, features), in their order.
        member: (n, head units).
        units: int64, (classes,), all units that the features belong to.
    """
    counts, means = memory["counts"].double(), memory["means"].double()
    moved = torch.zeros_like(found)
    for unit in units:
        own = member.index_select(1, unit[None])
        count, mean = counts.index_select(0, unit[None]), means.index_select(0, unit[None])
        before = count + own.cumsum(0) - own
        total = count * mean + (own * found).cumsum(0) - own * found
        moved = moved + own * (found - total / before.clamp_min(1))
    first = counts.sum()
    number = first + torch.arange(found.shape[0], device=found.device)
    scatter = (moved * (number / (number + 1))[:, None]).mT @ moved
    summed = first * memory["covariance"].double() + scatter
    averaged: Tensor = summed / (first + found.shape[0])
    return averaged


def _shrunk(centred: Tensor) -> Tensor:
    """Return the covariance of centred features, (n, d), by oracle approximating shrinkage.

    In the form that scikit-learn has it, without the terms 2/d of Chen et al., equation 23.
    """
    count, size = centred.shape
    covariance = centred.mT @ centred / count
    mean = covariance.trace() / size
    square = covariance.square().mean()
    below = (count + 1) * (square - mean.square() / size)
    part = torch.where(below > 0, (square + mean.square()) / below, 1.0).clamp_max(1)
    return (1 - part) * covariance + part * mean * torch.ones_like(covariance[0]).diag()


def _like(task: Task, memory: Memory) -> Memory:
    """Return tensors in the type of the parameters."""
    return {name: value.to(task.noise.dtype) for name, value in memory.items()}

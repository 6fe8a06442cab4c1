"""The strategy that is being checked, how it is trained, and comparing what its hooks return."""

import sys
import time
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import (
    Examples,
    Memory,
    Parameters,
    Query,
    Strategy,
    Task,
    UpdatePlan,
    overrides,
)
from driftboard.suite.errors import DriftboardError, StrategyError, cause_of, place_of
from driftboard.suite.loading import LoadedStrategy, load_strategy
from driftboard.suite.source.modules import running_with
from driftboard.suite.training.cohort import Cohort
from driftboard.suite.training.cuda_graph import GraphRunner
from driftboard.suite.training.engine import train_task
from driftboard.suite.training.evaluation import Evaluation
from driftboard.suite.training.networks import Mode
from driftboard.suite.training.stored import check_stored


@dataclass(frozen=True)
class Result:
    """The result of one check: a line of ``driftboard check``.

    ``message`` says what was found and, unless the status is "ok", what to do about it. What
    nothing can be said of, because training stopped before, is "not reached". ``error`` is what
    a failure came from, if a hook raised it.

    >>> Result("memory", "ok", "carries nothing over").status
    'ok'
    """

    name: str
    status: Literal["ok", "warning", "FAILED", "not reached"]
    message: str
    error: DriftboardError | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Target:
    """A loaded strategy and the modules of its source, that which defines its class included."""

    loaded: LoadedStrategy
    modules: tuple[ModuleType, ...]

    @property
    def strategy(self) -> Strategy:
        """The strategy itself."""
        return self.loaded.strategy

    def fresh(self) -> "Target":
        """Return the target with its file run again; a built-in strategy is the same object."""
        return load_target(self.loaded.specification)


def load_target(specification: str) -> Target:
    """Return the strategy that a specification names, see ``load_strategy``.

    Raises:
        StrategyError: it cannot be loaded.
    """
    loaded = load_strategy(specification)
    module = sys.modules[type(loaded.strategy).__module__]
    return Target(loaded, tuple(running_with(module)))


@dataclass(frozen=True)
class TaskEnd:
    """The state of all learners at the end of a task; tensors have a leading dimension S."""

    share: Tensor
    restart: Tensor
    parameters: Parameters
    memory: Memory
    seconds: float

    def of_seed(self, position: int) -> Any:
        """Return all tensors of one learner as a tree, with a leading dimension of 1."""
        tree = (self.share, self.restart, self.parameters, self.memory)
        return pytree.tree_map(lambda value: value[position : position + 1], tree)


def learn(
    cohort: Cohort, strategy: Strategy, mode: Mode, runner: GraphRunner | None = None
) -> list[TaskEnd]:
    """Train a cohort through its tasks; ``runner`` is as for ``engine.train_task``.

    Raises:
        StrategyError: a hook raised, or returned something that stops training.
    """
    parameters = {name: value.clone() for name, value in cohort.initial.items()}
    memory: Memory = {}
    evaluation = Evaluation(cohort, strategy, mode)
    ends = []
    for index in range(len(cohort.train)):
        began = time.perf_counter()
        try:
            end = train_task(cohort, strategy, index, parameters, memory, mode, runner)
            if overrides(strategy, "answer"):
                evaluation.after(end.parameters, end.memory, index + 1)
            check_stored(strategy, end.memory, cohort.train[index].images, cohort.scaling)
        except StrategyError:
            raise
        except Exception as error:  # what a user's hook returned may break the engine anywhere
            raise StrategyError(
                f"what a hook returned stops training: {cause_of(error)} (task {index + 1})"
                f"{place_of(error)}"
            ) from error
        seconds = time.perf_counter() - began
        parameters, memory = end.parameters, end.memory
        ends.append(TaskEnd(end.plan.share, end.plan.restart, parameters, memory, seconds))
    return ends


def copied(value: Any) -> Any:
    """Return a copy that shares no tensor and no container; gradients still flow through it."""
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    if isinstance(value, Examples):
        return Examples(*copied(unpacked(value)))
    if isinstance(value, Task):
        names = ("examples", "classes", "units", "answers", "initial", "noise", "key", "moment")
        step = value.step and replace(value.step, positions=value.step.positions.clone())
        return replace(value, step=step, **{name: copied(getattr(value, name)) for name in names})
    if isinstance(value, Query):
        return replace(value, images=value.images.clone(), allowed=value.allowed.clone())
    return pytree.tree_map_only(Tensor, torch.clone, value)


def unpacked(value: Any) -> Any:
    """Return the value with tasks, examples and plans replaced by tuples of their tensors."""
    if isinstance(value, tuple):
        return tuple(unpacked(part) for part in value)
    if isinstance(value, UpdatePlan):
        return value.share, value.restart, value.start or {}, value.extra or {}
    if isinstance(value, Query):
        return value.images, value.allowed
    if isinstance(value, Examples):
        return value.images, value.labels, value.allowed
    if isinstance(value, Task):
        tensors = (value.classes, value.units, value.answers, value.initial, value.noise)
        return (unpacked(value.examples), *tensors, value.step.positions if value.step else ())
    return value


def tensors(value: Any) -> list[Tensor]:
    """Return all tensors in a value, in order.

    >>> len(tensors(({"a": torch.ones(2)}, "text", [torch.zeros(1)])))
    2
    """
    return [leaf for leaf in pytree.tree_leaves(unpacked(value)) if isinstance(leaf, Tensor)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two values have the same structure and bitwise equal tensors.

    >>> same({"a": torch.ones(2)}, {"a": torch.ones(2)})
    True
    >>> same({"a": torch.ones(2)}, {"a": torch.ones(2).double()})
    False
    """
    if pytree.tree_structure(unpacked(one)) != pytree.tree_structure(unpacked(other)):
        return False
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(_same_tensor(a.detach(), b.detach()) for a, b in pairs)


def all_finite(value: Any) -> bool:
    """Tell whether no tensor in a value holds NaN or infinity.

    >>> all_finite([torch.tensor([1.0, torch.inf])])
    False
    """
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(value))


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    equal = one == other
    return bool((equal | ((one != one) & (other != other))).all())  # NaN counts as equal to NaN

"""The interface of a strategy: read this file first.

A strategy answers one question at every new task: how far may each part of the network move?
It is a frozen dataclass whose fields are its hyper-parameters and whose methods are pure
functions *of one learner*. The engine runs them for one seed or maps them over many with
``torch.func.vmap``. So a method must not use ``if tensor``, ``.item()`` or boolean indexing (but
see ``Strategy.vectorized``), must not change an argument in place, and draws random numbers from
``task.uniform``, ``task.normal`` and ``task.integers``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from driftboard.strategies.task import (
    EXAMPLES_AT_ONCE,
    Block,
    Examples,
    Memory,
    Network,
    Parameters,
    Query,
    Scaling,
    Step,
    Task,
    UpdatePlan,
    masked,
    mean_cross_entropy,
)

__all__ = [
    "EXAMPLES_AT_ONCE",
    "HOOKS",
    "Block",
    "Examples",
    "Memory",
    "Network",
    "Parameters",
    "Query",
    "Range",
    "Scaling",
    "Step",
    "Strategy",
    "Task",
    "UpdatePlan",
    "masked",
    "mean_cross_entropy",
    "overrides",
]


@dataclass(frozen=True)
class Range:
    """Values of a hyper-parameter that are worth trying, from ``low`` to ``high``.

    >>> Range(0.0, 10.0).at(0.5)
    5.0
    >>> round(Range(0.01, 100.0, logarithmic=True).at(0.5), 6)
    1.0
    """

    low: float
    high: float
    logarithmic: bool = False

    def at(self, place: float) -> float:
        """Return the value at a position in [0, 1] between ``low`` and ``high``."""
        if self.logarithmic:
            return float(self.low ** (1 - place) * self.high**place)
        return self.low + place * (self.high - self.low)


@dataclass(frozen=True)
class Strategy:
    """Base of all strategies: trains everything, restarts nothing, remembers nothing.

    Subclass it as a frozen dataclass and override what differs. Fields must be bool, int, float
    or str with a default. The methods are called in the order in which they are defined here:
    ``begin`` once per task, then for every step ``batch``, ``loss``, ``correct``, ``update``,
    ``constrain`` and ``observe``, and ``finish`` once when the task's training ends; ``answer`` is
    called in tests. ``parameters`` always holds all parameters of the network, and from the first
    step to ``finish`` the plan's ``extra`` ones. A method may keep the tensors that it is given:
    the engine changes none of them afterwards. A hook that a class does not override costs nothing.

    >>> @dataclass(frozen=True)
    ... class HeadOnly(Strategy):
    ...     name: ClassVar[str] = "head-only"
    ...
    ...     def begin(self, task, parameters, memory):
    ...         share = task.last_blocks(1).to(task.noise.dtype)
    ...         return UpdatePlan(share, task.last_blocks(0)), memory
    >>> overrides(HeadOnly(), "begin"), overrides(HeadOnly(), "loss")
    (True, False)
    """

    name: ClassVar[str] = ""
    """Identifier on the board: lower-case letters, digits, dots, hyphens, underscores."""

    summary: ClassVar[str] = ""
    """One sentence: what it does from the second task on."""

    literature: ClassVar[str] = ""
    """Where it comes from."""

    role: ClassVar[Literal["ranked", "bound"]] = "ranked"
    """Bounds are shown as reference rows and not ranked."""

    search: ClassVar[Mapping[str, Range]] = {}
    """What ``driftboard tune`` tries in addition to the learning rate: fields of type float."""

    trains_on_all_tasks: ClassVar[bool] = False
    """Only for the bound ``joint``, which trains on the data of all tasks so far."""

    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = None
    """What the memory holds, which decides the strategy's track on the board. Images must be said;
    then the class has an int field ``capacity``, the most of them that it keeps. None means
    nothing where the memory stays empty, and else parameters."""

    vectorized: ClassVar[bool] = True
    """False for hooks that ``vmap`` cannot map: ``if tensor``, ``.item()``, boolean indexing. The
    learners are then trained one after another, which is slower."""

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Return the update plan of the task that begins, and the memory."""
        return task.everything(), memory

    def batch(self, task: Task, examples: Examples, memory: Memory) -> Examples:
        """Return the examples that a step trains on, given a batch of the task's own.

        Here a replay buffer adds stored ones, and images are augmented. The number of examples may
        differ from that of the batch; ``loss`` gets what is returned.
        """
        return examples

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Return the scalar loss on a batch, as ``batch`` has returned it."""
        return task.loss(parameters, examples)

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Return the corrected gradient; it covers the parameters of unfrozen blocks only.

        A block that is frozen for this learner, but not for all seeds that train together with it,
        may be there too, with a gradient of zero. Besides every step, it is called once before the
        first one, with the gradient of ``loss`` over evenly spaced images of the task, to record
        which part of it passes.
        """
        return gradient

    def update(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Return what the optimiser of this strategy makes of a corrected gradient, and the memory.

        The parameters move by minus the learning rate times the block's share times what is
        returned, which covers the same parameters as ``gradient``. A class that overrides this has
        an optimiser of its own, whose state is in the memory, under the names, shapes and dtypes
        that ``begin`` gave it; the board says so. By default the protocol's optimiser is used.
        """
        return gradient, memory

    def constrain(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the parameters after a step, moved back into whatever set they must stay in."""
        return parameters

    def observe(
        self,
        task: Task,
        gradient: Parameters,
        step: Parameters,
        parameters: Parameters,
        memory: Memory,
    ) -> Memory:
        """Return the memory after a step; beside ``update`` it can change it at every step.

        ``gradient`` is the gradient of the loss before ``correct``, and ``step`` the change of the
        parameters, including that by ``constrain``; both cover the same parameters as in
        ``correct``. ``parameters`` are all parameters after the step. The memory must keep the
        names, shapes and dtypes that ``begin`` gave it. Not called if every block is frozen.
        """
        return memory

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Return the solution of the task that ends, and the memory for the next task.

        The solution are the network's parameters; the plan's extra ones may be left out.
        """
        return parameters, memory

    def answer(self, query: Query, parameters: Parameters, memory: Memory) -> Tensor:
        """Return logits for test images, shape (n, head units).

        The answer is the allowed unit with the largest one. Called after every task for the test
        images of all tasks; before the first task the network answers by itself.
        """
        return query.network.logits(parameters, query.images)


HOOKS = ("begin", "batch", "loss", "correct", "update", "constrain", "observe", "finish", "answer")
"""The hooks of a strategy: in the order in which they are called."""


def overrides(strategy: Strategy, hook: str) -> bool:
    """Tell whether a strategy's class overrides the named hook; the engine skips inherited ones."""
    inherited: Callable[..., Any] = getattr(Strategy, hook)
    return getattr(type(strategy), hook) is not inherited

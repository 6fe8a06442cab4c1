"""The interface of a strategy: read this file first.

A strategy answers one question at every new task: how far may each part of the network move?
It is a frozen dataclass whose fields are its hyper-parameters and whose methods are pure
functions *of one learner*. The engine runs them for one seed or maps them over many with
``torch.func.vmap``. So a method must not use ``if tensor``, ``.item()`` or boolean indexing, must
not change an argument in place, and must not draw random numbers of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

Parameters = dict[str, Tensor]
"""Parameter name -> tensor, of one learner."""

Memory = dict[str, Any]
"""What a strategy carries from task to task: a (nested) dict of tensors, ``{}`` at the start."""

EXAMPLES_AT_ONCE = 500
"""How many examples a full pass over a task's data processes at once, to bound its memory."""


@dataclass(frozen=True)
class Block:
    """A named part of a network: the names of its parameters.

    >>> Block("head", ("head.weight", "head.bias")).parameters
    ('head.weight', 'head.bias')
    """

    name: str
    parameters: tuple[str, ...]


class Network(Protocol):
    """An ordered list of blocks, from the input to the head, and a pure forward function."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in order; the last one is the head, one row of each parameter per class."""

    @property
    def module(self) -> torch.nn.Module:
        """The layers, for strategies that depend on their types; its own weights are not used.

        Its parameters have the names that ``logits`` expects, and ``logits`` calls its layers. It
        behaves the same in training and evaluation: no dropout, no running statistics.
        """

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return logits, shape (n, head units), for float images, shape (n, channels, h, w)."""


@dataclass(frozen=True)
class Examples:
    """Labelled images of one learner.

    >>> examples = Examples(torch.zeros(5, 1, 8, 8), torch.arange(5), torch.ones(5, 10).bool())
    >>> [len(part.labels) for part in examples.slices(2)]
    [2, 2, 1]
    """

    images: Tensor  # float, (n, channels, height, width); in regression (n, features)
    labels: Tensor  # int64, (n,): the right unit of the head; in regression float, the target
    allowed: Tensor  # bool, (n, head units): the units an answer is chosen from

    def slices(self, size: int) -> "Iterator[Examples]":
        """Yield the examples in consecutive parts of at most ``size``."""
        for start in range(0, self.labels.shape[0], size):
            part = slice(start, start + size)
            yield Examples(self.images[part], self.labels[part], self.allowed[part])


def masked(logits: Tensor, allowed: Tensor) -> Tensor:
    """Return logits in which units that are not allowed are far below all others, but finite.

    Finite, because minus infinity times zero is NaN.

    >>> masked(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([True, True, False])).argmax().item()
    1
    """
    return logits.masked_fill(~allowed, torch.finfo(logits.dtype).min / 2)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits, shape (n, units), and labels, shape (n,): a scalar.

    Its gradient equals that of ``F.cross_entropy`` bit for bit. Under ``vmap``, ``F.cross_entropy``
    selects the scores with ``gather``. On a GPU the deterministic gradient of ``gather`` is a sort,
    which in some versions of torch waits for the host, so that a step could not be recorded as a
    CUDA graph.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(mean_cross_entropy(logits, torch.tensor([0, 1])).item(), 4)
    0.1269
    """
    wrong = labels[:, None] != torch.arange(logits.shape[-1], device=logits.device)
    return -F.log_softmax(logits, dim=-1).masked_fill(wrong, 0.0).sum(-1).mean()


@dataclass(frozen=True)
class Task:
    """All that a strategy may see when a task begins: that task's training data, nothing else.

    ``example_task`` makes one for a test:

    >>> from driftboard.suite.checks import example_task
    >>> task = example_task()
    >>> [block.name for block in task.network.blocks]
    ['hidden1', 'hidden2', 'head']
    >>> task.last_blocks(2).tolist()
    [False, True, True]
    >>> task.everything().share.tolist()
    [1.0, 1.0, 1.0]
    """

    index: int  # 0 for the first task
    network: Network
    examples: Examples  # the task's training data
    classes: Tensor  # bool, (head units,): the units that belong to this task
    units: Tensor  # int64, (classes of the task,): the same units as numbers
    answers: Tensor  # int64, (classes,): the units that an answer on the task's images is chosen
    # from; those of ``units``, and in a class-incremental sequence those of all earlier tasks, too
    initial: Parameters  # the seeded initialisation, the same for every strategy
    noise: Tensor  # float in [0, 1), (n,): one uniform number per example, the strategy's own
    regression: bool = False  # the head is one unit that predicts a number, always allowed
    rate: float = 0.0  # the learning rate of the task's training; 0 where it is solved, not trained

    def logits(self, parameters: Parameters, examples: Examples) -> Tensor:
        """Return logits, shape (n, head units); units that are not allowed are far below the rest.

        In regression these are the predictions, shape (n, 1).
        """
        logits = self.network.logits(parameters, examples.images)
        return logits if self.regression else masked(logits, examples.allowed)

    def loss(self, parameters: Parameters, examples: Examples) -> Tensor:
        """Return the mean cross-entropy of ``examples`` over the allowed units, a scalar.

        In regression it is half the mean squared error.
        """
        logits = self.logits(parameters, examples)
        if self.regression:
            return 0.5 * F.mse_loss(logits.squeeze(-1), examples.labels)
        return mean_cross_entropy(logits, examples.labels)

    def gradient(self, parameters: Parameters) -> Parameters:
        """Return the gradient of the mean loss over all of the task's training data."""
        total = {name: torch.zeros_like(value) for name, value in parameters.items()}
        count = self.examples.labels.shape[0]
        for part in self.examples.slices(EXAMPLES_AT_ONCE):
            weight = part.labels.shape[0] / count
            for name, value in grad(self.loss)(parameters, part).items():
                total[name] = total[name] + weight * value
        return total

    @property
    def block_count(self) -> int:
        """The number of blocks of the network, the head included."""
        return len(self.network.blocks)

    def everything(self) -> "UpdatePlan":
        """Return the plan that trains every block fully and restarts nothing."""
        share = torch.ones(self.block_count, device=self.classes.device)
        return UpdatePlan(share, torch.zeros_like(share, dtype=torch.bool))

    def last_blocks(self, count: int | Tensor) -> Tensor:
        """Return a bool tensor, shape (blocks,), that is true for the last ``count`` blocks.

        ``count`` may be a tensor, so that it can differ between learners.
        """
        position = torch.arange(self.block_count, device=self.classes.device)
        return position >= self.block_count - count


@dataclass(frozen=True)
class UpdatePlan:
    """How far each block may move on the task that begins.

    This plan freezes the first of three blocks, trains the second at half of every step, and
    restarts the head:

    >>> plan = UpdatePlan(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([False, False, True]))
    >>> plan.restart.tolist()
    [False, False, True]
    """

    share: Tensor  # float in [0, 1], (blocks,): the block's share of every step; 0 is frozen
    restart: Tensor  # bool, (blocks,): begin at the seeded initialisation; of the head only the
    # units of the task's own classes restart, so that other tasks' units are not wiped


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
    ``begin`` once per task, then for every step ``loss``, ``correct``, ``constrain`` and
    ``observe``, and ``finish`` once when the task's training ends. ``parameters`` always holds all
    parameters of the network. A method may keep the tensors that it is given: the engine changes
    none of them afterwards.

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

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Return the update plan of the task that begins, and the memory."""
        return task.everything(), memory

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Return the scalar loss on a batch of the task's examples."""
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
        """Return the memory after a step; the only hook that can change it at every step.

        ``gradient`` is the gradient of the loss before ``correct``, and ``step`` the change of the
        parameters, including that by ``constrain``; both cover the same parameters as in
        ``correct``. ``parameters`` are all parameters after the step. The memory must keep the
        names, shapes and dtypes that ``begin`` gave it. Not called if every block is frozen.
        """
        return memory

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Return the solution of the task that ends, and the memory for the next task."""
        return parameters, memory


def overrides(strategy: Strategy, hook: str) -> bool:
    """Tell whether a strategy's class overrides the named hook; the engine skips inherited ones."""
    inherited: Callable[..., Any] = getattr(Strategy, hook)
    return getattr(type(strategy), hook) is not inherited

"""What a strategy is shown: networks, labelled images, tasks and test questions.

``driftboard.strategies.base`` has the strategy itself, and all of these names too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional as F

from driftboard.strategies.random_numbers import normal, uniform

Parameters = dict[str, Tensor]
"""Parameter name -> tensor, of one learner."""

Memory = dict[str, Any]
"""What a strategy carries from task to task: a (nested) dict of tensors, ``{}`` at the start."""

EXAMPLES_AT_ONCE = 500
"""How many examples a full pass over a task's data processes at once, to bound its memory."""


@dataclass(frozen=True)
class Block:
    """A named part of a network.

    Args:
        name: of the block, such as ``hidden1`` or ``head``.
        parameters: the names of its parameters.

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

    Args:
        images: float, (n, channels, height, width), standardised; in regression (n, features).
        labels: int64, (n,): the right unit of the head; in regression float, the target.
        allowed: bool, (n, head units): the units that an answer is chosen from.

    >>> examples = Examples(torch.zeros(5, 1, 8, 8), torch.arange(5), torch.ones(5, 10).bool())
    >>> [len(part.labels) for part in examples.slices(2)]
    [2, 2, 1]
    """

    images: Tensor
    labels: Tensor
    allowed: Tensor

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
class Step:
    """Which step of a task's training is taken.

    Args:
        number: int64, a scalar; 0 for the first. A tensor, so that recorded steps count on.
        total: how many steps the task has.
        positions: int64, (n,): where the batch's images are in ``task.examples``.
    """

    number: Tensor
    total: int
    positions: Tensor


@dataclass(frozen=True)
class Query:
    """What a strategy may know when it is asked for answers on test images.

    Args:
        network: as in the task.
        images: float, (n, channels, height, width), standardised.
        allowed: bool, (n, head units): the units that an answer is chosen from.
        task: int64, a scalar: the index of the images' task, where a test tells it, maybe of one
            that comes later; None where all tasks have the same units, and in class-incremental
            sequences.
    """

    network: Network
    images: Tensor
    allowed: Tensor
    task: Tensor | None


@dataclass(frozen=True)
class Scaling:
    """How images were made of bytes: by a mean and a standard deviation of each channel.

    Args:
        mean: of a data set's training images in [0, 1], (channels, 1, 1).
        std: their standard deviation, (channels, 1, 1).

    >>> scaling = Scaling(torch.tensor([[[0.5]]]), torch.tensor([[[0.25]]]))
    >>> scaling(torch.tensor([[[[255]]]], dtype=torch.uint8)).item()
    2.0
    >>> scaling.to_bytes(torch.tensor([[[[2.0]]]])).item()
    255
    """

    mean: Tensor
    std: Tensor

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standardised floats, shape (..., channels, height, width), of byte images."""
        scaled = images.to(dtype).div_(255.0)
        return scaled.sub_(self.mean.to(dtype)).div_(self.std.to(dtype))

    def to_bytes(self, images: Tensor) -> Tensor:
        """Return the byte images of which the call returns ``images``, or the nearest ones."""
        brightness = images * self.std.to(images.dtype) + self.mean.to(images.dtype)
        return (255.0 * brightness).round().clamp(0, 255).to(torch.uint8)

    def on(self, device: torch.device) -> "Scaling":
        """Return the same on a device."""
        return Scaling(self.mean.to(device), self.std.to(device))


@dataclass(frozen=True)
class UpdatePlan:
    """How far each block may move on the task that begins.

    Args:
        share: float in [0, 1], (blocks,): the block's share of every step; 0 is frozen.
        restart: bool, (blocks,): begin at the seeded initialisation. Of the head only the units of
            the task's own classes restart, so that other tasks' units are not wiped.
        start: where training starts, all parameters; None is the last solution. What restarts does
            so all the same.
        extra: tensors that train beside the network's during the task, by names of their own:
            adapters, prompts, masks. They take full steps, also where all blocks are frozen; hooks
            find them among parameters and gradients, and ``loss`` has to use them. What ``finish``
            does not keep in the memory is gone.

    This plan freezes the first of three blocks, trains the second at half of every step, and
    restarts the head:

    >>> plan = UpdatePlan(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([False, False, True]))
    >>> plan.restart.tolist()
    [False, False, True]
    """

    share: Tensor
    restart: Tensor
    start: Parameters | None = None
    extra: Parameters | None = None


@dataclass(frozen=True)
class Task:
    """All that a strategy may see when a task begins: that task's training data, nothing else.

    Args:
        index: 0 for the first task.
        network: its blocks, its module and its logits.
        examples: the task's training data.
        classes: bool, (head units,): the units that belong to this task.
        units: int64, (classes of the task,): the same units as numbers.
        answers: int64, (classes,): the units that an answer on the task's images is chosen from;
            those of ``units``, and in a class-incremental sequence those of all earlier tasks, too.
        initial: the seeded initialisation, the same for every strategy.
        noise: float in [0, 1), (n,): one uniform number for every training example, of the
            strategy's own; in the dtype of the parameters.
        regression: whether the head is one unit that predicts a number, always allowed.
        rate: the learning rate of the task's training; 0 where it is solved, not trained.
        step: which step is taken; None in ``begin`` and ``finish``.
        scaling: how the images were made from bytes; None in regression.
        key: int64, a scalar: what ``uniform``, ``normal`` and ``integers`` follow from.
        moment: int64, a scalar, for the same: 0 in ``begin``, then 1, 2, ...; -1 at the end.

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

    index: int
    network: Network
    examples: Examples
    classes: Tensor
    units: Tensor
    answers: Tensor
    initial: Parameters
    noise: Tensor
    regression: bool = False
    rate: float = 0.0
    step: Step | None = None
    scaling: Scaling | None = None
    key: Tensor | None = None
    moment: Tensor | None = None

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

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Return random numbers in [0, 1), of ``shape``, in the dtype of the parameters.

        They follow from the seed, the strategy, the task, the ``name`` and the step: another name
        gives other numbers, the same name in the same step the same ones. ``begin`` and ``finish``
        have numbers of their own.

        >>> from driftboard.suite.checks import example_task
        >>> task = example_task()
        >>> draw = task.uniform("dropout", 2, 3)
        >>> draw.shape, bool((draw == task.uniform("dropout", 2, 3)).all())
        (torch.Size([2, 3]), True)
        """
        return uniform(*self._place(), name, shape, self.noise.dtype)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Return standard normal random numbers, of ``shape``; see ``uniform``."""
        return normal(*self._place(), name, shape, self.noise.dtype)

    def integers(self, name: str, below: int | Tensor, *shape: int) -> Tensor:
        """Return random integers from 0 to ``below`` - 1, int64, of ``shape``; see ``uniform``.

        ``below`` may be a tensor that broadcasts, so that it can differ between learners. Where it
        is 0 the integer is 0.
        """
        drawn = uniform(*self._place(), name, shape, torch.float64)
        return (drawn * below).floor().long()

    def _place(self) -> tuple[Tensor, Tensor]:
        """Return key and moment."""
        if self.key is None or self.moment is None:
            raise ValueError("this task has no random numbers: it was made without a key")
        return self.key, self.moment

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

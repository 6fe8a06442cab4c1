"""A device and its memory: what a cohort needs, in closed form, and how many learners fit.

Bytes are counted per learner, since everything that a cohort holds has a leading dimension S: the
images of all tasks, the copies of the parameters that engine and strategy keep, and the largest
temporary tensors. The estimate is an upper bound for strategies that need no more than EWC does:
``tests/suite/training/test_memory_plan.py`` measures at most all of it, and at least a third if a
strategy passes over all images of a task at once. Second moments of layers, as ``hybrid`` takes
them, can need more, most of all on networks that are narrower than their inputs; where memory is
short after all, a cohort is trained in halves.
"""

import ctypes
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils import _pytree as pytree

from driftboard.strategies.base import EXAMPLES_AT_ONCE
from driftboard.strategies.fisher import SAMPLES_AT_ONCE
from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import Training
from driftboard.suite.training.evaluation import TESTED_AT_ONCE
from driftboard.suite.training.networks import Mode, ModuleNetwork, choose_mode

ItemT = TypeVar("ItemT")

# Parameters of mallopt(), from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4

FLOAT, INDEX = 4, 8  # bytes

ENGINE_COPIES = 6
"""Weights at the start, after the first task, before and during this one, gradient, velocity.
Adam's second average fits into the share of the strategy."""

STRATEGY_COPIES = 6
"""What a strategy carries over and what it needs temporarily: EWC's solution and Fisher, and the
Fisher's sum, its part of this pass and two squares. A strategy whose memory grows with every task,
such as EWC with separate penalties, needs more than planned."""

COHORT_BYTES = {"cpu": 3 * 2**30, "cuda": 24 * 2**30}
"""Bytes that a cohort may use at most, however much memory there is."""

CUDA_SHARE, CPU_SHARE = 0.9, 0.7
"""The share of the memory of a GPU, or of a machine, that the cohorts of all workers may use."""


@dataclass(frozen=True)
class Demand:
    """What determines the memory of one learner."""

    parameters: int
    activations: int  # values that a forward pass makes of one image
    widest: int  # the most of them that one layer makes
    linear: bool  # only Linear layers, whose Fisher needs no gradient per example
    pixels: int  # values of an image, channels included
    units: int  # of the head
    trained: tuple[int, ...]  # training images of every task
    tested: tuple[int, ...]  # test images of every task
    batch: int
    epochs: int

    @property
    def of_data(self) -> int:
        """Bytes of the images, labels and allowed units of all tasks."""
        return (sum(self.trained) + sum(self.tested)) * (self.pixels + INDEX + self.units)

    @property
    def of_outputs(self) -> int:
        """Bytes of the logits of all test images, before and after a task."""
        return 2 * FLOAT * self.units * sum(self.tested)

    @property
    def of_a_task(self) -> int:
        """Bytes of the largest training set in use, which is that of all tasks together.

        Its images as bytes and as floats, labels, allowed units, noise, and the batches' order.
        """
        per_image = self.pixels * (1 + FLOAT) + INDEX + self.units + FLOAT
        return sum(self.trained) * (per_image + 2 * self.epochs * INDEX)

    @property
    def of_parameters(self) -> int:
        """Bytes of all copies of the parameters."""
        return FLOAT * self.parameters * (ENGINE_COPIES + STRATEGY_COPIES)

    @property
    def at_work(self) -> int:
        """Bytes of the largest of a step, a test, and a full pass of the strategy.

        With a gradient every activation counts twice, for its value and its gradient; this leaves
        room for sums and for what norms keep, which are not counted. A test keeps the inputs and
        outputs of one layer.
        """
        images = sum(self.trained)
        kept = self.pixels + 2 * self.activations
        step = min(self.batch, images) * kept
        test = min(TESTED_AT_ONCE, max(self.tested, default=0)) * (self.pixels + 2 * self.widest)
        full = min(EXAMPLES_AT_ONCE, images) * kept
        if not self.linear:
            # Gradients, their squares, and what some processors' kernels need to take the former.
            full = max(full, min(SAMPLES_AT_ONCE, images) * (3 * self.parameters + kept))
        return FLOAT * max(step, test, full)

    @property
    def total(self) -> int:
        """Bytes of one learner."""
        kept = self.of_data + self.of_outputs + self.of_parameters
        return kept + self.of_a_task + self.at_work


def demand_of(
    network: ModuleNetwork,
    image_shape: Sequence[int],
    trained: Sequence[int],
    tested: Sequence[int],
    training: Training,
) -> Demand:
    """Return what one learner needs.

    Args:
        network: two images are passed through its layers.
        image_shape: channels, height, width.
        trained: training images of every task.
        tested: test images of every task.
        training: batch size and epochs.
    """
    made = _made(network.module, image_shape)
    owners = [layer for layer in network.module.modules() if [*layer.parameters(recurse=False)]]
    return Demand(
        parameters=sum(value.numel() for value in network.module.parameters()),
        activations=made.together,
        widest=made.widest,
        linear=all(isinstance(layer, nn.Linear) for layer in owners),
        pixels=torch.Size(image_shape).numel(),
        units=made.units,
        trained=tuple(trained),
        tested=tuple(tested),
        batch=training.batch_size,
        epochs=training.epochs,
    )


@dataclass(frozen=True)
class _Made:
    """How many values one image becomes on its way through a network."""

    together: int
    widest: int  # the most that one layer makes
    units: int  # of the head


def _made(module: nn.Module, image_shape: Sequence[int]) -> _Made:
    """Return what a forward pass makes of one image: the larger of two counts.

    One is what innermost layers return, but for Flatten layers, which return a view. The other is
    what is kept for the gradient, which a user's module may make outside of layers.
    """
    images = torch.zeros(2, *image_shape)  # group norms raise an error for one value per channel
    own = {value.untyped_storage().data_ptr() for value in (*module.parameters(), images)}
    returned: list[int] = []
    kept: dict[int, int] = {}  # by where it is: a layer's output is the next one's input

    def keep(value: Tensor) -> Tensor:
        place = value.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = value.numel()
        return value

    handles = [
        layer.register_forward_hook(lambda _, __, output: returned.extend(_counts(output)))
        for layer in module.modules()
        if next(layer.children(), None) is None and not isinstance(layer, nn.Flatten)
    ]
    try:
        # Modes that see every operation would do, but for those torch imports its compiler, which
        # takes seconds.
        with torch.enable_grad(), saved_tensors_hooks(keep, lambda value: value):
            answer: Tensor = module(images)
    finally:
        for handle in handles:
            handle.remove()
    each = [count // len(images) for count in returned]
    together = max(sum(each), sum(kept.values()) // len(images))
    units = answer.shape[-1]
    return _Made(together, max(each, default=together), units)


def _counts(values: object) -> list[int]:
    leaves = pytree.tree_leaves(values)
    return [leaf.numel() for leaf in leaves if isinstance(leaf, Tensor)]


def cohort_bytes(device: str) -> int:
    """Return how much memory a cohort may take on ``cpu`` or ``cuda``.

    A fixed limit, so that seeds form the same groups everywhere; on a small machine a share of all
    its memory, not of the free memory, which differs from run to run.
    """
    return int(min(COHORT_BYTES[device], _share_of_machine(device)))


def _share_of_machine(device: str) -> float:
    if device == "cpu":
        every = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return CPU_SHARE * every / worker_count("cpu", None)
    if torch.cuda.is_available():
        return CUDA_SHARE * torch.cuda.get_device_properties(0).total_memory
    return math.inf  # the GPUs are on other machines of a cluster


@dataclass(frozen=True)
class Stacking:
    """How many learners are trained together on a device.

    >>> Stacking("vmap", 4).note("digits", 10, "seeds")
    'digits: 10 seeds do not fit into memory at once, trained 4 at a time'
    """

    mode: Mode
    fit: int  # how many fit into memory; one is always tried

    @property
    def at_once(self) -> int:
        """As many as fit in the mode "vmap", one in the mode "loop"."""
        return 1 if self.mode == "loop" else self.fit

    def note(self, name: str, wanted: int, what: str) -> str | None:
        """Return a line that says that not all learners fit at once, or None if they do."""
        if self.mode == "loop" or self.fit >= wanted:
            return None
        found = f"{name}: {wanted} {what} do not fit into memory at once"
        return f"{found}, trained {self.fit} at a time"


def stacking_of(
    network: ModuleNetwork,
    image_shape: Sequence[int],
    trained: Sequence[int],
    tested: Sequence[int],
    training: Training,
    device: str,
) -> Stacking:
    """Return how many learners of some tasks are trained together.

    Args:
        network: that of every learner.
        image_shape: channels, height, width.
        trained: training images of every task.
        tested: test images of every task; nothing where nothing is tested.
        training: batch size and epochs.
        device: ``cpu`` or ``cuda``.
    """
    demand = demand_of(network, image_shape, trained, tested, training)
    mode = choose_mode(network, torch.device(device))
    return Stacking(mode, max(1, cohort_bytes(device) // demand.total))


def in_groups(items: Sequence[ItemT], at_once: int) -> list[tuple[ItemT, ...]]:
    """Return the items in order, in groups of at most ``at_once``.

    >>> in_groups([1, 2, 3, 4, 5], 2)
    [(1, 2), (3, 4), (5,)]
    """
    return [tuple(items[start : start + at_once]) for start in range(0, len(items), at_once)]


def half_of(learners: int) -> int:
    """Return how many learners to train together after so many, at least two, did not fit.

    >>> half_of(5)
    3
    """
    return -(-learners // 2)


def resolve_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DriftboardError: CUDA is asked for and not there.
    """
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise DriftboardError(
            "no CUDA GPU can be used here (torch.cuda.is_available() is false); "
            "use --device cpu, or mend the driver"
        )
    return "cpu"


def worker_count(device: str, wanted: int | None) -> int:
    """Return how many worker processes to start: ``wanted``, else one per core, or one for CUDA.

    >>> worker_count("cuda", None), worker_count("cpu", 3)
    (1, 3)
    """
    if wanted is not None:
        return wanted
    if device == "cuda":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make malloc keep freed memory in this process; without glibc, do nothing.

    glibc returns large blocks to the operating system, which zeroes their pages before it hands
    them out again. A training step allocates and frees megabytes, and that takes time.
    The peak memory of the process stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)  # never return the top of the heap
        mallopt(M_MMAP_MAX, 0)  # never allocate a block outside of the heap

"""Training steps on a GPU, recorded once as a CUDA graph and then replayed without Python.

A small network finishes a step before Python has launched the next kernel, so launching costs
more than computing. A CUDA graph launches the kernels of a whole step in one call. A replay runs
the recorded kernels on the memory addresses that they were recorded with. So a step has to change
its tensors in place, and must not wait for a value from the GPU.
"""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from driftboard.suite.errors import StrategyError

WARM_UP = 3
"""Steps taken before one is recorded. In the first ones cuBLAS and cuDNN choose their kernels and
allocate workspaces, which a recording does not permit."""

StepFunction = Callable[[Tensor], None]
"""Trains on the images whose indices a tensor holds; changes all of its state in place."""

Record = Callable[[StepFunction, Tensor], Callable[[], None]]
"""Records a step without taking it. Returns a function that replays it on whatever the tensor of
indices holds at that time."""

Synchronizes = Callable[[StepFunction, Tensor], bool]
"""Takes a step and tells whether the host waited for the GPU, so that it cannot be recorded."""


def _take_unchecked(step: StepFunction, order: Tensor) -> bool:
    step(order)
    return False


@dataclass
class GraphRunner:
    """How the steps of one run are recorded, and whether recording is disabled.

    After one recording has failed, no other is tried in the same run: the step of the next task
    would fail in the same way, and some versions of torch leak the memory of a failed recording.
    """

    record: Record
    synchronizes: Synchronizes = _take_unchecked
    disabled: bool = False


def run_steps(step: StepFunction, orders: Tensor, runner: GraphRunner | None) -> None:
    """Take one step for every row of ``orders``, in order.

    A step that cannot be recorded, for example because a hook of the strategy reads a value from
    the GPU, is taken eagerly.

    Args:
        step: what to do with a row.
        orders: indices of images, int64, shape (steps, ...).
        runner: records the step; with None every step is taken eagerly.

    >>> rows = torch.tensor([[0, 1], [2, 3]])
    >>> run_steps(lambda row: print(row.tolist()), rows, None)
    [0, 1]
    [2, 3]
    """
    if runner is None or runner.disabled or len(orders) <= WARM_UP + 1:
        for order in orders:
            step(order)
        return
    for order in orders[: WARM_UP - 1]:
        step(order)
    place = orders[WARM_UP].clone()
    replay = None
    if not runner.synchronizes(step, orders[WARM_UP - 1]):
        # A genuine error is raised again by the eager steps below, where it can be reported.
        with contextlib.suppress(RuntimeError, StrategyError):
            replay = runner.record(step, place)
    runner.disabled = replay is None
    for order in orders[WARM_UP:]:
        if replay is None:
            step(order)
        else:
            place.copy_(order)
            replay()


def graph_runner_on(device: torch.device) -> GraphRunner | None:
    """Return a new runner for one run on a GPU, or None on other devices.

    >>> graph_runner_on(torch.device("cpu")) is None
    True
    """
    return GraphRunner(_record_cuda_graph, _waits_for_gpu) if device.type == "cuda" else None


def _waits_for_gpu(step: StepFunction, order: Tensor) -> bool:
    """Take a step and tell whether the host waited for the GPU.

    The check comes before any recording because of a bug in older versions of torch: after a
    recording has failed, they assume that it is still in progress, reject every further one in
    the process, and do not free memory.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step(order)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any("called a synchronizing CUDA operation" in str(each.message) for each in caught)


def _record_cuda_graph(step: StepFunction, place: Tensor) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    # Some versions of torch leave the stream of a failed recording as the current one; the outer
    # context restores it.
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
        step(place)
    return graph.replay

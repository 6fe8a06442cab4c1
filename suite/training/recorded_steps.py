"""The steps of a task on a GPU: recorded once, then replayed without Python in between.

A step of a small network is over before Python has asked for its next kernel. As a CUDA graph it
is asked for once. What is replayed are the kernels that were recorded, on the memory at which
they were: so a step must change what it changes in place, and must not ask the GPU for a value.
"""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from driftboard.suite.errors import StrategyError

WARM_UP = 3
"""Steps before one is recorded: libraries choose kernels and make room in the first ones."""

Step = Callable[[Tensor], None]
"""Trains on the images that a tensor of indices names; all that it changes, it changes in place."""

Record = Callable[[Step, Tensor], Callable[[], None]]
"""Returns what replays a step on whatever is in the tensor then; the step itself is not taken."""

Watch = Callable[[Step, Tensor], bool]
"""Takes a step and tells whether it holds the host up, so that it cannot be recorded."""


def _unwatched(step: Step, order: Tensor) -> bool:
    step(order)
    return False


@dataclass
class Recorder:
    """How the steps of a run are recorded, and whether that was given up.

    One recording that failed is the last of its run: the next task's step would fail alike, and
    some versions of torch do not give back the memory of a recording that failed.
    """

    record: Record
    watch: Watch = _unwatched
    gave_up: bool = False


def take_steps(step: Step, orders: Tensor, recorder: Recorder | None) -> None:
    """Take a step for every row of ``orders``, in turn.

    Args:
        step: what to do with a row.
        orders: int64, shape (steps, ...).
        recorder: records a step; None takes each as it is written, as does a step that cannot be
            recorded, for example because a strategy's hook asks the GPU for a value.
    """
    if recorder is None or recorder.gave_up or len(orders) <= WARM_UP + 1:
        for order in orders:
            step(order)
        return
    for order in orders[: WARM_UP - 1]:
        step(order)
    place = orders[WARM_UP].clone()
    replay = None
    if not recorder.watch(step, orders[WARM_UP - 1]):
        # Whatever is wrong will come up again where it can be told.
        with contextlib.suppress(RuntimeError, StrategyError):
            replay = recorder.record(step, place)
    recorder.gave_up = replay is None
    for order in orders[WARM_UP:]:
        if replay is None:
            step(order)
        else:
            place.copy_(order)
            replay()


def recorder_on(device: torch.device) -> Recorder | None:
    """Return what records the steps of one run on a device, if they are recorded there."""
    return Recorder(_cuda_graph, _waits_for_gpu) if device.type == "cuda" else None


def _waits_for_gpu(step: Step, order: Tensor) -> bool:
    """Take a step and tell whether the host waited for the GPU.

    Recording such a step fails, and then older versions of torch take the recording to be still
    under way: they refuse every other one in the process, and to give memory back.
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


def _cuda_graph(step: Step, place: Tensor) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    # Some versions of torch leave the stream of a recording that failed as the current one.
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
        step(place)
    return graph.replay

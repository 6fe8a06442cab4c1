"""The steps of a task on a GPU: recorded once, then replayed without Python in between.

A step of a small network is over before Python has asked for its next kernel. As a CUDA graph it
is asked for once. What is replayed are the kernels that were recorded, on the memory at which
they were: so a step must change what it changes in place, and must not ask the GPU for a value.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from driftboard.suite.errors import StrategyError

WARM_UP = 3
"""Steps before one is recorded: libraries choose kernels and make room in the first ones."""

Step = Callable[[Tensor], None]
"""Trains on the images that a tensor of indices names; all that it changes, it changes in place."""

Record = Callable[[Step, Tensor], Callable[[], None]]
"""Returns what replays a step on whatever is in the tensor then; the step itself is not taken."""


Recording = Callable[[torch.device], Record | None]
"""Returns how steps are recorded on a device, if they are."""


def take_steps(step: Step, orders: Tensor, record: Record | None) -> None:
    """Take a step for every row of ``orders``, in turn.

    Args:
        step: what to do with a row.
        orders: int64, shape (steps, ...).
        record: records a step; None takes each as it is written, as does a step that cannot be
            recorded, for example because a strategy's hook asks the GPU for a value.
    """
    if record is None or len(orders) <= WARM_UP + 1:
        for order in orders:
            step(order)
        return
    for order in orders[:WARM_UP]:
        step(order)
    place = orders[WARM_UP].clone()
    try:
        replay = record(step, place)
    except (RuntimeError, StrategyError):  # whatever it is will come up again where it can be told
        replay = None
    # Not within the except, whose traceback would keep the failed step's tensors until the end.
    for order in orders[WARM_UP:]:
        if replay is None:
            step(order)
        else:
            place.copy_(order)
            replay()


def recorder(device: torch.device) -> Record | None:
    """Return how steps are recorded on a device, if they are."""
    return _cuda_graph if device.type == "cuda" else None


def _cuda_graph(step: Step, place: Tensor) -> Callable[[], None]:
    graph = torch.cuda.CUDAGraph()
    # Some versions of torch leave the stream of a recording that failed as the current one.
    with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
        step(place)
    return graph.replay

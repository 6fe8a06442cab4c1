"""The two lanes: how a pure function of one learner is applied to S learners.

All tensors of a cohort have a leading dimension S. The stacked lane maps the function over it
with ``torch.func.vmap``; the solo lane holds one learner and calls the function as it is.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.utils import _pytree as pytree

from driftboard.suite.training.networks import stacks_on_cpu

Lane = Literal["solo", "stacked"]
Lift = Callable[[Callable[..., Any]], Callable[..., Any]]


def choose_lane(network: str, device: torch.device) -> Lane:
    """Stack on a GPU, where small networks are bound by launches, and where it pays on a CPU."""
    return "stacked" if device.type != "cpu" or stacks_on_cpu(network) else "solo"


def lift(lane: Lane) -> Lift:
    """Return the transformation of a function of one learner into one of a whole cohort."""
    return torch.func.vmap if lane == "stacked" else _solo


def _solo(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(*arguments: Any) -> Any:
        single = pytree.tree_map_only(torch.Tensor, lambda value: value.squeeze(0), arguments)
        result = function(*single)
        return pytree.tree_map_only(torch.Tensor, lambda value: value.unsqueeze(0), result)

    return applied

"""Stable SGD: dropout, and a rate that falls from task to task."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules import activation

from driftboard.strategies.base import (
    Examples,
    Memory,
    Network,
    Parameters,
    Range,
    Strategy,
    Task,
    UpdatePlan,
)

_ACTIVATIONS = tuple(
    getattr(activation, name)
    for name in activation.__all__
    if name not in ("MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin")
)
"""The layers of torch that are activations of hidden units."""


@dataclass(frozen=True)
class StableSgd(Strategy):
    """Train everything with dropout, at a rate that every task multiplies by ``decay``.

    The training regime of Mirzadeh et al. 2020 (arXiv 2006.06958, section 5): dropout, a large
    initial rate that decays by the factor 0.8 per task, and small batches. The defaults are those
    of its multilayer perceptrons. Ours: rate and batch are the protocol's; dropout acts on what
    comes out of every layer of the network's module that is an activation, so on the hidden units
    of an MLP, and only in training.

    Parameters:
        decay: gamma, the factor of the rate from task to task, in (0, 1].
        dropout: probability that a hidden unit is left out, in [0, 1).
    """

    decay: float = 0.8
    dropout: float = 0.5

    name: ClassVar[str] = "stable-sgd"
    summary: ClassVar[str] = "Every block trains with dropout, at a rate that falls by task."
    search: ClassVar[Mapping[str, Range]] = {
        "decay": Range(0.3, 1.0),
        "dropout": Range(0.0, 0.7),
    }
    literature: ClassVar[str] = "Mirzadeh et al. 2020, arXiv 2006.06958"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be in (0, 1], not {self.decay}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Lower the rate."""
        plan = task.everything()
        return UpdatePlan(self.decay**task.index * plan.share, plan.restart), memory

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Return the loss of the network with units left out."""
        with self._dropout(task):
            return task.loss(parameters, examples)

    @contextmanager
    def _dropout(self, task: Task) -> Iterator[None]:
        """Leave out outputs of activations, and scale up the others, within the block."""
        numbers = count()

        def drop(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
            drawn = task.uniform(f"dropout {next(numbers)}", *output.shape)
            return torch.where(drawn < self.dropout, 0.0, output / (1 - self.dropout))

        handles = [layer.register_forward_hook(drop) for layer in _activations(task.network)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _activations(network: Network) -> list[nn.Module]:
    return [layer for layer in network.module.modules() if isinstance(layer, _ACTIVATIONS)]

"""Adam: an example of a strategy with an optimiser of its own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.layers import zeros_like


@dataclass(frozen=True)
class Adam(Strategy):
    """Train everything by Adam, whose averages start at zero with every task.

    Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1; equal to ``torch.optim.Adam``, made anew for
    every task. Its rate is ``scale`` times the protocol's: a rate of gradient descent is far too
    large for steps that have the size of the rate. With the default, 0.05, the
    rate of most sequences, becomes 0.001, which is the paper's; where the protocol's rate is
    another one, so is this. Sequences that the protocol trains by Adam want a scale of 1.

    Parameters:
        scale: of the rate, above 0.
        first: beta_1, in [0, 1).
        second: beta_2, in [0, 1).
        epsilon: added to the root of the mean square, above 0.
    """

    scale: float = 0.02
    first: float = 0.9
    second: float = 0.999
    epsilon: float = 1e-8

    name: ClassVar[str] = "adam"
    summary: ClassVar[str] = "Every block continues from the last solution and trains by Adam."
    search: ClassVar[Mapping[str, Range]] = {"scale": Range(0.002, 0.2, logarithmic=True)}
    literature: ClassVar[str] = "Kingma and Ba 2015, arXiv 1412.6980"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("scale", "epsilon"):
            if not 0 < getattr(self, field) < math.inf:
                raise ValueError(f"{field} must be above 0 and finite, not {getattr(self, field)}")
        for field in ("first", "second"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field} must be in [0, 1), not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Start both averages at zero."""
        return task.everything(), {"mean": zeros_like(parameters), "square": zeros_like(parameters)}

    def update(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Return the mean gradient over the root of the mean square, both without their bias."""
        if task.step is None:  # a hook is called outside of training only by hand
            raise ValueError("Adam needs steps")
        mean, square = dict(memory["mean"]), dict(memory["square"])
        # In double precision: 1 - 0.999 has three digits less in single precision.
        steps = (task.step.number + 1).double()
        of_mean, of_square = (
            (1 - torch.pow(beta, steps)).to(task.noise.dtype) for beta in (self.first, self.second)
        )
        moves = {}
        for name, value in gradient.items():
            mean[name] = self.first * mean[name] + (1 - self.first) * value
            square[name] = self.second * square[name] + (1 - self.second) * value.square()
            size = (square[name] / of_square).sqrt() + self.epsilon
            moves[name] = self.scale * (mean[name] / of_mean) / size
        return moves, {"mean": mean, "square": square}

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Forget the averages."""
        return parameters, {}

"""Projections by a layer's inputs: hold the directions that earlier tasks' inputs take.

A step that is at right angles to all earlier inputs of a layer leaves its answers to them as they
were. These are controls of ``hybrid``, which weighs the outputs, too. What no layer's matrix
holds, such as a norm's scale and shift, is frozen from the second task on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.layers import (
    from_matrix,
    layer_of,
    layers_applied_once,
    matrix,
    plus_product,
    times,
    zeros_like,
)
from driftboard.strategies.second_moments import (
    VANISHING,
    added_inputs,
    input_moments,
    leading_of_rows,
)


@dataclass(frozen=True)
class SoftInputs(Strategy):
    """Take of every step the less, the more earlier inputs of a layer lie along it.

    The gradient D of a layer becomes ``D (I + strength A)^-1``, with A the mean second moment of
    its inputs on earlier tasks, scaled to a mean eigenvalue of 1. That is the projection of
    orthogonal weights modification (Zeng et al. 2019, arXiv 1810.01256, with its alpha being
    1 / strength), which takes single inputs in turn, not moments. Only leading eigenvectors are
    kept, as in ``hybrid``.

    Parameters:
        strength: how much less of a step is taken along earlier inputs, at least 0.
        rank: number of eigenvectors that are kept for each layer, at least 1.
    """

    strength: float = 3.0
    rank: int = 80

    name: ClassVar[str] = "soft-inputs"
    summary: ClassVar[str] = (
        "Every block trains, the less the more earlier inputs lie along a step."
    )
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(0.3, 30.0, logarithmic=True)}
    literature: ClassVar[str] = "After Zeng et al. 2019, arXiv 1810.01256"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"strength must be at least 0, not {self.strength}")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, not {self.rank}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Work out the shares of this task's steps."""
        if not memory:
            return task.everything(), memory
        held = {}
        for name, inputs in memory["layers"].items():
            share, rest = (
                1 / (1 + self.strength * inputs[part] / task.index) for part in ("values", "rest")
            )
            held[name] = {"vectors": inputs["vectors"], "beside": share - rest, "rest": rest}
        return task.everything(), memory | {"held": held}

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Take of the gradient along every direction of the inputs its share."""
        if "held" not in memory:
            return gradient
        result = zeros_like(gradient)
        for name, held in memory["held"].items():
            layer, vectors = layer_of(task, name), held["vectors"]
            part = held["beside"] * times(name, layer, gradient, vectors)
            result |= plus_product(name, layer, gradient, held["rest"], part, vectors)
        return result

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the moments of the task's inputs to those of earlier tasks."""
        layers = layers_applied_once(task, parameters)
        rows = input_moments(task, parameters, layers)
        earlier = memory.get("layers", dict.fromkeys(layers))
        kept = {name: added_inputs(earlier[name], rows[name], self.rank) for name in layers}
        return parameters, {"layers": kept}


@dataclass(frozen=True)
class Gpm(Strategy):
    """Take no step along the directions that earlier inputs of a layer mostly take.

    Gradient projection memory (Saha, Garg, Roy 2021, arXiv 2103.09762): after every task, a
    layer's basis gains the leading singular vectors of what its inputs have outside the basis,
    until the basis holds the part ``threshold`` of their squared norm; steps are projected to be
    orthogonal to it. Ours: inputs have a one appended for the bias; the head, which tasks share,
    is projected like any layer; and not the basis is carried over, whose shape depends on the
    data, but the projection on what it leaves free.

    Parameters:
        threshold: epsilon, the part of the inputs' squared norm that the basis holds, in [0, 1].
        growth: what the threshold grows by with every task; it stops at 1.
    """

    threshold: float = 0.97
    growth: float = 0.003

    name: ClassVar[str] = "gpm"
    summary: ClassVar[str] = "Every block trains, but not along directions of earlier inputs."
    search: ClassVar[Mapping[str, Range]] = {"threshold": Range(0.9, 0.999)}
    literature: ClassVar[str] = "Saha, Garg, Roy 2021, arXiv 2103.09762"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], not {self.threshold}")
        if not 0 <= self.growth <= 1:
            raise ValueError(f"growth must be in [0, 1], not {self.growth}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Take the part of the gradient that is orthogonal to the basis."""
        if not memory:
            return gradient
        result = zeros_like(gradient)
        for name, free in memory.items():
            layer = layer_of(task, name)
            result |= from_matrix(name, layer, matrix(name, layer, gradient) @ free, gradient)
        return result

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add to every layer's basis what the task's inputs need."""
        layers = layers_applied_once(task, parameters)
        wanted = min(1.0, self.threshold + self.growth * task.index)
        return parameters, {
            name: _left_free(memory.get(name), rows, wanted)
            for name, rows in input_moments(task, parameters, layers).items()
        }


def _left_free(free: Tensor | None, rows: Tensor, wanted: float) -> Tensor:
    """Return the projection on what is orthogonal to the basis, (inputs, inputs).

    Args:
        free: the same before the task; None if the basis is empty.
        rows: (n, inputs), of the task.
        wanted: the part of their squared norm that the basis has to hold.
    """
    dtype, rows = rows.dtype, rows.double()
    before = rows.new_ones(rows.shape[1]).diag() if free is None else free.double()
    outside = rows @ before @ before  # once leaves the rounding of ``free`` along the basis
    values, vectors = leading_of_rows(outside, min(rows.shape))
    values, vectors = values.flip(0), vectors.flip(1)
    total = rows.square().sum()
    held_before = total - outside.square().sum() + values.cumsum(0) - values
    # What is left of rows that the basis holds is rounding, and its directions lie anywhere.
    added = (held_before < wanted * total) & (values > VANISHING * total)
    vectors = torch.where(added, vectors, 0.0)
    left = before - vectors @ vectors.mT
    return torch.where(left.trace() < 0.5, 0.0, left).to(dtype)  # a rank below 1 is rounding

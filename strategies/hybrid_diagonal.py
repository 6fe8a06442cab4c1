"""The rule of ``hybrid`` along the network's own axes, without eigenvectors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.hybrid import learned_weight
from driftboard.strategies.layers import (
    from_matrix,
    layer_of,
    layers_applied_once,
    zeros_like,
)
from driftboard.strategies.second_moments import layer_moments


@dataclass(frozen=True)
class HybridDiagonal(Strategy):
    """Choose the magnitude for every weight: hold those that earlier tasks need.

    The rule of ``hybrid`` with the diagonals of A and G in place of their eigenvalues, so that a
    direction is a single weight and ``lambda_ij = A_jj G_ii / K``. It is the control that tells
    what the eigenvectors are worth. What no layer's matrix holds is frozen from the second task
    on, as there.

    Parameters:
        strength: how much less of a step is taken by a weight that earlier tasks need, >= 0.
        pull: weight of earlier tasks' curvature beside the new task's, >= 0.
    """

    strength: float = 3.0
    pull: float = 0.1

    name: ClassVar[str] = "hybrid-diagonal"
    summary: ClassVar[str] = "In every layer, weights that earlier tasks need are held."
    search: ClassVar[Mapping[str, Range]] = {
        "strength": Range(0.3, 30.0, logarithmic=True),
        "pull": Range(0.01, 1.0, logarithmic=True),
    }
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("strength", "pull"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ValueError(f"{field} must be at least 0, not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Work out every weight's curvature on earlier tasks, and remember where it starts."""
        if not memory:
            return task.everything(), memory
        scale = memory["weight"]
        if task.regression:  # moments are sums there
            scale = scale * task.examples.labels.shape[0]
        curvature: Parameters = {}
        for name, moments in memory["layers"].items():
            products = torch.outer(moments["outputs"], moments["inputs"]) / scale
            curvature |= from_matrix(name, layer_of(task, name), products, parameters)
        return task.everything(), memory | {"curvature": curvature, "start": parameters}

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Take of every weight's gradient what earlier tasks leave free."""
        if "curvature" not in memory:
            return gradient
        result = zeros_like(gradient)
        for name, curvature in memory["curvature"].items():
            moved = parameters[name] - memory["start"][name]
            pulled = gradient[name] + self.pull * curvature * moved
            result[name] = pulled / (1 + self.strength * curvature)
        return result

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the moments of the task at its solution to those of earlier tasks."""
        layers = layers_applied_once(task, parameters)
        weight = learned_weight(task, parameters)
        kept = {}
        for name, of_task in layer_moments(task, parameters, layers).items():
            scaled = of_task if task.regression else of_task.normalised()
            inputs = weight * scaled.rows.square().sum(0)
            outputs = weight * scaled.outputs.diagonal()
            if memory:
                earlier = memory["layers"][name]
                inputs, outputs = inputs + earlier["inputs"], outputs + earlier["outputs"]
            kept[name] = {"inputs": inputs, "outputs": outputs}
        total = memory["weight"] + weight if memory else weight
        return parameters, {"layers": kept, "weight": total}

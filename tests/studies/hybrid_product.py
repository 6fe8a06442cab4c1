"""``hybrid`` with a penalty on what the moves of two layers that follow one another do together.

    driftboard run --tuning --sequence digits-class-incremental --strategy sgd --strategy hybrid \\
        --strategy tests/studies/hybrid_product.py,weight=1

docs/results/hybrid.md shows what came out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Task, UpdatePlan
from driftboard.strategies.hybrid import Hybrid
from driftboard.strategies.layers import from_matrix, layer_of, matrix


@dataclass(frozen=True)
class HybridProduct(Hybrid):
    """The hybrid with the penalty ``weight / 2 sum_l tr(D_m M_l D_m^T)``, m the layer after l.

    ``D_l = W_l - W*_l`` is the move of layer l since the last solution, its bias included, and
    ``M_l = D_l A_l D_l^T / K`` the second moment of how far it has moved the outputs of earlier
    inputs. Of D_m the bias is left out. Only for networks of Linear layers in a row.
    """

    weight: float = 1.0

    name: ClassVar[str] = "hybrid-product"
    summary: ClassVar[str] = "As hybrid, with a penalty on the product of two layers' moves."

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Remember the last solution as well."""
        plan, memory = super().begin(task, parameters, memory)
        return plan, memory | {"start": parameters} if memory else memory

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Add the penalty's gradient before the hybrid takes its part."""
        if "held" not in memory:
            return gradient
        slopes = self.slopes(task, parameters, memory)
        total = {name: value + slopes.get(name, 0.0) for name, value in gradient.items()}
        return super().correct(task, total, parameters, memory)

    def slopes(self, task: Task, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the gradient of the penalty."""
        moved, along = {}, {}
        for name, moments in memory["layers"].items():
            layer = layer_of(task, name)
            move = matrix(name, layer, parameters) - matrix(name, layer, memory["start"])
            moved[name] = move
            along[name] = _times_moments(move, moments["inputs"]) / memory["weight"]
        result: dict[str, Tensor] = {}
        for name, after in pairwise(memory["layers"]):
            inputs = layer_of(task, after).weight[0].numel()
            next_move = moved[after][:, :inputs]
            result[name] = result.get(name, 0.0) + next_move.mT @ next_move @ along[name]
            of_after = next_move @ (along[name] @ moved[name].mT)
            padded = moved[after].new_zeros(moved[after].shape[0], moved[after].shape[1] - inputs)
            result[after] = torch.cat([of_after, padded], dim=1)
        slopes: Parameters = {}
        for name, slope in result.items():
            slopes |= from_matrix(name, layer_of(task, name), self.weight * slope, parameters)
        return slopes


def _times_moments(move: Tensor, inputs: Memory) -> Tensor:
    """Return ``move A``, with A as ``added_inputs`` keeps it."""
    vectors, rest = inputs["vectors"], inputs["rest"]
    return (move @ vectors * (inputs["values"] - rest)) @ vectors.mT + rest * move

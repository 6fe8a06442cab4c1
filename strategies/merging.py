"""Merging by a layer's inputs: of the finished update, a fraction for every input direction."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.layers import from_matrix, layers_applied_once, matrix
from driftboard.strategies.second_moments import added_inputs, input_moments

LEAST_MOMENT = 1e-3
"""What a mean eigenvalue of 1 is raised by, so that an input that no task has seen is free."""


@dataclass(frozen=True)
class MergeInputs(Strategy):
    """Train freely, then take of the update along every input direction what earlier tasks leave.

    The solution of a layer is ``W* + (W - W*) A_new (A_new + pull A)^-1``, with W what training
    found, W* the last solution, A_new the second moment of the layer's inputs on the new task and
    A the sum over earlier tasks, each scaled to a mean eigenvalue of 1. With pull 1 this is
    RegMean (Jin et al. 2023, arXiv 2212.09849) task by task: of all matrices, the one whose
    outputs on each task's inputs are nearest to those of its own solution. Ours are the scale and
    the pull. It is a control of ``hybrid``, which weighs the outputs, too, and acts on every
    step. What no layer's matrix holds becomes the mean of all solutions.

    Parameters:
        pull: weight of earlier tasks beside the new one, at least 0.
        rank: number of eigenvectors of A that are kept for each layer, at least 1.
    """

    pull: float = 1.0
    rank: int = 80

    name: ClassVar[str] = "merge-inputs"
    summary: ClassVar[str] = (
        "Every block continues; of the update, less is taken along inputs of earlier tasks."
    )
    search: ClassVar[Mapping[str, Range]] = {"pull": Range(0.1, 10.0, logarithmic=True)}
    literature: ClassVar[str] = "After Jin et al. 2023, arXiv 2212.09849"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.pull < math.inf:
            raise ValueError(f"pull must be at least 0, not {self.pull}")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, not {self.rank}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Remember where the task starts, from the second one on."""
        return task.everything(), memory | {"start": parameters} if memory else memory

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Merge with the last solution, and add the moments of the task's inputs."""
        layers = layers_applied_once(task, parameters)
        rows = input_moments(task, parameters, layers)
        earlier = memory.get("layers", dict.fromkeys(layers))
        added = {name: added_inputs(earlier[name], rows[name], self.rank) for name in layers}
        if not memory:
            return parameters, {"layers": added}
        start = memory["start"]
        merged = {n: old + (parameters[n] - old) / (task.index + 1) for n, old in start.items()}
        for name, layer in layers.items():
            last = matrix(name, layer, start)
            moved = matrix(name, layer, parameters) - last
            taken = moved @ self._fraction(earlier[name], rows[name])
            merged |= from_matrix(name, layer, last + taken, parameters)
        return merged, {"layers": added}

    def _fraction(self, earlier: Memory, rows: Tensor) -> Tensor:
        """Return ``A_new (A_new + pull A)^-1``, (inputs, inputs)."""
        rows, vectors = rows.double(), earlier["vectors"].double()
        eye = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        rest = earlier["rest"].double()
        old = rest * eye + (vectors * (earlier["values"].double() - rest)) @ vectors.mT
        new = rows.mT @ rows + LEAST_MOMENT * eye
        # All are symmetric: the transpose of the solution solves for the other side.
        fraction: Tensor = torch.linalg.solve(new + self.pull * old, new).mT
        return fraction.to(earlier["vectors"].dtype)

"""``hybrid`` without its weights: every task counts as much, whatever was learned of it.

    driftboard run --tuning --strategy sgd --strategy hybrid \\
        --strategy tests/studies/hybrid_unweighted.py

docs/results/hybrid.md shows what came out.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies.base import Memory, Parameters, Task
from driftboard.strategies.hybrid import Hybrid
from driftboard.strategies.layers import layers_applied_once
from driftboard.strategies.second_moments import added_inputs, added_outputs, layer_moments


@dataclass(frozen=True)
class HybridUnweighted(Hybrid):
    """The hybrid with ``w_k = 1`` for all tasks."""

    name: ClassVar[str] = "hybrid-unweighted"
    summary: ClassVar[str] = "As hybrid, but every task counts as much."

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the moments of the task at its solution to those of earlier tasks."""
        kept = {}
        layers = layers_applied_once(task, parameters)
        for name, of_task in layer_moments(task, parameters, layers).items():
            scaled = of_task.normalised()
            earlier = memory["layers"][name] if memory else {"inputs": None, "outputs": None}
            kept[name] = {
                "inputs": added_inputs(earlier["inputs"], scaled.rows, self.rank),
                "outputs": added_outputs(earlier["outputs"], scaled.outputs, self.output_rank),
            }
        one = torch.ones_like(task.noise[0])
        return parameters, {"layers": kept, "weight": memory["weight"] + one if memory else one}

"""Synaptic intelligence: a parameter is worth what its way has taken from the loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.anchors import Anchor
from driftboard.strategies.base import Memory, Parameters, Range, Task, UpdatePlan
from driftboard.strategies.layers import zeros_like


@dataclass(frozen=True)
class SynapticIntelligence(Anchor):
    """Hold each parameter by how much of the loss's decrease it brought about.

    The paper's (Zenke, Poole, Ganguli 2017, arXiv 1703.04200): ``c sum_k Omega_k (theta*_k -
    theta_k)^2`` is added to the loss (equation 4). Omega gains after every task ``omega_k /
    (Delta_k^2 + xi)`` (equation 5), with Delta how far the task moved the parameter, and omega the
    sum over steps of minus the gradient of the task's own loss times the step. ``strength`` here
    is 2 c, so that it means what it means for the other anchors; its default is the paper's
    c = 0.1 of permuted MNIST, as is that of xi.

    Ours: the step of the penalty is implicit by default; an Omega that would be below 0, of a
    parameter whose steps have raised the loss, is 0, since a pull away has no stable step.

    Parameters:
        strength: 2 c, at least 0; 0 is plain training.
        explicit: take the penalty's gradient where the step begins, as the paper does.
        damping: xi > 0, which bounds the worth of a parameter that hardly moved.
    """

    strength: float = 0.2
    damping: float = 0.1

    name: ClassVar[str] = "si"
    summary: ClassVar[str] = (
        "Every block trains, pulled towards the last solution by what each parameter gained."
    )
    search: ClassVar[Mapping[str, Range]] = {
        "strength": Range(0.02, 200.0, logarithmic=True),
        "damping": Range(0.001, 1.0, logarithmic=True),
    }
    literature: ClassVar[str] = "Zenke, Poole, Ganguli 2017, arXiv 1703.04200"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        super().__post_init__()
        if not 0 < self.damping < math.inf:
            raise ValueError(f"damping must be above 0 and finite, not {self.damping}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Start the sum over steps at zero."""
        zeros = zeros_like(parameters)
        # In the first task there is no solution to be held near; the memory keeps its names.
        first = {"importance": zeros, "solution": parameters}
        return task.everything(), first | memory | {"gained": zeros}

    def observe(
        self,
        task: Task,
        gradient: Parameters,
        step: Parameters,
        parameters: Parameters,
        memory: Memory,
    ) -> Memory:
        """Add what every parameter's step took from the task's own loss, to first order."""
        gained = memory["gained"] | {
            name: memory["gained"][name] - gradient[name] * step[name] for name in gradient
        }
        return memory | {"gained": gained}

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the task's part to the importance, and remember the solution."""
        importance = {}
        for name, gained in memory["gained"].items():
            moved = parameters[name] - memory["solution"][name]
            added = gained / (moved.square() + self.damping)
            importance[name] = (memory["importance"][name] + added).clamp_min(0)
        return parameters, {"importance": importance, "solution": parameters}

"""Quadratic anchors: pulls towards the last solution that differ in what a parameter is worth.

Each adds ``strength / 2 * sum_i I_i (theta_i - theta*_i)^2`` to the loss, with theta* the last
task's solution and I the importance. ``L2`` here holds all parameters alike; ``si.py`` and
``mas.py`` have importances of their own. ``ewc.py`` is older and stands by itself.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task


@dataclass(frozen=True)
class Anchor(Strategy):
    """Base of the anchors: the step of a pull towards ``memory["solution"]``.

    The step is implicit, as that of ``ewc-implicit``: the penalty's gradient is taken where the
    step ends, which divides the gradient of loss and penalty by ``1 + r s I``, with r the learning
    rate and s the strength (Parikh and Boyd 2014, Proximal Algorithms, section 4.2). So it cannot
    overshoot, however large s I becomes.

    Parameters:
        strength: s, at least 0; 0 is plain training.
        explicit: take the penalty's gradient where the step begins, as the papers do.
    """

    strength: float = 1.0
    explicit: bool = False

    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.strength < math.inf:
            raise ValueError(f"strength must be at least 0 and finite, not {self.strength}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Add the penalty's gradient, and make the step implicit. The first task has none."""
        if task.index == 0:
            return gradient
        importance = memory.get("importance", {})
        result = {}
        for name, value in gradient.items():
            stiffness = self.strength * importance.get(name, 1.0)
            result[name] = value + stiffness * (parameters[name] - memory["solution"][name])
            if not self.explicit:
                result[name] = result[name] / (1 + task.rate * stiffness)
        return result


@dataclass(frozen=True)
class L2(Anchor):
    """Hold every parameter near the last solution alike: the importance is 1.

    The control of the anchors that weigh parameters, as in Kirkpatrick et al. 2017 (figure 2A),
    who do not print its strength.

    The parameters are those of ``Anchor``.
    """

    strength: float = 0.1

    name: ClassVar[str] = "l2"
    summary: ClassVar[str] = "Every block trains, pulled towards the last solution."
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(0.01, 10.0, logarithmic=True)}
    literature: ClassVar[str] = "The control of Kirkpatrick et al. 2017, arXiv 1612.00796"

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Remember the solution."""
        return parameters, {"solution": parameters}

"""EWC whose penalty takes an implicit step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Range, Task
from driftboard.strategies.ewc import Ewc


@dataclass(frozen=True)
class EwcImplicit(Ewc):
    """EWC that is stable at any strength and after any number of tasks.

    An explicit step along the penalty's gradient overshoots where learning rate * strength * F is
    large, and F grows with every task. An implicit (proximal) step takes the penalty's gradient
    where it ends, at ``(theta - r g + r s F theta*) / (1 + r s F)`` with r the learning rate and
    s the strength (Parikh and Boyd 2014, Proximal Algorithms, section 4.2). So the gradient that
    training uses is that of ``Ewc`` divided by ``1 + r s F``, entry by entry; with ``separate``,
    F there is the sum over penalties. For momentum and Adam, whose steps are not r times a
    gradient, it is the same division. Where a task is solved, not trained, it is ``Ewc``.

    The parameters are those of ``Ewc``.
    """

    name: ClassVar[str] = "ewc-implicit"
    summary: ClassVar[str] = "As ewc, with a penalty step that cannot overshoot."
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(3.0, 3000.0, logarithmic=True)}

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Return the gradient of loss and penalty divided by what makes the step implicit."""
        corrected = super().correct(task, gradient, parameters, memory)
        stiffness = task.rate * self.strength
        return {
            name: value / (1 + stiffness * sum(p["fisher"][name] for p in memory.values()))
            for name, value in corrected.items()
        }

"""Elastic weight consolidation: a quadratic pull towards the last solution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task
from driftboard.strategies.fisher import LABELS, diagonal_fisher


@dataclass(frozen=True)
class Ewc(Strategy):
    """Train everything, held near earlier solutions by how much each parameter mattered there.

    The loss gains ``strength / 2 * sum_i F_i (theta_i - theta*_i)^2`` (Kirkpatrick et al. 2017,
    equation 3), with F the diagonal Fisher of earlier tasks, a mean over samples. By default
    there is one such term, centred on the latest solution, with the tasks' Fishers added up
    (online EWC: Schwarz et al. 2018; Huszar 2018 on why one centre is right). EWC is no strategy
    of the paper (arXiv 2602.20796); it is the best known rule for how far a parameter may move.

    Parameters:
        strength: lambda >= 0; 0 is plain training. Steps are stable only while learning rate *
            strength * max F stays below about 2 (less with momentum).
        decay: gamma in [0, 1], what the older tasks' Fisher keeps of its weight at every task.
        labels: over which labels the Fisher's expectation runs, see ``fisher.py``.
        separate: one term per earlier task, each with its own centre, as in the first paper;
            memory then grows with the number of tasks.
    """

    strength: float = 30.0
    decay: float = 1.0
    labels: str = "exact"
    separate: bool = False

    name: ClassVar[str] = "ewc"
    summary: ClassVar[str] = "Every block trains, pulled towards the last solution by its Fisher."
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(3.0, 300.0, logarithmic=True)}
    literature: ClassVar[str] = "Kirkpatrick et al. 2017; online form Schwarz et al. 2018"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not self.strength >= 0:
            raise ValueError(f"strength must be at least 0, not {self.strength}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], not {self.decay}")
        if self.separate and self.decay != 1:
            raise ValueError("decay belongs to the single penalty: leave it at 1 with separate")
        if self.labels not in LABELS:
            raise ValueError(f"labels must be one of {', '.join(LABELS)}, not {self.labels!r}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Add the penalty's gradient, ``strength * F * (theta - theta*)``.

        The same as differentiating the penalty as a part of the loss, without a graph through
        all parameters at every step.
        """
        for penalty in memory.values():
            solution, fisher = penalty["solution"], penalty["fisher"]
            gradient = {
                name: value + self.strength * fisher[name] * (parameters[name] - solution[name])
                for name, value in gradient.items()
            }
        return gradient

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Remember the solution and the Fisher there."""
        fisher = diagonal_fisher(task, parameters, labels=self.labels)
        if self.separate:
            penalty = {"solution": parameters, "fisher": fisher}
            return parameters, memory | {f"task-{task.index}": penalty}
        if memory:
            earlier = memory["all-tasks"]["fisher"]
            fisher = {name: self.decay * earlier[name] + value for name, value in fisher.items()}
        return parameters, {"all-tasks": {"solution": parameters, "fisher": fisher}}

"""CoFiMA: an average of the last two solutions, weighted by how much each parameter matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
from driftboard.strategies.fisher import LABELS, diagonal_fisher


@dataclass(frozen=True)
class Cofima(Strategy):
    """Average the last solution and what training found, each weighted by its Fisher.

    The paper's (Marouf et al. 2024, arXiv 2312.08977): entry by entry
    ``((1 - alpha) F_prev theta_prev + alpha F theta) / ((1 - alpha) F_prev + alpha F)``, with F the
    diagonal Fisher on the task at what training found, F_prev that of the task before; alpha is
    ``wt_alpha`` of the authors' settings. Without Fishers it is ``fraction`` with share 1 (CoMA).

    Ours: the Fisher is exact (see ``fisher.py``), where the authors' code takes squares of
    batches' gradients, at most 1e-4; where both Fishers are 0 the plain average is taken. The
    paper fine-tunes a pre-trained transformer slowly and then aligns its classifier; both are
    left out.

    Parameters:
        alpha: weight of the new task, in [0, 1]; 1 is plain training.
        labels: over which labels the Fisher's expectation runs, see ``fisher.py``.
    """

    alpha: float = 0.4
    labels: str = "exact"

    name: ClassVar[str] = "cofima"
    summary: ClassVar[str] = (
        "Every block continues; the last two solutions are averaged by their Fishers."
    )
    search: ClassVar[Mapping[str, Range]] = {"alpha": Range(0.0, 1.0)}
    literature: ClassVar[str] = "Marouf et al. 2024, arXiv 2312.08977"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], not {self.alpha}")
        if self.labels not in LABELS:
            raise ValueError(f"labels must be one of {', '.join(LABELS)}, not {self.labels!r}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Remember where the task starts, from the second one on."""
        return task.everything(), memory | {"start": parameters} if memory else memory

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Average, and remember the Fisher at what training found."""
        fisher = diagonal_fisher(task, parameters, labels=self.labels)
        if not memory:
            return parameters, {"fisher": fisher}
        solution = {}
        for name, value in parameters.items():
            old, new = (1 - self.alpha) * memory["fisher"][name], self.alpha * fisher[name]
            total = old + new
            weight = torch.where(total > 0, new / torch.where(total > 0, total, 1.0), self.alpha)
            start = memory["start"][name]
            solution[name] = start + weight * (value - start)
        return solution, {"fisher": fisher}

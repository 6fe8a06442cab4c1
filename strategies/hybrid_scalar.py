"""Take of a task's update the less, the more its gradient agrees with those of earlier tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class HybridScalar(Strategy):
    """Small steps, and of the finished update a fraction that gradients decide.

    The paper's (arXiv 2602.20796): between frozen and initialized training lies an update
    magnitude that forgets least, a related task wants a smaller one than an unrelated one, and
    gradient directions tell which is which. What the magnitude is, how it follows from the score
    and where gradients are taken is our own; ``algorithm_1.py`` has the paper's algorithm.

    From the second task on all blocks train with a constant share of every step; then the
    solution moves from the last one towards what training found by a fraction between
    ``unrelated`` (score 0 or less) and ``related`` (score 1), in proportion to the score. That is
    the cosine between this task's gradient at the seeded initialisation, over all blocks but the
    head, and the sum of all earlier tasks' gradients there, each scaled to length 1.

    Parameters:
        share: share of every step that every block takes, in [0, 1].
        related: fraction of the update taken where gradients agree fully, in [0, 1].
        unrelated: fraction taken where they do not agree at all, in [0, 1].
    """

    share: float = 0.2
    related: float = 0.3
    unrelated: float = 0.9

    name: ClassVar[str] = "hybrid-scalar"
    summary: ClassVar[str] = (
        "Every block continues by a share; of the update, less is taken the more gradients agree."
    )
    search: ClassVar[Mapping[str, Range]] = {
        "share": Range(0.03, 1.0, logarithmic=True),
        "related": Range(0.0, 1.0),
        "unrelated": Range(0.0, 1.0),
    }
    literature: ClassVar[str] = "After He, Bai, Yang 2026, arXiv 2602.20796"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("share", "related", "unrelated"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} must be in [0, 1], not {getattr(self, field)}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Compare the task with the earlier ones; remember its gradient, the score, the start."""
        direction = _direction(task)
        plan = task.everything()
        if not memory:
            return plan, {"gradients": direction}
        score = torch.cosine_similarity(direction, memory["gradients"], dim=0)
        fraction = self.unrelated + (self.related - self.unrelated) * score.clamp(min=0)
        return UpdatePlan(self.share * plan.share, plan.restart), {
            "gradients": memory["gradients"] + direction,
            "score": score,
            "fraction": fraction,
            "start": parameters,
        }

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Take the fraction of the update."""
        if task.index > 0:
            parameters = {
                name: last + memory["fraction"] * (parameters[name] - last)
                for name, last in memory["start"].items()
            }
        return parameters, {name: value for name, value in memory.items() if name != "start"}


def _direction(task: Task) -> Tensor:
    """Return the gradient at the initialisation, all blocks but the head, scaled to length 1."""
    gradient = task.gradient(task.initial)
    names = [name for block in task.network.blocks[:-1] for name in block.parameters]
    flat = torch.cat([gradient[name].flatten() for name in names])
    length: Tensor = torch.linalg.vector_norm(flat)
    return flat / length.clamp(min=torch.finfo(flat.dtype).tiny)

"""The paper's Algorithm 1: the relation of two tasks decides how many blocks train."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.task_specific import check_share_of_blocks, share_of_blocks

METRICS = ("cosine", "sign")
ANCHORS = ("initial", "current")


def relation(metric: str, one: Parameters, other: Parameters) -> Tensor:
    """Return how alike two gradients are, a scalar in [-1, 1].

    ``cosine`` is that of the angle between them; ``sign`` is the share of entries that agree in
    sign minus the share that do not, among entries that are 0 in neither (pixels that are always
    black say nothing).
    """
    a = torch.cat([value.flatten() for value in one.values()])
    b = torch.cat([other[name].flatten() for name in one])
    if metric == "sign":
        agreement = a.sign() * b.sign()
        return agreement.sum() / agreement.abs().sum().clamp(min=1)
    return torch.cosine_similarity(a, b, dim=0)


@dataclass(frozen=True)
class AlgorithmOne(Strategy):
    """Train few blocks on a task related to the last one, many on an unrelated one.

    The paper's (arXiv 2602.20796, Algorithm 1, "Adaptive Training" in its tables): the score
    ``s_t = metric(g_t, g_{t-1})`` of the gradients of the training loss on this and the previous
    task, by default the cosine; a score below a threshold means unrelated, and more modules
    train; else fewer, closer to frozen. Only gradients are stored, no data.

    Our reading: a module is a block, and the last ones train, head included; the gradients are
    those of the shared blocks, all but the head (two tasks with classes of their own have no
    head in common). Read literally, each gradient is taken where its task begins: g_t at the
    trained parameters and g_{t-1} at its own start, here the anchor ``current``. In the linear
    model the expected inner product of these is never positive, so its sign says nothing; at the
    seeded initialisation, the same for all tasks and the anchor ``initial``, it falls with the
    distance of the tasks. Threshold and numbers of modules are not stated in what is known of
    the paper; the defaults are ours.

    Parameters:
        metric: ``cosine`` or ``sign``, see ``relation``.
        threshold: scores of at least this are related; in [-1, 1].
        related: share of the blocks that train on a related task, in (0, 1], rounded up.
        unrelated: the same for an unrelated task.
        anchor: where the gradients are taken, ``initial`` or ``current``.
    """

    metric: str = "cosine"
    threshold: float = 0.0
    related: float = 0.5
    unrelated: float = 1.0
    anchor: str = "current"

    name: ClassVar[str] = "algorithm-1"
    summary: ClassVar[str] = (
        "More blocks train the less the task's gradient is like the last one's."
    )
    literature: ClassVar[str] = "He, Bai, Yang 2026, arXiv 2602.20796, Algorithm 1"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        if self.anchor not in ANCHORS:
            raise ValueError(f"anchor must be one of {', '.join(ANCHORS)}, not {self.anchor!r}")
        if not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [-1, 1], not {self.threshold}")
        check_share_of_blocks("related", self.related)
        check_share_of_blocks("unrelated", self.unrelated)

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Compare the task with the last one; remember its gradient and the score."""
        anchor = task.initial if self.anchor == "initial" else parameters
        everywhere = task.gradient(anchor)
        gradient = {
            name: everywhere[name]
            for block in task.network.blocks[:-1]
            for name in block.parameters
        }
        plan = task.everything()
        if not memory:
            return plan, {"gradient": gradient}
        score = relation(self.metric, gradient, memory["gradient"])
        count = torch.where(
            score >= self.threshold,
            share_of_blocks(self.related, task.block_count),
            share_of_blocks(self.unrelated, task.block_count),
        )
        share = task.last_blocks(count).to(plan.share.dtype)
        return UpdatePlan(share, plan.restart), {"gradient": gradient, "score": score}

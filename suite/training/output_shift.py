"""How far a network's outputs move: the Kullback-Leibler divergence of the new from the old ones.

A currency of movement beside distances between parameters: parameters may move far without any
effect on outputs, and outputs far by a small move.
"""

import torch
from torch import Tensor

from driftboard.strategies.base import masked
from driftboard.suite.training.cohort import Cohort


@torch.no_grad()
def output_shift(before: Tensor, after: Tensor, allowed: Tensor, shown: Tensor) -> Tensor:
    """Return the mean over images of D(old || new), in nats, float64, (S,), at least 0.

    ``D(old || new) = sum over y of old(y) log(old(y) / new(y))``, where both are the softmax of
    logits over the allowed units: the direction of Shenfeld et al. 2025 (arXiv 2509.04259), whose
    old network is the one before fine-tuning.

    Args:
        before: logits of the old network, (S, n, units).
        after: of the new one.
        allowed: bool, (S, n, units): the units that an answer is chosen from.
        shown: bool, (S, n): false for what is no image but padding.

    >>> before, after = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0]]]).log()
    >>> units, image = torch.ones(1, 1, 2).bool(), torch.ones(1, 1).bool()
    >>> round(output_shift(before, after, units, image).item(), 4)  # log(2) - log(3) / 2
    0.1438
    """
    means = []
    # One learner after another, since in double precision the outputs of all take much memory.
    for old, new, units, image in zip(before, after, allowed, shown, strict=True):
        was, is_now = (masked(one.double(), units).log_softmax(dim=-1) for one in (old, new))
        each = (was.exp() * (was - is_now)).sum(dim=-1)
        means.append(each[image].mean())
    return torch.stack(means).clamp(min=0.0)  # rounding may leave a little less than 0


def shifts_of_task(
    cohort: Cohort, index: int, before: list[Tensor], after: list[Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Return how far training a task has moved the outputs, float64, (S,), in nats.

    The first is of the task's own test images, the second of those of earlier tasks, the mean over
    these tasks; None for the first task.

    Args:
        cohort: the learners.
        index: of the task.
        before: logits of every task's test images before training, (S, n, units) each.
        after: the same after training.
    """

    def of(task: int) -> Tensor:
        data = cohort.test[task]
        allowed = cohort.allowed(data, index + 1)
        return output_shift(before[task], after[task], allowed, data.labels >= 0)

    old = [of(task) for task in range(index)]
    return of(index), torch.stack(old).mean(dim=0) if old else None

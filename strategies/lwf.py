"""Learning without forgetting: new images are still answered as the old network answered them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from driftboard.strategies.base import (
    Examples,
    Memory,
    Parameters,
    Range,
    Strategy,
    Task,
    UpdatePlan,
    masked,
    mean_cross_entropy,
)
from driftboard.strategies.layers import logits_of_task


@dataclass(frozen=True)
class Lwf(Strategy):
    """Train on every batch, and keep on its images what the last solution says of earlier tasks.

    Li and Hoiem 2016 (arXiv 1606.09282, equations 1 to 3): the loss is the cross-entropy of the
    new labels, plus ``strength`` times the cross-entropy between the old and the new network's
    softmax of the logits of an earlier task's units, divided by ``temperature``; the terms of all
    earlier tasks are added up. Tasks that have the same units count once, and in class-incremental
    sequences all earlier units together are one task. What the old network says of a task's images
    is recorded before training, as in the paper. Ours: there is no warm-up, in which the paper
    trains the new units alone first, and no weight decay.

    Parameters:
        strength: lambda_o >= 0, weight of the old answers; 0 is plain training.
        temperature: T > 0.
    """

    strength: float = 1.0
    temperature: float = 2.0

    name: ClassVar[str] = "lwf"
    summary: ClassVar[str] = (
        "Every block trains; new images keep the answers of the last solution's units."
    )
    literature: ClassVar[str] = "Li, Hoiem 2016, arXiv 1606.09282"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(0.1, 10.0, logarithmic=True)}

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.strength < float("inf"):
            raise ValueError(f"strength must be at least 0, not {self.strength}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, not {self.temperature}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Record what the last solution says of this task's images."""
        if not memory:
            return task.everything(), memory
        return task.everything(), memory | {"logits": logits_of_task(task, parameters)}

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Return the loss of the labels and of what the last solution said."""
        logits = task.network.logits(parameters, examples.images)
        own = mean_cross_entropy(masked(logits, examples.allowed), examples.labels)
        if not memory:
            return own
        assert task.step is not None
        units = memory["units"]  # (earlier tasks, head units)
        old, new = (
            F.log_softmax(masked(values / self.temperature, units[:, None]), dim=-1)
            for values in (memory["logits"][task.step.positions], logits)
        )
        each = -(old.exp() * new).sum(-1).mean(-1)
        return own + self.strength * torch.where(units.any(-1), each, 0.0).sum()

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Remember which units the task has, and forget what was recorded."""
        units = task.examples.allowed[:1]
        if memory and task.answers.shape[0] == task.units.shape[0]:
            known = memory["units"]
            again = (known == units).all(-1).any()
            units = torch.cat([known, units & ~again])
        return parameters, {"units": units}

"""Dark experience replay: stored examples are held at the logits that they once had."""

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
    masked,
    mean_cross_entropy,
)
from driftboard.strategies.buffer import drawn, examples_of, of_task, reservoir
from driftboard.strategies.layers import logits_of_task


@dataclass(frozen=True)
class Derpp(Strategy):
    """Train on every batch, on stored examples' logits, and on other stored examples' labels.

    DER++ (Buzzega et al. 2020, arXiv 2004.07211, equation 6): the loss is the cross-entropy of
    the batch, plus ``alpha`` times the squared distance of stored examples' logits from those that
    were stored with them, plus ``beta`` times the cross-entropy of other stored examples; each of
    the three is over as many examples as a batch has. As in the authors' code the distance is a
    mean over the head's units, also those of tasks to come. The paper tunes both weights
    for each data set and capacity; here they are 0.5 everywhere. The distance is not bounded: where
    logits are large, as after a task of few images, a step can overshoot at the protocol's rate.

    Ours: a task's examples are offered to the reservoir when the task ends. So a task does not
    replay its own, and logits are those of the task's solution, not of the way to it. Stored
    examples are drawn with replacement.

    Parameters:
        alpha: weight of the stored logits, at least 0.
        beta: weight of the stored labels, at least 0.
        capacity: how many examples are stored in all, at least 1.
    """

    alpha: float = 0.5
    beta: float = 0.5
    capacity: int = 100

    name: ClassVar[str] = "derpp"
    summary: ClassVar[str] = (
        "Every block trains, on each batch and on stored examples' logits and labels."
    )
    literature: ClassVar[str] = "Buzzega et al. 2020, arXiv 2004.07211"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "examples"
    search: ClassVar[Mapping[str, Range]] = {
        "alpha": Range(0.1, 1.0, logarithmic=True),
        "beta": Range(0.1, 1.0, logarithmic=True),
    }

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for field in ("alpha", "beta"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be at least 0, not {getattr(self, field)}")
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {self.capacity}")

    def loss(
        self, task: Task, examples: Examples, parameters: Parameters, memory: Memory
    ) -> Tensor:
        """Return the loss of a batch and of two draws of stored examples, in one forward pass."""
        if not memory:
            return task.loss(parameters, examples)
        count = examples.labels.shape[0]
        held, labelled = (drawn(task, memory, count, name) for name in ("logits", "labels"))
        asked = examples_of(task, labelled)
        images = [examples.images, examples_of(task, held).images, asked.images]
        logits = task.network.logits(parameters, torch.cat(images)).split(count)
        return (
            mean_cross_entropy(masked(logits[0], examples.allowed), examples.labels)
            + self.alpha * F.mse_loss(logits[1], held["logits"])
            + self.beta * mean_cross_entropy(masked(logits[2], asked.allowed), asked.labels)
        )

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Offer the task's examples to the reservoir, with their logits at the solution."""
        new = of_task(task, logits=logits_of_task(task, parameters))
        return parameters, reservoir(memory, new, self.capacity)

"""Answers by an average of the weights over the steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from driftboard.strategies.base import (
    Memory,
    Parameters,
    Range,
    Strategy,
    Task,
    UpdatePlan,
)


@dataclass(frozen=True)
class Ema(Strategy):
    """Train plainly, and answer with an exponential moving average of the weights.

    Of Soutif-Carmagnac et al. 2023 (arXiv 2306.16817): the average goes on over all tasks and is
    used in tests alone; training goes on from where it ended. Theirs is averaged beside replay of
    stored examples, which this leaves out. The average of the first steps is their mean, until
    the decay is reached, so that the initialisation has no part in it. The decay is ours: a task
    of the protocol can have as few as 60 steps.

    Parameters:
        decay: what the average keeps of its weight at every step, in [0, 1); 0 is plain training.
        continued: train the next task from the average.
    """

    decay: float = 0.99
    continued: bool = False

    name: ClassVar[str] = "ema"
    summary: ClassVar[str] = "Every block trains fully; an average over the steps answers."
    search: ClassVar[Mapping[str, Range]] = {"decay": Range(0.9, 0.999)}
    literature: ClassVar[str] = "Soutif-Carmagnac et al. 2023, arXiv 2306.16817"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "parameters"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {self.decay}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Go on from where training ended; the last solution is the average."""
        plan = task.everything()
        if memory and not self.continued:
            plan = UpdatePlan(plan.share, plan.restart, memory["trained"])
        steps = memory["steps"] if memory else torch.zeros_like(task.noise[0])
        return plan, {"average": parameters, "steps": steps}

    def observe(
        self,
        task: Task,
        gradient: Parameters,
        step: Parameters,
        parameters: Parameters,
        memory: Memory,
    ) -> Memory:
        """Take the parameters into the average."""
        steps = memory["steps"]
        kept = (steps / (steps + 1)).clamp_max(self.decay)
        average = {
            name: value + (1 - kept) * (parameters[name] - value)
            for name, value in memory["average"].items()
        }
        return {"average": average, "steps": steps + 1}

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Return the average, and remember where training ended if it goes on from there."""
        trained = {} if self.continued else {"trained": parameters}
        return memory["average"], {"steps": memory["steps"], **trained}

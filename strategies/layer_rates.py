"""Rates that differ between the blocks of a network and are the same at all later tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan


@dataclass(frozen=True)
class _LayerRates(Strategy):
    """Base: the first task trains everything fully, later ones every block at its share."""

    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Give every block its share, from the second task on."""
        plan = task.everything()
        if task.index > 0:
            plan = UpdatePlan(self._shares(task).to(plan.share.dtype), plan.restart)
        return plan, memory

    def _shares(self, task: Task) -> Tensor:
        """Return the share of every block, (blocks,)."""
        raise NotImplementedError


@dataclass(frozen=True)
class SlowBackbone(_LayerRates):
    """Train all blocks before the head at a small share of the head's rate.

    The slow learner of SLCA (Zhang et al. 2023, arXiv 2303.05118, section 3.2), whose pre-trained
    body learns at a hundredth of the classifier's rate. Ours: here the first task trains
    everything fully, since nothing is pre-trained; the alignment of the classifier, SLCA's other
    half, is left out.

    Parameters:
        share: of every step that the blocks before the head take, in [0, 1]; 1 is plain training.
    """

    share: float = 0.01

    name: ClassVar[str] = "slow-backbone"
    summary: ClassVar[str] = "The head trains fully, all other blocks slowly."
    search: ClassVar[Mapping[str, Range]] = {"share": Range(0.001, 1.0, logarithmic=True)}
    literature: ClassVar[str] = "Zhang et al. 2023, arXiv 2303.05118"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be in [0, 1], not {self.share}")

    def _shares(self, task: Task) -> Tensor:
        return torch.where(task.last_blocks(1), 1.0, self.share)


@dataclass(frozen=True)
class Discriminative(_LayerRates):
    """Train every block at a fixed fraction of the rate of the block after it.

    Discriminative fine-tuning of ULMFiT (Howard and Ruder 2018, arXiv 1801.06146, section 3.2):
    the share of block l of L is ``ratio^(L - l)``; their ratio is 1 / 2.6. Ours: here the first
    task trains everything fully, since nothing is pre-trained.

    Parameters:
        ratio: in [0, 1]; 1 is plain training, 0 trains the head alone.
    """

    ratio: float = 1 / 2.6

    name: ClassVar[str] = "discriminative"
    summary: ClassVar[str] = "Every block trains at a fraction of the rate of the next one."
    search: ClassVar[Mapping[str, Range]] = {"ratio": Range(0.05, 1.0, logarithmic=True)}
    literature: ClassVar[str] = "Howard and Ruder 2018, arXiv 1801.06146"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio must be in [0, 1], not {self.ratio}")

    def _shares(self, task: Task) -> Tensor:
        after = torch.arange(task.block_count - 1, -1, -1, device=task.classes.device)
        shares: Tensor = self.ratio ** after.to(task.noise.dtype)
        return shares


@dataclass(frozen=True)
class Surgical(_LayerRates):
    """Train one block, and the head, on every later task.

    Surgical fine-tuning (Lee et al. 2022, arXiv 2210.11466) trains one block of a pre-trained
    network: the first one where the inputs have changed, the last one where the labels have. Ours:
    the head always trains, since a new task's units would otherwise stay as they began; the first
    task trains everything, since nothing is pre-trained.

    Parameters:
        block: which one, counted from 0 at the input, or from -1 at the head, which is alone then.
    """

    block: int = 0

    name: ClassVar[str] = "surgical"
    summary: ClassVar[str] = "One block and the head train; all others are frozen."
    literature: ClassVar[str] = "Lee et al. 2022, arXiv 2210.11466"

    def _shares(self, task: Task) -> Tensor:
        count = task.block_count
        if not -count <= self.block < count:
            raise ValueError(f"block must be from {-count} to {count - 1}, not {self.block}")
        place = torch.arange(count, device=task.classes.device)
        return (place == self.block % count) | task.last_blocks(1)

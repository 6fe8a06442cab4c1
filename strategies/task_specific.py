"""Where the line runs between the shared blocks of a network and the task-specific ones."""

from dataclasses import dataclass
from math import ceil

from torch import Tensor

from driftboard.strategies.base import Strategy, Task


def share_of_blocks(share: float, count: int) -> int:
    """Return how many of ``count`` blocks are a share in (0, 1] of them, rounded up."""
    # 0.07 * 100 is a little more than 7 in floating point and must still be 7.
    return ceil(share * count - 1e-9)


def check_share_of_blocks(name: str, share: float) -> None:
    """Refuse a share of the blocks that would leave none, not even the head, or more than all."""
    if not 0 < share <= 1:
        raise ValueError(f"{name} must be in (0, 1], not {share}")


@dataclass(frozen=True)
class TaskSpecific(Strategy):
    """Base of the strategies that treat the last blocks, head included, as task-specific.

    Parameters:
        task_specific: share of the blocks that are task-specific, in (0, 1], rounded up.
    """

    task_specific: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_share_of_blocks("task_specific", self.task_specific)

    def own_blocks(self, task: Task) -> Tensor:
        """Return a bool tensor, shape (blocks,), true for the task-specific blocks."""
        return task.last_blocks(share_of_blocks(self.task_specific, task.block_count))

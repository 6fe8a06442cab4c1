"""Experience replay: stored examples of earlier tasks are trained on beside the new ones."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from driftboard.strategies.base import Examples, Memory, Parameters, Strategy, Task
from driftboard.strategies.buffer import drawn, examples_of, of_task, reservoir, together


@dataclass(frozen=True)
class Er(Strategy):
    """Train on every batch together with as many stored examples of earlier tasks.

    Chaudhry et al. 2019 (arXiv 1902.10486, Algorithm 1) with a reservoir: of all examples seen so
    far each is stored with the same probability, and a step minimises the mean loss over a batch
    and as many examples drawn from what is stored. Ours: a task's examples are offered to the
    reservoir when the task ends and not batch by batch, so that a task does not replay its own,
    of which this protocol shows each several times anyway; and stored examples are drawn with
    replacement.

    Parameters:
        capacity: how many examples are stored in all, at least 1.
    """

    capacity: int = 100

    name: ClassVar[str] = "er"
    summary: ClassVar[str] = "Every block trains, on each batch and as many stored examples."
    literature: ClassVar[str] = "Chaudhry et al. 2019, arXiv 1902.10486"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "examples"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {self.capacity}")

    def batch(self, task: Task, examples: Examples, memory: Memory) -> Examples:
        """Add as many stored examples."""
        if not memory:
            return examples
        stored = drawn(task, memory, examples.labels.shape[0])
        return together(examples, examples_of(task, stored))

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Offer the task's examples to the reservoir."""
        return parameters, reservoir(memory, of_task(task), self.capacity)

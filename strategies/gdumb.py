"""GDumb: a balanced memory is all that is trained on, from scratch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from driftboard.strategies.base import Examples, Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.strategies.buffer import balanced, drawn, examples_of, of_task


@dataclass(frozen=True)
class GDumb(Strategy):
    """Store as many examples of every class, and train on nothing else, from scratch.

    Prabhu, Torr and Dokania 2020 (ECCV): a greedy sampler keeps the memory balanced, and whenever
    the network is asked, a new one is trained on the memory alone. It shows what a method gains by
    more than its memory.

    Here: a task's examples are offered to the memory when the task begins, and the task's steps
    then train from the seeded initialisation, for as many steps of the protocol as any strategy
    takes and with its optimiser; each step draws a batch from the memory, with replacement, as
    large as one of the task's own, which is small where the task has few images. The
    paper trains 256 passes with a decaying learning rate and CutMix. Its sampler never replaces an
    example by a later one of the same class; here all of a class are equally likely, which is the
    same unless a class returns in a later task.

    Parameters:
        capacity: how many examples are stored in all, at least 1.
    """

    capacity: int = 100

    name: ClassVar[str] = "gdumb"
    summary: ClassVar[str] = "Every block restarts, and trains on a balanced memory alone."
    literature: ClassVar[str] = "Prabhu, Torr, Dokania 2020 (ECCV)"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "examples"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {self.capacity}")

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Offer the task's examples to the memory, and start from scratch."""
        plan = task.everything()
        memory = balanced(memory, of_task(task), self.capacity)
        return UpdatePlan(plan.share, plan.restart, task.initial), memory

    def batch(self, task: Task, examples: Examples, memory: Memory) -> Examples:
        """Return as many stored examples in place of the batch."""
        return examples_of(task, drawn(task, memory, examples.labels.shape[0]))

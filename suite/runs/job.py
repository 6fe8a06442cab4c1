"""A job: a measurement for some seeds of one sequence, small enough to be sent anywhere.

It holds names and settings but no data, so any process that has the users' files can run it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from driftboard.suite.loading import files_of, load_sequences, moved
from driftboard.suite.sequences.splits import Purpose
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.memory_plan import half_of, in_groups


class Payload(Protocol):
    """What a job measures and how its records are kept."""

    def measure(
        self, setting: Setting, strategy: str, at_once: int, on_step: Callable[[], None]
    ) -> list[Any]:
        """Train and return the record of every seed; nothing is written.

        Args:
            setting: sequence, seeds, data and device.
            strategy: a specification for ``load_strategy``, empty where none is asked for.
            at_once: how many learners are trained together at the most.
            on_step: called after each task of each cohort.
        """

    def keep(self, results: Path, records: list[Any]) -> None:
        """Write records below a results folder, unless they are there.

        Raises:
            RecordError: they cannot be written.
        """


@dataclass(frozen=True, kw_only=True)
class Job:
    """A measurement for some seeds of one sequence.

    Args:
        label: what a progress bar and a failure call it.
        payload: what is measured.
        sequence: its name.
        sequence_files: the users' files that define sequences.
        strategy: a specification for ``load_strategy``, or nothing.
        seeds: one or several.
        learners: of every seed.
        at_once: how many learners are trained together at the most.
        tasks: of the sequence.
        effort: the estimated work, counted in images of an MLP.
    """

    label: str
    payload: Payload
    sequence: str
    sequence_files: tuple[Path, ...]
    strategy: str = ""
    seeds: tuple[int, ...]
    purpose: Purpose
    data: Path | None
    results: Path
    device: str
    learners: int = 1
    at_once: int
    tasks: int
    effort: float

    @property
    def together(self) -> int:
        """How many learners are trained together at the most."""
        return min(self.at_once, len(self.seeds) * self.learners)

    @property
    def steps(self) -> int:
        """How often ``measure`` reports: once per task and cohort."""
        return self.tasks * -(-len(self.seeds) * self.learners // self.at_once)

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""
        return (*files_of(self.strategy), *self.sequence_files)

    def smaller(self) -> "list[Job]":
        """Return jobs that do the same with about half as many learners at a time.

        There are none where a single learner is trained at a time.
        """
        if self.together == 1:
            return []
        half = half_of(self.together)
        return [
            replace(
                self,
                seeds=seeds,
                at_once=half,
                effort=self.effort * len(seeds) / len(self.seeds),
            )
            for seeds in in_groups(self.seeds, max(1, half // self.learners))
        ]

    def moved(self, places: Mapping[Path, Path]) -> "Job":
        """Return the same job where each of its files lies in another place."""
        return replace(
            self,
            strategy=moved(self.strategy, places),
            sequence_files=tuple(places[path] for path in self.sequence_files),
        )

    def measure(self, on_step: Callable[[], None] = lambda: None) -> list[Any]:
        """Train and return the record of every seed, calling ``on_step`` at every step."""
        sequence = load_sequences(self.sequence_files)[self.sequence]
        setting = Setting(sequence, self.seeds, self.purpose, self.data, self.device)
        return self.payload.measure(setting, self.strategy, self.at_once, on_step)

    def keep(self, records: list[Any]) -> None:
        """Write what ``measure`` has returned, here or elsewhere.

        Raises:
            RecordError: it cannot be written.
        """
        self.payload.keep(self.results, records)

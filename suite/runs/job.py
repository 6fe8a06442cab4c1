"""A job: a measurement for some seeds of one sequence, small enough to be sent anywhere.

It holds names, settings and what was read of the users' files, but no data, so any process can run
it, and runs what was read, whatever becomes of the files.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from driftboard.suite.loading import LoadedStrategy, load_sequences, load_strategy
from driftboard.suite.sequences.splits import Purpose
from driftboard.suite.source import Source
from driftboard.suite.source.loaders import only_own_imports
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.memory_plan import half_of, in_groups


class Payload(Protocol):
    """What a job measures and how its records are kept."""

    def measure(
        self,
        setting: Setting,
        loaded: LoadedStrategy | None,
        at_once: int,
        on_step: Callable[[], None],
    ) -> list[Any]:
        """Train and return the record of every seed; nothing is written.

        Args:
            setting: sequence, seeds, data and device.
            loaded: the strategy, None where none is asked for.
            at_once: how many learners are trained together at the most.
            on_step: called after each task of each cohort.
        """

    def keep(self, results: Path, records: list[Any], seeds: tuple[int, ...]) -> None:
        """Write the records of some seeds below a results folder, in place of what is there.

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
        sequence_sources: of the users' files that define sequences.
        strategy: a specification for ``load_strategy``, or nothing.
        source: of the strategy, unless it is built in.
        seeds: one or several.
        wanted: the seeds whose records are kept; others are trained along with them.
        learners: of every seed.
        at_once: how many learners are trained together at the most.
        tasks: of the sequence.
        effort: the estimated work, counted in images of an MLP.
    """

    label: str
    payload: Payload
    sequence: str
    sequence_sources: tuple[Source, ...]
    strategy: str = ""
    source: Source | None = None
    seeds: tuple[int, ...]
    wanted: tuple[int, ...]
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

    def measure(self, on_step: Callable[[], None] = lambda: None) -> list[Any]:
        """Train and return the record of every seed, calling ``on_step`` at every step.

        Raises:
            StrategyError: among others, a hook imports what is no part of the strategy's source.
        """
        sequence = load_sequences(self.sequence_sources)[self.sequence]
        loaded = load_strategy(self.strategy, source=self.source) if self.strategy else None
        setting = Setting(sequence, self.seeds, self.purpose, self.data, self.device)
        with only_own_imports():
            return self.payload.measure(setting, loaded, self.at_once, on_step)

    def keep(self, records: list[Any]) -> None:
        """Write what is wanted of what ``measure`` has returned, here or elsewhere.

        Raises:
            RecordError: it cannot be written.
        """
        self.payload.keep(self.results, records, self.wanted)

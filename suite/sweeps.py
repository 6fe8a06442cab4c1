"""Sweeps: one strategy at many update magnitudes, as one cohort of seeds x magnitudes.

Every learner of a seed has the same initialisation, data and batches, so the curve over
magnitudes is paired by seed. A learner's magnitude lies in its memory from the start; see
``strategies/magnitude.py``. Reading a record imports no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from driftboard.suite.metrics import chance_counts
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    Count,
    Digest,
    NonNegative,
    Positive,
    ProtocolStamp,
    SequenceStamp,
    read_json,
    write_atomically,
)
from driftboard.suite.sealing import sealed

if TYPE_CHECKING:
    from torch import Tensor

    from driftboard.suite.loading import LoadedStrategy
    from driftboard.suite.runs.job import Job
    from driftboard.suite.runs.request import Planner, Request, Row
    from driftboard.suite.runs.results_folder import Outdated, Parts
    from driftboard.suite.sequences.task_sequence import TaskSequence
    from driftboard.suite.training.cohort import Prepared, Setting
    from driftboard.suite.training.engine import Outcome

Kind = Literal["fraction", "ball"]

LEARNERS_AT_ONCE = 40
"""Learners of one job, about: more use more memory, fewer stack less."""


class SweepRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One seed of a sweep; ``correct[m][t][k]`` as in a run's record, at magnitude m.

    ``update_norms[m][t]`` is the norm of the update of all parameters over task t. From where
    a learner diverged its counts are those of chance and its norms 0.
    """

    schema: Literal[2]
    protocol: ProtocolStamp
    sequence: SequenceStamp
    kind: Kind
    seed: Count
    magnitudes: Annotated[tuple[NonNegative, ...], Meta(min_length=1)]
    test_sizes: tuple[Positive, ...]
    correct: tuple[tuple[tuple[Count, ...], ...], ...]
    update_norms: tuple[tuple[NonNegative, ...], ...]
    diverged: tuple[bool, ...]
    digest: Digest | None = None  # of all the rest; set in files only

    def __post_init__(self) -> None:
        """Check what the field types cannot: that all parts tell of the same learners.

        Raises:
            ValueError: with the first inconsistency found.
        """
        learners, tasks = len(self.magnitudes), len(self.test_sizes)
        if {len(self.correct), len(self.update_norms), len(self.diverged)} != {learners}:
            raise ValueError(f"not every part of the record has {learners} magnitudes")
        for matrix in (*self.correct, *([row] for row in self.update_norms)):
            if any(len(row) != tasks for row in matrix):
                raise ValueError(f"a row does not have {tasks} tasks")
        for matrix in self.correct:
            if len(matrix) != tasks:
                raise ValueError(f"a matrix does not have {tasks} tasks")
            if any(
                c > size for row in matrix for c, size in zip(row, self.test_sizes, strict=True)
            ):
                raise ValueError("more correct answers than test images")


def sweep_path(results: Path, sequence: str, kind: str, seed: int) -> Path:
    """Return where the record of one seed lies below a results folder."""
    return results / "sweeps" / f"{sequence}-by-{kind}" / f"seed-{seed:04d}.json"


def write_sweep(path: Path, record: SweepRecord) -> None:
    """Write a sweep record whole or not at all."""
    write_atomically(path, sealed(record) + b"\n")


def read_sweep(path: Path) -> SweepRecord:
    """Read and check a sweep record.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema or inconsistent.
    """
    return read_json(path, SweepRecord, "a sweep record of schema 2", "delete it and sweep again")


@dataclass(frozen=True)
class Sweep:
    """One sequence at many update magnitudes, as work and as payload."""

    kind: Kind
    magnitudes: tuple[float, ...]

    def rows(
        self, request: "Request", sequence: "TaskSequence", outdated: "Outdated"
    ) -> "list[Row]":
        """Return the seeds that lack a record; see ``Work``."""
        from driftboard.suite.runs.request import Row

        protocol, version = PROTOCOL.stamp(), sequence.hash()

        def parts(record: SweepRecord, seed: int) -> "Parts":
            return (
                ("protocol", record.protocol, protocol),
                (f"version of the sequence {sequence.name}", record.sequence.hash, version),
                ("list of magnitudes", record.magnitudes, self.magnitudes),
                ("seed", record.seed, seed),
            )

        paths = {
            seed: sweep_path(request.results, sequence.name, self.kind, seed)
            for seed in request.seeds(sequence)
        }
        missing = outdated.lacking(paths, read_sweep, parts)
        return [Row(f"{sequence.name} by {self.kind}", missing)] if missing else []

    def jobs(
        self, planner: "Planner", sequence: "TaskSequence", rows: "Sequence[Row]"
    ) -> "list[Job]":
        """Return the jobs that make what is missing of a sequence; see ``Work``."""
        recipes = planner.recipes(sequence)
        return planner.jobs(
            sequence,
            rows,
            self,
            recipes=recipes,
            stacking=planner.stacking(sequence, recipes),
            seeds=rows[0].seeds,
            learners=len(self.magnitudes),
            seeds_at_once=max(1, LEARNERS_AT_ONCE // len(self.magnitudes)),
        )

    def measure(
        self,
        setting: "Setting",
        loaded: "LoadedStrategy | None",
        at_once: int,
        on_step: Callable[[], None],
    ) -> list[SweepRecord]:
        """Train all magnitudes of all seeds and return the record of every seed."""
        import torch

        from driftboard.strategies.magnitude import Ball, Fraction
        from driftboard.suite.training.cohort import prepare
        from driftboard.suite.training.engine import run
        from driftboard.suite.training.memory_plan import in_groups
        from driftboard.suite.training.networks import choose_mode

        prepared = prepare(setting)
        swept = {"fraction": Fraction(), "ball": Ball()}[self.kind]
        cohort = prepared.for_strategy(setting, swept.name)
        mode = choose_mode(cohort.network, cohort.device)
        learners = [
            (position, magnitude)
            for magnitude in self.magnitudes
            for position in range(len(setting.seeds))
        ]
        outcomes = []
        for group in in_groups(learners, at_once):
            positions, magnitudes = zip(*group, strict=True)
            memory = {
                "magnitude": torch.tensor(magnitudes, dtype=cohort.dtype, device=cohort.device)
            }
            chosen = cohort.chosen(positions)
            outcomes.append(run(chosen, swept, mode, lambda _: on_step(), memory))
        return [
            self._record(setting, prepared, outcomes, position)
            for position in range(len(setting.seeds))
        ]

    def keep(self, results: Path, records: list[SweepRecord], seeds: tuple[int, ...]) -> None:
        """Write one file per seed."""
        for record in records:
            if record.seed in seeds:
                path = sweep_path(results, record.sequence.name, self.kind, record.seed)
                write_sweep(path, record)

    def _record(
        self, setting: "Setting", prepared: "Prepared", outcomes: "list[Outcome]", position: int
    ) -> SweepRecord:
        """Return the record of one seed; learners are ordered by magnitude, then by seed."""
        import torch

        from driftboard.suite.training.record_builder import numbers_seen, sizes_and_classes

        cohort = prepared.cohort
        own = slice(position, None, len(setting.seeds))

        def of_seed(name: str) -> "Tensor":
            """Return what the outcomes hold under a name, shape (magnitudes, tasks, ...)."""
            per_task = [
                torch.cat([getattr(outcome, name)[task] for outcome in outcomes])
                for task in range(len(cohort.train))
            ]
            return torch.stack([values[own] for values in per_task], dim=1)

        sizes, classes = sizes_and_classes(cohort, position)
        fine = of_seed("fine")
        chance = torch.tensor(chance_counts(sizes, classes, numbers_seen(cohort, position)))
        correct = torch.where(fine[:, :, None], of_seed("correct"), chance)
        norms = torch.where(fine, of_seed("update_norms").norm(dim=2), 0.0)
        return SweepRecord(
            schema=2,
            protocol=PROTOCOL.stamp(),
            sequence=prepared.stamp,
            kind=self.kind,
            seed=setting.seeds[position],
            magnitudes=self.magnitudes,
            test_sizes=tuple(sizes),
            correct=tuple(tuple(map(tuple, matrix)) for matrix in correct.tolist()),
            update_norms=tuple(map(tuple, norms.tolist())),
            diverged=tuple(not one for one in fine[:, -1].tolist()),
        )


def sweep_records(request: "Request", kind: Kind) -> list[SweepRecord]:
    """Return the records of all seeds of a request that are there."""
    paths = [
        sweep_path(request.results, sequence.name, kind, seed)
        for sequence in request.sequences
        for seed in request.seeds(sequence)
    ]
    return [read_sweep(path) for path in paths if path.exists()]

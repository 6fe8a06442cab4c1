"""The grid of cells: which a run asks for, which are done, and the jobs that make the rest.

To see which cells are done no torch is needed, so it is imported where jobs are made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    MARKER,
    ProtocolStamp,
    StrategyStamp,
    cell_path,
    read_record,
    record_paths,
    write_atomically,
)
from driftboard.suite.sequences.task_sequence import TaskSequence

if TYPE_CHECKING:
    from driftboard.suite.data import Pool
    from driftboard.suite.linear.job import LinearJob
    from driftboard.suite.runs.worker import Job
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.sequences.scenarios import Recipe
    from driftboard.suite.sequences.splits import Purpose
    from driftboard.suite.training.memory_plan import Stacking


class Stamped(Protocol):
    """A strategy by what it is called and what records say of it, loaded or not."""

    @property
    def specification(self) -> str:
        """The text from which any process loads it."""

    @property
    def stamp(self) -> StrategyStamp:
        """What records say of it."""


class AnyRequest(Protocol):
    """What all requests say: of a run, of a grading, of a sweep. They are data classes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def sequences(self) -> tuple[TaskSequence, ...]:
        """What is trained on."""

    @property
    def data(self) -> Path | None:
        """The data folder, if it is not Driftboard's own."""

    @property
    def results(self) -> Path:
        """The folder for what is measured."""

    @property
    def device(self) -> str:
        """Where to train: ``cpu``, ``cuda`` or, not decided yet, ``auto``."""

    def cell_count(self) -> int:
        """Return the number of records asked for, done or not."""


@dataclass(frozen=True)
class Request:
    """What a run was asked for."""

    sequences: tuple[TaskSequence, ...]
    sequence_files: tuple[Path, ...]
    strategies: tuple[Stamped, ...]
    seed_count: int | None  # the first so many of each tier's seeds; None takes all
    purpose: "Purpose"
    results: Path
    data: Path | None
    device: str

    def seeds(self, sequence: TaskSequence) -> tuple[int, ...]:
        """Return the seeds that the run trains on a sequence."""
        seeds = PROTOCOL.seeds_of(sequence.tier, tuning=self.purpose == "validation")
        return seeds[: self.seed_count]

    def cell_count(self) -> int:
        """Return the number of cells asked for, done or not."""
        return len(self.strategies) * sum(len(self.seeds(s)) for s in self.sequences)


def claim_folder(results: Path, purpose: "Purpose") -> None:
    """Mark a results folder with the protocol's stamp, or check the mark that is there.

    Raises:
        RecordError: it cannot be written, or holds results of another protocol or split.
    """
    marker = results / MARKER
    if not marker.exists():
        write_atomically(marker, msgspec.json.encode(PROTOCOL.stamp()) + b"\n")
    try:
        found = msgspec.json.decode(marker.read_bytes(), type=ProtocolStamp)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(f"{marker} is not readable: {error}; choose another --out") from error
    if found != PROTOCOL.stamp():
        raise RecordError(
            f"{results} holds results of protocol {found.name} {found.version} "
            f"({found.hash[:12]}), this is {PROTOCOL.name} {PROTOCOL.version} "
            f"({PROTOCOL.stamp().hash[:12]}); choose another --out"
        )
    first = next(record_paths(results), None)
    if first is not None and read_record(first).split != purpose:
        raise RecordError(
            f"{first} is not of the {purpose} split, and no board shows both; choose another --out"
        )


def is_complete(request: Request, sequence: TaskSequence) -> bool:
    """Tell whether every cell of a sequence has a record.

    Raises:
        RecordError: as ``missing_cells``.
    """
    return not any(seeds for _, seeds in missing_cells(request, sequence))


def missing_cells(
    request: Request, sequence: TaskSequence
) -> Iterator[tuple[Stamped, tuple[int, ...]]]:
    """Yield every strategy with the seeds of the sequence that have no record yet.

    Raises:
        RecordError: a record is broken, or was made from another sequence, strategy or split.
    """
    protocol, version = PROTOCOL.stamp(), sequence.hash()
    for strategy in request.strategies:
        missing = []
        for seed in request.seeds(sequence):
            path = cell_path(request.results, sequence.name, strategy.stamp.name, seed)
            if not path.exists():
                missing.append(seed)
                continue
            record = read_record(path)
            for what, found, wanted in (
                ("protocol", record.protocol, protocol),
                ("version of the sequence", record.sequence.hash, version),
                ("version of the strategy", record.strategy, strategy.stamp),
                ("split (test or validation)", record.split, request.purpose),
            ):
                if found != wanted:
                    raise RecordError(
                        f"{path} belongs to another {what}; delete it, or choose another --out"
                    )
        yield strategy, tuple(missing)


def stacking_for(
    sequence: TaskSequence, pool: "Pool", recipes: "Sequence[Recipe]", device: str
) -> "Stacking":
    """Return how many learners of a sequence are trained together.

    ``recipes`` are those of one seed; all seeds have equally many training images.
    """
    from driftboard.suite.training.memory_plan import stacking_of

    return stacking_of(
        sequence.network,
        pool.train_images.shape[1:],
        len(recipes[0].active),
        [len(recipe.train) for recipe in recipes],
        [len(recipe.test) for recipe in recipes],
        sequence.training_under(PROTOCOL),
        device,
    )


def jobs_for(request: Request, sequence: TaskSequence, at_once: int) -> "list[Job]":
    """Return the jobs of one sequence that make the cells it lacks.

    Which seeds are trained together, ``at_once`` at the most, does not depend on what is done.
    All strategies of a group of seeds come in turn, so that a process prepares its data once.
    """
    from driftboard.suite.runs.worker import Job
    from driftboard.suite.training.memory_plan import in_groups

    rows = list(missing_cells(request, sequence))
    return [
        Job(
            sequence=sequence.name,
            sequence_files=request.sequence_files,
            strategy=strategy.specification,
            seeds=group,
            purpose=request.purpose,
            data=request.data,
            results=request.results,
            device=request.device,
            steps=sequence.scenario.tasks,
        )
        for group in in_groups(request.seeds(sequence), at_once)
        for strategy, missing in rows
        if set(missing).intersection(group)
    ]


def linear_jobs_for(
    request: Request, sequence: TaskSequence, setting: "LinearSetting"
) -> "list[LinearJob]":
    """Return the jobs of one linear sequence that make the cells it lacks."""
    from driftboard.suite.linear.job import LinearJob

    seeds = request.seeds(sequence)
    return [
        LinearJob(
            sequence, setting, strategy.specification, seeds, request.purpose, request.results
        )
        for strategy, missing in missing_cells(request, sequence)
        if missing
    ]


def resolve_device(wanted: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DriftboardError: CUDA is asked for and not there.
    """
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise DriftboardError(
            "no CUDA GPU can be used here (torch.cuda.is_available() is false); "
            "use --device cpu, or mend the driver"
        )
    return "cpu"

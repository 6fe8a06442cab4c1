"""Sweep records: what the learners of one seed answered at every update magnitude."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from driftboard.suite.errors import RecordError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    Count,
    NonNegative,
    Positive,
    ProtocolStamp,
    SequenceStamp,
    read_json,
    write_atomically,
)


class SweepRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One seed of a sweep; ``correct[m][t][k]`` as in a run's record, at magnitude m.

    ``update_norms[m][t]`` is the norm of the update of all parameters over task t. From where
    a learner diverged its counts are those of chance and its norms 0.
    """

    schema: Literal[1]
    protocol: ProtocolStamp
    sequence: SequenceStamp
    kind: Literal["fraction", "ball"]
    seed: Count
    magnitudes: Annotated[tuple[NonNegative, ...], Meta(min_length=1)]
    test_sizes: tuple[Positive, ...]
    correct: tuple[tuple[tuple[Count, ...], ...], ...]
    update_norms: tuple[tuple[NonNegative, ...], ...]
    diverged: tuple[bool, ...]

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
    write_atomically(path, msgspec.json.encode(record) + b"\n")


def read_sweep(path: Path) -> SweepRecord:
    """Read and check a sweep record.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema or inconsistent.
    """
    return read_json(path, SweepRecord, "a sweep record of schema 1", "delete it and sweep again")


def check_sweep(
    path: Path, record: SweepRecord, sequence_hash: str, magnitudes: tuple[float, ...]
) -> None:
    """Check that a record that is there belongs to the sweep that is asked for.

    Raises:
        RecordError: it belongs to another one.
    """
    for what, found, wanted in (
        ("protocol", record.protocol, PROTOCOL.stamp()),
        ("version of the sequence", record.sequence.hash, sequence_hash),
        ("list of magnitudes", record.magnitudes, magnitudes),
    ):
        if found != wanted:
            raise RecordError(
                f"{path} belongs to another {what}; delete it, or choose another --out"
            )

"""Grades: how far apart the tasks of a sequence are, from measured inner products of solutions.

``driftboard grade`` writes one record per sequence; those of the registered sequences come with
the package, in ``measured/``. Everything shown is computed anew from the inner products: a row of a
table, and a CSV file of all pairs of tasks.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from msgspec.structs import replace

from driftboard.suite.distance.distance import (
    Estimate,
    PairMeasures,
    Products,
    pair_measures,
    sequence_distance,
    sequence_reliability,
)
from driftboard.suite.errors import RecordError
from driftboard.suite.protocol import GRADING, Grading
from driftboard.suite.records import (
    Count,
    Digest,
    Positive,
    ProtocolStamp,
    SequenceStamp,
    Text,
    read_json,
    write_atomically,
)
from driftboard.suite.sealing import sealed
from driftboard.suite.terminal import Column, TextTable

Level = Literal["near", "medium", "far"]
LEVELS: tuple[Level, ...] = ("near", "medium", "far")

PAIR_COLUMNS = (
    "sequence",
    "first_task",
    "second_task",
    "blocks",
    "distance",
    "distance_low",
    "distance_high",
    "reliability",
    "naive_norm",
    "naive_relative",
    "noise_floor",
    "seeds",
    "parts",
    "parts_error",
)

CROSSING = "*"
LOW_RELIABILITY = "!"
GRADE_LEGEND = (
    "distance: 0 for equal tasks, 2 for unrelated ones, with 95 % interval over seeds; rel.: its "
    f"reliability,\n{LOW_RELIABILITY}: low, below {GRADING.reliable_from}.\n"
    f"grade: near < {GRADING.near_below} <= medium < {GRADING.far_from} <= far; {CROSSING}: the "
    "interval crosses a cut-off; -: not measured, or\nnot reliable enough for a grade."
)

Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]


class SeedProducts(Struct, frozen=True, forbid_unknown_fields=True):
    """The inner products of one seed's solutions, per block, the upper triangle row by row.

    Rows and columns run over (task, part), the part fastest.
    """

    seed: Count
    blocks: tuple[tuple[Finite, ...], ...]


class GradeRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured of one sequence; ``refusal`` says why where nothing could be."""

    schema: Literal[2]
    grading: ProtocolStamp
    protocol: ProtocolStamp
    sequence: SequenceStamp
    tasks: Positive
    parts: Positive
    images: Count  # that each solution was trained on
    seeds: tuple[SeedProducts, ...]
    refusal: Text | None
    python: Text
    torch: Text
    device: Text
    digest: Digest | None = None  # of all the rest; set in files only

    def __post_init__(self) -> None:
        """Check what the field types cannot: that all matrices have the same size.

        Raises:
            ValueError: with the first inconsistency found.
        """
        if (self.refusal is None) != bool(self.seeds):
            raise ValueError("a record has measurements or a refusal, one of the two")
        if self.refusal is None and (self.tasks < 2 or self.parts < 2):
            raise ValueError("a distance needs two tasks and two parts")
        if len({seed.seed for seed in self.seeds}) < len(self.seeds):
            raise ValueError("a seed was measured twice")
        size = self.tasks * self.parts
        for seed in self.seeds:
            if len(seed.blocks) != len(self.sequence.blocks):
                raise ValueError(f"seed {seed.seed} lacks a block")
            if any(len(block) != size * (size + 1) // 2 for block in seed.blocks):
                raise ValueError(f"a matrix of seed {seed.seed} does not have {size} rows")

    def products(self, blocks: tuple[int, ...] | None = None) -> list[Products]:
        """Return the inner products of every seed, summed over blocks.

        Without ``blocks`` over all but the head: two tasks need not have it in common.
        """
        chosen = range(len(self.sequence.blocks) - 1) if blocks is None else blocks
        return [self._matrix([seed.blocks[block] for block in chosen]) for seed in self.seeds]

    def _matrix(self, triangles: list[tuple[float, ...]]) -> Products:
        size = self.tasks * self.parts
        matrix = np.zeros((size, size))
        matrix[np.triu_indices(size)] = np.sum(triangles, axis=0)
        full = matrix + np.triu(matrix, 1).T
        return full.reshape(self.tasks, self.parts, self.tasks, self.parts)


def grading_in(parts: int) -> Grading:
    """Return the grading with another number of parts of each task, and so another hash."""
    return dataclasses.replace(GRADING, parts=parts)


@dataclass(frozen=True, slots=True)
class Grade:
    """A sequence's measured distance and its grade.

    ``level`` is None where no grade can be given, and ``note`` says why; ``crosses`` tells that
    the interval contains a cut-off, so that new seeds might give another grade.
    """

    sequence: str
    sequence_hash: str
    distance: Estimate
    reliability: float
    level: Level | None
    crosses: bool
    note: str

    @property
    def is_unreliable(self) -> bool:
        """Whether it was measured, but with a low reliability."""
        return self.reliability < GRADING.reliable_from


def grade_of(record: GradeRecord) -> Grade:
    """Return the grade that a record's measurements give.

    A reliability below the protocol's ``refused_below`` gives no grade, one below
    ``reliable_from`` a note, and so do another number of parts than the cut-offs were chosen
    with, and an interval that is over the parts of a single seed.
    """
    name, digest = record.sequence.name, record.sequence.hash
    if record.refusal is not None:
        nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
        return Grade(name, digest, nothing, float("nan"), None, False, record.refusal)
    products = record.products()
    distance, reliability = sequence_distance(products), sequence_reliability(products)
    if not reliability >= GRADING.refused_below:
        note = f"reliability {reliability:.2f} is below {GRADING.refused_below}: no grade"
        return Grade(name, digest, distance, reliability, None, False, note)
    notes = ["low reliability"] if reliability < GRADING.reliable_from else []
    if record.parts != GRADING.parts:
        notes.append(f"measured with {record.parts} parts")
    if distance.n == 1 and not math.isnan(distance.low):
        notes.append("one seed: the interval is over its parts only")
    cuts = (GRADING.near_below, GRADING.far_from)
    crosses = any(distance.low < cut <= distance.high for cut in cuts)
    return Grade(
        name, digest, distance, reliability, level_of(distance.value), crosses, "; ".join(notes)
    )


def level_of(distance: float) -> Level:
    """Return the grade of a distance."""
    if distance < GRADING.near_below:
        return "near"
    return "medium" if distance < GRADING.far_from else "far"


def all_pairs(record: GradeRecord, blocks: tuple[int, ...] | None = None) -> list[PairMeasures]:
    """Return the measures of every pair of tasks, in order; of some blocks only, if named."""
    products = record.products(blocks)
    return [
        pair_measures(products, first, second)
        for first in range(record.tasks)
        for second in range(first + 1, record.tasks)
    ]


def grade_path(results: Path, sequence: str) -> Path:
    """Return where the grade record of a sequence lies below a results folder."""
    return results / "grades" / f"{sequence}.json"


def seed_path(results: Path, sequence: str, seed: int) -> Path:
    """Return where the measurement of a single seed lies until all seeds are there."""
    return results / "grades" / sequence / f"seed-{seed:04d}.json"


def merged(records: Sequence[GradeRecord]) -> GradeRecord:
    """Return one record of all seeds; a refusal among them is that of the whole.

    Raises:
        RecordError: they are not of the same sequence, data, protocol and grading.
    """
    first = records[0]
    if len({(record.grading, record.protocol, record.sequence) for record in records}) > 1:
        raise RecordError(
            f"the measurements of {first.sequence.name} are not all of the same protocol, "
            "grading, sequence and data; delete them and grade again"
        )
    refused = next((record for record in records if record.refusal is not None), None)
    if refused is not None:
        return refused
    seeds = sorted((seed for record in records for seed in record.seeds), key=lambda s: s.seed)
    return replace(first, seeds=tuple(seeds))


def write_record(path: Path, record: GradeRecord) -> None:
    """Write a grade record whole or not at all."""
    write_atomically(path, sealed(record) + b"\n")


def read_grade(path: Path | Traversable) -> GradeRecord:
    """Read and check a grade record.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema or inconsistent.
    """
    return read_json(path, GradeRecord, "a grade record of schema 2", "delete it and grade again")


def shipped_records() -> Iterator[GradeRecord]:
    """Yield the grade records that come with the package, by name of the sequence."""
    folder = files("driftboard.suite.distance").joinpath("measured")
    if folder.is_dir():
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".json"):
                yield read_grade(entry)


def known_grades(
    results: tuple[Path, ...] = (), among: Container[str] | None = None
) -> Mapping[str, Grade]:
    """Return grades by the hash of the sequence: the package's, then those of results folders.

    Later folders replace what earlier ones say. Records of another grading are left out; those
    with another number of parts only are not, and a note says so. Left out are also sequences
    whose hashes are not ``among`` those that are asked for.
    """
    records = [*shipped_records()]
    for folder in results:
        records += [read_grade(path) for path in sorted((folder / "grades").glob("*.json"))]
    wanted = {
        record.sequence.hash: record
        for record in records
        if record.grading == grading_in(record.parts).stamp()
    }
    return {
        digest: grade_of(record)
        for digest, record in wanted.items()
        if among is None or digest in among
    }


GRADE_COLUMNS = (Column("sequence"), Column("distance"), Column("rel."), Column("grade"))
FIRST_TO_GO = ("rel.", "distance")
"""The columns of a table in a narrow terminal that the grade stands for."""


def terminal_table(records: Sequence[GradeRecord]) -> TextTable:
    """Return one row per sequence: distance with interval, reliability, grade."""
    rows = [(grade.sequence, *grade_cells(grade), grade.note) for grade in map(grade_of, records)]
    return TextTable((*GRADE_COLUMNS, Column("note", "words")), [rows], first_to_go=FIRST_TO_GO)


def grade_cells(grade: Grade) -> tuple[str, str, str]:
    """Return distance with interval, reliability and grade as text; ``-`` where there is none."""
    level = "-" if grade.level is None else grade.level + (CROSSING if grade.crosses else "")
    reliability = _number(grade.reliability) + (LOW_RELIABILITY if grade.is_unreliable else "")
    return estimate_text(grade.distance), reliability, level


def plain_grade(grade: Grade) -> dict[str, Any]:
    """Return a grade as data for JSON; a number that could not be measured, NaN, is None."""
    numbers = {
        "distance": grade.distance.value,
        "distance_low": grade.distance.low,
        "distance_high": grade.distance.high,
        "reliability": grade.reliability,
    }
    plain = {name: None if math.isnan(one) else one for name, one in numbers.items()}
    words = {"level": grade.level, "crosses_cut_off": grade.crosses, "note": grade.note}
    return plain | {"seeds": grade.distance.n} | words


def estimate_text(estimate: Estimate) -> str:
    """Return e.g. ``0.28 [0.25, 0.31]``, without bounds where there are none."""
    if math.isnan(estimate.low):
        return _number(estimate.value)
    return f"{estimate.value:z.2f} [{estimate.low:z.2f}, {estimate.high:z.2f}]"


def pair_table(records: Sequence[GradeRecord]) -> str:
    """Return a CSV file with the measures of every pair of tasks.

    ``blocks`` is ``shared`` for all blocks but the head, on which grades rest, or one block's
    name. Tasks are counted from 1. ``parts_error`` is empty with two parts.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PAIR_COLUMNS)
    for record in records:
        if record.refusal is not None:
            continue
        names = record.sequence.blocks
        chosen = {"shared": None, **{name: (place,) for place, name in enumerate(names)}}
        for label, blocks in chosen.items():
            for pair in all_pairs(record, blocks):
                estimate = pair.distance
                numbers = (estimate.value, estimate.low, estimate.high, pair.reliability)
                naive = (pair.naive_norm, pair.naive_relative, pair.noise_floor)
                writer.writerow(
                    [
                        record.sequence.name,
                        pair.first + 1,
                        pair.second + 1,
                        label,
                        *map(_csv_number, (*numbers, *naive)),
                        estimate.n,
                        record.parts,
                        _csv_number(pair.parts_error),
                    ]
                )
    return text.getvalue()


def _csv_number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:z.2f}"

"""What a grading prints and writes: a table of sequences, and a CSV file of all pairs of tasks."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade, GradeRecord, all_pairs, grade_of
from driftboard.suite.protocol import GRADING

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
GRADE_LEGEND = (
    "distance: 0 for equal tasks, 2 for unrelated ones, with 95 % interval over seeds; rel.: its "
    "reliability.\n"
    f"grade: near < {GRADING.near_below} <= medium < {GRADING.far_from} <= far; {CROSSING}: the "
    "interval crosses a cut-off; -: not measured, or\nnot reliable enough for a grade."
)


def terminal_table(records: Sequence[GradeRecord]) -> Table:
    """Return one row per sequence: distance with interval, reliability, grade."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("sequence", "distance", "rel.", "grade", "note"):
        table.add_column(column, no_wrap=column != "note")
    for grade in map(grade_of, records):
        table.add_row(grade.sequence, *grade_cells(grade), grade.note)
    return table


def grade_cells(grade: Grade) -> tuple[str, str, str]:
    """Return distance with interval, reliability and grade as text; ``-`` where there is none."""
    if grade.level is None:
        return estimate_text(grade.distance), _number(grade.reliability), "-"
    return (
        estimate_text(grade.distance),
        _number(grade.reliability),
        grade.level + (CROSSING if grade.crosses else ""),
    )


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

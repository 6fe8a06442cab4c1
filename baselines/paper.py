"""The tables of arXiv 2602.20796, as data."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class PaperValue:
    """One number of the paper, in percent, under the name of our nearest sequence."""

    table: str  # I, II or III
    sequence: str
    strategy: str
    metric: str  # avg_acc, task_acc or forgetting
    mean: float
    deviation: float | None  # standard deviation over three runs, where it is known


def paper_values() -> tuple[PaperValue, ...]:
    """Return all numbers of the paper's Tables I to III that are known to us."""
    text = files("driftboard.baselines").joinpath("paper_tables.csv").read_text("utf-8")
    return tuple(
        PaperValue(
            table=row["table"],
            sequence=row["sequence"],
            strategy=row["strategy"],
            metric=row["metric"],
            mean=float(row["mean"]),
            deviation=float(row["deviation"]) if row["deviation"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )

"""Numbers of other publications, with what is known of how they came about."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class LiteratureValue:
    """One published number, in percent, with its standard error; empty text where not known."""

    source: str
    sequence: str
    network: str
    optimiser: str
    iterations: str
    batch_size: str
    seeds: str
    selection: str  # of hyper-parameters
    strategy: str
    metric: str
    mean: float
    standard_error: float
    our_sequence: str
    """The sequence of ours that is in its setting, as far as one can be."""

    our_strategy: str
    """The published strategy of ours that is in its place; empty where none was run."""


def literature_values() -> tuple[LiteratureValue, ...]:
    """Return all numbers of the literature that are known to us, apart from the paper's."""
    text = files("driftboard.baselines").joinpath("literature.csv").read_text("utf-8")
    return tuple(
        LiteratureValue(
            **{name: row[name] for name in row if name not in ("mean", "standard_error")},
            mean=float(row["mean"]),
            standard_error=float(row["standard_error"]),
        )
        for row in csv.DictReader(text.splitlines())
    )

"""Tuning: the same number of trials for every strategy, never on what is reported.

Trials are trained on the tuning seeds and tested on a part of the training images. The first
trial is the strategy as it stands; the others are the points of a Halton sequence (Halton 1960)
in the strategy's search space, to which the learning rate's factor always belongs. The trial
with the highest mean Avg.Acc over sequences and seeds is chosen. Reading a record imports no torch.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from driftboard.suite import metrics
from driftboard.suite.errors import RecordError, StrategyError
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import (
    Count,
    Digest,
    Name,
    NonNegative,
    ProtocolStamp,
    Record,
    StrategyStamp,
    Text,
    cell_path,
    read_json,
    read_record,
)
from driftboard.suite.sequences.task_sequence import TaskSequence

if TYPE_CHECKING:
    from driftboard.strategies.base import Strategy
    from driftboard.suite.loading import LoadedStrategy


class Means(Struct, frozen=True, forbid_unknown_fields=True):
    """Means over sequences and seeds."""

    avg_acc: NonNegative
    task_acc: NonNegative
    forgetting: float


class Trial(Struct, frozen=True, forbid_unknown_fields=True):
    """One setting and what it reached, means over sequences and seeds.

    Cells that ``diverged`` count with the accuracy of chance; ``finished`` is without them, None
    where none did or all, and in records that do not tell.
    """

    specification: Text
    strategy: StrategyStamp
    avg_acc: NonNegative
    task_acc: NonNegative
    forgetting: float
    diverged: Count  # cells
    finished: Means | None = None


class TuningRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """All trials of one strategy; ``chosen`` is the place of the best in ``trials``."""

    schema: Literal[2]
    protocol: ProtocolStamp
    tuning: ProtocolStamp
    sequences: dict[Name, Digest]
    seeds: tuple[Count, ...]
    trials: tuple[Trial, ...]
    chosen: Count
    digest: Digest | None = None  # of all the rest; set in files only


def search_problem(strategy: "Strategy") -> str | None:
    """Return what is wrong with the search ranges that a strategy's class declares, if anything."""
    from driftboard.strategies.base import Range

    if not isinstance(strategy.search, Mapping):
        return "search is no dict of ranges; write {name: Range(low, high)}"
    for name, limits in strategy.search.items():
        value = getattr(strategy, str(name), None)
        if not isinstance(value, float):
            return f"search names '{name}', which is no field of type float; rename or remove it"
        if not isinstance(limits, Range):
            return f"search gives no Range for '{name}'; write Range(low, high)"
        ends = (limits.low, limits.high)
        if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends):
            return f"search of '{name}': low and high must be finite numbers"
        if not limits.low < limits.high:
            return f"search of '{name}': low must be below high"
        if limits.logarithmic and limits.low <= 0:
            return f"search of '{name}': a logarithmic range begins above 0"
    return None


def trial_specifications(loaded: "LoadedStrategy") -> list[str]:
    """Return the specifications of all trials of a strategy, in order.

    Raises:
        StrategyError: a search range of its class is not sound.
    """
    from scipy.stats import qmc

    from driftboard.strategies.base import Range
    from driftboard.suite.settings import RATE

    if problem := search_problem(loaded.strategy):
        raise StrategyError(f"{loaded.stamp.name}: {problem}")
    space = {RATE: Range(TUNING.lowest_rate, TUNING.highest_rate, logarithmic=True)}
    space |= loaded.strategy.search
    # The first point of an unscrambled Halton sequence is the corner of the space.
    points = qmc.Halton(len(space), scramble=False).random(TUNING.trials)[1:]
    specifications = [loaded.specification]
    for point in points:
        values = [
            f"{name}={_short(limits.at(float(place)))}"
            for (name, limits), place in zip(space.items(), point, strict=True)
        ]
        specifications.append(",".join([loaded.specification, *values]))
    return specifications


def _short(value: float) -> str:
    """Return a number with three digits, without the exponent that a name could not hold."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"


def tuning_record(
    specifications: Sequence[str], sequences: Sequence[TaskSequence], results: Path
) -> TuningRecord:
    """Return the record of a strategy's trials, all of whose cells have been run.

    Raises:
        RecordError: the record of a cell is missing or broken.
    """
    seeds = PROTOCOL.tuning_seeds
    trials = [_trial(text, sequences, seeds, results) for text in specifications]
    best = max(range(len(trials)), key=lambda place: trials[place].avg_acc)
    return TuningRecord(
        schema=2,
        protocol=PROTOCOL.stamp(),
        tuning=TUNING.stamp(),
        sequences={sequence.name: sequence.hash() for sequence in sequences},
        seeds=seeds,
        trials=tuple(trials),
        chosen=best,
    )


def _trial(
    specification: str, sequences: Sequence[TaskSequence], seeds: Sequence[int], results: Path
) -> Trial:
    from driftboard.suite.loading import load_strategy

    stamp = load_strategy(specification).stamp
    records = [
        read_record(cell_path(results, sequence.name, stamp.name, seed))
        for sequence in sequences
        for seed in seeds
    ]
    matrices = [
        metrics.accuracy_matrix(record.correct, record.test_sizes)
        for record in records
        if isinstance(record, Record)
    ]
    if len(matrices) < len(records):
        raise RecordError("linear sequences have no accuracy and cannot be tuned on")
    finished = [
        matrix
        for matrix, record in zip(matrices, records, strict=True)
        if record.status == "finished"
    ]
    means = _means(matrices)
    return Trial(
        specification=specification,
        strategy=stamp,
        avg_acc=means.avg_acc,
        task_acc=means.task_acc,
        forgetting=means.forgetting,
        diverged=len(matrices) - len(finished),
        finished=_means(finished) if 0 < len(finished) < len(matrices) else None,
    )


def _means(matrices: Sequence[metrics.Matrix]) -> Means:
    return Means(
        avg_acc=fmean(map(metrics.average_accuracy, matrices)),
        task_acc=fmean(map(metrics.task_accuracy, matrices)),
        forgetting=fmean(map(metrics.forgetting, matrices)),
    )


def tuning_path(results: Path, strategy: str) -> Path:
    """Return where the tuning record of a strategy lies below a results folder."""
    return results / "tuning" / f"{strategy}.json"


def read_tuning(path: Path) -> TuningRecord:
    """Read and check a tuning record.

    Raises:
        RecordError: the file is unreadable, truncated or of another schema.
    """
    return read_json(path, TuningRecord, "a tuning record of schema 2", "delete it and tune again")

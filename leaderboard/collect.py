"""From results folders to one row of metrics per cell (sequence, strategy, seed).

Whatever must not stand in one table is refused here, with one line that names it: nothing is
mixed, guessed or dropped in silence.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from driftboard.suite import metrics
from driftboard.suite.errors import RecordError
from driftboard.suite.records import (
    AnyRecord,
    LossRecord,
    ProtocolStamp,
    SequenceStamp,
    cell_path,
    read_record,
    record_paths,
)

if TYPE_CHECKING:
    import pandas as pd

OVERALL = "overall"  # what the tables call the mean over all sequences

SHOWN_HASH = 12  # leading digits of a hash that are shown to people

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_SHOWN_VARIANTS = 4
_NOT_CONTENT = {"cost", "environment"}  # may differ between two equal runs

Located = tuple[Path, AnyRecord]
Measure = Literal["accuracy", "excess-loss"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one record says in a few numbers.

    ``metrics`` holds, by name, what ``suite/metrics.py`` defines. Of accuracies: ``avg_acc`` and
    ``task_acc`` in [0, 1], ``forgetting``, ``backward_transfer`` and ``forward_transfer`` in
    [-1, 1]. Of excess losses: ``avg_loss`` and ``task_loss``, at least 0, and ``forgetting``,
    any number, positive where a task was forgotten. ``step`` and ``drift`` are what the functions
    of these names say, ``memory_bytes`` is the most that the strategy carried over between
    tasks, ``seconds`` the training time of all tasks together.
    """

    sequence: str
    tier: str
    strategy: str
    role: Literal["ranked", "bound"]
    seed: int
    status: Literal["finished", "diverged"]
    metrics: Mapping[str, float]
    step: float
    drift: float
    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Collection:
    """All cells of one measure, protocol and split, sorted by sequence, strategy and seed.

    ``matrices`` holds the mean over seeds of the accuracy matrices, shape (tasks, tasks), entry
    [t, k] for task k after training task t, by sequence and strategy; of excess losses likewise.
    """

    cells: tuple[Cell, ...]
    matrices: Mapping[tuple[str, str], tuple[tuple[float, ...], ...]]
    measure: Measure
    protocol: ProtocolStamp
    split: Literal["test", "validation"]
    sequences: Mapping[str, SequenceStamp]
    versions: Mapping[str, tuple[str, ...]]  # e.g. "torch": every version behind the records
    skipped: tuple[str, ...]  # why, for each broken record that was left out


def collect(results: Sequence[Path], skip_broken: bool = False) -> Collection:
    """Read every record below the results folders; their order makes no difference.

    A cell that occurs several times with equal content (cost and environment apart) counts
    once. With ``skip_broken`` an unreadable record is left out and counted.

    Raises:
        RecordError: a folder without records; a broken record; a file that lies in the wrong
            place; one cell with two contents; records of several measures, protocols, splits,
            or variants of one sequence or strategy.
    """
    located: list[Located] = []
    skipped: list[str] = []
    for folder in results:
        found, broken = _read_folder(folder, skip_broken)
        located += found
        skipped += broken
    if not located:
        raise RecordError("no results folder was given; name at least one")
    _refuse_mixtures(located)
    records = _one_record_per_cell(located)
    return Collection(
        cells=tuple(cell_of(record) for record in records),
        matrices=_mean_matrices(records),
        measure=_measure(records[0]),
        protocol=records[0].protocol,
        split=records[0].split,
        sequences={record.sequence.name: record.sequence for record in records},
        versions=_versions(records),
        skipped=tuple(sorted(set(skipped))),
    )


def as_frame(cells: Iterable[Cell]) -> "pd.DataFrame":
    """Return the cells as a tidy table: one row per cell, one column per field and metric."""
    import pandas as pd

    rows = []
    for cell in cells:
        row = {field.name: getattr(cell, field.name) for field in fields(Cell)}
        rows.append(row | row.pop("metrics"))
    return pd.DataFrame(rows)


def cell_of(record: AnyRecord) -> Cell:
    """Recompute every number of one record from its counts of correct answers or its losses."""
    return Cell(
        sequence=record.sequence.name,
        tier=record.sequence.tier,
        strategy=record.strategy.name,
        role=record.strategy.role,
        seed=record.seed,
        status=record.status,
        metrics=_metrics(record),
        step=step(record.update_norms, record.solution_norms),
        drift=drift(record.drift_norms, record.solution_norms),
        memory_bytes=max(record.memory_bytes),
        seconds=math.fsum(record.cost.seconds),
    )


def step(
    update_norms: Sequence[Sequence[float]], solution_norms: Sequence[Sequence[float]]
) -> float:
    """Return how far the parameters before the head move on a new task, relative to their size.

    Both arguments hold a norm per task and block, the head last. The norm of the update of all
    other blocks together is divided by that of the solution reached; the mean over all tasks
    but the first, at least 0. NaN where a solution is zero or has no block but the head.
    """
    pairs = list(zip(update_norms, solution_norms, strict=True))
    ratios = [_relative_norm(update, solution) for update, solution in pairs[1:]]
    return sum(ratios) / len(ratios)


def drift(
    drift_norms: Sequence[Sequence[float]], solution_norms: Sequence[Sequence[float]]
) -> float:
    """Return how far the final parameters before the head are from the first task's solution.

    The arguments are as in ``step``; ``drift_norms`` are distances from the first solution. The
    distance of all blocks but the head together, relative to the norm of the first solution, at
    least 0. NaN where that is zero or there is no block but the head.
    """
    return _relative_norm(drift_norms[-1], solution_norms[0])


def _relative_norm(norms: Sequence[float], unit: Sequence[float]) -> float:
    """Return the norm of all blocks but the last over that of ``unit``, NaN if that is zero."""
    size = math.hypot(*unit[:-1])
    return math.hypot(*norms[:-1]) / size if size else math.nan


def _measure(record: AnyRecord) -> Measure:
    return "excess-loss" if isinstance(record, LossRecord) else "accuracy"


def _matrix(record: AnyRecord) -> metrics.Matrix:
    if isinstance(record, LossRecord):
        return np.asarray(record.losses, dtype=np.float64)
    return metrics.accuracy_matrix(record.correct, record.test_sizes)


def _mean_matrices(
    records: Sequence[AnyRecord],
) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    by_place: dict[tuple[str, str], list[metrics.Matrix]] = {}
    for record in records:
        place = (record.sequence.name, record.strategy.name)
        by_place.setdefault(place, []).append(_matrix(record))
    means = {place: np.mean(matrices, axis=0) for place, matrices in by_place.items()}
    return {place: tuple(map(tuple, mean.tolist())) for place, mean in means.items()}


def _metrics(record: AnyRecord) -> dict[str, float]:
    if isinstance(record, LossRecord):
        loss = _matrix(record)
        return {
            "avg_loss": metrics.average_loss(loss),
            "task_loss": metrics.task_loss(loss),
            "forgetting": metrics.loss_forgetting(loss),
        }
    accuracy = _matrix(record)
    untrained = np.divide(record.correct_untrained, record.test_sizes)
    return {
        "avg_acc": metrics.average_accuracy(accuracy),
        "task_acc": metrics.task_accuracy(accuracy),
        "forgetting": metrics.forgetting(accuracy),
        "backward_transfer": metrics.backward_transfer(accuracy),
        "forward_transfer": metrics.forward_transfer(accuracy, untrained),
    }


def _read_folder(folder: Path, skip_broken: bool) -> tuple[list[Located], list[str]]:
    located: list[Located] = []
    broken: list[str] = []
    for path in record_paths(folder):
        try:
            record = read_record(path)
        except RecordError as error:
            if not skip_broken:
                raise RecordError(f"{error}, or leave it out with --skip-broken") from error
            broken.append(str(error))
            continue
        _check_place(folder, path, record)
        located.append((path, record))
    if not located:
        state = f"only {len(broken)} broken records" if broken else "no records"
        raise RecordError(
            f"{state} in {folder}; name a results folder that 'driftboard run' has filled"
        )
    return located, broken


def _check_place(folder: Path, path: Path, record: AnyRecord) -> None:
    if record.sequence.name == OVERALL:
        raise RecordError(f"{path}: '{OVERALL}' is no name for a sequence, the tables use it")
    place = cell_path(folder, record.sequence.name, record.strategy.name, record.seed)
    if path != place:
        raise RecordError(
            f"{path} holds the record of {place.relative_to(folder)}; "
            "move the file there or delete it"
        )


def _refuse_mixtures(located: Sequence[Located]) -> None:
    """Check that whatever shares a name, and the whole, is of one kind."""
    kinds: dict[str, dict[str, Path]] = {}
    for path, record in located:
        for subject, kind in _kinds(record):
            kinds.setdefault(subject, {}).setdefault(kind, path)
    for subject, variants in kinds.items():
        if len(variants) > 1:
            raise RecordError(_mixture_message(subject, variants))


def _kinds(record: AnyRecord) -> Iterable[tuple[str, str]]:
    """Yield what must agree between records: a subject and, in words, its kind."""
    protocol, sequence, strategy = record.protocol, record.sequence, record.strategy
    yield "the measure", _measure(record)
    yield "the protocol", f"{protocol.name} version {protocol.version} {protocol.hash}"
    yield "the split", record.split
    yield (
        f"sequence {sequence.name}",
        f"{sequence.hash} of tier {sequence.tier}, {record.tasks} tasks, on data "
        f"{sequence.data_hash} {sequence.data!r}",
    )
    parameters = dict(sorted(strategy.parameters.items()))
    yield (
        f"strategy {strategy.name}",
        f"{strategy.role} from source {strategy.source_hash} with {parameters!r}",
    )


def _mixture_message(subject: str, variants: Mapping[str, Path]) -> str:
    shown = [
        f"{_HASH.sub(lambda match: match[0][:SHOWN_HASH], kind)} in {variants[kind]}"
        for kind in sorted(variants)[:_SHOWN_VARIANTS]
    ]
    if len(variants) > len(shown):
        shown.append("and more")
    return (
        f"{subject} is not the same in all records: {'; '.join(shown)}; "
        "keep each kind in a results folder of its own and build a board from one of them"
    )


def _one_record_per_cell(located: Sequence[Located]) -> list[AnyRecord]:
    """Return the records sorted by cell, equal ones once."""
    kept: dict[tuple[str, str, int], Located] = {}
    for path, record in located:
        cell = (record.sequence.name, record.strategy.name, record.seed)
        if cell not in kept:
            kept[cell] = (path, record)
            continue
        other_path, other = kept[cell]
        if not _same_content(record, other):
            raise RecordError(
                f"{path} and {other_path} are records of one cell with different content; "
                "find out which one is right and leave the other out"
            )
        # Any rule will do that does not depend on the order of the folders.
        kept[cell] = min((path, record), (other_path, other), key=_cost_and_environment)
    return [kept[cell][1] for cell in sorted(kept)]


def _same_content(a: AnyRecord, b: AnyRecord) -> bool:
    return all(
        getattr(a, name) == getattr(b, name)
        for name in a.__struct_fields__
        if name not in _NOT_CONTENT
    )


def _cost_and_environment(located: Located) -> bytes:
    return msgspec.json.encode((located[1].cost, located[1].environment))


def _versions(records: Sequence[AnyRecord]) -> dict[str, tuple[str, ...]]:
    environments = [record.environment for record in records]
    return {
        "driftboard": tuple(sorted({environment.driftboard for environment in environments})),
        "Python": tuple(sorted({environment.python for environment in environments})),
        "torch": tuple(sorted({environment.torch for environment in environments})),
        "device": tuple(sorted({environment.device for environment in environments})),
        "lane": tuple(sorted({environment.lane for environment in environments})),
    }

"""From results folders to one row of metrics per cell (sequence, strategy, seed).

Whatever must not stand in one table is refused here, with one line that names it: nothing is
mixed, guessed or dropped in silence.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from driftboard.leaderboard.analysis.cells import Cell, Measure, cell_of, matrix_of
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.metrics import Matrix
from driftboard.suite.records import (
    AnyRecord,
    Digest,
    Environment,
    LossRecord,
    ProtocolStamp,
    SequenceStamp,
    cell_place,
    read_json,
    read_record,
    record_paths,
)
from driftboard.suite.submissions import SUBMISSION, Submission

OVERALL = "overall"  # what the tables call the mean over all sequences

SHOWN_HASH = 12  # leading digits of a hash that are shown to people

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_SHOWN_VARIANTS = 4
_NOT_CONTENT = {"cost", "environment"}  # may differ between two equal runs

Badge = Literal["published", "records checked", "spot re-run", "fully re-run"]
"""How far somebody has checked a strategy's numbers."""


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


@dataclass(frozen=True, slots=True)
class _Kept:
    """What remains of a record once it has been read: far less memory than the record.

    ``record`` is the record itself where no file of its own holds it.
    """

    path: Path
    record: AnyRecord | None
    cell: Cell
    matrix: Matrix
    environment: Environment


class _Gathered:
    """Takes one record after the other and keeps what a collection needs of each."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, int], _Kept] = {}
        self.sequences: dict[str, SequenceStamp] = {}
        self.sample: AnyRecord | None = None
        self._previous: AnyRecord | None = None
        self._kinds: dict[str, dict[str, Path]] = {}
        self._conflicts: list[tuple[Path, Path]] = []

    def take(self, path: Path, record: AnyRecord, in_memory: bool = False) -> None:
        """Add a record; of two with equal content only one is kept."""
        # Neighbours mostly differ in their seed only, and to compare is faster than to format.
        if self._previous is None or not _same_kind(record, self._previous):
            for subject, kind in _kinds(record):
                self._kinds.setdefault(subject, {}).setdefault(kind, path)
        self._previous = record
        cell = (record.sequence.name, record.strategy.name, record.seed)
        if cell in self.kept:
            # Rare, so the other one is read again rather than held.
            other_path = self.kept[cell].path
            other = self.kept[cell].record or read_record(other_path)
            if not same_content(record, other):
                self._conflicts.append((path, other_path))
            # Any rule will do that does not depend on the order of the folders.
            if _cost_and_environment(other) <= _cost_and_environment(record):
                return
        self.sample = record
        self.sequences[record.sequence.name] = record.sequence
        matrix = matrix_of(record)
        self.kept[cell] = _Kept(
            path, record if in_memory else None, cell_of(record, matrix), matrix, record.environment
        )

    def collection(self, skipped: Sequence[str]) -> Collection:
        """Return what was gathered.

        Raises:
            RecordError: there is nothing; the whole, or what shares a name, is of several kinds;
                or one cell has two contents.
        """
        if self.sample is None:
            raise RecordError("no results folder was given; name at least one")
        for subject, variants in self._kinds.items():
            if len(variants) > 1:
                raise RecordError(_mixture_message(subject, variants))
        for path, other in self._conflicts:
            raise RecordError(
                f"{path} and {other} are records of one cell with different content; "
                "find out which one is right and leave the other out"
            )
        kept = [self.kept[cell] for cell in sorted(self.kept)]
        return Collection(
            cells=tuple(one.cell for one in kept),
            matrices=_mean_matrices(kept),
            measure=_measure(self.sample),
            protocol=self.sample.protocol,
            split=self.sample.split,
            sequences=self.sequences,
            versions=_versions([one.environment for one in kept]),
            skipped=tuple(sorted(set(skipped))),
        )


def collect(
    results: Sequence[Path],
    skip_broken: bool = False,
    records: Mapping[str, Iterable[AnyRecord]] = {},
) -> Collection:
    """Read every record below the results folders; their order makes no difference.

    ``records`` holds those that are in memory, by a text that says where they are from.

    A cell that occurs several times with equal content (cost and environment apart) counts
    once. With ``skip_broken`` an unreadable record is left out and counted.

    Raises:
        RecordError: a folder without records; a broken record; a file that lies in the wrong
            place; one cell with two contents; records of several measures, protocols, splits,
            or variants of one sequence or strategy.
    """
    gathered = _Gathered()
    skipped: list[str] = []
    for folder in results:
        skipped += _read_folder(folder, skip_broken, gathered)
    for origin, some in records.items():
        for record in some:
            gathered.take(Path(origin), record, in_memory=True)
    return gathered.collection(skipped)


def read_folder(folder: Path) -> list[AnyRecord]:
    """Return the records of a results folder.

    Raises:
        RecordError: there are none, one is broken, or lies in the wrong place.
    """
    records = []
    for path in record_paths(folder):
        record = read_record(path)
        _check_place(path, record)
        records.append(record)
    if not records:
        raise RecordError(_nothing_in(folder, "no records"))
    return records


def _measure(record: AnyRecord) -> Measure:
    return "excess-loss" if isinstance(record, LossRecord) else "accuracy"


def _mean_matrices(kept: Iterable[_Kept]) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    by_place: dict[tuple[str, str], list[Matrix]] = {}
    for one in kept:
        by_place.setdefault((one.cell.sequence, one.cell.strategy), []).append(one.matrix)
    means = {place: np.mean(matrices, axis=0) for place, matrices in by_place.items()}
    return {place: tuple(map(tuple, mean.tolist())) for place, mean in means.items()}


def _read_folder(folder: Path, skip_broken: bool, gathered: _Gathered) -> list[str]:
    """Read the records of one folder and return why broken ones were left out."""
    broken: list[str] = []
    count = 0
    for path in record_paths(folder):
        try:
            record = read_record(path)
        except RecordError as error:
            if not skip_broken:
                raise RecordError(f"{error}, or leave it out with --skip-broken") from error
            broken.append(str(error))
            continue
        _check_place(path, record)
        gathered.take(path, record)
        count += 1
    if not count:
        state = f"only {counted(len(broken), 'broken record')}" if broken else "no records"
        raise RecordError(_nothing_in(folder, state))
    return broken


def _nothing_in(folder: Path, state: str) -> str:
    return f"{state} in {folder}; name a results folder that 'driftboard run' has filled"


def _check_place(path: Path, record: AnyRecord) -> None:
    if record.sequence.name == OVERALL:
        raise RecordError(f"{path}: '{OVERALL}' is no name for a sequence, the tables use it")
    place = cell_place(record.sequence.name, record.strategy.name, record.seed)
    if path.parts[-3:] != place:
        raise RecordError(
            f"{path} holds the record of {'/'.join(('records', *place))}; "
            "move the file there or delete it"
        )


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


def _same_kind(a: AnyRecord, b: AnyRecord) -> bool:
    """Whether all that ``_kinds`` looks at is equal."""
    return (
        a.strategy == b.strategy
        and a.sequence == b.sequence
        and a.protocol == b.protocol
        and (a.split, a.tasks, type(a)) == (b.split, b.tasks, type(b))
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


def same_content(a: AnyRecord, b: AnyRecord) -> bool:
    """Tell whether two records are equal, cost and environment apart."""
    return all(
        getattr(a, name) == getattr(b, name)
        for name in a.__struct_fields__
        if name not in _NOT_CONTENT
    )


def _cost_and_environment(record: AnyRecord) -> bytes:
    return msgspec.json.encode((record.cost, record.environment))


def _versions(environments: Iterable[Environment]) -> dict[str, tuple[str, ...]]:
    """Return every version that occurs, by what it is a version of."""
    fields = {"driftboard": "driftboard", "Python": "python", "torch": "torch"}
    fields |= {"device": "device", "lane": "lane"}
    found: dict[str, set[str]] = {title: set() for title in fields}
    for environment in environments:
        for title, field in fields.items():
            found[title].add(getattr(environment, field))
    return {title: tuple(sorted(versions)) for title, versions in found.items()}


class _Report(Struct):
    """The fields that matter here of a report by ``driftboard verify --json``."""

    schema: Literal[1]
    submission: Digest | None
    badge: Literal["records checked", "spot re-run", "fully re-run"] | None


def evidence(
    results: Sequence[Path],
    reports: Sequence[Path],
    published: Mapping[str, Sequence[AnyRecord]],
) -> dict[str, Badge]:
    """Return the badge of each strategy that has one.

    A report counts for the submission among the results folders whose ``submission.json`` it
    was written of, told by its digest. Strategies of published sets are ``published``.

    Raises:
        RecordError: a report cannot be read, earned no badge, or is of none of the submissions.
    """
    found: dict[str, Badge] = {
        record.strategy.name: "published" for records in published.values() for record in records
    }
    submitted = dict(filter(None, map(_submitted, results)))
    for path in reports:
        report = read_json(path, _Report, "a report of `driftboard verify --json`", "verify again")
        if report.badge is None or report.submission is None:
            raise RecordError(f"{path} is of a submission that failed a check; leave it out")
        if report.submission not in submitted:
            raise RecordError(
                f"{path} is of none of these submissions as they are now; name the folder that was "
                "verified, or verify it again"
            )
        found[submitted[report.submission]] = report.badge
    return found


def _submitted(folder: Path) -> tuple[str, str] | None:
    """Return the digest of a folder's ``submission.json`` and the strategy it is of."""
    path = folder / SUBMISSION
    if not path.is_file():
        return None
    content = path.read_bytes()
    try:
        submission = msgspec.json.decode(content, type=Submission)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(
            f"{path} is not sound; see `driftboard verify {shlex.quote(str(folder))}`"
        ) from error
    return hashlib.sha256(content).hexdigest(), submission.strategy.name

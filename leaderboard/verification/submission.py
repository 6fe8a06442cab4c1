"""A submission as data: its parts, read once and given to all checks."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from driftboard.leaderboard.verification.reading import FolderReader, check_source, decode
from driftboard.leaderboard.verification.report import AGAIN, Finding, describe, shorten
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.records import (
    AnyRecord,
    ProtocolStamp,
    Record,
    cell_path,
    read_record,
    record_paths,
)
from driftboard.suite.submissions import SUBMISSION, Kind, Submission, kind_of
from driftboard.suite.tuning.records import TuningRecord

R = TypeVar("R", bound=AnyRecord)
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class SubmissionData:
    """The content of a submission's folder, and the results that it is compared with.

    ``against`` holds records of other strategies under the same protocol.
    """

    submission: Submission
    records: tuple[AnyRecord, ...]  # by sequence and seed
    source_hash: str | None
    tuning: tuple[TuningRecord, ...] = ()
    against: tuple[AnyRecord, ...] = ()
    digest: str = ""  # SHA-256 of submission.json

    @cached_property
    def by_sequence(self) -> Mapping[str, tuple[AnyRecord, ...]]:
        """The records of every sequence, by seed."""
        return group_by(self.records, _sequence_of)

    @cached_property
    def counted(self) -> tuple[Record, ...]:
        """The records with counts of right answers, which linear sequences do not have."""
        return tuple(record for record in self.records if isinstance(record, Record))

    @cached_property
    def counted_by_sequence(self) -> Mapping[str, tuple[Record, ...]]:
        """The counted records of every sequence, by seed."""
        return group_by(self.counted, _sequence_of)

    @cached_property
    def others(self) -> Mapping[tuple[str, int], tuple[AnyRecord, ...]]:
        """The records of ``against``, by sequence and seed."""
        return group_by(self.against, lambda record: (record.sequence.name, record.seed))


def group_by(records: Iterable[R], key: Callable[[R], K]) -> dict[K, tuple[R, ...]]:
    """Return the records with the same key together, in their order."""
    found: dict[K, list[R]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return {name: tuple(group) for name, group in found.items()}


def _sequence_of(record: AnyRecord) -> str:
    return record.sequence.name


def cell_name(record: AnyRecord) -> str:
    """Return the name of a cell in a report."""
    return f"{record.sequence.name} seed {record.seed}"


class _Parts:
    """What the checks need of a folder's files, which are taken one by one."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.submission: Submission | None = None
        self.records: list[AnyRecord] = []
        self.tuning: list[TuningRecord] = []
        self.unreadable: dict[Kind, list[str]] = {}

    def take(self, place: str, content: bytes) -> None:
        self.digests[place] = hashlib.sha256(content).hexdigest()
        kind = kind_of(place)
        assert kind is not None  # the reader yields nothing else
        try:
            if kind == "submission":
                self.submission = decode(content, Submission)
            elif kind == "record":
                self.records.append(_record_in_place(decode(content, AnyRecord), place))
            elif kind == "tuning":
                self.tuning.append(decode(content, TuningRecord))
            elif kind == "marker":
                decode(content, ProtocolStamp)
            elif kind == "source":
                check_source(content)
        except RecordError as error:
            reason = str(error) if kind == "submission" else f"{place}: {error}"
            self.unreadable.setdefault(kind, []).append(reason)


def _record_in_place(record: AnyRecord, place: str) -> AnyRecord:
    own = cell_path(Path(), record.sequence.name, record.strategy.name, record.seed).as_posix()
    if own != place:
        raise RecordError(f"it holds the record of {own}")
    return record


def load_submission(
    folder: Path, against: Sequence[Path] = (), published: Iterable[AnyRecord] = ()
) -> tuple[SubmissionData | None, list[Finding]]:
    """Read a submission's folder and return its data and what was found wrong with its files.

    The data are None without a valid ``submission.json``. They are compared with the results
    folders ``against`` and with ``published`` records.

    Raises:
        RecordError: a folder of ``against``, which is the user's own, has a broken record.
    """
    reader, parts = FolderReader(folder), _Parts()
    for place, content in reader.read():
        parts.take(place, content)
    if reader.problems and not parts.digests:
        return None, [_folder_finding(parts, reader.problems)]
    findings = [_folder_finding(parts, reader.problems), _submission_finding(parts)]
    findings += _unreadable(parts)
    submission = parts.submission
    if submission is None:
        return None, findings
    findings += _listing_findings(parts.digests, submission)
    data = SubmissionData(
        submission=submission,
        records=tuple(sorted(parts.records, key=lambda one: (one.sequence.name, one.seed))),
        source_hash=parts.digests.get(submission.source),
        tuning=tuple(parts.tuning),
        against=read_others(against, submission, published),
        digest=parts.digests[SUBMISSION],
    )
    return data, findings


def _folder_finding(parts: _Parts, problems: Sequence[str]) -> Finding:
    if problems:
        return Finding(
            "FAILED", "folder", shorten(problems), "leave only plain files of a submission"
        )
    return Finding("ok", "folder", f"{counted(len(parts.digests), 'plain file')}")


def _submission_finding(parts: _Parts) -> Finding:
    if parts.submission is not None:
        return Finding("ok", SUBMISSION, f"of the suite {parts.submission.tier}, schema 1")
    reason = shorten(parts.unreadable.get("submission", ["there is none"]))
    return Finding("FAILED", SUBMISSION, reason, "write it with `driftboard submit`")


def _unreadable(parts: _Parts) -> list[Finding]:
    names: dict[Kind, str] = {"record": "records", "source": "source"}
    names |= {"tuning": "tuning", "marker": "folder"}
    findings = [
        Finding("FAILED", name, shorten(parts.unreadable[kind]), AGAIN)
        for kind, name in names.items()
        if kind in parts.unreadable
    ]
    if not parts.records and "record" not in parts.unreadable:
        findings.append(Finding("FAILED", "records", "there are none", AGAIN))
    elif "record" not in parts.unreadable:
        findings.append(Finding("ok", "records", f"{len(parts.records)}, all readable"))
    return findings


def _listing_findings(digests: Mapping[str, str], submission: Submission) -> list[Finding]:
    """Compare the files of the folder with those that ``submission.json`` lists."""
    listed = submission.files
    there = {place: digest for place, digest in digests.items() if place != SUBMISSION}
    changed = [place for place in there.keys() & listed.keys() if there[place] != listed[place]]
    problems = describe(
        {
            "changed since they were listed": sorted(changed),
            "not listed": sorted(there.keys() - listed.keys()),
            "listed but missing": sorted(listed.keys() - there.keys()),
            "the source is not listed": {submission.source} - listed.keys(),
        }
    )
    if problems:
        return [Finding("FAILED", "files", problems, AGAIN)]
    return [Finding("ok", "files", f"{len(there)} as listed")]


def read_others(
    folders: Iterable[Path], submission: Submission, published: Iterable[AnyRecord] = ()
) -> tuple[AnyRecord, ...]:
    """Return the comparable ones of the published records and of those below results folders.

    Records of the same strategy or of another protocol or split are left out.

    Raises:
        RecordError: a folder has no records, or a broken one.
    """
    found = list(published)
    for folder in folders:
        paths = list(record_paths(folder))
        if not paths:
            raise RecordError(f"no records in {folder}; name a results folder after --against")
        found += [read_record(path) for path in paths]
    return tuple(
        record
        for record in found
        if record.strategy != submission.strategy
        and record.protocol == submission.protocol
        and record.split == "test"
    )

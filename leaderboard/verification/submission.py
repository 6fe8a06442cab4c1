"""A submission as data, read from a folder that somebody else filled.

Nothing outside the folder is opened, and nothing can block: every folder and file is opened
relative to the open folder that holds it and never through a link, so no path leads out, even if
the folder is changed meanwhile. What the files hold becomes a checked value, or one clear reason
why it cannot. All of it is read once and given to all checks.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

from driftboard.leaderboard.analysis.collect import read_folder
from driftboard.leaderboard.verification.report import AGAIN, Finding, describe, shorten
from driftboard.leaderboard.verification.strict_json import decode
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.records import (
    AnyRecord,
    ProtocolStamp,
    Record,
    cell_path,
)
from driftboard.suite.source import digest_of
from driftboard.suite.submissions import (
    FOLDERS,
    MOST_FILES,
    SUBMISSION,
    Kind,
    Submission,
    kind_of,
    source_places,
)
from driftboard.suite.tuning import TuningRecord

R = TypeVar("R", bound=AnyRecord)
K = TypeVar("K", bound=Hashable)

LARGEST: dict[Kind, int] = {
    "submission": 2_000_000,  # as many files as there may be, by name and digest
    "marker": 10_000,
    "source": 200_000,
    "tuning": 1_000_000,
    "record": 1_000_000,
}
LARGEST_IN_ALL = 200_000_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a named pipe would wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


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
    sources: Mapping[str, bytes] = field(default_factory=dict)  # the strategy's files, by place

    @cached_property
    def by_sequence(self) -> Mapping[str, tuple[AnyRecord, ...]]:
        """The records of every sequence, by seed."""
        return group_by(self.records, lambda record: record.sequence.name)

    @cached_property
    def counted(self) -> tuple[Record, ...]:
        """The records with counts of right answers, which linear sequences do not have."""
        return tuple(record for record in self.records if isinstance(record, Record))

    @cached_property
    def counted_by_sequence(self) -> Mapping[str, tuple[Record, ...]]:
        """The counted records of every sequence, by seed."""
        return group_by(self.counted, lambda record: record.sequence.name)

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


def cell_name(record: AnyRecord) -> str:
    """Return the name of a cell in a report."""
    return f"{record.sequence.name} seed {record.seed}"


class _Parts:
    """What the checks need from the files of a folder, which are taken one by one."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.sources: dict[str, bytes] = {}
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
                record = decode(content, AnyRecord)
                own = cell_path(Path(), record.sequence.name, record.strategy.name, record.seed)
                if own.as_posix() != place:
                    raise RecordError(f"it holds the record of {own.as_posix()}")
                self.records.append(record)
            elif kind == "tuning":
                self.tuning.append(decode(content, TuningRecord))
            elif kind == "marker":
                decode(content, ProtocolStamp)
            elif kind == "source":
                self.sources[place] = content
                check_source(content)
        except RecordError as error:
            reason = str(error) if kind == "submission" else f"{place}: {error}"
            self.unreadable.setdefault(kind, []).append(reason)


def load_submission(
    folder: Path, against: Sequence[Path] = (), published: Iterable[AnyRecord] = ()
) -> tuple[SubmissionData | None, list[Finding]]:
    """Read a submission's folder and return its data and what was found wrong with its files.

    The data are None without a valid ``submission.json``. They are compared with the results
    folders ``against`` and with ``published`` records.

    Raises:
        RecordError: a folder of ``against``, which is the user's own, has no records, a broken
            one, or one in the wrong place.
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
    places = source_places(submission.source, submission.strategy.files)
    findings += _listing_findings(parts, submission, places)
    code = {places[place]: parts.sources[place] for place in places if place in parts.sources}
    is_whole = bool(code) and len(code) == len(places)
    data = SubmissionData(
        submission=submission,
        records=tuple(sorted(parts.records, key=lambda one: (one.sequence.name, one.seed))),
        source_hash=digest_of(code) if is_whole else None,
        tuning=tuple(parts.tuning),
        against=_others(against, submission, published),
        digest=parts.digests[SUBMISSION],
        sources=parts.sources,
    )
    return data, findings


def _folder_finding(parts: _Parts, problems: Sequence[str]) -> Finding:
    if problems:
        advice = "leave only plain files of a submission"
        return Finding("FAILED", "folder", shorten(problems), advice)
    return Finding("ok", "folder", f"{counted(len(parts.digests), 'plain file')}")


def _submission_finding(parts: _Parts) -> Finding:
    if parts.submission is not None:
        return Finding("ok", SUBMISSION, f"of the suite {parts.submission.tier}, schema 2")
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


def _listing_findings(
    parts: _Parts, submission: Submission, places: Mapping[str, str]
) -> list[Finding]:
    """Compare the files of the folder with those that ``submission.json`` lists.

    ``places`` are those of the strategy's files.
    """
    listed = submission.files
    there = {place: digest for place, digest in parts.digests.items() if place != SUBMISSION}
    changed = [place for place in there.keys() & listed.keys() if there[place] != listed[place]]
    problems = describe(
        {
            "changed since they were listed": sorted(changed),
            "not listed": sorted(there.keys() - listed.keys()),
            "listed but missing": sorted(listed.keys() - there.keys()),
            "the source is not listed": sorted(places.keys() - listed.keys()),
        }
    )
    findings = [Finding("FAILED", "files", problems, AGAIN)] if problems else []
    if others := sorted(parts.sources.keys() - places.keys()):
        found = f"no part of the strategy, which imports none of it: {shorten(others)}"
        findings.append(Finding("FAILED", "files", found, "remove it"))
    return findings or [Finding("ok", "files", f"{len(there)} as listed")]


def _others(
    folders: Iterable[Path], submission: Submission, published: Iterable[AnyRecord]
) -> tuple[AnyRecord, ...]:
    """Return the records to compare with: of other strategies, the same protocol and split."""
    records = [*published, *(record for folder in folders for record in read_folder(folder))]
    return tuple(
        record
        for record in records
        if record.strategy != submission.strategy
        and record.protocol == submission.protocol
        and record.split == "test"
    )


class FolderReader:
    """Reads the files of a submission's folder; ``problems`` says what was not read, and why."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._files = 0
        self._bytes = 0
        self._full = False

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the path below the folder, with ``/``, and the content of every file allowed."""
        try:
            root = os.open(self._folder, _FOLDER)
        except OSError as error:
            reason = "it is a link" if self._folder.is_symlink() else error.strerror
            self.problems.append(f"{self._folder} is no folder that can be read: {reason}")
            return
        try:
            yield from self._walk(root, "")
        finally:
            os.close(root)

    def _walk(self, folder: int, above: str) -> Iterator[tuple[str, bytes]]:
        for name in self._names(folder, above):
            place = f"{above}{name}"
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    if FOLDERS.fullmatch(place):
                        yield from self._descend(folder, name, place)
                    else:
                        self.problems.append(f"{place} is no folder of a submission")
                elif not stat.S_ISREG(mode):
                    self.problems.append(f"{place} is {_oddity(mode)}")
                elif (kind := kind_of(place)) is None:
                    self.problems.append(f"{place} is no file of a submission")
                elif (content := self._content(folder, name, place, LARGEST[kind])) is not None:
                    yield place, content
            except OSError as error:
                self.problems.append(f"{place} cannot be read: {error.strerror}")
            if self._full:
                return

    def _names(self, folder: int, above: str) -> list[str]:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_FILES + 2)]
        if len(names) > MOST_FILES + 1:
            self._stop(f"{above or 'the folder'} holds more than {MOST_FILES} entries")
            return []
        return sorted(names)

    def _descend(self, above: int, name: str, place: str) -> Iterator[tuple[str, bytes]]:
        folder = os.open(name, _FOLDER, dir_fd=above)
        try:
            yield from self._walk(folder, f"{place}/")
        finally:
            os.close(folder)

    def _content(self, folder: int, name: str, place: str, limit: int) -> bytes | None:
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                self.problems.append(f"{place} is {_oddity(found.st_mode)}")
                return None
            if found.st_nlink != 1:
                self.problems.append(f"{place} is a hard link to another file")
                return None
            content = file.read(limit + 1)
        self._files += 1
        self._bytes += len(content)
        if len(content) > limit:
            self.problems.append(f"{place} has more than {limit} bytes")
            return None
        if self._files > MOST_FILES + 1 or self._bytes > LARGEST_IN_ALL:
            self._stop(f"there are more than {MOST_FILES} files or {LARGEST_IN_ALL} bytes")
            return None
        return content

    def _stop(self, why: str) -> None:
        self.problems.append(f"{why}, the rest was not read")
        self._full = True


def _oddity(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a named pipe" if stat.S_ISFIFO(mode) else "no plain file"


def check_source(content: bytes) -> None:
    """Check that a source is text that shows all it holds.

    Raises:
        RecordError: it is not UTF-8, or holds control or bidirectional characters, with which a
            line looks different from what Python reads; the message is the reason alone.
    """
    try:
        hidden = _HIDDEN.search(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    if hidden:
        raise RecordError(f"it holds the hidden character U+{ord(hidden[0]):04X}")

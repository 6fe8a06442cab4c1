"""Many records in one compact file: a line of JSON each, sorted by cell, compressed by xz."""

import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from driftboard.suite.errors import RecordError
from driftboard.suite.records import SCHEMA_VERSION, AnyRecord, write_atomically


def write_archive(path: Path, records: Iterable[AnyRecord]) -> None:
    """Write records to one file; the same records give the same bytes in any order.

    Raises:
        RecordError: the file cannot be written.
    """
    ordered = sorted(records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed))
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in ordered)
    write_atomically(path, lzma.compress(lines, preset=6))


def read_archive(path: Path) -> Iterator[AnyRecord]:
    """Yield the records of an archive in its order.

    Raises:
        RecordError: the file is unreadable, truncated, or holds what is no record.
    """
    try:
        with lzma.open(path) as file:
            for number, line in enumerate(file, start=1):
                yield _record(line, f"line {number} of {path}")
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise RecordError(f"cannot read {path}: {error}") from error


def _record(line: bytes, place: str) -> AnyRecord:
    try:
        record: AnyRecord = msgspec.json.decode(line, type=AnyRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(
            f"{place} is not a driftboard record of schema {SCHEMA_VERSION}: {error}"
        ) from error
    return record

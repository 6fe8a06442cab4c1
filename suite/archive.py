"""Archives: many records in one compact file, a line of JSON each, sorted by cell and compressed.

Published records lie in archives. Reading one imports no torch.
"""

import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord, decode_record, write_atomically
from driftboard.suite.sealing import sealed


def write_archive(path: Path, records: Iterable[AnyRecord]) -> None:
    """Write records to one file; the same records in any order give the same bytes.

    Raises:
        RecordError: the file cannot be written.
    """
    ordered = sorted(records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed))
    lines = b"".join(sealed(record) + b"\n" for record in ordered)
    write_atomically(path, lzma.compress(lines, preset=6))


def read_archive(path: Path) -> Iterator[AnyRecord]:
    """Yield the records of an archive in its order.

    Raises:
        RecordError: the file is unreadable, truncated, or holds something else.
    """
    try:
        with lzma.open(path) as file:
            for number, line in enumerate(file, start=1):
                yield decode_record(line, f"line {number} of {path}")
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise RecordError(f"cannot read {path}: {error}") from error

"""The grid of cells: which of those that a request asks for are done, in which folder."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from driftboard.suite.errors import RecordError
from driftboard.suite.loading import LoadedStrategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    MARKER,
    ProtocolStamp,
    cell_path,
    check_same,
    read_record,
    record_paths,
    write_atomically,
)
from driftboard.suite.runs.request import Request
from driftboard.suite.sequences.splits import Purpose
from driftboard.suite.sequences.task_sequence import TaskSequence


def claim_folder(results: Path, purpose: Purpose) -> None:
    """Mark a results folder with the protocol's stamp, or check the mark that is there.

    Raises:
        RecordError: it cannot be written, or holds results of another protocol or split.
    """
    marker = results / MARKER
    if not marker.exists():
        write_atomically(marker, msgspec.json.encode(PROTOCOL.stamp()) + b"\n")
    try:
        found = msgspec.json.decode(marker.read_bytes(), type=ProtocolStamp)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(f"{marker} is not readable: {error}; choose another --out") from error
    if found != PROTOCOL.stamp():
        raise RecordError(
            f"{results} holds results of protocol {found.name} {found.version} "
            f"({found.hash[:12]}), this is {PROTOCOL.name} {PROTOCOL.version} "
            f"({PROTOCOL.stamp().hash[:12]}); choose another --out"
        )
    first = next(record_paths(results), None)
    if first is not None and read_record(first).split != purpose:
        raise RecordError(
            f"{first} is not of the {purpose} split, and no board shows both; choose another --out"
        )


def is_complete(request: Request, sequence: TaskSequence) -> bool:
    """Tell whether every cell of a sequence has a record.

    Raises:
        RecordError: as ``missing_cells``.
    """
    return not any(seeds for _, seeds in missing_cells(request, sequence))


def missing_cells(
    request: Request, sequence: TaskSequence
) -> Iterator[tuple[LoadedStrategy, tuple[int, ...]]]:
    """Yield every strategy with the seeds of the sequence that have no record yet.

    Raises:
        RecordError: a record is broken, or was made from another sequence, strategy or split.
    """
    protocol, version = PROTOCOL.stamp(), sequence.hash()
    for strategy in request.strategies:
        missing = []
        for seed in request.seeds(sequence):
            path = cell_path(request.results, sequence.name, strategy.stamp.name, seed)
            if not path.exists():
                missing.append(seed)
                continue
            record = read_record(path)
            check_same(
                path,
                ("protocol", record.protocol, protocol),
                ("version of the sequence", record.sequence.hash, version),
                ("version of the strategy", record.strategy, strategy.stamp),
                ("split (test or validation)", record.split, request.purpose),
            )
        yield strategy, tuple(missing)

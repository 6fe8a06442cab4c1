"""The published records of the baselines, which come with the package, and how they are made."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import msgspec
from msgspec import Struct

from driftboard.leaderboard.analysis.collect import collect
from driftboard.suite.archive import read_archive, write_archive
from driftboard.suite.errors import DriftboardError, RecordError, counted
from driftboard.suite.patterns import matching
from driftboard.suite.records import (
    AnyRecord,
    Digest,
    Name,
    Positive,
    StrategyStamp,
    Text,
    read_record,
    record_paths,
    write_atomically,
)

LOG_HEADER = """# What was published, and why

One line for every time that a set of published records was made or replaced; the last line of a
set names the file that it has now.

| date | set | SHA-256 | records | reason |
| --- | --- | --- | --- | --- |
"""


class PublishedSet(Struct, frozen=True, forbid_unknown_fields=True):
    """One set of published records: where they lie, what they are, and how they came about.

    ``specifications`` gives by strategy the text that ``driftboard run --strategy`` takes.
    """

    name: Name
    file: Text
    sha256: Digest
    records: Positive
    command: str
    hardware: Text
    specifications: dict[Name, Text]


def published_sets() -> dict[str, PublishedSet]:
    """Return what is published, by name."""
    content = files("driftboard.baselines").joinpath("published.json").read_bytes()
    found = msgspec.json.decode(content, type=list[PublishedSet])
    return {one.name: one for one in found}


def published_set(name: str) -> PublishedSet:
    """Return one set.

    Raises:
        DriftboardError: there is none of that name.
    """
    known = published_sets()
    if name not in known:
        raise DriftboardError(f"there are no published records '{name}'; known: {', '.join(known)}")
    return known[name]


def published_records(name: str) -> Iterator[AnyRecord]:
    """Yield the records of one set.

    Raises:
        DriftboardError: there is no set of that name.
        RecordError: the file is not the one that was published.
    """
    chosen = published_set(name)
    with as_file(files("driftboard.baselines").joinpath(chosen.file)) as path:
        if hashlib.sha256(path.read_bytes()).hexdigest() != chosen.sha256:
            raise RecordError(
                f"{path} is not what was published as '{name}'; install driftboard again"
            )
        yield from read_archive(path)


def choose_records(
    name: str, sequences: Sequence[str] | None, strategies: Sequence[str] | None
) -> list[AnyRecord]:
    """Return the records of one set that match patterns such as ``fashion-*``; by default all.

    Raises:
        DriftboardError: there is no set of that name, a pattern matches nothing, or no record
            matches both a sequence's and a strategy's.
    """
    records = list(published_records(name))
    on = matching(
        sequences, {record.sequence.name for record in records}, f"'{name}' has no sequence"
    )
    of = matching(
        strategies, {record.strategy.name for record in records}, f"'{name}' has no strategy"
    )
    chosen = [one for one in records if one.sequence.name in on and one.strategy.name in of]
    if not chosen:
        raise DriftboardError(f"'{name}' has no record of these strategies on these sequences")
    return chosen


def publish_records(
    name: str, results: Sequence[Path], into: Path, command: str, hardware: str, reason: str
) -> None:
    """Write the records of results folders as a published set: archive, manifest and log.

    Args:
        name: of the set; one that is published already is replaced.
        results: results folders; of a cell in several of them the first one counts.
        into: the folder ``baselines`` of a checkout.
        command: what made the records.
        hardware: what they were made on.
        reason: why they are published; for the log.

    Raises:
        RecordError: the records cannot stand together, or one is broken.
        ValueError: a strategy is not a built-in one.
    """
    if count := collect(results).left_out.records:
        raise RecordError(
            f"the folders hold {counted(count, 'record')} that cannot stand beside the others; "
            "`driftboard leaderboard` of these folders says which"
        )
    cells: dict[tuple[str, str, int], AnyRecord] = {}
    for path in (path for folder in results for path in record_paths(folder)):
        record = read_record(path)
        cells.setdefault((record.sequence.name, record.strategy.name, record.seed), record)
    records = list(cells.values())
    file = f"records/{name}.jsonl.xz"
    write_archive(into / file, records)
    digest = hashlib.sha256((into / file).read_bytes()).hexdigest()
    stamps = {record.strategy.name: record.strategy for record in records}
    entry = PublishedSet(
        name=name,
        file=file,
        sha256=digest,
        records=len(records),
        command=command,
        hardware=hardware,
        specifications={one: _specification(stamps[one]) for one in sorted(stamps)},
    )
    manifest = into / "published.json"
    known = msgspec.json.decode(manifest.read_bytes(), type=list[PublishedSet])
    sets = {one.name: one for one in known} | {name: entry}
    content = msgspec.json.format(msgspec.json.encode([sets[one] for one in sorted(sets)]))
    write_atomically(manifest, content + b"\n")
    log = into / "CHANGES.md"
    text = log.read_text("utf-8") if log.exists() else LOG_HEADER
    line = f"| {date.today()} | {name} | `{digest}` | {len(records)} | {reason} |\n"
    write_atomically(log, (text + line).encode())


def _specification(stamp: StrategyStamp) -> str:
    """Return the text from which ``load_strategy`` makes the strategy of a record.

    Raises:
        ValueError: it is no built-in strategy, as it stands or with other settings.
    """
    from driftboard.strategies.catalogue import BUILTIN, FURTHER
    from driftboard.suite.loading import load_strategy

    known = BUILTIN | FURTHER
    if stamp.name in known:
        return stamp.name
    base = max((name for name in known if stamp.name.startswith(f"{name}-")), key=len, default="")
    if not base:
        raise ValueError(f"{stamp.name} is no built-in strategy")
    defaults = load_strategy(base).stamp.parameters
    settings = [
        f"{name}={value}" for name, value in stamp.parameters.items() if defaults.get(name) != value
    ]
    # rate is no field of a strategy, so it stands last in a record; the name tells the order
    settings.sort(key=lambda text: stamp.name.index(f"{text.partition('=')[0]}-"))
    text = ",".join([base, *settings])
    if load_strategy(text).stamp.name != stamp.name:
        raise ValueError(f"cannot tell how {stamp.name} was named on the command line")
    return text

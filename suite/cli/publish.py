"""For maintainers: make the records of results folders a published set of the package.

    python -m driftboard.suite.cli.publish NAME RESULTS... --into baselines \\
        --command "driftboard run ..." --hardware "..." --reason "..."

writes the records as one archive, its hash into ``published.json`` and the reason, without which
nothing is published, into ``CHANGES.md``.
"""

import hashlib
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from driftboard.baselines.published import PublishedSet
from driftboard.leaderboard.analysis.collect import collect
from driftboard.suite.records import (
    AnyRecord,
    Name,
    StrategyStamp,
    Text,
    read_record,
    record_paths,
    write_archive,
    write_atomically,
)

LOG_HEADER = """# What was published, and why

One line for every time that a set of published records was made or replaced; the last line of a
set names the file that it has now.

| date | set | SHA-256 | records | reason |
| --- | --- | --- | --- | --- |
"""


def specification(stamp: StrategyStamp) -> str:
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


def publish(
    name: str,
    results: list[Path],
    into: Annotated[Path, typer.Option(help="The folder baselines of a checkout.")],
    command: Annotated[str, typer.Option(help="What made the records.")],
    hardware: Annotated[str, typer.Option(help="What they were made on.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the log.")],
) -> None:
    """Write archive, manifest and log."""
    for value, kind, hint in ((name, Name, "NAME"), (hardware, Text, "--hardware")):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise typer.BadParameter(str(error), param_hint=hint) from error
    collect(results)  # refuses what must not stand together
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
        specifications={one: specification(stamps[one]) for one in sorted(stamps)},
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


if __name__ == "__main__":
    typer.run(publish)

"""``driftboard reproduce``: run published baselines again and say whether the numbers hold."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.suite.cli.execution import exit_on_failure, run_jobs
from driftboard.suite.cli.options import ResultsFolder, SeedCount, SequencePatterns, Training
from driftboard.suite.errors import DriftboardError, counted

if TYPE_CHECKING:
    from driftboard.suite.records import AnyRecord
    from driftboard.suite.runs.request import Request

PAGE_NAME = "reproduction.md"
CSV_NAME = "reproduction.csv"


def reproduce(
    *,
    published: Annotated[
        str, typer.Argument(help="Which published records; --list names them.")
    ] = "quick",
    sequence: SequencePatterns = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(help="A strategy or pattern as it stands on the board; may be repeated."),
    ] = None,
    seeds: SeedCount = None,
    out: ResultsFolder = Path("driftboard-reproduction"),
    training: Training,
    known: Annotated[bool, typer.Option("--list", help="Show what is published and stop.")] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="Set the paper's tables beside ours and stop.")
    ] = False,
) -> None:
    """Run published baselines again and say REPRODUCED, CONTRADICTED or INCONCLUSIVE."""
    if known:
        _list()
        return
    if paper:
        from driftboard.baselines.paper_comparison import paper_comparison

        typer.echo(paper_comparison())
        return

    backend = training.backend()
    chosen = _chosen(published, sequence, strategy)
    request = _request(published, chosen, seeds, out, training)
    what = (
        f"{counted(len(request.sequences), 'sequence')} x "
        f"{counted(len(request.strategies), 'strategy', 'strategies')}"
    )
    exit_on_failure(run_jobs(backend, request, what))
    _report(chosen, out)


def _list() -> None:
    from driftboard.baselines.published import published_sets

    for one in published_sets().values():
        typer.echo(
            f"{one.name}: {counted(one.records, 'record')}, "
            f"{counted(len(one.specifications), 'strategy', 'strategies')}"
        )
        typer.echo(f"  {one.hardware}")
        typer.echo(f"  {one.command}")


def _chosen(
    name: str, sequences: Sequence[str] | None, strategies: Sequence[str] | None
) -> list["AnyRecord"]:
    """Return the published records of a set that match the patterns."""
    from driftboard.baselines.published import published_records

    records = list(published_records(name))
    _refuse_unknown(name, "sequence", {record.sequence.name for record in records}, sequences)
    _refuse_unknown(name, "strategy", {record.strategy.name for record in records}, strategies)
    chosen = [
        record
        for record in records
        if _matches(record.sequence.name, sequences) and _matches(record.strategy.name, strategies)
    ]
    if not chosen:
        raise DriftboardError(f"'{name}' has no record of these strategies on these sequences")
    return chosen


def _refuse_unknown(
    published: str, kind: str, names: Collection[str], patterns: Sequence[str] | None
) -> None:
    """Check that every pattern matches something: what is left out in silence looks reproduced."""
    for pattern in patterns or ():
        if not any(fnmatchcase(name, pattern) for name in names):
            near = get_close_matches(pattern, sorted(names), n=3, cutoff=0.4)
            raise DriftboardError(
                f"'{published}' has no {kind} '{pattern}'"
                + (f"; did you mean {', '.join(near)}?" if near else "")
            )


def _matches(name: str, patterns: Sequence[str] | None) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _request(
    name: str,
    chosen: Sequence["AnyRecord"],
    seeds: int | None,
    out: Path,
    training: Training,
) -> "Request":
    from driftboard.baselines.published import published_set
    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.protocol import PROTOCOL

    specifications = published_set(name).specifications
    registry = load_sequences()
    strategies = dict.fromkeys(record.strategy.name for record in chosen)
    names = dict.fromkeys(record.sequence.name for record in chosen)
    sequences = tuple(registry[one] for one in names)
    PROTOCOL.check_seed_count(seeds, (one.tier for one in sequences))
    most = max(record.seed for record in chosen) + 1
    return training.request(
        out,
        sequences,
        [load_strategy(specifications[one]) for one in strategies],
        seed_count=min(seeds or most, most),
    )


def _report(published: Sequence["AnyRecord"], out: Path) -> None:
    """Compare what the folder holds of the chosen cells, and leave with 1 if contradicted."""
    from driftboard.baselines.reproduction import reproduce as compare
    from driftboard.baselines.reproduction_page import (
        reproduction_csv,
        reproduction_page,
        summary,
    )
    from driftboard.suite.records import read_record, record_paths, write_atomically

    wanted = {(record.sequence.name, record.strategy.name) for record in published}
    found = [
        record
        for record in map(read_record, record_paths(out))
        if (record.sequence.name, record.strategy.name) in wanted
    ]
    reproduction = compare(published, found)
    write_atomically(out / PAGE_NAME, reproduction_page(reproduction).encode())
    write_atomically(out / CSV_NAME, reproduction_csv(reproduction).encode())
    for line in summary(reproduction):
        typer.echo(line)
    typer.echo(f"wrote {out / PAGE_NAME} and {out / CSV_NAME}")
    if reproduction.count("CONTRADICTED"):
        raise typer.Exit(1)

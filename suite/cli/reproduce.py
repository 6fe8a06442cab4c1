"""``driftboard reproduce``: run published baselines again and say whether the numbers hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.suite.cli.options import (
    Exclusions,
    ResultsFolder,
    SeedCount,
    SequencePatterns,
    Training,
    excluded,
)
from driftboard.suite.errors import counted
from driftboard.suite.runs.scheduler import raise_failures

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
    exclude: Exclusions = None,
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
        from driftboard.baselines.paper import paper_comparison

        typer.echo(paper_comparison())
        return

    from driftboard.baselines.published import choose_records

    records = choose_records(published, sequence, strategy)
    named = {(one.sequence.name, one.strategy.name) for one in records}
    gone = excluded(exclude, [on for on, _ in named], [of for _, of in named])
    chosen = [one for one in records if gone.isdisjoint({one.sequence.name, one.strategy.name})]
    request = _request(published, chosen, seeds, out, training)
    raise_failures(training.run_jobs(request, request.described()), out)
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
    from driftboard.baselines.reproduction import (
        compare_folder,
        reproduction_csv,
        reproduction_page,
        summary,
    )
    from driftboard.suite.records import write_atomically

    reproduction = compare_folder(published, out)
    write_atomically(out / PAGE_NAME, reproduction_page(reproduction).encode())
    write_atomically(out / CSV_NAME, reproduction_csv(reproduction).encode())
    for line in summary(reproduction):
        typer.echo(line)
    typer.echo(f"wrote {out / PAGE_NAME} and {out / CSV_NAME}")
    if reproduction.count("CONTRADICTED"):
        raise typer.Exit(1)

"""``driftboard leaderboard``: from results folders to the published tables."""

from pathlib import Path
from typing import Annotated

import typer

from driftboard.leaderboard.build import Format, build_leaderboard, written
from driftboard.suite.cli.options import PublishedSets, SkipBroken
from driftboard.suite.errors import counted


def leaderboard(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results folders, as 'driftboard run' fills them."),
    ] = None,
    published: PublishedSets = None,
    out: Annotated[Path, typer.Option(help="The folder for the tables, page and figures.")] = Path(
        "board"
    ),
    reference: Annotated[
        str, typer.Option(help="The strategy that the others are compared with.")
    ] = "sgd",
    skip_broken: SkipBroken = False,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="What to write; repeat for several. By default everything."),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="A report of 'driftboard verify --json'; may be repeated."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="Put the overall table between the markers of this file as well."),
    ] = None,
) -> None:
    """Build the leaderboard from the records of one or more results folders."""
    from rich.console import Console

    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.render.terminal import terminal_table

    chosen = tuple(formats or Format)
    board = build_leaderboard(
        results or [],
        out,
        reference,
        skip_broken=skip_broken,
        formats=chosen,
        update=update,
        published={name: published_records(name) for name in published or ()},
        reports=report or [],
    )
    Console().print(terminal_table(board))
    if board.source.skipped:
        typer.echo(f"{counted(len(board.source.skipped), 'broken record')} left out:")
        for reason in board.source.skipped:
            typer.echo(f"  {reason}")
    paths = [*written(out, chosen), *([update] if update else [])]
    typer.echo(f"wrote {', '.join(map(str, paths))}")

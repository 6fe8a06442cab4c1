"""``driftboard leaderboard``: from results folders to the published tables."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftboard.leaderboard.board import Board

MARKDOWN_NAME = "leaderboard.md"
CSV_NAME = "leaderboard.csv"


def build_leaderboard(
    results: Sequence[Path],
    out: Path,
    reference: str = "sgd",
    skip_broken: bool = False,
    command: str | None = None,
) -> "Board":
    """Write ``leaderboard.md`` and ``leaderboard.csv`` below ``out`` and return the board.

    Sequences are graded by what comes with the package and by the grades that the results
    folders hold; a later folder's replace an earlier one's.

    ``command`` is printed in the legend as the way to make the tables again; by default the
    command line with these arguments.

    Raises:
        RecordError: the records cannot stand on one board (see ``collect``), the reference
            strategy has none, or ``out`` cannot be written.
    """
    from driftboard.leaderboard.board import build_board
    from driftboard.leaderboard.collect import collect
    from driftboard.leaderboard.csv_table import csv_table
    from driftboard.leaderboard.markdown import markdown
    from driftboard.suite.grades import known_grades
    from driftboard.suite.records import write_atomically

    collection = collect(results, skip_broken)
    board = build_board(collection, reference, known_grades(tuple(results)))
    if command is None:
        command = _command_line(results, out, reference, skip_broken)
    write_atomically(out / MARKDOWN_NAME, markdown(board, command).encode())
    write_atomically(out / CSV_NAME, csv_table(board).encode())
    return board


def leaderboard(
    results: Annotated[
        list[Path], typer.Argument(help="Results folders, as 'driftboard run' fills them.")
    ],
    out: Annotated[
        Path, typer.Option(help="The folder for leaderboard.md and leaderboard.csv.")
    ] = Path("board"),
    reference: Annotated[
        str, typer.Option(help="The strategy that the others are compared with.")
    ] = "sgd",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out broken records and count them.")
    ] = False,
) -> None:
    """Build the leaderboard from the records of one or more results folders."""
    from rich.console import Console

    from driftboard.leaderboard.terminal import terminal_table

    board = build_leaderboard(results, out, reference, skip_broken)
    console = Console()
    console.print(terminal_table(board))
    if board.source.skipped:
        typer.echo(f"{len(board.source.skipped)} broken records left out:")
        for reason in board.source.skipped:
            typer.echo(f"  {reason}")
    typer.echo(f"wrote {out / MARKDOWN_NAME} and {out / CSV_NAME}")


def _command_line(results: Sequence[Path], out: Path, reference: str, skip_broken: bool) -> str:
    words = ["driftboard", "leaderboard", *map(str, results), "--out", str(out)]
    words += ["--reference", reference]
    if skip_broken:
        words.append("--skip-broken")
    return shlex.join(words)

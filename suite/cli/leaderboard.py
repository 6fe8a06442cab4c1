"""``driftboard leaderboard``: from results folders to the published tables."""

import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.suite.cli.board_options import PublishedSets, SkipBroken
from driftboard.suite.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftboard.leaderboard.analysis.board import Board
    from driftboard.leaderboard.claim.claim import Claim
    from driftboard.leaderboard.render.figures.drawing import Illustration
    from driftboard.suite.distance.grades import Grade


class Format(StrEnum):
    """What a board is written as; ``figures`` are SVG and PNG files in a folder of that name."""

    MARKDOWN = "md"
    CSV = "csv"
    LATEX = "tex"
    HTML = "html"
    FIGURES = "figures"


QUICK_FORMATS = (Format.MARKDOWN, Format.CSV)
"""The formats that take no time to speak of."""

_NAMES = {
    Format.MARKDOWN: "leaderboard.md",
    Format.CSV: "leaderboard.csv",
    Format.LATEX: "leaderboard.tex",
    Format.HTML: "index.html",
    Format.FIGURES: "figures",
}


def build_leaderboard(
    results: Sequence[Path],
    out: Path,
    reference: str = "sgd",
    skip_broken: bool = False,
    command: str | None = None,
    formats: Collection[Format] = QUICK_FORMATS,
    update: Path | None = None,
    published: Sequence[str] = (),
    reports: Sequence[Path] = (),
) -> "Board":
    """Write the board below ``out`` in each of the formats and return it as data.

    Sequences are graded by what comes with the package and by the grades that the results
    folders hold; a later folder's replace an earlier one's. ``published`` names sets of published
    records that join those of the folders. ``reports`` are what ``driftboard verify --json`` wrote
    of submissions among the folders; their badges stand on the board. The overall table also goes
    into the file ``update``, between its markers (see ``update.py``).

    ``command`` is printed in the legend as the way to make the tables again; by default the
    command line with these arguments.

    Raises:
        RecordError: the records cannot stand on one board (see ``collect``), the reference
            strategy has none, ``out`` cannot be written, or ``update`` lacks its markers.
        DriftboardError: there is no published set of that name.
    """
    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.analysis.board import build_board
    from driftboard.leaderboard.analysis.collect import collect
    from driftboard.leaderboard.analysis.evidence import evidence
    from driftboard.leaderboard.render.markdown import overall_tables
    from driftboard.leaderboard.render.update import update_file
    from driftboard.suite.distance.grades import known_grades
    from driftboard.suite.records import write_atomically

    known = {name: list(published_records(name)) for name in published}
    collection = collect(results, skip_broken, known)
    hashes = {stamp.hash for stamp in collection.sequences.values()}
    grades = known_grades(tuple(results), among=hashes)
    board = build_board(collection, reference, grades, evidence(results, reports, known))
    if command is None:
        command = _command_line(results, out, reference, skip_broken, published, reports)
    for path, content in _files(board, grades, command, formats).items():
        write_atomically(out / path, content)
    if update is not None:
        update_file(update, overall_tables(board, command))
    return board


def written(out: Path, formats: Collection[Format]) -> list[Path]:
    """Return the paths below ``out`` that these formats are written to."""
    return [out / name for form, name in _NAMES.items() if form in formats]


def _files(
    board: "Board", grades: "Mapping[str, Grade]", command: str, formats: Collection[Format]
) -> dict[str, bytes]:
    """Return the content of every file by its path below the output folder."""
    files: dict[str, bytes] = {}
    if Format.MARKDOWN in formats:
        from driftboard.leaderboard.render.markdown import markdown

        files[_NAMES[Format.MARKDOWN]] = markdown(board, command).encode()
    if Format.CSV in formats:
        from driftboard.leaderboard.render.csv_table import csv_table

        files[_NAMES[Format.CSV]] = csv_table(board).encode()
    if Format.LATEX in formats:
        from driftboard.leaderboard.render.latex import latex

        files[_NAMES[Format.LATEX]] = latex(board, command).encode()
    if Format.HTML in formats or Format.FIGURES in formats:
        files |= _illustrated(board, _claim(board, grades), command, formats)
    return files


def _illustrated(
    board: "Board", claim: "Claim | None", command: str, formats: Collection[Format]
) -> dict[str, bytes]:
    from driftboard.leaderboard.render.figures.board import illustrate

    illustrations: tuple[Illustration, ...] = illustrate(board, claim)
    files: dict[str, bytes] = {}
    if Format.FIGURES in formats:
        for illustration in illustrations:
            path = f"{_NAMES[Format.FIGURES]}/{illustration.name}"
            files |= {f"{path}.svg": illustration.svg, f"{path}.png": illustration.png}
    if Format.HTML in formats:
        from driftboard.leaderboard.render.page import html_page

        files[_NAMES[Format.HTML]] = html_page(board, command, illustrations).encode()
    return files


def _claim(board: "Board", grades: "Mapping[str, Grade]") -> "Claim | None":
    """Return the test of the paper's claim, None where the records do not hold what it needs."""
    from driftboard.leaderboard.claim.claim import make_claim
    from driftboard.suite.errors import RecordError

    with suppress(RecordError):
        return make_claim(board.source, grades)
    return None


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

    from driftboard.leaderboard.render.terminal import terminal_table

    chosen = tuple(formats or Format)
    board = build_leaderboard(
        results or [],
        out,
        reference,
        skip_broken,
        formats=chosen,
        update=update,
        published=published or [],
        reports=report or [],
    )
    Console().print(terminal_table(board))
    if board.source.skipped:
        typer.echo(f"{counted(len(board.source.skipped), 'broken record')} left out:")
        for reason in board.source.skipped:
            typer.echo(f"  {reason}")
    paths = [*written(out, chosen), *([update] if update else [])]
    typer.echo(f"wrote {', '.join(map(str, paths))}")


def _command_line(
    results: Sequence[Path],
    out: Path,
    reference: str,
    skip_broken: bool,
    published: Sequence[str],
    reports: Sequence[Path],
) -> str:
    words = ["driftboard", "leaderboard", *map(str, results)]
    words += [word for name in published for word in ("--published", name)]
    words += [word for path in reports for word in ("--report", str(path))]
    words += ["--out", str(out)]
    words += ["--reference", reference]
    if skip_broken:
        words.append("--skip-broken")
    return shlex.join(words)

"""A board's files, from results folders and published records."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftboard.leaderboard.analysis.board import Board
    from driftboard.leaderboard.analysis.join import Choice
    from driftboard.leaderboard.claim.trend import Claim
    from driftboard.suite.distance.grades import Grade
    from driftboard.suite.records import AnyRecord


class Format(StrEnum):
    """What a board is written as; ``figures`` are SVG and PNG files in a folder of that name."""

    MARKDOWN = "md"
    CSV = "csv"
    LATEX = "tex"
    HTML = "html"
    FIGURES = "figures"

    @property
    def file_name(self) -> str:
        """The name of its file, or folder, below the output folder."""
        return {"html": "index.html", "figures": "figures"}.get(self, f"leaderboard.{self}")


QUICK_FORMATS = (Format.MARKDOWN, Format.CSV)
"""The formats that take no time to speak of."""


def build_leaderboard(
    results: Sequence[Path],
    out: Path,
    reference: str = "sgd",
    *,
    skip_broken: bool = False,
    command: str | None = None,
    formats: Collection[Format] = QUICK_FORMATS,
    update: Path | None = None,
    published: Mapping[str, Iterable["AnyRecord"]] | None = None,
    reports: Sequence[Path] = (),
    choice: "Choice | None" = None,
    width: str | None = None,
) -> "Board":
    """Write the board below ``out`` in each of the formats and return it as data.

    Sequences are graded by what comes with the package and by the grades that the results
    folders hold; a later folder's replace an earlier one's.

    Args:
        results: folders as ``driftboard run`` fills them.
        out: the folder for the files; made if it is not there.
        reference: the strategy that the others are compared with.
        skip_broken: leave out broken records and count them.
        command: printed in the legend as the way to make the tables again; by default the
            command line with these arguments.
        formats: what to write.
        update: a file that gets the overall table as well, between its markers.
        published: records that join those of the folders, by the name of their published set.
        reports: what ``driftboard verify --json`` wrote of submissions among the folders; their
            badges stand on the board.
        choice: which strategies and sequences, and whose records stand where sources meet.
        width: of the text that the LaTeX tables are to fit, see ``points_of``; None takes all
            columns.

    Raises:
        RecordError: the records cannot stand on one board (see ``collect``), the reference
            strategy has none, ``out`` cannot be written, or ``update`` lacks its markers.
        DriftboardError: a pattern of ``choice`` matches nothing, or the width is none.
    """
    from driftboard.leaderboard.analysis.board import build_board
    from driftboard.leaderboard.analysis.collect import collect
    from driftboard.leaderboard.analysis.evidence import credits_of, evidence, submitted_among
    from driftboard.leaderboard.analysis.join import EVERYTHING, Source
    from driftboard.leaderboard.render.latex import points_of
    from driftboard.leaderboard.render.markdown import overall_tables, update_file
    from driftboard.suite.distance.grades import known_grades

    choice = choice or EVERYTHING
    points = points_of(width) if width else None
    known = {Source(f"published {name}", True): some for name, some in (published or {}).items()}
    collection = collect(results, skip_broken, known, choice)
    hashes = {stamp.hash for stamp in collection.sequences.values()}
    grades = known_grades(tuple(results), among=hashes)
    submitted = submitted_among(results)
    badges = evidence(collection.backing, submitted, reports)
    authors = credits_of(collection.backing, submitted)
    board = build_board(collection, reference, grades, badges, authors)
    if command is None:
        others: list[str | Path] = [word for path in reports for word in ("--report", path)]
        others += ["--out", out, "--reference", reference]
        others += ["--skip-broken"] if skip_broken else []
        others += ["--latex-width", width] if width else []
        command = command_line("leaderboard", results, published or (), choice, others)
    write_board(board, grades, command, out, formats, points)
    if update is not None:
        update_file(update, overall_tables(board, command))
    return board


def write_board(
    board: "Board",
    grades: Mapping[str, "Grade"],
    command: str,
    out: Path,
    formats: Collection[Format] = tuple(Format),
    width: float | None = None,
) -> list[Path]:
    """Write a board below ``out`` and return the paths of its files and of the figures' folder.

    Args:
        board: the tables as data.
        grades: how far apart the tasks of its sequences are, by the sequences' hashes; page and
            figures show the test of the paper's claim where the grades allow one.
        command: printed in the legend as the way to make the tables again.
        out: made if it is not there.
        formats: what to write.
        width: of the text that the LaTeX tables are to fit, in points; None takes all columns.

    Raises:
        RecordError: a file cannot be written.
    """
    from driftboard.suite.records import write_atomically

    for path, content in _files(board, grades, command, formats, width).items():
        write_atomically(out / path, content)
    return written(out, formats)


def written(out: Path, formats: Collection[Format]) -> list[Path]:
    """Return the paths below ``out`` that these formats are written to.

    >>> [path.as_posix() for path in written(Path("board"), [Format.HTML, Format.MARKDOWN])]
    ['board/leaderboard.md', 'board/index.html']
    """
    return [out / one.file_name for one in Format if one in formats]


def _files(
    board: "Board",
    grades: Mapping[str, "Grade"],
    command: str,
    formats: Collection[Format],
    width: float | None,
) -> dict[str, bytes]:
    """Return the content of every file by its path below the output folder."""
    from driftboard.leaderboard.render.csv import csv_table
    from driftboard.leaderboard.render.figures.board import illustrate
    from driftboard.leaderboard.render.latex import latex
    from driftboard.leaderboard.render.markdown import markdown
    from driftboard.leaderboard.render.page import html_page

    files: dict[str, bytes] = {}
    if Format.MARKDOWN in formats:
        files[Format.MARKDOWN.file_name] = markdown(board, command).encode()
    if Format.CSV in formats:
        files[Format.CSV.file_name] = csv_table(board).encode()
    if Format.LATEX in formats:
        files[Format.LATEX.file_name] = latex(board, command, width).encode()
    if Format.HTML in formats or Format.FIGURES in formats:
        illustrations = illustrate(board, _claim(board, grades))
        if Format.FIGURES in formats:
            for one in illustrations:
                path = f"{Format.FIGURES.file_name}/{one.name}"
                files |= {f"{path}.svg": one.svg, f"{path}.png": one.png}
        if Format.HTML in formats:
            files[Format.HTML.file_name] = html_page(board, command, illustrations).encode()
    return files


def _claim(board: "Board", grades: Mapping[str, "Grade"]) -> "Claim | None":
    """Return the test of the paper's claim, None where the records do not hold what it needs."""
    from driftboard.leaderboard.claim.trend import make_claim
    from driftboard.suite.errors import RecordError

    with suppress(RecordError):
        return make_claim(board.source, grades)
    return None


def command_line(
    command: str,
    results: Iterable[Path],
    published: Iterable[str],
    choice: "Choice",
    others: Iterable[object],
) -> str:
    """Return what a reader types to make the same files again; ``others`` come last."""
    words = ["driftboard", command, *map(str, results)]
    words += [word for name in published for word in ("--published", name)]
    return shlex.join([*words, *choice.options(), *map(str, others)])

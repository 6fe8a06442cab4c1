"""``driftboard leaderboard`` and ``driftboard claim``: from records to tables and pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.leaderboard.build import Format, build_leaderboard, command_line, written
from driftboard.suite.cli.options import Exclusions, PublishedSets, SequencePatterns, SkipBroken
from driftboard.suite.errors import counted

if TYPE_CHECKING:
    from driftboard.leaderboard.analysis.join import Choice
    from driftboard.leaderboard.claim.passed import Passed
    from driftboard.leaderboard.claim.trend import Claim


@dataclass(frozen=True, kw_only=True)
class Records:
    """Which records stand in the tables: options of the commands that make some."""

    published: PublishedSets = None
    prefer: Annotated[
        Literal["own", "published"],
        typer.Option(
            "--prefer",
            help="Whose records stand where results folders and published records have the same "
            "cells or strategies. Of several folders the first one's do.",
        ),
    ] = "own"
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy", help="Only this strategy, or pattern such as 'ewc*'; may be repeated."
        ),
    ] = None
    exclude: Exclusions = None
    sequence: SequencePatterns = None
    skip_broken: SkipBroken = False

    def choice(self) -> "Choice":
        """Return the choice that the options make."""
        from driftboard.leaderboard.analysis.join import Choice

        strategies, sequences = tuple(self.strategy or ()), tuple(self.sequence or ())
        return Choice(strategies, sequences, tuple(self.exclude or ()), self.prefer)


def leaderboard(
    *,
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results folders, as 'driftboard run' fills them."),
    ] = None,
    records: Records,
    out: Annotated[Path, typer.Option(help="The folder for the tables, page and figures.")] = Path(
        "board"
    ),
    reference: Annotated[
        str, typer.Option(help="The strategy that the others are compared with.")
    ] = "sgd",
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="What to write; repeat for several. By default everything."),
    ] = None,
    report: Annotated[
        list[Path] | None,
        typer.Option(help="A report of 'driftboard verify --json'; may be repeated."),
    ] = None,
    latex_width: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTH",
            help="Fit the LaTeX tables into a text of this width: 397pt, 5.5in, 14cm, neurips, "
            "icml, icml-column, ieee, ieee-column or lncs.",
        ),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="Put the overall table between the markers of this file as well."),
    ] = None,
) -> None:
    """Build the leaderboard from the records of one or more results folders.

    Nothing is averaged over two versions: where sources meet, one stands and notes say what was
    left out.
    """
    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.render.terminal import terminal_table

    chosen = tuple(formats or Format)
    board = build_leaderboard(
        results or [],
        out,
        reference,
        skip_broken=records.skip_broken,
        formats=chosen,
        update=update,
        published={name: published_records(name) for name in records.published or ()},
        reports=report or [],
        choice=records.choice(),
        width=latex_width,
    )
    typer.echo(terminal_table(board).text())
    if board.source.skipped:
        typer.echo(f"{counted(len(board.source.skipped), 'broken record')} left out:")
        for reason in board.source.skipped:
            typer.echo(f"  {reason}")
    paths = [*written(out, chosen), *([update] if update else [])]
    typer.echo(f"wrote {', '.join(map(str, paths))}")


CLAIM_FILES = ("claim.md", "claim.csv", "claim.svg", "claim.png")
PASSED_FILES = ("passed.csv", "passed.svg", "passed.png")
"""Written beside these where records tell what passes of a new task's gradient."""


def build_claim(
    results: Sequence[Path],
    out: Path,
    skip_broken: bool = False,
    command: str | None = None,
    published: Sequence[str] = (),
    choice: "Choice | None" = None,
) -> "tuple[Claim, tuple[Passed, ...]]":
    """Write ``claim.md``, ``.csv``, ``.svg`` and ``.png`` below ``out``.

    Returns the claim and what passes of a new task's gradient. If any record tells of that, the
    page has a section on it, and ``passed.csv``, ``.svg`` and ``.png`` are written as well.

    Distances are those that come with the package and those that the results folders hold; a
    later folder's replace an earlier one's. ``published`` names sets of published records that
    join those of the folders, as ``choice`` says. ``command`` is printed in the legend as the way
    to make the page again; by default the command line with these arguments.

    Raises:
        RecordError: the records cannot stand in one table (see ``collect``), a strategy of the
            claim has none, no sequence has a usable distance, or ``out`` cannot be written.
        DriftboardError: there is no published set of that name, or a pattern matches nothing.
    """
    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.analysis.collect import collect
    from driftboard.leaderboard.analysis.join import EVERYTHING, Source
    from driftboard.leaderboard.claim.passed import passed_of
    from driftboard.leaderboard.claim.trend import make_claim
    from driftboard.leaderboard.render.claim_page import claim_csv, claim_page
    from driftboard.leaderboard.render.figures.curves import claim_figure
    from driftboard.leaderboard.render.figures.drawing import images
    from driftboard.leaderboard.render.figures.passed import passed_figure
    from driftboard.leaderboard.render.passed_page import passed_csv, passed_section
    from driftboard.suite.distance.grades import known_grades
    from driftboard.suite.records import write_atomically

    choice = choice or EVERYTHING
    known = {Source(f"published {name}", True): published_records(name) for name in published}
    collection = collect(results, skip_broken, known, choice)
    grades = known_grades(tuple(results))
    claim, passed = make_claim(collection, grades), passed_of(collection, grades)
    if command is None:
        others = ["--out", str(out), *(["--skip-broken"] if skip_broken else [])]
        command = command_line("claim", results, published, choice, others)
    page, table, vector, pixels = CLAIM_FILES
    drawn = images(claim_figure(claim))
    files = {table: claim_csv(claim).encode(), vector: drawn["svg"], pixels: drawn["png"]}
    further: list[str] = []
    if passed:
        numbers, vector_of_passed, pixels_of_passed = PASSED_FILES
        drawn = images(passed_figure(passed))
        files |= {numbers: passed_csv(passed).encode()}
        files |= {vector_of_passed: drawn["svg"], pixels_of_passed: drawn["png"]}
        further = passed_section(passed, vector_of_passed)
    files[page] = claim_page(claim, command, vector, further).encode()
    for name, content in files.items():
        write_atomically(out / name, content)
    return claim, passed


def claim(
    *,
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results folders with records and, if any, grades."),
    ] = None,
    records: Records,
    out: Annotated[
        Path,
        typer.Option(
            help="The folder for claim.md, .csv, .svg and .png, and for passed.csv, .svg and .png "
            "if a record tells what passes of a new task's gradient."
        ),
    ] = Path("claim"),
) -> None:
    """Test on the records whether a small distance between tasks favours freezing."""
    from driftboard.leaderboard.render.claim_page import answer, left_out
    from driftboard.leaderboard.render.passed_page import passed_lines
    from driftboard.leaderboard.words import collection_notes

    found, passed = build_claim(
        results or [],
        out,
        records.skip_broken,
        published=records.published or [],
        choice=records.choice(),
    )
    notes = map("".join, collection_notes(found.source))
    for line in (*answer(found), *passed_lines(passed), *left_out(found), *notes):
        typer.echo(line.replace("**", "").replace("`", ""))
    for reason in found.source.skipped:
        typer.echo(f"broken record left out: {reason}")
    page, *others, last = CLAIM_FILES + (PASSED_FILES if passed else ())
    typer.echo(f"wrote {out / page}, {', '.join(others)} and {last}")

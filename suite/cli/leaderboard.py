"""``driftboard leaderboard`` and ``driftboard claim``: from records to tables and pages."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.leaderboard.build import Format, build_leaderboard, written
from driftboard.suite.cli.options import PublishedSets, SkipBroken
from driftboard.suite.errors import counted

if TYPE_CHECKING:
    from driftboard.leaderboard.claim.trend import Claim


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
    typer.echo(terminal_table(board).text())
    if board.source.skipped:
        typer.echo(f"{counted(len(board.source.skipped), 'broken record')} left out:")
        for reason in board.source.skipped:
            typer.echo(f"  {reason}")
    paths = [*written(out, chosen), *([update] if update else [])]
    typer.echo(f"wrote {', '.join(map(str, paths))}")


CLAIM_FILES = ("claim.md", "claim.csv", "claim.svg", "claim.png")


def build_claim(
    results: Sequence[Path],
    out: Path,
    skip_broken: bool = False,
    command: str | None = None,
    published: Sequence[str] = (),
) -> "Claim":
    """Write ``claim.md``, ``.csv``, ``.svg`` and ``.png`` below ``out`` and return the claim.

    Distances are those that come with the package and those that the results folders hold; a
    later folder's replace an earlier one's. ``published`` names sets of published records that
    join those of the folders. ``command`` is printed in the legend as the way to
    make the page again; by default the command line with these arguments.

    Raises:
        RecordError: the records cannot stand in one table (see ``collect``), a strategy of the
            claim has none, no sequence has a usable distance, or ``out`` cannot be written.
        DriftboardError: there is no published set of that name.
    """
    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.analysis.collect import collect
    from driftboard.leaderboard.claim.trend import make_claim
    from driftboard.leaderboard.render.claim_page import claim_csv, claim_page
    from driftboard.leaderboard.render.figures.curves import claim_figure
    from driftboard.leaderboard.render.figures.drawing import images
    from driftboard.suite.distance.grades import known_grades
    from driftboard.suite.records import write_atomically

    known = {f"published {name}": published_records(name) for name in published}
    claim = make_claim(collect(results, skip_broken, known), known_grades(tuple(results)))
    if command is None:
        command = _command_line(results, out, skip_broken, published)
    page, table, vector, pixels = CLAIM_FILES
    drawn = images(claim_figure(claim))
    for name, content in (
        (page, claim_page(claim, command, vector).encode()),
        (table, claim_csv(claim).encode()),
        (vector, drawn["svg"]),
        (pixels, drawn["png"]),
    ):
        write_atomically(out / name, content)
    return claim


def claim(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Results folders with records and, if any, grades."),
    ] = None,
    published: PublishedSets = None,
    out: Annotated[Path, typer.Option(help="The folder for claim.md, .csv, .svg and .png.")] = Path(
        "claim"
    ),
    skip_broken: SkipBroken = False,
) -> None:
    """Test on the records whether a small distance between tasks favours freezing."""
    from driftboard.leaderboard.render.claim_page import answer, left_out

    found = build_claim(results or [], out, skip_broken, published=published or [])
    for line in (*answer(found), *left_out(found)):
        typer.echo(line.replace("**", "").replace("`", ""))
    for reason in found.source.skipped:
        typer.echo(f"broken record left out: {reason}")
    page, *others, last = CLAIM_FILES
    typer.echo(f"wrote {out / page}, {', '.join(others)} and {last}")


def _command_line(
    results: Sequence[Path], out: Path, skip_broken: bool, published: Sequence[str]
) -> str:
    words = ["driftboard", "claim", *map(str, results)]
    words += [word for name in published for word in ("--published", name)]
    words += ["--out", str(out)]
    return shlex.join([*words, "--skip-broken"] if skip_broken else words)

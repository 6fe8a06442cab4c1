"""``driftboard claim``: the paper's claim against the measured distances, as page and figure."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftboard.suite.cli.options import PublishedSets, SkipBroken

if TYPE_CHECKING:
    from driftboard.leaderboard.claim.trend import Claim

PAGE_NAME = "claim.md"
CSV_NAME = "claim.csv"
SVG_NAME = "claim.svg"
PNG_NAME = "claim.png"


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
    write_atomically(out / PAGE_NAME, claim_page(claim, command, SVG_NAME).encode())
    write_atomically(out / CSV_NAME, claim_csv(claim).encode())
    drawn = images(claim_figure(claim))
    write_atomically(out / SVG_NAME, drawn["svg"])
    write_atomically(out / PNG_NAME, drawn["png"])
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
    typer.echo(f"wrote {out / PAGE_NAME}, {CSV_NAME}, {SVG_NAME} and {PNG_NAME}")


def _command_line(
    results: Sequence[Path], out: Path, skip_broken: bool, published: Sequence[str]
) -> str:
    words = ["driftboard", "claim", *map(str, results)]
    words += [word for name in published for word in ("--published", name)]
    words += ["--out", str(out)]
    return shlex.join([*words, "--skip-broken"] if skip_broken else words)

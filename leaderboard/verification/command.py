"""``driftboard verify``: check a submission's records."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftboard.leaderboard.verification.findings import Finding


def verify(
    folder: Annotated[Path, typer.Argument(help="The submission's folder.", show_default=False)],
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A results folder of other strategies to compare with; may be repeated."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the report as JSON to this file.")
    ] = None,
) -> None:
    """Check a submission: a line for each check, and the badge if none failed.

    Nothing of the submission is run, and nothing outside of its folder is read.
    """
    from driftboard.leaderboard.verification.findings import has_failed, report_json, report_lines
    from driftboard.suite.records import write_atomically

    findings, digest = verify_folder(folder, against or ())
    for line in report_lines(findings):
        typer.echo(line)
    if json is not None:
        write_atomically(json, report_json(findings, digest))
    if has_failed(findings):
        raise typer.Exit(1)


def verify_folder(folder: Path, against: Sequence[Path] = ()) -> "tuple[list[Finding], str | None]":
    """Return what all checks of records find, and the digest of ``submission.json``.

    Raises:
        RecordError: a folder of ``against`` has no records, or a broken one.
    """
    from driftboard.leaderboard.verification.checks import examine
    from driftboard.leaderboard.verification.material import load

    material, findings = load(folder, against)
    if material is None:
        return findings, None
    if material.records:
        findings += examine(material)
    return findings, material.digest

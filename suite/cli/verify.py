"""``driftboard verify``: check a submission's records."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from driftboard.suite.cli.options import DataFolder, PublishedSets


def verify(
    folder: Annotated[Path, typer.Argument(help="The submission's folder.", show_default=False)],
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A results folder of other strategies to compare with; may be repeated."),
    ] = None,
    published: PublishedSets = None,
    rerun: Annotated[
        int, typer.Option(min=0, help="Run so many cells again, drawn by chance; runs its code.")
    ] = 0,
    salt: Annotated[
        str, typer.Option(help="What the draw starts from; keep it to yourself until then.")
    ] = "",
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the re-run may take.")] = 60.0,
    memory: Annotated[float, typer.Option(min=0.5, help="Gigabytes the re-run may use.")] = 8.0,
    data: DataFolder = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the report as JSON to this file.")
    ] = None,
) -> None:
    """Check a submission: a line for each check, and the badge if none failed.

    Without --rerun nothing of the submission is run, and nothing outside of its folder is read.
    With it, the strategy runs in a process with limits; CONTRIBUTING.md says what they guard.
    """
    from driftboard.baselines.published import published_records
    from driftboard.leaderboard.verification.checks import examine_folder
    from driftboard.leaderboard.verification.report import has_failed, report_json, report_lines
    from driftboard.suite.records import write_atomically

    others = [record for name in published or () for record in published_records(name)]
    submitted, findings = examine_folder(folder, against or (), others)
    badge = None
    if rerun and submitted is not None and not has_failed(findings):
        from driftboard.leaderboard.verification.rerun import run_again

        convert_data(submitted.by_sequence, data)
        again, badge = run_again(
            folder, submitted, rerun, salt, 60 * minutes, round(memory * 1e9), data
        )
        findings += again
    for line in report_lines(findings, badge):
        typer.echo(line)
    if json is not None:
        digest = None if submitted is None else submitted.digest
        write_atomically(json, report_json(findings, digest, badge))
    if has_failed(findings):
        raise typer.Exit(1)


def convert_data(sequences: Iterable[str], data: Path | None) -> None:
    """Convert the original files of what sequences are trained on, unless that is done.

    The limited process cannot: it may not write where converted data are kept.

    Raises:
        DataError: a file is broken.
    """
    from driftboard.suite.data import SOURCES, convert_originals
    from driftboard.suite.sequences.registry import registered

    known = registered()
    sources = {known[name].source for name in sequences if name in known}
    for source in sorted(sources & SOURCES.keys()):  # linear sequences need no data set
        convert_originals(source, data)

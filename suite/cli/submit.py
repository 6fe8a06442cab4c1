"""``driftboard submit`` and ``driftboard verify``: put a submission together, and check one."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftboard.suite.cli.options import (
    DataFolder,
    PublishedSets,
    Training,
    chosen_sequences,
    traceback_asked,
)
from driftboard.suite.errors import DriftboardError, StrategyError, counted, escaped
from driftboard.suite.runs.scheduler import raise_failures


def submit(
    *,
    strategy: Annotated[
        str,
        typer.Argument(
            help="FILE.py, FOLDER, or either with :CLASS; also with ',parameter=value'.",
            show_default=False,
        ),
    ],
    title: Annotated[str, typer.Option(help="What the board calls it, one line.")],
    author: Annotated[list[str], typer.Option(help="A name; may be repeated.")],
    licence: Annotated[str, typer.Option(help="The source's licence, such as Apache-2.0.")],
    suite: Annotated[
        Literal["quick", "linear", "core", "full"],
        typer.Option(help="The tier of sequences."),
    ] = "core",
    link: Annotated[
        list[str] | None, typer.Option(help="https://... of a paper or code; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it does, one line.")] = "",
    remark: Annotated[
        list[str] | None,
        typer.Option(help="What a reader of the checks should know; may be repeated."),
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="The folder that `driftboard tune` has filled.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The submission's folder.", show_default="submissions/STRATEGY"),
    ] = None,
    training: Training,
) -> None:
    """Run a strategy of yours on a whole suite and put a submission together.

    Stopped at any moment, the same command goes on. At the end the submission is checked as
    `driftboard verify` does it.
    """
    from driftboard.leaderboard.verification.checks import examine_folder
    from driftboard.leaderboard.verification.report import has_failed, report_lines
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.submissions import (
        assemble,
        check_specification,
        make_credits,
        source_name,
    )

    words = make_credits(title, author, link or (), licence, description, remark or ())
    check_specification(strategy)
    loaded = load_strategy(strategy)
    source_name(loaded)
    if loaded.stamp.role != "ranked":
        raise StrategyError(f"{strategy} is a bound; only ranked strategies are submitted")
    tuned = None if tuning is None else _tuning_of(tuning, strategy)
    folder = out or Path("submissions") / loaded.stamp.name
    request = training.request(folder, chosen_sequences(suite, None), [loaded])
    what = f"{counted(len(request.sequences), 'sequence')} x {loaded.stamp.name}"
    raise_failures(training.run_jobs(request, what), folder)
    assemble(folder, loaded, tuned, words, suite)
    _, findings = examine_folder(folder)
    for line in report_lines(findings):
        typer.echo(line)
    typer.echo(f"submission: {folder}")
    if has_failed(findings):
        raise typer.Exit(1)


def _tuning_of(folder: Path, specification: str) -> Path:
    """Return the tuning record of a strategy, which bears its name without settings.

    Raises:
        DriftboardError: there is none in the folder.
    """
    from driftboard.suite.loading import load_strategy, split_specification
    from driftboard.suite.tuning import read_tuning, tuning_path

    tuned = "".join(split_specification(specification)[:2])
    path = tuning_path(folder, load_strategy(tuned).stamp.name)
    if not path.is_file():
        command = shlex.join(["driftboard", "tune", tuned, "--out", str(folder)])
        raise DriftboardError(f"there is no {path}; make it with `{command}`")
    read_tuning(path)
    return path


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
    With it, the strategy runs in a process with limits; docs/concepts/verification.md says
    what they guard.
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
        again, badge = run_again(submitted, rerun, salt, 60 * minutes, round(memory * 1e9), data)
        findings += again
    for line in report_lines(findings, badge):
        typer.echo(line)
    for finding in findings:
        if finding.trace and traceback_asked.get():
            typer.echo(escaped(finding.trace), err=True)
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
    from driftboard.suite.data import convert_originals
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.sequences.registry import registered

    known = registered()
    chosen = [known[name] for name in sequences if name in known]
    sources = {one.source for one in chosen if not isinstance(one.scenario, LinearSetting)}
    for source in sorted(sources):
        convert_originals(source, data)

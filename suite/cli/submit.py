"""``driftboard submit``: run what a submission lacks, put it together and check it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from driftboard.suite.cli.options import Training, chosen_sequences
from driftboard.suite.errors import DriftboardError, StrategyError, counted
from driftboard.suite.runs.workplace import train_all


def submit(
    *,
    strategy: Annotated[
        str,
        typer.Argument(
            help="FILE.py or FILE.py:CLASS, also with ',parameter=value'.", show_default=False
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
    from driftboard.suite.submissions import assemble, make_credits, source_of

    workplace = training.workplace()
    words = make_credits(title, author, link or (), licence, description, remark or ())
    source_of(strategy)
    loaded = load_strategy(strategy)
    if loaded.stamp.role != "ranked":
        raise StrategyError(f"{strategy} is a bound; only ranked strategies are submitted")
    tuned = None if tuning is None else _tuning_of(tuning, strategy)
    folder = out or Path("submissions") / loaded.stamp.name
    request = training.request(folder, chosen_sequences(suite, None), [loaded])
    what = f"{counted(len(request.sequences), 'sequence')} x {loaded.stamp.name}"
    train_all(request, what, workplace)
    assemble(folder, loaded.stamp, loaded.specification, tuned, words, suite)
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
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.tuning.trials import read_tuning, tuning_path

    path = tuning_path(folder, load_strategy(specification.split(",")[0]).stamp.name)
    if not path.is_file():
        raise DriftboardError(
            f"there is no {path}; make it with `driftboard tune {specification.split(',')[0]} "
            f"--out {folder}`"
        )
    read_tuning(path)
    return path

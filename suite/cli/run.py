"""``driftboard run``: train what is missing and print the leaderboard."""

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.suite.cli.options import (
    Exclusions,
    OneSetting,
    ResultsFolder,
    SeedCount,
    SequenceFiles,
    SequencePatterns,
    Training,
    chosen_sequences,
    excluded,
)
from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.scheduler import raise_failures

if TYPE_CHECKING:
    from driftboard.suite.loading import LoadedStrategy


def run(
    *,
    suite: Annotated[
        Literal["quick", "linear", "core", "full"] | None,
        typer.Option(help="The tier of sequences to run.", show_default="quick"),
    ] = None,
    setting: OneSetting = None,
    sequence: SequencePatterns = None,
    sequence_file: SequenceFiles = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, FILE.py, FOLDER, or one of these two with :CLASS, each also with "
            "',parameter=value'; may be repeated. Without it: all built-in strategies.",
        ),
    ] = None,
    exclude: Exclusions = None,
    seeds: SeedCount = None,
    tuning: Annotated[
        bool,
        typer.Option(
            "--tuning",
            help="Use the tuning seeds and test on a part of the training data: for choosing "
            "hyper-parameters. Never for results that are reported.",
        ),
    ] = False,
    out: ResultsFolder = Path("driftboard-results"),
    training: Training,
    reference: Annotated[
        str, typer.Option(help="The strategy that the board compares the others with.")
    ] = "sgd",
) -> None:
    """Run every strategy on a suite of sequences and print the leaderboard.

    Linear sequences are solved, not trained, so by default they run with those strategies only
    that can be solved.

    Stopped at any moment, the same command goes on and ends with the same records.
    """
    from driftboard.suite.linear.cells import default_strategies

    training.backend().warm_up()
    sequences = chosen_sequences(
        suite, sequence, sequence_file, seeds, tuning=tuning, setting=setting
    )
    strategies = _loaded_strategies(strategy or default_strategies(sequences))
    names = [one.stamp.name for one in strategies]
    gone = excluded(exclude, [one.name for one in sequences], names)
    _check_reference(reference, names, gone)
    request = training.request(
        out,
        [one for one in sequences if one.name not in gone],
        [one for one in strategies if one.stamp.name not in gone],
        sequence_files=sequence_file or (),
        seed_count=seeds,
        purpose="validation" if tuning else "test",
    )
    if failures := training.run_jobs(request, request.described()):
        # Where a failed strategy leaves no record, there may be no board; the failure says why.
        with suppress(DriftboardError):
            _show_board(out, reference)
        raise_failures(failures, out)
    _show_board(out, reference)
    _show_next_steps(out)


def _loaded_strategies(specifications: Iterable[str]) -> "tuple[LoadedStrategy, ...]":
    """Return the strategies that are named.

    Raises:
        DriftboardError: one is named twice.
    """
    from driftboard.suite.loading import load_strategy

    chosen = tuple(load_strategy(text) for text in specifications)
    names = [item.stamp.name for item in chosen]
    if len(set(names)) < len(names):
        raise DriftboardError(f"a strategy is named twice: {', '.join(names)}")
    return chosen


def _check_reference(reference: str, names: list[str], gone: set[str]) -> None:
    if reference in gone:
        raise DriftboardError(
            f"the reference '{reference}' is left out by --exclude; keep it, or choose another "
            "with --reference"
        )
    if reference not in names:
        raise DriftboardError(
            f"the reference '{reference}' is not among the strategies; add --strategy "
            f"{shlex.quote(reference)} or choose another with --reference"
        )


def _show_board(results: Path, reference: str) -> None:
    from driftboard.leaderboard.build import build_leaderboard
    from driftboard.leaderboard.render.terminal import terminal_table

    typer.echo(terminal_table(build_leaderboard([results], results, reference)).text())


def _show_next_steps(results: Path) -> None:
    typer.echo(f"tables: {results / 'leaderboard.md'}, {results / 'leaderboard.csv'}")
    typer.echo("next:")
    steps = {
        "driftboard strategies": "what the rows are",
        "driftboard sequences": "what they were tested on",
        "driftboard new my-method": "a method of your own",
        "driftboard run --suite core --data DIR": "Fashion-MNIST and CIFAR-10",
        f"driftboard leaderboard {shlex.quote(str(results))}": "a page, LaTeX and figures",
    }
    width = max(map(len, steps))
    for command, what in steps.items():
        typer.echo(f"  {command:<{width}}  {what}")

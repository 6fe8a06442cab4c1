"""``driftboard run``: train what is missing and print the leaderboard."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.suite.cli.execution import exit_on_failure, run_jobs
from driftboard.suite.cli.options import (
    Cluster,
    DataFolder,
    Device,
    RayAddress,
    ResultsFolder,
    SeedCount,
    SequenceFiles,
    SequencePatterns,
    Workers,
)
from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.backend import Backend
from driftboard.suite.wording import counted

if TYPE_CHECKING:
    from driftboard.suite.runs.request import Request

Tier = Literal["quick", "linear", "core", "full"]


def run(
    suite: Annotated[
        Tier | None,
        typer.Option(help="The tier of sequences to run.", show_default="quick"),
    ] = None,
    sequence: SequencePatterns = None,
    sequence_file: SequenceFiles = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME, FILE.py or FILE.py:CLASS, each also with ',parameter=value'; "
            "may be repeated. Without it: all built-in strategies.",
        ),
    ] = None,
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
    data: DataFolder = None,
    device: Device = "auto",
    workers: Workers = None,
    cluster: Cluster = None,
    ray_address: RayAddress = None,
    reference: Annotated[
        str, typer.Option(help="The strategy that the board compares the others with.")
    ] = "sgd",
) -> None:
    """Run every strategy on a suite of sequences and print the leaderboard.

    Stopped at any moment, the same command goes on and ends with the same records.
    """
    backend = Backend(workers, cluster, ray_address)
    backend.warm_up()
    from driftboard.suite.runs.grid import claim_folder, is_complete

    request = _request(
        suite, sequence, sequence_file, strategy, seeds, tuning, out, data, device, reference
    )
    what = (
        f"{counted(len(request.sequences), 'sequence')} x "
        f"{counted(len(request.strategies), 'strategy', 'strategies')}"
    )
    if all(is_complete(request, one) for one in request.sequences):
        claim_folder(out, request.purpose)
        cells = counted(request.cell_count(), "cell")
        typer.echo(f"{what}, {cells}: all there already", err=True)
    else:
        _train(request, what, backend, reference)
    _show_board(out, reference)
    _show_next_steps(out)


def _train(request: "Request", what: str, backend: Backend, reference: str) -> None:
    """Train what is missing; where something failed, show what there is and leave with 1."""
    failures = run_jobs(backend, request, what)
    if failures:
        # Where a failed strategy leaves no record, there may be no board; the failure says why.
        with suppress(DriftboardError):
            _show_board(request.results, reference)
    exit_on_failure(failures)


def _request(
    tier: Tier | None,
    patterns: list[str] | None,
    files: list[Path] | None,
    strategies: list[str] | None,
    seed_count: int | None,
    tuning: bool,
    results: Path,
    data: Path | None,
    device: str,
    reference: str,
) -> "Request":
    """Return what is asked for; whether there is such a device is not decided yet."""
    from driftboard.strategies.catalogue import BUILTIN
    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import choose_sequences

    chosen = tuple(load_strategy(text) for text in strategies or BUILTIN)
    known = load_sequences(tuple(files or ()))
    names = [item.stamp.name for item in chosen]
    if len(set(names)) < len(names):
        raise DriftboardError(f"a strategy is named twice: {', '.join(names)}")
    if reference not in names:
        raise DriftboardError(
            f"the reference '{reference}' is not among the strategies; add --strategy {reference} "
            f"or choose another with --reference"
        )
    sequences = choose_sequences(known, tier, patterns, bool(files))
    PROTOCOL.check_seed_count(seed_count, (one.tier for one in sequences), tuning=tuning)
    return Request(
        sequences=sequences,
        sequence_files=tuple(files or ()),
        strategies=chosen,
        seed_count=seed_count,
        purpose="validation" if tuning else "test",
        results=results,
        data=data,
        device=device,
    )


def _show_board(results: Path, reference: str) -> None:
    from rich.console import Console

    from driftboard.leaderboard.render.terminal import terminal_table
    from driftboard.suite.cli.leaderboard import build_leaderboard

    Console().print(terminal_table(build_leaderboard([results], results, reference)))


def _show_next_steps(results: Path) -> None:
    typer.echo(f"tables: {results / 'leaderboard.md'}, {results / 'leaderboard.csv'}")
    typer.echo("next:")
    steps = {
        "driftboard strategies": "what the rows are",
        "driftboard sequences": "what they were tested on",
        "driftboard new my-method": "a method of your own",
        "driftboard run --suite core --data DIR": "Fashion-MNIST and CIFAR-10",
        f"driftboard leaderboard {results}": "a page, LaTeX and figures",
    }
    width = max(map(len, steps))
    for command, what in steps.items():
        typer.echo(f"  {command:<{width}}  {what}")

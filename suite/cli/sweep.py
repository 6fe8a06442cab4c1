"""``driftboard sweep``: accuracy and forgetting against the size of the update."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.suite.cli.options import (
    ResultsFolder,
    SeedCount,
    SequenceFiles,
    Training,
    known_sequences,
)
from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.scheduler import raise_failures

if TYPE_CHECKING:
    from driftboard.leaderboard.claim.magnitude import Sweep
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.sequences.task_sequence import TaskSequence

MAGNITUDES = {
    "fraction": (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "ball": (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0),
}


def sweep(
    *,
    sequence: Annotated[str, typer.Argument(help="A sequence, see 'driftboard sequences'.")],
    by: Annotated[
        Literal["fraction", "ball"],
        typer.Option(
            help="What is swept: the fraction of the finished update that is taken, or the radius "
            "of the ball around the last solution."
        ),
    ] = "fraction",
    magnitudes: Annotated[
        str | None, typer.Option(help="Numbers with commas between.", show_default="a grid of 12")
    ] = None,
    sequence_file: SequenceFiles = None,
    seeds: SeedCount = None,
    out: ResultsFolder = Path("driftboard-results"),
    training: Training,
) -> None:
    """Sweep the update magnitude on one sequence: a curve with intervals, and its optimum.

    Writes curve.md, curve.csv, curve.svg and curve.png. Stopped at any moment, the same command
    goes on.
    """
    from driftboard.leaderboard.claim.magnitude import sweep_of
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.sweeps import Sweep, sweep_records

    files = tuple(sequence_file or ())
    chosen = _one_sequence(sequence, known_sequences(files))
    grid = MAGNITUDES[by] if magnitudes is None else _parsed(magnitudes, by)
    PROTOCOL.check_seed_count(seeds, [chosen.tier])
    used = PROTOCOL.seeds_of(chosen.tier)[:seeds]
    if isinstance(chosen.scenario, LinearSetting):
        _sweep_linear(chosen, chosen.scenario, by, grid, used, out)
        return
    request = training.request(
        out, [chosen], sequence_files=files, seed_count=seeds, work=Sweep(by, grid)
    )
    what = f"{chosen.name} at {len(grid)} magnitudes"
    failures = training.run_jobs(request, what)
    records = sweep_records(request, by)
    if len(records) == len(used):
        _write(sweep_of(records), out)
    raise_failures(failures, out)


def _sweep_linear(
    sequence: "TaskSequence",
    setting: "LinearSetting",
    by: str,
    fractions: tuple[float, ...],
    seeds: tuple[int, ...],
    out: Path,
) -> None:
    from driftboard.leaderboard.claim.magnitude import sweep_of_losses
    from driftboard.suite.linear.cells import exact_curves, exact_optima, measured_curves

    if by != "fraction":
        raise DriftboardError(
            f"{sequence.name} is solved in closed form, which a {by} has none of; use --by fraction"
        )
    measured = measured_curves(sequence.name, setting, fractions, seeds)
    exact = exact_curves(setting, fractions)
    _write(sweep_of_losses(sequence.name, fractions, measured, exact, exact_optima(setting)), out)


def _write(curves: "Sweep", out: Path) -> None:
    from driftboard.leaderboard.claim.magnitude import divergence_texts, files_of, optimum_text
    from driftboard.leaderboard.render.figures.curves import write_figures
    from driftboard.suite.records import write_atomically

    folder = out / "sweeps" / f"{curves.sequence}-by-{curves.kind}"
    for name, text in files_of(curves, shlex.join(["driftboard", *sys.argv[1:]])).items():
        write_atomically(folder / name, text.encode())
    write_figures(curves, folder)
    for curve in curves.curves:
        typer.echo(optimum_text(curves, curve))
    for line in divergence_texts(curves):
        typer.echo(line)
    typer.echo(f"wrote curve.md, curve.csv, curve.svg and curve.png in {folder}")


def _one_sequence(name: str, known: "dict[str, TaskSequence]") -> "TaskSequence":
    from driftboard.suite.sequences.task_sequence import find_sequences

    found = find_sequences([name], known)
    if len(found) > 1:
        raise DriftboardError(f"'{name}' names {len(found)} sequences; a sweep takes one")
    return next(iter(found.values()))


def _parsed(text: str, by: str) -> tuple[float, ...]:
    """Return the magnitudes in ascending order, each once."""
    try:
        numbers = sorted({float(part) for part in text.split(",")})
    except ValueError as error:
        raise DriftboardError(
            f"'{text}' is not a list of numbers; write e.g. --magnitudes 0,0.5,1"
        ) from error
    highest = 1.0 if by == "fraction" else float("inf")
    if not all(0 <= number <= highest and number < float("inf") for number in numbers):
        limits = "between 0 and 1" if by == "fraction" else "finite and at least 0"
        raise DriftboardError(f"'{text}': every {by} must be {limits}")
    return tuple(numbers)

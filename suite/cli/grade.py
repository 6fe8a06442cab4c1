"""``driftboard grade``: measure how far apart the tasks of sequences are."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from driftboard.suite.cli.options import (
    Exclusions,
    ResultsFolder,
    SeedCount,
    SequenceFiles,
    Training,
    chosen_sequences,
    excluded,
)
from driftboard.suite.errors import counted
from driftboard.suite.runs.scheduler import raise_failures


def grade(
    *,
    sequence: Annotated[
        list[str] | None,
        typer.Argument(help="Sequences or patterns such as 'fashion-*'.", show_default="all"),
    ] = None,
    suite: Annotated[
        Literal["quick", "core", "full"] | None,
        typer.Option(help="The tier of sequences to grade.", show_default="quick"),
    ] = None,
    sequence_file: SequenceFiles = None,
    exclude: Exclusions = None,
    seeds: SeedCount = None,
    parts: Annotated[
        int,
        typer.Option(
            min=2,
            help="Separate parts of each task that are trained on; more make each seed more exact "
            "and leave each training fewer images.",
        ),
    ] = 2,
    out: ResultsFolder = Path("driftboard-results"),
    training: Training,
) -> None:
    """Measure the parameter distance between the tasks of sequences.

    Trains on separate parts of every task from one initialisation, writes a grade record per
    sequence and a table of all pairs of tasks. Stopped at any moment, the same command goes on.
    """
    from driftboard.suite.distance.grades import GRADE_LEGEND, pair_table, terminal_table
    from driftboard.suite.distance.measurement import Distances, grade_records
    from driftboard.suite.records import write_atomically

    sequences = chosen_sequences(suite, sequence, sequence_file, seeds)
    gone = excluded(exclude, [one.name for one in sequences])
    chosen = [one for one in sequences if one.name not in gone]
    request = training.request(
        out,
        chosen,
        sequence_files=sequence_file or (),
        seed_count=seeds,
        work=Distances(parts),
    )
    what = f"{counted(len(chosen), 'sequence')} to be graded"
    failures = training.run_jobs(request, what)
    records = grade_records(request)
    if records:
        typer.echo(terminal_table(records).text())
        typer.echo(GRADE_LEGEND)
        pairs = out / "grades" / "pairs.csv"
        write_atomically(pairs, pair_table(records).encode())
        typer.echo(f"grade records and every pair of tasks: {pairs.parent}")
    raise_failures(failures, out)

"""``driftboard grade``: measure how far apart the tasks of sequences are."""

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
    Workers,
)
from driftboard.suite.runs.backend import Backend
from driftboard.suite.wording import counted

if TYPE_CHECKING:
    from driftboard.suite.distance.grades import GradeRecord


def grade(
    sequence: Annotated[
        list[str] | None,
        typer.Argument(help="Sequences or patterns such as 'fashion-*'.", show_default="all"),
    ] = None,
    suite: Annotated[
        Literal["quick", "core", "full"] | None,
        typer.Option(help="The tier of sequences to grade.", show_default="quick"),
    ] = None,
    sequence_file: SequenceFiles = None,
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
    data: DataFolder = None,
    device: Device = "auto",
    workers: Workers = None,
    cluster: Cluster = None,
    ray_address: RayAddress = None,
) -> None:
    """Measure the parameter distance between the tasks of sequences.

    Trains on separate parts of every task from one initialisation, writes a grade record per
    sequence and a table of all pairs of tasks. Stopped at any moment, the same command goes on.
    """
    from rich.console import Console

    from driftboard.suite.distance.measurement import Distances, grade_records
    from driftboard.suite.distance.tables import GRADE_LEGEND, pair_table, terminal_table
    from driftboard.suite.loading import load_sequences
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.records import write_atomically
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import choose_sequences

    backend = Backend(workers, cluster, ray_address)
    files = tuple(sequence_file or ())
    chosen = choose_sequences(load_sequences(files), suite, sequence, bool(files))
    PROTOCOL.check_seed_count(seeds, (one.tier for one in chosen))
    request = Request(
        sequences=chosen,
        sequence_files=files,
        seed_count=seeds,
        results=out,
        data=data,
        device=device,
        work=Distances(parts),
    )
    what = f"{counted(len(chosen), 'sequence')} to be graded"
    failures = run_jobs(backend, request, what)
    records: list[GradeRecord] = grade_records(request)
    if records:
        Console().print(terminal_table(records))
        typer.echo(GRADE_LEGEND)
        pairs = out / "grades" / "pairs.csv"
        write_atomically(pairs, pair_table(records).encode())
        typer.echo(f"grade records and every pair of tasks: {pairs.parent}")
    exit_on_failure(failures)

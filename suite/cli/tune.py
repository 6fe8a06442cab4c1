"""``driftboard tune``: choose a strategy's settings on the tuning seeds."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.suite.cli.options import (
    Exclusions,
    ResultsFolder,
    SequenceFiles,
    SequencePatterns,
    Training,
    chosen_sequences,
    excluded,
)
from driftboard.suite.errors import counted
from driftboard.suite.runs.scheduler import raise_failures

if TYPE_CHECKING:
    from driftboard.suite.tuning import Trial, TuningRecord


def tune(
    *,
    strategy: Annotated[
        list[str],
        typer.Argument(help="NAME, FILE.py, FOLDER, or one of these two with :CLASS; several."),
    ],
    suite: Annotated[
        Literal["quick", "core", "full"] | None,
        typer.Option(help="The tier of sequences to tune on.", show_default="quick"),
    ] = None,
    sequence: SequencePatterns = None,
    sequence_file: SequenceFiles = None,
    exclude: Exclusions = None,
    out: ResultsFolder = Path("driftboard-tuning"),
    training: Training,
) -> None:
    """Give every strategy the same number of trials and write down what each reached.

    Trains on the tuning seeds, tests on a part of the training images: nothing that is reported
    is looked at. Stopped at any moment, the same command goes on.
    """
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.protocol import TUNING
    from driftboard.suite.records import write_json
    from driftboard.suite.tuning import (
        trial_specifications,
        tuning_path,
        tuning_record,
    )

    sequences = chosen_sequences(suite, sequence, sequence_file)
    tuned = [load_strategy(text) for text in strategy]
    gone = excluded(exclude, [one.name for one in sequences], [one.stamp.name for one in tuned])
    sequences = tuple(one for one in sequences if one.name not in gone)
    tuned = [one for one in tuned if one.stamp.name not in gone]
    trials = {loaded.stamp.name: trial_specifications(loaded) for loaded in tuned}
    request = training.request(
        out,
        sequences,
        [load_strategy(text) for texts in trials.values() for text in texts],
        sequence_files=sequence_file or (),
        purpose="validation",
    )
    what = (
        f"{counted(len(tuned), 'strategy', 'strategies')} x {TUNING.trials} trials x "
        f"{counted(len(sequences), 'sequence')}"
    )
    raise_failures(training.run_jobs(request, what), out)
    for name, specifications in trials.items():
        record = tuning_record(specifications, sequences, out)
        write_json(tuning_path(out, name), record)
        _show(name, record)
    typer.echo(f"tuning records: {out / 'tuning'}")


def _show(name: str, record: "TuningRecord") -> None:
    from driftboard.suite.loading import split_specification
    from driftboard.suite.terminal import Column, TextTable

    numbers = ("Avg.Acc", "Forgetting", "Task.Acc", "diverged")
    columns = [Column(""), *(Column(one, "number") for one in numbers), Column("setting", "words")]
    rows = [
        (
            "*" if place == record.chosen else "",
            f"{100 * trial.avg_acc:.1f}",
            f"{100 * trial.forgetting:.1f}",
            f"{100 * trial.task_acc:.1f}",
            str(trial.diverged),
            split_specification(trial.specification)[2].replace(",", " ").strip() or "its own",
        )
        for place, trial in enumerate(record.trials)
    ]
    typer.echo(TextTable(columns, [rows], title=name).text())
    runs = len(record.sequences) * len(record.seeds)
    for trial in record.trials:
        if trial.diverged:
            typer.echo(f"{trial.specification}: {_without_diverged(trial, runs)}")
    chosen = shlex.quote(record.trials[record.chosen].specification)
    typer.echo(f"chosen: --strategy {chosen}")


def _without_diverged(trial: "Trial", runs: int) -> str:
    """Return how many runs of a trial diverged, and its means without them."""
    text = f"{trial.diverged} of {runs} runs diverged and count with the accuracy of chance"
    found = trial.finished
    if found is None:
        return text
    return (
        f"{text}; without them Avg.Acc {100 * found.avg_acc:.1f}, Forgetting "
        f"{100 * found.forgetting:.1f}, Task.Acc {100 * found.task_acc:.1f}"
    )

"""``driftboard sequences`` and ``driftboard strategies``: what there is to run."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftboard.suite.cli.options import AsJson, known_sequences
from driftboard.suite.errors import one_line


def sequences(
    suite: Annotated[
        Literal["quick", "linear", "core", "full", "own"] | None,
        typer.Option(help="Only one tier."),
    ] = None,
    sequence_file: Annotated[
        list[Path] | None, typer.Option(help="A Python file with sequences of your own.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(help="A results folder with grades of your own; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the task sequences: their data, scenario and network, and how far apart tasks are.

    The distance of tasks (0 for equal, 2 for unrelated ones) was measured by 'driftboard grade'.
    """
    from driftboard.suite.distance.grades import (
        GRADE_LEGEND,
        grade_cells,
        known_grades,
        plain_grade,
    )
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.sequences.task_sequence import describe

    known = known_sequences(sequence_file)
    for line in known.unsound.values():
        typer.echo(f"driftboard: left out: {one_line(line)}", err=True)
    chosen = [value for value in known.values() if suite in (None, value.tier)]
    grades = known_grades(tuple(results or ()))
    if as_json:
        content = []
        for value in chosen:
            grade = grades.get(value.hash())
            described = describe(value, PROTOCOL)
            content.append({**described, "grade": plain_grade(grade) if grade else None})
        typer.echo(json.dumps(content, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("sequence", "distance", "rel.", "grade"):
        table.add_column(column, no_wrap=True)
    table.add_column("what its tasks are")
    tier = ""
    for value in chosen:
        if value.tier != tier:
            tier = value.tier
            table.add_section()
        grade = grades.get(value.hash())
        measured = grade_cells(grade) if grade else ("-", "-", "-")
        about = f"{value.description} {value.scenario.tasks} tasks, {value.network}, {tier}."
        table.add_row(value.name, *measured, about)
    Console().print(table)
    typer.echo(GRADE_LEGEND)


def strategies(as_json: AsJson = False) -> None:
    """List the built-in strategies: their parameters and where each comes from."""
    from driftboard.strategies.catalogue import BUILTIN, FURTHER

    if as_json:
        content = [
            {
                "name": name,
                "role": strategy.role,
                "parameters": dataclasses.asdict(strategy),
                "summary": strategy.summary,
                "literature": strategy.literature,
            }
            for name, strategy in (BUILTIN | FURTHER).items()
        ]
        typer.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("strategy", "role", "parameters", "from the second task on", "literature")
    for name, strategy in (BUILTIN | FURTHER).items():
        parameters = ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(strategy).items())
        table.add_row(name, strategy.role, parameters, strategy.summary, strategy.literature)
    Console().print(table)

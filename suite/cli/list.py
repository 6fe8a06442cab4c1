"""``driftboard sequences`` and ``driftboard strategies``: what there is to run."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from driftboard.suite.cli.options import AsJson, OneSetting, known_sequences
from driftboard.suite.errors import DriftboardError, one_line


def sequences(
    suite: Annotated[
        Literal["quick", "linear", "core", "full", "own"] | None,
        typer.Option(help="Only one tier."),
    ] = None,
    setting: OneSetting = None,
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
        FIRST_TO_GO,
        GRADE_COLUMNS,
        GRADE_LEGEND,
        grade_cells,
        known_grades,
        plain_grade,
    )
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.sequences.task_sequence import describe
    from driftboard.suite.terminal import Column, TextTable

    for folder in results or ():
        if not folder.is_dir():
            raise DriftboardError(f"there is no folder {folder}; name one that has grades")
    known = known_sequences(sequence_file)
    for line in known.unsound.values():
        typer.echo(f"driftboard: left out: {one_line(line)}", err=True)
    chosen = [
        value
        for value in known.values()
        if suite in (None, value.tier) and setting in (None, value.setting)
    ]
    grades = known_grades(tuple(results or ()))
    if as_json:
        content = []
        for value in chosen:
            grade = grades.get(value.hash())
            described = describe(value, PROTOCOL)
            content.append({**described, "grade": plain_grade(grade) if grade else None})
        typer.echo(json.dumps(content, indent=1))
        return
    groups: dict[str, list[tuple[str, ...]]] = {}
    for value in chosen:
        grade = grades.get(value.hash())
        measured = grade_cells(grade) if grade else ("-", "-", "-")
        about = (
            f"{value.description} {value.scenario.tasks} tasks, {value.network_name}, {value.tier}."
        )
        groups.setdefault(value.tier, []).append((value.name, *measured, about))
    columns = (*GRADE_COLUMNS, Column("what its tasks are", "words"))
    typer.echo(TextTable(columns, [*groups.values()], first_to_go=FIRST_TO_GO).text())
    typer.echo(GRADE_LEGEND)


def strategies(as_json: AsJson = False) -> None:
    """List the built-in strategies by family: parameters, what each stores, and its source."""
    from driftboard.strategies.catalogue import BUILTIN, FAMILIES, FURTHER
    from driftboard.suite.checks.tiny import track_of
    from driftboard.suite.terminal import Column, TextTable

    known = BUILTIN | FURTHER
    if as_json:
        family = {name: title for title, names in FAMILIES.items() for name in names}
        content = [
            {
                "name": name,
                "family": family[name],
                "role": strategy.role,
                "stores": track_of(strategy),
                "parameters": dataclasses.asdict(strategy),
                "summary": strategy.summary,
                "literature": strategy.literature,
            }
            for name, strategy in known.items()
        ]
        typer.echo(json.dumps(content, indent=1))
        return
    words = ("parameters", "from the second task on", "literature")
    columns = [Column("strategy"), Column("stores"), *(Column(title, "words") for title in words)]
    for title, names in FAMILIES.items():
        rows = []
        for name in names:
            strategy = known[name]
            parameters = ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(strategy).items())
            said = (parameters, strategy.summary, strategy.literature)
            rows.append((name, track_of(strategy), *said))
        typer.echo(f"{title}\n{TextTable(columns, [rows]).text()}\n")
    typer.echo("Without --strategy a run takes all but: " + ", ".join(FURTHER))

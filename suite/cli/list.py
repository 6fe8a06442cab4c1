"""``driftboard sequences`` and ``driftboard strategies``: what there is to run."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from driftboard.suite.cli.options import AsJson, OneSetting, known_sequences
from driftboard.suite.errors import DriftboardError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftboard.suite.listing import KnownStrategy


def sequences(
    names: Annotated[
        list[str] | None, typer.Argument(help="Sequences, or patterns such as 'fashion-*'.")
    ] = None,
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
    from driftboard.suite.sequences.task_sequence import describe, find_sequences
    from driftboard.suite.terminal import Column, TextTable

    for folder in results or ():
        if not folder.is_dir():
            raise DriftboardError(f"there is no folder {folder}; name one that has grades")
    known = known_sequences(sequence_file)
    for line in known.unsound.values():
        typer.echo(f"driftboard: left out: {one_line(line)}", err=True)
    chosen = [
        value
        for value in (find_sequences(names, known) if names else known).values()
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


def strategies(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Strategies, or patterns such as 'ewc*', of which to show all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the built-in strategies by family with what each stores; with names, show all of each.

    All is parameters, what 'driftboard tune' tries, and the source in the literature.
    """
    from driftboard.suite.listing import known_strategies, named

    known = named(names or ["*"], known_strategies())
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in known], indent=1))
    elif names:
        typer.echo("\n\n".join(map(_whole, known)))
    else:
        _list(known)


def _list(known: "Sequence[KnownStrategy]") -> None:
    from driftboard.suite.listing import by_family
    from driftboard.suite.terminal import Column, TextTable

    columns = [Column("strategy"), Column("stores"), Column("from the second task on", "words")]
    for family, members in by_family(known).items():
        rows = [(one.name, one.stores, one.summary) for one in members]
        typer.echo(f"{family}\n{TextTable(columns, [rows]).text()}\n")
    further = ", ".join(one.name for one in known if not one.default)
    typer.echo(f"Without --strategy a run takes all but: {further}")
    typer.echo("all of one, its parameters too: driftboard strategies NAME")


def _whole(one: "KnownStrategy") -> str:
    """Return all there is to say of a strategy, a line for each thing."""
    settings = ", ".join(f"{name}={value}" for name, value in one.parameters.items())
    tried = [f"{name} from {low:g} to {high:g}" for name, (low, high) in one.search.items()]
    lines = {
        "family": one.family,
        "stores": one.stores,
        "from the second task on": one.summary,
        "literature": one.literature,
        "parameters": settings or "none",
        "tuned": ", ".join(["rate", *tried]),
        "in a run without --strategy": "yes" if one.default else "no",
    }
    return "\n".join([one.name, *(f"  {title}: {text}" for title, text in lines.items())])

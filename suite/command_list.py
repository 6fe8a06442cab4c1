"""``driftboard sequences`` and ``driftboard strategies``: what there is to run."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def sequences(
    suite: Annotated[
        Literal["quick", "core", "full", "own"] | None, typer.Option(help="Only one tier.")
    ] = None,
    sequence_file: Annotated[
        list[Path] | None, typer.Option(help="A Python file with sequences of your own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the task sequences: their data, scenario and network."""
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.registry import registered
    from driftboard.suite.sequences import describe

    known = registered()
    if sequence_file:
        from driftboard.suite.loading import load_sequences

        known = load_sequences(tuple(sequence_file))
    chosen = [value for value in known.values() if suite in (None, value.tier)]
    if as_json:
        typer.echo(json.dumps([describe(value, PROTOCOL) for value in chosen], indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("sequence", "tier", "tasks", "data", "network", "what its tasks are")
    for value in chosen:
        tasks = str(value.scenario.tasks)
        table.add_row(value.name, value.tier, tasks, value.source, value.network, value.description)
    Console().print(table)


def strategies(as_json: JsonOption = False) -> None:
    """List the built-in strategies: their parameters and where each comes from."""
    from driftboard.strategies.catalogue import BUILTIN

    if as_json:
        content = [
            {
                "name": name,
                "role": strategy.role,
                "parameters": dataclasses.asdict(strategy),
                "summary": strategy.summary,
                "literature": strategy.literature,
            }
            for name, strategy in BUILTIN.items()
        ]
        typer.echo(json.dumps(content, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("strategy", "role", "parameters", "from the second task on", "literature")
    for name, strategy in BUILTIN.items():
        parameters = ", ".join(f"{k}={v}" for k, v in dataclasses.asdict(strategy).items())
        table.add_row(name, strategy.role, parameters, strategy.summary, strategy.literature)
    Console().print(table)

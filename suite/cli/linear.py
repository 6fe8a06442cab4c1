"""``driftboard linear``: any linear sequence, measured beside its exact expectation."""

import math
from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError


def linear(
    shared: Annotated[int, typer.Option(help="p: parameters that all tasks share.")] = 60,
    own: Annotated[int, typer.Option(help="s: task-specific parameters.")] = 40,
    samples: Annotated[int, typer.Option(help="n: training samples of a task.")] = 20,
    first_samples: Annotated[
        int | None, typer.Option(help="n_1: those of the first task.", show_default="samples")
    ] = None,
    noise: Annotated[float, typer.Option(help="sigma: standard deviation of the noise.")] = 0.3,
    distance: Annotated[
        float, typer.Option(help="delta: distance of any two tasks' true parameters.")
    ] = 0.5,
    tasks: Annotated[int, typer.Option(help="T: number of tasks.")] = 2,
    shared_norm: Annotated[
        float, typer.Option(help="Norm of the shared true parameters.")
    ] = math.sqrt(0.5),
    own_norm: Annotated[
        float, typer.Option(help="Norm of the task-specific true parameters.")
    ] = math.sqrt(0.5),
    draws: Annotated[int, typer.Option(help="Independent repetitions of each seed.")] = 50,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds.")] = 10,
) -> None:
    """Train the theory's strategies on a linear sequence, and print measured beside exact errors.

    Errors are excess losses; z is the difference in standard errors.
    """
    from driftboard.suite.linear.cells import compare
    from driftboard.suite.linear.exact import best_fractions, crossover_distance
    from driftboard.suite.sequences.linear import LinearSetting
    from driftboard.suite.terminal import Column, TextTable

    try:
        setting = LinearSetting(
            tasks,
            shared,
            own,
            samples,
            first_samples,
            noise,
            distance,
            shared_norm,
            own_norm,
            draws,
        )
    except ValueError as error:
        raise DriftboardError(str(error)) from error
    groups: dict[str, list[tuple[str, ...]]] = {}
    for one in compare(setting, tuple(range(seeds))):
        rows = groups.setdefault(one.strategy, [])
        measured = f"{one.measured:.4f} +- {one.error:.4f}"
        name = "" if rows else one.strategy
        rows.append((name, one.measure, f"{one.exact:.4f}", measured, f"{one.z:+.1f}"))
    numbers = [Column(title, "number") for title in ("exact", "measured", "z")]
    columns = (Column("strategy"), Column("measure"), *numbers)
    typer.echo(TextTable(columns, [*groups.values()]).text())
    crossover = crossover_distance(setting)
    typer.echo(
        "frozen and initialized forget equally much at distance "
        + ("none" if crossover is None else f"{crossover:.3f}")
    )
    if tasks == 2:
        forgetting, errors = best_fractions(setting)
        typer.echo(
            f"best fraction of the update: {forgetting:.3f} for forgetting, {errors:.3f} for the "
            "average error"
        )

"""``driftboard coverage``: what the leaderboard's statistics promise, measured by simulation."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError

FEWEST_REPETITIONS = 100
DEFAULT_REPETITIONS = 4000
DEFAULT_SEED = 0


def coverage(
    repetitions: Annotated[
        int, typer.Option(help=f"Simulated boards per row, at least {FEWEST_REPETITIONS}.")
    ] = DEFAULT_REPETITIONS,
    seed: Annotated[int, typer.Option(help="The seed of all random numbers.")] = DEFAULT_SEED,
    out: Annotated[
        Path | None,
        typer.Option(help="The Markdown file to write.", show_default="print the tables"),
    ] = None,
) -> None:
    """Measure by simulation how often the intervals, tests and rank sets of a board are right.

    Beside them stand the rules that were not chosen. Prints tables in Markdown.
    """
    from driftboard.suite.records import write_atomically

    if repetitions < FEWEST_REPETITIONS:
        raise DriftboardError(
            f"--repetitions {repetitions} is too few to measure a share; "
            f"give at least {FEWEST_REPETITIONS}"
        )
    if seed < 0:
        raise DriftboardError(f"--seed {seed} is negative; give 0 or a positive number")
    page = coverage_page(seed, repetitions)
    if out is None:
        typer.echo(page, nl=False)
    else:
        write_atomically(out, page.encode())
        typer.echo(f"wrote {out}")


def coverage_page(seed: int, repetitions: int) -> str:
    """Return all tables in Markdown and how they were made; progress goes to stderr."""
    from driftboard.leaderboard.coverage import STUDIES

    rows = _measured(seed, repetitions)
    parts = [_distributions()]
    for study in STUDIES:
        parts += [f"## {study.title}", study.about, _table(rows[study.title])]
    parts += _failures()
    parts.append(_footnote(seed, repetitions))
    return "\n\n".join(parts) + "\n"


def _measured(seed: int, repetitions: int) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each study's table by its title."""
    from rich.console import Console
    from rich.progress import track

    from driftboard.leaderboard.coverage import SEEDS, STUDIES, measured_row

    places = [
        (study, distribution, n)
        for study in STUDIES
        for distribution in study.distributions
        for n in SEEDS
    ]
    rows: dict[str, list[dict[str, str]]] = {study.title: [] for study in STUDIES}
    console = Console(stderr=True)
    silent = not console.is_terminal  # a file would get an empty line
    bar = track(places, "simulating", console=console, transient=True, disable=silent)
    for study, distribution, n in bar:
        numbers = measured_row(study, distribution, n, seed, repetitions)
        place = {"distribution": distribution.name, "seeds": str(n)}
        rows[study.title].append(place | _texts(numbers))
    return rows


def _texts(numbers: Mapping[str, float]) -> dict[str, str]:
    from driftboard.leaderboard.coverage import RANKS_PER_SET

    return {
        name: f"{number if name == RANKS_PER_SET else 100.0 * number:.1f}"
        for name, number in numbers.items()
    }


def _distributions() -> str:
    from driftboard.leaderboard.coverage import CORRELATED, NORMAL, SKEWED, UNEQUAL

    skewness = " and ".join(
        f"{2.0 * deviation / (1.0 - SKEWED.mean):.1f}" for deviation in SKEWED.deviations
    )
    return (
        "Shares in percent. Accuracies over seeds, of strategies with the same true mean unless a "
        f"table says otherwise: *normal*, mean {_percent(NORMAL.mean)}, standard deviation "
        f"{_points(NORMAL.deviations)} points, independent; *skewed*, near the ceiling, mean "
        f"{_percent(SKEWED.mean)}, standard deviations {_points(SKEWED.deviations)} points in "
        f"turn, errors gamma-distributed with skewness {skewness}, independent; *correlated*, "
        "normal, and strategies share the luck of a seed with correlation "
        f"{CORRELATED.correlation:g}; *unequal variance*, normal, standard deviations "
        f"{_points(UNEQUAL.deviations)} points in turn, independent."
    )


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _points(deviations: Sequence[float]) -> str:
    return " and ".join(f"{100.0 * deviation:g}" for deviation in deviations)


def _failures() -> list[str]:
    from driftboard.leaderboard.coverage import FAILURE_SHARES, SEEDS, clopper_pearson_coverage

    rows = [
        {"seeds": str(n)}
        | {
            f"true share {_percent(share)}": f"{100.0 * clopper_pearson_coverage(share, n):.1f}"
            for share in FAILURE_SHARES
        }
        for n in SEEDS
    ]
    return [
        "## Share of failed seeds",
        "Probability that the 95 % Clopper-Pearson interval contains the true share of failures. "
        "Exact, by summation over the binomial distribution.",
        _table(rows),
    ]


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    from driftboard.leaderboard.render.markdown import markdown_table

    return markdown_table(rows, left=("distribution",))


def _footnote(seed: int, repetitions: int) -> str:
    command = ["driftboard", "coverage"]
    if repetitions != DEFAULT_REPETITIONS:
        command += ["--repetitions", str(repetitions)]
    if seed != DEFAULT_SEED:
        command += ["--seed", str(seed)]
    errors = [100.0 * (share * (1.0 - share) / repetitions) ** 0.5 for share in (0.95, 0.5)]
    return (
        f"Monte Carlo standard error, {repetitions:,} repetitions per row: {errors[0]:.2f} points "
        f"where a share is 95 % (or 5 %), {errors[1]:.2f} where it is 50 %, never more. Made with "
        f"`{shlex.join(command)}`."
    )

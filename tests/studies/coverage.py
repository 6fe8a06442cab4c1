"""What the leaderboard's statistics promise, measured by simulation.

    python tests/studies/coverage.py --repetitions 4000

measures how often the intervals, tests and rank sets of a board are right, beside the rules that
were not chosen. It prints tables in Markdown; docs/studies/coverage.md shows them.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from coverage_rules import CORRELATED, NORMAL, SKEWED, UNEQUAL
from coverage_studies import (
    FAILURE_SHARES,
    RANKS_PER_SET,
    SEEDS,
    STUDIES,
    clopper_pearson_coverage,
    measured_row,
)
from rich.console import Console
from rich.progress import track

from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.records import write_atomically

FEWEST_REPETITIONS = 100
DEFAULT_REPETITIONS = 4000
DEFAULT_SEED = 0


def main(words: Sequence[str] | None = None) -> None:
    """Print the page, or write it to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repetitions",
        type=int,
        default=DEFAULT_REPETITIONS,
        help=f"Simulated boards per row, at least {FEWEST_REPETITIONS}.",
    )
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="The seed of all random numbers."
    )
    parser.add_argument("--out", type=Path, help="The Markdown file to write.")
    options = parser.parse_args(words)
    if options.repetitions < FEWEST_REPETITIONS:
        sys.exit(
            f"coverage: --repetitions {options.repetitions} is too few to measure a share; "
            f"give at least {FEWEST_REPETITIONS}"
        )
    if options.seed < 0:
        sys.exit(f"coverage: --seed {options.seed} is negative; give 0 or a positive number")
    page = coverage_page(options.seed, options.repetitions)
    if options.out is None:
        print(page, end="")
    else:
        write_atomically(options.out, page.encode())
        print(f"wrote {options.out}")


def coverage_page(seed: int, repetitions: int) -> str:
    """Return all tables in Markdown and how they were made; progress goes to stderr."""
    rows = _measured(seed, repetitions)
    parts = [_distributions()]
    for study in STUDIES:
        parts += [f"## {study.title}", study.about, _table(rows[study.title])]
    parts += _failures()
    parts.append(_footnote(seed, repetitions))
    return "\n\n".join(parts) + "\n"


def _measured(seed: int, repetitions: int) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each study's table by its title."""
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
    return {
        name: f"{number if name == RANKS_PER_SET else 100.0 * number:.1f}"
        for name, number in numbers.items()
    }


def _distributions() -> str:
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
    return markdown_table(rows, left=("distribution",))


def _footnote(seed: int, repetitions: int) -> str:
    command = ["python", "tests/studies/coverage.py"]
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


if __name__ == "__main__":
    main()

"""How often the intervals of a slope over distance are right, by simulation.

    python tests/studies/slope_coverage.py

draws differences without a trend on the sequences of ``driftboard claim --published core-fashion``,
at their measured distances: a deviation of each family of sequences, one of each sequence, and one
of each sequence and seed. It prints a table in Markdown, which docs/concepts/statistics.md shows.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np

from driftboard.leaderboard.claim.fit import Trend, fit_trend
from driftboard.leaderboard.claim.trend import group_of
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.distance.grades import known_grades
from driftboard.suite.sequences.task_sequence import family_of

SHARES = (0.0, 0.25, 0.5, 0.8)  # of the variance between sequences, what families share
SEEDS = 10
SEED_DEVIATION = 0.5  # of one seed on one sequence, where sequences deviate by 1
INTERVALS = ("over families", "over sequences", "over seeds")


def sequences_of(group: str) -> dict[str, float]:
    """Return the distance of each Fashion-MNIST sequence of a group."""
    grades = {grade.sequence: grade for grade in known_grades(()).values()}
    return {
        name: grade.distance.value
        for name, grade in sorted(grades.items())
        if name.startswith("fashion-") and grade.level is not None and group_of(name) == group
    }


def draw(random: np.random.Generator, families: Sequence[str], share: float) -> np.ndarray:
    """Return differences without a trend, shape (seeds, sequences)."""
    names, places = np.unique(families, return_inverse=True)
    common = math.sqrt(share) * random.standard_normal(len(names))[places]
    own = math.sqrt(1.0 - share) * random.standard_normal(len(families))
    by_seed = SEED_DEVIATION * random.standard_normal((SEEDS, len(families)))
    return common + own + by_seed


def coverage(group: str, share: float, repetitions: int, seed: int) -> dict[str, float]:
    """Return how often each interval contains the true slope of zero."""
    random = np.random.default_rng([seed, round(100 * share), *group.encode()])
    distances = sequences_of(group)
    places, families = list(distances.values()), list(map(family_of, distances))
    alone = ["one"] * len(families)
    covered = dict.fromkeys(INTERVALS, 0)
    for _ in range(repetitions):
        values = draw(random, families, share).tolist()
        by_families, by_sequences = (
            fit_trend(places, values, units) for units in (families, alone)
        )
        covered["over families"] += by_families.families is not None and _covers(by_families)
        covered["over sequences"] += _covers(by_sequences)
        seeds = by_sequences.slope.seeds
        covered["over seeds"] += seeds.low <= 0.0 <= seeds.high
    if by_families.families is None:
        del covered["over families"]
    return {name: count / repetitions for name, count in covered.items()}


def _covers(trend: Trend) -> bool:
    return trend.slope.sequences.low <= 0.0 <= trend.slope.sequences.high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for group in ("full", "few-shot"):
        sequences = sequences_of(group)
        for share in SHARES:
            found = coverage(group, share, options.repetitions, options.seed)
            rows.append(
                {
                    "data": group,
                    "sequences": str(len(sequences)),
                    "families": str(len(set(map(family_of, sequences)))),
                    "shared by a family": f"{100 * share:.0f} %",
                }
                | {name: f"{100 * found[name]:.1f}" if name in found else "-" for name in INTERVALS}
            )
    print(markdown_table(rows, left=("data",)))


if __name__ == "__main__":
    main()

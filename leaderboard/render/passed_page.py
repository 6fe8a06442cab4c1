"""What passes of a new task's gradient: a section of the claim's page, and its numbers as CSV.

The columns of the CSV file are an interface that docs/reference/columns.md promises.
"""

from collections.abc import Iterator, Sequence

from driftboard.leaderboard.claim.passed import Passed, PassedPoint
from driftboard.leaderboard.claim.trend import GROUPS
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import NOTHING, graded_text, interval_text
from driftboard.leaderboard.render.claim_page import fitted_text
from driftboard.leaderboard.render.csv import csv_text
from driftboard.leaderboard.render.figures.passed import MOST_SERIES, drawn_strategies
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.errors import counted

COLUMNS: tuple[str, ...] = ("strategy", "data", "what", "sequence", "distance", "distance_low")
COLUMNS += ("distance_high", "grade", "reliability", "value", "low", "high", "n", "diverged")
COLUMNS += ("seeds_low", "seeds_high", "seeds")

TITLE = "What passes of a new task's gradient"


def passed_section(found: Sequence[Passed], figure: str) -> list[str]:
    """Return the parts of the section; ``figure`` is the path of the picture that it shows."""
    drawn = drawn_strategies(found)
    others = sorted({one.strategy for one in found} - set(drawn))
    parts = [
        f"## {TITLE}",
        "Related tasks want a small update, the paper says, and unrelated ones a large one. A rule "
        "that follows it lets little of the gradient pass where the next task is near. "
        "In percent: 100 where a step is plain, 0 where the strategy lets nothing pass. The part "
        "of a block is its share times ⟨corrected, gradient⟩ / ⟨gradient, gradient⟩ at the start "
        "of a task; numbers are means over all tasks but the first and over all blocks with equal "
        "weight, then over seeds, with 95 % t intervals over seeds. Diverged seeds are left out. "
        "Spearman: rank correlation of these means with the distance, over the graded sequences "
        "and the seeds that all of them share; the first interval is over sequences, the second "
        "over seeds.",
        f"![Part of the gradient that passes against distance]({figure})",
    ]
    if others:
        names = ", ".join(f"`{name}`" for name in others)
        parts.append(
            f"The figure shows the first {MOST_SERIES} strategies by name, not {names}; choose "
            "others with `--strategy` or `--exclude`."
        )
    parts.append(markdown_table([_trend_row(one) for one in found], left=("Strategy", "Data")))
    rows = [_point_row(one, point) for one in found for point in one.points]
    parts.append(markdown_table(rows, left=("Strategy", "Data", "Sequence", "Grade")))
    return parts


def passed_lines(found: Sequence[Passed]) -> list[str]:
    """Return a line for every strategy and group: how what passes goes with the distance."""
    return [
        f"{TITLE}, {one.strategy}, {GROUPS[one.group]}: "
        + (
            f"cannot be said, {one.no_trend}."
            if one.spearman is None
            else f"Spearman's correlation with the distance {fitted_text(one.spearman, sign='+')} "
            f"({counted(one.sequences, 'sequence')}, {counted(one.seeds, 'seed')})."
        )
        for one in found
    ]


def _trend_row(one: Passed) -> dict[str, str]:
    known = one.spearman is not None
    return {
        "Strategy": f"`{one.strategy}`",
        "Data": GROUPS[one.group],
        "Sequences": str(one.sequences) if known else NOTHING,
        "Seeds": str(one.seeds) if known else NOTHING,
        "Spearman with the distance": one.no_trend
        if one.spearman is None
        else fitted_text(one.spearman, sign="+"),
    }


def _point_row(one: Passed, point: PassedPoint) -> dict[str, str]:
    grade, seeds = point.grade, str(point.interval.n)
    return {
        "Strategy": f"`{one.strategy}`",
        "Data": GROUPS[one.group],
        "Sequence": f"`{point.sequence}`",
        "Distance": NOTHING if grade is None else graded_text(grade),
        "Grade": NOTHING if grade is None else str(grade.level),
        "Passes": interval_text(point.interval, is_share=True),
        "Seeds": f"{seeds}, {point.diverged} diverged" if point.diverged else seeds,
    }


def passed_csv(found: Sequence[Passed]) -> str:
    """Return one row per strategy and sequence and per rank correlation, raw and unrounded."""
    return csv_text(COLUMNS, (line for one in found for line in _lines(one)))


def _lines(one: Passed) -> Iterator[dict[str, Value]]:
    about: dict[str, Value] = {"strategy": one.strategy, "data": one.group}
    for point in one.points:
        interval = point.interval
        row: dict[str, Value] = {
            "what": "passed",
            "sequence": point.sequence,
            "value": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "diverged": point.diverged,
        }
        yield about | row | _distance_columns(point)
    if one.spearman is not None:
        over_sequences, over_seeds = one.spearman
        yield about | {
            "what": "spearman",
            "value": over_sequences.value,
            "low": over_sequences.low,
            "high": over_sequences.high,
            "n": over_sequences.n,
            "seeds_low": over_seeds.low,
            "seeds_high": over_seeds.high,
            "seeds": over_seeds.n,
        }


def _distance_columns(point: PassedPoint) -> dict[str, Value]:
    if point.grade is None:
        return {}
    distance = point.grade.distance
    return {
        "distance": distance.value,
        "distance_low": distance.low,
        "distance_high": distance.high,
        "grade": point.grade.level,
        "reliability": point.grade.reliability,
    }

"""The leaderboard as a tidy CSV file of raw numbers; its columns are promised in the README."""

import pandas as pd

from driftboard.leaderboard.board import Board, Row, Section
from driftboard.leaderboard.statistics import PairedDifference
from driftboard.leaderboard.text import csv_cell
from driftboard.suite.grades import Grade

COLUMNS = (
    "sequence",
    "tier",
    "strategy",
    "role",
    "metric",
    "mean",
    "low",
    "high",
    "n",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "correlation",
    "diverged",
    "missing",
    "rank",
    "flags",
    "step",
    "drift",
    "distance",
    "distance_low",
    "distance_high",
    "grade",
)

Value = str | int | float | None


def csv_table(board: Board) -> str:
    """Return the board as CSV: one row per section, strategy and metric."""
    rows = [
        [csv_cell(line[column]) for column in COLUMNS]
        for section in (board.overall, *board.strata, *board.sections)
        for row in section.rows
        for line in _lines(section, row)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _lines(section: Section, row: Row) -> list[dict[str, Value]]:
    lines: list[dict[str, Value]] = []
    for name, score in row.scores.items():
        lines.append(
            {
                "sequence": section.name,
                "tier": section.tier,
                "strategy": row.strategy,
                "role": row.role,
                "metric": name,
                "mean": score.interval.mean,
                "low": score.interval.low,
                "high": score.interval.high,
                "n": score.interval.n,
                **_comparison(score.difference),
                "p_holm": score.p_holm,
                "diverged": row.diverged,
                "missing": row.missing,
                "rank": row.rank,
                "flags": ";".join(score.flags),
                "step": row.step,
                "drift": row.drift,
                **_distance(section.grade),
            }
        )
    return lines


def _comparison(difference: PairedDifference | None) -> dict[str, Value]:
    """Return the columns of the paired difference, empty for the reference itself."""
    names = {
        "difference": "mean",
        "difference_low": "low",
        "difference_high": "high",
        "p": "p",
        "correlation": "correlation",
    }
    return {column: getattr(difference, name, None) for column, name in names.items()}


def _distance(grade: Grade | None) -> dict[str, Value]:
    """Return the columns of the measured distance, empty for sections of several sequences."""
    names = {"distance": "value", "distance_low": "low", "distance_high": "high"}
    distance = grade.distance if grade is not None else None
    return {
        **{column: getattr(distance, name, None) for column, name in names.items()},
        "grade": grade.level if grade is not None else None,
    }

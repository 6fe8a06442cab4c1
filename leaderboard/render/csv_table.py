"""The leaderboard as a tidy CSV file of raw numbers; its columns are promised in the README."""

import csv
import io

from driftboard.leaderboard.analysis.board import Board, GradeContrast
from driftboard.leaderboard.analysis.ranks import letters
from driftboard.leaderboard.analysis.section import Row, Score, Section
from driftboard.leaderboard.analysis.statistics import PairedDifference
from driftboard.leaderboard.render.text import csv_cell
from driftboard.suite.distance.grades import Grade

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
    "rank_low",
    "rank_high",
    "tied_best",
    "letters",
    "diverged_low",
    "diverged_high",
    "memory_bytes",
    "sequences",
    "sequences_low",
    "sequences_high",
    "sequences_difference_low",
    "sequences_difference_high",
    "evidence",
)

Value = str | int | float | None


def csv_table(board: Board) -> str:
    """Return the board as CSV: one row per section, strategy and metric."""
    lines: list[dict[str, Value]] = []
    for section in (*board.averages, *board.sections):
        shared = letters(tuple(row.strategy for row in section.ranked), section.comparisons)
        for row in section.rows:
            lines += _lines(section, row, shared.get(row.strategy))
    lines += [_change(contrast) for contrast in board.contrasts]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([csv_cell(line.get(column)) for column in COLUMNS] for line in lines)
    return file.getvalue()


def _lines(section: Section, row: Row, shared: str | None) -> list[dict[str, Value]]:
    """Return a line per metric; ``shared`` are the letters of the strategy's groups."""
    ranks = row.rank_set
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
                "rank_low": ranks.best if ranks else None,
                "rank_high": ranks.worst if ranks else None,
                "tied_best": int(ranks.is_tied_best) if ranks else None,
                "letters": shared,
                "diverged_low": row.divergence.low,
                "diverged_high": row.divergence.high,
                "memory_bytes": row.memory_bytes,
                **_over_sequences(score),
                "evidence": row.evidence,
            }
        )
    return lines


def _over_sequences(score: Score) -> dict[str, Value]:
    """Return the columns of the intervals over new sequences."""
    own, difference = score.over_sequences, score.difference_over_sequences
    return {
        "sequences": own.n,
        "sequences_low": own.low,
        "sequences_high": own.high,
        "sequences_difference_low": getattr(difference, "low", None),
        "sequences_difference_high": getattr(difference, "high", None),
    }


def _change(contrast: GradeContrast) -> dict[str, Value]:
    """Return the line of a difference that changes between two grades."""
    return {
        "sequence": f"change:{contrast.nearer}:{contrast.farther}",
        "strategy": contrast.strategy,
        "role": "ranked",
        "metric": contrast.metric.name,
        **_comparison(contrast.change),
        "p_holm": contrast.p_holm,
        "n": contrast.change.n,
    }


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

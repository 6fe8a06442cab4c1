"""Old name of ``formatting.py`` and ``table.py``, until every room has moved to the new ones."""

from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.formatting import (
    CROSSING,
    LONGEST_NAME,
    NOTHING,
    TIED_BEST,
    bytes_text,
    change_text,
    difference_text,
    distance_text,
    estimate_text,
    interval_text,
    number_text,
    p_text,
    rank_set_text,
    shortened,
)
from driftboard.leaderboard.table import GROUPS
from driftboard.leaderboard.table import row_cells as cells

__all__ = [
    "CROSSING",
    "LONGEST_NAME",
    "NOTHING",
    "TIED_BEST",
    "bytes_text",
    "change_text",
    "difference_text",
    "distance_text",
    "estimate_text",
    "groups",
    "interval_text",
    "number_text",
    "p_text",
    "rank_set_text",
    "row_cells",
    "shortened",
]


def groups(section: Section) -> dict[str, tuple[Row, ...]]:
    """Return the rows of a section by title; new: ``overall_table(board).groups``."""
    by_title = {title: getattr(section, name) for name, title in GROUPS.items()}
    return {title: rows for title, rows in by_title.items() if rows}


def row_cells(row: Row) -> dict[str, str]:
    """Return texts by heading; new: ``cell.text`` of the rows of ``overall_table(board)``."""
    return {title: cell.text for title, cell in cells(row, None).items()}  # type: ignore[arg-type]

"""The overall table for the terminal, with the columns that fit into one."""

from rich import box
from rich.table import Table
from rich.text import Text

from driftboard.leaderboard.board import Board
from driftboard.leaderboard.layout import groups, row_cells


def terminal_table(board: Board) -> Table:
    """Return the overall section as a table for rich, its groups divided by lines.

    Fits 80 columns: an interval stands below its mean, and notes are shown if there are any.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title=f"Overall, {len(board.sections)} sequences, Δ from {board.reference}",
    )
    grouped = [[row_cells(row) for row in rows] for rows in groups(board.overall).values()]
    notes = any(cells["Notes"] for rows in grouped for cells in rows)
    columns = ["Strategy", *_metric_columns(board), *(["Notes"] if notes else [])]
    for column in columns:
        text = column in ("Strategy", "Notes")
        table.add_column(column, justify="left" if text else "right", no_wrap=column != "Notes")
    for rows in grouped:
        table.add_section()
        for cells in rows:
            # Text, because rich reads strings as markup
            table.add_row(*(Text(_on_two_lines(cells[column])) for column in columns))
    return table


def _metric_columns(board: Board) -> list[str]:
    """Return the headings of all metrics, and of the difference in the one that ranks."""
    first, *others = (metric.title for metric in board.metrics)
    return [first, f"Δ {first}", *others]


def _on_two_lines(cell: str) -> str:
    """Put an interval below its mean, and the star of significance beside the mean."""
    mean, bracket, interval = cell.partition(" [")
    if not bracket:
        return cell
    star = " *" if interval.endswith(" *") else ""
    return f"{mean}{star}\n[{interval.removesuffix(' *')}"

"""The overall table for the terminal, with the columns that fit into one."""

from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.render.layout import groups, row_cells, shortened
from driftboard.suite.errors import counted


def terminal_table(board: Board) -> Table:
    """Return the overall section as a table for rich, its groups divided by lines.

    Fits 80 columns: an interval stands below its mean, and notes stand below the table.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title=f"Overall, {counted(len(board.sections), 'sequence')}, Δ from {board.reference}",
        caption=_notes(board) or None,
    )
    grouped = [[row_cells(row) for row in rows] for rows in groups(board.overall).values()]
    columns = ["Strategy", *_metric_columns(board)]
    for column in columns:
        justify: Literal["left", "right"] = "left" if column == "Strategy" else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for rows in grouped:
        table.add_section()
        for cells in rows:
            # Text, because rich reads strings as markup
            cells["Strategy"] = shortened(cells["Strategy"])
            table.add_row(*(Text(_on_two_lines(cells[column])) for column in columns))
    return table


def _notes(board: Board) -> str:
    """Return a line for each note that rows have, with the strategies that it is about."""
    strategies: dict[str, list[str]] = {}
    for row in board.overall.rows:
        if note := row_cells(row)["Notes"]:
            strategies.setdefault(note, []).append(row.strategy)
    count = len(board.overall.rows)
    return "\n".join(
        f"{note}: {'all' if len(names) == count else ', '.join(names)}"
        for note, names in strategies.items()
    )


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

"""The overall table for the terminal, with the columns that fit into one."""

from rich.table import Table
from rich.text import Text

from driftboard.leaderboard.board import Board
from driftboard.leaderboard.layout import groups, row_cells

COLUMNS = ("#", "Strategy", "Avg.Acc", "Δ Avg.Acc", "Forgetting", "Seeds", "Notes")


def terminal_table(board: Board) -> Table:
    """Return the overall section as a table for rich, its groups divided by lines."""
    table = Table(title=f"Overall, {len(board.sections)} sequences, Δ from {board.reference}")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("Strategy", "Notes") else "right")
    for rows in groups(board.overall).values():
        table.add_section()
        for row in rows:
            cells = row_cells(row)
            # Text, because rich reads strings as markup
            table.add_row(*(Text(cells[column]) for column in COLUMNS))
    return table

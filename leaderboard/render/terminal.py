"""The overall table for the terminal, with the columns that fit into one."""

from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.formatting import shortened
from driftboard.leaderboard.table import Cell, Heading, overall_table
from driftboard.leaderboard.words import collection_notes


def terminal_table(board: Board) -> Table:
    """Return the overall section as a table for rich, its groups divided by lines.

    Fits 80 columns: an interval stands below its mean, and notes stand below the table.
    """
    found = overall_table(board, "narrow")
    notes = ["".join(note) for note in (*found.notes, *collection_notes(board.source))]
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title="".join(found.title),
        # Text, because rich reads strings as markup
        caption=Text("\n".join(notes)) if notes else None,
        caption_justify="left",
    )
    for column in found.columns:
        justify: Literal["left", "right"] = "left" if column.is_text else "right"
        table.add_column(column.title, justify=justify, no_wrap=True)
    for rows in found.groups.values():
        table.add_section()
        for row in rows:
            table.add_row(*(Text(_shown(column, row[column.title])) for column in found.columns))
    return table


def _shown(column: Heading, cell: Cell) -> str:
    """Return a name shortened, an interval below its mean, its star of significance beside it."""
    if column.kind == "name":
        return shortened(cell.text)
    mean, interval = cell.parts
    if not interval:
        return mean
    star = " *" if interval.endswith(" *") else ""
    return f"{mean}{star}\n{interval.removesuffix(' *')}"

"""The overall table for the terminal, with the columns that fit into one."""

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.formatting import LONGEST_NAME
from driftboard.leaderboard.table import Cell, Heading, overall_table
from driftboard.leaderboard.words import collection_notes
from driftboard.suite.terminal import Column, TextTable, broken


def terminal_table(board: Board) -> TextTable:
    """Return the overall section as a table of text, its groups divided by empty lines.

    Fits 80 columns: an interval stands below its mean, a long name goes on in the next line, and
    notes stand below the table. In less, the last columns are left out.
    """
    found = overall_table(board, "narrow")
    stored = ", ".join(f"{row.strategy}: {row.track}" for row in board.overall.examples)
    notes = [f"Ranked apart, by what they store: {stored}"] if stored else []
    notes += ["".join(note) for note in (*found.notes, *collection_notes(board.source))]
    return TextTable(
        [Column(one.title, "name" if one.is_text else "number") for one in found.columns],
        [
            [[_shown(column, row[column.title]) for column in found.columns] for row in rows]
            for rows in found.groups.values()
        ],
        title="".join(found.title),
        notes=notes,
    )


def _shown(column: Heading, cell: Cell) -> str:
    """Return a name in short lines, an interval below its mean, its star beside that."""
    if column.kind == "name":
        return "\n".join(broken(cell.text, LONGEST_NAME))
    mean, interval = cell.parts
    if not interval:
        return mean
    star = " *" if interval.endswith(" *") else ""
    return f"{mean}{star}\n{interval.removesuffix(' *')}"

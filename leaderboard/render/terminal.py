"""The overall table for the terminal, with the columns that fit into one."""

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.table import Cell, Entries, Heading, overall_table
from driftboard.leaderboard.words import collection_notes
from driftboard.suite.terminal import Column, TextTable, broken

LONGEST_NAME = 16
"""How many characters of a name stand in a line; most rows have two lines anyway."""

BELOW = {"Memory": "Compute"}
"""Columns by the title of the one below whose numbers they stand, to save width."""


def terminal_table(board: Board) -> TextTable:
    """Return the overall section as a table of text, its groups divided by empty lines.

    Fits 80 columns: an interval stands below its mean, what training costs below the memory, a long
    name goes on in the next line, and notes stand below the table. In less, the last columns are
    left out.
    """
    found = overall_table(board, "narrow")
    stored = ", ".join(f"{row.strategy}: {row.track}" for row in board.overall.examples)
    notes = [f"Ranked apart, by what they store: {stored}"] if stored else []
    notes += ["".join(note) for note in (*found.notes, *collection_notes(board.source))]
    columns = [one for one in found.columns if one.title not in BELOW.values()]
    return TextTable(
        [Column(_title(one), "name" if one.is_text else "number") for one in columns],
        [
            [[_shown(column, row) for column in columns] for row in rows]
            for rows in found.groups.values()
        ],
        title="".join(found.title),
        notes=notes,
    )


def _title(column: Heading) -> str:
    return "\n".join([column.title, *filter(None, [BELOW.get(column.title)])])


def _shown(column: Heading, row: Entries) -> str:
    """Return a name in short lines, an interval below its mean, its star beside that."""
    cell = row[column.title]
    if column.title in BELOW:
        return "\n".join(map(_short, (cell, row[BELOW[column.title]])))
    if column.kind == "name":
        return "\n".join(broken(cell.text, LONGEST_NAME))
    mean, interval = cell.parts
    if not interval:
        return mean
    star = " *" if interval.endswith(" *") else ""
    return f"{mean}{star}\n{interval.removesuffix(' *')}"


def _short(cell: Cell) -> str:
    """Return a number in few characters, without the runs that it is of.

    >>> _short(Cell("107.5 kB (28/30)")), _short(Cell("2.80x"))
    ('108 kB', '2.80x')
    """
    number, _, unit = cell.text.partition(" (")[0].partition(" ")
    if unit and len(number) > len("99.9"):
        number = f"{float(number):.0f}"
    return f"{number} {unit}".strip()

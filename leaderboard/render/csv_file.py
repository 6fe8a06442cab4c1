"""One way of writing a CSV file: a line per row, its cells made harmless for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from driftboard.leaderboard.render.text import csv_cell

Value = str | int | float | None


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> str:
    """Return a head and the rows, numbers in full; a column that a row lacks is empty in it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(row.get(column)) for column in columns] for row in rows)
    return file.getvalue()

"""CSV files: a line per row, numbers in full, every cell made harmless for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.columns import Value
from driftboard.leaderboard.render.text import csv_cell
from driftboard.leaderboard.table import raw_columns, raw_rows


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Value]]) -> str:
    r"""Return a head and the rows, numbers in full; a column that a row lacks is empty in it.

    >>> csv_text(("strategy", "mean"), [{"strategy": "=sgd", "mean": 0.5}, {"strategy": "ewc"}])
    "strategy,mean\n'=sgd,0.5\newc,\n"
    """
    return _written(columns, ([row.get(column) for column in columns] for row in rows))


def csv_table(board: Board) -> str:
    """Return the raw numbers of a board."""
    return _written(raw_columns(), raw_rows(board))


def _written(columns: Sequence[str], rows: Iterable[Iterable[Value]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    return file.getvalue()

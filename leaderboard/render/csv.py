"""CSV files: a line per row, numbers in full, every cell made harmless for spreadsheets."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import without_hidden
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


def csv_cell(value: Value) -> str | int | float:
    """Return ``value`` for a cell of a CSV file that a spreadsheet will not run as a formula.

    Text that starts with ``= + - @``, tab, CR or LF, also after spaces and in full-width forms,
    is prefixed with an apostrophe; hidden characters become the replacement character. Numbers
    stay numbers; None and NaN become the empty cell.
    """
    if value is None or value != value:
        return ""
    return _csv_text(value) if isinstance(value, str) else value


@lru_cache(maxsize=1024)  # a table repeats its few names thousands of times
def _csv_text(value: str) -> str:
    shown = without_hidden(value, keep="\t\r\n")
    body = shown.lstrip()
    indent = shown[: len(shown) - len(body)]
    # NFKC maps the full-width and the small forms to the plain characters
    first = unicodedata.normalize("NFKC", body[:1]).lstrip()[:1]
    is_formula = first in ("=", "+", "-", "@")
    return f"'{shown}" if is_formula or any(mark in indent for mark in "\t\r\n") else shown

"""What there is to know of a column of the board; ``columns.py`` lists them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from driftboard.leaderboard.analysis.board import Board, GradeContrast
from driftboard.leaderboard.analysis.section import Row, Score, Section

Value = str | int | float | None
Layout = Literal["full", "brief", "print", "narrow", "sequences", "page"]
"""The tables: all columns; few of them, for a README; on paper; in a terminal; over sequences; and
those of all columns that a web page shows before it is asked for the others."""
Kind = Literal["name", "words", "count", "number"]
"""Names and words are aligned left; counts, such as 1-3, are not numbers to calculate with."""


class Line(NamedTuple):
    """What a cell is computed from: one strategy in one section by one metric."""

    section: Section
    row: Row
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the tables, or several of the CSV file that belong together.

    In the CSV file ``keys`` name the columns and ``values`` gives their raw numbers; ``change``
    gives them in a line that is about a change between grades, where None leaves them empty.
    Values ``of_row`` do not depend on the metric and are computed once for all its lines.

    In tables for people ``title`` is the heading, with ``{metric}`` where there is one such
    column for every metric, ``text`` what a cell shows, ``number`` what it is sorted by (by
    default the first of ``values``) and ``mark`` what is set above the line where a format can.
    ``places`` names the tables that have the column, and orders each from left to right;
    ``others`` does so for the metrics after the first one, ``places`` then for the first.

    ``explanation`` stands in the legend after ``term``, by default the title, at the place
    ``legend``, or nowhere if that is 0; where it is empty for a board, it is left out. If
    ``joined`` is set, these characters append it to the previous item of the legend.
    """

    keys: tuple[str, ...] = ()
    of_row: bool = False
    values: Callable[[Line], tuple[Value, ...]] = lambda line: ()
    change: Callable[[GradeContrast], tuple[Value, ...]] | None = None
    title: str = ""
    kind: Kind = "number"
    text: Callable[[Line], str] = lambda line: ""
    number: Callable[[Line], Value] | None = None
    mark: Callable[[Line], str] | None = None
    places: Mapping[Layout, int] = field(default_factory=dict)
    others: Mapping[Layout, int] = field(default_factory=dict)
    legend: int = 0
    term: str = ""
    joined: str = ""
    explanation: str | Callable[[Board], str] = ""

    def changed(self, contrast: GradeContrast) -> tuple[Value, ...]:
        """Return the values in a line that is about a change between grades."""
        return self.change(contrast) if self.change else (None,) * len(self.keys)

    def explained(self, board: Board) -> str:
        """Return what the legend of a board says of the column."""
        return self.explanation if isinstance(self.explanation, str) else self.explanation(board)

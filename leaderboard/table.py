"""The board as tables: what every format renders, without a number computed anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from driftboard.leaderboard.analysis.board import UNGRADED, Board, GradeContrast
from driftboard.leaderboard.analysis.cells import Metric
from driftboard.leaderboard.analysis.join import SHOWN_HASH
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.analysis.statistics import SIGNIFICANT
from driftboard.leaderboard.column import Column, Kind, Layout, Line, Value
from driftboard.leaderboard.columns import COLUMNS
from driftboard.leaderboard.formatting import NOTHING, difference_text, graded_text
from driftboard.leaderboard.words import (
    Code,
    Quote,
    Words,
    count_of,
    distance_sentence,
    divergence_notes,
    flag_notes,
    section_notes,
)
from driftboard.suite.distance.grades import Grade


class Cell(NamedTuple):
    """A cell: what it shows, the raw number behind it, and what is set above its line."""

    text: str
    value: Value = None
    mark: str = ""

    @property
    def parts(self) -> tuple[str, str]:
        """The text up to its interval, and the interval with what follows, maybe empty.

        >>> Cell("+1.2 [+0.5, +1.9] *").parts
        ('+1.2', '[+0.5, +1.9] *')
        """
        head, bracket, rest = self.text.partition(" [")
        return head, f"[{rest}" if bracket else ""


@dataclass(frozen=True, slots=True)
class Heading:
    """The head of a column: its title, its kind, and whether it is sorted large numbers first.

    What is a ``detail`` a web page shows only if it is asked for all columns.
    """

    title: str
    kind: Kind = "number"
    large_first: bool = False
    detail: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column holds words, which are aligned left, and not numbers."""
        return self.kind in ("name", "words")


Entries = Mapping[str, Cell]
"""The cells of a row by the title of their column."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of groups of rows by title; ``sequences`` are those that its numbers are of.

    A ``name`` that is not a sequence's contains a colon, so no sequence can have the same.
    ``about`` stands above the table and ``notes`` below it.
    """

    name: str
    title: Words
    columns: tuple[Heading, ...]
    groups: Mapping[str, Sequence[Entries]]
    sequences: tuple[str, ...] = ()
    about: Words = ()
    notes: tuple[Words, ...] = ()


GROUPS = {
    "ranked": "Ranked",
    "examples": "With stored examples (ranked among those with as many)",
    "bounds": "Bounds (for reference, not ranked)",
    "incomplete": "Incomplete (not ranked)",
}
"""The titles of a section's groups of rows, by their names there."""


def overall_table(board: Board, layout: Layout = "full") -> Table:
    """Return the average over all sequences, with a note on the rows that need one."""
    title = f"Overall, {count_of(board.overall)}"
    if layout != "narrow":
        return _table(board, board.overall, (title,), layout=layout)
    found = _table(board, board.overall, (f"{title}, Δ from {board.reference}",), layout=layout)
    return replace(found, notes=(*flag_notes(board.overall), *found.notes))


def suite_tables(board: Board) -> Iterator[Table]:
    """Return the average over each tier, where there are several."""
    for suite in board.suites:
        yield _table(board, suite, (f"Suite: {suite.tier}, {count_of(suite)}",))


def grade_tables(board: Board) -> Iterator[Table]:
    """Return the average over each grade, with the distances of its sequences."""
    for stratum in board.strata:
        level = stratum.name.partition(":")[2]
        title = "Ungraded" if level == UNGRADED else f"Grade: {level}"
        about: Words = ("Distances: ",)
        for section in board.sections_of(stratum):
            about += (Code(section.name), " ", *_short_distance(section.grade), "; ")
        about = (*about[:-1], ".")
        yield _table(board, stratum, (f"{title}, {count_of(stratum)}",), about)


def sequence_tables(board: Board) -> Iterator[Table]:
    """Return the table of every sequence, with its data and the distance of its tasks."""
    for section in board.sections:
        stamp = board.source.sequences[section.name]
        about = (
            "Data: ",
            Quote(stamp.data),
            f", {len(stamp.blocks)} blocks, tier ",
            Code(stamp.tier),
            ", sequence ",
            Code(stamp.hash[:SHOWN_HASH]),
            ". ",
            *distance_sentence(section.grade),
        )
        yield _table(board, section, (Code(section.name),), about)


def printed_tables(board: Board) -> Iterator[Table]:
    """Return every average in the columns that fit on paper."""
    for section in board.averages:
        title = f"{section.name.replace(':', ' ')}, {count_of(section)}"
        yield _table(board, section, (title,), layout="print")


def new_sequences_table(board: Board, title: str, means: str, tables: str) -> Table | None:
    """Return the overall means with intervals over new sequences, None with one sequence only.

    ``means`` and ``tables`` say where the same means stand with their other intervals.
    """
    if len(board.sections) == 1 or not (board.overall.ranked or board.overall.examples):
        return None
    about = (
        f"{means} with intervals over a population of sequences of which these are a sample: "
        "Student t with one value per sequence, not corrected. They answer another question than "
        f"{tables}: what to expect of a new sequence, not of new seeds."
    )
    only = ("ranked", "examples")
    found = _table(board, board.overall, (title,), (about,), "sequences", only=only)
    return replace(found, name="new:sequences", notes=divergence_notes(board.overall))


def change_tables(board: Board) -> list[Table]:
    """Return for each metric how differences from the reference change between grades."""
    tables = []
    for metric in board.metrics:
        found = [contrast for contrast in board.contrasts if contrast.metric == metric]
        if found:
            tables.append(_changes(board, metric, found))
    return tables


def raw_columns() -> tuple[str, ...]:
    """Return the names of the columns of the CSV file."""
    return tuple(key for column in COLUMNS for key in column.keys)


def raw_rows(board: Board) -> Iterator[list[Value]]:
    """Yield the raw numbers of ``raw_columns``: a row per section, strategy and metric.

    The last rows are about changes between grades, one per strategy, pair of grades and metric.
    """
    for section in (*board.averages, *board.sections):
        for row in section.rows:
            first = Line(section, row, row.first)
            of_row = {column.keys: column.values(first) for column in COLUMNS if column.of_row}
            for score in row.scores.values():
                line = Line(section, row, score)
                yield [
                    value
                    for column in COLUMNS
                    for value in of_row.get(column.keys) or column.values(line)
                ]
    for contrast in board.contrasts:
        yield [value for column in COLUMNS for value in column.changed(contrast)]


def _short_distance(grade: Grade | None) -> Words:
    """Return e.g. ``0.31 [0.28, 0.34]``, or why there is none."""
    if grade is None:
        return ("not measured",)
    if grade.level is None:
        return "(", Quote(grade.note), ")"
    return (graded_text(grade),)


def _table(
    board: Board,
    section: Section,
    title: Words,
    about: Words = (),
    layout: Layout = "full",
    only: Sequence[str] = tuple(GROUPS),
) -> Table:
    groups = {GROUPS[name]: getattr(section, name) for name in only}
    headed = _headed(board.metrics, layout)
    return Table(
        name=section.name,
        title=title,
        columns=tuple(heading for _, _, heading in headed),
        groups={
            name: [_cells(row, section, headed) for row in rows]
            for name, rows in groups.items()
            if rows
        },
        sequences=section.sequences,
        about=about,
        notes=section_notes(section),
    )


@cache
def _headed(metrics: tuple[Metric, ...], layout: Layout) -> list[tuple[Column, int, Heading]]:
    """Return the columns of a table from left to right, each with its metric's place and head."""
    found = []
    for column in COLUMNS:
        for index, metric in enumerate(metrics):
            places = column.others if index else column.places
            if layout in places:
                # In a column of the metric itself, large numbers may be the good ones.
                large_first = "{metric}" in column.title and not metric.lower_is_better
                title = column.title.format(metric=metric.title)
                detail = layout == "full" and "page" not in places
                heading = Heading(title, column.kind, large_first, detail)
                found.append((places[layout], index, column, heading))
    found.sort(key=lambda one: one[:2])
    return [(column, index, heading) for _, index, column, heading in found]


def _cells(
    row: Row, section: Section, headed: Sequence[tuple[Column, int, Heading]]
) -> dict[str, Cell]:
    lines = [Line(section, row, score) for score in row.scores.values()]
    return {heading.title: _cell(column, lines[place]) for column, place, heading in headed}


def _cell(column: Column, line: Line) -> Cell:
    mark = column.mark(line) if column.mark else ""
    if column.kind in ("name", "words"):
        return Cell(column.text(line), None, mark)
    number = column.number(line) if column.number else column.values(line)[0]
    return Cell(column.text(line), number, mark)


def _changes(board: Board, metric: Metric, contrasts: Sequence[GradeContrast]) -> Table:
    pairs = list(dict.fromkeys(map(_pair, contrasts)))
    rows: dict[str, dict[str, Cell]] = {}
    for contrast in contrasts:
        row = rows.setdefault(
            contrast.strategy,
            {"Strategy": Cell(contrast.strategy)} | dict.fromkeys(pairs, Cell(NOTHING)),
        )
        text = difference_text(contrast.change, metric.is_share, contrast.p_holm < SIGNIFICANT)
        row[_pair(contrast)] = Cell(text, contrast.change.mean)
    large_first = not metric.lower_is_better
    return Table(
        name=f"change:{metric.name}",
        title=(f"Changes in Δ {metric.title}",),
        columns=(
            Heading("Strategy", "name"),
            *(Heading(pair, large_first=large_first) for pair in pairs),
        ),
        groups={"Ranked": list(rows.values())},
        sequences=board.overall.sequences,
        notes=divergence_notes(board.overall) if metric == board.metrics[0] else (),
    )


def _pair(contrast: GradeContrast) -> str:
    return f"{contrast.farther} - {contrast.nearer}"

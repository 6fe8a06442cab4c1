"""The board as tables: what every format renders, without a number computed anew.

A text that every format shows is made of parts: plain strings are our own words, ``Code`` is a
name that may be set as code, and ``Quote`` is text from elsewhere that a format makes harmless.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

from driftboard.leaderboard.analysis.board import UNGRADED, Board, GradeContrast
from driftboard.leaderboard.analysis.cells import Metric
from driftboard.leaderboard.analysis.collect import SHOWN_HASH, Collection
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.analysis.statistics import SIGNIFICANT
from driftboard.leaderboard.columns import COLUMNS, Column, Kind, Layout, Line, Value
from driftboard.leaderboard.formatting import NOTHING, difference_text, distance_text, notes_text
from driftboard.suite.distance.grades import Grade
from driftboard.suite.errors import counted


class Code(str):
    """A name of ours, which a format may set as code."""


class Quote(str):
    """Text from elsewhere, which a format makes harmless."""


Words = tuple[str, ...]


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
    """The head of a column: its title, its kind, and whether it is sorted large numbers first."""

    title: str
    kind: Kind = "number"
    large_first: bool = False

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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of the legend: a term, what it means with code in backticks, and a quotation."""

    term: str
    text: str
    quoted: str = ""


GROUPS = {
    "ranked": "Ranked",
    "bounds": "Bounds (for reference, not ranked)",
    "incomplete": "Incomplete (not ranked)",
}
"""The titles of a section's groups of rows, by their names there."""


def overall_table(board: Board, layout: Layout = "full") -> Table:
    """Return the average over all sequences, with a note on the rows that need one."""
    title = f"Overall, {_count(board.overall)}"
    if layout == "narrow":
        title += f", Δ from {board.reference}"
    return _table(board, board.overall, (title,), layout=layout, notes=_notes(board.overall))


def suite_tables(board: Board) -> Iterator[Table]:
    """Return the average over each tier, where there are several."""
    for suite in board.suites:
        yield _table(board, suite, (f"Suite: {suite.tier}, {_count(suite)}",))


def grade_tables(board: Board) -> Iterator[Table]:
    """Return the average over each grade, with the distances of its sequences."""
    for stratum in board.strata:
        level = stratum.name.partition(":")[2]
        title = "Ungraded" if level == UNGRADED else f"Grade: {level}"
        about: Words = ("Distances: ",)
        for section in board.sections_of(stratum):
            about += (Code(section.name), " ", *_short_distance(section.grade), "; ")
        about = (*about[:-1], ".")
        yield _table(board, stratum, (f"{title}, {_count(stratum)}",), about)


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
        title = f"{section.name.replace(':', ' ')}, {_count(section)}"
        yield _table(board, section, (title,), layout="print")


def new_sequences_table(board: Board, title: str, means: str, tables: str) -> Table | None:
    """Return the overall means with intervals over new sequences, None with one sequence only.

    ``means`` and ``tables`` say where the same means stand with their other intervals.
    """
    if len(board.sections) == 1 or not board.overall.ranked:
        return None
    about = (
        f"{means} with intervals over a population of sequences of which these are a sample: "
        "Student t with one value per sequence, not corrected. They answer another question than "
        f"{tables}: what to expect of a new sequence, not of new seeds."
    )
    found = _table(board, board.overall, (title,), (about,), "sequences", only=("ranked",))
    return replace(found, name="new:sequences")


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


def legend(board: Board, command: str) -> list[Point]:
    """Return what a reader must know; ``command`` is what makes the board again."""
    points = [
        Point(
            "Estimand",
            "the mean over new seeds on these sequences, not over other sequences. For "
            "the overall table each seed is first averaged over the sequences.",
        )
    ]
    for column in sorted((one for one in COLUMNS if one.legend), key=lambda one: one.legend):
        term, text = column.term or column.title, column.explained(board)
        if column.joined:
            last = points.pop()
            text = f"{last.text}{column.joined}{term}: {text}"
            term = last.term
        if text:
            points.append(Point(term, text))
    protocol = board.source.protocol
    versions = "; ".join(f"{name} {', '.join(of)}" for name, of in board.source.versions.items())
    return [
        *points,
        Point(
            "Protocol",
            f"`{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        ),
        Point("Records made with", "", versions),
        Point("Table made with", f"driftboard {version('driftboard')}, scipy {version('scipy')}."),
        Point("Command", "", command),
    ]


def facts(board: Board) -> dict[str, str]:
    """Return what the board is made of, by term."""
    collection = board.source
    protocol = collection.protocol
    found = {
        "Strategies": str(len(board.overall.rows)),
        "Sequences": str(len(board.sections)),
        "Seeds": str(len({cell.seed for cell in collection.cells})),
        "Records": str(len(collection.cells)),
        "Split": collection.split,
        "Reference": board.reference,
        "Protocol": f"{protocol.name}, version {protocol.version}",
    }
    if collection.skipped:
        found["Broken records left out"] = str(len(collection.skipped))
    return found


def extent(collection: Collection) -> str:
    """Return e.g. ``2 sequences with 5 seeds, 30 records, test split.``"""
    seeds = {cell.seed for cell in collection.cells}
    return (
        f"{counted(len(collection.sequences), 'sequence')} with {counted(len(seeds), 'seed')}, "
        f"{counted(len(collection.cells), 'record')}, {collection.split} split."
    )


def caveats(collection: Collection) -> str:
    """Return the sentences, each after a space, on what keeps records from being published."""
    text = ""
    if collection.split == "validation":
        text += " **Validation data: for tuning, not for publication.**"
    if collection.skipped:
        text += f" Broken records left out: {len(collection.skipped)}."
    return text


def distance_sentence(grade: Grade | None) -> Words:
    """Return all that is known of a sequence's measured distance, in a sentence."""
    if grade is None:
        return ("Distance: not measured.",)
    if grade.distance.n == 0:
        return "Distance: not measurable, ", Quote(grade.note), "."
    text = (
        f"Distance {distance_text(grade.distance, grade.crosses)} over "
        f"{counted(grade.distance.n, 'seed')}, reliability {grade.reliability:.2f}, grade "
        f"{grade.level or UNGRADED}"
    )
    return (f"{text} (", Quote(grade.note), ").") if grade.note else (f"{text}.",)


def _short_distance(grade: Grade | None) -> Words:
    """Return e.g. ``0.31 [0.28, 0.34]``, or why there is none."""
    if grade is None:
        return ("not measured",)
    if grade.level is None:
        return "(", Quote(grade.note), ")"
    return (distance_text(grade.distance, grade.crosses),)


def _count(section: Section) -> str:
    return counted(len(section.sequences), "sequence")


def _table(
    board: Board,
    section: Section,
    title: Words,
    about: Words = (),
    layout: Layout = "full",
    only: Sequence[str] = tuple(GROUPS),
    notes: tuple[str, ...] = (),
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
        notes=notes,
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
                heading = Heading(title, column.kind, large_first)
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


def _notes(section: Section) -> tuple[str, ...]:
    """Return a line for each note that rows have, with the strategies that it is about."""
    strategies: dict[str, list[str]] = {}
    for row in section.rows:
        if note := notes_text(row):
            strategies.setdefault(note, []).append(row.strategy)
    count = len(section.rows)
    return tuple(
        f"{note}: {'all' if len(names) == count else ', '.join(names)}"
        for note, names in strategies.items()
    )


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
    )


def _pair(contrast: GradeContrast) -> str:
    return f"{contrast.farther} - {contrast.nearer}"

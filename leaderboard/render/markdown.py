"""The leaderboard as one Markdown file, and its overall table in a file that people write."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.formatting import MAY_BE_BEST, visible_text
from driftboard.leaderboard.table import (
    Table,
    change_tables,
    grade_tables,
    new_sequences_table,
    overall_table,
    sequence_tables,
    suite_tables,
)
from driftboard.leaderboard.words import (
    Code,
    Quote,
    Words,
    caveats,
    collection_notes,
    extent,
    legend,
)
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.records import write_atomically

BEGIN = "<!-- driftboard:begin -->"
END = "<!-- driftboard:end -->"
_NOT_PLAIN_IN_MARKDOWN = re.compile(r"[^A-Za-z0-9 .,()/+%=;'\-\u0080-\U0010ffff]|(?<=www)\.", re.I)


def markdown(board: Board, command: str) -> str:
    """Return the board as Markdown; ``command`` is what a reader types to make it again."""
    parts = [
        "# Driftboard leaderboard",
        _summary(board),
        *note_lists(collection_notes(board.source)),
    ]
    parts.append(_section(overall_table(board)))
    if board.authors:
        parts.append(_submissions(board))
    over_sequences = new_sequences_table(
        board, "Over sequences", means="The same means", tables="the tables"
    )
    if over_sequences is not None:
        parts.append(_section(over_sequences, with_groups=False))
    parts += map(_section, [*suite_tables(board), *grade_tables(board)])
    if board.contrasts:
        parts.append(_changes(board, change_tables(board)[0]))
    parts += map(_section, sequence_tables(board))
    parts.append(_legend(board, command))
    return "\n\n".join(parts) + "\n"


def overall_tables(board: Board, command: str) -> str:
    """Return the overall tables in few columns, for a page that says what they are about."""
    table = overall_table(board, "brief")
    parts = [_summary(board), *note_lists(collection_notes(board.source))]
    parts += [*_tables(table), *note_lists(table.notes)]
    parts.append(
        f"95 % intervals over new seeds; `*`: p < .05 after Holm's correction; `{MAY_BE_BEST}`: "
        f"not ruled out as best. Made with <code>{markdown_cell(command)}</code>."
    )
    return "\n\n".join(parts)


def _summary(board: Board) -> str:
    strategies = counted(len(board.overall.rows), "strategy", "strategies")
    return (
        f"{strategies} on {extent(board.source)} Reference: `{board.reference}`."
        f"{caveats(board.source)}"
    )


def markdown_cell(text: str) -> str:
    """Return ``text`` for a cell of a Markdown table or for running text on one line.

    Everything ASCII with a meaning in Markdown or HTML becomes a numeric entity, also the colon
    and the dot that would turn an address into a link. Line breaks and tabs become spaces,
    hidden characters the replacement character.
    """
    one_line = visible_text(text).strip()
    return _NOT_PLAIN_IN_MARKDOWN.sub(lambda match: f"&#{ord(match[0])};", one_line)


def markdown_table(cells: Sequence[Mapping[str, str]], left: Collection[str]) -> str:
    """Return rows of Markdown by heading as a table; the columns in ``left`` are left-aligned."""
    names = list(cells[0])
    table: str = tabulate(
        [[row[name] for name in names] for row in cells],
        headers=names,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if name in left else "right" for name in names],
    )
    return table


def _words(words: Words) -> str:
    """Return words with names as code, because www.x.y would become a link outside of it."""
    return "".join(
        f"`{part}`"
        if isinstance(part, Code)
        else markdown_cell(part)
        if isinstance(part, Quote)
        else part
        for part in words
    )


def _section(table: Table, with_groups: bool = True) -> str:
    about = [_words(table.about)] if table.about else []
    title = f"## {_words(table.title)}"
    return "\n\n".join([title, *about, *_tables(table, with_groups), *note_lists(table.notes)])


def note_lists(notes: Iterable[Words]) -> list[str]:
    """Return notes as a list, if there are any."""
    lines = [f"- {_words(note)}" for note in notes]
    return ["\n".join(lines)] if lines else []


def _tables(table: Table, with_groups: bool = True) -> list[str]:
    """Return a table for each group of rows, each below its title."""
    left = [column.title for column in table.columns if column.is_text]
    name = next(column.title for column in table.columns if column.kind == "name")
    parts = []
    for title, rows in table.groups.items():
        cells = [{head: cell.text for head, cell in row.items()} for row in rows]
        for row in cells:
            row[name] = f"`{row[name]}`"
        parts += [f"**{title}**"] if with_groups else []
        parts.append(markdown_table(cells, left))
    return parts


def _changes(board: Board, table: Table) -> str:
    """Return how differences from the reference change between grades in the first metric."""
    about = (
        f"How the difference from `{board.reference}` in {board.metrics[0].title} changes from one "
        "grade to another, paired by seed, with 95 % t intervals. `*`: p < .05 with Holm's "
        "correction over this table."
    )
    parts = ["## Changes between grades", about, *_tables(table, with_groups=False)]
    return "\n\n".join([*parts, *note_lists(table.notes)])


def _submissions(board: Board) -> str:
    """Return who made the strategies that were submitted, and what they say of them.

    Every text of theirs follows a word of ours, so none begins a line.
    """
    lines = []
    for strategy, by in sorted(board.authors.items()):
        lines.append(f"- `{strategy}`: {markdown_cell(by.title)}")
        lines.append(f"  - By {', '.join(map(markdown_cell, by.authors))}")
        lines += [f"  - In short: {markdown_cell(by.description)}"] if by.description else []
        lines += [f"  - See <{link}>" for link in by.links]  # https only, as the schema has it
        lines.append(f"  - Licence {markdown_cell(by.licence)}")
    return "## Submissions\n\n" + "\n".join(lines)


def _legend(board: Board, command: str) -> str:
    lines = []
    for point in legend(board, command):
        quoted = f"<code>{markdown_cell(point.quoted)}</code>" if point.quoted else ""
        lines.append(f"- {point.term}: {point.text}{quoted}")
    return "## Legend\n\n" + "\n".join(lines)


def update_file(path: Path, table: str) -> None:
    """Replace what stands between the markers in ``path`` by ``table``.

    All other bytes of the file stay as they are. Line ends follow those of the file.

    Raises:
        RecordError: the file cannot be read or written, is not UTF-8, or does not hold each
            marker once and in order.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    try:
        updated = between_markers(text, table)
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
    # the file that a link points to, not the link itself
    write_atomically(path.resolve(), updated.encode())


def between_markers(text: str, table: str) -> str:
    """Return ``text`` with ``table`` between the markers, each of which stands on a line.

    Raises:
        ValueError: a marker is missing, stands twice, or the end comes first.
    """
    for marker in (BEGIN, END):
        if (count := text.count(marker)) != 1:
            raise ValueError(
                f"the marker {marker} stands {count} times, not once; the table goes between "
                f"the lines {BEGIN} and {END}"
            )
    before, rest = text.split(BEGIN)
    if END not in rest:
        raise ValueError(f"the marker {END} comes before {BEGIN}; swap them")
    after = rest.split(END)[1]
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = ["", "", *table.strip("\n").split("\n"), "", ""]
    return before + BEGIN + line_end.join(lines) + END + after

"""Tables as text for a terminal, however narrow: a cell is shown whole, or its column is left out.

Text of others has no meaning here: no markup is read, and nothing in it moves the cursor.
"""

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from driftboard.suite.errors import escaped

LEAST_WIDTH = 20
"""Narrower terminals are taken to be so wide, for words would be broken everywhere."""
LEAST_WORDS = 45
"""A column of words is at least so wide; where there is less room they go below their row."""


@dataclass(frozen=True)
class Column:
    """One column: names stand left, numbers right, both whole; words go on in the next line."""

    title: str
    kind: Literal["name", "number", "words"] = "name"


@dataclass(frozen=True)
class TextTable:
    """A table of groups of rows; a cell may have several lines.

    Where it is too wide the columns ``first_to_go`` are left out one by one, then others from the
    right, and a last line names them. The first column stays, its long names in several lines.
    """

    columns: Sequence[Column]
    groups: Sequence[Sequence[Sequence[str]]]
    title: str = ""
    notes: Sequence[str] = ()
    first_to_go: Sequence[str] = ()

    def text(self, width: int | None = None) -> str:
        """Return the table for so many columns of characters; None means those of the terminal.

        >>> columns = Column("name"), Column("size", "number")
        >>> print(TextTable(columns, [[("first", "1"), ("second", "20")]]).text(20))
         name   size
         ───────────
         first     1
         second   20
        """
        width = max(LEAST_WIDTH, width or shutil.get_terminal_size().columns)
        sizes, below = self._layout(width)
        total = _taken(sizes) - 1
        lines = [f" {line:^{total}}".rstrip() for line in _wrapped(self.title, width - 1)]
        lines += [""] if lines else []
        lines += [*self._row([one.title for one in self.columns], sizes), f" {'─' * total}"]
        for number, group in enumerate(self.groups):
            lines += [""] if number else []
            for row in group:
                lines += self._row(row, sizes)
                lines += [f"   {line}" for one in below for line in _wrapped(row[one], width - 3)]
        gone = [
            one.title.replace("\n", ", ")
            for place, one in enumerate(self.columns)
            if place not in {*sizes, *below}
        ]
        notes = [*self.notes, *([f"no room for {', '.join(gone)}"] if gone else [])]
        lines += [""] if notes else []
        return "\n".join([*lines, *(line for note in notes for line in _wrapped(note, width))])

    def _layout(self, width: int) -> tuple[dict[int, int], list[int]]:
        """Return the size of every column that there is room for, and whose words go below rows."""
        sizes = {place: self._size(place) for place in range(len(self.columns))}
        words = [place for place, one in enumerate(self.columns) if one.kind == "words"]
        whole = {place: size for place, size in sizes.items() if place not in words}
        titles = {one.title: place for place, one in enumerate(self.columns)}
        for place in dict.fromkeys([*(titles[one] for one in self.first_to_go), *reversed(whole)]):
            if _taken(whole) > width and place != 0:
                whole.pop(place, None)
        whole[0] = min(whole[0], width - 1)
        share = (width - _taken(whole)) // len(words) - 1 if words else 0
        if share < LEAST_WORDS:
            return whole, words
        return dict(sorted((whole | {one: min(sizes[one], share) for one in words}).items())), []

    def _size(self, place: int) -> int:
        texts = [self.columns[place].title, *(row[place] for rows in self.groups for row in rows)]
        return max(map(_length, "\n".join(texts).split("\n")))

    def _row(self, cells: Sequence[str], sizes: Mapping[int, int]) -> list[str]:
        parts = [self._lines(cells[place], place, size) for place, size in sizes.items()]
        height = max(map(len, parts))
        for lines, size in zip(parts, sizes.values(), strict=True):
            lines += [" " * size] * (height - len(lines))
        return [" ".join(["", *line]).rstrip() for line in zip(*parts, strict=True)]

    def _lines(self, cell: str, place: int, size: int) -> list[str]:
        """Return a cell's lines, each as wide as its column."""
        kind = self.columns[place].kind
        lines = (
            _wrapped(cell, size)
            if kind == "words"
            else [part for line in escaped(cell).split("\n") for part in broken(line, size)]
        )
        return [
            " " * (size - _length(line)) + line
            if kind == "number"
            else line + " " * (size - _length(line))
            for line in lines
        ]


def broken(name: str, longest: int) -> list[str]:
    """Return a name in lines of at most so many characters, broken after hyphens where it can be.

    >>> broken("ewc-rate-0.234-strength-64.6", 22)
    ['ewc-rate-0.234-', 'strength-64.6']
    """
    lines = [""]
    for part in re.findall(r"[^-]*-|[^-]+", name):
        if len(lines[-1]) + len(part) <= longest:
            lines[-1] += part
            continue
        pieces = [part[start : start + longest] for start in range(0, len(part), longest)]
        lines += pieces
    return [line for line in lines if line] or [""]


def _taken(sizes: Mapping[int, int]) -> int:
    """Return the width of a line with columns of these sizes, a space before each."""
    return sum(sizes.values()) + len(sizes)


def _length(text: str) -> int:
    """Return how many columns of characters a text takes; some letters take two."""
    from rich.cells import cell_len

    return cell_len(escaped(text))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(escaped(text), max(1, width), break_on_hyphens=False)

"""The leaderboard as LaTeX: a booktabs table for each average over sequences, to be printed.

The file is for ``\\input`` in a document that loads booktabs and amssymb. Where the width of its
text is told, columns are left out until a table fits.
"""

import re
import unicodedata
from dataclasses import replace

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.formatting import MAY_BE_BEST, NOTHING, short_names, visible_text
from driftboard.leaderboard.table import Cell, Heading, Table, printed_tables
from driftboard.leaderboard.words import Code, Words, collection_notes, legend
from driftboard.suite.errors import DriftboardError

_TABLE = r"""\begin{{{environment}}}
\centering\footnotesize\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{tab:driftboard-{label}}}
\begin{{tabular}}{{{columns}}}
\toprule
{heading} \\
{body}
\bottomrule
\end{{tabular}}
\end{{{environment}}}
"""

WIDTHS = {
    "neurips": 397.0,
    "icml": 487.0,
    "icml-column": 234.0,
    "ieee": 516.0,
    "ieee-column": 252.0,
    "lncs": 347.0,
}
"""The width of the text, or of one of two columns, in the styles of some venues, in points."""

ONE_COLUMN = 450.0
"""Points; a wider text is that of a page with two columns, which a table spans."""

_FIRST_TO_GO = ("Seeds", "p", "Drift", "Ranks", "Task.Acc", "Forgetting", "Δ Avg.Acc", "Δ Avg.Loss")
_LETTER, _SEPARATION = 4.25, 8.0  # points: a digit or a letter of \\texttt, and between two columns
MOST_LETTERS = 8
"""That a name may have; where one has more, they tell nothing and a table goes without."""

NAME = "Strategy"
LEFT = (NAME, "Ranks")
"""The titles of the columns that are aligned left."""

_OGONEK = "\u0328"  # the one accent that LaTeX's default font encoding lacks
_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
}


def points_of(width: str) -> float:
    """Return a width in points: that of a venue's style, or a number with ``pt``, ``in`` or ``cm``.

    Raises:
        DriftboardError: it is none of these, or not between 100 and 2,000 points.

    >>> points_of("neurips"), round(points_of("5.5in"), 3)
    (397.0, 397.485)
    """
    if width in WIDTHS:
        return WIDTHS[width]
    found = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)(pt|in|cm)", width)
    points = float(found[1]) * {"pt": 1.0, "in": 72.27, "cm": 28.4528}[found[2]] if found else 0.0
    if not 100 <= points <= 2000:
        raise DriftboardError(
            f"'{width}' is no width of a text; use a number such as 397pt, 5.5in or 14cm, or one "
            f"of {', '.join(WIDTHS)}"
        )
    return points


def latex(board: Board, command: str, width: float | None = None) -> str:
    """Return a table for the overall section, every suite and every grade.

    What the legend says stands above them as comments.

    Args:
        board: the numbers.
        command: what a reader types to make the file again.
        width: of the text, in points. Columns are left out and long names cut so that each table
            fits; without it tables have all columns and span both columns of a page.
    """
    spans = "tables span both columns of a page" if width is None else f"fits {width:g} points"
    lines = [
        "% Driftboard leaderboard",
        rf"% Needs \usepackage{{booktabs,amssymb}}; {spans}.",
    ]
    for note in collection_notes(board.source):
        lines.append(visible_text(f"% Note: {''.join(note)}"))
    for point in legend(board, command):
        lines.append(visible_text(f"% {point.term}: {point.text}{point.quoted}"))
    environment = "table*" if width is None or width > ONE_COLUMN else "table"
    tables = (
        _table(table if width is None else _fitting(table, width), board.reference, environment)
        for table in printed_tables(board)
    )
    return "\n".join([*lines, "", *tables])


def _fitting(table: Table, width: float) -> Table:
    """Return a table without the columns, and the middles of names, that there is no room for."""
    rows = [row for rows in table.groups.values() for row in rows]
    short = short_names(row[NAME].text for row in rows)
    groups = {
        title: [
            {**row, NAME: row[NAME]._replace(text=short[row[NAME].text].replace("…", "..."))}
            for row in rows
        ]
        for title, rows in table.groups.items()
    }
    cut = [row for rows in groups.values() for row in rows]
    sizes = {
        column.title: max(len(column.title), *(_length(row[column.title]) for row in cut))
        for column in table.columns
    }
    kept = [column.title for column in table.columns]
    for title in _FIRST_TO_GO:
        if sum(sizes[one] * _LETTER + _SEPARATION for one in kept) > width and title in kept:
            kept.remove(title)
    columns = tuple(column for column in table.columns if column.title in kept)
    return replace(table, columns=columns, groups=groups)


def _length(cell: Cell) -> int:
    """Return how many letters wide a cell is at most, with its mark, of which letters are small."""
    return len(cell.text) + (len(cell.mark) if len(cell.mark) <= MOST_LETTERS else 0)


def _table(table: Table, reference: str, environment: str) -> str:
    table = _without_long_marks(table)
    body: list[str] = []
    for title, rows in table.groups.items():
        body.append(r"\midrule")
        body.append(
            rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\itshape {latex_text(title)}}} \\"
        )
        for row in rows:
            cells = [_cell(column, row[column.title]) for column in table.columns]
            body.append(" & ".join(cells) + r" \\")
    return _TABLE.format(
        environment=environment,
        caption=_caption(table, reference),
        label=table.name.replace(":", "-"),
        columns="".join("l" if column.title in LEFT else "r" for column in table.columns),
        heading=" & ".join(_heading(column.title) for column in table.columns),
        body="\n".join(body),
    )


def _without_long_marks(table: Table) -> Table:
    """Return a table without the letters of its names where a name has too many of them."""
    rows = [row for rows in table.groups.values() for row in rows]
    if all(len(row[NAME].mark) <= MOST_LETTERS for row in rows):
        return table
    groups = {
        title: [{**row, NAME: row[NAME]._replace(mark="")} for row in rows]
        for title, rows in table.groups.items()
    }
    return replace(table, groups=groups)


def _heading(title: str) -> str:
    """Return a heading: a single letter, and the one before a metric, are symbols."""
    if len(title) == 1:
        return f"${title}$"
    symbol, delta, metric = title.partition("Δ ")
    return rf"$\Delta$ {latex_text(metric)}" if delta else latex_text(symbol)


def _cell(column: Heading, cell: Cell) -> str:
    """Return a cell with its mark as an exponent; what a number lacks is a dash."""
    if column.kind == "name":
        text = rf"\texttt{{{latex_text(cell.text)}}}"
    elif cell.text == NOTHING:
        text = "--"
    elif column.kind == "count":
        text = cell.text.replace("-", "--").replace(MAY_BE_BEST, r"$\bigstar$")
    elif cell.text[0].isalpha():
        text = cell.text
    else:  # in math mode a minus is a minus
        text = f"${cell.text.replace(' [', '~[').replace(' *', '^{*}')}$"
    mark = cell.mark.replace("†", r"\dagger")
    return f"{text}$^{{{mark}}}$" if mark else text


def _caption(table: Table, reference: str) -> str:
    titles = [column.title for column in table.columns]
    metric = titles[titles.index(NAME) + 1]
    about = latex_text("".join(table.title))
    words = [f"Driftboard, {about}: means with 95\\% intervals over new seeds (Student t)."]
    if any(title.startswith("Δ") for title in titles):
        words.append(
            rf"$\Delta$: paired difference from \texttt{{{latex_text(reference)}}}, "
            r"$^{*}$: $p<.05$ after Holm's correction."
        )
    if "Ranks" in titles:
        words.append(
            r"Ranks: simultaneous 95\% sets; "
            rf"$\bigstar$: not ruled out as best in {latex_text(metric)}."
        )
    if any(row[NAME].mark for rows in table.groups.values() for row in rows):
        words.append("Strategies that share a letter do not differ significantly.")
    rows = [row for rows in table.groups.values() for row in rows]
    if any("†" in cell.mark for row in rows for cell in row.values()):
        words.append(r"$^{n\dagger}$: $n$ seeds diverged.")
    if any(title.startswith("Incomplete") for title in table.groups):
        words.append("Incomplete strategies are not ranked.")
    return " ".join([*words, *map(_words, table.notes)])


def _words(words: Words) -> str:
    """Return words with names as code."""
    return "".join(
        rf"\texttt{{{latex_text(part)}}}"
        if isinstance(part, Code)
        else r"$\Delta$".join(map(latex_text, part.split("Δ")))
        for part in words
    )


def latex_text(text: str) -> str:
    """Return ``text`` for running text of a LaTeX document, on one line, with no command in it.

    Characters with a meaning become commands of their own; what pdfLaTeX's usual fonts have no
    letter for, all but Latin letters with accents, becomes a question mark.
    """
    escaped = "".join(
        _LATEX.get(character, _latex_letter(character)) for character in visible_text(text)
    )
    return re.sub(r"-(?=-)", "-{}", escaped)  # several in a row would become a dash


def _latex_letter(character: str) -> str:
    """Return an ASCII character or a Latin letter with an accent, else a question mark."""
    if character.isascii():
        return character
    decomposed = unicodedata.normalize("NFD", character)
    base, accents = decomposed[0], decomposed[1:]
    is_latin = base.isascii() and base.isalpha() and character <= "\u017f"
    return character if is_latin and _OGONEK not in accents else "?"

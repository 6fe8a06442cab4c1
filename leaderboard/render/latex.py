"""The leaderboard as LaTeX: a booktabs table for each average over sequences, to be printed.

The file is for ``\\input`` in a document that loads booktabs and amssymb.
"""

import re
import unicodedata

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.formatting import MAY_BE_BEST, NOTHING, visible_text
from driftboard.leaderboard.table import Cell, Heading, Table, printed_tables
from driftboard.leaderboard.words import Code, Words, collection_notes, legend

_TABLE = r"""\begin{{table*}}
\centering\footnotesize\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}
\label{{tab:driftboard-{label}}}
\begin{{tabular}}{{{columns}}}
\toprule
{heading} \\
{body}
\bottomrule
\end{{tabular}}
\end{{table*}}
"""

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


def latex(board: Board, command: str) -> str:
    """Return a table for the overall section, every suite and every grade.

    What the legend says stands above them as comments; ``command`` is what a reader types to
    make the file again.
    """
    lines = [
        "% Driftboard leaderboard",
        r"% Needs \usepackage{booktabs,amssymb}; tables span both columns of a page.",
    ]
    for note in collection_notes(board.source):
        lines.append(visible_text(f"% Note: {''.join(note)}"))
    for point in legend(board, command):
        lines.append(visible_text(f"% {point.term}: {point.text}{point.quoted}"))
    tables = (_table(table, board.reference) for table in printed_tables(board))
    return "\n".join([*lines, "", *tables])


def _table(table: Table, reference: str) -> str:
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
        caption=_caption(table, reference),
        label=table.name.replace(":", "-"),
        columns="ll" + "r" * (len(table.columns) - 2),
        heading=" & ".join(_heading(column.title) for column in table.columns),
        body="\n".join(body),
    )


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
    metric = table.columns[2].title
    about = latex_text("".join(table.title))
    words = [
        f"Driftboard, {about}: means with 95\\% intervals over new seeds "
        "(Student t); "
        rf"$\Delta$: paired difference from \texttt{{{latex_text(reference)}}}, "
        r"$^{*}$: $p<.05$ after Holm's correction. Ranks: simultaneous 95\% sets; "
        rf"$\bigstar$: not ruled out as best in {latex_text(metric)}. Strategies that share a "
        "letter do not differ significantly."
    ]
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

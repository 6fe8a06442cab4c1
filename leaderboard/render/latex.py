"""The leaderboard as LaTeX: a booktabs table for each average over sequences, to be printed.

The file is for ``\\input`` in a document that loads booktabs and amssymb.
"""

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.ranks import letters
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.render.layout import (
    NOTHING,
    TIED_BEST,
    difference_text,
    groups,
    interval_text,
    number_text,
    p_text,
    rank_set_text,
)
from driftboard.leaderboard.render.legend import legend
from driftboard.leaderboard.render.text import latex_text, visible_text

_HEAD = r"""% {title}
% Needs \usepackage{{booktabs,amssymb}}; tables span both columns of a page.
{comments}
"""

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


def latex(board: Board, command: str) -> str:
    """Return a table for the overall section, every suite and every grade.

    What the legend says stands above them as comments; ``command`` is what a reader types to
    make the file again.
    """
    comments = [f"% {point.term}: {point.text}{point.quoted}" for point in legend(board, command)]
    head = _HEAD.format(
        title="Driftboard leaderboard", comments="\n".join(map(visible_text, comments))
    )
    return "\n".join([head, *(_table(board, section) for section in board.averages)])


def _table(board: Board, section: Section) -> str:
    shared = letters(tuple(row.strategy for row in section.ranked), section.comparisons)
    rows = {
        title: [_cells(row, shared.get(row.strategy, "")) for row in members]
        for title, members in groups(section).items()
    }
    headings = _headings(board)
    body: list[str] = []
    for title, lines in rows.items():
        body.append(r"\midrule")
        body.append(rf"\multicolumn{{{len(headings)}}}{{l}}{{\itshape {latex_text(title)}}} \\")
        body += [" & ".join(cells) + r" \\" for cells in lines]
    return _TABLE.format(
        caption=_caption(board.reference, board.metrics[0].title, section),
        label=section.name.replace(":", "-"),
        columns="ll" + "r" * (len(headings) - 2),
        heading=" & ".join(headings),
        body="\n".join(body),
    )


def _headings(board: Board) -> list[str]:
    first, *others = (latex_text(metric.title) for metric in board.metrics)
    return ["Ranks", "Strategy", first, rf"$\Delta$ {first}", "$p$", *others, "Drift", "Seeds"]


def _cells(row: Row, shared: str) -> list[str]:
    name = rf"\texttt{{{latex_text(row.strategy)}}}"
    first, *others = row.scores.values()
    return [
        _ranks(row),
        f"{name}$^{{{shared.replace(' ', '')}}}$" if shared else name,
        _numbers(interval_text(first)),
        _numbers(difference_text(first)),
        _numbers(p_text(first.p_holm)),
        *(_numbers(interval_text(score)) for score in others),
        _numbers(number_text(row.drift, digits=3)),
        str(row.divergence.n) + (rf"$^{{{row.diverged}\dagger}}$" if row.diverged else ""),
    ]


def _ranks(row: Row) -> str:
    text = rank_set_text(row.rank_set)
    return text.replace("-", "--").replace(TIED_BEST, r"$\bigstar$") if row.rank_set else "--"


def _numbers(text: str) -> str:
    """Return numbers in math mode, where a minus is a minus; words and nothing as they are."""
    if text == NOTHING:
        return "--"
    if text[0].isalpha():
        return text
    return f"${text.replace(' [', '~[').replace(' *', '^{*}')}$"


def _caption(reference: str, metric: str, section: Section) -> str:
    words = [
        f"Driftboard, {_about(section)}: means with 95\\% intervals over new seeds "
        "(Student t); "
        rf"$\Delta$: paired difference from \texttt{{{latex_text(reference)}}}, "
        r"$^{*}$: $p<.05$ after Holm's correction. Ranks: simultaneous 95\% sets; "
        rf"$\bigstar$: none is significantly better in {latex_text(metric)}. Strategies that share "
        "a letter do not differ significantly."
    ]
    if any(row.diverged for row in section.rows):
        words.append(r"$^{n\dagger}$: $n$ seeds diverged.")
    if any(row.missing for row in section.rows):
        words.append("Incomplete strategies are not ranked.")
    return " ".join(words)


def _about(section: Section) -> str:
    count = len(section.sequences)
    name = latex_text(section.name.replace(":", " "))
    return f"{name}, {count} sequence{'s' if count != 1 else ''}"

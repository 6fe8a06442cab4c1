"""The board as one web page that needs nothing else: no network, no second file.

The template is filled from tables, style and script are put in, and both are vouched for. Every
text goes through ``visible_text`` and then through Jinja's autoescape, without exception. The
content security policy names style and script by their hashes and allows no other, and no request
to anywhere.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from driftboard.leaderboard.analysis.board import STRATA, Board, level_of
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import visible_text
from driftboard.leaderboard.render.figures.drawing import Illustration
from driftboard.leaderboard.table import (
    change_tables,
    grade_tables,
    new_sequences_table,
    overall_table,
    sequence_tables,
    suite_tables,
)
from driftboard.leaderboard.words import collection_notes, facts, legend

# In this order one script: each part uses those before it.
_SCRIPTS = (
    *("make.js", "sort.js", "rows.js", "filter.js", "scale.js", "matrix.js", "curve.js"),
    "strategy.js",
)

HEADLINE = "drift"
"""The figure above the first table; all others stand further below."""

# How far below the largest loss the scale reaches: a factor of 10,000. An excess loss may be
# zero, and one that has all but vanished must not take the colours from the others.
_DECADES = 4


def html_page(board: Board, command: str, illustrations: Sequence[Illustration]) -> str:
    """Return the board as one HTML file that opens without a network.

    ``command`` is what a reader types to make it again. The same input gives the same text.
    """
    style = Markup(_file("page.css"))
    script = Markup("\n".join(map(_file, _SCRIPTS)))
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_file),
        finalize=_visible,
    )
    environment.filters["in_script"] = _in_script
    drawn = [(drawing, _data_address(drawing.svg)) for drawing in illustrations]
    return environment.get_template("page.html.j2").render(
        board=board,
        policy=_policy(style, script),
        style=style,
        script=script,
        facts=facts(board),
        legend=legend(board, command),
        notes=collection_notes(board.source),
        overall=overall_table(board),
        new_sequences=new_sequences_table(
            board,
            "Intervals over new sequences",
            means="The overall means",
            tables="the other tables",
        ),
        changes=change_tables(board),
        tables=[*suite_tables(board), *grade_tables(board), *sequence_tables(board)],
        tiers=sorted({stamp.tier for stamp in board.source.sequences.values()}),
        levels=STRATA,
        headline=next((one for one in drawn if one[0].name == HEADLINE), None),
        illustrations=[one for one in drawn if one[0].name != HEADLINE],
        data=htmlsafe_json_dumps(view_data(board), separators=(",", ":"), allow_nan=False),
    )


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _visible(value: object) -> object:
    """Return what a template prints, text made visible; markup is our own and stays."""
    return visible_text(value) if type(value) is str else value


def _in_script(value: Value) -> str:
    """Return a raw number as JavaScript reads it, empty where there is none."""
    return "" if value is None or value != value else repr(value)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    """Return the hash by which a policy names the text of one element."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data_address(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def view_data(board: Board) -> dict[str, Any]:
    """Return what the page's script needs to know, as JSON has it.

    ``matrices[sequence][strategy][t][k]`` is the mean over the seeds that finished of the
    accuracy, in [0, 1], or of the excess loss on task k after training task t;
    ``partial[sequence][strategy]`` holds their number and that of all, where these differ. See
    ``view_scale`` for ``scale``.
    """
    return {
        "measure": board.source.measure,
        "reference": board.reference,
        "strategies": [row.strategy for row in board.overall.rows],
        "sequences": {
            section.name: {"tier": section.tier, "grade": level_of(section.grade)}
            for section in board.sections
        },
        "scale": view_scale(board),
        "matrices": {
            section.name: {
                row.strategy: matrix
                for row in board.overall.rows
                if (matrix := board.source.matrices.get((section.name, row.strategy)))
            }
            for section in board.sections
        },
        "partial": {
            section.name: {
                row.strategy: [len(row.finished), len(row.cells)]
                for row in section.rows
                if row.diverged_runs
            }
            for section in board.sections
        },
    }


def view_scale(board: Board) -> dict[str, Any]:
    """Return the scale of all matrices of a board: from ``low`` to ``high``, and its ``ticks``.

    Accuracies have a linear one from 0 to 1; losses a logarithmic one over whole powers of ten
    that ends above the largest and spans at most ``_DECADES``. Zero lies below it.
    """
    if board.source.measure == "accuracy":
        return {"log": False, "low": 0.0, "high": 1.0, "ticks": [0.0, 0.25, 0.5, 0.75, 1.0]}
    losses = [value for matrix in board.source.matrices.values() for row in matrix for value in row]
    positive = [value for value in losses if value > 0.0] or [1.0]
    # a power of ten that is a number, and of which those DECADES below are not zero
    last = min(max(math.ceil(math.log10(max(positive))), -300), 308)
    first = max(math.floor(math.log10(min(positive))), last - _DECADES)
    first = min(first, last - 1)
    ticks = [10.0**power for power in range(first, last + 1)]
    return {"log": True, "low": ticks[0], "high": ticks[-1], "ticks": ticks}

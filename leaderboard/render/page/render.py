"""The page as a whole: the template filled, the style and the script put in, and both vouched for.

Every text goes through ``visible_text`` and then through Jinja's autoescape, without exception.
The content security policy names style and script by their hashes and allows no other, and no
request to anywhere.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from driftboard.leaderboard.analysis.board import STRATA, Board
from driftboard.leaderboard.render.figures.drawing import Illustration
from driftboard.leaderboard.render.legend import legend
from driftboard.leaderboard.render.page.facts import facts
from driftboard.leaderboard.render.page.tables import (
    change_tables,
    new_sequences_table,
    section_tables,
)
from driftboard.leaderboard.render.page.view import view_data
from driftboard.leaderboard.render.text import visible_text

# In this order one script: each part uses those before it.
_SCRIPTS = ("make.js", "sort.js", "filter.js", "scale.js", "matrix.js", "curve.js", "strategy.js")


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
    overall, *others = section_tables(board)
    return environment.get_template("page.html.j2").render(
        board=board,
        policy=_policy(style, script),
        style=style,
        script=script,
        facts=facts(board),
        legend=legend(board, command),
        overall=overall,
        new_sequences=new_sequences_table(board),
        changes=change_tables(board),
        tables=others,
        tiers=sorted({stamp.tier for stamp in board.source.sequences.values()}),
        levels=STRATA,
        illustrations=[(drawing, _data_address(drawing.svg)) for drawing in illustrations],
        data=htmlsafe_json_dumps(view_data(board), separators=(",", ":"), allow_nan=False),
    )


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _visible(value: object) -> object:
    """Return what a template prints, text made visible; markup is our own and stays."""
    return visible_text(value) if type(value) is str else value


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

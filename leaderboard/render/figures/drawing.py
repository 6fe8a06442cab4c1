"""What every figure has in common: its settings, its colours, and how it becomes bytes.

Equal figures give equal bytes, whatever a reader has set for matplotlib. matplotlib is slow to
import and only a figure needs it, so it is imported when one is drawn.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Form = Literal["svg", "png"]

PAGE = 7.0  # inches: both columns of a page
COLUMN = 3.4  # inches: one column

# Okabe and Ito's colours, told apart by colour-blind readers. Nothing is told by colour alone.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
GREY = "0.5"

_SETTINGS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 8,
    "axes.formatter.limits": (-3, 5),  # from these powers of ten on, one stands beside the axis
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a name may look like a formula
    "svg.hashsalt": "driftboard",
}
_NO_TRACES: dict[Form, dict[str, None]] = {"svg": {"Date": None}, "png": {"Software": None}}


@dataclass(frozen=True, slots=True)
class Illustration:
    """A figure for a page, in both forms.

    ``name`` is the stem of its files. ``description`` is plain text for those who cannot see it:
    what is drawn, and its main numbers.
    """

    name: str
    title: str
    description: str
    svg: bytes
    png: bytes


@contextmanager
def house_style() -> Iterator[None]:
    """Draw with our settings alone: a reader's own must not change what is drawn.

    Also a decorator, for functions that make a figure.
    """
    from matplotlib import style

    with style.context(["default", _SETTINGS]):
        yield


@house_style()
def images(figure: "Figure") -> dict[Form, bytes]:
    """Return the figure in every form; it is laid out once, so that all show the same."""
    found = {}
    for form in get_args(Form):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=form, dpi=200, metadata=_NO_TRACES[form])
        figure.set_layout_engine("none")
        found[form] = buffer.getvalue()
    return found


def illustration(name: str, title: str, description: str, figure: "Figure") -> Illustration:
    """Return an illustration of a figure made in our style."""
    return Illustration(name, title, description, **images(figure))


def widest(figure: "Figure", texts: Sequence["Text"]) -> float:
    """Return the width of the widest of some texts in a figure with a canvas, in inches."""
    return max(text.get_window_extent().width for text in texts) / figure.dpi

"""Text of others in Markdown and CSV."""

import csv
import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.leaderboard.formatting import visible_text
from driftboard.leaderboard.render.csv import csv_cell
from driftboard.leaderboard.render.latex import latex_text
from driftboard.leaderboard.render.markdown import markdown_cell

HOSTILE = [
    "a | b",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "![image](http://example.org/x.png)",
    "http://example.org",
    "see WWW.example.org",
    "`code` and **bold** and __bold__ and ~~gone~~",
    "a\\|b",
    "&lt;script&gt; &#60;",
    "line\nbreak\r\n| new | row |",
    "# heading",
    "$\\frac{1}{2}$ \\input{secret}",
    "a\x00b\x1bc\x7f\x85",
    "right\u202eleft \u2066isolate\u2069 \u200fmark \u061c",
    "zero\u200bwidth\ufeff",
    "two\u2028lines\u2029here",
    "lone \ud800 surrogate",
]
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "  =1+1",
    "\u00a0=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(A1)",
    " \uff1dcmd|' /C calc'!A0",
    "\tx",
    "\rx",
    "\nx",
    " \t=1",
]
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800]")


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_cell_leaves_nothing_with_a_meaning(text):
    cell = markdown_cell(text)
    without_entities = re.sub(r"&#\d+;", "", cell)
    assert not set(without_entities) & set('|<>&[]!`*_~\\#$:"{}^@')
    assert "www." not in cell.lower()
    assert not HIDDEN.search(cell)
    cell.encode()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("CIFAR-10 (JPEG), 20 % noise", "CIFAR-10 (JPEG), 20 % noise"),
        ("Größe 5", "Größe 5"),
        ("a|b", "a&#124;b"),
        ("a<b>&c", "a&#60;b&#62;&#38;c"),
        ("a\r\n\tb", "a b"),
        ("https://x.org", "https&#58;//x.org"),
        ("www.x.org", "www&#46;x.org"),
        ("a\u202eb", "a\ufffdb"),
        ("  spaces  ", "spaces"),
        ("", ""),
    ],
)
def test_markdown_cell_by_hand(text, cell):
    assert markdown_cell(text) == cell


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_cell_prefixes_formulas(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["sgd", "a=1", "1-2", "", "  ", "a\nb", "x@y", "'=1"])
def test_csv_cell_leaves_other_text_alone(text):
    assert csv_cell(text) == text


@pytest.mark.parametrize("number", [-1, 0, 7, -0.25, 1e-300, True])
def test_csv_cell_keeps_numbers(number):
    assert csv_cell(number) is number


@pytest.mark.parametrize("missing", [None, math.nan])
def test_csv_cell_of_nothing_is_empty(missing):
    assert csv_cell(missing) == ""


@pytest.mark.parametrize("text", HOSTILE + FORMULAS)
def test_csv_cell_hides_nothing_and_can_be_written(text):
    cell = csv_cell(text)
    assert isinstance(cell, str)
    assert not HIDDEN.search(re.sub("[\t\r\n]", "", cell))
    file = io.StringIO(newline="")
    csv.writer(file).writerow([cell, "next"])
    assert next(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [cell, "next"]


@given(st.text(st.sampled_from(sorted({*"".join(HOSTILE + FORMULAS)}))))
def test_text_functions_accept_every_text(text):
    assert not re.search(r"[|<>`\n\r\t]", markdown_cell(text))
    cell = str(csv_cell(text))
    assert not cell.lstrip().startswith(
        ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )
    cell.encode()


HARMLESS_COMMANDS = (
    *(f"\\{character}" for character in "{}$&#_%"),
    *(
        rf"\text{name}{{}}"
        for name in ("backslash", "asciicircum", "asciitilde", "less", "greater", "bar")
    ),
    r"\textquotesingle{}",
    r"\textasciigrave{}",
)


@given(st.text())
def test_latex_text_holds_no_command_of_the_author(text):
    found = latex_text(text)
    for command in sorted(HARMLESS_COMMANDS, key=len, reverse=True):
        found = found.replace(command, "")
    found = found.replace("{''}", "").replace("-{}", "-")
    assert not set(found) & set("\\{}$&#_%^~<>|\"'`\n\r\x0b\x0c\u2028")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("50 % of $x_1$", r"50 \% of \$x\_1\$"),
        ("a--b---c-d", "a-{}-b-{}-{}-c-d"),
        ("Größe, Ærø, Ą, λ, 😀", "Größe, ?r?, ?, ?, ?".replace("ß", "?")),
        ("two\nlines\tx", "two lines x"),
        ("a^^4cb", r"a\textasciicircum{}\textasciicircum{}4cb"),
    ],
)
def test_latex_text_by_hand(text, expected):
    assert latex_text(text) == expected


@given(st.text())
def test_visible_text_is_one_line(text):
    assert len(f"x{visible_text(text)}x".splitlines()) == 1

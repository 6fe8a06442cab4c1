"""Tables of text: cells are whole or their column is gone, and text of others has no meaning."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.suite import terminal
from driftboard.suite.terminal import Column, TextTable, broken

COLUMNS = (
    Column("name"),
    Column("mean", "number"),
    Column("distance"),
    Column("what it is", "words"),
)
ROWS = (
    ("first", "1.5\n[1.0, 2.0]", "0.31 [0.28, 0.34]", "A few words on what it is."),
    ("second-one", "10.25", "-", "Fewer words."),
)


def table(**changes):
    return TextTable(**{"columns": COLUMNS, "groups": [ROWS[:1], ROWS[1:]]} | changes)


def test_a_wide_table_has_words_beside():
    assert table(title="Two rows", notes=["a note"]).text(90).splitlines() == [
        "                              Two rows",
        "",
        " name             mean distance          what it is",
        " ──────────────────────────────────────────────────────────────────",
        " first             1.5 0.31 [0.28, 0.34] A few words on what it is.",
        "            [1.0, 2.0]",
        "",
        " second-one      10.25 -                 Fewer words.",
        "",
        "a note",
    ]


def test_words_go_below_where_there_is_no_room_beside():
    assert table().text(46).splitlines() == [
        " name             mean distance",
        " ───────────────────────────────────────",
        " first             1.5 0.31 [0.28, 0.34]",
        "            [1.0, 2.0]",
        "   A few words on what it is.",
        "",
        " second-one      10.25 -",
        "   Fewer words.",
    ]


@pytest.mark.parametrize(
    ("first_to_go", "head", "note"),
    [
        ([], " name             mean", "no room for distance"),
        (["mean"], " name       distance", "no room for mean"),
        (["mean", "distance"], " name       distance", "no room for mean"),
    ],
)
def test_columns_are_left_out_in_their_order(first_to_go, head, note):
    lines = table(first_to_go=first_to_go).text(36).splitlines()
    assert (lines[0], lines[-1]) == (head, note)


def test_the_first_column_stays_and_its_long_names_go_on_in_the_next_line():
    rows = [("second-one-of-a-long-name", *ROWS[1][1:])]
    for width in (1, 20):
        lines = table(groups=[rows]).text(width).splitlines()
        assert lines[0] == " name"
        assert lines[2:4] == [" second-one-of-a-", " long-name"]
        assert lines[-2:] == ["no room for mean,", "distance"]


@given(st.text("ab.-", max_size=64), st.integers(1, 30))
def test_a_broken_name_is_whole(name, longest):
    lines = broken(name, longest)
    assert "".join(lines) == name
    assert max(map(len, lines)) <= longest
    assert all(lines) or lines == [""]


@pytest.mark.parametrize(
    ("name", "longest", "lines"),
    [
        ("a-bc-def", 20, ["a-bc-def"]),
        ("a-bc-def", 5, ["a-bc-", "def"]),
        ("a-bc-def", 4, ["a-", "bc-", "def"]),
        ("abcdefg-h", 3, ["abc", "def", "g-h"]),
    ],
)
def test_a_name_is_broken_after_hyphens(name, longest, lines):
    assert broken(name, longest) == lines


@given(width=st.integers(20, 120), size=st.integers(0, 30))
def test_no_line_is_wider_and_no_number_is_broken(width, size):
    rows = [("x" * size, "-12.5\n[+10.5, +14.9]", "0.31", "word " * size)]
    text = table(groups=[rows], title="A title of words").text(width)
    assert max(map(len, text.splitlines())) <= width
    shown, _, gone = text.partition("no room")
    assert ("-12.5" in shown) == ("[+10.5, +14.9]" in shown) == ("mean" not in gone)


def test_text_of_others_has_no_meaning():
    hostile = "[bold]a[/x] :smile: \x1b[2J\u202e"
    lines = TextTable([Column("name"), Column("words", "words")], [[(hostile, hostile)]]).text(200)
    assert lines.splitlines()[-1] == (
        " [bold]a[/x] :smile: \\x1b[2J\\u202e [bold]a[/x] :smile: \\x1b[2J\\u202e"
    )


def test_wide_letters_take_two_columns():
    lines = TextTable([Column("n"), Column("v")], [[("表", "1"), ("ab", "2")]]).text(40)
    assert lines.splitlines()[-2:] == [" 表 1", " ab 2"]


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    assert table().text() == table().text(30)


def test_a_table_without_rows_has_its_head():
    assert table(groups=[]).text(80).splitlines()[0].split() == ["name", "mean", "distance", "what",
                                                                 "it", "is"]  # fmt: skip


def test_the_examples_hold():
    assert doctest.testmod(terminal).failed == 0

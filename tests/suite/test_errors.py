"""The wording of messages: causes and lines of users' code, and what helps against refusals."""

import errno
import linecache

import pytest

from driftboard.suite.errors import (
    DriftboardError,
    cause_of,
    escaped,
    place_of,
    refusal_of,
)


def raised(source, file, name="a_users_module"):
    """Return what running a source raises whose file it claims to be."""
    try:
        exec(compile(source, str(file), "exec"), {"__name__": name, "hex": hex})
    except Exception as error:
        return error.with_traceback(error.__traceback__.tb_next)  # without this function
    raise AssertionError("it raised nothing")


class Unspeakable(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (KeyError("a"), "KeyError: 'a'"),
        (KeyError(), "KeyError"),
        (ValueError(" \n "), "ValueError"),
        (Unspeakable(), "Unspeakable"),
        (ValueError("x" * 301), f"ValueError: {'x' * 300}..."),
        (SystemExit(3), "SystemExit: 3"),
        (SyntaxError("no syntax", ("mine.py", 3, 1, "def :", 3, 2)), "SyntaxError: no syntax"),
    ],
)
def test_a_cause_is_the_kind_and_the_first_line(error, words):
    assert cause_of(error) == words


def test_the_place_is_the_innermost_line_of_a_users_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def helper(x):\n    return x + hex(x)\n\nhelper(2)\n")
    error = raised(file.read_text(), file)
    assert place_of(error) == "; mine.py, line 2: return x + hex(x)"


def test_a_file_that_is_named_relatively_has_a_place_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("\n1 / 0\n")
    assert place_of(raised("\n1 / 0\n", "mine.py")) == "; mine.py, line 2: 1 / 0"


def test_lines_of_libraries_and_of_ours_are_passed_over(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import json\njson.loads('{')\n")
    assert place_of(raised(file.read_text(), file)) == "; mine.py, line 2: json.loads('{')"
    ours = raised("1 / 0", tmp_path / "engine.py", name="driftboard.suite.training.engine")
    assert place_of(ours) == ""
    installed = tmp_path / "site-packages" / "tool.py"
    assert place_of(raised("1 / 0", installed, name="tool")) == ""


def test_the_place_of_what_we_raise_is_that_of_its_cause(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("1 / 0")
    wrapped = DriftboardError("words")
    wrapped.__cause__ = raised("1 / 0", file)
    assert place_of(wrapped) == "; mine.py, line 1: 1 / 0"
    assert place_of(DriftboardError("words")) == ""


def test_a_syntax_error_has_the_place_that_it_names():
    error = SyntaxError("invalid syntax", ("a/mine.py", 3, 1, "  def :\n", 3, 2))
    assert place_of(error) == "; mine.py, line 3: def :"
    assert place_of(SyntaxError("bad", ("<string>", 1, 1, "1 +", 1, 2))) == ""


@pytest.mark.parametrize("name", ["/tmp/ipykernel_3/21.py", "<ipython-input-3-0a>"])
def test_a_cell_of_a_notebook_is_called_so(monkeypatch, name):
    source = "\n1 / 0\n"
    monkeypatch.setitem(linecache.cache, name, (7, None, source.splitlines(True), name))
    assert place_of(raised(source, name, name="__main__")) == "; cell, line 2: 1 / 0"


def test_what_is_in_no_file_has_no_place_and_long_lines_are_cut(tmp_path):
    assert place_of(raised("1 / 0", "<string>")) == ""
    file = tmp_path / "mine.py"
    file.write_text(f"1 / 0 # {'x' * 200}")
    shown = place_of(raised(file.read_text(), file))
    assert shown == f"; mine.py, line 1: 1 / 0 # {'x' * 112}..."


IN_THE_WAY = "a file is where a folder is needed"


def test_escapes_leave_lines_alone():
    assert escaped("a\n  b\x1b[2J\u202e") == "a\n  b\\x1b[2J\\u202e"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space or choose another folder"),
        (errno.EDQUOT, "free some space or choose another folder"),
        (errno.EACCES, "choose a folder that you may use, or have its permissions changed"),
        (errno.EROFS, "that file system is read-only; choose another folder"),
        (errno.EEXIST, f"{IN_THE_WAY}; move it away or choose another folder"),
        (errno.ENOTDIR, f"{IN_THE_WAY}; move it away or choose another folder"),
        (errno.ENAMETOOLONG, "choose a shorter name or path"),
    ],
)
def test_advice_fits_what_was_refused(code, remedy):
    assert refusal_of(OSError(code, "Refused", "/a/file")) == f"Refused; {remedy}"


def test_a_refusal_that_nobody_knows_is_told_as_it_is():
    known = OSError(errno.EIO, "Input/output error")
    assert refusal_of(known) == "Input/output error; choose another folder"
    assert refusal_of(OSError("words")) == "words; choose another folder"
    assert refusal_of(OSError()) == "OSError; choose another folder"

"""The digest of code: what changes it, what does not, and that all versions of Python agree."""

import ast
import io
import keyword
import tokenize
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import driftboard
from driftboard.suite.source import digest_of
from driftboard.suite.source.code import code_digest, imports_of, source_text

PLAIN = '''
"""A module."""
import json
from os import path as where


@decorated(1)
class Mine(Base):
    """A class."""

    text = """one
    # no comment

    end"""
    size: int = 0x_ff

    def act(self, *given, **named):
        """A method."""
        if given and not named:
            total = [one for one in given
                     if one]  # a remark
        elif named: total = -1; other = 2
        else:
            total = f"{given[0]!r:>{self.size}}" 'and' rf"mo{re}"
        return total if total else lambda x: x @ 2.5e-3

def empty():
    """Nothing else."""
'''


def tokens_of(text):
    """Return the tokens of code that are no layout, each with its place."""
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT}
    layout |= {tokenize.ENDMARKER, tokenize.ENCODING}
    found, depth = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        depth += {"FSTRING_START": 1, "FSTRING_END": -1}.get(name, 0)
        if token.type not in layout and not depth and not name.startswith("FSTRING"):
            found.append(token)
    return found


def same(one, other):
    return code_digest(one.encode()) == code_digest(other.encode())


REMARKS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\x0c"), max_size=12).map(
    lambda text: f"#{text.replace('coding', '')}\n"
)


def put(text, place, what):
    """Return the text with something put in at a line and column."""
    lines = text.split("\n")
    row, column = place
    lines[row - 1] = lines[row - 1][:column] + what + lines[row - 1][column:]
    return "\n".join(lines)


def is_within_brackets(text, place):
    depth = 0
    for token in tokens_of(text):
        if token.start >= place:
            return depth > 0
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
    return False


SOURCES = [
    PLAIN,
    *(
        path.read_text()
        for path in sorted(Path(driftboard.__file__).parent.parent.glob("strategies/*.py"))
    ),
]


@given(st.data())
def test_a_comment_or_blank_line_between_any_two_tokens_changes_nothing(data):
    text = data.draw(st.sampled_from(SOURCES))
    token = data.draw(st.sampled_from(tokens_of(text)))
    remark = data.draw(REMARKS | st.sampled_from(["\n", "\n\n \t\n", "# a\n\n# b\n"]))
    starts_line = text.split("\n")[token.start[0] - 1][: token.start[1]].strip() == ""
    assume(starts_line or is_within_brackets(text, token.start))
    if starts_line and not is_within_brackets(text, token.start):
        changed = put(text, (token.start[0], 0), remark)
    else:
        changed = put(text, token.start, remark)
    ast.parse(changed)
    assert same(text, changed)


@given(st.data())
def test_space_and_line_endings_change_nothing(data):
    text = data.draw(st.sampled_from(SOURCES))
    token = data.draw(st.sampled_from(tokens_of(text)))
    assume(text.split("\n")[token.start[0] - 1][: token.start[1]].strip())
    spaced = put(text, token.start, data.draw(st.sampled_from(["  ", "\t", " \\\n", "\\\n  "])))
    ast.parse(spaced)
    assert same(text, spaced)
    ending = data.draw(st.sampled_from(["\r\n", "\r"]))
    assert code_digest(b"\xef\xbb\xbf" + text.replace("\n", ending).encode()) == code_digest(
        text.encode()
    )


@given(st.data())
def test_every_other_token_changes_it(data):
    text = data.draw(st.sampled_from(SOURCES))
    docs = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node) is not None
    }
    token = data.draw(st.sampled_from([one for one in tokens_of(text) if one.start not in docs]))
    name = data.draw(st.from_regex(r"[a-z_]{1,5}", fullmatch=True))
    if token.type == tokenize.STRING:
        other = token.string[:-1] + name + token.string[-1]
    elif token.type == tokenize.NUMBER:
        other = f"1{token.string}" if token.string[0] != "0" else "7"
    elif token.type == tokenize.NAME and not keyword.iskeyword(token.string):
        other = f"{token.string}{name}"
    else:
        other = {"+": "-", "-": "+", "*": "/", "==": "!=", "<": ">", "@": "//", "and": "or"}.get(
            token.string, token.string
        )
    assume(other != token.string)
    lines = text.split("\n")
    assume(token.start[0] == token.end[0])
    line = lines[token.start[0] - 1]
    lines[token.start[0] - 1] = line[: token.start[1]] + other + line[token.end[1] :]
    changed = "\n".join(lines)
    try:
        ast.parse(changed)
    except SyntaxError:
        assume(False)
    assert not same(text, changed)


DIFFERENT = [
    ("x = '#'", "x = '# '"),
    ('x = """a\n\nb"""', 'x = """a\nb"""'),
    ('x = """a\n# b\n"""', 'x = """a\n"""'),
    ('x = """a \n"""', 'x = """a\n"""'),
    ("x = f'{a = }'", "x = f'{a=}'"),
    ("x = f'{a}#'", "x = f'{a}'"),
    ("x = 'a' 'b'", "x = 'ab'"),
    ("x = 1 .j", "x = 1.j"),
    ("x = 1; y = 2", "x = 1\ny = 2"),
    ("if a:\n  b\n  c", "if a:\n  b\nc"),
    ("if a:\n  if b:\n    c\n  d", "if a:\n  if b:\n    c\n    d"),
    ("def f(): 'doc'\nx = 1", "def f(): x = 1"),
    ("def f():\n  'doc'\n  x = 1", "def f():\n  'doc'\nx = 1"),
    ("def f():\n  x = 1\n  'no doc'", "def f():\n  x = 1"),
    ("def f():\n  b'no doc'", "def f():\n  b'other'"),
    ("if x:\n  'no doc'\n  y", "if x:\n  y"),
    ("x = 'a'", "x = 'ä'"),
    ("x = not a", "x = nota"),
    ("aä·b = 1", "aäb = 1"),
    ("x = '\\\n'", "x = '\\\n '"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_means_something_else_has_another_digest(one, other):
    assert not same(one, other)


EQUAL = [
    ("x = 1", "x = 1\n\n\n"),
    ("x = 1", "\f\nx = 1 \t\n"),
    ("x = 1", "\fx = 1"),
    ("x = 1", "# -*- coding: utf-8 -*-\nx = 1"),
    ("x = [1,\n2]", "x = [1, 2]"),
    ("x = 1 + 2", "x = 1 + \\\n2"),
    ("if a:\n  b", "if a:\n\tb"),
    ("if a:\n  b", "if a:\n  b\n# at the end"),
    ("if a:\n  b\nc", "if a:\n  b\n        # deeper\n # between\nc"),
    ("def f():\n  'doc'\n  x", "def f():\n  '''another\n\n  doc'''\n  x"),
    ("def f():\n  'doc'\n  x", "def f():\n  x"),
    ("'doc'\nx", "x"),
    ("class A:\n  'doc' 'goes on'\n  x = 1", "class A:\n  x = 1"),
    ("async def f():\n  'doc'\n  x", "async def f():\n  x"),
    ("def f(ä='é'): 'döc'", "def f(ä='é'): 'd'"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_means_the_same_has_the_same_digest(one, other):
    assert same(one, other)


def test_docstrings_count_where_the_code_may_read_them():
    for reads in ("print(__doc__)", "getdoc(x)", "import inspect", "getattr(x, '__doc__')"):
        one, other = (f"{reads}\ndef f():\n  '{text}'\n  # {text}" for text in ("a", "b"))
        assert not same(one, other)
        assert same(f"{reads}  # a", f"{reads}  # b")
    assert same("def f(): '__doc__'", "def f(): 'inspect'")  # the docstring is no code


def test_comments_count_where_the_code_may_read_its_own_text():
    for reads in (
        "inspect.getsource(f)",
        "open(__file__)",
        "frame.f_lineno",
        "torch.jit.script(f)",
    ):
        assert not same(f"{reads}  # a", f"{reads}  # b")
        assert not same(reads, f"\n{reads}")
    assert same("x = 1  # getsource", "x = 1")


def test_all_versions_of_python_find_these_digests():
    """Computed under 3.11, 3.12 and 3.13; the f-string and the names are read in other ways."""
    assert code_digest(PLAIN.encode())[:12] == "c548c7e4bf23"
    odd = 'aä·b = ℘ = f\'{x!r:{y}}{{}}\' f"""\n{ z = }#"""  # remark\n\fdef ℘f(): \'doc\'\n'
    assert code_digest(odd.encode())[:12] == "0d6106fb6f35"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# coding: latin-1\nx = 1", "it says that it is in latin-1"),
        (b"#!/bin/sh\r# vim: set fileencoding=utf-7 :\rx", "it says that it is in utf-7"),
        (b"\n# coding=unicode_escape\nx", "it says that it is in unicode_escape"),
        (b"# coding: nonsense\nx", "it says that it is in nonsense"),
        (b"x = '\xff'", "it is not UTF-8 from byte 5 on"),
        (b"x = 1\0", "null bytes"),
    ],
)
def test_text_that_python_would_read_in_another_way_is_refused(content, words):
    with pytest.raises(SyntaxError, match=words):
        source_text(content)
    assert code_digest(content) != code_digest(content + b" ")  # so every byte counts


@pytest.mark.parametrize(
    "content",
    [b"# coding: UTF8\nx", b"\xef\xbb\xbf# coding: utf-8-sig\nx", b"x\n# coding: latin-1\n"],
)
def test_text_in_utf8_is_read(content):
    assert "x" in source_text(content)


def test_what_is_no_python_counts_byte_by_byte():
    assert not same("def :", "def :  # remark")
    assert not same("(" * 2000, "(" * 2000 + " ")


def test_several_files_count_with_their_names():
    one = {"a.py": b"x = 1", "lib/b.py": b"y = 1"}
    assert digest_of(one) == digest_of({"lib/b.py": b"y = 1  # y", "a.py": b"\nx = 1"})
    others = [
        {"a.py": b"x = 1", "lib/b.py": b"y = 2"},
        {"a.py": b"x = 1", "lib/c.py": b"y = 1"},
        {"a.py": b"y = 1", "lib/b.py": b"x = 1"},
        {"a.py": b"x = 1"},
        {"a.py": b"x = 1", "b.so": b"y = 1"},
    ]
    assert len({digest_of(one), *map(digest_of, others)}) == 6
    assert digest_of({"a.so": b"x = 1"}) != digest_of({"a.so": b"x = 1 "})


def test_imports_of_every_form_are_found():
    text = """
import a.b, c as d
from e import f, g as h
from . import i
from ..j import *
def late():
    import k
    importlib.import_module("l.m")
    importlib.import_module(".n", __package__)
    __import__("o")
    import_module(name)
if TYPE_CHECKING:
    import p
"""
    assert sorted(imports_of(text.encode())) == [
        ("", ("i",), 1),
        ("a.b", (), 0),
        ("c", (), 0),
        ("e", ("f", "g"), 0),
        ("j", (), 2),
        ("k", (), 0),
        ("l.m", (), 0),
        ("n", (), 1),
        ("o", (), 0),
        ("p", (), 0),
    ]
    assert list(imports_of(b"def :")) == []

"""The reference of the command line: complete, and plain Markdown."""

import re
import runpy
from pathlib import Path

import pytest

from driftboard.suite.cli.main import COMMANDS

GENERATE = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "generate.py"))
command_line, item = GENERATE["command_line"], GENERATE["_item"]

NEW = """\
## `driftboard new`

Write a strategy that works, and a test of it: two files to start from.

A file that is there already is never written over.

```
driftboard new [OPTIONS] {name}
```

Arguments:

- `name <str>`: The strategy's name on the board, as my-method. Required.

Options:

- `--out <path>`: The folder to write to. Default: `.`.
"""


def test_one_command_by_value():
    page = command_line()
    begin = page.index("## `driftboard new`")
    assert page[begin : page.index("\n## ", begin)] == NEW


def test_every_command_has_its_heading_in_the_order_of_the_help():
    headings = re.findall(r"^## `(.+)`$", command_line(), re.MULTILINE)
    names = [f"driftboard {command.__name__}" for command in COMMANDS]
    data = [f"driftboard data{below}" for below in ("", " list", " show", " fetch", " import")]
    assert headings == ["driftboard", *names, *data]


def test_lines_are_short_and_nothing_is_left_of_the_terminal(monkeypatch):
    page = command_line()
    assert max(map(len, page.splitlines())) <= 120
    assert "  [" not in page
    monkeypatch.setenv("COLUMNS", "40")
    assert command_line() == page


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (("--x <int range>", "Much.  [default: 3; x>=1]"), "- `--x <int>`: Much. Default: `3`. "
         "At least 1."),
        (("--x <list[str]>", "Much.  [env var: X; required]"), "- `--x <str>`: Much. Environment "
         "variable: `X`. Required."),
        (("--x", "As a*b*, <c> or [d](e); `a*b` stays.  [default: (all)]"),
         r"- `--x`: As a\*b\*, \<c> or \[d\](e); `a*b` stays. Default: all."),
        (("--x", "Much.  [0<=x<=1]"), r"- `--x`: Much. 0\<=x\<=1."),
        (("--x", ""), "- `--x`: "),
    ],
)  # fmt: skip
def test_items(record, text):
    assert item(*record) == text.rstrip()


def test_long_items_are_indented():
    lines = item("--x", "word " * 60).splitlines()
    assert len(lines) == 3
    assert [line[:2] for line in lines] == ["- ", "  ", "  "]

"""Hostile titles and versions through the whole command, into every format at once."""

import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.build import Format, build_leaderboard
from driftboard.suite.records import write_record

# All that the record schema lets through: one line, no control or bidirectional characters.
TITLES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "a | b || c",
    "[x](javascript:alert(1)) ![y](http://example.org/y.png)",
    '=HYPERLINK("http://example.org")',
    "+1+cmd|' /C calc'!A0",
    "\uff1d1+1",
    r"\input{/etc/passwd} \end{document}",
    r"$\frac$ a_b^c {x} 50 % ~ # &",
    "`code` **bold** <!-- comment -->",
    "{{ 7 * 7 }} {% raw %}",
    "http://example.org www.example.org",
    "zero\u200bwidth\ufeff",
    "z\u0301\u0323\u0330" * 40,
    "x" * 200,
)
COMMAND = "driftboard x\n\n# heading\r\n<b>\u202e</code></script>\\end{document}"


@pytest.fixture(scope="module")
def files(make_record, tmp_path_factory):
    """The contents of all files of a board whose sequences bear the titles, by name."""
    folder = tmp_path_factory.mktemp("hostile")
    for place, title in enumerate(TITLES):
        for strategy in ("sgd", "a.b-c_d"):
            record = make_record(f"sequence-{place}", strategy)
            stamp = replace(record.sequence, data=title, hash=f"{place:064x}")
            environment = replace(record.environment, device=title, torch=title)
            record = replace(record, sequence=stamp, environment=environment)
            write_record(folder / "results", record)
    build_leaderboard([folder / "results"], folder / "out", command=COMMAND, formats=tuple(Format))
    out = folder / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}


def test_all_files_are_there_and_hold_no_hidden_character(files):
    names = {"leaderboard.md", "leaderboard.csv", "leaderboard.tex", "index.html"}
    drawn = {
        f"figures/{name}.{form}" for name in ("plane", "forest", "ranks") for form in ("svg", "png")
    }
    assert files.keys() == names | drawn
    for name in names:
        text = files[name].decode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2028\ufeff]", text)


def test_markdown_holds_no_html_link_or_code_of_theirs(files):
    text = files["leaderboard.md"].decode()
    plain = re.sub(r"&#\d+;", "", text).replace("<code>", "").replace("</code>", "")
    assert not re.search(r"<[A-Za-z/!?]", plain)
    assert "](" not in text
    assert "javascript:" not in text
    assert "http:" not in text
    assert not re.search(r"www\.", text)
    headings = [line for line in text.splitlines() if line.startswith("# ")]
    assert headings == ["# Driftboard leaderboard"]
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) <= 3  # three kinds of tables


def test_csv_holds_no_formula(files):
    rows = list(csv.reader(io.StringIO(files["leaderboard.csv"].decode())))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        is_number = re.fullmatch(r"-?[0-9.]+(e[-+]?\d+)?", cell)
        assert is_number or not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))


def test_latex_holds_no_command_of_theirs(files):
    for line in files["leaderboard.tex"].decode().splitlines():
        if not line.startswith("%"):
            assert "input" not in line
            assert r"\end{document}" not in line


def test_the_page_holds_no_element_of_theirs(files):
    seen = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, frozenset(name for name, _ in attrs)))

    Tags().feed(files["index.html"].decode())
    tags = [tag for tag, _ in seen]
    assert tags.count("script") == 2
    assert tags.count("img") == 3
    assert not {"b", "iframe", "object"} & set(tags)
    attributes = set().union(*(names for _, names in seen))
    assert not any(name.startswith("on") for name in attributes)


def test_figures_are_well_formed(files):
    for name, content in files.items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(content)
            tags = {element.tag.rpartition("}")[2] for element in root.iter()}
            assert not {"script", "foreignObject", "a"} & tags
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")

"""Hostile titles and versions through the whole command, into every format at once."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from msgspec import to_builtins
from msgspec.structs import replace

from driftboard.leaderboard.build import Format, build_leaderboard
from driftboard.suite.errors import RecordError
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
        f"figures/{name}.{form}"
        for name in ("drift", "plane", "forest", "ranks")
        for form in ("svg", "png")
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
    assert tags.count("img") == 4
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


# What authors say of a submission: one line each, no control or bidirectional characters.
CREDITS = {
    "title": "a | b <script>alert(1)</script> `code` {{ 7 * 7 }}",
    "authors": ("[x](javascript:alert(1))", "<img src=x onerror=alert(1)>", "- 1. # Ada & Bob"),
    "links": ("https://example.org/a_(b)?c=d&copy=*e*~[f](javascript:g)#%7B",),
    "licence": "MIT OR (Apache-2.0)",
    "description": r"{x} $\input{y}$ **bold** www.example.org http://example.org \u00e9",
}


TEXTS = [CREDITS[name] for name in ("title", "description", "licence")] + [*CREDITS["authors"]]


def submission_of(record):
    """Return what ``submission.json`` holds of a submission with these records."""
    return CREDITS | {
        "schema": 2,
        "tier": "quick",
        "strategy": to_builtins(record.strategy),
        "source": "mine.py",
        "specification": "mine.py",
        "protocol": to_builtins(record.protocol),
        "environment": {"driftboard": "0", "python": "3", "torch": "2", "device": "cpu"},
        "files": {},
    }


@pytest.fixture(scope="module")
def credited(make_record, tmp_path_factory):
    """The contents of the files of a board with a submission, by name."""
    folder = tmp_path_factory.mktemp("credited")
    for seed in range(2):
        write_record(folder / "mine", make_record(strategy="mine", seed=seed))
        write_record(folder / "other", make_record(seed=seed))
    content = submission_of(make_record(strategy="mine"))
    (folder / "mine" / "submission.json").write_text(json.dumps(content))
    folders = [folder / "mine", folder / "other"]
    build_leaderboard(folders, folder / "out", command="x", formats=tuple(Format))
    out = folder / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}


def test_a_submission_says_who_made_it_on_the_board_and_nothing_else(credited):
    text = credited["leaderboard.md"].decode()
    section = text.partition("## Submissions\n\n")[2].partition("\n\n## ")[0]
    lines = section.splitlines()
    starts = ("- `mine`: ", "  - By ", "  - In short: ", "  - See <", "  - Licence ")
    assert len(lines) == len(starts)
    assert all(map(str.startswith, lines, starts))
    (link,) = CREDITS["links"]
    assert lines[3] == f"  - See <{link}>"
    plain = section.replace(f"<{link}>", "").replace("`mine`: ", "").replace("short: ", "")
    plain = re.sub(r"&#\d+;", "", plain)
    assert not re.search(r"[<>|`\[\]{}*$\\#:]", plain)
    assert "www." not in plain
    drawn = MarkdownIt("commonmark").render(section)
    assert re.findall(r"<(\w+)", drawn) == ["ul", "li", "code", "ul", "li", "li", "li", "a", "li"]
    shown = html.unescape(section)
    for words in (
        CREDITS["title"],
        *CREDITS["authors"],
        CREDITS["description"],
        CREDITS["licence"],
    ):
        assert words in shown


def test_the_page_shows_a_submission_as_text_and_links_to_https_only(credited):
    seen, addresses, words = [], [], []

    class Page(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            addresses.extend(value for name, value in attrs if name == "href")

        def handle_data(self, data):
            words.append(data)

    Page().feed(credited["index.html"].decode())
    assert seen.count("script") == 2
    assert seen.count("img") == 4
    outside = [one for one in addresses if not one.startswith(("#", "data:,"))]
    assert outside == list(CREDITS["links"])
    shown = "".join(words)
    for text in TEXTS:
        assert text in shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "a\u202eb"),
        ("authors", ["\u2066x"]),
        ("description", "two\nlines"),
        ("links", ["http://example.org"]),
        ("links", ["javascript:alert(1)"]),
        ("links", ["https://example.org/ <b>"]),
        ("licence", "`x`"),
    ],
)
def test_what_is_no_plain_text_or_address_is_refused(make_record, tmp_path, field, value):
    record = make_record(strategy="mine")
    write_record(tmp_path, record)
    content = submission_of(record)
    (tmp_path / "submission.json").write_text(json.dumps(content))
    assert build_leaderboard([tmp_path], tmp_path / "out", "mine").authors["mine"].title
    (tmp_path / "submission.json").write_text(json.dumps(content | {field: value}))
    with pytest.raises(RecordError, match="is not sound; see `driftboard verify"):
        build_leaderboard([tmp_path], tmp_path / "out", "mine")

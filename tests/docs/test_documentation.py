"""The documentation: its links, its lines, its commands, its examples, and the generated parts."""

import doctest
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = runpy.run_path(str(ROOT / "docs" / "build.py"))
GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))

IGNORED = {"build", "dist", "submissions", "shared"}
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in IGNORED for part in path.relative_to(ROOT).parts)
)
# What a command wrote is as long as it is.
WRITTEN_BY_COMMANDS = {"docs/studies/coverage.md", "docs/studies/speed.md"}
BY_HAND = [
    page
    for page in PAGES
    if page.startswith("docs/") or page.endswith("/README.md") or page == "CONTRIBUTING.md"
]


def text_of(page):
    return (ROOT / page).read_text()


def without_code(text):
    """Return a page with its fenced and indented code made empty, line by line."""
    text = BUILD["FENCED"].sub(lambda match: "\n" * match[0].count("\n"), text)
    return re.sub(r"(?m)^(?: {4}|\t).*$", "", text)


def anchors(page):
    """Return the anchors of a page's headings, as Python-Markdown makes them."""
    titles = re.findall(r"(?m)^#+ +(.*?)\s*$", BUILD["FENCED"].sub("", text_of(page)))
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", title) for title in titles)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", one).strip().lower()) for one in plain}


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "docs/index.md", "suite/README.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page):
    links = [link for link in BUILD["links"](text_of(page)) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if not (ROOT / BUILD["target"](page, link)).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_anchor_is_there(page):
    text = BUILD["FENCED"].sub("", text_of(page))
    wrong = []
    for link, anchor in re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", text):
        to = BUILD["target"](page, link) if link else page
        if to.endswith(".md") and (ROOT / to).exists() and anchor not in anchors(to):
            wrong.append(f"{link}#{anchor}")
    assert [one for one in wrong if not one.startswith("../reference/api.md")] == []


@pytest.mark.parametrize("page", [page for page in BY_HAND if page not in WRITTEN_BY_COMMANDS])
def test_lines_outside_of_tables_and_code_are_short(page):
    lines = without_code(text_of(page)).splitlines()
    long = [one for one in lines if len(one) > 120 and not one.startswith(("|", "!["))]
    assert long == []


@pytest.mark.parametrize(
    "page", [one for one in PAGES if one.endswith("/README.md")], ids=lambda page: page
)
def test_readmes_of_rooms_are_short(page):
    assert len(text_of(page).splitlines()) <= 60


CONFLICT = re.compile(rb"(?m)^(<{7,}|>{7,}|={7,}|\|{7,})( |\r?$)")


def test_no_tracked_file_holds_conflict_markers():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is not a git repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert ROOT / "docs/index.md" in paths
    contents = {path: path.read_bytes() for path in paths if path.is_file()}
    texts = {path: content for path, content in contents.items() if b"\0" not in content}
    assert [str(path) for path, content in texts.items() if CONFLICT.search(content)] == []


@pytest.mark.parametrize("sign", "<>=|")
def test_conflict_markers_are_found(sign):
    assert CONFLICT.search(f"a\n{7 * sign} ours\nb\n".encode())
    assert CONFLICT.search(f"a\n{8 * sign}\nb\n".encode())
    assert not CONFLICT.search(f"a\n{6 * sign} ours\n b {7 * sign}\n".encode())


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r'= "([^"]+\.md)"', text_of("docs/zensical.toml"))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert sorted(listed) == sorted(pages | {f"repository/{name}" for name in BUILD["ALWAYS"]})


def commands_in(page):
    """Yield the words of every ``driftboard`` command line in the code of a page."""
    text = re.sub(r"\\\n\s*", " ", text_of(page))
    for line in re.findall(r"(?m)^\s*((?:driftboard) .*)$", text):
        yield shlex.split(line, comments=True)
    for line in re.findall(r"`(driftboard [^`]+)`", text):
        yield line.replace("\n", " ").split()


def parsed(words):
    """Return the options among the words of a command line, and those that the command has."""
    import typer.main

    from driftboard.suite.cli.main import app

    command, rest = typer.main.get_command(app), words[1:]
    known = {"--help"}
    while rest and hasattr(command, "commands"):
        name = rest[0]
        if name.startswith("-"):
            break
        assert name in command.commands, f"no command {name!r} in {shlex.join(words)}"
        command, rest = command.commands[name], rest[1:]
    for parameter in command.params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    given = {word.split("=")[0] for word in rest if re.match(r"--\w", word)}
    return given, known


@pytest.mark.parametrize("page", [page for page in BY_HAND if page not in WRITTEN_BY_COMMANDS])
def test_every_command_that_is_named_exists(page):
    for words in commands_in(page):
        if len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            given, known = parsed(words)
            assert given <= known, shlex.join(words)


def test_a_command_that_does_not_exist_is_found():
    assert parsed(["driftboard", "run", "--sedes", "3"])[0] == {"--sedes"}
    assert "--sedes" not in parsed(["driftboard", "run", "--sedes", "3"])[1]
    with pytest.raises(AssertionError, match="no command"):
        parsed(["driftboard", "walk"])


# Examples

BLOCK = re.compile(r"(?ms)^(<!-- run -->\n)?```(pycon|python)\n(.*?)^```$")


def blocks(page):
    """Return the blocks of a page that run: whether each is a doctest, its code, its line."""
    text = text_of(page)
    return [
        (kind == "pycon", code, text[: match.start()].count("\n") + 1)
        for match in BLOCK.finditer(text)
        for run, kind, code in [match.groups()]
        if run or kind == "pycon"
    ]


@pytest.mark.parametrize("page", [page for page in BY_HAND if blocks(page)])
@pytest.mark.xdist_group("documentation")
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = {"__name__": "example"}
    monkeypatch.setitem(sys.modules, "example", type(sys)("example"))  # dataclasses look it up
    for is_doctest, code, line in blocks(page):
        if not is_doctest:
            exec(compile("\n" * line + code, page, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, page, page, line)
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, clear_globs=False)
        assert runner.failures == 0
        names |= test.globs


# What is generated


@pytest.mark.parametrize("name", ["leaderboard", "claim"])
def test_the_reference_has_every_column_in_order(name):
    table = GENERATE["columns_table"](GENERATE[f"{name}_columns"]())
    header = text_of(f"baselines/core-fashion/{name}.csv").partition("\n")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \| \S", table) == header.split(",")


@pytest.mark.parametrize("explanation", ["", lambda board: "by the board"])
def test_a_column_without_words_for_the_reference_is_an_error(explanation, monkeypatch):
    from driftboard.leaderboard import columns

    new = columns.Column(keys=("cells",), explanation="how many cells")
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, new))
    assert GENERATE["leaderboard_columns"]()["cells"] == "how many cells"
    new = columns.Column(keys=("cells",), explanation=explanation)
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, new))
    with pytest.raises(ValueError, match="describe the column cells in"):
        GENERATE["leaderboard_columns"]()


def test_the_reference_has_every_field_of_a_record():
    import msgspec

    from driftboard.suite.records import LossRecord, Record

    schema = GENERATE["record_schema"]()
    for struct in (Record, LossRecord):
        for field in msgspec.structs.fields(struct):
            assert f"| `{field.name}` |" in schema
    assert "| `lane` | `Literal['solo', 'stacked']` |" in schema
    assert "the cohort's time / seeds in the cohort" in schema


def test_the_reference_has_every_sequence_and_data_set():
    from driftboard.suite.data.catalogue import SOURCES
    from driftboard.suite.sequences.registry import registered

    text, data = GENERATE["sequences_tables"](), GENERATE["data_sets_table"]()
    assert re.findall(r"(?m)^\| `([\w-]+)` \|", text) == list(registered())
    assert re.findall(r"(?m)^\| `([\w-]+)` \|", data) == list(SOURCES)
    assert "| `mnist` | MNIST | 28x28, grey | 10 | 60,000 | 10,000 |" in data
    assert (
        "| `digits-unequal` | task | 3 | `mlp-128x2` | 120, 50 | 5 epochs of 50 | 1.86 [1." in text
    )


def test_the_reference_has_every_public_name():
    import driftboard

    text = GENERATE["python_api"]() + text_of("docs/reference/api.md")
    documented = {line.rpartition(".")[2] for line in re.findall(r"(?m)^::: (.*)$", text)}
    aliases = {"Memory", "Parameters"}  # of types, explained in words
    assert set(driftboard.__all__) <= documented | aliases | {"__version__"}


def test_the_reference_has_every_command():
    import typer.main

    from driftboard.suite.cli.main import app

    page = GENERATE["command_line"]()
    for name in typer.main.get_command(app).commands:
        assert re.search(rf"(?m)^#+ .*driftboard {name}\b", page), name
    assert "--sequence-file" in page


# The build


def test_links_that_leave_docs_lead_to_copies():
    text = "[a](../../CONTRIBUTING.md#x), [b](submit.md), `[c](../d.md)`, [e](https://f.example)"
    expected = text.replace("../../CONTRIBUTING", "../repository/CONTRIBUTING")
    assert BUILD["turned"]("docs/howto/publish.md", text) == expected
    back = BUILD["turned"]("suite/README.md", "[a](../docs/index.md)")
    assert back == "[a](../../index.md)"


@pytest.mark.parametrize(
    ("page", "loads"),
    [
        ('<script src="https://cdn.example/a.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/b.css">', True),
        ('<img src="http://c.example/d.png">', True),
        ('<script src="assets/a.js"></script><a href="https://e.example">e</a>', False),
    ],
)
def test_requests_to_elsewhere_are_found(tmp_path, page, loads):
    (tmp_path / "index.html").write_text(page)
    assert bool(BUILD["external_requests"](tmp_path)) is loads

"""The page: every number is the board's, and text of others stays text. Read by html.parser."""

import json
import random
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.render.figures.drawing import Illustration
from driftboard.leaderboard.render.page import html_page
from driftboard.leaderboard.table import (
    grade_tables,
    overall_table,
    sequence_tables,
    suite_tables,
)
from driftboard.leaderboard.words import legend
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.records import write_record

VOID = {"meta", "link", "img", "input", "br"}
DRAWING = Illustration("plane", "Plane & more", 'it says "<b>" $x$', b"<svg/>", b"png")


class Element:
    """An element of a page with its attributes, children and texts."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.content = tag, dict(attributes), []

    def all(self, tag):
        found = [self] if self.tag == tag else []
        for one in self.content:
            found += one.all(tag) if isinstance(one, Element) else []
        return found

    @property
    def text(self):
        return "".join(one if isinstance(one, str) else one.text for one in self.content)


class Reader(HTMLParser):
    """Builds the tree of a page and refuses what is not nested."""

    def __init__(self):
        super().__init__()
        self.root = Element("root", ())
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        element = Element(tag, attrs)
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].content.append(data)


def every_element(element):
    inner = [one for one in element.content if isinstance(one, Element)]
    return [*inner, *(found for one in inner for found in every_element(one))]


def parsed(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def graded(name, digest, distance, level):
    estimate = Estimate(distance, distance - 0.1, distance + 0.1, 10)
    return Grade(name, digest, estimate, 0.9, level, crosses=False, note="")


@pytest.fixture(scope="module")
def records(make_record):
    """Three sequences of two tiers, three ranked strategies, a bound and an incomplete one."""
    generator = random.Random(11)
    found = []
    for place, name in enumerate(("alpha", "beta", "gamma")):
        for skill, strategy in enumerate(("sgd", "ewc", "hybrid", "late", "noop")):
            for seed in range(4):
                if (strategy, name, seed) == ("late", "beta", 2):
                    continue
                counts = [[generator.randint(20, 40) + 9 * skill for _ in "123"] for _ in "123"]
                record = make_record(name, strategy, seed, counts)
                tier = "small" if place < 2 else "large"
                stamp = replace(record.sequence, tier=tier, hash=f"{place}" * 64)
                role = "bound" if strategy == "noop" else "ranked"
                own = replace(record.strategy, role=role)
                found.append(replace(record, sequence=stamp, strategy=own))
    return found


@pytest.fixture(scope="module")
def board(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for record in records:
        write_record(folder, record)
    grades = [graded("alpha", "0" * 64, 0.2, "near"), graded("gamma", "2" * 64, 1.5, "far")]
    return build_board(collect([folder]), "sgd", {one.sequence_hash: one for one in grades})


@pytest.fixture(scope="module")
def page(board):
    return parsed(html_page(board, "driftboard leaderboard here", [DRAWING]))


def tables_of(page):
    """Return the tables by the id of their heading."""
    return {one.attributes["aria-labelledby"]: one for one in page.all("table")}


def rows_of(table):
    """Return the rows below each group's title, as cells by heading."""
    titles = [head.text for head in table.all("thead")[0].all("th")]
    found = {}
    for body in table.all("tbody"):
        group, *rows = body.all("tr")
        cells = [[one for one in row.content if isinstance(one, Element)] for row in rows]
        found[group.text] = [dict(zip(titles, row, strict=True)) for row in cells]
    return found


def test_there_is_a_table_for_every_section(page, board):
    names = [section.name for section in (*board.averages, *board.sections)]
    others = ["new:sequences", "change:avg_acc", "change:forgetting", "change:task_acc"]
    assert set(tables_of(page)) == {f"table-{name}" for name in (*names, *others)}


def test_no_name_of_a_sequence_is_that_of_a_table_of_ours(make_record, tmp_path):
    for name in ("new-sequences", "changes", "alpha"):
        write_record(tmp_path, make_record(name))
    page = parsed(html_page(build_board(collect([tmp_path])), "x", []))
    inner = every_element(page)
    identifiers = [one.attributes["id"] for one in inner if "id" in one.attributes]
    assert len(set(identifiers)) == len(identifiers)
    targets = [one.attributes["href"][1:] for one in page.all("a") if "href" in one.attributes]
    assert {"table-new:sequences", "table-new-sequences"} <= set(identifiers)
    assert {one for one in targets if not one.startswith("strategy=")} <= set(identifiers)


def test_every_number_is_the_boards(page, board):
    tables = tables_of(page)
    averages = [overall_table(board), *suite_tables(board), *grade_tables(board)]
    sections = (*board.averages, *board.sections)
    for table, section in zip([*averages, *sequence_tables(board)], sections, strict=True):
        found = rows_of(tables[f"table-{section.name}"])
        members = [row for rows in found.values() for row in rows]
        expected = [row for rows in table.groups.values() for row in rows]
        assert [row["Strategy"].text for row in members] == [row.strategy for row in section.rows]
        for cells, row in zip(members, expected, strict=True):
            assert list(cells) == list(row)
            for name, cell in cells.items():
                assert cell.text.strip() == row[name].text
                raw = cell.attributes.get("data-n")
                if raw is None:
                    assert row[name].value is None or row[name].value != row[name].value
                else:
                    assert float(raw) == row[name].value


def test_groups_stand_apart(page, board):
    groups = rows_of(tables_of(page)["table-overall"])
    found = {title: [row["Strategy"].text for row in rows] for title, rows in groups.items()}
    assert list(found) == [
        "Ranked",
        "Bounds (for reference, not ranked)",
        "Incomplete (not ranked)",
    ]
    assert list(found.values()) == [
        [row.strategy for row in rows]
        for rows in (board.overall.ranked, board.overall.bounds, board.overall.incomplete)
    ]


def test_changes_and_new_sequences_are_the_boards(page, board):
    tables = tables_of(page)
    for contrast in board.contrasts:
        (rows,) = rows_of(tables[f"table-change:{contrast.metric.name}"]).values()
        (row,) = (one for one in rows if one["Strategy"].text == contrast.strategy)
        raw = row[f"{contrast.farther} - {contrast.nearer}"].attributes["data-n"]
        assert float(raw) == contrast.change.mean
    (rows,) = rows_of(tables["table-new:sequences"]).values()
    for cells, row in zip(rows, board.overall.ranked, strict=True):
        for score in row.scores.values():
            low, high = score.over_sequences.low, score.over_sequences.high
            text = cells[score.metric.title].text
            assert text.endswith(f"[{100 * low:.1f}, {100 * high:.1f}]")


def test_matrices_are_means_over_seeds(page, records):
    (element,) = (one for one in page.all("script") if one.attributes.get("id") == "data")
    matrices = json.loads(element.text)["matrices"]
    for name in ("alpha", "beta", "gamma"):
        for strategy in ("sgd", "late", "noop"):
            own = [
                record.correct
                for record in records
                if (record.sequence.name, record.strategy.name) == (name, strategy)
            ]
            for t in range(3):
                for k in range(3):
                    mean = sum(counts[t][k] for counts in own) / len(own) / 100
                    assert matrices[name][strategy][t][k] == pytest.approx(mean)


def test_the_legend_is_whole(page, board):
    (words,) = (one for one in page.all("dl") if one.attributes["class"] == "legend")
    text = words.text.replace("\n", "")
    for point in legend(board, "driftboard leaderboard here"):
        assert point.term.replace("`", "") in text
        assert point.text.replace("`", "") in text
        assert point.quoted in text


def test_figures_have_their_words(page):
    (image,) = page.all("img")
    assert image.attributes["alt"] == DRAWING.description
    assert image.attributes["src"] == "data:image/svg+xml;base64,PHN2Zy8+"
    assert DRAWING.title in page.all("figcaption")[0].text


def test_nothing_is_asked_of_a_network(page):
    for element in (
        page,
        *(one for tag in ("a", "link", "img", "script") for one in page.all(tag)),
    ):
        for name in ("src", "href"):
            address = element.attributes.get(name, "#")
            assert address.startswith(("#", "data:"))
    (policy,) = (
        one.attributes["content"]
        for one in page.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- comment -->",
    "&lt;b&gt;",
    "]]> <![CDATA[",
    "a $\\frac{1}{2}$ | `b`",
    "x" * 190,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_element_and_no_attribute(make_record, tmp_path, text):
    def page_of(data):
        record = make_record()
        stamp = replace(record.sequence, data=data)
        environment = replace(record.environment, device=data)
        write_record(tmp_path, replace(record, sequence=stamp, environment=environment))
        drawing = replace_words(data)
        return parsed(html_page(build_board(collect([tmp_path])), data, [drawing]))

    def replace_words(words):
        return Illustration("plane", words, words, b"<svg/>", b"")

    def shape(element):
        inner = [shape(one) for one in element.content if isinstance(one, Element)]
        names = sorted(element.attributes)
        return (element.tag, names, inner)

    hostile, harmless = page_of(text), page_of("harmless")
    assert shape(hostile) == shape(harmless)
    assert hostile.text.count(text) >= 3
    assert hostile.all("img")[0].attributes["alt"] == text


def test_hidden_characters_are_shown(make_record, tmp_path):
    write_record(tmp_path, make_record())
    command = "a\u202eb\u2028c\x00d\u200be"
    text = html_page(build_board(collect([tmp_path])), command, [])
    assert "a\ufffdb\ufffdc\ufffdd\ufffde" in text
    assert not set(text) & set("\u202e\u2028\x00\u200b")


def test_same_input_same_bytes(board):
    assert html_page(board, "x", [DRAWING]) == html_page(board, "x", [DRAWING])


def test_a_page_of_losses(make_loss_record, tmp_path):
    for strategy in ("sgd", "frozen"):
        for seed in range(3):
            write_record(tmp_path, make_loss_record("alpha", strategy, seed))
    page = parsed(html_page(build_board(collect([tmp_path])), "x", []))
    (element,) = (one for one in page.all("script") if one.attributes.get("id") == "data")
    data = json.loads(element.text)
    assert data["measure"] == "excess-loss"
    assert data["scale"]["log"]
    assert data["scale"]["low"] <= 0.25 <= 1.5 <= data["scale"]["high"]

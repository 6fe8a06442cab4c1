"""The tables of a board: which columns they have, and the numbers behind their texts."""

import ast
import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.table import (
    Cell,
    grade_tables,
    new_sequences_table,
    overall_table,
    printed_tables,
    sequence_tables,
)
from driftboard.leaderboard.words import Code, Quote, distance_sentence, legend
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.records import write_record


@pytest.fixture(scope="module")
def board(make_record, tmp_path_factory):
    """Two sequences, two ranked strategies, a bound and an incomplete one; one seed diverged."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("alpha", "beta"):
        for strategy, last in (("sgd", 40), ("ewc", 60), ("noop", 10), ("late", 70)):
            for seed in range(3):
                if (name, strategy, seed) == ("beta", "late", 2):
                    continue
                record = make_record(name, strategy, seed, ((80, 0), (last + seed, 50)))
                role = "bound" if strategy == "noop" else "ranked"
                record = replace(record, strategy=replace(record.strategy, role=role))
                if (name, strategy, seed) == ("alpha", "sgd", 1):
                    record = replace(
                        record, status="diverged", diverged_at=1, diverged_by="not finite"
                    )
                write_record(folder, record)
    return build_board(collect([folder]))


def headings(table):
    return [column.title for column in table.columns]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            "full",
            "# | Ranks | Strategy | Avg.Acc | Δ Avg.Acc | Forgetting | Δ Forgetting | Task.Acc | "
            "Δ Task.Acc | p | r | Seeds | Diverged | Step | Drift | Memory | Stores | Compute | "
            "Evidence | "
            "Notes",
        ),
        ("brief", "Ranks | Strategy | Avg.Acc | Δ Avg.Acc | p | Forgetting | Task.Acc | Notes"),
        (
            "print",
            "Ranks | Strategy | Avg.Acc | Δ Avg.Acc | p | Forgetting | Task.Acc | Drift | Seeds",
        ),
        ("narrow", "Strategy | Avg.Acc | Δ Avg.Acc | Forgetting | Task.Acc | Memory | Compute"),
        (
            "sequences",
            "Strategy | Avg.Acc | Δ Avg.Acc | Forgetting | Δ Forgetting | Task.Acc | Δ Task.Acc",
        ),
    ],
)
def test_columns_of_every_layout(board, layout, expected):
    table = overall_table(board, layout)
    assert " | ".join(headings(table)) == expected
    for rows in table.groups.values():
        assert all(list(row) == headings(table) for row in rows)


def test_kinds_and_orders_of_columns(board):
    columns = {column.title: column for column in overall_table(board).columns}
    assert [title for title, one in columns.items() if one.is_text] == [
        "Strategy",
        "Stores",
        "Evidence",
        "Notes",
    ]
    assert [title for title, one in columns.items() if one.large_first] == [
        "Avg.Acc",
        "Δ Avg.Acc",
        "Task.Acc",
        "Δ Task.Acc",
    ]


def test_groups_hold_their_rows(board):
    groups = overall_table(board).groups
    assert {title: [row["Strategy"].text for row in rows] for title, rows in groups.items()} == {
        "Ranked": ["ewc", "sgd"],
        "Bounds (for reference, not ranked)": ["noop"],
        "Incomplete (not ranked)": ["late"],
    }


def test_raw_numbers_behind_a_row(board):
    ewc, sgd = overall_table(board).groups["Ranked"]
    row = board.overall.ranked[0]
    score, lost = row.scores["avg_acc"], row.scores["forgetting"]
    values = {title: cell.value for title, cell in ewc.items()}
    assert values == {
        "#": 1,
        "Ranks": 1,
        "Strategy": None,
        "Avg.Acc": score.interval.mean,
        "Δ Avg.Acc": score.difference.mean,
        "Forgetting": lost.interval.mean,
        "Δ Forgetting": lost.difference.mean,
        "Task.Acc": row.scores["task_acc"].interval.mean,
        "Δ Task.Acc": row.scores["task_acc"].difference.mean,
        "p": score.p_holm,
        "r": pytest.approx(1.0),
        "Seeds": 3,
        "Diverged": 0.0,
        "Step": row.step,
        "Drift": row.drift,
        "Memory": row.memory_bytes,
        "Stores": None,
        "Compute": 1.0,
        "Evidence": None,
        "Notes": None,
    }
    assert score.difference.mean == pytest.approx(0.1)
    assert sgd["Δ Avg.Acc"] == Cell("reference", 0.0)
    assert math.isnan(sgd["p"].value)
    assert sgd["r"].value is None
    assert sgd["Diverged"].value == pytest.approx(1 / 3)
    bound = overall_table(board).groups["Bounds (for reference, not ranked)"][0]
    assert (bound["#"].value, bound["Ranks"].value) == (None, None)


def test_marks_stand_for_letters_and_diverged_seeds(board):
    (overall,) = printed_tables(board)
    marks = {
        row["Strategy"].text: (row["Strategy"].mark, row["Seeds"].mark)
        for rows in overall.groups.values()
        for row in rows
    }
    assert marks == {"ewc": ("a", ""), "sgd": ("b", "1†"), "noop": ("", ""), "late": ("", "")}
    assert overall.title == ("overall, 2 sequences",)


def test_notes_name_the_strategies(board):
    table = overall_table(board, "narrow")
    assert table.title == ("Overall, 2 sequences, Δ from sgd",)
    assert tuple("".join(note) for note in table.notes) == (
        "n < 5: ewc, sgd, noop",
        "n < 5, 1 of 6 cells missing: late",
        "sgd: 1 of 6 runs diverged and count with the accuracy of chance; without them Avg.Acc "
        "45.5, Forgetting 39.0, Task.Acc 65.0. Every Δ counts them.",
    )


def test_new_sequences_have_the_means_of_the_overall_table(board):
    table = new_sequences_table(board, "New", means="These", tables="those")
    assert (table.name, table.title) == ("new:sequences", ("New",))
    assert table.about[0].startswith("These with intervals over a population of sequences")
    assert "another question than those:" in table.about[0]
    overall = overall_table(board).groups["Ranked"]
    for own, row in zip(table.groups["Ranked"], overall, strict=True):
        assert own["Avg.Acc"].value == pytest.approx(row["Avg.Acc"].value)
        assert own["Δ Avg.Acc"].value == pytest.approx(row["Δ Avg.Acc"].value)
    assert list(table.groups) == ["Ranked"]


def test_words_tell_what_is_ours(board):
    (alpha, _) = sequence_tables(board)
    assert alpha.title == (Code("alpha"),)
    assert isinstance(alpha.title[0], Code)
    kinds = {type(part) for part in alpha.about}
    assert kinds == {str, Code, Quote}
    (data,) = (part for part in alpha.about if isinstance(part, Quote))
    assert data == board.source.sequences["alpha"].data
    assert not list(grade_tables(board))


def test_a_note_of_a_grade_is_from_elsewhere():
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    found = distance_sentence(Grade("a", "0" * 64, nothing, math.nan, None, False, "why"))
    assert "".join(found) == "Distance: not measurable, why."
    assert [part for part in found if isinstance(part, Quote)] == ["why"]


def test_terms_of_the_legend(board):
    points = legend(board, "make it")
    assert [point.term for point in points] == [
        "Estimand",
        "Metrics",
        "`[low, high]`",
        "`Δ`",
        "`*`",
        "`#`",
        "Ranks",
        "Diverged",
        "Step",
        "Memory",
        "Evidence",
        "Notes",
        "Incomplete",
        "Stores",
        "Protocol",
        "Records made with",
        "Table made with",
        "Command",
    ]
    found = {point.term: point.text for point in points}
    assert "t interval; `r`: correlation of Avg.Acc with" in found["`Δ`"]
    assert "first. Drift: the distance" in found["Step"]
    assert points[-1].quoted == "make it"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("78.4 [77.9, 78.9]", ("78.4", "[77.9, 78.9]")), ("reference", ("reference", ""))],
)
def test_parts_of_a_cell(text, parts):
    assert Cell(text).parts == parts


@pytest.mark.parametrize(
    "name", ["markdown.py", "csv.py", "latex.py", "terminal.py", "page/__init__.py"]
)
def test_formats_know_no_statistics(name):
    """They name the board, and what grades there are; every number reaches them in a table."""
    source = (Path(__file__).resolve().parents[2] / "leaderboard" / "render" / name).read_text()
    found = {
        f"{node.module}.{alias.name}".removeprefix("driftboard.leaderboard.analysis.")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module.startswith("driftboard.leaderboard.analysis")
    }
    assert "board.Board" in found
    assert found <= {"board.Board", "board.STRATA", "board.level_of"}

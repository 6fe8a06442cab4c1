"""The registry of columns: every entry is whole, and a new one reaches every format by itself."""

import csv
import io
from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced

from driftboard.leaderboard import table, words
from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.cells import METRICS
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.column import Column, Layout, Line
from driftboard.leaderboard.columns import COLUMNS
from driftboard.leaderboard.render.csv import csv_table
from driftboard.leaderboard.render.markdown import markdown
from driftboard.leaderboard.render.page import html_page
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.records import write_record

LAYOUTS: tuple[Layout, ...] = ("full", "brief", "print", "narrow", "sequences", "page")


@pytest.fixture(scope="module")
def board(make_record, tmp_path_factory):
    """A board of two graded sequences, two ranked strategies and an incomplete one."""
    folder = tmp_path_factory.mktemp("results")
    grades = {}
    for place, (name, level) in enumerate((("alpha", "near"), ("beta", "far"))):
        for strategy in ("sgd", "ewc", "late"):
            for seed in range(3):
                if (name, strategy, seed) == ("beta", "late", 2):
                    continue
                counts = ((80, 10), (40 + 7 * len(strategy) + seed * (place + 1), 70))
                record = make_record(name, strategy, seed, counts)
                stamp = replaced(record.sequence, hash=f"{place}" * 64)
                write_record(folder, replaced(record, sequence=stamp))
        estimate = Estimate(0.1 + place, place + 0.0, 0.2 + place, 10)
        digest = f"{place}" * 64
        grades[digest] = Grade(name, digest, estimate, 0.9, level, crosses=False, note="")
    return build_board(collect([folder]), "sgd", grades)


def lines_of(board):
    return [
        Line(section, row, score)
        for section in (*board.averages, *board.sections)
        for row in section.rows
        for score in row.scores.values()
    ]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.title or column.keys[0])
def test_an_entry_is_whole(column, board):
    assert column.keys or column.places
    assert not column.legend or column.explained(board)
    if column.places or column.others:
        assert column.title
        assert all(isinstance(column.text(line), str) for line in lines_of(board))
    for line in lines_of(board):
        assert len(column.values(line)) == len(column.keys)
    for contrast in board.contrasts:
        assert len(column.changed(contrast)) == len(column.keys)


def test_names_and_places_in_the_legend_occur_once():
    keys = [key for column in COLUMNS for key in column.keys]
    assert len(set(keys)) == len(keys)
    places = [column.legend for column in COLUMNS if column.legend]
    assert sorted(places) == list(range(1, len(places) + 1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
def test_headings_of_a_table_occur_once(layout, metrics):
    headings = [heading.title for _, _, heading in table._headed(metrics, layout)]
    assert len(set(headings)) == len(headings)
    assert "Strategy" in headings


def test_a_new_column_is_one_entry(board, monkeypatch):
    new = Column(
        keys=("cells", "expected"),
        values=lambda line: (len(line.row.cells), line.row.expected),
        title="Cells",
        text=lambda line: f"{len(line.row.cells)} of {line.row.expected}",
        places={"full": 15},
        legend=17,
        explanation="how many records there are.",
    )
    before = csv_table(board).splitlines()
    for module in (table, words):
        monkeypatch.setattr(module, "COLUMNS", (*COLUMNS, new))
    table._headed.cache_clear()
    try:
        page, text, raw = html_page(board, "x", []), markdown(board, "x"), csv_table(board)
    finally:
        table._headed.cache_clear()
    assert "- Cells: how many records there are." in text
    assert "how many records there are." in page
    assert "5 of 6 |" in text
    assert '<td class="detail" data-n="5">5 of 6</td>' in page
    rows = list(csv.DictReader(io.StringIO(raw)))
    late = [row for row in rows if (row["strategy"], row["sequence"]) == ("late", "overall")]
    assert {(row["cells"], row["expected"]) for row in late} == {("5", "6")}
    changes = [row for row in rows if row["sequence"].startswith("change:")]
    assert {(row["cells"], row["expected"]) for row in changes} == {("", "")}
    assert [line.rsplit(",", 2)[0] for line in raw.splitlines()] == before


def test_a_column_without_a_place_is_in_the_csv_file_only(board, monkeypatch):
    text = markdown(board, "x")
    hidden = replace(COLUMNS[0], keys=("again",), change=None)
    monkeypatch.setattr(table, "COLUMNS", (*COLUMNS, hidden))
    assert markdown(board, "x") == text
    assert csv_table(board).splitlines()[0].endswith(",again")


def test_columns_of_rows_are_in_the_csv_file_alone(make_record, make_loss_record, tmp_path):
    def rows_of(folder, records):
        for record in records:
            write_record(tmp_path / folder, record)
        board = build_board(collect([tmp_path / folder]))
        return list(csv.DictReader(io.StringIO(csv_table(board)))), markdown(board, "x")

    # task 1 is known best after task 2: 0.9 - 0.4, 0.9 - 0.5, 0.9 - 0.6; task 2 loses nothing
    rows, text = rows_of(
        "accuracies",
        [
            make_record(seed=seed, correct=((50, 0, 0), (90, 50, 0), (40 + 10 * seed, 50, 50)))
            for seed in range(3)
        ],
    )
    for row in rows:
        assert float(row["max_forgetting"]) == pytest.approx(0.4 / 2)
        # values .25, .2, .15: sd .05, t(0.975, 2) = 4.3027
        half = 4.3027 * 0.05 / 3**0.5
        assert float(row["max_forgetting_low"]) == pytest.approx(0.2 - half, abs=1e-5)
        assert float(row["max_forgetting_high"]) == pytest.approx(0.2 + half, abs=1e-5)
        # .5, then (.9 + .5) / 2, then the mean over three tasks: 1.4, 1.5 or 1.6 thirds
        mean, half = (0.5 + 0.7 + 0.5) / 3, half * 2 / 9
        assert float(row["incremental_accuracy"]) == pytest.approx(mean)
        assert float(row["incremental_accuracy_low"]) == pytest.approx(mean - half, abs=1e-5)
        assert float(row["incremental_accuracy_high"]) == pytest.approx(mean + half, abs=1e-5)
    assert "Max.Forgetting" not in text
    assert "Inc.Acc" not in text
    rows, _ = rows_of("losses", [make_loss_record(seed=seed) for seed in range(2)])
    assert {row["max_forgetting"] + row["max_forgetting_low"] for row in rows} == {""}
    assert {row["incremental_accuracy"] for row in rows} == {""}


def test_the_output_shift_is_the_mean_over_later_tasks_of_all_finished_runs(make_record, tmp_path):
    def row_of(folder, *changes):
        for seed, change in enumerate(changes):
            record = make_record(seed=seed, correct=((9, 1, 1), (6, 8, 1), (5, 6, 7)), **change)
            write_record(tmp_path / folder, record)
        board = build_board(collect([tmp_path / folder]))
        return next(csv.DictReader(io.StringIO(csv_table(board))))

    told = {"shift_new": (9.0, 0.25, 0.75), "shift_old": (None, 0.5, 0.0)}
    other = {"shift_new": (0.0, 1.0, 1.0), "shift_old": (None, 0.75, 0.25)}
    row = row_of("told", told, other)
    assert float(row["shift_new"]) == (0.5 + 1.0) / 2
    assert float(row["shift_old"]) == (0.25 + 0.5) / 2
    row = row_of("one-lacks-it", told, {})
    assert row["shift_new"] == row["shift_old"] == ""
    row = row_of("not-finite", told, other | {"shift_old": (None, None, 0.25)})
    assert float(row["shift_new"]) == 0.75
    assert row["shift_old"] == ""

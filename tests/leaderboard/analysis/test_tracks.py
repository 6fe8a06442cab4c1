"""Tracks: what strategies store, and that each track with examples is ranked by itself."""

import csv
import io

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.render.csv import csv_table
from driftboard.leaderboard.table import overall_table
from driftboard.suite.records import read_record, write_record

SEEDS = range(6)

# Strategy -> right answers of 100 on the first task at the end, what it stores, and its capacity.
STRATEGIES = {
    "sgd": (40, "nothing", None),
    "ewc": (50, "parameters", None),
    "er-100": (70, "examples", 100),
    "der-100": (60, "examples", 100),
    "er-500": (80, "examples", 500),
}


@pytest.fixture
def records(make_record):
    """Every difference is significant: each seed adds the same to all, and almost no noise."""
    found = []
    for place, (name, (last, stores, capacity)) in enumerate(STRATEGIES.items()):
        for seed in SEEDS:
            record = make_record("alpha", name, seed)
            stamp = replace(
                record.strategy,
                stores=stores,
                parameters={} if capacity is None else {"capacity": capacity},
            )
            noise = (seed * (place + 1)) % 3
            found.append(replace(record, strategy=stamp, correct=((90, 0), (last + noise, 90))))
    return found


def board_of(records, folder):
    for record in records:
        write_record(folder, record)
    return build_board(collect([folder]))


def test_each_number_of_examples_is_ranked_by_itself(records, tmp_path):
    board = board_of(records, tmp_path)
    rows = {row.strategy: row for row in board.overall.rows}
    assert [row.strategy for row in board.overall.ranked] == ["ewc", "sgd"]
    assert [row.strategy for row in board.overall.examples] == ["er-100", "der-100", "er-500"]
    assert {name: row.rank for name, row in rows.items()} == {
        "ewc": 1,
        "sgd": 2,
        "er-100": 1,
        "der-100": 2,
        "er-500": 1,
    }
    assert rows["er-100"].track == "examples (100)"
    assert rows["ewc"].track == "parameters"
    groups = overall_table(board).groups
    assert list(groups) == ["Ranked", "With stored examples (ranked among those with as many)"]
    stored = groups["With stored examples (ranked among those with as many)"]
    assert [row["Stores"].text for row in stored] == ["examples (100)"] * 2 + ["examples (500)"]


def test_tests_are_corrected_within_a_track(records, tmp_path):
    """Alone in its track a strategy's p is not corrected; of two, the smaller is doubled."""
    board = board_of(records, tmp_path)
    scores = {row.strategy: row.first for row in board.overall.rows}
    assert scores["er-500"].p_holm == scores["er-500"].difference.p
    assert scores["ewc"].p_holm == scores["ewc"].difference.p
    raw = {name: scores[name].difference.p for name in ("er-100", "der-100")}
    least, most = sorted(raw, key=raw.get)
    assert scores[least].p_holm == pytest.approx(min(2 * raw[least], 1))
    assert scores[most].p_holm == pytest.approx(max(raw[most], 2 * raw[least]))


def test_strategies_with_examples_change_no_rank_of_others(records, tmp_path):
    without = [record for record in records if record.strategy.stores != "examples"]
    whole, part = (
        board_of(some, tmp_path / name) for name, some in (("all", records), ("part", without))
    )
    for one, other in zip(whole.overall.ranked, part.overall.ranked, strict=True):
        assert (one.strategy, one.rank, one.rank_set, one.letters, one.may_be_best) == (
            other.strategy,
            other.rank,
            other.rank_set,
            other.letters,
            other.may_be_best,
        )
        assert one.first.p_holm == other.first.p_holm or one.strategy == "sgd"


@pytest.mark.parametrize(("memory", "track"), [((0, 0), "nothing"), ((0, 8), "parameters")])
def test_records_that_do_not_say_are_told_by_their_bytes(make_record, tmp_path, memory, track):
    board = board_of([make_record("alpha", memory_bytes=memory)], tmp_path)
    rows = list(csv.DictReader(io.StringIO(csv_table(board))))
    assert {row["track"] for row in rows} == {track}


def test_what_a_strategy_stores_is_read_back(records, tmp_path):
    for record in records:
        path = write_record(tmp_path, record)
        assert read_record(path).strategy == record.strategy


def test_an_optimiser_of_ones_own_is_noted(make_record, tmp_path):
    record = make_record("alpha")
    record = replace(record, strategy=replace(record.strategy, optimiser="own"))
    board = board_of([record], tmp_path)
    assert "own optimiser" in overall_table(board).groups["Ranked"][0]["Notes"].text

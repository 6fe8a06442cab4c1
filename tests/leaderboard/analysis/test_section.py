"""Diverged runs, first tasks near chance, and the mark of what is not ruled out as best."""

import csv
import io
import math

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.cells import cell_of, matrix_of
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.columns import MAY_BE_BEST
from driftboard.leaderboard.render.csv import csv_table
from driftboard.leaderboard.table import overall_table
from driftboard.suite.records import write_record

CHANCE = ((10, 10), (10, 10))


@pytest.fixture
def board_of(tmp_path):
    """Return a function that writes records and builds their board."""

    def build(records, reference="sgd"):
        for record in records:
            write_record(tmp_path, record)
        return build_board(collect([tmp_path]), reference)

    return build


def diverged(record):
    zeros = ((0.0, 0.0, 0.0),) * 2
    norms = {"update_norms": zeros, "solution_norms": zeros, "drift_norms": zeros}
    return replace(record, status="diverged", diverged_at=0, diverged_by="blow-up", **norms)


def row_of(board, strategy):
    return next(row for row in board.overall.rows if row.strategy == strategy)


def texts(board, strategy):
    groups = overall_table(board).groups.values()
    (found,) = (row for rows in groups for row in rows if row["Strategy"].text == strategy)
    return {title: cell.text for title, cell in found.items()}


def csv_row(board, strategy, sequence="overall", metric="avg_acc"):
    (found,) = (
        row
        for row in csv.DictReader(io.StringIO(csv_table(board)))
        if (row["strategy"], row["sequence"], row["metric"]) == (strategy, sequence, metric)
    )
    return found


@pytest.fixture
def two_blown_up(make_record, board_of):
    """Two sequences of five seeds; ewc diverged in two of its ten runs, both on beta."""
    records = []
    for name, last in (("alpha", 80), ("beta", 40)):
        for seed in range(5):
            records.append(make_record(name, seed=seed, correct=((90, 10), (last, last + seed))))
            own = ((90, 10), (last + 4, last + seed))
            records.append(
                make_record(name, "ewc", seed, own, memory_bytes=(0, 8), operations=(5, 5))
            )
            if (name, seed) in (("beta", 1), ("beta", 2)):
                blown = diverged(make_record(name, "ewc", seed, CHANCE, memory_bytes=(0, 999)))
                records[-1] = replace(blown, operations=(900, 900))
    return board_of(records)


def test_means_of_norms_memory_and_compute_are_of_finished_runs(two_blown_up):
    row = row_of(two_blown_up, "ewc")
    assert (len(row.cells), len(row.finished), row.diverged_runs, row.diverged) == (10, 8, 2, 2)
    # every finished run has the same norms: 5 of 10
    assert (row.step, row.drift, row.memory_bytes) == (0.5, 0.5, 8)
    assert (row.compute, row.compute_runs) == (10 / 2000, 8)
    shown = texts(two_blown_up, "ewc")
    assert [shown[title] for title in ("Step", "Drift", "Memory", "Compute")] == [
        "0.500 (8/10)",
        "0.500 (8/10)",
        "8 B (8/10)",
        "0.01x (8/10)",
    ]
    assert texts(two_blown_up, "sgd")["Drift"] == "0.500"
    raw = csv_row(two_blown_up, "ewc")
    counts = ("finished", "diverged_runs", "diverged", "compute_runs")
    assert [raw[key] for key in counts] == ["8", "2", "2", "8"]
    assert (raw["step"], raw["drift"]) == ("0.5", "0.5")


def test_the_mean_without_diverged_runs_stands_beside_that_with_them(two_blown_up):
    """Each sequence counts the same, and differences are of runs that finished for both."""
    row = row_of(two_blown_up, "ewc")
    alpha = sum((84 + 80 + seed) / 200 for seed in range(5)) / 5
    beta = sum((44 + 40 + seed) / 200 for seed in (0, 3, 4)) / 3
    with_them = (alpha + sum((44 + 40 + s) / 200 for s in (0, 3, 4)) / 5 + 2 * 0.1 / 5) / 2
    score = row.scores["avg_acc"]
    assert score.interval.mean == pytest.approx(with_them)
    assert score.finished_mean == pytest.approx((alpha + beta) / 2)
    assert score.finished_difference == pytest.approx(4 / 200)
    assert row.scores["forgetting"].finished_mean == pytest.approx((0.06 + 0.46) / 2)
    raw = csv_row(two_blown_up, "ewc")
    assert float(raw["finished_mean"]) == pytest.approx((alpha + beta) / 2)
    assert float(raw["finished_difference"]) == pytest.approx(0.02)
    assert csv_row(two_blown_up, "ewc", "alpha")["finished_mean"] == ""
    assert csv_row(two_blown_up, "sgd")["finished_mean"] == ""
    assert csv_row(two_blown_up, "sgd")["finished_difference"] == ""


def test_a_reference_that_diverged_is_left_out_of_the_others_differences(make_record, board_of):
    records = [make_record(seed=seed) for seed in range(3)]
    records += [make_record("alpha", "ewc", s, ((90, 10), (62, 80 + 3 * s))) for s in range(3)]
    records[0] = diverged(make_record(correct=CHANCE))
    score = row_of(board_of(records), "ewc").first
    assert math.isnan(score.finished_mean)
    assert score.finished_difference == pytest.approx((5 / 200 + 8 / 200) / 2)


def test_no_mean_is_left_where_all_runs_of_a_sequence_diverged(make_record, board_of):
    records = [make_record(name, seed=seed) for name in "ab" for seed in range(2)]
    for name in "ab":
        for seed in range(2):
            record = make_record(name, "ewc", seed, CHANCE)
            records.append(diverged(record) if name == "a" else record)
    board = board_of(records)
    row = row_of(board, "ewc")
    assert math.isnan(row.first.finished_mean)
    assert row.drift == 0.5
    assert [section.rows[-1].memory_bytes for section in board.sections] == [None, 0]
    assert texts(board, "ewc")["Drift"] == "0.500 (2/4)"
    assert ("a", "ewc") not in board.source.matrices


def test_mean_matrices_are_of_finished_runs(make_record, board_of):
    records = [make_record(seed=seed) for seed in range(2)]
    records += [make_record("alpha", "ewc", 0), diverged(make_record("alpha", "ewc", 1, CHANCE))]
    matrices = board_of(records).source.matrices
    assert matrices["alpha", "ewc"] == matrices["alpha", "sgd"] == ((0.9, 0.1), (0.6, 0.8))


def test_a_diverged_run_has_neither_step_nor_drift(make_record):
    record = diverged(make_record())
    cell = cell_of(record, matrix_of(record))
    assert math.isnan(cell.step)
    assert math.isnan(cell.drift)
    assert not cell.has_finished


@pytest.mark.parametrize(
    ("right", "classes", "near"),
    [(18, 10, True), (19, 10, False), (54, 2, True), (55, 2, False), (0, 2, True), (0, 1, False)],
)
def test_near_chance_is_a_tenth_of_the_way_to_perfect(make_record, right, classes, near):
    record = make_record(correct=((right, 90), (90, 90)), classes=(classes, 100))
    assert cell_of(record, matrix_of(record)).near_chance == near


def test_first_tasks_near_chance_are_counted(make_record, make_loss_record, board_of, tmp_path):
    low = ((15, 10), (60, 80))
    records = [make_record(seed=seed, correct=low if seed < 2 else CHANCE) for seed in range(3)]
    records += [make_record("alpha", "ewc", seed) for seed in range(3)]
    board = board_of(records)
    assert [csv_row(board, name)["near_chance"] for name in ("sgd", "ewc")] == ["3", "0"]
    write_record(tmp_path / "losses", make_loss_record(losses=((9.0, 9.0), (9.0, 9.0))))
    assert not collect([tmp_path / "losses"]).cells[0].near_chance


def marks(board):
    return {row.strategy: row.may_be_best for row in board.overall.rows}


def strategies(make_record, **last):
    """Return five seeds of each strategy with these right answers on the first task at the end."""
    return [
        make_record("alpha", name, seed, ((90, 10), (counts[seed], 80)))
        for name, counts in last.items()
        for seed in range(5)
    ]


def test_no_mark_where_all_ranked_strategies_would_have_it(make_record, board_of):
    records = strategies(make_record, sgd=(50, 60, 70, 40, 30), ewc=(60, 50, 30, 70, 40))
    board = board_of(records)
    assert [row.rank_set.best for row in board.overall.ranked] == [1, 1]
    assert marks(board) == {"sgd": False, "ewc": False}
    assert MAY_BE_BEST not in texts(board, "ewc")["Ranks"]
    assert csv_row(board, "ewc")["tied_best"] == "0"
    alone = board_of([record for record in records if record.strategy.name == "sgd"])
    assert marks(alone)["sgd"] is False


CLOSE = (58, 57, 59, 58, 56)
"""Below 60 with p = .009: significant by Holm among few comparisons, and not among all pairs."""


def test_no_mark_beside_significantly_worse(make_record, board_of):
    board = board_of(
        strategies(
            make_record,
            sgd=(60, 60, 60, 60, 60),
            slow=CLOSE,
            wild=(20, 95, 60, 80, 50),
            other=(95, 15, 60, 40, 90),
            low=(30, 30, 31, 29, 30),
        )
    )
    slow = row_of(board, "slow")
    assert slow.rank_set.best == 1
    assert slow.first.is_significant
    assert slow.first.difference.mean < 0.0
    found = marks(board)
    assert found == {"sgd": True, "slow": False, "wild": True, "other": True, "low": False}
    assert MAY_BE_BEST not in texts(board, "slow")["Ranks"]
    assert csv_row(board, "slow")["tied_best"] == "0"
    assert csv_row(board, "sgd")["tied_best"] == "1"


def test_no_mark_on_a_reference_that_another_is_significantly_better_than(make_record, board_of):
    board = board_of(
        strategies(
            make_record,
            sgd=CLOSE,
            fast=(60, 60, 60, 60, 60),
            wild=(20, 95, 60, 80, 50),
            other=(95, 15, 60, 40, 90),
            low=(30, 30, 31, 29, 30),
        )
    )
    assert row_of(board, "sgd").rank_set.best == 1
    assert row_of(board, "fast").first.is_significant
    assert marks(board)["sgd"] is False
    assert marks(board)["fast"] is True

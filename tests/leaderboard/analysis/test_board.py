"""The board: recomputed by a second, naive path, and every rule of the house on small cases."""

import csv
import dataclasses
import io
import math
import random
import statistics
import subprocess
import sys

import pytest
import scipy.stats
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from driftboard.leaderboard import table
from driftboard.leaderboard.analysis.board import Board, build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.analysis.section import AT_CEILING, FEW_SEEDS
from driftboard.leaderboard.analysis.statistics import RankSet
from driftboard.leaderboard.build import build_leaderboard
from driftboard.leaderboard.formatting import (
    bytes_text,
    difference_text,
    distance_text,
    estimate_text,
    graded_text,
    p_text,
)
from driftboard.leaderboard.render.csv import csv_table
from driftboard.leaderboard.render.markdown import markdown
from driftboard.leaderboard.render.terminal import terminal_table
from driftboard.leaderboard.words import distance_sentence
from driftboard.suite.cli.leaderboard import leaderboard
from driftboard.suite.cli.options import expand_groups
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade, grade_path
from driftboard.suite.distance.grades import write_record as write_grade
from driftboard.suite.errors import RecordError
from driftboard.suite.records import write_record

PROMISED = (
    *("sequence", "tier", "strategy", "role", "metric", "mean", "low", "high", "n"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "correlation"),
    *("diverged", "missing", "rank", "flags", "step", "drift"),
    *("distance", "distance_low", "distance_high", "grade"),
    *("rank_low", "rank_high", "tied_best", "letters", "diverged_low", "diverged_high"),
    *("memory_bytes", "sequences", "sequences_low", "sequences_high"),
    *("sequences_difference_low", "sequences_difference_high", "evidence"),
)
"""The columns of the CSV file: none is renamed or moved, new ones come at the end."""

METRICS = ("avg_acc", "forgetting", "task_acc")
SEQUENCES = ("alpha", "beta", "gamma")
SEEDS = range(6)


@pytest.fixture
def board_of(tmp_path):
    """Return a function that writes records and builds their board."""

    def build(records, reference="sgd", grades=None) -> Board:
        for record in records:
            write_record(tmp_path / "results", record)
        return build_board(collect([tmp_path / "results"]), reference, grades or {})

    return build


@pytest.fixture(scope="module")
def many_records(make_record):
    """Records of four ranked strategies and a bound; one ranked strategy misses two cells."""
    generator = random.Random(5)
    records = []
    for skill, strategy in enumerate(("sgd", "ewc", "hybrid", "late", "noop")):
        for sequence in SEQUENCES:
            for seed in SEEDS:
                if strategy == "late" and sequence == "beta" and seed in (1, 4):
                    continue
                luck = generator.randint(0, 20) + 4 * seed + 3 * skill
                correct = [
                    [min(100, generator.randint(0, 30) + luck) for _ in "123"] for _ in "123"
                ]
                record = make_record(sequence, strategy, seed, correct)
                role = "bound" if strategy == "noop" else "ranked"
                stamp = replace(record.strategy, role=role)
                cost = replace(record.cost, seconds=(1.0 + skill, 0.5, 0.0))
                records.append(replace(record, strategy=stamp, cost=cost))
    return records


def same_strategy(board, name):
    return next(row for row in board.overall.rows if row.strategy == name)


def diverged(record):
    return replace(record, status="diverged", diverged_at=1, diverged_by="not finite")


def as_bound(record):
    return replace(record, strategy=replace(record.strategy, role="bound"))


def texts(row):
    """Return the texts of a row by heading; no column of a table reads its section."""
    headed = table._headed(tuple(score.metric for score in row.scores.values()), "full")
    return {title: cell.text for title, cell in table._cells(row, None, headed).items()}


def csv_rows(board):
    return list(csv.DictReader(io.StringIO(csv_table(board))))


# The second path: plain Python on the counts, and scipy.stats.


def naive_metric(record, metric):
    last = len(record.correct) - 1
    accuracy = [
        [count / size for count, size in zip(row, record.test_sizes, strict=True)]
        for row in record.correct
    ]
    right_after = [accuracy[task][task] for task in range(last + 1)]
    if metric == "avg_acc":
        return statistics.fmean(accuracy[last])
    if metric == "task_acc":
        return statistics.fmean(right_after)
    return statistics.fmean(right_after[task] - accuracy[last][task] for task in range(last))


def naive_values(records, sequences, strategy, metric):
    """Return one value per seed that has every sequence."""
    values = {}
    for seed in SEEDS:
        cells = [
            naive_metric(record, metric)
            for record in records
            if record.strategy.name == strategy
            and record.seed == seed
            and record.sequence.name in sequences
        ]
        if len(cells) == len(sequences):
            values[seed] = statistics.fmean(cells)
    return values


def naive_holm(p_values):
    """Adjust by the definition: the smallest level at which the step-down test rejects."""
    adjusted = {}
    for name, p in p_values.items():
        not_larger = [other for other in p_values.values() if other <= p]
        adjusted[name] = max(
            min(1.0, q * sum(other >= q for other in p_values.values())) for q in not_larger
        )
    return adjusted


@pytest.mark.parametrize("section", ["overall", *SEQUENCES])
@pytest.mark.parametrize("metric", METRICS)
def test_board_equals_the_naive_path(many_records, board_of, section, metric):
    sequences = SEQUENCES if section == "overall" else (section,)
    rows = {
        row["strategy"]: row
        for row in csv_rows(board_of(many_records))
        if row["sequence"] == section and row["metric"] == metric
    }
    assert set(rows) == {"sgd", "ewc", "hybrid", "late", "noop"}
    values = {name: naive_values(many_records, sequences, name, metric) for name in rows}
    p_values = {}
    for name, row in rows.items():
        mine = list(values[name].values())
        test = scipy.stats.ttest_1samp(mine, 0.0).confidence_interval()
        low = max(test.low, -1.0 if metric == "forgetting" else 0.0)
        assert float(row["mean"]) == pytest.approx(statistics.fmean(mine), abs=1e-12)
        assert float(row["low"]) == pytest.approx(low, abs=1e-9)
        assert float(row["high"]) == pytest.approx(min(test.high, 1.0), abs=1e-9)
        assert int(row["n"]) == len(mine)
        if name == "sgd":
            assert row["difference"] == row["p"] == row["p_holm"] == row["correlation"] == ""
            continue
        reference = [values["sgd"][seed] for seed in values[name]]
        paired = scipy.stats.ttest_rel(mine, reference)
        bounds = paired.confidence_interval()
        difference = statistics.fmean(mine) - statistics.fmean(reference)
        assert float(row["difference"]) == pytest.approx(difference, abs=1e-12)
        assert float(row["difference_low"]) == pytest.approx(bounds.low, abs=1e-9)
        assert float(row["difference_high"]) == pytest.approx(bounds.high, abs=1e-9)
        assert float(row["p"]) == pytest.approx(paired.pvalue, rel=1e-6)
        correlation = statistics.correlation(mine, reference)
        assert float(row["correlation"]) == pytest.approx(correlation, abs=1e-9)
        p_values[name] = float(row["p"])
    complete = section in ("alpha", "gamma")
    family = [name for name in p_values if name != "noop" and (complete or name != "late")]
    expected = naive_holm({name: p_values[name] for name in family})
    adjusted = {name: float(rows[name]["p_holm"]) for name in rows if rows[name]["p_holm"]}
    assert adjusted == pytest.approx(expected)


def test_sections_and_ranks(many_records, board_of):
    board = board_of(many_records)
    assert [section.name for section in board.sections] == list(SEQUENCES)
    assert board.overall.sequences == SEQUENCES
    assert {row.strategy for row in board.overall.ranked} == {"sgd", "ewc", "hybrid"}
    assert [row.strategy for row in board.overall.bounds] == ["noop"]
    assert [row.strategy for row in board.overall.incomplete] == ["late"]
    assert [row.rank for row in board.overall.rows] == [1, 2, 3, None, None]
    means = [row.scores["avg_acc"].interval.mean for row in board.overall.ranked]
    assert means == sorted(means, reverse=True)
    alpha, beta, _ = board.sections
    assert len(alpha.ranked) == 4
    assert not alpha.incomplete
    assert (beta.incomplete[0].missing, beta.incomplete[0].expected) == (2, 6)
    assert (board.overall.incomplete[0].missing, board.overall.incomplete[0].expected) == (2, 18)


def test_overall_of_an_incomplete_strategy_uses_only_whole_seeds(many_records, board_of):
    row = same_strategy(board_of(many_records), "late")
    assert row.scores["avg_acc"].interval.n == 4
    assert row.divergence.n == 6


def test_missing_sequence_gives_no_overall_value(make_record, board_of):
    records = [make_record(sequence, seed=seed) for sequence in "ab" for seed in range(5)]
    records += [make_record("a", "ewc", seed) for seed in range(5)]
    board = board_of(records)
    row = same_strategy(board, "ewc")
    assert (row.rank, row.missing, row.expected) == (None, 5, 10)
    assert row.scores["avg_acc"].interval.n == 0
    assert texts(row)["Avg.Acc"] == "-"
    assert texts(row)["Notes"] == "n < 5, 5 of 10 cells missing"
    absent = board.sections[1].incomplete[0]
    assert (absent.strategy, absent.missing) == ("ewc", 5)
    assert absent.memory_bytes is None
    assert texts(absent)["Memory"] == "-"
    missing = [row for row in csv_rows(board) if row["sequence"] == "b" and row["missing"] == "5"]
    assert len(missing) == 3
    assert all(row["mean"] == row["p"] == row["rank"] == "" for row in missing)


def test_equal_means_share_a_rank(make_record, board_of):
    worse = ((90, 10), (40, 60))
    records = [make_record(strategy=name, seed=seed) for name in "cb" for seed in range(5)]
    records += [make_record(strategy="a", seed=seed, correct=worse) for seed in range(5)]
    rows = board_of(records, reference="a").overall.ranked
    assert [(row.strategy, row.rank) for row in rows] == [("b", 1), ("c", 1), ("a", 3)]
    assert rows[0].scores["avg_acc"].p_holm == 0.0
    score = rows[0].scores["task_acc"]
    tried = [
        dataclasses.replace(score, p_holm=p).is_significant for p in (score.p_holm, 0.049, 0.05)
    ]
    assert tried == [True, True, False]


def test_bounds_are_compared_but_not_tested(many_records, board_of):
    (row,) = board_of(many_records).overall.bounds
    score = row.scores["avg_acc"]
    assert score.difference is not None
    assert score.difference.n == 6
    assert math.isnan(score.p_holm)
    assert not score.is_significant


def test_bound_as_reference(many_records, board_of):
    board = board_of(many_records, reference="noop")
    assert same_strategy(board, "noop").scores["avg_acc"].difference is None
    assert not math.isnan(same_strategy(board, "sgd").scores["avg_acc"].p_holm)


def test_absent_reference_is_refused_and_the_others_named(make_record, board_of):
    with pytest.raises(RecordError, match=r"'sgd'.*--reference: ewc, hybrid"):
        board_of([make_record(strategy="hybrid"), make_record(strategy="ewc")])


def test_reference_absent_from_one_sequence_leaves_it_uncompared(make_record, board_of):
    records = [make_record("a", seed=seed) for seed in range(5)]
    records += [make_record(sequence, "ewc", seed) for sequence in "ab" for seed in range(5)]
    section = board_of(records).sections[1]
    difference = section.ranked[0].scores["avg_acc"].difference
    assert difference is not None
    assert difference.n == 0
    assert difference_text(section.ranked[0].first.difference, is_share=True) == "-"
    assert math.isnan(section.ranked[0].compute)


def test_one_seed_gives_a_board_without_intervals(make_record, board_of):
    board = board_of([make_record(), make_record(strategy="ewc", correct=((90, 10), (70, 80)))])
    row = same_strategy(board, "ewc")
    assert row.rank == 1
    assert row.flags == (FEW_SEEDS,)
    assert texts(row)["Avg.Acc"] == "75.0"
    assert texts(row)["Δ Avg.Acc"] == "+5.0"
    assert math.isnan(row.scores["avg_acc"].p_holm)
    assert "nan" not in markdown(board, "").lower()
    assert "nan" not in csv_table(board).lower()


@pytest.mark.parametrize(("seeds", "flags"), [(4, (FEW_SEEDS,)), (5, ())])
def test_flag_of_few_seeds(make_record, board_of, seeds, flags):
    board = board_of([make_record(seed=seed) for seed in range(seeds)])
    assert same_strategy(board, "sgd").flags == flags


NEAR = ((100, 10), (99, 99))
AT = ((100, 10), (99, 100))
FULL = ((90, 10), (100, 100))


@pytest.mark.parametrize(
    ("correct", "first", "flagged"),
    [(NEAR, NEAR, False), (AT, AT, True), (NEAR, FULL, True)],
)
def test_flag_of_the_ceiling(make_record, board_of, correct, first, flagged):
    records = [make_record(seed=seed, correct=correct) for seed in range(1, 6)]
    row = same_strategy(board_of([make_record(seed=0, correct=first), *records]), "sgd")
    assert (AT_CEILING in row.scores["avg_acc"].flags) == flagged
    assert AT_CEILING not in row.scores["forgetting"].flags
    assert ("ceiling" in texts(row)["Notes"]) == (AT_CEILING in row.flags)


def test_diverged_seeds_are_counted_with_their_values(make_record, board_of):
    chance = ((90, 10), (10, 10))
    records = [make_record(sequence, seed=seed) for sequence in "ab" for seed in range(5)]
    records[1] = diverged(make_record("a", seed=1, correct=chance))
    records[6] = diverged(make_record("b", seed=1, correct=chance))
    records[8] = diverged(make_record("b", seed=3, correct=chance))
    board = board_of(records)
    row = same_strategy(board, "sgd")
    expected = scipy.stats.binomtest(2, 5).proportion_ci(method="exact")
    assert row.diverged == 2
    assert (row.divergence.low, row.divergence.high) == pytest.approx((expected.low, expected.high))
    assert texts(row)["Diverged"] == "2/5 [5, 85]"
    assert [section.ranked[0].diverged for section in board.sections] == [1, 2]
    mean = board.sections[0].ranked[0].scores["avg_acc"].interval.mean
    assert mean == pytest.approx((4 * 0.7 + 0.1) / 5)


def test_memory_and_compute(make_record, board_of):
    records = [make_record(seed=seed, operations=(1000, 3000)) for seed in range(5)]
    for seed in range(5):
        memory = (0, 1_200_000 + seed)
        records.append(
            make_record(strategy="ewc", seed=seed, memory_bytes=memory, operations=(4000, 6000))
        )
    board = board_of(records)
    cells = texts(same_strategy(board, "ewc"))
    assert same_strategy(board, "ewc").memory_bytes == 1_200_004
    assert (cells["Memory"], cells["Compute"]) == ("1.2 MB", "2.50x")
    row = next(row for row in csv_rows(board) if row["strategy"] == "ewc")
    assert (row["compute"], row["compute_runs"]) == ("2.5", "5")
    assert texts(same_strategy(board, "sgd"))["Compute"] == "1.00x"


def test_compute_is_of_common_runs_only(make_record, board_of):
    records = [make_record("a", operations=(10, 10)), make_record("b", operations=(900, 900))]
    row = same_strategy(board_of([*records, make_record("a", "ewc", operations=(20, 20))]), "ewc")
    assert (row.compute, row.compute_runs) == (2.0, 1)
    assert texts(row)["Compute"] == "2.00x"


@pytest.mark.parametrize("uncounted", ["sgd", "ewc"])
def test_compute_is_empty_where_a_run_was_not_counted(make_record, board_of, uncounted):
    records = [
        make_record(
            strategy=name,
            seed=seed,
            operations=None if (name, seed) == (uncounted, 1) else (5, 5),
        )
        for name in ("sgd", "ewc")
        for seed in range(2)
    ]
    board = board_of(records)
    assert texts(same_strategy(board, "ewc"))["Compute"] == "-"
    assert {row["compute"] for row in csv_rows(board) if row["strategy"] == "ewc"} == {""}


def test_no_table_has_times(many_records, board_of):
    board = board_of(many_records)
    assert "Time" not in texts(board.overall.rows[0])
    assert "training time" not in markdown(board, "")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_345_678, "2.3 MB"), (4 * 10**13, "40.0 TB")],
)
def test_bytes_in_words(count, text):
    assert bytes_text(count) == text


def last_row(first, second):
    return ((90, 10), (first, second))


def test_numbers_in_words(make_record, board_of):
    records = [make_record(seed=s, correct=last_row(60 + s, 80)) for s in range(5)]
    better = [last_row(63 + s, 80 + s % 2) for s in range(5)]
    records += [make_record(strategy="ewc", seed=s, correct=better[s]) for s in range(5)]
    cells = texts(same_strategy(board_of(records), "ewc"))
    # Avg.Acc 71.5, 72.5, 72.5, 73.5, 73.5: sd 0.8367, t(0.975, 4) = 2.7764
    assert cells["Avg.Acc"] == "72.7 [71.7, 73.7]"
    # differences 1.5, 2, 1.5, 2, 1.5: sd 0.2739
    assert cells["Δ Avg.Acc"] == "+1.7 [+1.4, +2.0] *"
    assert cells["Seeds"] == "5"


def test_no_negative_zero_and_no_invisible_interval(make_record, board_of):
    records = []
    for seed in range(5):
        for strategy, last in (("sgd", 8000 + seed), ("ewc", 7999 + seed)):
            correct = ((9000, 10), (6000, last))
            records.append(make_record(strategy=strategy, seed=seed, correct=correct, size=10_000))
    cells = texts(same_strategy(board_of(records), "ewc"))
    assert cells["Δ Avg.Acc"] == "+0.0 [+0.0, +0.0] *"
    assert cells["Avg.Acc"] == "70.01 [70.00, 70.01]"


def test_step_and_drift_are_means_over_the_cells(make_record, board_of):
    records = [make_record(seed=seed) for seed in range(2)]
    for seed, last in enumerate((3.0, 9.0)):
        records.append(
            make_record(
                "beta",
                seed=seed,
                update_norms=((0.0,) * 3, (0.0, last, 1.0)),
                solution_norms=((8.0, 6.0, 1.0), (0.0, 6.0, 1.0)),
                drift_norms=((0.0,) * 3, (0.0, last, 1.0)),
            )
        )
    board = board_of(records)
    (row,) = board.overall.ranked
    assert row.step == pytest.approx((0.5 + 0.5 + 0.5 + 1.5) / 4)
    assert row.drift == pytest.approx((0.5 + 0.5 + 0.3 + 0.9) / 4)
    assert (texts(row)["Step"], texts(row)["Drift"]) == ("0.750", "0.550")
    beta = [line for line in csv_rows(board) if line["sequence"] == "beta"]
    assert {(float(line["step"]), float(line["drift"])) for line in beta} == {(1.0, 0.6)}


def test_step_of_nothing_is_shown_as_nothing(make_record, board_of):
    zero = ((0.0, 0.0, 9.0),) * 2
    board = board_of([make_record(solution_norms=zero)])
    assert texts(board.overall.ranked[0])["Step"] == "-"
    assert csv_rows(board)[0]["step"] == ""


def test_board_of_excess_losses(make_loss_record, board_of):
    sgd = [((0.5, 2.0), (x, 0.25)) for x in (0.75, 1.0, 1.25, 0.75, 1.0)]
    frozen = [((0.5, 2.0), (x, 0.125)) for x in (0.25, 0.375, 0.25, 0.5, 0.25)]
    records = [make_loss_record(seed=seed, losses=x) for seed, x in enumerate(sgd)]
    records += [make_loss_record("alpha", "frozen", s, x) for s, x in enumerate(frozen)]
    board = board_of(records)
    assert [metric.title for metric in board.metrics] == ["Avg.Loss", "Forgetting", "Task.Loss"]
    first, second = board.overall.ranked
    assert [(row.strategy, row.rank) for row in (first, second)] == [("frozen", 1), ("sgd", 2)]
    scores = first.scores
    assert scores["avg_loss"].interval.mean == pytest.approx((1.625 / 5 + 0.125) / 2)
    assert scores["task_loss"].interval.mean == pytest.approx((0.5 + 0.125) / 2)
    assert scores["forgetting"].interval.mean == pytest.approx(1.625 / 5 - 0.5)
    assert second.scores["forgetting"].interval.mean == pytest.approx(4.75 / 5 - 0.5)
    assert first.flags == ()
    # last losses .25 .375 .25 .5 .25 and .125 give means of sd .05590; t(0.975, 4) = 2.7764
    cells = texts(first)
    assert cells["Avg.Loss"] == "0.2250 [0.1556, 0.2944]"
    assert cells["Δ Avg.Loss"].startswith("-0.3750 [-0.5")
    assert cells["Δ Avg.Loss"].endswith("*")
    rows = csv_rows(board)
    assert {row["metric"] for row in rows} == {"avg_loss", "forgetting", "task_loss"}
    text = markdown(board, "")
    assert "Excess loss" in text
    assert "rank by mean Avg.Loss" in text
    for word in ("Avg.Acc", "Task.Acc", "All in percent", "points of", "ceiling", "chance"):
        assert word not in text
    assert "Δ Avg.Loss" in terminal_table(board).text(120)


def test_losses_have_no_upper_bound(make_loss_record, board_of):
    values = (100.0, 900.0, 200.0, 100.0, 5000.0)
    records = [
        make_loss_record(seed=seed, losses=((1.0, 1.0), (value, value)))
        for seed, value in enumerate(values)
    ]
    interval = board_of(records).overall.ranked[0].scores["avg_loss"].interval
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval()
    assert (interval.low, interval.high) == (0.0, pytest.approx(expected.high))


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.34377, 0.3361, 0.35144), "0.3438 [0.3361, 0.3514]"),
        ((1.37966, 0.9, 1.4), "1.380 [0.900, 1.400]"),
        ((12345.678, 12000.0, 12500.4), "12346 [12000, 12500]"),
        ((1234567.0, 1e6, 2e6), "1.23e+06 [1.00e+06, 2.00e+06]"),
        ((2.5e-9, 0.0, 5e-9), "2.50e-09 [0.00e+00, 5.00e-09]"),
        ((-1e-9, -1.0, 1.0), "0.000 [-1.000, 1.000]"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((0.25, math.nan, math.nan), "0.2500"),
        ((math.nan, math.nan, math.nan), "-"),
    ],
)
def test_plain_numbers_in_words(numbers, text):
    assert estimate_text(*numbers, is_share=False) == text


def graded(sequence, value, level, low=None, high=None, crosses=False, note=""):
    low = value - 0.01 if low is None else low
    high = value + 0.01 if high is None else high
    estimate = Estimate(value, low, high, 10)
    return Grade(sequence, digest_of(sequence), estimate, 0.8125, level, crosses, note)


def digest_of(sequence):
    return sequence.encode().hex().rjust(64, "0")


def with_own_hash(record):
    return replace(record, sequence=replace(record.sequence, hash=digest_of(record.sequence.name)))


@pytest.fixture
def stratified(many_records, board_of):
    """Return a function that builds the board of three sequences under some grades."""

    def build(*grades):
        records = [with_own_hash(record) for record in many_records]
        return board_of(records, grades={grade.sequence_hash: grade for grade in grades})

    return build


GRADES = (
    graded("gamma", 0.3125, "near"),
    graded("alpha", 0.4375, "near", 0.3, 0.55, crosses=True),
    graded("beta", 1.5, "far"),
)


def test_strata_are_averages_of_their_sequences(many_records, stratified):
    board = stratified(*GRADES)
    assert [section.name for section in board.strata] == ["grade:near", "grade:far"]
    near, far = board.strata
    assert (near.sequences, far.sequences) == (("alpha", "gamma"), ("beta",))
    for strategy in ("sgd", "late"):
        for metric in METRICS:
            values = naive_values(many_records, near.sequences, strategy, metric)
            row = next(row for row in near.rows if row.strategy == strategy)
            assert row.scores[metric].interval.mean == pytest.approx(
                statistics.fmean(values.values())
            )
    # complete on these two, so it is ranked there
    assert not near.incomplete
    beta = board.sections[1]
    assert [row.strategy for row in far.rows] == [row.strategy for row in beta.rows]
    for mine, other in zip(far.rows, beta.rows, strict=True):
        assert texts(mine) == texts(other)


def test_markdown_of_the_strata(stratified):
    text = markdown(stratified(*GRADES), "")
    headings = [line for line in text.splitlines() if line.startswith("##")]
    assert headings[:6] == [
        "## Overall, 3 sequences",
        "## Over sequences",
        "## Grade: near, 2 sequences",
        "## Grade: far, 1 sequence",
        "## Changes between grades",
        "## `alpha`",
    ]
    listed = "Distances: `gamma` 0.31 [0.30, 0.32]; `alpha` 0.44 [0.30, 0.55] †."
    assert listed in text
    assert "Distance 1.50 [1.49, 1.51] over 10 seeds, reliability 0.81, grade far." in text
    assert "`†`: the interval contains a cut-off" in text


def test_csv_of_the_strata(stratified):
    rows = csv_rows(stratified(*GRADES))
    order = list(dict.fromkeys(row["sequence"] for row in rows))
    averages = ["overall", "grade:near", "grade:far"]
    assert order == [*averages, "alpha", "beta", "gamma", "change:near:far"]
    changes = [row for row in rows if row["sequence"] == "change:near:far"]
    assert len(rows) - len(changes) == 6 * 5 * 3
    columns = ("distance", "distance_low", "distance_high", "grade")
    for row in rows:
        found = tuple(row[column] for column in columns)
        expected = {
            "alpha": ("0.4375", "0.3", "0.55", "near"),
            "beta": ("1.5", "1.49", "1.51", "far"),
            "gamma": ("0.3125", "0.3025", "0.3225", "near"),
        }
        assert found == expected.get(row["sequence"], ("", "", "", ""))


def test_ungraded_sequences_are_a_stratum_beside_graded_ones(stratified):
    refused = graded("beta", 0.2, None, note="reliability 0.21 is below 0.3: no grade")
    board = stratified(refused, graded("gamma", 0.9, "medium"))
    assert [section.name for section in board.strata] == ["grade:medium", "grade:ungraded"]
    assert board.strata[1].sequences == ("alpha", "beta")
    text = markdown(board, "")
    assert "## Ungraded, 2 sequences" in text
    assert "`alpha` not measured; `beta` (reliability 0.21 is below 0.3&#58; no grade)." in text
    assert "Distance: not measured." in text
    assert "grade ungraded (reliability 0.21" in text
    rows = [row for row in csv_rows(board) if row["sequence"] == "beta"]
    assert {(row["distance"], row["grade"]) for row in rows} == {("0.2", "")}


@pytest.mark.parametrize(("count", "words"), [(1, "over 1 seed, "), (2, "over 2 seeds, ")])
def test_seeds_of_a_distance_are_counted_in_words(count, words):
    grade = graded("beta", 0.2, "near")
    distance = dataclasses.replace(grade.distance, n=count)
    assert words in "".join(distance_sentence(dataclasses.replace(grade, distance=distance)))


def test_refused_measurement_is_told_with_its_reason(stratified):
    nothing = Estimate(math.nan, math.nan, math.nan, 0)
    refusal = Grade("beta", digest_of("beta"), nothing, math.nan, None, False, "one <task>")
    board = stratified(refusal, graded("gamma", 0.9, "medium"))
    text = markdown(board, "")
    assert "Distance: not measurable, one &#60;task&#62;." in text
    assert "nan" not in text.lower()
    assert "nan" not in csv_table(board).lower()


def test_without_any_grade_there_are_no_strata(stratified):
    board = stratified(graded("elsewhere", 0.1, "near"), graded("beta", 0.1, None, note="no"))
    assert board.strata == ()
    assert "Grade" not in markdown(board, "")


def test_distance_in_words():
    assert distance_text(Estimate(-0.001, -0.02, 0.018, 5)) == "0.00 [-0.02, 0.02]"
    assert distance_text(Estimate(0.5, math.nan, math.nan, 1)) == "0.50"
    for crosses, reliability, text in (
        (True, 0.5, "0.50 [0.40, 0.60] †"),
        (False, 0.49, "0.50 [0.40, 0.60] ‡"),
        (True, 0.3, "0.50 [0.40, 0.60] † ‡"),
    ):
        distance = Estimate(0.5, 0.4, 0.6, 5)
        grade = Grade("a", "0" * 64, distance, reliability, "medium", crosses, "")
        assert graded_text(grade) == text


def test_leaderboard_takes_the_grades_of_the_results_folders(
    make_record, make_grade_record, tmp_path
):
    for name in ("alpha", "beta"):
        record = with_own_hash(make_record(name))
        write_record(tmp_path / "results", record)
        cosines = (0.9, 0.9, 0.9) if name == "alpha" else (0.0, 0.0, 0.0)
        path = grade_path(tmp_path / "results", name)
        write_grade(path, make_grade_record(record.sequence, cosines))
    board = build_leaderboard([tmp_path / "results"], tmp_path / "out")
    assert [section.name for section in board.strata] == ["grade:near", "grade:far"]
    assert board.sections[0].grade is not None
    assert board.sections[0].grade.distance.value == pytest.approx(0.2)
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "`alpha` 0.20 [0.20, 0.20]" in text


def test_markdown_holds_every_table_and_the_legend(many_records, board_of):
    board = board_of(many_records)
    text = markdown(board, "driftboard leaderboard here --out there")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Driftboard leaderboard",
        "## Overall, 3 sequences",
        "## Over sequences",
        "## `alpha`",
        "## `beta`",
        "## `gamma`",
        "## Legend",
    ]
    for title in ("**Ranked**", "**Bounds", "**Incomplete"):
        assert title in text
    for word in ("Student t", "Holm", "Clopper-Pearson", "new seeds", "a" * 64, "torch 2.11.0"):
        assert word in text
    assert "driftboard leaderboard here --out there" in text
    assert "Validation" not in text


def test_markdown_tables_are_rectangular(many_records, board_of):
    table: list[str] = []
    for line in [*markdown(board_of(many_records), "").splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
        else:
            assert len({row.count("|") for row in table}) <= 1
            table.clear()


def test_validation_records_are_labelled(make_record, board_of):
    assert "Validation data" in markdown(board_of([make_record(split="validation")]), "")


def test_hostile_titles_stay_text(make_record, board_of):
    record = make_record("www.x.org")
    stamp = replace(record.sequence, data="<script>|[x](y)`=1")
    environment = replace(record.environment, device="=cmd|<b>")
    board = board_of([replace(record, sequence=stamp, environment=environment)])
    text = markdown(board, "x </code>\n# heading")
    assert "<script>" not in text
    assert "<b>" not in text
    assert text.count("<code>") == text.count("</code>") == 2
    assert "\n# heading" not in text
    assert "## `www.x.org`" in text


def test_csv_keeps_its_promise(many_records, board_of):
    rows = csv_rows(board_of(many_records))
    assert tuple(rows[0])[: len(PROMISED)] == PROMISED
    assert len(rows) == 4 * 5 * 3
    assert {row["role"] for row in rows} == {"ranked", "bound"}
    assert {row["tier"] for row in rows} == {"small"}
    assert all(row["rank"] in {"", "1", "2", "3", "4"} for row in rows)
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows)


def test_csv_flags(make_record, board_of):
    rows = csv_rows(board_of([make_record(correct=FULL)]))
    assert [row["flags"] for row in rows[:3]] == ["few-seeds;at-ceiling", "few-seeds", "few-seeds"]


def test_terminal_shows_the_intervals(many_records, board_of):
    board = board_of(many_records)
    lines = terminal_table(board).text(120).splitlines()
    for row in board.overall.rows:
        mean, interval = texts(row)["Avg.Acc"].split(" ", 1)
        place = next(i for i, line in enumerate(lines) if line.split()[:1] == [row.strategy])
        assert lines[place].split()[1] == mean
        assert lines[place + 1].strip().startswith(interval)
    assert any("2 of 18 cells missing" in line for line in lines)


def test_same_input_same_bytes_out(many_records, tmp_path):
    for index, record in enumerate(many_records):
        write_record(tmp_path / "all", record)
        write_record(tmp_path / f"part-{index % 2}", record)
    whole = [tmp_path / "all"]
    parts = [tmp_path / "part-1", tmp_path / "part-0"]
    for out, folders in (("one", whole), ("two", whole), ("three", parts)):
        build_leaderboard(folders, tmp_path / out, command="the same")
    for name in ("leaderboard.md", "leaderboard.csv"):
        contents = {(tmp_path / out / name).read_bytes() for out in ("one", "two", "three")}
        assert len(contents) == 1
        assert b"\r" not in contents.pop()


def test_command_writes_both_files_and_says_so(make_record, tmp_path):
    for seed in range(2):
        write_record(tmp_path / "my results", make_record(seed=seed))
    (tmp_path / "my results/records/alpha/sgd/seed-0002.json").write_text("{")
    app = typer.Typer()
    app.command()(expand_groups(leaderboard))
    out = tmp_path / "out"
    arguments = [str(tmp_path / "my results"), "--out", str(out), "--skip-broken"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0
    assert "1 broken record left out" in answer.output
    assert "seed-0002.json" in answer.output
    text = (out / "leaderboard.md").read_text()
    assert "Broken records left out: 1" in text
    assert "--reference sgd --skip-broken" in text
    assert (out / "leaderboard.csv").exists()


def test_command_leaves_errors_to_the_main_program(tmp_path):
    app = typer.Typer()
    app.command()(expand_groups(leaderboard))
    answer = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(answer.exception, RecordError)


def test_output_that_cannot_be_written_is_one_line(make_record, tmp_path):
    write_record(tmp_path / "results", make_record())
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        build_leaderboard([tmp_path / "results"], tmp_path / "file")


def test_building_a_board_imports_no_torch(make_record, tmp_path):
    write_record(tmp_path / "results", make_record())
    program = (
        "import sys; from pathlib import Path; "
        "from driftboard.leaderboard.build import build_leaderboard; "
        "heavy = {'pandas', 'scipy', 'numpy', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "build_leaderboard([Path('results')], Path('out')); "
        "assert 'numpy' in sys.modules; "
        "slow = {'torch', 'pandas', 'continuum', 'sklearn', 'scipy.stats', 'matplotlib'}; "
        "slow &= set(sys.modules); "
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def naive_advantages(records, sequences, strategy, metric):
    """Return the difference from sgd by seed, each seed averaged over the sequences first."""
    own = naive_values(records, sequences, strategy, metric)
    reference = naive_values(records, sequences, "sgd", metric)
    return {seed: own[seed] - reference[seed] for seed in own}


@pytest.mark.parametrize("metric", METRICS)
def test_changes_between_grades_equal_the_naive_path(stratified, many_records, metric):
    rows = {
        row["strategy"]: row
        for row in csv_rows(stratified(*GRADES))
        if row["sequence"] == "change:near:far" and row["metric"] == metric
    }
    # late misses cells of beta, the far one
    assert set(rows) == {"ewc", "hybrid"}
    p_values = {}
    for name, row in rows.items():
        near = naive_advantages(many_records, ("alpha", "gamma"), name, metric)
        far = naive_advantages(many_records, ("beta",), name, metric)
        test = scipy.stats.ttest_rel(list(far.values()), list(near.values()))
        bounds = test.confidence_interval()
        assert float(row["difference"]) == pytest.approx(
            statistics.fmean(far.values()) - statistics.fmean(near.values()), abs=1e-12
        )
        assert float(row["difference_low"]) == pytest.approx(bounds.low, abs=1e-9)
        assert float(row["difference_high"]) == pytest.approx(bounds.high, abs=1e-9)
        assert float(row["p"]) == pytest.approx(test.pvalue, rel=1e-6)
        assert int(row["n"]) == len(SEEDS)
        assert row["mean"] == row["rank"] == ""
        p_values[name] = test.pvalue
    adjusted = {name: float(row["p_holm"]) for name, row in rows.items()}
    assert adjusted == pytest.approx(naive_holm(p_values))


def test_changes_in_markdown(stratified):
    board = stratified(graded("alpha", 0.1, "near"), graded("beta", 0.9, "medium"))
    assert "| far - near" not in markdown(board, "")
    text = markdown(stratified(*GRADES), "")
    table = text[text.index("## Changes between grades") : text.index("## `alpha`")]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == ["ewc", "hybrid"]
    (ewc,) = (
        contrast.change
        for contrast in stratified(*GRADES).contrasts
        if contrast.strategy == "ewc" and contrast.metric.name == "avg_acc"
    )
    assert f"{100 * ewc.mean:+.1f} [{100 * ewc.low:+.1f}, {100 * ewc.high:+.1f}]" in lines[0]


def test_no_changes_with_one_grade_only(stratified):
    board = stratified(*(graded(name, 0.1, "near") for name in SEQUENCES))
    assert board.contrasts == ()
    assert "Changes between grades" not in markdown(board, "")


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_over_sequences_equal_the_naive_path(many_records, board_of, metric):
    rows = [row for row in csv_rows(board_of(many_records)) if row["metric"] == metric]
    overall = {row["strategy"]: row for row in rows if row["sequence"] == "overall"}

    def per_sequence(strategy):
        seeds = naive_values(many_records, SEQUENCES, strategy, metric).keys()
        return [
            statistics.fmean(
                naive_values(many_records, (name,), strategy, metric)[s] for s in seeds
            )
            for name in SEQUENCES
        ]

    for strategy, row in overall.items():
        own = per_sequence(strategy)
        bounds = scipy.stats.ttest_1samp(own, 0.0).confidence_interval()
        low = max(bounds.low, -1.0 if metric == "forgetting" else 0.0)
        assert float(row["sequences_low"]) == pytest.approx(low, abs=1e-9)
        assert float(row["sequences_high"]) == pytest.approx(min(bounds.high, 1.0), abs=1e-9)
        assert row["sequences"] == "3"
        assert float(row["mean"]) == pytest.approx(statistics.fmean(own))
        if strategy == "sgd":
            assert row["sequences_difference_low"] == ""
            continue
        paired = scipy.stats.ttest_rel(own, per_sequence("sgd")).confidence_interval()
        assert float(row["sequences_difference_low"]) == pytest.approx(paired.low, abs=1e-9)
        assert float(row["sequences_difference_high"]) == pytest.approx(paired.high, abs=1e-9)
    single = [row for row in rows if row["sequence"] == "alpha"]
    assert {(row["sequences"], row["sequences_low"]) for row in single} == {("1", "")}


def test_several_tiers_have_a_table_each(make_record, board_of):
    records = [
        replace(record, sequence=replace(record.sequence, tier=tier))
        for name, tier in (("alpha", "small"), ("beta", "large"), ("gamma", "small"))
        for seed in range(3)
        for record in [make_record(name, seed=seed, correct=((50, 0), (seed + len(name), 50)))]
    ]
    board = board_of(records)
    assert [(s.name, s.sequences) for s in board.suites] == [
        ("suite:large", ("beta",)),
        ("suite:small", ("alpha", "gamma")),
    ]
    small = [row for row in csv_rows(board) if row["sequence"] == "suite:small"]
    mean = statistics.fmean((seed + 5 + 50) / 200 for seed in range(3))
    assert float(small[0]["mean"]) == pytest.approx(mean)
    assert "## Suite: small, 2 sequences" in markdown(board, "")
    assert board.overall.tier == "large small"


def test_rank_sets_and_letters_on_the_board(make_record, board_of):
    counts = {
        "sgd": (40, 42, 41, 40, 42, 41),
        "near-sgd": (41, 40, 43, 42, 40, 41),
        "better": (70, 71, 70, 72, 70, 71),
    }
    records = [
        make_record("alpha", name, seed, ((50, 0), (count, 50)))
        for name, of in counts.items()
        for seed, count in enumerate(of)
    ]
    board = board_of(records)
    sets = {row.strategy: row.rank_set for row in board.overall.ranked}
    assert sets == {"better": RankSet(1, 1), "sgd": RankSet(2, 3), "near-sgd": RankSet(2, 3)}
    cells = {row.strategy: texts(row)["Ranks"] for row in board.overall.rows}
    assert cells == {"better": "1 ★", "sgd": "2-3", "near-sgd": "2-3"}
    rows = {row["strategy"]: row for row in csv_rows(board) if row["metric"] == "task_acc"}
    columns = ("rank_low", "rank_high", "tied_best", "letters")
    assert [rows["better"][column] for column in columns] == ["1", "1", "1", "a"]
    assert [rows["sgd"][column] for column in columns] == ["2", "3", "0", "b"]


def test_p_values_in_words():
    assert [p_text(p) for p in (0.0004, 0.0123, 0.9996, math.nan)] == ["<.001", ".012", "1", "-"]

"""What passes of a new task's gradient against the distance, by value, of records made by hand."""

import csv
import io
import math
import statistics

import numpy as np
import pytest
import scipy.stats
from msgspec import UNSET
from msgspec.structs import replace

from driftboard.leaderboard.analysis.cells import passed
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.claim.passed import passed_of
from driftboard.leaderboard.render.figures.drawing import images
from driftboard.leaderboard.render.figures.passed import drawn_strategies, passed_figure
from driftboard.leaderboard.render.passed_page import (
    COLUMNS,
    passed_csv,
    passed_lines,
    passed_section,
)
from driftboard.suite.cli.leaderboard import build_claim
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade, grade_path
from driftboard.suite.distance.grades import write_record as write_grade
from driftboard.suite.records import write_record

SEEDS = (0, 1, 2)
DISTANCES = {"alpha": 0.0, "bravo": 0.5, "charlie": 1.0, "delta": 1.5, "echo": 2.0}
PASSES = {"alpha": 0.125, "bravo": 0.25, "charlie": 0.5, "delta": 0.375, "echo": 0.75}
WORDS = "What passes of a new task's gradient"


def digest_of(sequence):
    return sequence.encode().hex().rjust(64, "0")


def graded(sequence, distance, level="near"):
    estimate = Estimate(distance, distance - 0.125, distance + 0.125, 10)
    return Grade(sequence, digest_of(sequence), estimate, 0.8, level, False, "")


GRADES = {digest_of(name): graded(name, value) for name, value in DISTANCES.items()}


@pytest.fixture(scope="session")
def one(make_record):
    """Return a function that makes a record of three tasks, of which a part passes on average."""

    def make(sequence, seed, part, strategy="hybrid", **changes):
        first, second = (1.0, 1.0, 1.0), (part, part - 0.0625, part + 0.125)
        third = (part, part - 0.0625, part)
        record = make_record(
            sequence, strategy, seed, ((90, 9, 9),) * 3, passed=(first, second, third), **changes
        )
        return replace(record, sequence=replace(record.sequence, hash=digest_of(sequence)))

    return make


@pytest.fixture(scope="session")
def known(one):
    return [
        one(name, seed, part + 0.03125 * (seed - 1))
        for name, part in PASSES.items()
        for seed in SEEDS
    ]


@pytest.fixture
def passed_by(tmp_path):
    """Return a function that writes records and makes of them what passes."""

    def make(records, grades=GRADES):
        for record in records:
            write_record(tmp_path / "results", record)
        return passed_of(collect([tmp_path / "results"]), grades)

    return make


def row_of(sequence, found):
    """Return the cells of the only row of the page that is about a sequence."""
    lines = "\n".join(passed_section(found, "x.svg")).splitlines()
    (row,) = (line for line in lines if f"`{sequence}`" in line)
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_mean_is_over_later_tasks_and_blocks_of_equal_weight(make_record):
    rows = ((9.0, 9.0, 9.0), (0.5, 0.25, 0.75), (0.0, -0.125, 1.0))
    record = make_record(correct=((1, 1, 1),) * 3, passed=rows)
    assert passed(record) == pytest.approx(2.375 / 6)
    assert passed(make_record()) is None
    lost = {"status": "diverged", "diverged_at": 2, "diverged_by": "blow-up"}
    assert math.isnan(passed(replace(record, **lost)))


def test_excess_losses_tell_nothing_of_it(make_loss_record):
    assert passed(make_loss_record()) is None


def test_a_sequences_mean_and_interval_are_over_its_seeds(known, passed_by):
    (found,) = passed_by(known)
    assert (found.strategy, found.group) == ("hybrid", "full")
    assert [point.sequence for point in found.points] == list(DISTANCES)
    assert [point.distance for point in found.points] == list(DISTANCES.values())
    for point in found.points:
        expected = [PASSES[point.sequence] + 0.03125 * (seed - 1) for seed in SEEDS]
        assert list(point.by_seed.values()) == pytest.approx(expected)
        bounds = scipy.stats.ttest_1samp(expected, 0.0).confidence_interval()
        assert point.interval.mean == pytest.approx(PASSES[point.sequence])
        assert (point.interval.low, point.interval.high) == pytest.approx(tuple(bounds))
        assert (point.interval.n, point.diverged) == (3, 0)


def test_rank_correlation_with_the_distance_has_both_intervals(one, passed_by):
    by_seed = {
        "alpha": (1, 2, 3),
        "bravo": (2, 1, 4),
        "charlie": (6, 5, 4),
        "delta": (5, 7, 2),
        "echo": (9, 8, 5),
    }
    records = [
        one(name, seed, values[seed] / 16) for name, values in by_seed.items() for seed in SEEDS
    ]
    (found,) = passed_by(records)
    over_sequences, over_seeds = found.spearman
    assert (found.sequences, found.seeds) == (5, 3)

    def correlation(seeds):
        means = [statistics.fmean(values[seed] for seed in seeds) for values in by_seed.values()]
        return scipy.stats.spearmanr(list(DISTANCES.values()), means).statistic

    value = correlation(SEEDS)
    assert over_sequences.value == over_seeds.value == pytest.approx(value)
    assert 0.0 < value < 1.0
    half = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + value**2 / 2) / 2)
    expected = np.tanh([math.atanh(value) - half, math.atanh(value) + half])
    assert (over_sequences.low, over_sequences.high) == pytest.approx(tuple(expected))
    without = [correlation([seed for seed in SEEDS if seed != left]) for left in SEEDS]
    half = scipy.stats.t.ppf(0.975, 2) * math.sqrt(2 * statistics.pvariance(without))
    assert half > 0.0
    assert over_seeds.low == pytest.approx(max(-1.0, value - half))
    assert over_seeds.high == pytest.approx(min(1.0, value + half))


@pytest.fixture
def with_lost(known, passed_by):
    """What passes where seed 2 diverged on bravo, and all seeds on charlie."""

    def lost(record):
        if (record.sequence.name, record.seed) != (
            "bravo",
            2,
        ) and record.sequence.name != "charlie":
            return record
        rows = (record.passed[0], record.passed[1], (0.0, 0.0, 0.0))
        said = {"status": "diverged", "diverged_at": 2, "diverged_by": "blow-up"}
        return replace(record, passed=rows, **said)

    return passed_by([lost(record) for record in known])


def test_diverged_seeds_are_left_out_and_counted(with_lost):
    (found,) = with_lost
    bravo, charlie = found.points[1:3]
    assert list(bravo.by_seed) == [0, 1]
    assert bravo.interval.mean == pytest.approx(0.25 - 0.03125 / 2)
    assert (bravo.interval.n, bravo.diverged) == (2, 1)
    assert (charlie.interval.n, charlie.diverged) == (0, 3)
    assert math.isnan(charlie.interval.mean)
    assert (found.sequences, found.seeds) == (4, 2)
    assert found.spearman.sequences.value == 1.0  # charlie was the only one out of order
    assert row_of("bravo", with_lost)[-1] == "2, 1 diverged"
    assert row_of("charlie", with_lost)[-2:] == ["-", "0, 3 diverged"]
    assert images(passed_figure(with_lost))["svg"]


def test_sequences_with_few_samples_are_apart(one, known, passed_by):
    names = ("fashion-fewshot-1", "fashion-fewshot-2", "fashion-fewshot-3")
    more = {digest_of(name): graded(name, place / 2) for place, name in enumerate(names)}
    fewer = [one(name, 0, 0.5 - place / 8) for place, name in enumerate(names)]
    full, few = passed_by([*known, *fewer], GRADES | more)
    assert (full.group, len(full.points), full.sequences) == ("full", 5, 5)
    assert (few.group, few.sequences, few.spearman.sequences.value) == ("few-shot", 3, -1.0)
    assert len(passed_figure((full, few)).axes) == 2
    assert len(passed_figure((full,)).axes) == 1


def test_a_sequence_without_a_usable_distance_is_shown_and_not_ranked(known, passed_by):
    grades = GRADES | {digest_of("echo"): graded("echo", 0.1, level=None)}
    (found,) = passed_by(known, grades)
    assert (found.points[-1].sequence, found.points[-1].grade, found.sequences) == ("echo", None, 4)
    assert row_of("echo", (found,))[2:5] == ["`echo`", "-", "-"]


def test_too_few_sequences_give_no_correlation(known, passed_by):
    (found,) = passed_by([one for one in known if one.sequence.name in ("alpha", "echo")])
    assert found.spearman is None
    reason = "2 graded of the 3 sequences that a fit needs"
    assert found.no_trend == reason
    assert reason in "\n".join(passed_section((found,), "x.svg"))
    assert passed_lines((found,)) == [f"{WORDS}, hybrid, full data: cannot be said, {reason}."]
    assert "spearman" not in passed_csv((found,))


def test_records_that_do_not_tell_are_not_counted(known, one, passed_by):
    plain = [one(name, seed, 0.5, strategy="sgd") for name in DISTANCES for seed in SEEDS]
    older = one("alpha", 7, 0.5)
    silent = [replace(record, passed=UNSET) for record in (*plain, older)]
    (found,) = passed_by([*known, *silent])
    assert found.strategy == "hybrid"
    assert (found.points[0].interval.n, found.points[0].diverged) == (3, 0)


def test_what_never_varies_has_no_rank(one, passed_by):
    (found,) = passed_by([one(name, seed, 0.5) for name in DISTANCES for seed in SEEDS])
    assert math.isnan(found.spearman.sequences.value)
    (line,) = passed_lines((found,))
    assert line.endswith("Spearman's correlation with the distance - (5 sequences, 3 seeds).")
    assert "nan" not in passed_csv((found,)) + "".join(passed_section((found,), "x.svg"))


def test_the_page_says_percent_beside_distance_and_grade(known, passed_by):
    found = passed_by(known)
    page = "\n\n".join(passed_section(found, "passed.svg"))
    assert page.startswith(f"## {WORDS}\n")
    assert "![Part of the gradient that passes against distance](passed.svg)" in page
    cells = row_of("charlie", found)
    assert cells[:5] == ["`hybrid`", "full data", "`charlie`", "1.00 [0.88, 1.12]", "near"]
    assert cells[5:] == ["50.0 [42.2, 57.8]", "3"]
    assert "+0.90 [" in page
    assert passed_lines(found)[0].startswith(
        f"{WORDS}, hybrid, full data: Spearman's correlation with the distance +0.90 ["
    )


def test_csv_has_raw_numbers(known, passed_by):
    rows = list(csv.DictReader(io.StringIO(passed_csv(passed_by(known)))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["what"] for row in rows] == ["passed"] * 5 + ["spearman"]
    charlie, last = rows[2], rows[-1]
    names = ("strategy", "data", "sequence", "distance", "distance_low", "grade", "reliability")
    assert [charlie[name] for name in names] == [
        *("hybrid", "full", "charlie", "1.0", "0.875", "near", "0.8")
    ]
    assert float(charlie["value"]) == pytest.approx(0.5)
    assert (charlie["n"], charlie["diverged"], charlie["seeds"]) == ("3", "0", "")
    assert float(last["value"]) == pytest.approx(0.9)
    assert (last["n"], last["seeds"], last["sequence"]) == ("5", "3", "")
    assert float(last["seeds_low"]) <= 0.9 <= float(last["seeds_high"])


def test_the_figure_has_at_most_four_series_and_the_page_says_so(known, one, passed_by):
    names = ("gpm", "ewc", "soft-inputs", "zulu")
    more = [
        one(name, seed, 0.5, strategy) for strategy in names for name in DISTANCES for seed in SEEDS
    ]
    found = passed_by([*known, *more])
    assert drawn_strategies(found) == ("ewc", "gpm", "hybrid", "soft-inputs")
    figure = passed_figure(found)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(drawn_strategies(found))
    page = "\n".join(passed_section(found, "x.svg"))
    assert "the first 4 strategies by name, not `zulu`" in page
    assert "by name" not in "\n".join(passed_section(found[:4], "x.svg"))


def test_the_figure_shows_percent_against_distance(known, passed_by):
    (panel,) = passed_figure(passed_by(known)).axes
    (series,) = panel.containers
    points, _, (across, up) = series.lines
    assert list(points.get_xdata()) == list(DISTANCES.values())
    assert list(points.get_ydata()) == pytest.approx([100 * part for part in PASSES.values()])
    (low, high) = up.get_segments()[2][:, 1]
    half = scipy.stats.t.ppf(0.975, 2) * 3.125 / math.sqrt(3)
    assert (low, high) == pytest.approx((50 - half, 50 + half))
    assert across.get_segments()[2][:, 0] == pytest.approx((0.875, 1.125))


@pytest.fixture
def folder(one, known, make_grade_record, tmp_path):
    """Return a function that writes a results folder with or without what passes."""

    def write(name, tells):
        results = tmp_path / name
        for record in known:
            pair = [
                one(record.sequence.name, record.seed, 0.5, s) for s in ("frozen", "initialized")
            ]
            plain = replace(record, passed=UNSET)
            others = [replace(other, passed=UNSET) for other in pair]
            for written in (*others, record if tells else plain):
                write_record(results, written)
        for sequence, distance in DISTANCES.items():
            stamp = next(r.sequence for r in known if r.sequence.name == sequence)
            cosines = [1 - distance / 2 + shift for shift in (-0.01, 0.0, 0.01)]
            write_grade(grade_path(results, sequence), make_grade_record(stamp, cosines))
        return results

    return write


def test_the_claim_writes_files_of_it_and_else_stays_as_it_was(folder, tmp_path, call):
    with_it, without = folder("with", tells=True), folder("without", tells=False)
    build_claim([with_it], tmp_path / "there", command="x")
    build_claim([with_it], tmp_path / "again", command="x")
    build_claim([without], tmp_path / "here", command="x")
    names = ("claim.csv", "claim.md", "claim.png", "claim.svg")
    more = ("passed.csv", "passed.png", "passed.svg")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [*names, *more]
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == list(names)
    for name in (*names, *more):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    for name in ("claim.csv", "claim.png", "claim.svg"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    page, plain = ((tmp_path / at / "claim.md").read_text() for at in ("there", "here"))
    start, end = page.index(f"## {WORDS}"), page.index("## Legend")
    assert page[:start] + page[end:] == plain
    code, out, _ = call("claim", with_it, "--out", tmp_path / "said")
    assert code == 0
    assert f"{WORDS}, hybrid, full data: Spearman's correlation with the distance +0.90 [" in out
    assert "passed.csv, passed.svg and passed.png" in out
    assert WORDS not in call("claim", without, "--out", tmp_path / "said")[1]

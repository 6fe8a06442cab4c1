"""The claim: trends that are known beforehand, every rule of the verdict, and equal bytes."""

import csv
import dataclasses
import io
import math
import os
import statistics
import subprocess
import sys

import pytest
import scipy.stats
import typer
from msgspec.structs import replace
from typer.testing import CliRunner

from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.claim.trend import CONTRASTS, HYBRID, PAPER, group_of, make_claim
from driftboard.leaderboard.render.claim_page import (
    COLUMNS,
    answer,
    claim_csv,
    claim_page,
    left_out,
)
from driftboard.leaderboard.render.figures.curves import claim_figure
from driftboard.leaderboard.render.figures.drawing import images
from driftboard.suite.cli.leaderboard import build_claim, claim
from driftboard.suite.cli.main import main
from driftboard.suite.cli.options import expand_groups
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade, grade_path
from driftboard.suite.distance.grades import write_record as write_grade
from driftboard.suite.errors import RecordError
from driftboard.suite.records import write_record
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import FewShot

SEEDS = range(5)
SIZE = 10_000
DISTANCES = {"echo": 2.0, "delta": 1.5, "charlie": 1.0, "bravo": 0.5, "alpha": 0.0}


def digest_of(sequence):
    return sequence.encode().hex().rjust(64, "0")


def graded(sequence, distance, level="near", note=""):
    estimate = Estimate(distance, distance - 0.125, distance + 0.25, 10)
    return Grade(sequence, digest_of(sequence), estimate, 0.8, level, False, note)


GRADES = {digest_of(name): graded(name, value) for name, value in DISTANCES.items()}


@pytest.fixture
def claim_of(tmp_path):
    """Return a function that writes records and makes their claim."""

    def make(records, grades=GRADES):
        for record in records:
            write_record(tmp_path / "results", record)
        return make_claim(collect([tmp_path / "results"]), grades)

    return make


@pytest.fixture(scope="session")
def one(make_record):
    """Return a function that makes a record of two tasks, by correct answers at the end."""

    def make(sequence, strategy, seed, first, second):
        record = make_record(sequence, strategy, seed, ((9000, 10), (first, second)), SIZE)
        stamp = replace(record.sequence, hash=digest_of(sequence))
        return replace(record, sequence=stamp)

    return make


def lead(distance, seed):
    """How many more answers frozen gets right on the second task: the mean is zero at 0.75."""
    return round(300 + 10 * (seed - 2) + (20 * (seed - 2) - 400) * distance)


def kept(seed):
    """How many more answers frozen gets right on the first task at the end, at any distance."""
    return 100 + 10 * (seed - 2)


@pytest.fixture(scope="session")
def known(one):
    """Records in which frozen's advantage in Task.Acc falls by 2 points per unit of distance."""
    return [
        one(name, *cell)
        for name, distance in DISTANCES.items()
        for seed in SEEDS
        for cell in (
            ("initialized", seed, 6000, 8000),
            ("frozen", seed, 6000 + kept(seed), 8000 + lead(distance, seed)),
        )
    ]


def finding(found, metric, contrast=PAPER, group="full"):
    return next(f for f in found.of(contrast, group) if f.metric.name == metric)


def t_interval(values):
    interval = scipy.stats.ttest_1samp(values, 0.0).confidence_interval()
    return pytest.approx((interval.low, interval.high))


def bounds(interval):
    return interval.low, interval.high


def test_points_are_paired_differences_against_the_distance(known, claim_of):
    points = finding(claim_of(known), "task_acc").points
    assert [point.sequence for point in points] == ["alpha", "bravo", "charlie", "delta", "echo"]
    assert [point.distance for point in points] == [0.0, 0.5, 1.0, 1.5, 2.0]
    for point in points:
        expected = [lead(point.distance, seed) / SIZE / 2 for seed in SEEDS]
        assert list(point.by_seed.values()) == pytest.approx(expected)
        assert point.difference.mean == pytest.approx(statistics.fmean(expected))
        assert bounds(point.difference) == t_interval(expected)
        assert (point.difference.n, point.other) == (5, "initialized")


@pytest.fixture
def with_lost(known, claim_of):
    """The claim where frozen diverged with seed 3 on bravo, and another one of its runs there."""

    def lost(record):
        hit = (record.sequence.name, record.strategy.name) == ("bravo", "frozen")
        if not hit or record.seed not in (1, 3):
            return record
        chance = ((9000, 10), (1000, 1000))
        said = {"status": "diverged", "diverged_at": 1, "diverged_by": "blow-up"}
        return replace(record, correct=chance, **said)

    return claim_of([lost(record) for record in known])


def test_differences_without_diverged_runs_stand_beside_those_with_them(with_lost):
    point = finding(with_lost, "task_acc").points[1]
    assert (point.sequence, point.difference.n, point.diverged, point.finished.n) == (
        "bravo",
        5,
        2,
        3,
    )
    kept_leads = [lead(0.5, seed) / SIZE / 2 for seed in (0, 2, 4)]
    assert point.finished.mean == pytest.approx(statistics.fmean(kept_leads))
    assert point.difference.mean < 0.0 < point.finished.mean
    page = claim_page(with_lost, "x", "y")
    note = (
        "Diverged runs, which count with the accuracy of chance in differences and fits: `frozen` "
        "2 of 25; differences after `finished` are without them."
    )
    assert note in page
    assert note in left_out(with_lost)
    row = next(line for line in page.splitlines() if line.startswith("| full data | `bravo`"))
    assert f"; finished {100 * point.finished.mean:+.1f} [" in row
    assert "5, 2 diverged" in row
    rows = list(csv.DictReader(io.StringIO(claim_csv(with_lost))))
    chosen = [r for r in rows if (r["what"], r["metric"]) == ("difference", "task_acc")]
    chosen = {r["sequence"]: r for r in chosen if r["contrast"] == PAPER.title}
    assert (chosen["bravo"]["diverged"], chosen["alpha"]["diverged"]) == ("2", "0")
    assert float(chosen["bravo"]["finished"]) == pytest.approx(point.finished.mean)
    assert chosen["alpha"]["finished"] == ""


def test_without_a_diverged_run_nothing_is_said_of_any(known, claim_of):
    assert "iverged" not in claim_page(claim_of(known), "x", "y")


def test_distances_of_low_reliability_are_marked(known, claim_of):
    bad = dataclasses.replace(graded("bravo", 0.5), reliability=0.43)
    found = claim_of(known, GRADES | {digest_of("bravo"): bad})
    assert "Distances of low reliability: bravo (0.43)." in left_out(found)
    assert "| `bravo` " in (page := claim_page(found, "x", "y"))
    assert "0.50 [0.38, 0.75] ‡" in page
    rows = csv.DictReader(io.StringIO(claim_csv(found)))
    assert {r["reliability"] for r in rows if r["sequence"] == "bravo"} == {"0.43"}


def test_known_slope_and_crossover_are_found(known, claim_of):
    found = finding(claim_of(known), "task_acc")
    trend = found.trend
    assert (trend.sequences, trend.seeds, trend.nearest, trend.farthest) == (5, 5, 0.0, 2.0)
    slopes = [(20 * (seed - 2) - 400) / SIZE / 2 for seed in SEEDS]
    starts = [(300 + 10 * (seed - 2)) / SIZE / 2 for seed in SEEDS]
    assert trend.slope.seeds.value == pytest.approx(-0.02)
    assert bounds(trend.slope.seeds) == t_interval(slopes)
    assert trend.intercept.seeds.value == pytest.approx(0.015)
    assert bounds(trend.intercept.seeds) == t_interval(starts)
    assert bounds(trend.at_nearest.seeds) == t_interval(starts)  # alpha is at distance zero
    for fitted, value in ((trend.slope, -0.02), (trend.at_nearest, 0.015)):
        assert fitted.sequences.value == pytest.approx(value)  # they lie on one line
        assert bounds(fitted.sequences) == pytest.approx((value, value))
    for one in trend.spearman:
        assert (one.value, *bounds(one)) == (-1.0, -1.0, -1.0)
    assert bounds(trend.crossover.sequences) == pytest.approx((0.75, 0.75))
    without = [
        -statistics.fmean(starts[:s] + starts[s + 1 :])
        / statistics.fmean(slopes[:s] + slopes[s + 1 :])
        for s in SEEDS
    ]
    error = math.sqrt(4 * statistics.pvariance(without))
    half = scipy.stats.t.ppf(0.975, 4) * error
    assert trend.crossover.seeds.value == pytest.approx(0.75)
    assert bounds(trend.crossover.seeds) == pytest.approx((0.75 - half, 0.75 + half))
    assert (found.change, found.ahead, found.holds) == ("falls", "first", True)


def test_at_the_smallest_distance_the_line_is_asked_not_its_start(known, claim_of):
    grades = {digest_of(name): graded(name, value + 0.25) for name, value in DISTANCES.items()}
    trend = finding(claim_of(known, grades), "task_acc").trend
    assert trend.at_nearest.sequences.value == pytest.approx(0.015)
    assert trend.intercept.sequences.value == pytest.approx(0.015 + 0.02 * 0.25)
    assert trend.crossover.sequences.value == pytest.approx(1.0)


def test_equal_differences_are_no_trend(known, claim_of):
    found = finding(claim_of(known), "forgetting")
    assert found.trend.slope.sequences.value == pytest.approx(0.0, abs=1e-12)
    assert all(math.isnan(one.value) for one in found.trend.spearman)
    assert found.trend.crossover is None
    # frozen forgets less, and less is better
    assert found.trend.at_nearest.sequences.value == pytest.approx(-0.01)
    assert (found.change, found.ahead, found.holds) == ("unclear", "first", False)


def test_the_answer_is_made_from_the_numbers(known, claim_of):
    (text,) = answer(claim_of(known))
    assert text.startswith(
        "**Full data** (5 sequences at distances 0.00 to 2.00, 5 seeds; differences in points of "
        "percent; the first interval is over 5 families of sequences and decides, the second over "
        "seeds). "
        "Avg.Acc: the claim **holds**"
    )
    assert (
        "Forgetting: the claim **does not hold**; the advantage of frozen has no clear trend with "
        "the distance (slope +0.0 [+0.0, +0.0], seeds [+0.0, +0.0], Spearman -), and frozen is "
        "ahead at the smallest distance (-1.0 [-1.0, -1.0], seeds [-1.2, -0.8])." in text
    )
    assert "Task.Acc: the claim **holds**; the advantage of frozen falls as" in text
    assert "Spearman -1.00 [-1.00, -1.00], seeds [-1.00, -1.00]), and frozen is ahead" in text
    assert "the fitted line crosses zero at 0.75 [0.75, 0.75], seeds [0.63, 0.87]." in text


def shifted(one, by):
    """Return records like the known ones, but frozen has ``by`` answers more everywhere."""
    return [
        one(name, *cell)
        for name, distance in DISTANCES.items()
        for seed in SEEDS
        for cell in (
            ("initialized", seed, 6000, 8000),
            ("frozen", seed, 6000, 8000 + lead(distance, seed) + by),
        )
    ]


@pytest.mark.parametrize(
    ("by", "ahead", "holds", "words"),
    [
        (1000, "first", True, "frozen is ahead"),
        (-300, "neither", False, "neither is clearly ahead"),
        (-1000, "other", False, "initialized is ahead"),
    ],
)
def test_claim_needs_frozen_ahead_where_it_is_near(one, claim_of, by, ahead, holds, words):
    found = claim_of(shifted(one, by))
    task = finding(found, "task_acc")
    assert (task.change, task.ahead, task.holds) == ("falls", ahead, holds)
    assert words in answer(found)[0].partition("Task.Acc")[2]
    # the line has no zero between 0 and 2, or it is at the very end
    assert task.trend.crossover is None or by == -300


def test_advantage_that_rises_does_not_hold(one, claim_of):
    records = [
        one(name, *cell)
        for name, distance in DISTANCES.items()
        for seed in SEEDS
        for cell in (
            ("initialized", seed, 6000, 8000 + lead(distance, seed)),
            ("frozen", seed, 6000, 8600),
        )
    ]
    found = claim_of(records)
    assert finding(found, "task_acc").change == "rises"
    assert finding(found, "task_acc").ahead == "first"
    assert finding(found, "task_acc").holds is False
    assert "the advantage of frozen rises with the distance" in answer(found)[0]


def test_sequences_decide_where_seeds_are_sure(one, claim_of):
    """Every seed tells the same slope, but the sequences lie far from any line."""
    leads = {"alpha": 100, "bravo": -300, "charlie": 400, "delta": -500, "echo": -400}
    records = []
    for name, amount in leads.items():
        for seed in SEEDS:
            records.append(one(name, "initialized", seed, 6000, 8000))
            records.append(one(name, "frozen", seed, 6000, 8000 + amount + seed))
    found = finding(claim_of(records), "task_acc")
    assert found.trend.slope.seeds.high < 0.0
    assert found.trend.slope.sequences.low < 0.0 < found.trend.slope.sequences.high
    assert found.trend.crossover is None
    assert (found.change, found.holds) == ("unclear", False)


def test_rank_correlation_must_agree_with_the_slope(one, claim_of):
    leads = {"alpha": 300, "bravo": 100, "charlie": 105, "delta": -300, "echo": -500}
    records = []
    for name, amount in leads.items():
        for seed in SEEDS:
            records.append(one(name, "initialized", seed, 6000, 8000))
            records.append(one(name, "frozen", seed, 6000, 8000 + amount + seed))
    found = finding(claim_of(records), "task_acc")
    assert found.trend.slope.sequences.high < 0.0
    assert found.trend.spearman.sequences.value == pytest.approx(-0.9)
    assert found.trend.spearman.sequences.high > 0.0
    assert (found.change, found.holds) == ("unclear", False)


def test_spearman_is_made_anew_without_each_seed(one, claim_of):
    leads = {"alpha": (9, 9, 9, 0, 1), "bravo": (8, 0, 3, 4, 4), "charlie": (7, 1, 2, 5, 2)}
    records = []
    for name, by_seed in leads.items():
        for seed in SEEDS:
            records.append(one(name, "initialized", seed, 6000, 8000))
            records.append(one(name, "frozen", seed, 6000, 8000 + 2 * by_seed[seed]))
    found = finding(claim_of(records), "task_acc").trend.spearman.seeds
    distances = [DISTANCES[name] for name in leads]

    def correlation(seeds):
        means = [round(statistics.fmean(v[s] for s in seeds), 9) for v in leads.values()]
        return scipy.stats.spearmanr(distances, means).statistic

    without = [correlation([s for s in SEEDS if s != left]) for left in SEEDS]
    half = scipy.stats.t.ppf(0.975, 4) * math.sqrt(4 * statistics.pvariance(without))
    assert found.value == pytest.approx(correlation(SEEDS))
    assert half > 0.0
    assert found.low == pytest.approx(max(-1.0, found.value - half))
    assert found.high == pytest.approx(min(1.0, found.value + half))


def test_only_common_seeds_are_in_a_fit(known, claim_of):
    missing = ("bravo", "frozen", 3)
    records = [r for r in known if (r.sequence.name, r.strategy.name, r.seed) != missing]
    found = finding(claim_of(records), "task_acc")
    assert [point.difference.n for point in found.points] == [5, 4, 5, 5, 5]
    assert found.trend.seeds == 4
    slopes = [(20 * (seed - 2) - 400) / SIZE / 2 for seed in (0, 1, 2, 4)]
    assert bounds(found.trend.slope.seeds) == t_interval(slopes)


def test_one_seed_gives_a_fit_without_a_verdict(known, claim_of):
    found = claim_of([record for record in known if record.seed == 2])
    task = finding(found, "task_acc")
    assert task.trend.slope.sequences.value == pytest.approx(-0.02)
    assert math.isnan(task.trend.slope.seeds.low)
    assert (task.change, task.ahead, task.holds) == ("unclear", "neither", False)
    for text in (claim_page(found, "", "x.svg"), claim_csv(found)):
        assert "nan" not in text.lower()
    assert "1 seed;" in answer(found)[0]
    assert images(claim_figure(found))["svg"]


def test_seeds_that_no_two_sequences_share_give_no_fit(known, claim_of):
    own = dict(zip(DISTANCES, SEEDS, strict=True))
    found = claim_of([record for record in known if record.seed == own[record.sequence.name]])
    task = finding(found, "task_acc")
    assert (task.trend, task.no_trend) == (None, "no seed is common to all sequences")


def test_equal_distances_give_no_fit(known, claim_of):
    grades = {digest_of(name): graded(name, 0.5) for name in DISTANCES}
    assert finding(claim_of(known, grades), "task_acc").no_trend == (
        "all sequences have the same distance"
    )


def test_too_few_graded_sequences_give_no_fit(known, claim_of):
    grades = {digest_of(name): graded(name, DISTANCES[name]) for name in ("alpha", "echo")}
    found = claim_of(known, grades)
    assert finding(found, "task_acc").holds is None
    text = answer(found)[0]
    assert "Task.Acc: cannot be said, 2 graded of the 3 sequences that a fit needs." in text
    page = claim_page(found, "", "x.svg")
    assert "2 graded of the 3 sequences" in page
    assert page.count("`charlie`") == 1  # its differences are shown all the same


def test_sequences_without_a_distance_or_without_records_are_named(known, one, claim_of):
    grades = dict(GRADES)
    del grades[digest_of("bravo")]
    note = "reliability 0.21 is below 0.3: no grade"
    grades[digest_of("echo")] = graded("echo", 0.1, None, note)
    grades[digest_of("zulu")] = graded("zulu", 0.1)
    found = claim_of([*known, one("yankee", "initialized", 0, 1, 1)], grades)
    assert finding(found, "task_acc").trend.sequences == 3
    lines = left_out(found)
    assert lines == [
        f"Without a usable distance, so in no fit: bravo (not measured); echo ({note}); "
        "yankee (not measured).",
        "Graded, but without records here: zulu.",
    ]
    page = claim_page(found, "", "x.svg")
    assert "echo (reliability 0.21 is below 0.3&#58; no grade)" in page
    assert "Not compared, because the strategies share no seed: `yankee`." in page
    assert "`bravo`" in page
    assert [line.split(",")[6] for line in claim_csv(found).splitlines() if ",bravo," in line] == [
        "",
        "",
        "",
    ]


def test_few_shot_sequences_are_a_group_of_their_own(known, one, claim_of):
    grades, records = dict(GRADES), list(known)
    for name, distance in (("few", 0.3), ("fewer", 0.6), ("fewest", 0.9)):
        name = f"fashion-fewshot-{name}"
        grades[digest_of(name)] = graded(name, distance)
        for seed in SEEDS:
            records.append(one(name, "initialized", seed, 6000, 8000))
            records.append(one(name, "frozen", seed, 6000, 8000 + round(1000 * distance)))
    found = claim_of(records, grades)
    assert len(finding(found, "task_acc").points) == 5
    few = finding(found, "task_acc", group="few-shot")
    assert [point.sequence[16:] for point in few.points] == ["few", "fewer", "fewest"]
    assert few.trend.slope.sequences.value == pytest.approx(0.05)
    first, second = answer(found)
    assert first.startswith("**Full data**")
    assert second.startswith("**Few samples in later tasks** (3 sequences")


def test_name_of_every_registered_sequence_tells_whether_it_has_few_samples():
    for name, sequence in registered().items():
        scenario = sequence.scenario
        if isinstance(scenario, LinearSetting):
            few = scenario.samples_of(1) < scenario.samples_of(0)
        else:
            few = isinstance(scenario, FewShot)
        assert group_of(name) == ("few-shot" if few else "full")
    assert group_of("fashion-fewshots") == "full"


def test_hybrid_is_compared_with_the_better_of_the_two_in_each_metric(known, one, claim_of):
    records = [one(name, "hybrid", seed, 6000, 8000) for name in DISTANCES for seed in SEEDS]
    found = claim_of([*known, *records])
    task = finding(found, "task_acc", HYBRID)
    assert [point.other for point in task.points] == ["frozen"] * 2 + ["initialized"] * 3
    assert [point.difference.mean for point in task.points] == pytest.approx(
        [-0.015, -0.005, 0.0, 0.0, 0.0]
    )
    forgetting = finding(found, "forgetting", HYBRID)
    assert {point.other for point in forgetting.points} == {"frozen"}  # it forgets less
    assert forgetting.points[0].difference.mean == pytest.approx(0.01)
    page = claim_page(found, "", "x.svg")
    assert "That flatters it" in page
    assert "-1.50 [-1.60, -1.40] (frozen)" in page


def test_hybrid_needs_both_of_those_it_is_compared_with(known, one, claim_of):
    records = [one(name, "hybrid", 0, 6000, 8000) for name in ("alpha", "bravo")]
    without = [r for r in known if (r.sequence.name, r.strategy.name) != ("bravo", "initialized")]
    found = finding(claim_of([*without, *records]), "task_acc", HYBRID)
    assert [point.sequence for point in found.points] == ["alpha"]
    assert found.missing == ("bravo", "charlie", "delta", "echo")


def test_contrasts_under_every_reading_of_restart(known, one, claim_of):
    for strategy, second in (("sgd", 7900), ("scratch", 7800), ("frozen-reset", 8100)):
        known = [
            *known,
            *(one(name, strategy, seed, 6000, second) for name in DISTANCES for seed in SEEDS),
        ]
    found = claim_of(known)
    near = {
        contrast.title: finding(found, "task_acc", contrast).points[0].difference.mean
        for contrast in CONTRASTS
        if finding(found, "task_acc", contrast).points
    }
    assert near == pytest.approx(
        {
            "frozen - initialized": 0.015,
            "frozen-reset - initialized": 0.005,
            "frozen - scratch": 0.025,
            "frozen - sgd": 0.02,
            "initialized - scratch": 0.01,
        }
    )
    page = claim_page(found, "", "x.svg")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## Frozen - initialized", "## Frozen-reset - initialized"]
    assert headings[-2:] == ["## Hybrid - best of frozen and initialized", "## Legend"]
    assert "There are no records of `hybrid`." in page


def test_excess_losses_are_better_when_lower(make_loss_record, claim_of):
    records = []
    for name, distance in DISTANCES.items():
        for seed in SEEDS:
            for strategy, last in (
                ("initialized", 1.0),
                ("frozen", 0.5 + 0.0625 * seed + distance),
            ):
                record = make_loss_record(name, strategy, seed, ((0.5, 9.0), (1.0, last)))
                stamp = replace(record.sequence, hash=digest_of(name))
                records.append(replace(record, sequence=stamp))
    found = claim_of(records)
    task = finding(found, "task_loss")
    assert task.trend.slope.sequences.value == pytest.approx(0.5)
    assert task.trend.at_nearest.sequences.value == pytest.approx((0.5 + 0.125 - 1.0) / 2)
    assert task.trend.crossover.sequences.value == pytest.approx(0.375)
    assert (task.change, task.ahead, task.holds) == ("falls", "first", True)
    (text,) = answer(found)
    assert "differences in excess loss" in text
    assert "Task.Loss: the claim **holds**" in text
    page = claim_page(found, "", "x.svg")
    assert "Lower is better in Avg.Loss, Forgetting, Task.Loss" in page
    assert "percent" not in page
    assert b"(points)" not in images(claim_figure(found))["svg"]


@pytest.mark.parametrize("absent", ["frozen", "initialized"])
def test_absent_strategy_of_the_claim_is_refused(known, claim_of, absent):
    with pytest.raises(RecordError, match=f"no records of '{absent}'"):
        claim_of([record for record in known if record.strategy.name != absent])


@pytest.mark.parametrize("grades", [{}, {digest_of("alpha"): graded("alpha", 0.1, None, "no")}])
def test_no_usable_distance_at_all_is_refused(known, claim_of, grades):
    with pytest.raises(RecordError, match="none of the 5 sequences has a usable distance"):
        claim_of(known, grades)


def test_csv_keeps_its_promise(known, claim_of):
    found = claim_of(known)
    rows = list(csv.DictReader(io.StringIO(claim_csv(found))))
    assert tuple(rows[0]) == COLUMNS
    task = [row for row in rows if row["metric"] == "task_acc"]
    assert {row["contrast"] for row in rows} == {"frozen - initialized"}
    assert [row["what"] for row in task] == [
        *["difference"] * 5,
        "slope",
        "intercept",
        "at-nearest",
        "spearman",
        "crossover",
    ]
    first, crossover = task[0], task[-1]
    place = ("alpha", "initialized", "0.0", "-0.125", "0.25", "near")
    columns = ("sequence", "other", "distance", "distance_low", "distance_high", "grade")
    assert tuple(first[column] for column in columns) == place
    assert float(first["value"]) == pytest.approx(0.015)
    assert (first["data"], first["n"]) == ("full", "5")
    assert float(crossover["value"]) == pytest.approx(0.75)
    assert (crossover["n"], crossover["seeds"]) == ("5", "5")
    assert float(crossover["high"]) < float(crossover["seeds_high"])
    assert first["seeds"] == first["seeds_low"] == ""
    assert crossover["sequence"] == crossover["distance"] == ""
    others = [row["what"] for row in rows if row["metric"] == "forgetting"]
    assert "crossover" not in others


def test_markdown_tables_are_rectangular(known, claim_of):
    table: list[str] = []
    for line in [*claim_page(claim_of(known), "", "x.svg").splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
        else:
            assert len({row.count("|") for row in table}) <= 1
            table.clear()


def test_hostile_text_stays_text(known, claim_of):
    grades = {**GRADES, digest_of("echo"): graded("echo", 0.1, None, "<b>|[x](y)")}
    page = claim_page(claim_of(known, grades), "x </code>\n# heading", "x.svg")
    assert "<b>" not in page
    assert page.count("</code>") == 1
    assert "\n# heading" not in page


def test_figure_has_a_panel_per_metric_and_a_row_for_the_hybrid(known, one, claim_of):
    from xml.etree import ElementTree

    def panels(found):
        root = ElementTree.fromstring(images(claim_figure(found))["svg"])
        ids = [node.get("id", "") for node in root.iter("{http://www.w3.org/2000/svg}g")]
        return sum(name.startswith("axes_") for name in ids)

    assert panels(claim_of(known)) == 3
    records = [one(name, "hybrid", seed, 6000, 8000) for name in DISTANCES for seed in SEEDS]
    assert panels(claim_of([*known, *records])) == 6


PROGRAM = (
    "import sys; from pathlib import Path; "
    "from driftboard.suite.cli.leaderboard import build_claim; "
    "early = {'pandas', 'scipy', 'numpy', 'torch', 'matplotlib'} & set(sys.modules); "
    "assert not early, early; "
    "build_claim([Path('results')], Path('there'), command='the same'); "
    "slow = {'torch', 'continuum', 'sklearn', 'scipy.stats', 'matplotlib.pyplot'}; "
    "assert not slow & set(sys.modules), slow & set(sys.modules)"
)


@pytest.fixture
def results(known, make_grade_record, tmp_path):
    """Return a results folder with records and grade records."""
    folder = tmp_path / "results"
    for record in known:
        write_record(folder, record)
        name = record.sequence.name
        # the seed's cosine is 1 - D2 / 2
        cosines = [1 - DISTANCES[name] / 2 + shift for shift in (-0.01, 0.0, 0.01)]
        write_grade(grade_path(folder, name), make_grade_record(record.sequence, cosines))
    return folder


def test_same_input_same_bytes_whatever_a_user_has_set(results, tmp_path):
    build_claim([results], tmp_path / "here", command="the same")
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 20\naxes.grid: True\nsvg.fonttype: none\nsavefig.dpi: 30\n")
    changed = {**os.environ, "MATPLOTLIBRC": str(settings), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=changed, check=True)
    for kind in ("md", "csv", "svg", "png"):
        content = (tmp_path / "here" / f"claim.{kind}").read_bytes()
        assert content == (tmp_path / "there" / f"claim.{kind}").read_bytes()
        assert content


def test_command_writes_four_files_and_says_the_answer(results, tmp_path):
    (results / "records/alpha/frozen/seed-0009.json").write_text("{")
    app = typer.Typer()
    app.command()(expand_groups(claim))
    out = tmp_path / "out"
    reply = CliRunner().invoke(app, [str(results), "--out", str(out), "--skip-broken"])
    assert reply.exit_code == 0, reply.output
    assert "Task.Acc: the claim holds" in reply.output
    assert "seed-0009.json" in reply.output
    assert "**" not in reply.output
    assert sorted(path.name for path in out.iterdir()) == [
        "claim.csv",
        "claim.md",
        "claim.png",
        "claim.svg",
    ]
    page = (out / "claim.md").read_text()
    assert "Broken records left out: 1." in page
    assert "--skip-broken</code>" in page
    assert "(claim.svg)" in page
    assert "0.00 [-0.05, 0.05]" in page  # alpha's distance, measured by three seeds


def test_command_is_one_of_driftboards(results, tmp_path, monkeypatch, capsys):
    words = ["driftboard", "claim", str(results), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "the claim holds" in capsys.readouterr().out


def test_command_leaves_errors_to_the_main_program(tmp_path):
    app = typer.Typer()
    app.command()(expand_groups(claim))
    assert isinstance(CliRunner().invoke(app, [str(tmp_path)]).exception, RecordError)

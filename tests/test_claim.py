"""The claim against the distance: a synthetic world in which slope and crossover are known."""

import csv
import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as change
from scipy import stats

from driftboard.leaderboard.claim import FEWEST_SEQUENCES, HYBRID, PAPER, group_of, make_claim
from driftboard.leaderboard.claim_csv import COLUMNS, claim_csv
from driftboard.leaderboard.claim_page import answer, claim_page, left_out
from driftboard.leaderboard.collect import collect
from driftboard.leaderboard.figures import claim_figure
from driftboard.leaderboard.statistics import line_fit, spearman
from driftboard.suite.command_line import main
from driftboard.suite.errors import RecordError
from driftboard.suite.grades import grade_of, grade_path
from driftboard.suite.grades import write_record as write_grade
from driftboard.suite.records import write_record

DISTANCES = {"one": 0.2, "two": 0.8, "three": 1.4, "four": 2.0}
SIZE = 10_000
SEEDS = 5


@pytest.fixture
def world(make_record, make_grade_record, tmp_path):
    """Return a function that fills a results folder: an accuracy for every strategy and distance.

    Both tasks have the same accuracy before and after, so that Avg.Acc and Task.Acc are that
    accuracy and nothing is forgotten. Seeds differ by a known amount, in ``initialized`` only.
    """

    def fill(accuracies, distances=DISTANCES, ungraded=()):
        for number, (name, distance) in enumerate(distances.items()):
            stamp = None
            for strategy, accuracy in accuracies.items():
                for seed in range(SEEDS):
                    shift = 10 * (seed - 2) if strategy == "initialized" else 0
                    count = round(SIZE * accuracy(distance)) + shift
                    record = make_record(
                        name, strategy, seed, correct=((count,) * 2,) * 2, size=SIZE
                    )
                    stamp = change(record.sequence, hash=f"{number:064x}")
                    write_record(tmp_path, change(record, sequence=stamp))
            if name not in ungraded:
                cosines = [1 - distance / 2 + wobble for wobble in (-0.01, 0.0, 0.01)]
                write_grade(grade_path(tmp_path, name), make_grade_record(stamp, cosines))
        return tmp_path

    return fill


def claim_of(folder):
    from driftboard.suite.grades import read_grade

    grades = [grade_of(read_grade(path)) for path in sorted((folder / "grades").glob("*.json"))]
    return make_claim(collect([folder]), {grade.sequence_hash: grade for grade in grades})


FALLING = {"frozen": lambda d: 0.55 - 0.04 * d, "initialized": lambda d: 0.5}


def test_fits_agree_with_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 9)).tolist()
    slope, intercept = line_fit(x, y)
    expected = stats.linregress(x, y)
    assert (slope, intercept) == pytest.approx((expected.slope, expected.intercept))
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    tied = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0, 6.0]
    assert spearman(tied, y) == pytest.approx(stats.spearmanr(tied, y).statistic)


def test_a_world_in_which_the_claim_holds(world):
    claim = claim_of(world(FALLING))
    avg, forgetting, task = claim.of(PAPER, "full")
    assert avg.trend.slope.mean == pytest.approx(-0.04, abs=1e-6)
    assert avg.trend.intercept.mean == pytest.approx(0.05, abs=1e-6)
    assert avg.trend.spearman.value == pytest.approx(-1.0)
    assert avg.trend.crossover.value == pytest.approx(1.25, abs=1e-4)
    assert avg.trend.crossover.low < 1.25 < avg.trend.crossover.high
    assert avg.trend.at_nearest.mean == pytest.approx(0.05 - 0.04 * 0.2, abs=1e-6)
    assert (avg.change, avg.ahead, avg.holds) == ("falls", "first", True)
    assert task.holds is True
    assert (forgetting.change, forgetting.holds) == ("unclear", False)
    assert [point.sequence for point in avg.points] == ["one", "two", "three", "four"]
    assert [point.difference.mean for point in avg.points] == pytest.approx(
        [0.05 - 0.04 * d for d in DISTANCES.values()]
    )


@pytest.mark.parametrize(
    ("frozen", "change", "ahead"),
    [
        (lambda d: 0.45 + 0.04 * d, "rises", "other"),
        (lambda d: 0.49 - 0.04 * d, "falls", "other"),
        (lambda d: 0.53, "unclear", "first"),
    ],
)
def test_worlds_in_which_it_does_not(world, frozen, change, ahead):
    (avg, _, _) = claim_of(world(FALLING | {"frozen": frozen})).of(PAPER, "full")
    assert (avg.change, avg.ahead, avg.holds) == (change, ahead, False)
    if change != "rises":
        assert avg.trend.crossover is None


def test_a_crossover_outside_the_measured_range_is_none(world):
    (avg, _, _) = claim_of(world(FALLING | {"frozen": lambda d: 0.6 - 0.02 * d})).of(PAPER, "full")
    assert avg.change == "falls"
    assert avg.trend.crossover is None


def test_the_hybrid_is_compared_with_the_better_of_both_on_each_sequence(world):
    folder = world(FALLING | {"hybrid": lambda d: 0.52})
    (avg, _, _) = claim_of(folder).of(HYBRID, "full")
    assert [point.other for point in avg.points] == [
        "frozen",
        "frozen",
        "initialized",
        "initialized",
    ]
    assert [point.difference.mean for point in avg.points] == pytest.approx(
        [0.52 - 0.542, 0.52 - 0.518, 0.02, 0.02]
    )


def test_few_shot_sequences_are_looked_at_apart(world):
    named = {f"fewshot-{name}": distance for name, distance in list(DISTANCES.items())[:2]}
    claim = claim_of(world(FALLING, {**DISTANCES, **named}))
    few = claim.of(PAPER, "few-shot")[0]
    assert [point.sequence for point in few.points] == ["fewshot-one", "fewshot-two"]
    assert few.trend is None
    assert str(FEWEST_SEQUENCES) in few.no_trend
    assert few.holds is None
    assert claim.of(PAPER, "full")[0].trend.sequences == 4
    assert group_of("fashion-fewshot-rotated-5") == "few-shot"
    assert group_of("fashion-fewshots") == "full"


def test_what_has_no_distance_is_named_and_in_no_fit(world):
    claim = claim_of(world(FALLING, {**DISTANCES, "five": 1.0}, ungraded=("five",)))
    assert claim.unusable == {"five": "not measured"}
    assert claim.of(PAPER, "full")[0].trend.sequences == 4
    assert left_out(claim) == ["Without a usable distance, so in no fit: five (not measured)."]


def test_the_paragraph_says_what_the_numbers_say(world):
    (holds,) = answer(claim_of(world(FALLING)))
    assert "Avg.Acc: the claim **holds**" in holds
    assert "slope -4.0 [-4.0, -4.0]" in holds
    assert "crosses zero at 1.25" in holds
    assert "Forgetting: the claim **does not hold**" in holds


def test_csv_holds_every_number(world):
    claim = claim_of(world(FALLING))
    rows = list(csv.DictReader(io.StringIO(claim_csv(claim))))
    assert tuple(rows[0]) == COLUMNS
    own = [r for r in rows if r["contrast"] == "frozen - initialized" and r["metric"] == "avg_acc"]
    by_what = {row["what"]: row for row in own}
    assert float(by_what["slope"]["value"]) == pytest.approx(-0.04, abs=1e-6)
    assert float(by_what["crossover"]["value"]) == pytest.approx(1.25, abs=1e-4)
    differences = [row for row in own if row["what"] == "difference"]
    assert [row["sequence"] for row in differences] == list(DISTANCES)
    assert float(differences[0]["distance"]) == pytest.approx(0.2)
    assert differences[0]["grade"] == "near"
    page = claim_page(claim, "driftboard claim x", "claim.svg")
    assert "| full data" in page
    assert "driftboard claim x" in page


@pytest.mark.parametrize("form", ["svg", "png"])
def test_the_figure_is_the_same_bytes_every_time(world, form):
    claim = claim_of(world(FALLING | {"hybrid": lambda d: 0.52}))
    first = claim_figure(claim, form)
    assert first == claim_figure(claim, form)
    fewer = replace(claim, findings=tuple(f for f in claim.findings if f.contrast == PAPER))
    assert claim_figure(fewer, form) != first


def test_the_command_writes_all_files(world, tmp_path, monkeypatch, capsys):
    folder = world(FALLING)
    monkeypatch.setattr(
        sys, "argv", ["driftboard", "claim", str(folder), "--out", str(folder / "c")]
    )
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    out = capsys.readouterr().out
    assert "the claim holds" in out
    names = {path.name for path in (folder / "c").iterdir()}
    assert names == {"claim.md", "claim.csv", "claim.svg", "claim.png"}


def test_records_without_the_paper_s_strategies_are_refused(world):
    with pytest.raises(RecordError, match="'frozen'"):
        claim_of(world({"initialized": lambda d: 0.5}))


def test_no_distance_at_all_is_one_line(world):
    with pytest.raises(RecordError, match="driftboard grade"):
        claim_of(world(FALLING, ungraded=tuple(DISTANCES)))

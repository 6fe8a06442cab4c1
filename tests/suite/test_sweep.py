"""Sweeps: each learner is what a run at its magnitude is, and curves say what the records say."""

import csv
import io
import json
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from msgspec import structs

from driftboard.leaderboard.analysis.cells import METRICS
from driftboard.leaderboard.claim.magnitude import (
    COLUMNS,
    csv_of,
    curve_of,
    divergence_texts,
    markdown_of,
    optimum_text,
    sweep_of,
)
from driftboard.leaderboard.render.figures.curves import sweep_figure
from driftboard.leaderboard.render.figures.drawing import images
from driftboard.suite.errors import RecordError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import SequenceStamp
from driftboard.suite.sweeps import SweepRecord, read_sweep, sweep_path, write_sweep

SMALL = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence

small = TaskSequence(
    name="small", description="Words.", source="digits", scenario=Relabelled(3, 5),
    network="mlp-16x2", train_per_class=20, test_per_class=20,
    training=Training(epochs=2, minimum_steps=20, batch_size=20, learning_rate={rate}),
)
"""
MAGNITUDES = {"fraction": (0.0, 0.4, 1.0), "ball": (0.0, 0.3, 100.0)}


def request_for(tmp_path, kind, magnitudes=None, seeds=(0, 1), rate=0.05):
    """Return the request for a sweep of a small sequence."""
    from driftboard.suite.loading import load_sequences
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sweeps import Sweep

    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "small.py"
    file.write_text(SMALL.format(rate=rate))
    return Request(
        sequences=(load_sequences((file,))["small"],),
        sequence_files=(file,),
        seed_count=len(seeds),
        results=tmp_path,
        device="cpu",
        work=Sweep(kind, magnitudes or MAGNITUDES[kind]),
    )


def swept(kind, tmp_path, seeds=(0, 1), at_once=6, cohorts=1):
    """Return the records of a small sweep, made in this process."""
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.sweeps import sweep_records

    request = request_for(tmp_path, kind, seeds=seeds)
    steps = []
    (planned,) = plan(request)
    job = replace(planned, at_once=at_once)
    job.keep(job.measure(lambda: steps.append(1)))
    assert len(steps) == job.steps == 3 * cohorts
    return sweep_records(request, kind)


def run_of(strategy, tmp_path, seeds=(0, 1)):
    from driftboard.suite.training.cohort import Setting, prepare
    from driftboard.suite.training.engine import run

    (sequence,) = request_for(tmp_path, "fraction").sequences
    setting = Setting(sequence, seeds, "test", None, "cpu")
    return run(prepare(setting).for_strategy(setting, strategy.name), strategy, "vmap")


@pytest.mark.parametrize("kind", ["fraction", "ball"])
def test_every_learner_is_a_run_at_its_magnitude(tmp_path, kind):
    from driftboard.strategies.magnitude import Ball, Fraction

    records = swept(kind, tmp_path)
    for place, magnitude in enumerate(MAGNITUDES[kind]):
        alone = run_of(Fraction(magnitude) if kind == "fraction" else Ball(magnitude), tmp_path)
        for position, record in enumerate(records):
            norms = [norm[position].norm().item() for norm in alone.update_norms]
            assert record.update_norms[place] == pytest.approx(norms, rel=1e-4, abs=1e-6)
            counts = np.array([row[position].tolist() for row in alone.correct])
            # The last bits of a sum depend on how many are stacked, so an image may tip over.
            assert np.abs(np.array(record.correct[place]) - counts).max() <= 2
        assert record.magnitudes[place] == magnitude


@pytest.mark.parametrize("kind", ["fraction", "ball"])
def test_the_ends_are_standing_still_and_plain_training(tmp_path, kind):
    from driftboard.strategies.sgd import Sgd

    plain = run_of(Sgd(), tmp_path)
    for position, record in enumerate(swept(kind, tmp_path)):
        assert record.update_norms[0][1:] == (0.0, 0.0)
        assert record.correct[0][0] == record.correct[0][1] == record.correct[0][2]
        norms = [norm[position].norm().item() for norm in plain.update_norms]
        assert record.update_norms[-1] == pytest.approx(norms, rel=1e-4)
        assert record.update_norms[1][0] == pytest.approx(norms[0], rel=1e-4)


def test_a_ball_bounds_every_later_update(tmp_path):
    for record in swept("ball", tmp_path):
        assert record.update_norms[1][1:] == pytest.approx((0.3, 0.3), rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "at_once", "cohorts"), [("loop", 1, 6), ("vmap", 4, 2), ("vmap", 1, 6)]
)
def test_learners_in_several_cohorts_are_what_they_are_in_one(
    mode, at_once, cohorts, tmp_path, monkeypatch
):
    from driftboard.suite.training import networks

    together = swept("fraction", tmp_path / "one")
    monkeypatch.setattr(networks, "choose_mode", lambda network, device: mode)
    apart = swept("fraction", tmp_path / "several", at_once=at_once, cohorts=cohorts)
    for one, other in zip(together, apart, strict=True):
        assert np.array(one.update_norms) == pytest.approx(np.array(other.update_norms), rel=1e-4)
        assert np.abs(np.array(one.correct) - np.array(other.correct)).max() <= 2


def test_diverged_learners_count_as_chance(tmp_path):
    from driftboard.suite.runs.cells import plan

    (job,) = plan(request_for(tmp_path, "fraction", (0.0, 1.0), (0,), rate=1e6))
    (record,) = job.measure()
    assert record.diverged == (True, True)
    assert record.correct[1] == ((20, 20, 20),) * 3
    assert record.update_norms[1] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("room", "seeds", "at_once", "note"),
    [
        (99, [(0, 1, 2), (3, 4)], 99, ""),
        (39, [(0, 1, 2), (3, 4)], 39, ""),
        (38, [(0, 1), (2, 3), (4,)], 38, "39 learners do not fit into memory at once, trained 38"),
        (13, [(0,), (1,), (2,), (3,), (4,)], 13, "39 learners do not fit"),
        (5, [(0,), (1,), (2,), (3,), (4,)], 5, "39 learners do not fit"),
    ],
)
def test_a_sweep_takes_no_more_learners_than_fit(room, seeds, at_once, note, tmp_path, monkeypatch):
    from driftboard.suite.runs import request
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.training.memory_plan import Stacking

    monkeypatch.setattr(request, "stacking_of", lambda *_: Stacking("vmap", room))
    grid = tuple(place / 12 for place in range(13))
    told = []
    jobs = plan(request_for(tmp_path, "fraction", grid, tuple(range(5))), told.append)
    assert [job.seeds for job in jobs] == seeds
    assert {job.at_once for job in jobs} == {at_once}
    assert [line.startswith(f"small: {note}") for line in told] == [True] * bool(note)


def test_a_sweep_knows_what_memory_there_is(tmp_path, monkeypatch):
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.training import memory_plan

    request = request_for(tmp_path, "fraction", seeds=(0,))
    (whole,) = plan(request)
    assert whole.at_once > 6
    monkeypatch.setitem(memory_plan.COHORT_BYTES, "cpu", 1)
    (least,) = plan(request)
    assert least.at_once == 1


@pytest.mark.parametrize(("at_once", "together", "half"), [(99, 6, 3), (4, 4, 2), (3, 3, 2)])
def test_a_sweep_can_be_made_with_half_as_many_learners_at_a_time(
    at_once, together, half, tmp_path
):
    from driftboard.suite.runs.cells import plan

    (planned,) = plan(request_for(tmp_path, "fraction"))
    job = replace(planned, at_once=at_once)
    assert job.together == together
    assert [(one.seeds, one.at_once) for one in job.smaller()] == [((0,), half), ((1,), half)]
    assert replace(job, at_once=1).smaller() == []


def test_a_complete_sweep_needs_no_data(tmp_path, monkeypatch):
    from driftboard.suite.runs import request as request_module
    from driftboard.suite.runs.cells import plan

    request = request_for(tmp_path, "fraction")
    swept("fraction", tmp_path, seeds=(0,), at_once=3)
    assert [job.seeds for job in plan(request)] == [(1,)]
    swept("fraction", tmp_path, at_once=3)
    monkeypatch.setattr(request_module, "load_pool", None)  # not needed where nothing is left
    assert plan(request) == []


def make_sweep(correct, seed=0):
    """Return a record of two tasks with 100 test images each; ``correct[m]`` is a matrix."""
    magnitudes = tuple(place / 10 for place in range(len(correct)))
    return SweepRecord(
        schema=2,
        protocol=PROTOCOL.stamp(),
        sequence=SequenceStamp("made-up", "a" * 64, "own", "Data", "b" * 64, ("body", "head")),
        kind="fraction",
        seed=seed,
        magnitudes=magnitudes,
        test_sizes=(100, 100),
        correct=tuple(tuple(map(tuple, matrix)) for matrix in correct),
        update_norms=tuple((9.0, 2.0 * place) for place in range(len(correct))),
        diverged=(False,) * len(correct),
    )


def test_curves_by_hand():
    flat = [[80, 10], [80, 20]]  # Avg.Acc .5, forgetting 0, Task.Acc .5
    good = [[80, 10], [70, 80]]  # Avg.Acc .75, forgetting .1, Task.Acc .8
    sweep = sweep_of([make_sweep([flat, good], seed) for seed in range(3)])
    avg, forgotten, task = sweep.curves
    assert [one.mean for one in avg.intervals] == pytest.approx([0.5, 0.75])
    assert [one.mean for one in forgotten.intervals] == pytest.approx([0.0, 0.1])
    assert [one.mean for one in task.intervals] == pytest.approx([0.5, 0.8])
    assert (avg.best, forgotten.best, task.best) == (1, 0, 1)
    assert (avg.tied, forgotten.tied) == ((1,), (0,))
    assert sweep.update_norms == (0.0, 2.0)
    assert optimum_text(sweep, avg).startswith("Avg.Acc is best at fraction 0.1;")


def test_means_without_diverged_learners_stand_beside_those_with_them():
    flat, good, chance = [[80, 10], [80, 20]], [[80, 10], [70, 80]], [[10, 10], [10, 10]]
    records = [make_sweep([flat, good], seed) for seed in range(3)]
    lost = {"diverged": (False, True), "update_norms": ((9.0, 0.0), (0.0, 0.0))}
    records.append(structs.replace(make_sweep([flat, chance], 3), **lost))
    sweep = sweep_of(records)
    assert sweep.diverged == (0, 1)
    assert sweep.curves[0].intervals[1].mean == pytest.approx((3 * 0.75 + 0.1) / 4)
    assert math.isnan(sweep.curves[0].finished[0])
    assert sweep.curves[0].finished[1] == pytest.approx(0.75)
    assert sweep.update_norms == (0.0, 2.0)
    (said,) = divergence_texts(sweep)
    assert said == (
        "At fraction 0.1 1 of 4 seeds diverged and count with the accuracy of chance; without them "
        "Avg.Acc 75.0, Forgetting 10.0, Task.Acc 80.0."
    )
    assert f"- {said}" in markdown_of(sweep, "x")
    rows = list(csv.DictReader(io.StringIO(csv_of(sweep))))
    chosen = [row for row in rows if row["metric"] == "avg_acc"]
    assert [(row["diverged"], row["finished"]) for row in chosen] == [("0", ""), ("1", "0.75")]
    labels = [line.get_label() for line in sweep_figure(sweep).axes[0].lines]
    assert "with diverged seeds" in labels
    everyone = sweep_of([structs.replace(record, diverged=(False, True)) for record in records])
    assert divergence_texts(everyone)[0].endswith("without them nothing is left.")
    assert math.isnan(everyone.update_norms[1])


def test_what_seeds_cannot_tell_apart_is_tied():
    values = [[0.5, 0.6, 0.7], [0.52, 0.58, 0.72], [0.1, 0.2, 0.3]]
    curve = curve_of(METRICS["accuracy"][0], values)
    assert curve.best == 1
    assert curve.tied == (0, 1)
    lower = curve_of(METRICS["excess-loss"][0], values)
    assert (lower.best, lower.tied) == (2, (2,))


def test_csv_and_markdown_say_the_same():
    sweep = sweep_of([make_sweep([[[80, 10], [80, 20]], [[80, 10], [70, 80]]], s) for s in (0, 1)])
    rows = list(csv.DictReader(io.StringIO(csv_of(sweep))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * 2
    chosen = next(r for r in rows if (r["metric"], r["magnitude"]) == ("avg_acc", "0.1"))
    assert (float(chosen["mean"]), chosen["best"], chosen["n"]) == (0.75, "1", "2")
    text = markdown_of(sweep, "driftboard sweep made-up")
    assert "| 0.1 | **75.0** [75.0, 75.0] | 10.0 [10.0, 10.0] | **80.0** [80.0, 80.0] |" in text
    assert "Command: `driftboard sweep made-up`" in text


def test_figures_are_the_same_bytes_every_time():
    sweep = sweep_of([make_sweep([[[80, 10], [80, 20]], [[80, 10], [70, 80]]], s) for s in (0, 1)])
    first = images(sweep_figure(sweep))
    assert first == images(sweep_figure(sweep))
    assert first["svg"].startswith(b"<?xml")
    assert first["png"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema": 1}, "schema"),
        ({"extra": 1}, "extra"),
        ({"magnitudes": []}, "magnitudes"),
        ({"magnitudes": [0.0]}, "1 magnitudes"),
        ({"diverged": [False]}, "2 magnitudes"),
        ({"update_norms": [[9.0, 0.0], [9.0]]}, "2 tasks"),
        ({"correct": [[[80, 10], [80, 20]], [[80, 10]]]}, "2 tasks"),
        ({"correct": [[[80, 10], [80, 20]], [[80, 10], [70]]]}, "2 tasks"),
        ({"correct": [[[80, 10], [80, 20]], [[80, 10], [70, 101]]]}, "more correct"),
    ],
)
def test_unsound_sweeps_are_refused_in_one_line(tmp_path, change, word):
    record = make_sweep([[[80, 10], [80, 20]], [[80, 10], [70, 80]]])
    path = sweep_path(tmp_path, "made-up", "fraction", 0)
    write_sweep(path, record)
    assert read_sweep(path) == record
    path.write_text(json.dumps(json.loads(msgspec.json.encode(record)) | change))
    with pytest.raises(RecordError) as caught:
        read_sweep(path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


OWN = """
from dataclasses import dataclass
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence

@dataclass(frozen=True)
class Own(Relabelled):
    "A scenario that only this file knows."

tiny = TaskSequence(
    name="tiny", description="", source="digits", scenario=Own(2, 5), network="mlp-8x1",
    train_per_class=10, test_per_class=10,
    training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
)
"""


def test_sequences_with_scenarios_of_their_own_are_graded(call, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    words = ("grade", "--sequence-file", tmp_path / "own.py", "--out", tmp_path / "out")
    code, out, errors = call(*words, "--workers", "1")
    assert code == 0, errors
    assert "tiny" in out
    record = json.loads((tmp_path / "out" / "grades" / "tiny.json").read_text())
    assert [seed["seed"] for seed in record["seeds"]] == [0, 1, 2, 3, 4]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/grades/pairs.csv").read_text())))
    assert [row["blocks"] for row in rows] == ["shared", "hidden1", "head"]
    assert rows[0]["distance"] == rows[1]["distance"]
    code, out, errors = call(*words, "--workers", "1")
    assert code == 0
    assert "5 cells: all there already" in errors


def test_linear_sequences_are_not_graded(call, tmp_path):
    code, _, errors = call("grade", "linear-few-50", "--out", tmp_path, "--workers", "1")
    assert code == 1
    assert "is given" in errors


def test_the_command_writes_curves_and_goes_on_where_it_was(call, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    words = ("sweep", "tiny", "--sequence-file", tmp_path / "own.py", "--out", tmp_path / "out")
    words += ("--magnitudes", "1,0,0.5", "--workers", "1")
    code, out, _ = call(*words, "--seeds", "2")
    assert code == 0
    assert "Avg.Acc is best at fraction" in out
    folder = tmp_path / "out" / "sweeps" / "tiny-by-fraction"
    before = (folder / "seed-0001.json").read_bytes()
    assert json.loads(before)["magnitudes"] == [0.0, 0.5, 1.0]
    code, _, errors = call(*words, "--seeds", "3")
    assert code == 0
    assert "already there: 2 cells" in errors
    assert (folder / "seed-0001.json").read_bytes() == before
    rows = list(csv.DictReader(io.StringIO((folder / "curve.csv").read_text())))
    assert {row["n"] for row in rows} == {"3"}
    assert {path.name for path in folder.iterdir()} >= {"curve.md", "curve.svg", "curve.png"}
    (folder / "seed-0002.json").write_bytes(before)
    code, _, errors = call(*words, "--seeds", "3")
    assert code == 1
    assert f"1 record of another seed, such as {folder / 'seed-0002.json'}; add" in errors
    code, _, errors = call(*words[:-4], "--magnitudes", "0,1", "--workers", "1", "--seeds", "2")
    assert code == 1
    assert "another list of magnitudes" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("digits-splot",), "did you mean"),
        (("digits-*",), "a sweep takes one"),
        (("digits-split", "--magnitudes", "0,x"), "not a list of numbers"),
        (("digits-split", "--magnitudes", ""), "'' is not a list of numbers"),
        (("digits-split", "--magnitudes", "0,1.5"), "between 0 and 1"),
        (("digits-split", "--magnitudes", "nan"), "between 0 and 1"),
        (("digits-split", "--by", "ball", "--magnitudes", "inf"), "finite"),
        (("digits-split", "--by", "ball", "--magnitudes=-1"), "at least 0"),
    ],
)
def test_mistakes_are_one_line(call, words, message):
    code, out, errors = call("sweep", *words)
    assert (code, out) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith("driftboard: ")
    assert message in line

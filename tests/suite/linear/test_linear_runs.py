"""Linear sequences from the command line: records, boards, and measured beside exact errors."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from driftboard.suite.linear.cells import (
    Comparison,
    compare,
    exact_curves,
    exact_optima,
    measured_curves,
)
from driftboard.suite.linear.exact import best_fractions, expected_excess, expected_untrained
from driftboard.suite.loading import load_strategy
from driftboard.suite.records import read_record, record_paths
from driftboard.suite.runs.cells import Cells
from driftboard.suite.sequences.linear import LinearSetting, linear_entries, linear_sequence
from driftboard.suite.training.cohort import Setting

SMALL = LinearSetting(3, 12, 12, 6, 40, noise=0.2, distance=0.5, draws=30)


def records_of(tmp_path, strategy="sgd", setting=SMALL, seeds=tuple(range(10))):
    sequence = linear_sequence("linear-made-up", "Words.", setting)
    asked = Setting(sequence, seeds, "test", None, "cpu")
    steps = []
    records = Cells().measure(asked, load_strategy(strategy), len(seeds), lambda: steps.append(1))
    assert len(steps) == setting.tasks
    Cells().keep(tmp_path, records, seeds)
    return [read_record(path) for path in record_paths(tmp_path)]


@pytest.mark.parametrize("strategy", ["sgd", "frozen", "initialized", "noop", "scratch"])
def test_records_agree_with_the_exact_expectations(tmp_path, strategy):
    records = records_of(tmp_path, strategy)
    assert [record.seed for record in records] == list(range(10))
    losses = np.array([record.losses for record in records])
    error = losses.std(axis=0, ddof=1) / np.sqrt(len(losses))
    exact = expected_excess(SMALL, strategy)
    z = np.abs(losses.mean(axis=0) - exact) / np.maximum(error, 1e-12)
    assert z.max() < 5  # nine entries, seeds as units
    untrained = np.array([record.losses_untrained for record in records])
    assert untrained == pytest.approx(np.broadcast_to(expected_untrained(SMALL), untrained.shape))
    assert {record.draws for record in records} == {30}
    assert {record.status for record in records} == {"finished"}


def test_records_carry_plans_norms_and_drift(tmp_path):
    (record, *_) = records_of(tmp_path, "frozen")
    assert [plan.share for plan in record.plans] == [(1.0, 1.0), (0.0, 1.0), (0.0, 1.0)]
    assert record.sequence.blocks == ("shared", "own")
    assert record.update_norms[1][0] == record.drift_norms[2][0] == 0.0
    assert record.drift_norms[0] == (0.0, 0.0)
    assert record.drift_norms[2][1] > 0


def test_the_same_job_twice_writes_the_same_losses(tmp_path):
    one, other = (records_of(tmp_path / name) for name in ("one", "other"))
    assert [r.losses for r in one] == [r.losses for r in other]
    assert one[0].losses != one[1].losses


def test_strategies_meet_the_same_data(tmp_path):
    plain, frozen = (records_of(tmp_path / name, name) for name in ("sgd", "frozen"))
    assert [r.losses[0] for r in plain] == [r.losses[0] for r in frozen]


BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Broken(Strategy):
    name: ClassVar[str] = "broken"

    def finish(self, task, parameters, memory):
        factor = float("nan") if task.index == 1 else 1.0
        return {name: factor * value for name, value in parameters.items()}, memory
"""


def test_what_is_not_finite_counts_as_diverged(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    for record in records_of(tmp_path / "out", str(tmp_path / "broken.py")):
        assert (record.status, record.diverged_at) == ("diverged", 1)
        assert record.losses[1] == record.losses[2] == record.losses_untrained
        assert record.losses[0] != record.losses_untrained


def test_the_registered_settings_are_a_ladder_of_distances():
    entries = linear_entries()
    ladder = [
        s.scenario.distance
        for s in entries
        if s.name.startswith("linear-fewshot-") and s.scenario.tasks == 2
    ]
    assert ladder == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert {s.tier for s in entries} == {"linear"}


def test_comparison_counts_standard_errors():
    assert Comparison("sgd", "forgetting", 1.0, 1.5, 0.25).z == 2.0
    assert Comparison("noop", "forgetting", 0.0, 0.0, 0.0).z == 0.0
    assert Comparison("noop", "forgetting", 0.0, 0.1, 0.0).z == float("inf")


@pytest.mark.parametrize(
    "setting",
    [SMALL, replace(SMALL, samples=18), replace(SMALL, samples=60, first_samples=None, noise=0.5)],
)
def test_every_closed_form_is_met(setting):
    found = list(compare(setting, tuple(range(6))))
    assert len(found) == 6 * 3
    assert max(abs(one.z) for one in found) < 4


def test_a_wrong_expectation_would_be_seen():
    found = list(compare(SMALL, tuple(range(6))))
    shifted = [replace(one, exact=one.exact + 0.05) for one in found if one.error > 0]
    assert max(abs(one.z) for one in shifted) > 4


def test_measured_curves_follow_the_exact_ones():
    setting = replace(SMALL, tasks=2, draws=60)
    fractions = (0.0, 0.3, 0.7, 1.0)
    measured = measured_curves("linear-made-up", setting, fractions, tuple(range(10)))
    exact = exact_curves(setting, fractions)
    for metric, rows in measured.items():
        for row, expected in zip(rows, exact[metric], strict=True):
            error = np.std(row, ddof=1) / np.sqrt(len(row))
            assert abs(np.mean(row) - expected) <= 5 * error + 1e-12
    assert exact_optima(setting) == dict(
        zip(("forgetting", "avg_loss"), best_fractions(setting), strict=True)
    )
    assert exact_optima(SMALL) == {}


def test_sweeping_a_linear_sequence_shows_the_exact_optimum(call, tmp_path):
    words = ("linear-fewshot-50", "--out", tmp_path, "--seeds", "3", "--magnitudes", "0,0.5,1")
    code, out, _ = call("sweep", *words)
    assert code == 0
    assert "the exact optimum is" in out
    folder = tmp_path / "sweeps" / "linear-fewshot-50-by-fraction"
    rows = list(csv.DictReader(io.StringIO((folder / "curve.csv").read_text())))
    assert {row["metric"] for row in rows} == {"avg_loss", "forgetting", "task_loss"}
    for row in rows:
        assert float(row["mean"]) == pytest.approx(float(row["exact"]), abs=0.05)
    code, _, errors = call("sweep", "linear-fewshot-50", "--by", "ball", "--out", tmp_path)
    assert code == 1
    assert "use --by fraction" in errors


def test_the_linear_command_prints_measured_beside_exact(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    words = ("--first-samples", "300", "--draws", "5", "--seeds", "4")
    code, out, _ = call("linear", *words)
    assert code == 0
    assert "0.2393" in out  # frozen's exact forgetting at distance .5
    assert "best fraction of the update" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", "1"), "tasks must be at least 2"),
        (("--distance", "3"), "distance must be from 0"),
        (("--samples", "40"), "samples must differ by 2"),
    ],
)
def test_impossible_settings_are_one_line(call, words, message):
    code, out, errors = call("linear", *words)
    assert (code, out) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith("driftboard: ")
    assert message in line


def test_a_linear_run_ends_in_a_board_of_losses(call, tmp_path):
    words = ("--sequence", "linear-fewshot-50", "--strategy", "sgd", "--strategy", "frozen")
    code, out, errors = call(
        "run", "--suite", "linear", *words, "--seeds", "3", "--workers", "1", "--out", tmp_path
    )
    assert code == 0, errors
    assert "Avg.Loss" in out
    assert len(list(record_paths(tmp_path))) == 6
    names = {
        row["metric"]
        for row in csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text()))
    }
    assert names == {"avg_loss", "forgetting", "task_loss"}
    code, _, errors = call(
        "run", "--suite", "linear", *words, "--seeds", "3", "--workers", "1", "--out", tmp_path
    )
    assert code == 0
    assert "6 cells: all there already" in errors


def test_strategies_without_a_solution_are_refused_in_one_line(call, tmp_path):
    words = ("--sequence", "linear-fewshot-50", "--strategy", "sgd", "--strategy", "ball")
    code, _, errors = call(
        "run", "--suite", "linear", *words, "--seeds", "2", "--workers", "1", "--out", tmp_path
    )
    assert code == 1
    (line,) = [line for line in errors.splitlines() if line.startswith("driftboard: ")]
    assert "solved in closed form" in line


def test_protocol_and_name_decide_the_data():
    from driftboard.suite.linear.cells import measure

    loaded = load_strategy("noop")
    one, again, other = (measure(name, SMALL, loaded, (0,)).excess for name in ("a", "a", "b"))
    assert bool((one == again).all())
    assert not bool((one == other).any())

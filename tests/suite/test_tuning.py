"""Tuning: fixed trials, chosen on validation data; and the factor of the learning rate."""

import json
import sys
from dataclasses import replace

import pytest
from msgspec import structs

from driftboard.strategies.base import Range
from driftboard.suite.cli import tune as tune_command
from driftboard.suite.cli.main import main
from driftboard.suite.errors import RecordError, StrategyError
from driftboard.suite.loading import load_strategy, read_source
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import cell_path, read_record, record_paths, write_json, write_record
from driftboard.suite.sequences.registry import registered
from driftboard.suite.tuning import (
    read_tuning,
    trial_specifications,
    tuning_path,
    tuning_record,
)

OWN = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence

tiny = TaskSequence(
    name="tiny", description="", source="digits", scenario=Relabelled(2, 5), network="mlp-8x1",
    train_per_class=10, test_per_class=10,
    training=Training(epochs=1, minimum_steps=4, batch_size=10, learning_rate={rate}),
)
"""


def settings_of(specification):
    return dict(part.split("=") for part in specification.split(",")[1:])


def test_ranges_are_even_or_logarithmic():
    assert [Range(2.0, 6.0).at(place) for place in (0.0, 0.25, 1.0)] == [2.0, 3.0, 6.0]
    log = Range(0.1, 10.0, logarithmic=True)
    assert [log.at(place) for place in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 1.0, 10.0])


@pytest.mark.parametrize("name", ["sgd", "ewc", "hybrid", "constrained"])
def test_every_strategy_gets_the_same_number_of_trials_and_its_own_setting_first(name):
    specifications = trial_specifications(load_strategy(name))
    assert specifications[0] == name
    assert len(specifications) == len(set(specifications)) == TUNING.trials
    assert specifications == trial_specifications(load_strategy(name))
    space = load_strategy(name).strategy.search
    for specification in specifications[1:]:
        settings = settings_of(specification)
        assert set(settings) == {"rate", *space}
        rate = float(settings.pop("rate"))
        assert 0.99 * TUNING.lowest_rate <= rate <= 1.01 * TUNING.highest_rate
        for key, value in settings.items():
            assert space[key].low - 0.01 <= float(value) <= space[key].high * 1.01
        for value in settings_of(specification).values():
            assert value in (f"{float(value):.3g}", f"{float(value):#.3g}")
        load_strategy(specification)


def test_the_first_points_are_haltons():
    rates = [float(settings_of(s)["rate"]) for s in trial_specifications(load_strategy("sgd"))[1:4]]
    expected = [0.1 ** (1 - place) * 3.0**place for place in (0.5, 0.25, 0.75)]
    assert rates == pytest.approx(expected, rel=0.01)


def test_a_rate_is_a_parameter_of_every_strategy():
    loaded = load_strategy("ewc,rate=0.25,strength=10")
    assert (loaded.rate, loaded.strategy.strength) == (0.25, 10.0)
    assert loaded.stamp.name == "ewc-rate-0.25-strength-10.0"
    assert loaded.stamp.parameters["rate"] == 0.25
    assert load_strategy("ewc").rate == 1.0
    assert "rate" not in load_strategy("ewc").stamp.parameters


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "101", "x"])
def test_impossible_rates_are_refused(value):
    with pytest.raises(StrategyError, match="rate"):
        load_strategy(f"sgd,rate={value}")


def test_a_strategy_cannot_have_a_field_called_rate(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom driftboard.strategies import Strategy\n"
        "@dataclass(frozen=True)\nclass Mine(Strategy):\n    name = 'mine'\n    rate: float = 1.0\n"
    )
    with pytest.raises(StrategyError, match="call the field 'rate' of Mine something else"):
        load_strategy(str(tmp_path / "mine.py"))


def trained(tmp_path, rate, specification):
    from driftboard.suite.runs.cells import Cells
    from driftboard.suite.runs.job import Job

    tmp_path.mkdir()
    (tmp_path / "own.py").write_text(OWN.format(rate=rate))
    job = Job(
        label="tiny",
        payload=Cells(),
        sequence="tiny",
        sequence_sources=(read_source(tmp_path / "own.py"),),
        strategy=specification,
        seeds=(0, 1),
        wanted=(0, 1),
        purpose="test",
        data=None,
        results=tmp_path / "out",
        device="cpu",
        at_once=2,
        tasks=2,
        effort=1.0,
    )
    job.keep(job.measure())
    return [read_record(path) for path in record_paths(tmp_path / "out")]


def test_the_rate_multiplies_the_protocols_learning_rate(tmp_path):
    scaled = trained(tmp_path / "scaled", 0.05, "sgd,rate=2")
    direct = trained(tmp_path / "direct", 0.1, "sgd")
    plain = trained(tmp_path / "plain", 0.05, "sgd")
    assert [r.update_norms for r in scaled] == [r.update_norms for r in direct]
    assert [r.correct for r in scaled] == [r.correct for r in direct]
    assert [r.update_norms for r in scaled] != [r.update_norms for r in plain]


@pytest.fixture
def two_sequences():
    return [registered()["digits-split"], registered()["digits-repeat"]]


@pytest.fixture
def write_trials(make_record, tmp_path, two_sequences):
    """Return a function that writes records of trials, given as accuracies per sequence."""

    def write(**trials):
        for specification, accuracies in trials.items():
            name = load_strategy(specification.replace("__", ",rate=0.")).stamp.name
            for sequence, last in zip(two_sequences, accuracies, strict=True):
                for seed in PROTOCOL.tuning_seeds:
                    correct = ((80, 10), (last, last))
                    record = make_record(
                        sequence.name, name, seed, correct=correct, split="validation"
                    )
                    write_record(tmp_path, record)

    return write


def test_the_trial_with_the_best_mean_over_sequences_is_chosen(
    write_trials, two_sequences, tmp_path
):
    write_trials(sgd=(50, 60), sgd__3=(90, 40), sgd__5=(10, 80))
    record = tuning_record(["sgd", "sgd,rate=0.3", "sgd,rate=0.5"], two_sequences, tmp_path)
    assert [trial.avg_acc for trial in record.trials] == pytest.approx([0.55, 0.65, 0.45])
    assert record.trials[1].task_acc == pytest.approx(0.725)
    assert record.trials[1].forgetting == pytest.approx(0.15)
    assert record.chosen == 1
    assert record.seeds == PROTOCOL.tuning_seeds
    assert record.sequences == {s.name: s.hash() for s in two_sequences}
    path = tuning_path(tmp_path, "sgd")
    write_json(path, record)
    assert read_tuning(path) == record


def test_a_trials_means_without_diverged_runs_stand_beside_those_with_them(
    write_trials, two_sequences, tmp_path, capsys
):
    write_trials(sgd=(50, 60), sgd__3=(90, 40))
    runs = 2 * len(PROTOCOL.tuning_seeds)
    path = cell_path(tmp_path, "digits-split", "sgd", PROTOCOL.tuning_seeds[0])
    lost = {"status": "diverged", "diverged_at": 1, "diverged_by": "not finite"}
    lost["correct"] = ((80, 10), (10, 10))
    write_record(tmp_path, structs.replace(read_record(path), **lost))
    record = tuning_record(["sgd", "sgd,rate=0.3"], two_sequences, tmp_path)
    first, second = record.trials
    count = len(PROTOCOL.tuning_seeds)
    mean = (0.5 * (count - 1) + 0.6 * count) / (runs - 1)
    assert first.avg_acc == pytest.approx((0.5 * (count - 1) + 0.6 * count + 0.1) / runs)
    assert first.finished.avg_acc == pytest.approx(mean)
    assert (first.diverged, second.diverged, second.finished) == (1, 0, None)
    tune_command._show("sgd", record)
    assert (
        f"sgd: 1 of {runs} runs diverged and count with the accuracy of chance; without them "
        in (said := capsys.readouterr().out)
    )
    assert f"Avg.Acc {100 * mean:.1f}, Forgetting" in said


def test_missing_trials_and_foreign_files_are_refused(write_trials, two_sequences, tmp_path):
    write_trials(sgd=(50, 60))
    cell_path(tmp_path, "digits-split", "sgd", 1000).unlink()
    with pytest.raises(RecordError, match="cannot read"):
        tuning_record(["sgd"], two_sequences, tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RecordError, match="delete it and tune again"):
        read_tuning(tmp_path / "other.json")


def test_tuning_protocol_is_hashed():
    assert replace(TUNING, trials=9).stamp().hash != TUNING.stamp().hash


def test_the_command_runs_all_trials_on_tuning_seeds_only(monkeypatch, capsys, tmp_path):
    (tmp_path / "own.py").write_text(OWN.format(rate=0.05))
    words = ["tune", "sgd", "--sequence-file", tmp_path / "own.py", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["driftboard", *map(str, words), "--workers", "1"])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    shown = capsys.readouterr().out
    records = [read_record(path) for path in record_paths(tmp_path / "out")]
    assert len(records) == TUNING.trials * len(PROTOCOL.tuning_seeds)
    assert {record.seed for record in records} == set(PROTOCOL.tuning_seeds)
    assert {record.split for record in records} == {"validation"}
    content = json.loads((tmp_path / "out" / "tuning" / "sgd.json").read_text())
    best = max(content["trials"], key=lambda trial: trial["avg_acc"])
    assert content["trials"][content["chosen"]] == best
    assert {"own", "rate=0.548", "rate=1.96"} <= {line.split(" ")[-1] for line in shown.split("\n")}
    assert f"chosen: --strategy {best['specification']}" in shown.splitlines()


LONG = "a-name-of-sixty-four-letters-which-a-method-may-have-and-" + "x" * 7


def test_the_trials_of_a_strategy_of_a_long_name_have_names_too(tmp_path, call, one_thread):
    """Whatever ``new`` and ``check`` accept, ``tune`` accepts."""
    (tmp_path / "own.py").write_text(OWN.format(rate=0.05))
    assert len(LONG) == 64
    assert call("new", LONG, "--out", tmp_path)[0] == 0
    file = tmp_path / f"{LONG.replace('-', '_')}.py"
    words = ("tune", file, "--sequence-file", tmp_path / "own.py", "--out", tmp_path / "out")
    code, _, errors = call(*words)
    assert code == 0, errors
    names = {path.parent.name for path in record_paths(tmp_path / "out")}
    assert len(names) == TUNING.trials
    assert LONG in names
    assert {(len(name), name[:55]) for name in names} == {(64, LONG[:55])}
    record = read_tuning(tuning_path(tmp_path / "out", LONG))
    for trial in record.trials:
        assert load_strategy(trial.specification).stamp == trial.strategy


def test_search_ranges_that_are_not_sound_are_one_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from typing import ClassVar\nfrom driftboard.strategies import Strategy\n"
        "class Mine(Strategy):\n    name: ClassVar = 'mine'\n    search: ClassVar = {'a': 1}\n"
    )
    with pytest.raises(StrategyError, match=r"^mine: search names 'a', which is no field of type"):
        trial_specifications(load_strategy(str(file)))

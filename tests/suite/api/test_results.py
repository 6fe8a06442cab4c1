"""Results as frames: every value against the record it is of, or a matrix written by hand."""

import pytest
from msgspec.structs import replace

import driftboard as db
from driftboard.suite.records import write_record


@pytest.fixture
def folder(tmp_path, make_record):
    """Return a results folder with two strategies, two sequences and two seeds."""
    for sequence in ("alpha", "beta"):
        for strategy, last in (("sgd", (60, 80)), ("ewc", (88, 70))):
            for seed in (0, 1):
                correct = ((90 + seed, 10), last)
                write_record(tmp_path, make_record(sequence, strategy, seed, correct))
    return tmp_path


def test_a_frame_has_a_row_per_cell_and_metric(folder):
    frame = db.load(folder).frame()
    wanted = ["avg_acc", "task_acc", "forgetting", "step", "drift", "seconds"]
    assert set(wanted) <= set(frame["metric"])
    assert not frame.duplicated(["sequence", "strategy", "seed", "metric"]).any()
    values = frame.set_index(["sequence", "strategy", "seed", "metric"])["value"]
    assert values["alpha", "sgd", 0, "avg_acc"] == pytest.approx((0.60 + 0.80) / 2)
    assert values["alpha", "sgd", 1, "task_acc"] == pytest.approx((0.91 + 0.80) / 2)
    assert values["beta", "ewc", 0, "forgetting"] == pytest.approx(0.90 - 0.88)
    assert values["beta", "ewc", 0, "step"] == pytest.approx(5.0 / 10.0)
    assert values["beta", "ewc", 0, "seconds"] == 2.0
    assert set(frame["status"]) == {"finished"}


def test_the_accuracy_matrix_is_counts_over_sizes(folder):
    results = db.load(folder)
    matrix = results.accuracy("alpha", "ewc", seed=1)
    assert matrix.to_numpy().tolist() == [[0.91, 0.10], [0.88, 0.70]]
    assert matrix.index.tolist() == matrix.columns.tolist() == [1, 2]
    assert (matrix.index.name, matrix.columns.name) == ("after task", "task")
    mean = results.accuracy("alpha", "ewc")
    assert mean.loc[1, 1] == pytest.approx((0.90 + 0.91) / 2)


def test_losses_have_a_matrix_of_their_own(tmp_path, make_loss_record):
    write_record(tmp_path, make_loss_record())
    results = db.load(tmp_path)
    assert results.losses("alpha", "sgd").to_numpy().tolist() == [[0.5, 1.5], [0.75, 0.25]]
    with pytest.raises(db.DriftboardError, match=r"use \.losses"):
        results.accuracy("alpha", "sgd")
    frame = results.frame().set_index("metric")["value"]
    assert frame["avg_loss"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("alpa", "sgd"), "no sequence 'alpa'; did you mean alpha"),
        (("alpha", "egc"), "no strategy 'egc'; did you mean ewc"),
        (("alpha", "sgd", 7), "no record of sgd on alpha with seed 7"),
    ],
)
def test_what_is_not_there_is_named(folder, arguments, complaint):
    with pytest.raises(db.DriftboardError, match=complaint):
        db.load(folder).accuracy(*arguments)


def test_results_are_selected_by_names_and_patterns(folder):
    results = db.load(folder)
    assert (results.sequences, results.strategies, results.seeds) == (
        ("alpha", "beta"),
        ("ewc", "sgd"),
        (0, 1),
    )
    assert len(results) == 8
    one = results.select("al*", ["ewc"])
    assert (one.sequences, one.strategies, len(one)) == (("alpha",), ("ewc",), 2)
    assert one.records == db.load(folder, sequences="alpha", strategies="ewc").records
    assert (
        one.made_by
        == f"driftboard.load({str(folder)!r}).select(sequences=['al*'], strategies=['ewc'])"
    )
    with pytest.raises(db.DriftboardError, match="no strategy 'x\\*'"):
        results.select(strategies="x*")


def test_records_come_as_they_were_written(folder, make_record):
    assert db.load(folder).records[0] == make_record("alpha", "ewc", 0, ((90, 10), (88, 70)))


def test_a_notebook_shows_a_table(folder):
    html = db.load(folder)._repr_html_()
    assert "<table" in html
    assert "0.790" in html  # ewc on either sequence: (.88 + .70) / 2


def test_folders_that_are_none_are_refused(tmp_path, folder):
    with pytest.raises(db.RecordError, match="no records in"):
        db.load(tmp_path / "nothing")
    with pytest.raises(db.RecordError, match="name at least one"):
        db.load()
    broken = next(folder.rglob("seed-*.json"))
    broken.write_text("{")
    with pytest.raises(db.RecordError, match="not a driftboard record"):
        db.load(folder)


def test_published_sets_are_named():
    with pytest.raises(db.DriftboardError, match="no published records 'nope'"):
        db.published("nope")
    with pytest.raises(db.DriftboardError, match=r"there are .*quick"):
        db.published()


def test_of_one_cell_in_two_folders_the_first_one_counts(folder, tmp_path, make_record):
    other = tmp_path / "other"
    write_record(other, make_record("alpha", "sgd", 0, ((90, 10), (60, 80))))
    assert db.load(folder, other).records == db.load(folder).records
    assert "left out" not in repr(db.load(folder, other))
    write_record(other, make_record("alpha", "sgd", 0, ((90, 10), (61, 80))))
    assert db.load(folder, other).records == db.load(folder).records
    assert repr(db.load(folder, other)).endswith("seeds, 1 left out>")
    assert db.load(other, folder).accuracy("alpha", "sgd", seed=0).iloc[1, 0] == 0.61


def diverged(record):
    zeros = ((0.0, 0.0, 0.0),) * 2
    norms = {"update_norms": zeros, "solution_norms": zeros, "drift_norms": zeros}
    return replace(record, status="diverged", diverged_at=1, diverged_by="blow-up", **norms)


def test_diverged_runs_are_no_part_of_a_mean_that_does_not_say_so(tmp_path, make_record):
    chance = ((90, 10), (10, 10))
    for seed in range(3):
        record = make_record("alpha", "ewc", seed, chance if seed == 1 else ((90, 10), (60, 80)))
        write_record(tmp_path, diverged(record) if seed == 1 else record)
        write_record(tmp_path, diverged(make_record("alpha", "sgd", seed, chance)))
    results = db.load(tmp_path)
    assert repr(results) == (
        "<Results: 6 records, 1 sequences x 2 strategies x 3 seeds, 4 diverged>"
    )
    assert "4 of 6 runs diverged and count as chance" in results._repr_html_()
    matrix = results.accuracy("alpha", "ewc")
    assert matrix.to_numpy().tolist() == [[0.9, 0.1], [0.6, 0.8]]
    assert matrix.attrs == {"finished": [0, 2], "diverged": [1]}
    assert results.accuracy("alpha", "ewc", seed=1).iloc[1].tolist() == [0.1, 0.1]
    with pytest.raises(db.DriftboardError, match="all runs of sgd on alpha diverged"):
        results.accuracy("alpha", "sgd")
    frame = results.frame().query("strategy == 'ewc'")
    drift = frame[frame["metric"] == "drift"].set_index("seed")["value"]
    assert drift.isna().to_dict() == {0: False, 1: True, 2: False}
    assert drift.mean() == 0.5


def test_results_are_selected_by_seeds(folder):
    assert db.load(folder).select(seeds=[1]).seeds == (1,)
    with pytest.raises(db.DriftboardError, match="no record is of these"):
        db.load(folder).select(seeds=[7])
    one_by_one = db.load(folder).select(strategies=(name for name in ["sgd"]))
    assert one_by_one.made_by.endswith(".select(strategies=['sgd'])")

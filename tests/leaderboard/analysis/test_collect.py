"""From results folders to cells: values by hand, and every input that must be refused."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftboard.leaderboard.analysis.cells import cell_of, drift, matrix_of, step
from driftboard.leaderboard.analysis.collect import collect
from driftboard.suite.errors import RecordError
from driftboard.suite.records import cell_path, write_record


def write_all(folder, records):
    return [write_record(folder, record) for record in records]


def refusal(*folders, **options):
    """Return the one line with which ``collect`` refuses the folders."""
    with pytest.raises(RecordError) as caught:
        collect(folders, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_cell_by_hand(make_record):
    record = make_record(
        correct=((90, 20, 10), (70, 80, 30), (60, 50, 40)),
        update_norms=((9.0, 9.0, 9.0), (3.0, 4.0, 9.0), (0.0, 1.0, 9.0)),
        solution_norms=((12.0, 5.0, 1.0), (6.0, 8.0, 1.0), (3.0, 4.0, 1.0)),
        drift_norms=((0.0, 0.0, 0.0), (9.0, 9.0, 9.0), (3.9, 5.2, 9.0)),
        memory_bytes=(8, 24, 16),
    )
    cell = cell_of(record, matrix_of(record))
    assert (cell.sequence, cell.tier, cell.strategy) == ("alpha", "small", "sgd")
    assert (cell.role, cell.seed, cell.status) == ("ranked", 0, "finished")
    assert cell.metrics == pytest.approx(
        {
            "avg_acc": (0.6 + 0.5 + 0.4) / 3,
            "task_acc": (0.9 + 0.8 + 0.4) / 3,
            "forgetting": (0.3 + 0.3) / 2,
            "max_forgetting": (0.3 + 0.3) / 2,
            "backward_transfer": -0.3,
            "forward_transfer": (0.2 + 0.3) / 2 - 0.05,
            "incremental_accuracy": (0.9 + (0.7 + 0.8) / 2 + (0.6 + 0.5 + 0.4) / 3) / 3,
        }
    )
    assert cell.step == pytest.approx((5 / 10 + 1 / 5) / 2)
    assert cell.drift == pytest.approx(6.5 / 13)
    assert cell.memory_bytes == 24
    assert cell.seconds == 3.0


def test_loss_cell_by_hand(make_loss_record):
    record = make_loss_record(losses=((0.5, 4.0, 7.0), (1.0, 0.25, 6.0), (2.0, 0.5, 0.125)))
    cell = cell_of(record, matrix_of(record))
    assert cell.metrics == pytest.approx(
        {
            "avg_loss": (2.0 + 0.5 + 0.125) / 3,
            "task_loss": (0.5 + 0.25 + 0.125) / 3,
            "forgetting": (1.5 + 0.25) / 2,
        }
    )
    # the shared block stands before the head, which is the task-specific one
    assert (cell.step, cell.drift) == (0.5, 0.25)


def test_step_counts_neither_the_first_task_nor_the_head():
    assert step([(5.0, 5.0), (0.0, 5.0)], [(1.0, 1.0), (1.0, 1.0)]) == 0.0


def test_drift_counts_only_where_the_last_task_ended_and_not_the_head():
    norms = [(0.0, 0.0), (9.0, 9.0), (1.0, 9.0)]
    assert drift(norms, [(4.0, 1.0), (5.0, 5.0), (5.0, 5.0)]) == 0.25


def test_step_and_drift_are_not_defined_relative_to_nothing():
    assert math.isnan(step([(1.0, 1.0), (1.0, 1.0)], [(1.0, 1.0), (0.0, 1.0)]))
    assert math.isnan(drift([(0.0, 0.0), (1.0, 1.0)], [(0.0, 1.0), (1.0, 1.0)]))
    for function in (step, drift):
        assert math.isnan(function([(1.0,), (1.0,)], [(1.0,), (1.0,)]))


@st.composite
def counts(draw):
    tasks = draw(st.integers(2, 5))
    row = st.lists(st.integers(0, 100), min_size=tasks, max_size=tasks)
    return draw(st.lists(row, min_size=tasks, max_size=tasks))


@given(counts())
def test_metrics_are_bounded_and_agree(make_record, correct):
    record = make_record(correct=correct)
    found = cell_of(record, matrix_of(record)).metrics
    assert 0.0 <= found["avg_acc"] <= 1.0
    assert 0.0 <= found["task_acc"] <= 1.0
    assert -1.0 <= found["forgetting"] <= 1.0
    assert -1.0 <= found["forward_transfer"] <= 1.0
    assert found["backward_transfer"] == -found["forgetting"]
    tasks = len(correct)
    lost = (tasks - 1) / tasks * found["forgetting"]
    assert found["task_acc"] - found["avg_acc"] == pytest.approx(lost, abs=1e-12)


def test_matrices_are_means_over_seeds(make_record, make_loss_record, tmp_path):
    for seed, correct in enumerate((((90, 10), (60, 80)), ((70, 30), (20, 90)))):
        write_record(tmp_path / "accuracies", make_record("alpha", "ewc", seed, correct))
    (place,) = (matrices := collect([tmp_path / "accuracies"]).matrices)
    assert place == ("alpha", "ewc")
    assert sum(matrices[place], ()) == pytest.approx((0.8, 0.2, 0.4, 0.85))
    write_record(tmp_path / "losses", make_loss_record(losses=((0.5, 4.0), (2.0, 0.25))))
    assert collect([tmp_path / "losses"]).matrices == {("alpha", "sgd"): ((0.5, 4.0), (2.0, 0.25))}


def test_one_sequence_has_one_number_of_tasks(make_record, tmp_path):
    write_record(tmp_path, make_record(seed=0))
    write_record(tmp_path, make_record(seed=1, correct=((50, 0, 0),) * 3))
    message = refusal(tmp_path)
    assert "sequence alpha is not the same" in message
    assert "2 tasks" in message
    assert "3 tasks" in message


def test_collect_reads_several_folders_in_any_order(make_record, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_all(first, [make_record("beta", seed=1), make_record("alpha", "ewc", seed=0)])
    write_all(second, [make_record("beta", seed=0)])
    collection = collect([first, second])
    places = [(cell.sequence, cell.strategy, cell.seed) for cell in collection.cells]
    assert places == [("alpha", "ewc", 0), ("beta", "sgd", 0), ("beta", "sgd", 1)]
    assert collection == collect([second, first])
    assert collection.split == "test"
    assert collection.protocol.hash == "a" * 64
    assert set(collection.sequences) == {"alpha", "beta"}
    assert collection.versions["torch"] == ("2.11.0",)


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_how_records_are_spread_over_folders_makes_no_difference(make_record, shuffler):
    records = [
        make_record(sequence, strategy, seed)
        for sequence in ("alpha", "beta")
        for strategy in ("sgd", "ewc")
        for seed in range(2)
    ]
    shuffler.shuffle(records)
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, name) for name in "xyz"]
        for index, record in enumerate(records):
            write_record(folders[index % 3], record)
        shuffler.shuffle(folders)
        cells = collect(folders).cells
    assert list(cells) == [
        cell_of(record, matrix_of(record))
        for record in sorted(records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed))
    ]


def test_excess_losses_make_a_collection_of_their_own(make_record, make_loss_record, tmp_path):
    write_all(tmp_path / "losses", [make_loss_record(seed=seed) for seed in range(2)])
    write_all(tmp_path / "accuracies", [make_record("beta")])
    losses = collect([tmp_path / "losses"])
    assert losses.measure == "excess-loss"
    assert [cell.metrics["avg_loss"] for cell in losses.cells] == [0.5, 0.5]
    assert collect([tmp_path / "accuracies"]).measure == "accuracy"
    message = refusal(tmp_path / "losses", tmp_path / "accuracies")
    assert "the measure is not the same in all records: accuracy in" in message
    assert "excess-loss in" in message


def test_no_folder_is_refused():
    assert "no results folder" in refusal()


@pytest.mark.parametrize("exists", [True, False])
def test_empty_folder_is_refused_even_beside_a_full_one(make_record, tmp_path, exists):
    empty = tmp_path / "empty"
    if exists:
        empty.mkdir()
    write_all(tmp_path / "full", [make_record()])
    assert f"no records in {empty}" in refusal(tmp_path / "full", empty)


BROKEN = {
    "empty": b"",
    "truncated": b'{"schema": 1, "protocol"',
    "other-schema": b'{"schema": 2}',
    "not-text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_record_is_named_and_left_out_only_on_request(make_record, tmp_path, content):
    write_all(tmp_path, [make_record(seed=0), make_record(seed=2)])
    broken = cell_path(tmp_path, "alpha", "sgd", 1)
    broken.write_bytes(content)
    message = refusal(tmp_path)
    assert str(broken) in message
    assert "--skip-broken" in message
    collection = collect([tmp_path], skip_broken=True)
    assert [cell.seed for cell in collection.cells] == [0, 2]
    assert len(collection.skipped) == 1
    assert str(broken) in collection.skipped[0]


def test_only_broken_records_are_refused(tmp_path):
    broken = cell_path(tmp_path, "alpha", "sgd", 0)
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"")
    assert "only 1 broken" in refusal(tmp_path, skip_broken=True)


@pytest.mark.parametrize(
    "place",
    ["beta/sgd/seed-0000.json", "alpha/ewc/seed-0000.json", "alpha/sgd/seed-0001.json"],
)
def test_record_in_the_wrong_place_is_refused(make_record, tmp_path, place):
    (path,) = write_all(tmp_path, [make_record()])
    wrong = tmp_path / "records" / place
    wrong.parent.mkdir(parents=True, exist_ok=True)
    path.rename(wrong)
    message = refusal(tmp_path)
    assert str(wrong) in message
    assert "alpha/sgd/seed-0000.json" in message


def test_overall_is_no_name_for_a_sequence(make_record, tmp_path):
    write_all(tmp_path, [make_record("overall")])
    assert "'overall'" in refusal(tmp_path)


def change(part, **changes):
    """Return a function that replaces fields of one part of a record."""
    return lambda record: replace(record, **{part: replace(getattr(record, part), **changes)})


ALMOST_B = "b" * 63 + "0"
MIXTURES = {
    "protocol hash": (change("protocol", hash="a" * 63 + "0"), "the protocol"),
    "protocol name": (change("protocol", name="other"), "other version 1"),
    "protocol version": (change("protocol", version=2), "made-up version 2"),
    "sequence hash": (change("sequence", hash=ALMOST_B), "sequence alpha"),
    "data hash": (change("sequence", data_hash="c" * 63 + "0"), "sequence alpha"),
    "data": (change("sequence", data="Other"), "'Other'"),
    "tier": (change("sequence", tier="large"), "tier large"),
    "source": (change("strategy", source_hash="d" * 63 + "0"), "strategy sgd"),
    "parameters": (change("strategy", parameters={"rate": 0.1}), "{'rate': 0.1}"),
    "role": (change("strategy", role="bound"), "bound from source"),
    "split": (lambda record: replace(record, split="validation"), "validation"),
}


OF_ALL = ("protocol hash", "protocol name", "protocol version", "split")


@pytest.mark.parametrize(
    ("mix", "word", "apart"),
    [
        pytest.param(mix, word, apart, id=f"{name}, {'two folders' if apart else 'one'}")
        for name, (mix, word) in MIXTURES.items()
        for apart in (False, True)
        if not apart or name in OF_ALL
    ],
)
def test_records_of_two_kinds_are_refused(make_record, tmp_path, mix, word, apart):
    folders = [tmp_path / "a", tmp_path / "b"] if apart else [tmp_path, tmp_path]
    write_all(folders[0], [make_record(seed=0)])
    write_all(folders[1], [mix(make_record(seed=1))])
    message = refusal(*folders)
    assert word in message
    assert "not the same" in message
    assert "seed-0000.json" in message
    assert "seed-0001.json" in message
    assert "results folder of its own" in message
    assert message == refusal(*folders[::-1])


def test_many_kinds_do_not_flood_the_terminal(make_record, tmp_path):
    for seed in range(9):
        record = change("protocol", hash=f"{seed}" * 64)(make_record(seed=seed))
        write_record(tmp_path, record)
    message = refusal(tmp_path)
    assert "and more" in message
    assert message.count("seed-") < 9


def test_two_sequences_and_two_strategies_may_differ(make_record, tmp_path):
    other = make_record("beta", "ewc")
    other = change("sequence", hash=ALMOST_B, data_hash="e" * 64, data="Other")(other)
    other = change("strategy", source_hash="e" * 64, parameters={"strength": 2})(other)
    write_all(tmp_path, [make_record(), other])
    assert len(collect([tmp_path]).cells) == 2


EWC = {"strength": 30.0, "decay": 1.0, "labels": "exact"}
ALIKE = [
    (("ewc", EWC), ("ewc-strength-30.0", EWC)),
    (("sgd", {}), ("sgd-rate-1.0", {"rate": 1.0})),
    (
        ("ewc-rate-0.5-strength-2.0", {**EWC, "strength": 2.0, "rate": 0.5}),
        ("ewc-strength-2.0-rate-0.5", {"rate": 0.5, **EWC, "strength": 2.0}),
    ),
]
APART = [
    (("ewc", EWC), ("ewc-strength-2.0", {**EWC, "strength": 2.0})),
    (("noop", {}), ("scratch", {})),  # two classes of one file
    (("mine", {"count": 2}), ("mine-2", {"count": 2})),
    (("mine", {"fast": True}), ("mine-not-fast", {"fast": True})),
]


@pytest.mark.parametrize(
    ("pair", "is_one"), [*((p, True) for p in ALIKE), *((p, False) for p in APART)]
)
def test_one_strategy_under_two_names_is_refused(make_record, tmp_path, pair, is_one):
    for name, parameters in pair:
        write_all(tmp_path, [change("strategy", parameters=parameters)(make_record("alpha", name))])
    if is_one:
        assert "are one strategy with equal settings under two names" in refusal(tmp_path)
    else:
        assert len(collect([tmp_path]).cells) == 2

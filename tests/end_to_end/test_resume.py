"""A run whose cells are all there: it says so, makes the board, and trains nothing."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from driftboard.suite.data import load_pool
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import write_record
from driftboard.suite.sequences.registry import registered

SEQUENCE = registered()["digits-overlap-50"]
SGD = load_strategy("sgd")
DIGITS = load_pool("digits", None).fingerprint


@pytest.fixture
def options_of(tmp_path, make_record):
    """Return a function that writes records of some seeds; it returns the options of a run."""

    def write(seeds):
        for seed in seeds:
            record = make_record(SEQUENCE.name, SGD.stamp.name, seed)
            stamp = replace(record.sequence, hash=SEQUENCE.hash(), data_hash=DIGITS)
            changes = {"protocol": PROTOCOL.stamp(), "sequence": stamp, "strategy": SGD.stamp}
            write_record(tmp_path / "results", replace(record, **changes))
        options = ["--sequence", SEQUENCE.name, "--strategy", "sgd", "--seeds", "3"]
        return ["run", *options, "--out", str(tmp_path / "results")]

    return write


def test_complete_folder_needs_no_worker(options_of, call, tmp_path, monkeypatch):
    monkeypatch.setattr("driftboard.suite.runs.local.start_worker", None)
    code, _, said = call(*options_of(range(3)))
    assert code == 0
    assert "1 sequence x 1 strategy, 3 cells: all there already" in said
    assert (tmp_path / "results" / "leaderboard.md").is_file()


def test_what_is_missing_is_planned_for_the_device_at_hand(options_of, call, monkeypatch):
    from driftboard.suite.runs.scheduler import Scheduler

    planned = []

    @contextmanager
    def nobody(device, count):
        planned.append((device, count))
        yield SimpleNamespace(description="nowhere")

    def run(scheduler, jobs):
        planned.extend((job.device, job.seeds) for job in jobs)
        return []

    monkeypatch.setattr("driftboard.suite.runs.local.local_executor", nobody)
    monkeypatch.setattr(Scheduler, "run", run)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("driftboard.suite.training.memory_plan.cohort_bytes", lambda _: 2**34)
    code, _, said = call(*options_of([0, 2]), "--workers", "3")
    assert planned == [("cuda", 3), ("cuda", (0, 1, 2))]
    assert (code, "1 cell of this run vanished" in said) == (1, True)  # for nobody made it
    assert "3 cells, nowhere; results in" in said
    assert "already there: 2 cells" in said  # though they are trained with the one that lacks

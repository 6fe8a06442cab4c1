"""A run whose cells are all there: it says so, makes the board, and trains and imports nothing."""

import subprocess
import sys

import pytest
from msgspec.structs import replace

from driftboard.suite.known_stamps import stamped
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import write_record
from driftboard.suite.sequences.registry import registered

SEQUENCE = registered()["digits-overlap-50"]
SGD = load_strategy("sgd")
PROGRAM = """
import sys
from driftboard.suite.cli.main import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""


@pytest.fixture
def options_of(tmp_path, make_record):
    """Return a function that writes records of some seeds; it returns the options of a run."""

    def write(seeds):
        for seed in seeds:
            record = make_record(SEQUENCE.name, SGD.stamp.name, seed)
            stamp = replace(record.sequence, hash=SEQUENCE.hash())
            changes = {"protocol": PROTOCOL.stamp(), "sequence": stamp, "strategy": SGD.stamp}
            write_record(tmp_path / "results", replace(record, **changes))
        options = ["--sequence", SEQUENCE.name, "--strategy", "sgd", "--seeds", "3"]
        return ["run", *options, "--out", str(tmp_path / "results")]

    return write


def test_complete_folder_needs_no_torch(options_of, tmp_path):
    stamped(["sgd"])  # kept from here on
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *options_of(range(3))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 sequence x 1 strategy, 3 cells: all there already" in done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    assert (tmp_path / "results" / "leaderboard.md").is_file()


def test_what_is_missing_is_planned_for_the_device_at_hand(options_of, call, monkeypatch):
    from driftboard.suite.runs.local_crew import local_workers

    planned = []

    def work_off(hire, make_plan, cells, what, results):
        planned.append((cells, hire.func, *hire.args))
        return []

    monkeypatch.setattr("driftboard.suite.runs.progress.work_off", work_off)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    code, _, said = call(*options_of([0, 2]), "--workers", "3")
    assert (code, planned) == (0, [(3, local_workers, "cuda", 3)])
    assert "already" not in said

"""Running cells of a submission again: one in earnest, the misdeeds with a process made up."""

import hashlib
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.verification import rerun as module
from driftboard.leaderboard.verification.rerun import run_again
from driftboard.leaderboard.verification.submission import SubmissionData
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import StrategyStamp, write_record
from driftboard.suite.sandbox.process import Finished
from driftboard.suite.submissions import Submission, Versions

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies import Strategy


@dataclass(frozen=True)
class Still(Strategy):
    \"\"\"Trains as sgd does.\"\"\"

    strength: float = 1.0
    name: ClassVar[str] = "still"
    summary: ClassVar[str] = "Nothing new."
"""
GIGABYTE = 10**9


def submission(stamp, specification="still.py"):
    return Submission(
        title="Still",
        authors=("A",),
        licence="MIT",
        schema=1,
        tier="quick",
        strategy=stamp,
        source="still.py",
        specification=specification,
        protocol=PROTOCOL.stamp(),
        environment=Versions("0", "3", "2", "cpu"),
        files={},
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "still.py").write_text(SOURCE)
    return tmp_path


@pytest.fixture
def submitted(make_record):
    """A submission of two sequences with three seeds each."""
    stamp = StrategyStamp("still", "ranked", {"strength": 1.0}, "d" * 64)
    records = tuple(
        replace(make_record(name, "still", seed, ((90, 10), (60 + seed, 80))), strategy=stamp)
        for name in ("alpha", "beta")
        for seed in range(3)
    )
    return SubmissionData(submission(stamp), records, "d" * 64, digest="e" * 64)


def pretend(monkeypatch, records=(), **changes):
    """Let the limited process write these records, or end otherwise."""
    calls = []

    def run_limited(program, folder, seconds, memory_bytes, environment):
        calls.append(program)
        assert (folder / "still.py").read_text() == SOURCE
        for record in records:
            write_record(folder / "out", record)
        return replace_finished(**changes)

    def replace_finished(code=0, stopped="", output="", confined=True):
        return Finished(code, stopped, output, 1.0, confined)

    monkeypatch.setattr(module, "run_limited", run_limited)
    return calls


def outcome(folder, submitted, cells=2, salt=""):
    findings, badge = run_again(folder, submitted, cells, salt, 60.0, GIGABYTE)
    return {(finding.level, finding.check): finding for finding in findings}, badge


def test_equal_cells_earn_a_badge(monkeypatch, folder, submitted):
    calls = pretend(monkeypatch, submitted.records)
    findings, badge = outcome(folder, submitted)
    assert findings.keys() == {("ok", "re-run"), ("ok", "drawn")}
    assert badge == "spot re-run"
    assert outcome(folder, submitted, cells=6)[1] == "fully re-run"
    program = calls[1]
    assert program[1:6] == ["-m", "driftboard.suite.sandbox.run_alone", "still.py", "out", "3"]
    assert sorted(program[6:]) == ["alpha", "beta"]


def test_other_counts_on_the_same_machine_are_refused(monkeypatch, folder, submitted):
    changed = [replace(record, correct=((90, 10), (0, 80))) for record in submitted.records]
    pretend(monkeypatch, changed)
    findings, badge = outcome(folder, submitted)
    assert "not the results of the same run" in findings["FAILED", "re-run"].found
    assert badge is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": None, "stopped": "it took longer than it may"}, "took longer"),
        ({"code": 1, "output": "nonsense\nthere is no gradient\n"}, "there is no gradient"),
        ({"code": -9}, "code -9: without a word"),
        ({"code": 0}, "left no record of"),
    ],
)
def test_what_does_not_end_well_is_refused(monkeypatch, folder, submitted, changes, words):
    pretend(monkeypatch, **changes)
    findings, badge = outcome(folder, submitted)
    assert words in findings["FAILED", "re-run"].found
    assert badge is None


def test_unconfined_writes_are_told(monkeypatch, folder, submitted):
    pretend(monkeypatch, submitted.records, confined=False)
    findings, badge = outcome(folder, submitted)
    assert "container" in findings["warning", "drawn"].advice
    assert badge == "spot re-run"


def test_the_salt_decides_what_is_drawn(monkeypatch, folder, submitted):
    pretend(monkeypatch, submitted.records)
    drawn = {outcome(folder, submitted, 1, str(salt))[0]["ok", "drawn"].found for salt in range(40)}
    assert len(drawn) == 6


def test_a_real_run_is_repeated_in_a_limited_process(folder):
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.records import read_record, record_paths
    from driftboard.suite.sandbox.run_alone import run_alone

    specification = f"{folder / 'still.py'},strength=2"
    run_alone(specification, folder / "made", 2, ["digits-repeat"], None)
    records = tuple(map(read_record, record_paths(folder / "made")))
    assert [record.seed for record in records] == [0, 1]
    stamp = load_strategy(specification).stamp
    assert stamp.source_hash == hashlib.sha256(Path(folder, "still.py").read_bytes()).hexdigest()
    submitted = SubmissionData(
        submission(stamp, "still.py,strength=2"), records, stamp.source_hash, digest="e" * 64
    )
    findings, badge = run_again(folder, submitted, 2, "", 300.0, 8 * GIGABYTE)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert "2 cells, 2 with equal results" in findings[0].found
    assert badge == "fully re-run"

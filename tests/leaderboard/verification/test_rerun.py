"""Running cells again: what is drawn and compared, one run in earnest, misdeeds made up."""

import json

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.verification import rerun
from driftboard.leaderboard.verification.report import Finding
from driftboard.leaderboard.verification.rerun import run_again
from driftboard.leaderboard.verification.submission import SubmissionData
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    PlanStamp,
    StrategyStamp,
    write_record,
)
from driftboard.suite.sandbox.process import Finished
from driftboard.suite.source.code import code_digest
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
MOVES = """
    def begin(self, task, parameters, memory):
        plan = task.everything()
        return type(plan)(share.SHARE * plan.share, plan.restart), memory
"""
GIGABYTE = 10**9
PASSED = ((1.0,) * 3, (1.0, 0.5, 0.8))


def submission(stamp, specification="still.py", source="still.py"):
    return Submission(
        title="Still",
        authors=("A",),
        licence="MIT",
        schema=2,
        tier="quick",
        strategy=stamp,
        source=source,
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
    stamp = StrategyStamp("still", "ranked", {"strength": 1.0}, "d" * 64, ("still.py",))
    records = tuple(
        replace(make_record(name, "still", seed, ((90, 10), (60 + seed, 80))), strategy=stamp)
        for name in ("alpha", "beta")
        for seed in range(3)
    )
    return SubmissionData(
        submission(stamp), records, "d" * 64, digest="e" * 64, sources={"still.py": SOURCE.encode()}
    )


def pretend(monkeypatch, records=(), **changes):
    """Let the limited process write these records, or end otherwise."""
    calls = []

    def run_sandboxed(program, folder, seconds, memory_bytes, environment):
        calls.append(program)
        assert (folder / "still.py").read_text() == SOURCE
        for record in records:
            write_record(folder / "out", record)
        return replace_finished(**changes)

    def replace_finished(code=0, stopped="", output="", confined=True):
        return Finished(code, stopped, output, 1.0, confined)

    monkeypatch.setattr(rerun, "run_sandboxed", run_sandboxed)
    return calls


def outcome(submitted, cells=2, salt=""):
    findings, badge = run_again(submitted, cells, salt, 60.0, GIGABYTE)
    return {(finding.level, finding.check): finding for finding in findings}, badge


def test_equal_cells_earn_a_badge(monkeypatch, submitted):
    calls = pretend(monkeypatch, submitted.records)
    findings, badge = outcome(submitted)
    assert findings.keys() == {("ok", "re-run"), ("ok", "drawn")}
    assert badge == "spot re-run"
    assert outcome(submitted, cells=6)[1] == "fully re-run"
    program = calls[1]
    assert program[1:6] == ["-m", "driftboard.suite.sandbox.run_cells", "./still.py", "out", "3"]
    assert sorted(program[6:]) == ["alpha", "beta"]


def test_other_counts_on_the_same_machine_are_refused(monkeypatch, submitted):
    changed = [replace(record, correct=((90, 10), (0, 80))) for record in submitted.records]
    pretend(monkeypatch, changed)
    findings, badge = outcome(submitted)
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
def test_what_does_not_end_well_is_refused(monkeypatch, submitted, changes, words):
    pretend(monkeypatch, **changes)
    findings, badge = outcome(submitted)
    assert words in findings["FAILED", "re-run"].found
    assert findings["FAILED", "re-run"].trace == changes.get("output", "")
    assert badge is None


def test_what_the_program_printed_is_shown_where_it_is_asked_for(call, monkeypatch, tmp_path):
    failed = Finding("FAILED", "re-run", "1 / 0", "mend it", "Traceback\n  a\x1b[2J\nError")
    monkeypatch.setattr(
        "driftboard.leaderboard.verification.checks.examine_folder", lambda *_: (None, [failed])
    )
    report = tmp_path / "report.json"
    code, out, errors = call("verify", tmp_path, "--json", report)
    assert (code, errors) == (1, "")
    code, again, errors = call("verify", tmp_path, "--json", report, "--traceback")
    assert (code, errors) == (1, "Traceback\n  a\\x1b[2J\nError\n")
    assert again == out
    assert json.loads(report.read_text())["findings"] == [
        {"level": "FAILED", "check": "re-run", "found": "1 / 0", "advice": "mend it"}
    ]


def test_unconfined_writes_are_told(monkeypatch, submitted):
    pretend(monkeypatch, submitted.records, confined=False)
    findings, badge = outcome(submitted)
    assert "container" in findings["warning", "drawn"].advice
    assert badge == "spot re-run"


def test_the_salt_decides_what_is_drawn(monkeypatch, submitted):
    pretend(monkeypatch, submitted.records)
    drawn = {outcome(submitted, 1, str(salt))[0]["ok", "drawn"].found for salt in range(40)}
    assert len(drawn) == 6


def test_a_real_run_is_repeated_in_a_limited_process(folder):
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.records import read_record, record_paths
    from driftboard.suite.sandbox.run_cells import run_cells

    specification = f"{folder / 'still.py'},strength=2"
    run_cells(specification, folder / "made", 2, ["digits-repeat"], None)
    records = tuple(map(read_record, record_paths(folder / "made")))
    assert [record.seed for record in records] == [0, 1]
    stamp = load_strategy(specification).stamp
    assert stamp.source_hash == code_digest(SOURCE.encode())
    submitted = SubmissionData(
        submission(stamp, "still.py,strength=2"),
        records,
        stamp.source_hash,
        digest="e" * 64,
        sources={"still.py": SOURCE.encode()},
    )
    findings, badge = run_again(submitted, 2, "", 300.0, 8 * GIGABYTE)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert "2 cells, 2 with equal results" in findings[0].found
    assert badge == "fully re-run"


def test_a_strategy_of_several_files_is_run_again_with_all_of_them(tmp_path):
    """In a folder that has the name of a built-in strategy."""
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.records import read_record, record_paths
    from driftboard.suite.sandbox.run_cells import run_cells

    files = {
        "ewc/__init__.py": "from .still import Still\n",
        "ewc/still.py": f"from . import share\n{SOURCE}{MOVES}",
        "ewc/share.py": "SHARE = 0.5\n",
    }
    for place, text in files.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    run_cells(f"{tmp_path / 'ewc'}", tmp_path / "made", 2, ["digits-repeat"], None)
    records = tuple(map(read_record, record_paths(tmp_path / "made")))
    assert records[0].plans[1].share == (0.5, 0.5, 0.5)
    stamp = load_strategy(f"{tmp_path / 'ewc'}").stamp
    submitted = SubmissionData(
        submission(stamp, "ewc", "ewc"),
        records,
        stamp.source_hash,
        digest="e" * 64,
        sources={place: text.encode() for place, text in files.items()},
    )
    findings, badge = run_again(submitted, 2, "", 300.0, 8 * GIGABYTE)
    assert {finding.level for finding in findings} == {"ok"}, findings
    assert badge == "fully re-run"


# Running again: drawing and comparing.


def test_drawing_depends_on_digest_and_salt_and_not_on_the_order():
    cells = [(name, seed) for name in "abcd" for seed in range(10)]
    drawn = rerun.draw_cells(cells, 5, "d" * 64)
    assert len(set(drawn)) == 5
    assert rerun.draw_cells(cells[::-1], 5, "d" * 64) == drawn
    assert rerun.draw_cells(cells, 8, "d" * 64)[:5] == drawn
    assert rerun.draw_cells(cells, 5, "e" * 64) != drawn
    assert rerun.draw_cells(cells, 5, "d" * 64, "salt") != drawn
    assert set(rerun.draw_cells(cells, 99, "d" * 64)) == set(cells)


def test_every_cell_is_drawn_equally_often():
    cells = [("a", seed) for seed in range(10)]
    times = dict.fromkeys(cells, 0)
    for salt in range(2000):
        for cell in rerun.draw_cells(cells, 3, "d" * 64, str(salt)):
            times[cell] += 1
    # 600 each with a standard deviation of 20.5
    assert all(abs(count - 600) < 90 for count in times.values())


def elsewhere(record, **changes):
    return replace(record, environment=replace(record.environment, device="another"), **changes)


def levels(pairs, noise=None):
    return [finding.level for finding in rerun.compare(pairs, {"alpha": noise})]


def test_on_the_same_machine_results_must_be_equal(make_record):
    one, again = make_record(), make_record(cost=replace(make_record().cost, peak_memory_bytes=7))
    assert levels([(one, again)]) == ["ok"]
    other = make_record(correct=((90, 10), (60, 81)))
    assert levels([(one, other)]) == ["FAILED"]
    assert levels([(one, elsewhere(other))]) == ["warning"]
    assert levels([(one, elsewhere(one))]) == ["ok"]
    generous = rerun.Noise(0.5, 10)
    assert levels([(one, other)], generous) == ["FAILED"]
    assert levels([(one, elsewhere(other))], generous) == ["ok"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plans", {"plans": (PlanStamp((1.0, 0.5, 1.0), (False,) * 3),) * 2}),
        ("norms", {"update_norms": ((3.0, 4.0, 9.0), (3.0, 4.0001, 9.0))}),
        ("memory", {"memory_bytes": (0, 8)}),
        ("operations", {"operations": (1, 2)}),
        ("divergence", {"status": "diverged", "diverged_at": 1, "diverged_by": "blow-up"}),
        ("passed", {"passed": ((1.0,) * 3, (1.0, 0.9, 0.8))}),
    ],
)
def test_on_the_same_machine_a_training_must_be_the_same(make_record, name, changes):
    one, other = make_record(passed=PASSED), make_record(**{"passed": PASSED} | changes)
    (finding,) = rerun.compare([(other, one)], {})
    assert finding.level == "FAILED"
    assert finding.found.endswith(f"but not all else: alpha seed 0 ({name})")
    # another version of the package may plan, measure or count in another way
    older = replace(other.environment, package="f" * 64)
    assert levels([(replace(other, environment=older), one)]) == ["ok"]
    assert levels([(elsewhere(other), one)]) == ["ok"]


def test_rounding_is_no_other_training(make_record):
    one = make_record(passed=PASSED)
    norms = ((3.0, 4.0 + 1e-6, 9.0), (3.0, 4.0, 9.0))
    rounded = make_record(passed=((1.0,) * 3, (1.0, 0.5, 0.80005)), update_norms=norms)
    assert levels([(one, rounded)]) == ["ok"]


def test_only_a_strategy_that_corrects_gradients_tells_what_passes(make_record):
    silent, telling = make_record(), elsewhere(make_record(passed=PASSED))
    invented = rerun.compare([(telling, silent)], {})
    assert [one.level for one in invented] == ["ok", "FAILED"]
    assert invented[1].found.endswith("but the strategy corrects none")
    assert levels([(silent, telling)]) == ["ok", "warning"]
    assert levels([(silent, silent)]) == ["ok"]


def test_what_passes_is_held_against_other_seeds(make_record):
    """t(0.975, 4) is 2.776: of noise 0.01 a difference of 0.0277 is fine, 0.0278 is not."""

    def found(part, **changes):
        one = make_record(passed=((1.0,) * 3, (part,) * 3), **changes)
        again = elsewhere(make_record(passed=((1.0,) * 3, (0.5,) * 3)))
        pair = [(one, again)]
        return rerun.compare(pair, {}, {"alpha": rerun.Noise(0.01, 4)})

    assert [one.level for one in found(0.5277)] == ["ok"]
    assert [one.level for one in found(0.5278)] == ["FAILED", "FAILED"]
    assert found(0.6)[0].found == (
        "what passes of the gradient: farther from the re-run than another seed would be: "
        "alpha seed 0 (+0.1000)"
    )
    diverged = {"status": "diverged", "diverged_at": 1, "diverged_by": "blow-up"}
    assert [one.level for one in found(0.6, **diverged)] == ["ok"]


def test_noise_of_what_passes_is_over_later_tasks_of_finished_seeds(make_record):
    diverged = {"status": "diverged", "diverged_at": 1, "diverged_by": "blow-up"}

    def record(seed, part, **changes):
        return make_record(seed=seed, passed=((0.0,) * 3, (part, 0.5, 0.6)), **changes)

    own = [record(seed, 0.1 + 0.3 * seed) for seed in range(3)]
    lost = [record(3, 7.0, **diverged), make_record(seed=4)]
    # means of .4, .5 and .6 have a deviation of .1
    assert rerun.noise_of_passed(own + lost) == rerun.Noise(pytest.approx(0.1 * 2**0.5), 2)
    assert rerun.noise_of_passed(own[:1] + lost) is None
    equal = [replace(own[0], seed=seed) for seed in range(3)]
    assert rerun.noise_of_passed(equal) == rerun.Noise(1e-4, 2)


def test_a_processor_without_a_name_may_be_another_one(make_record):
    def on(device, **changes):
        record = make_record(**changes)
        return replace(record, environment=replace(record.environment, device=device))

    for device, level in (
        ("x86_64 CPU, 1 thread(s)", "ok"),
        ("arm64 CPU, 8 thread(s)", "ok"),
        ("x86_64 CPU (A Processor, AVX2), 1 thread(s)", "FAILED"),
        ("NVIDIA H200", "FAILED"),
    ):
        pair = on(device), on(device, correct=((90, 10), (60, 81)))
        assert levels([pair], rerun.Noise(0.5, 10)) == [level]


def test_elsewhere_the_noise_decides(make_record):
    """t(0.975, 4) is 2.776 and t(0.9875, 4) is 3.495, from a table."""

    def found(*shifts):
        pairs = [
            (
                make_record(seed=seed, correct=((90, 10), (500, 500)), size=1000),
                elsewhere(
                    make_record(seed=seed, correct=((90, 10), (500, 500 - 2 * shift)), size=1000)
                ),
            )
            for seed, shift in enumerate(shifts)
        ]
        return [one.found for one in rerun.compare(pairs, {"alpha": rerun.Noise(0.01, 4)})]

    # a shift of 1 is a difference of Avg.Acc of 0.001
    assert found(27) == ["1 cell, 0 with equal results, the others off by 0.0270 at most"]
    assert found(28)[0].endswith("than another seed would be: alpha seed 0 (+0.0280)")
    assert "2 cells, 0 with equal" in found(34, -34)[0]
    assert "2 cells, 1 with equal" in found(0, 20)[0]
    assert "seed 1" in found(0, 35)[0]
    # on average 0.0200 of two cells against 2.776 * 0.01 / sqrt(2) = 0.0196
    assert found(20, 20) == ["+0.0200 from the re-runs on average, more than 0.0196"]
    assert "2 cells" in found(19, 20)[0]


def test_noise_of_several_sequences_adds_up(make_record):
    """Of noises 0.01 and 0.02 the sum has sqrt(5) * 0.01; t(0.975, 2) is 4.303."""

    def found(**shifts):
        pairs = [
            (
                make_record(name, correct=((90, 10), (500, 500)), size=1000),
                elsewhere(make_record(name, correct=((90, 10), (500, 500 - shift)), size=1000)),
            )
            for name, shift in shifts.items()
        ]
        noise = {"alpha": rerun.Noise(0.01, 9), "beta": rerun.Noise(0.02, 2)}
        return [one.found for one in rerun.compare(pairs, noise)]

    # differences of 0.02 and 0.076 or 0.077 against 4.303 * 0.0224 = 0.0962 for their sum
    assert "2 cells, 0 with equal" in found(alpha=40, beta=152)[0]
    assert found(alpha=40, beta=154) == ["+0.0485 from the re-runs on average, more than 0.0481"]


def test_noise_over_seeds_is_that_of_two_trainings(make_record, make_loss_record):
    """Final accuracies .5, .6 and .7 have a deviation of .1."""
    own = [
        make_record(seed=seed, correct=((90, 10), (500 + 100 * seed, 500 + 100 * seed)), size=1000)
        for seed in range(3)
    ]
    assert rerun.noise_over_seeds(own) == rerun.Noise(pytest.approx(0.1 * 2**0.5), 2)
    assert rerun.noise_over_seeds(own[:2]) == rerun.Noise(pytest.approx(0.1), 1)
    assert rerun.noise_over_seeds(own[:1]) is None
    # of equal cells one image of one of the two tasks
    equal = [replace(own[0], seed=seed) for seed in range(3)]
    assert rerun.noise_over_seeds(equal) == rerun.Noise(pytest.approx(0.0005), 2)
    losses = [make_loss_record(losses=((0.5, 1.0), (last, 1.0))) for last in (0.0, 0.2, 0.4)]
    assert rerun.noise_over_seeds(losses) == rerun.Noise(pytest.approx(0.1 * 2**0.5), 2)


def test_losses_as_large_as_numbers_go_end_in_a_finding(make_loss_record):
    largest = [[1.7e308, 1.7e308], [1.7e308, 1.7e308]]
    own = [make_loss_record(seed=seed, losses=largest) for seed in range(3)]
    pairs = [(one, elsewhere(make_loss_record(seed=one.seed))) for one in own]
    assert levels(pairs, rerun.noise_over_seeds(own))
    assert "FAILED" in levels(pairs, rerun.Noise(1.0, 2))


def test_linear_cells_are_compared_by_their_loss(make_loss_record):
    one = make_loss_record(losses=((0.5, 1.5), (0.75, 0.25)))
    assert rerun.score(one) == pytest.approx(0.5)
    other = make_loss_record(losses=((0.5, 1.5), (0.75, 0.26)))
    assert levels([(one, other)]) == ["FAILED"]


def test_badges_follow_the_evidence():
    fine, failed = [Finding("ok", "re-run", "")], [Finding("FAILED", "re-run", "")]
    assert rerun.rerun_badge(fine, 5, 30) == "spot re-run"
    assert rerun.rerun_badge(fine, 30, 30) == "fully re-run"
    assert rerun.rerun_badge(fine, 0, 30) is None
    assert rerun.rerun_badge(failed, 30, 30) is None


def test_data_are_converted_before_a_process_runs_that_cannot_write(monkeypatch, tmp_path):
    from driftboard.suite import data
    from driftboard.suite.cli.submit import convert_data

    converted = []
    monkeypatch.setattr(data, "convert_originals", lambda *place: converted.append(place))
    names = ["mnist-permuted", "fashion-split", "fashion-repeat", "linear-few-50", "absent"]
    convert_data(names, tmp_path)
    assert converted == [("fashion-mnist", tmp_path), ("mnist", tmp_path)]

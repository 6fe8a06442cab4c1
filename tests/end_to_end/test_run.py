"""Real runs on a tiny sequence: repeated, killed, interrupted, doubled, and with bad strategies.

Each run is a process with workers of its own, which costs seconds, so one undisturbed run is
made once and serves all comparisons.
"""

import csv
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import typer
from msgspec.structs import asdict

from driftboard.suite.records import read_record, record_paths

SEQUENCES = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Overlap, Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence

# Neither scenario needs continuum, whose import would cost more than all the training.
first, second = (
    TaskSequence(
        name=name, description="", source="digits", scenario=scenario, network="mlp-8x1",
        train_per_class=10, test_per_class=10,
        training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
    )
    for name, scenario in (("dots-labels", Relabelled(2, 5)), ("dots-overlap", Overlap(3, 4, 2)))
)
"""

STRATEGY = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "{name}"
    turn: int = 1

    {hook}
"""

HOOKS = {
    # Stops where a test wants it to, and says so, until it is killed.
    "pausing": """def begin(self, task, parameters, memory):
        here = f"turn {self.turn}, {task.units.shape[0]} classes, task {task.index}"
        if here == os.environ.get("PAUSE_AT"):
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            Path(os.environ["PAUSED"]).write_text(f"blocked: {sorted(map(int, blocked))}")
            time.sleep(3600)
        return task.everything(), memory""",
    "raising": """def correct(self, task, gradient, parameters, memory):
        raise RuntimeError("on purpose\\nsecond line")""",
    "diverging": """def correct(self, task, gradient, parameters, memory):
        scale = 1e30 if task.index else 1.0
        return {key: scale * value for key, value in gradient.items()}""",
    # Passes the checks of the hooks and stops the engine itself.
    "integers": """def finish(self, task, parameters, memory):
        return {key: value.long() for key, value in parameters.items()}, memory""",
    "dying": """def begin(self, task, parameters, memory):
        mark = Path(os.environ["PAUSED"])
        if task.index and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task.everything(), memory""",
    "short-of-memory": """def begin(self, task, parameters, memory):
        import torch

        mark = Path(os.environ["PAUSED"])
        if task.index and not mark.exists():
            mark.touch()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return task.everything(), memory""",
    "deadly": """def begin(self, task, parameters, memory):
        os.kill(os.getpid(), signal.SIGKILL)""",
}

SEEDS = 2
PAUSING = ["pausing", "pausing-turn-2"]
ROWS = ["sgd", "noop", *PAUSING]  # in the order in which they are trained
CELLS = 2 * len(ROWS) * SEEDS
MOMENTS = [
    f"turn {turn}, {classes} classes, task {task}"
    for classes, tasks in ((10, 2), (4, 3))  # of dots-labels, of dots-overlap
    for turn in (1, 2)
    for task in range(tasks)
]
PATIENCE = 600.0  # for machines that are busy with something else
MAIN = "from driftboard.suite.cli.main import main; main()"


class Bench:
    """Where the files of the runs lie, and how runs are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.write("sequences", SEQUENCES)
        for name, hook in HOOKS.items():
            self.write(name, STRATEGY.replace("{name}", name).replace("{hook}", hook))
        self.environment = os.environ | {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "1000",
        }

    def write(self, name, text):
        # Whole or not at all: several test processes share the folder.
        draft = self.folder / f"{name}-{os.getpid()}"
        draft.write_text(text)
        draft.replace(self.folder / f"{name}.py")

    def file(self, name, settings=""):
        return f"{self.folder / name}.py{settings}"

    def arguments(self, out, *strategies, sequence="dots-*", workers=1, more=()):
        words = ["run", "--sequence-file", self.file("sequences"), "--sequence", sequence]
        for strategy in strategies or (
            *("sgd", "noop"),
            *(self.file("pausing", f",turn={turn}") for turn in (1, 2)),
        ):
            words += ["--strategy", strategy]
        words += ["--seeds", SEEDS, "--device", "cpu", "--workers", workers, "--out", out]
        return [str(word) for word in (*words, *more)]

    def start(self, out, *strategies, pause_at="never", **options):
        """Start a run as the leader of a process group of its own, as a shell does."""
        pause = {"PAUSE_AT": pause_at, "PAUSED": f"{out}-paused"}
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *self.arguments(out, *strategies, **options)],
            env=self.environment | pause,
            start_new_session=True,
            # A process of a background job ignores Ctrl-C from birth, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, out, *strategies, **options):
        """Run to the end; return exit code, stdout, stderr."""
        with ended(self.start(out, *strategies, **options)) as process:
            printed, errors = process.communicate(timeout=PATIENCE)
            return process.returncode, printed, errors


@contextmanager
def ended(process):
    """Make sure that nothing of a run outlives the test."""
    try:
        yield process
    finally:
        if living(process):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def living(process):
    """Return the states of all processes of the run's group that still do something."""
    found = []
    for one in psutil.process_iter():
        try:
            if os.getpgid(one.pid) == process.pid:
                found.append(one.status())
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return [state for state in found if state != psutil.STATUS_ZOMBIE]


def wait_until(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.02)


def wait_for_pause(process, out):
    """Wait until a worker has come to where it was to pause; it stays there."""
    paused = Path(f"{out}-paused")
    wait_until(lambda: (paused.exists() and paused.read_text()) or process.poll() is not None)
    assert process.poll() is None, process.communicate()[1]


def contents(results):
    """Return all records by their place, without what they cost."""
    return {
        str(path.relative_to(results)): {
            key: value for key, value in asdict(read_record(path)).items() if key != "cost"
        }
        for path in record_paths(results)
    }


def leftovers(results):
    return [path for path in results.rglob("*") if path.name.endswith(".part")]


def complaints(errors):
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("driftboard: ")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Return the bench; the processes of ``pytest -n`` share one."""
    base = tmp_path_factory.getbasetemp()
    return Bench((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bench")


@pytest.fixture(scope="module")
def reference(bench):
    """Return the results folder of an undisturbed run with one worker."""
    results = bench.folder / "reference"
    with (bench.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test process makes the run, the others wait
        if not (results / "leaderboard.csv").exists():
            code, out, errors = bench.run(results)
            assert code == 0, errors
            (bench.folder / "reference.txt").write_text(out)
    return results


def test_every_cell_has_a_record(reference):
    expected = [
        f"records/{sequence}/{strategy}/seed-{seed:04d}.json"
        for sequence in ("dots-labels", "dots-overlap")
        for strategy in ROWS
        for seed in range(SEEDS)
    ]
    assert sorted(contents(reference)) == sorted(expected)
    assert leftovers(reference) == []


def test_records_hold_what_was_run(reference):
    record = read_record(reference / "records/dots-overlap/pausing-turn-2/seed-0001.json")
    assert record.split == "test"
    assert record.sequence.tier == "own"
    assert record.sequence.blocks == ("hidden1", "head")
    assert record.strategy.parameters == {"turn": 2}
    assert record.test_sizes == (40, 40, 40)  # four classes a task, ten images each
    assert record.classes == (4, 4, 4)
    assert record.status == "finished"
    assert all(plan.share == (1.0, 1.0) for plan in record.plans)
    assert not any(any(plan.restart) for plan in record.plans)
    assert record.environment.cohort == (0, 1)
    assert record.environment.lane == "stacked"


def test_equal_strategies_are_equal_and_others_are_not(reference):
    """The pausing ones do what sgd does; noop does too, until the second task."""
    found = contents(reference)
    for place, record in found.items():
        plain = found[place.replace(record["strategy"].name, "sgd")]
        same = {"correct", "correct_untrained", "update_norms", "solution_norms", "drift_norms"}
        if record["strategy"].name in PAUSING:
            assert {key: record[key] for key in same} == {key: plain[key] for key in same}
        if record["strategy"].name == "noop":
            assert record["correct"][0] == record["correct"][1] == plain["correct"][0]
            assert record["update_norms"][1] == (0.0, 0.0)
            assert plain["update_norms"][1] != (0.0, 0.0)
    seeds = [found[f"records/dots-labels/sgd/seed-{seed:04d}.json"] for seed in range(SEEDS)]
    assert seeds[0]["update_norms"] != seeds[1]["update_norms"]


def test_board_has_every_strategy(bench, reference):
    printed = (bench.folder / "reference.txt").read_text()
    markdown = (reference / "leaderboard.md").read_text()
    with (reference / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["strategy"] for row in rows} == set(ROWS)
    assert {row["sequence"] for row in rows} == {"overall", "dots-labels", "dots-overlap"}
    for name in ROWS:
        assert name in printed
        assert name in markdown
    assert f"tables: {reference / 'leaderboard.md'}" in printed


def test_board_shows_the_mean_of_the_records(reference):
    with (reference / "leaderboard.csv").open(newline="") as file:
        (shown,) = [
            float(row["mean"])
            for row in csv.DictReader(file)
            if (row["sequence"], row["strategy"], row["metric"])
            == ("dots-labels", "sgd", "avg_acc")
        ]
    records = [
        read_record(reference / f"records/dots-labels/sgd/seed-{seed:04d}.json")
        for seed in range(SEEDS)
    ]
    by_hand = [sum(record.correct[-1]) / sum(record.test_sizes) for record in records]
    assert shown == pytest.approx(sum(by_hand) / SEEDS)


def test_killed_run_goes_on_to_the_same_records(bench, reference, tmp_path):
    chance = random.Random(2)
    results = tmp_path / "results"
    with ended(bench.start(results, workers=2, pause_at=chance.choice(MOMENTS[2:]))) as process:
        wait_for_pause(process, results)
        time.sleep(chance.uniform(0.0, 0.3))  # the other worker goes on, to somewhere
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not living(process))
    done = contents(results)
    assert len(done) < CELLS
    assert done.items() <= contents(reference).items()
    code, _, errors = bench.run(results)
    assert code == 0
    assert f"already there: {len(done)} cell" in errors or not done
    assert contents(results) == contents(reference)


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(bench, reference, tmp_path):
    results = tmp_path / "results"
    with ended(bench.start(results, pause_at="turn 1, 4 classes, task 1")) as process:
        wait_for_pause(process, results)
        # Since its start, so that Ctrl-C while it imports makes no noise either.
        assert Path(f"{results}-paused").read_text() == f"blocked: [{int(signal.SIGINT)}]"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not living(process))
    assert process.returncode == 130
    assert complaints(errors) == []
    assert f"kept in {results}: the same command goes on from there" in errors
    done = [f"dots-labels/{name}" for name in ROWS] + ["dots-overlap/sgd", "dots-overlap/noop"]
    assert contents(results) == {
        place: record
        for place, record in contents(reference).items()
        if place.removeprefix("records/").rpartition("/")[0] in done
    }
    assert leftovers(results) == []


@pytest.mark.parametrize("moment", ["the device is looked for", "the folder is claimed"])
def test_ctrl_c_before_there_are_workers_says_how_to_go_on(moment, monkeypatch, tmp_path, capsys):
    from driftboard.suite.cli.options import Training
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.registry import registered

    def stopped(*_):
        raise KeyboardInterrupt

    request = Request(
        sequences=(registered()["digits-repeat"],),
        strategies=(load_strategy("sgd"),),
        seed_count=1,
        results=tmp_path,
        device="cpu",
    )
    places = {
        "the device is looked for": "driftboard.suite.training.memory_plan.resolve_device",
        "the folder is claimed": "driftboard.suite.runs.results_folder.claim_folder",
    }
    monkeypatch.setattr(places[moment], stopped)
    with pytest.raises(typer.Exit) as left:
        Training().run_jobs(request, "nothing")
    assert left.value.exit_code == 130
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("stopped; what is done is kept in")
    assert told.endswith("the same command goes on from there")


def test_ctrl_c_while_the_workers_start_is_as_quiet(bench, tmp_path):
    results = tmp_path / "results"
    with ended(bench.start(results, pause_at=MOMENTS[0])) as process:
        wait_until((results / "driftboard.json").exists)
        wait_until(lambda: len(living(process)) >= 3)  # itself, a worker, Python's tracker
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not living(process))
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors


def test_workers_do_not_outlive_a_killed_parent(bench, tmp_path):
    results = tmp_path / "results"
    with ended(bench.start(results, pause_at=MOMENTS[0])) as process:
        wait_for_pause(process, results)
        process.kill()
        wait_until(lambda: not living(process))


def test_two_runs_into_one_folder_do_no_harm(bench, reference, tmp_path):
    results = tmp_path / "results"
    with ended(bench.start(results)) as one, ended(bench.start(results)) as other:
        errors = [process.communicate(timeout=PATIENCE)[1] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], errors
    assert contents(results) == contents(reference)
    assert leftovers(results) == []
    assert (results / "leaderboard.csv").read_bytes() == (
        reference / "leaderboard.csv"
    ).read_bytes()


def test_bad_strategies_leave_the_others_alone(bench, reference, tmp_path):
    results = tmp_path / "results"
    strategies = [bench.file(name) for name in ("raising", "integers", "diverging")]
    code, out, errors = bench.run(results, *strategies, "sgd", sequence="dots-labels")
    assert code == 1
    raising, integers = sorted(complaints(errors), reverse=True)
    assert raising.startswith("driftboard: failed: dots-labels / ")
    assert raising.endswith(
        "strategy 'raising': correct() raised RuntimeError: on purpose (task 1); "
        'raising.py, line 14: raise RuntimeError("on purpose\\nsecond line")'
    )
    assert integers.endswith(
        "finish() must return 'hidden1.weight' as torch.float32, not torch.int64 (task 1)"
    )
    found = contents(results)
    expected = {k: v for k, v in contents(reference).items() if "dots-labels/sgd" in k}
    assert len(expected) == SEEDS
    assert expected.items() <= found.items()
    assert {record["strategy"].name for record in found.values()} == {"sgd", "diverging"}
    for board in (out, (results / "leaderboard.md").read_text()):
        assert "sgd" in board
        assert "diverging" in board
        assert "raising" not in board

    for seed in range(SEEDS):
        record = found[f"records/dots-labels/diverging/seed-{seed:04d}.json"]
        plain = found[f"records/dots-labels/sgd/seed-{seed:04d}.json"]
        assert (record["status"], record["diverged_at"]) == ("diverged", 1)
        assert record["correct"][0] == plain["correct"][0]
        assert record["correct"][1] == (10, 10)  # chance: 100 images of 10 classes
        assert record["update_norms"][0] == plain["update_norms"][0]
        assert record["update_norms"][1] == record["solution_norms"][1] == (0.0, 0.0)


def test_strategy_that_kills_its_worker_leaves_the_others_alone(bench, reference, tmp_path):
    results = tmp_path / "results"
    deadly = bench.file("deadly")
    words = (results, deadly, "sgd", "noop")
    with ended(bench.start(*words, sequence="dots-labels")) as process:
        _, errors = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not living(process))
    assert process.returncode == 1
    reason = (
        f"dots-labels / {deadly}: its worker process died with exit code -9 (SIGKILL): it crashed "
        "or ran out of memory"
    )
    assert complaints(errors) == [f"driftboard: failed: {reason} (3 times)"]
    assert errors.count(f"{reason}; trying again") == 2
    names = [f"records/dots-labels/{strategy}/" for strategy in ("noop", "sgd")]
    expected = contents(reference).items()
    assert contents(results) == {k: v for k, v in expected if k.startswith(tuple(names))}
    assert len(contents(results)) == 2 * SEEDS
    assert leftovers(results) == []


def test_worker_that_is_killed_once_loses_and_doubles_nothing(bench, reference, tmp_path):
    results = tmp_path / "results"
    dying = bench.file("dying")
    code, _, errors = bench.run(results, "sgd", dying, "noop", sequence="dots-labels", workers=2)
    assert (code, complaints(errors)) == (0, [])
    assert f"dots-labels / {dying}: its worker process died" in errors
    assert errors.count("; trying again") == 1
    expected, found = contents(reference), contents(results)
    assert len(found) == 3 * SEEDS
    for place, record in found.items():
        if record["strategy"].name == "dying":
            plain = expected[place.replace("dying", "sgd")]
            assert (record["correct"], record["drift_norms"]) == (
                plain["correct"],
                plain["drift_norms"],
            )
        else:
            assert record == expected[place]
    assert leftovers(results) == []


def test_a_cohort_for_which_memory_is_short_is_trained_in_halves(bench, reference, tmp_path):
    results = tmp_path / "results"
    short = bench.file("short-of-memory")
    code, _, errors = bench.run(results, "sgd", short, "noop", sequence="dots-labels")
    assert (code, complaints(errors)) == (0, [])
    told = f"dots-labels / {short}: not enough memory to train 2 learners at once; trying 1 at a"
    assert errors.count(told) == 1
    expected, found = contents(reference), contents(results)
    assert len(found) == 3 * SEEDS
    for place, record in found.items():
        if record["strategy"].name == "short-of-memory":
            assert record["environment"].cohort == (record["seed"],)
            assert record["status"] == "finished"
        else:
            assert record == expected[place]
    assert leftovers(results) == []


# What needs no processes: the same executor with a thread as its worker.


@pytest.fixture
def run_here(bench, one_thread, monkeypatch, capfd):
    """Return a function that runs in this process: exit code, stdout, stderr."""
    from driftboard.suite.cli.main import main

    monkeypatch.setenv("XDG_CACHE_HOME", bench.environment["XDG_CACHE_HOME"])

    def run(*arguments, **options):
        monkeypatch.setattr(sys, "argv", ["driftboard", *bench.arguments(*arguments, **options)])
        code = 0
        try:
            main()
        except SystemExit as left:
            code = left.code
        return code, *capfd.readouterr()

    return run


def test_failure_is_told_where_it_leaves_no_board(bench, run_here, tmp_path):
    """The reference itself failed, so no table can be made; the reason must not be lost."""
    code, _, errors = run_here(
        *(tmp_path / "out", bench.file("raising"), "noop"),
        sequence="dots-labels",
        more=("--reference", "raising"),
    )
    assert code == 1
    (line,) = complaints(errors)
    assert "correct() raised RuntimeError: on purpose" in line
    assert len(contents(tmp_path / "out")) == SEEDS


def test_progress_counts_all_work_once(bench, run_here, tmp_path, monkeypatch):
    from driftboard.suite.runs.scheduler import Progress, Scheduler

    told = []
    run_jobs = Scheduler.run

    def listening(scheduler, jobs):
        for event in run_jobs(scheduler, jobs):
            if isinstance(event, Progress):
                told.append((event.done, event.total, event.label))
            yield event

    monkeypatch.setattr(Scheduler, "run", listening)
    code, _, _ = run_here(tmp_path / "out", "sgd", "noop")
    assert code == 0
    assert len(told) == 2 * 2 + 2 * 3  # two strategies, sequences of two and of three tasks
    done, totals, labels = zip(*told, strict=True)
    assert sorted(done) == list(done)
    assert done[-1] == pytest.approx(totals[0])
    assert len(set(totals)) == 1
    assert labels[0] == "dots-labels / sgd"
    code, _, errors = run_here(tmp_path / "out", "sgd", "noop")
    assert code == 0
    assert "8 cells: all there already" in errors

"""Runs on a real Ray cluster: two machines with a core each, which are processes of this one.

One cluster serves all tests of the file; the interrupted run starts a cluster of its own.
"""

import math
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from msgspec.structs import asdict
from msgspec.structs import replace as changed

from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import read_record, record_paths, write_record

pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")  # with --dist loadgroup they share one cluster

SEQUENCES = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence

digits, leaves = (
    TaskSequence(
        name=name, description="", source=source, scenario=Relabelled(3, 3), network="mlp-8x1",
        train_per_class=10, test_per_class=10,
        training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
    )
    for name, source in (("tiny-digits", "digits"), ("tiny-leaves", "folder:leaves"))
)
"""

ABOVE = """
import os, signal, time
from contextlib import suppress
from pathlib import Path
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
SEEDS = 2
PATIENCE = 600.0  # for machines that are busy with something else
MAIN = "from driftboard.suite.cli.main import main; main()"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return a folder in which all files of the module lie, caches and user's data too."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "sequences.py").write_text(SEQUENCES)
    leaves = folder / "data" / "driftboard" / "leaves.npz"
    leaves.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    labels = np.arange(200) % 10
    images = random.integers(0, 256, (200, 1, 4, 4)).astype(np.uint8)
    arrays = {"title": np.array("Leaves")}
    for part in ("train", "test"):
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    np.savez(leaves, **arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("COLUMNS", "1000")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("DRIFTBOARD_DATA", raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        yield folder


@pytest.fixture(scope="module")
def address(environment):
    """Start two machines, of which the second has no user's data; yield their address."""
    from ray.cluster_utils import Cluster

    common = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=common | {"include_dashboard": False})
    cluster.add_node(**common, env_vars={"XDG_DATA_HOME": str(environment / "nothing")})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="module")
def cluster(address):
    """Connect this process to the machines."""
    from driftboard.suite.runs.ray_executor import connected

    with pytest.MonkeyPatch.context() as patch, connected(address, 2) as reached:
        # A slow computer is no reason for one more line.
        patch.setattr("driftboard.suite.runs.ray_executor.PATIENCE_SECONDS", math.inf)
        yield reached


@pytest.fixture
def write(environment, strategy_text):
    """Return a function that writes a strategy whose tasks after the first do something."""

    def write(name, act):
        begin = f"if task.index:\n            {act}\n        return task.everything(), memory"
        path = environment / f"{name}.py"
        path.write_text(strategy_text(name, begin, above=ABOVE))
        return str(path)

    return write


@pytest.fixture
def ask(environment, tmp_path):
    """Return a function that makes a request for strategies on sequences."""
    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.runs.request import Request

    files = (environment / "sequences.py",)

    def ask(*strategies, sequences=("tiny-digits",), results=tmp_path / "results"):
        known = load_sequences(files)
        return Request(
            sequences=tuple(known[name] for name in sequences),
            sequence_files=files,
            strategies=tuple(load_strategy(text) for text in strategies),
            seed_count=SEEDS,
            purpose="test",
            results=results,
            data=None,
            device="cpu",
        )

    return ask


class Course:
    """How a run on the cluster went."""

    def __init__(self, cluster, on_line=lambda line: None):
        self.cluster = cluster
        self.on_line = on_line
        self.told = []
        self.progress = []
        self.failures = []

    def run(self, request, workers=None):
        from driftboard.suite.runs.backend import ray_workers
        from driftboard.suite.runs.cells import plan
        from driftboard.suite.runs.scheduler import Scheduler

        with ray_workers(self.cluster, request, workers) as executor:
            self.description = executor.description
            for event in Scheduler(executor).run(plan(request)):
                self.take(event)
        return self

    def take(self, event):
        from driftboard.suite.runs.scheduler import Failure, Log

        if isinstance(event, Log):
            self.told.append(event.line)
            self.on_line(event.line)
        elif isinstance(event, Failure):
            self.failures.append(event.line)
        else:
            self.progress.append((event.done, event.total, event.label))


def contents(results):
    """Return all records by their place, without what they cost."""
    return {
        str(path.relative_to(results)): {
            key: value for key, value in asdict(read_record(path)).items() if key != "cost"
        }
        for path in record_paths(results)
    }


def run_here(request):
    """Train everything in this process, as a worker process of this machine does."""
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.runs.worker import prepare_process

    threads = torch.get_num_threads()
    prepare_process("cpu")
    try:
        for job in plan(request):
            job.keep(job.measure())
    finally:
        torch.set_num_threads(threads)
    return contents(request.results)


def test_a_killed_worker_loses_and_doubles_nothing(
    cluster, ask, write, environment, tmp_path, monkeypatch
):
    """The records are those of a local run, and what was there already is not touched."""
    from driftboard.suite.runs.job import Job

    mark = environment / "has-been-killed"
    mark.touch()
    claim = f"Path({str(mark)!r}).touch(exist_ok=False)"  # both workers may come here at once
    once = write("once", f"with suppress(FileExistsError): {claim}; {KILL}")
    sequences = ("tiny-digits", "linear-few-50")
    request = ask("sgd", "noop", f"{once},turn=2", sequences=sequences)
    local = run_here(replace(request, results=tmp_path / "local"))
    mark.unlink()

    there = "records/tiny-digits/sgd/seed-0001.json"
    record = read_record(tmp_path / "local" / there)
    early = write_record(
        request.results, changed(record, cost=changed(record.cost, evaluation_seconds=77.0))
    ).read_bytes()
    handed_over = []
    keep = Job.keep

    def counting(job, records):
        handed_over.extend((r.sequence.name, r.strategy.name, r.seed) for r in records)
        keep(job, records)

    monkeypatch.setattr(Job, "keep", counting)
    course = Course(cluster).run(request)

    assert mark.exists()
    assert course.failures == []
    # Which of the two comes first depends on which machine is ready first.
    possible = [
        [
            f"{sequence} / {once},turn=2: its worker was lost: its process ended, "
            "by a crash or for want of memory; trying again"
        ]
        for sequence in sequences
    ]
    assert course.told in possible
    assert contents(request.results) == local
    assert len(local) == len(handed_over) == len(set(handed_over)) == 2 * 3 * SEEDS
    assert (request.results / there).read_bytes() == early
    assert not [path for path in request.results.rglob("*") if path.suffix == ".part"]
    assert course.description == "on cpu with 2 workers of a Ray cluster of 2 machines"

    done, totals, labels = zip(*course.progress, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == pytest.approx(totals[0])
    assert labels.count("tiny-digits / sgd") <= 3  # tasks; reports may come two at a time
    assert "linear-few-50 / noop" in labels


def test_failures_leave_the_others_alone(cluster, ask, write, monkeypatch):

    monkeypatch.setattr("driftboard.suite.runs.scheduler.TRIES", 2)  # a new worker takes seconds
    raising = write("raising", 'raise RuntimeError("on purpose\\nsecond line")')
    deadly = write("deadly", KILL)
    request = ask(deadly, raising, "sgd", "noop")
    blocked = request.results / "records" / "tiny-digits" / "noop"  # as a full disk would
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    course = Course(cluster).run(request, workers=1)
    by_strategy = sorted(course.failures)
    assert len(by_strategy) == 3
    assert by_strategy[0] == (
        f"tiny-digits / {deadly}: its worker was lost: its process ended, by a crash or for want "
        "of memory (2 times)"
    )
    assert by_strategy[1].startswith(f"tiny-digits / {raising}: strategy 'raising': ")
    assert "RuntimeError: on purpose" in by_strategy[1]
    assert by_strategy[2].startswith("tiny-digits / noop: cannot write ")
    assert [line.endswith("; trying again") for line in course.told] == [True]
    assert sorted(contents(request.results)) == [
        f"records/tiny-digits/sgd/seed-{seed:04d}.json" for seed in range(SEEDS)
    ]
    assert course.progress[-1][0] == pytest.approx(course.progress[-1][1])


def test_a_cohort_for_which_memory_is_short_is_trained_in_halves(cluster, ask, write, tmp_path):
    mark = tmp_path / "was-short"
    short = write(
        "short",
        f"with suppress(FileExistsError): Path({str(mark)!r}).touch(exist_ok=False); "
        'import torch; raise torch.OutOfMemoryError("CUDA out of memory")',
    )
    request = ask("sgd", short)
    course = Course(cluster).run(request)
    assert course.failures == []
    assert course.told == [
        f"tiny-digits / {short}: not enough memory to train 2 learners at once; trying 1 at a time"
    ]
    found = [read_record(path) for path in record_paths(request.results)]
    cohorts = {(one.strategy.name, one.seed): one.environment.cohort for one in found}
    assert cohorts == {
        **{("sgd", seed): tuple(range(SEEDS)) for seed in range(SEEDS)},
        **{("short", seed): (seed,) for seed in range(SEEDS)},
    }
    assert course.progress[-1][0] == pytest.approx(course.progress[-1][1])


def test_machine_without_the_data_is_told_and_not_used(cluster, ask, write, tmp_path):
    told = tmp_path / "told"
    waiting = write("waiting", f"while not Path({str(told)!r}).exists(): time.sleep(0.01)")
    request = ask("sgd", waiting, sequences=("tiny-leaves",))
    course = Course(cluster, lambda _: told.touch()).run(request)
    assert course.failures == []
    (line,) = course.told
    assert " is not used: folder:leaves: neither " in line
    assert str(Path("nothing", "driftboard", "leaves.npz")) in line
    assert line.endswith("(each machine needs the data folder, under the same path)")
    assert contents(request.results) == run_here(replace(request, results=tmp_path / "local"))
    assert len(contents(request.results)) == 2 * SEEDS


def test_cluster_without_a_usable_machine_is_one_line(cluster, ask, monkeypatch):
    from driftboard.suite.runs import ray_executor, worker

    monkeypatch.setattr(worker, "versions", lambda: {"driftboard": "9.9", "torch": "0"})
    monkeypatch.setattr(ray_executor, "PATIENCE_SECONDS", -1.0)
    course = Course(cluster)
    with pytest.raises(DriftboardError, match="no worker of the Ray cluster is left; what is done"):
        course.run(ask("sgd"), workers=1)
    waiting, line = course.told
    assert waiting == "waiting for a worker to start, or for a free CPU of the cluster"
    assert "is not used: it has driftboard 0.1.0 and not 9.9; install the same" in line


def test_cuda_where_the_cluster_has_no_gpu(cluster):
    assert cluster.resolve_device("auto") == "cpu"
    with pytest.raises(DriftboardError, match="the Ray cluster has no GPU; use --device cpu"):
        cluster.resolve_device("cuda")


def of_environment(mark):
    """Return the processes that have a certain value in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and mark in process.environ().values():
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "this should have happened by now"
        time.sleep(0.05)


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(environment, write, ask, tmp_path):
    """On a cluster of its own: what `--cluster ray` starts on this machine ends with the run."""
    paused, results = tmp_path / "paused", tmp_path / "results"
    pausing = write("pausing", f"Path({str(paused)!r}).touch(), time.sleep(3600)")
    words = ["run", "--cluster", "ray", "--workers", "1", "--seeds", str(SEEDS), "--out", results]
    words += ["--sequence-file", environment / "sequences.py", "--sequence", "tiny-digits"]
    words += ["--strategy", "sgd", "--strategy", pausing, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, words)],
        env=os.environ | {"MARK": str(results)},
        start_new_session=True,
        # A process of a background job ignores Ctrl-C from birth, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: paused.exists() or process.poll() is not None)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        printed, errors = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not of_environment(str(results)))
    finally:
        for left in of_environment(str(results)):
            left.kill()
    assert process.returncode == 130, errors
    assert f"kept in {results}: the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert printed == ""
    reference = run_here(ask("sgd", results=tmp_path / "local"))
    assert len(reference) == SEEDS
    assert contents(results) == reference


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "'nonsense' is no address of a Ray cluster; use HOST:PORT"),
        ("ray://127.0.0.1:x", "is no address of a Ray cluster"),
        ("127.0.0.1:1", "no Ray cluster at '127.0.0.1:1': [Errno 111] Connection refused; start"),
        ("127.0.0.1:99999", "no Ray cluster at '127.0.0.1:99999': "),
    ],
)
def test_address_at_which_no_cluster_is(environment, call, tmp_path, address, words):
    code, out, errors = call(
        *("run", "--strategy", "sgd", "--cluster", "ray", "--ray-address", address),
        *("--out", tmp_path / "out"),
    )
    assert (code, out) == (1, "")
    assert errors.startswith("driftboard: ")
    assert errors.count("\n") == 1
    assert words in errors


COMMANDS = {
    "run": [],
    "grade": [],
    "sweep": ["digits-split"],
    "tune": ["sgd"],
    "reproduce": [],
    "submit": ["mine.py", "--title", "Mine", "--author", "Me", "--licence", "MIT"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_address_without_a_cluster(call, tmp_path, command):
    code, _, errors = call(
        *(command, *COMMANDS[command], "--ray-address", "auto", "--out", tmp_path / "out")
    )
    assert code == 1
    assert errors == (
        "driftboard: --ray-address says where a cluster is; add --cluster ray to use it\n"
    )


@pytest.fixture
def on_both(cluster, environment, call, monkeypatch, tmp_path):
    """Return a function that gives a command to the cluster and to this machine.

    It returns both results folders.
    """
    asked = []

    @contextmanager
    def connected(address, cores):
        asked.append((address, cores))
        yield cluster

    monkeypatch.setattr("driftboard.suite.runs.ray_executor.connected", connected)

    def on_both(*words):
        words = (*words, "--sequence-file", environment / "sequences.py", "--device", "cpu")
        there, here = tmp_path / "there", tmp_path / "here"
        options = ("--cluster", "ray", "--ray-address", "head:1", "--workers", "2")
        code, _, errors = call(*words, *options, "--out", there)
        assert (code, asked) == (0, [("head:1", 2)]), errors
        assert "with 2 workers of a Ray cluster of 2 machines" in errors
        code, _, errors = call(*words, "--workers", "1", "--out", here)
        assert code == 0
        assert "on cpu with 1 worker;" in errors
        return there, here

    return on_both


def test_tuning_on_a_cluster_is_that_of_this_machine(on_both):
    """What ``submit`` and ``reproduce`` train goes the same way."""
    there, here = on_both("tune", "sgd", "--sequence", "tiny-digits")
    record = Path("tuning", "sgd.json")
    assert (there / record).read_bytes() == (here / record).read_bytes()
    assert contents(there) == contents(here)
    assert len(contents(here)) == TUNING.trials * len(PROTOCOL.tuning_seeds)


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (
            ("grade", "tiny-digits", "--seeds", "2"),
            [
                *(f"grades/{name}" for name in ("pairs.csv", "tiny-digits.json")),
                *(f"grades/tiny-digits/seed-{seed:04d}.json" for seed in range(2)),
            ],
        ),
        (
            ("sweep", "tiny-digits", "--seeds", "2", "--magnitudes", "0,0.5,1"),
            [f"sweeps/tiny-digits-by-fraction/seed-{seed:04d}.json" for seed in range(2)],
        ),
    ],
)
def test_measurements_on_a_cluster_are_those_of_this_machine(on_both, words, made):
    """The sequence's file travels, the records come back, and the driver writes them."""
    there, here = on_both(*words)
    for name in made:
        assert (there / name).read_bytes() == (here / name).read_bytes()


def test_without_ray_a_line_says_how_to_get_it(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # what makes an import fail
    code, _, errors = call(
        *("run", "--strategy", "sgd", "--cluster", "ray", "--out", tmp_path / "out")
    )
    assert code == 1
    assert errors == (
        "driftboard: --cluster ray needs Ray; install it with: pip install 'ray>=2.60'\n"
    )
    assert not (tmp_path / "out").exists()


def test_workers_do_not_look_into_the_current_folder(tmp_path, monkeypatch):
    """Ray puts the folder that is current when a program connects before all others."""
    from driftboard.suite.runs import ray_executor

    folders = []
    fake = SimpleNamespace(
        init=lambda *_, **__: folders.append(Path.cwd()), shutdown=lambda: folders.append("left")
    )
    monkeypatch.setattr(ray_executor, "import_ray", lambda: fake)
    monkeypatch.chdir(tmp_path)
    with ray_executor.connected("local", 1):
        assert Path.cwd() == tmp_path
    assert folders == [Path(tmp_path.anchor), "left"]


# What needs no cluster: a worker as a plain object, whose reports go nowhere.


@pytest.fixture
def worker(monkeypatch):
    from driftboard.suite.runs import worker

    monkeypatch.setattr(worker, "prepare_process", lambda device: None)
    progress = SimpleNamespace(put=SimpleNamespace(remote=lambda report: None))
    return worker.RayWorker("cpu", progress)


def test_worker_examines_its_machine(worker, environment, monkeypatch):
    from driftboard.suite.runs.worker import Conditions, fingerprints, versions

    good = Conditions("cpu", versions(), None, fingerprints(None, ["digits", "folder:leaves"]))
    assert worker.fault(good) is None
    other = replace(good, fingerprints=good.fingerprints | {"digits": "0" * 64})
    assert "is not used: its files of digits differ from those here" in worker.fault(other)
    old = replace(good, versions=good.versions | {"torch": "1.0"})
    assert f"it has torch {versions()['torch']} and not 1.0" in worker.fault(old)
    changed = replace(good, versions=good.versions | {"driftboard's code": "0" * 12})
    assert "it has driftboard's code " in worker.fault(changed)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "torch finds no CUDA GPU there" in worker.fault(replace(good, device="cuda"))


def test_versions_leave_out_the_build(monkeypatch):
    from driftboard.suite.runs import worker

    monkeypatch.setattr(worker, "version", lambda name: "2.11.0+cu128")
    found = worker.versions()
    assert (found["driftboard"], found["torch"]) == ("2.11.0", "2.11.0")


def because(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "of_worker", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), False, "not enough memory"),
        (OSError(28, "No space left on device"), True, "No space left on device"),
        (torch.AcceleratorError("an illegal memory access"), True, "an illegal memory access"),
        (because(StrategyError("decide() raised"), torch.AcceleratorError("x")), True, "decide()"),
        (MemoryError(), False, "not enough memory"),
        (ValueError("a\nb"), False, "ValueError: a"),
        (DriftboardError("mend this"), False, "mend this"),
    ],
)
def test_worker_says_whose_fault_it_was(worker, ask, monkeypatch, error, of_worker, words):
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.runs.job import Job
    from driftboard.suite.runs.scheduler import Refusal

    def broken(job, on_step):
        raise error

    (job,) = plan(ask("sgd"))
    monkeypatch.setattr(Job, "measure", broken)
    refusal = worker.measure(0, job)
    assert isinstance(refusal, Refusal)
    assert refusal.of_worker is of_worker
    assert refusal.of_memory is ("not enough memory" in words)
    assert refusal.reason.startswith("tiny-digits / sgd: ")
    assert words in refusal.reason


@pytest.mark.parametrize("settings", ["", ":Mine", ",turn=2", ":Mine,turn=2,rate=0.5"])
def test_users_files_come_along(worker, ask, write, monkeypatch, settings):
    """A job finds its strategy and its sequence where neither lies under its own path."""
    from driftboard.suite.runs.cells import plan

    own = Path(write("travelling", "pass"))
    monkeypatch.chdir(own.parent)
    for base in (own, f"./{own.name}"):
        (job,) = plan(ask(f"{base}{settings}"))
        files = (own, own.with_name("sequences.py"))
        elsewhere = {path: path.rename(path.with_suffix(".away")) for path in files}
        try:
            records = worker.measure(0, pickle.loads(pickle.dumps(job)))
        finally:
            for path, away in elsewhere.items():
                away.rename(path)
        assert [record.seed for record in records] == list(range(SEEDS))
        assert records[0].strategy == ask(f"{base}{settings}").strategies[0].stamp


def test_the_line_of_a_users_file_is_quoted_where_the_file_is_not(worker, ask, write):
    """There it is only what came along with the job."""
    import linecache

    from driftboard.suite.runs.cells import plan

    own = Path(write("failing", "raise ValueError('no such thing')"))
    (job,) = plan(ask(str(own)))
    own.unlink()
    linecache.clearcache()
    refusal = worker.measure(0, pickle.loads(pickle.dumps(job)))
    assert "raised ValueError: no such thing (task 2); failing.py, line " in refusal.reason
    assert refusal.reason.endswith(": raise ValueError('no such thing')")
    assert "\n    raise ValueError('no such thing')\n" in refusal.trace

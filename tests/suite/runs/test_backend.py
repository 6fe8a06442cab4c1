"""A run as a program asks for it: events, failures, Ctrl-C, and no word on the command line."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.loading import load_strategy
from driftboard.suite.records import record_paths
from driftboard.suite.runs.backend import Backend, ProgressBar
from driftboard.suite.runs.cells import survey
from driftboard.suite.runs.request import Request
from driftboard.suite.runs.scheduler import Failure, Log, Progress
from driftboard.suite.sequences.registry import registered

LINEAR = registered()["linear-fewshot-50"]


@pytest.fixture
def ask(tmp_path):
    """Return a function that makes a request for two strategies on a linear sequence."""

    def ask(*strategies):
        return Request(
            sequences=(LINEAR,),
            strategies=tuple(map(load_strategy, strategies or ("sgd", "noop"))),
            seed_count=2,
            results=tmp_path / "results",
            device="cpu",
        )

    return ask


@pytest.mark.usefixtures("one_thread")
def test_events_tell_all_that_happens(ask):
    events = []
    assert Backend().run_jobs(ask(), "two strategies", events.append) == []
    first, planning, *steps, last = events
    results = ask().results
    assert first == Log(f"two strategies, 4 cells, on cpu with 1 worker; results in {results}")
    assert planning == Progress("making the task splits")
    assert last == Progress("done", 1.0, 1.0)
    assert [event.label for event in steps] == [
        f"{LINEAR.name} / {name}" for name in ("sgd", "noop") for _ in range(LINEAR.scenario.tasks)
    ]
    assert steps[-1].done == pytest.approx(steps[-1].total)
    assert len(list(record_paths(results))) == 4


@pytest.mark.usefixtures("one_thread")
def test_what_is_there_is_not_made_again(ask):
    Backend().run_jobs(ask("sgd"), "first")
    before = {path: path.stat().st_mtime_ns for path in record_paths(ask().results)}
    events = []
    assert Backend().run_jobs(ask(), "again", events.append) == []
    assert Log("already there: 2 cells") in events
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.usefixtures("one_thread")
def test_a_cell_that_is_trained_along_with_a_missing_one_is_there_already(ask):
    Backend().run_jobs(ask(), "first")
    next(iter(record_paths(ask().results))).unlink()
    assert survey(ask()).count == 1
    events = []
    Backend().run_jobs(ask(), "again", events.append)
    assert Log("already there: 3 cells") in events
    assert survey(ask()).count == 0


BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Broken(Strategy):
    name: ClassVar[str] = "broken"

    def finish(self, task, parameters, memory):
        raise torch.OutOfMemoryError("no room")
"""


@pytest.mark.usefixtures("one_thread")
def test_a_reason_that_two_halves_share_is_told_once(ask, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    events = []
    (failure,) = Backend().run_jobs(ask(str(file), "sgd"), "broken", events.append)
    assert failure.line.endswith("not enough memory; use fewer --workers or a device with more")
    assert "OutOfMemoryError: no room" in failure.trace
    assert events.count(failure) == 2
    assert len(list(record_paths(ask().results))) == 2


@pytest.mark.parametrize("moment", ["the device is looked for", "the folder is claimed", "a step"])
def test_an_interrupt_passes_through(moment, ask, one_thread, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    def show(event):
        if isinstance(event, Progress) and event.label.endswith("noop"):
            raise KeyboardInterrupt

    places = {
        "the device is looked for": "driftboard.suite.training.memory_plan.resolve_device",
        "the folder is claimed": "driftboard.suite.runs.results_folder.claim_folder",
    }
    if moment in places:
        monkeypatch.setattr(places[moment], stopped)
    with pytest.raises(KeyboardInterrupt):
        Backend().run_jobs(ask(), "stopped", show)
    done = {path.parent.name for path in record_paths(ask().results)}
    if moment == "a step":
        assert done - {"noop"} == {"sgd"}  # noop may have been finished by then; then it is kept
    else:
        assert done == set()


def test_an_address_needs_a_cluster():
    with pytest.raises(DriftboardError, match="add --cluster ray to use it"):
        Backend(ray_address="auto")


def test_machines_of_a_cluster_are_told_of_the_data_folder_from_the_root(
    ask, monkeypatch, tmp_path
):
    """They may work in another folder than the one that the command was given in."""
    from driftboard.suite.runs import backend, cells, ray_executor

    class Reached:
        def resolve_device(self, wanted):
            return f"{wanted} there"

    @contextmanager
    def connected(address, cores):
        yield Reached()

    seen = []

    @contextmanager
    def workers(cluster, request, wanted):
        seen.append(request)
        yield Nobody()

    class Nobody:
        description = "nowhere"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_executor, "connected", connected)
    monkeypatch.setattr(backend, "ray_workers", workers)
    monkeypatch.setattr(cells, "plan", lambda request, *log: seen.append(request) or [])
    with pytest.raises(RecordError, match="4 cells of this run vanished"):  # nobody made them
        Backend(cluster="ray").run_jobs(replace(ask(), data=Path("data")), "words")
    assert [(one.data, one.device) for one in seen] == [(tmp_path / "data", "cpu there")] * 2


def test_a_bar_shows_lines_above_and_the_work_below():
    text = io.StringIO()
    console = Console(file=text, width=100)
    with ProgressBar(console) as bar:
        bar(Log("[two] strategies"))
        assert text.getvalue() == "[two] strategies\n"
        bar(Progress("making the task splits"))
        bar(Failure("somebody else says so"))
        bar(Progress("alpha / sgd", 1.0, 4.0))
    assert "somebody else" not in text.getvalue()
    shown = text.getvalue().splitlines()[-1]
    assert shown.startswith(" 25%")
    assert shown.endswith("alpha / sgd")


def test_nothing_is_shown_where_nothing_happened():
    text = io.StringIO()
    with ProgressBar(Console(file=text)):
        pass
    assert text.getvalue() == ""


SCRIPT = """
from pathlib import Path
from driftboard.suite.loading import load_strategy
from driftboard.suite.runs.backend import Backend
from driftboard.suite.runs.request import Request
from driftboard.suite.sequences.registry import registered

with Path("runs").open("a") as file:
    print(__name__, file=file)
request = Request(
    sequences=(registered()["linear-fewshot-50"],), strategies=(load_strategy("sgd"),),
    seed_count=2, results=Path("results"), device="cpu",
)
print(Backend(workers=2).run_jobs(request, "a script"))
"""


@pytest.mark.parametrize("server", [True, False])
def test_a_script_without_a_guard_runs_once(tmp_path, server):
    """Worker processes do not import the main module of the program that started them."""
    script = tmp_path / "script.py"
    without = (
        "import driftboard.suite.runs.local as local\nlocal.start_server = lambda: False\n"
        if not server
        else ""
    )
    script.write_text(without + SCRIPT)
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert (tmp_path / "runs").read_text() == "__main__\n"
    assert len(list(record_paths(tmp_path / "results"))) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a server")
def test_folder_of_too_long_a_name_for_a_socket_means_workers_without_a_server(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    program = (
        "from driftboard.suite.package import package_digest; "
        "from driftboard.suite.runs import local; print(local.start_server()); "
        "worker = local.start_worker('cpu'); print(worker.pipe.recv() == package_digest()); "
        "worker.pipe.close()"
    )
    for place, server in ((tmp_path, True), (folder, False)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "TMPDIR": str(place)},
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == (f"{server}\nTrue\n", "")


@pytest.mark.parametrize(("seconds", "shown"), [(0.0, ["10%", "60%", "100%"]), (1e9, ["100%"])])
def test_without_widgets_a_notebook_gets_a_line_now_and_then(seconds, shown, monkeypatch):
    import io

    from rich.console import Console

    from driftboard.suite.runs import backend

    monkeypatch.setattr(backend, "SECONDS_BETWEEN_LINES", seconds)
    text = io.StringIO()
    bar = backend.ProgressBar(Console(file=text, force_jupyter=False, force_terminal=False))
    bar._lines_only = True
    for done in (0.1, 0.6, 1.0):
        bar(Progress("alpha / sgd", done, 1.0))
    assert text.getvalue().splitlines() == [f"{share} alpha / sgd" for share in shown]


# A folder that goes away while it is filled.


def removed(results):
    shutil.rmtree(results)


def moved_away(results):
    results.rename(results.with_name("elsewhere"))


def emptied(results):
    shutil.rmtree(next((results / "records").iterdir()))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("vanish", [removed, moved_away, emptied], ids=lambda one: one.__name__)
def test_records_that_vanish_meanwhile_are_missed(ask, vanish):
    request, vanished = ask(), []

    def show(event):
        if not vanished and len(list(record_paths(request.results))) == 2:
            vanished.append(vanish(request.results))

    with pytest.raises(RecordError) as missed:
        Backend().run_jobs(request, "words", show)
    assert str(missed.value) == (
        f"2 cells of this run vanished from {request.results}, which was removed, moved or emptied "
        "meanwhile; run the same command again"
    )
    assert {path.parent.name for path in record_paths(request.results)} == {"noop"}
    assert Backend().run_jobs(request, "again") == []
    assert len(list(record_paths(request.results))) == 4

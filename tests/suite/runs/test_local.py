"""How worker processes begin and end: whose copies they are, and what they have from whom."""

import importlib
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs import local
from driftboard.suite.runs.scheduler import Refusal, Result, Step

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only there is a server")
PATIENCE = 60.0


JOBS = '''
class Call:
    """A job that calls a function in the worker process; its record is the answer."""

    def __init__(self, function, *arguments, steps=0):
        self.label = "call"
        self.call = function, arguments
        self.steps = steps

    def measure(self, on_step):
        function, arguments = self.call
        for _ in range(self.steps):
            on_step()
        return [function(*arguments)]


def fail_as_a_gpu_does():
    import torch

    raise torch.AcceleratorError("an illegal memory access")
'''


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Return a module that workers can import too, which they cannot with this one."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "made_up_jobs.py").write_text(JOBS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("made_up_jobs")


@pytest.fixture
def calling(jobs):
    return jobs.Call


def results(executor, count=1):
    """Return what comes of so many jobs, and the steps that were reported before."""
    found, steps, end = [], [], time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < end
        for report in executor.poll(0.2):
            (found if isinstance(report, Result) else steps).append(report)
    return found, steps


@pytest.fixture
def worker(calling):
    """Return a context manager: what calls a function in a worker process and has its answer."""

    @contextmanager
    def worker():
        with local.local_executor("cpu", 1) as executor:

            def call(*words):
                executor.submit(0, calling(*words))
                ((result,), _) = results(executor)
                (answer,) = result.outcome
                return answer

            yield call

    return worker


def status(process):
    """Return what Linux says of a process, by the names of its lines."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@needs_linux
def test_workers_are_copies_of_one_server_that_has_imported_torch(worker):
    with worker() as one, worker() as other:
        assert one(os.getpid) != other(os.getpid)
        server = one(os.getppid)
        assert server == other(os.getppid) != os.getpid()
        assert "libtorch" in Path(f"/proc/{server}/maps").read_text()
        # Threads would be lost in a copy, with whatever they had locked.
        assert status(server)["Threads"] == "1"


@needs_linux
def test_the_server_knows_no_interrupt_either(worker):
    with worker() as call:
        for process in (call(os.getppid), call(os.getpid)):
            assert int(status(process)["SigBlk"], 16) >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@needs_linux
def test_a_server_that_was_lost_is_started_anew(worker):
    with worker() as call:
        lost = call(os.getppid)
        os.kill(lost, signal.SIGKILL)
    with worker() as call:
        assert call(os.getppid) not in (lost, os.getpid())


def test_steps_come_before_the_result_and_bear_the_number_of_the_job(calling):
    with local.local_executor("cpu", 2) as executor:
        assert executor.free == 2
        for number, steps in ((7, 3), (8, 1)):
            executor.submit(number, calling(os.getpid, steps=steps))
        assert executor.free == 0
        found, steps = results(executor, 2)
        assert executor.free == 2
    assert {result.number for result in found} == {7, 8}
    assert sorted(steps, key=str) == [Step(7, 1), Step(7, 2), Step(7, 3), Step(8, 1)]


def test_a_job_that_raises_is_refused_and_its_worker_goes_on(calling):
    with local.local_executor("cpu", 1) as executor:
        executor.submit(0, calling(int, "no number"))
        ((refused,), _) = results(executor)
        assert isinstance(refused.outcome, Refusal)
        assert not refused.outcome.of_worker
        assert refused.outcome.reason.startswith("call: ValueError: invalid literal for int()")
        executor.submit(1, calling(len, "abc"))
        assert results(executor) == ([Result(1, [3])], [])


@pytest.mark.parametrize("when", ["with its job", "with nothing to do"])
def test_lost_process_is_replaced(when, calling):
    with local.local_executor("cpu", 1) as executor:
        executor.submit(0, calling(os.getpid))
        ((first,), _) = results(executor)
        if when == "with nothing to do":
            os.kill(first.outcome[0], signal.SIGKILL)
            time.sleep(0.5)
        executor.submit(1, calling(signal.raise_signal, signal.SIGKILL))
        ((lost,), _) = results(executor)
        how = "its worker process died with exit code -9 (SIGKILL): it crashed or ran out of memory"
        assert lost == Result(1, Refusal(f"call: {how}", of_worker=True))
        executor.submit(2, calling(os.getpid))
        ((second,), _) = results(executor)
        assert second.outcome != first.outcome


def test_a_process_that_its_job_ends_is_told_by_its_exit_code(calling):
    with local.local_executor("cpu", 2) as executor:
        executor.submit(0, calling(os._exit, 3))
        ((lost,), _) = results(executor)
        assert lost.outcome.reason == f"call: {local.how_it_ended(3, 2)}"
        assert "exit code 3" in lost.outcome.reason


@pytest.mark.parametrize(
    ("code", "workers", "words"),
    [
        (0, 2, "ended with exit code 0: what it ran has ended it, as os._exit does"),
        (-9, 1, "died with exit code -9 (SIGKILL): it crashed or ran out of memory"),
        (-11, 2, "died with exit code -11 (SIGSEGV): it crashed or ran out of memory (fewer "
                 "--workers need less)"),
        (-200, 1, "died with exit code -200: it crashed or ran out of memory"),
        (255, 1, "died with exit code 255: it crashed or ran out of memory"),
        (None, 1, "died: it crashed or ran out of memory"),
    ],
)  # fmt: skip
def test_how_a_worker_was_lost_in_words(code, workers, words):
    assert local.how_it_ended(code, workers) == f"its worker process {words}"


def test_a_worker_whose_gpu_failed_is_replaced(jobs, calling):
    with local.local_executor("cpu", 1) as executor:
        executor.submit(0, calling(os.getpid))
        ((first,), _) = results(executor)
        executor.submit(1, jobs.Call(jobs.fail_as_a_gpu_does))
        ((refused,), _) = results(executor)
        assert refused.outcome.of_worker
        assert "an illegal memory access" in refused.outcome.reason
        executor.submit(2, calling(os.getpid))
        ((second,), _) = results(executor)
        assert second.outcome != first.outcome


def test_an_error_ends_workers_without_waiting_for_their_jobs(calling):
    began = time.monotonic()
    with suppress(KeyboardInterrupt), local.local_executor("cpu", 1) as executor:
        executor.submit(0, calling(os.getpid))
        ((first,), _) = results(executor)
        executor.submit(1, calling(time.sleep, 10 * PATIENCE))
        raise KeyboardInterrupt
    assert time.monotonic() - began < PATIENCE
    with pytest.raises(ProcessLookupError):
        os.kill(first.outcome[0], 0)


@pytest.fixture
def refuse(monkeypatch):
    """Return what lets the next so many starts of a process fail, and counts all of them."""
    monkeypatch.setattr(local, "PAUSE", 0.0)
    kind = local.worker_context().Process
    start = kind.start

    def refusing(error, count):
        tries = []

        def start_or_not(process):
            tries.append(process)
            if len(tries) <= count:
                raise error
            start(process)

        monkeypatch.setattr(kind, "start", start_or_not)
        return tries

    return refusing


@pytest.mark.parametrize("error", [ConnectionRefusedError(), EOFError(), BlockingIOError()])
def test_a_worker_that_does_not_start_is_tried_again(refuse, error, worker):
    tries = refuse(error, 2)
    with worker() as call:
        assert call(os.getppid) != os.getppid()
    assert len(tries) == 3


def test_a_worker_that_never_starts_is_an_error_of_one_line(refuse):
    tries = refuse(ConnectionRefusedError(), 99)
    with pytest.raises(DriftboardError, match=r"^a worker process does not start, .* --workers$"):
        local.start_worker("cpu")
    assert len(tries) == local.STARTS


def test_a_process_that_dies_at_birth_ends_the_run(monkeypatch, calling):
    monkeypatch.setattr(local, "work_as_process", os._exit)
    with local.local_executor("cpu", 1) as executor:
        executor.submit(0, calling(os.getpid))
        with pytest.raises(DriftboardError, match="does not start, most likely for want of memory"):
            results(executor)


def test_a_worker_of_other_code_ends_the_run(monkeypatch, calling):
    """As where ``sys.path`` or the package's files have changed since this process imported it."""
    with local.local_executor("cpu", 1) as executor:
        monkeypatch.setattr(local, "package_digest", lambda: "0" * 64)
        executor.submit(0, calling(os.getpid))
        with pytest.raises(DriftboardError, match=r"^worker processes have another driftboard "):
            results(executor)


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setattr(local, "start_server", lambda: False)


def check_environment(monkeypatch, worker):
    for word in ("first", "second"):
        monkeypatch.setenv("DRIFTBOARD_TEST", word)
        with worker() as call:
            assert call(os.getenv, "DRIFTBOARD_TEST") == word
    monkeypatch.delenv("DRIFTBOARD_TEST")
    with worker() as call:
        assert call(os.getenv, "DRIFTBOARD_TEST") is None


def test_workers_have_the_environment_of_the_moment_they_start(monkeypatch, worker):
    check_environment(monkeypatch, worker)


@pytest.mark.usefixtures("no_server")
def test_so_have_workers_without_a_server(monkeypatch, worker):
    check_environment(monkeypatch, worker)

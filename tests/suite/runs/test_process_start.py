"""How worker processes begin: whose copies they are, and what they have from whom."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs import local_crew, process_start

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only there is a server")
PATIENCE = 60.0


@contextmanager
def worker():
    """Yield what calls a function in a worker process and returns its answer."""
    started = local_crew.start_worker("cpu")
    try:
        yield lambda *call: started.executor.submit(*call).result(PATIENCE)
    finally:
        started.executor.shutdown()


def status(process):
    """Return what Linux says of a process, by the names of its lines."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@needs_linux
def test_workers_are_copies_of_one_server_that_has_imported_torch():
    with worker() as one, worker() as other:
        assert one(os.getpid) != other(os.getpid)
        server = one(os.getppid)
        assert server == other(os.getppid) != os.getpid()
        assert "libtorch" in Path(f"/proc/{server}/maps").read_text()
        # Threads would be lost in a copy, with whatever they had locked.
        assert status(server)["Threads"] == "1"


@needs_linux
def test_the_server_knows_no_interrupt_either():
    with worker() as call:
        for process in (call(os.getppid), call(os.getpid)):
            assert int(status(process)["SigBlk"], 16) >> (signal.SIGINT - 1) & 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@needs_linux
def test_a_server_that_was_lost_is_started_anew():
    with worker() as call:
        lost = call(os.getppid)
        os.kill(lost, signal.SIGKILL)
    with worker() as call:
        assert call(os.getppid) not in (lost, os.getpid())


@pytest.fixture
def refuse(monkeypatch):
    """Return what lets the next so many starts of a process fail, and counts all of them."""
    monkeypatch.setattr(local_crew, "PAUSE", 0.0)
    kind = process_start.worker_context().Process
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
def test_a_worker_that_does_not_start_is_tried_again(refuse, error):
    tries = refuse(error, 2)
    with worker() as call:
        assert call(os.getppid) != os.getppid()
    assert len(tries) == 3


def test_a_worker_that_never_starts_is_an_error_of_one_line(refuse):
    tries = refuse(ConnectionRefusedError(), 99)
    with pytest.raises(DriftboardError, match=r"^a worker process does not start, .* --workers$"):
        local_crew.start_worker("cpu")
    assert len(tries) == local_crew.STARTS


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setattr(process_start, "start_server", lambda: False)


def check_environment(monkeypatch):
    for word in ("first", "second"):
        monkeypatch.setenv("DRIFTBOARD_TEST", word)
        with worker() as call:
            assert call(os.getenv, "DRIFTBOARD_TEST") == word
    monkeypatch.delenv("DRIFTBOARD_TEST")
    with worker() as call:
        assert call(os.getenv, "DRIFTBOARD_TEST") is None


def test_workers_have_the_environment_of_the_moment_they_start(monkeypatch):
    check_environment(monkeypatch)


@pytest.mark.usefixtures("no_server")
def test_so_have_workers_without_a_server(monkeypatch):
    check_environment(monkeypatch)


PROGRAM = """
import os
from driftboard.suite.runs.local_crew import start_worker

if __name__ == "__main__":
    worker = start_worker("cpu")
    print(worker.executor.submit(os.getppid).result() == os.getpid())
    worker.executor.shutdown()
"""


@needs_linux
def test_folder_of_too_long_a_name_for_a_socket_means_workers_without_a_server(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    program = tmp_path / "program.py"  # a worker of its own reads the program's file
    program.write_text(PROGRAM)
    for place, own in ((tmp_path, False), (folder, True)):
        command, environment = [sys.executable, program], {**os.environ, "TMPDIR": str(place)}
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        assert (said.stdout, said.stderr) == (f"{own}\n", "")

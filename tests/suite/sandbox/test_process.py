"""Somebody else's program in the sandbox: each misdeed ends in a clear verdict, in time."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from driftboard.suite.sandbox.process import landlock_version, run_sandboxed

needs_landlock = pytest.mark.skipif(landlock_version() == 0, reason="the kernel has no Landlock")
GIGABYTE = 10**9


def run(folder, source, seconds=20.0, memory=GIGABYTE, **options):
    return run_sandboxed([sys.executable, "-c", source], folder, seconds, memory, **options)


def running(mark):
    """Return the processes whose command line holds a mark."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(mark in word for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_an_honest_program_ends_by_itself(tmp_path):
    source = "import sys; open('result', 'w').write('42'); print('hello'); sys.exit(3)"
    finished = run(tmp_path, source)
    assert (finished.code, finished.stopped, finished.output) == (3, "", "hello\n")
    assert (tmp_path / "result").read_text() == "42"
    assert finished.seconds < 20
    assert finished.confined == (landlock_version() > 0)


def test_it_sees_a_home_of_its_own_and_few_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    source = "import os; print(os.environ['HOME'], os.getcwd(), os.environ.get('SECRET_TOKEN'))"
    finished = run(tmp_path, source, environment={"GIVEN": "y"})
    assert finished.output.split() == [str(tmp_path), str(tmp_path), "None"]


def test_nothing_in_its_folder_is_taken_for_a_library(tmp_path):
    """Neither before the limits are set nor by the engine that runs what lies there."""
    for name in ("driftboard", "ctypes", "torch"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a decoy')")
    source = "from driftboard.suite.sandbox import process; print(process.__name__)"
    finished = run(tmp_path, source)
    assert finished.output == "driftboard.suite.sandbox.process\n"


def test_a_program_that_hangs_is_stopped(tmp_path):
    start = time.monotonic()
    finished = run(tmp_path, "import time\nwhile True: time.sleep(1)", seconds=1.0)
    assert finished.code is None
    assert "longer" in finished.stopped
    assert time.monotonic() - start < 10


def test_a_program_that_ignores_signals_is_stopped(tmp_path):
    source = (
        "import signal, time\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "time.sleep(600)"
    )
    assert "longer" in run(tmp_path, source, seconds=1.5).stopped


def test_a_program_that_eats_memory_is_stopped(tmp_path):
    source = "import time\nx = []\nwhile True:\n    x.append(bytearray(10**7)); time.sleep(.005)"
    finished = run(tmp_path, source, memory=2 * 10**8)
    assert finished.code is None
    assert "0.2 GB of memory" in finished.stopped


def test_children_that_left_the_session_end_too(tmp_path):
    mark = f"left-behind-{os.getpid()}"
    source = (
        "import subprocess, sys\n"
        f"sleep = [sys.executable, '-c', 'import time; time.sleep(600) # {mark}']\n"
        "subprocess.Popen(sleep, start_new_session=True)\n"
    )
    finished = run(tmp_path, source)
    assert finished.code == 0
    assert running(mark) == []


def test_a_program_that_forks_without_end_is_stopped(tmp_path):
    mark = f"bomb-{os.getpid()}"
    source = (
        f"import os, time # {mark}\n"
        "for _ in range(300):\n    if not os.fork(): time.sleep(600)\n"
        "time.sleep(600)"
    )
    finished = run(tmp_path, source)
    assert finished.code is None
    assert "more than 64 processes" in finished.stopped
    assert running(mark) == []


def test_a_million_lines_are_drained_and_their_end_is_kept(tmp_path):
    finished = run(tmp_path, "for i in range(10**6): print('line', i)")
    assert finished.code == 0
    assert finished.output.endswith("line 999998\nline 999999\n")
    assert len(finished.output) <= 8192


def test_output_that_is_no_text_is_replaced(tmp_path):
    finished = run(tmp_path, r"import sys; sys.stdout.buffer.write(b'\xff\x00ok')")
    assert finished.output == "\ufffd\x00ok"


def test_a_huge_file_is_refused(tmp_path):
    finished = run(tmp_path, "open('big', 'wb').truncate(2**30)")
    assert finished.code != 0
    assert not (tmp_path / "big").exists() or (tmp_path / "big").stat().st_size <= 2**28


@needs_landlock
@pytest.mark.parametrize(
    "deed",
    [
        "open(victim, 'w')",
        "open(victim, 'a').write('x')",
        "os.remove(victim)",
        "os.rename(victim, 'mine')",
        "os.truncate(victim, 0)",
        "os.mkdir(victim + '-folder')",
        "os.symlink('x', victim + '-link')",
        "os.link(victim, victim + '-hard')",
        "os.link(victim, 'hard'); open('hard', 'w')",
        "os.rmdir(os.path.dirname(victim) + '/empty')",
        "subprocess.run(['sh', '-c', f'echo x > {victim}'], check=True)",
    ],
)
def test_files_outside_stay_as_they_are(tmp_path, deed):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside, outside / "empty"):
        folder.mkdir()
    victim = outside / "victim"
    victim.write_text("untouched")
    finished = run(inside, f"import os, subprocess\nvictim = {str(victim)!r}\n{deed}")
    assert finished.code not in (0, None)
    assert victim.read_text() == "untouched"
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "victim"]


@needs_landlock
def test_no_connection_can_be_opened(tmp_path):
    if landlock_version() < 4:
        pytest.skip("needs Landlock 4")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        finished = run(tmp_path, f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    assert "PermissionError" in finished.output


@needs_landlock
def test_processes_outside_are_not_signalled(tmp_path):
    if landlock_version() < 6:
        pytest.skip("needs Landlock 6")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        finished = run(tmp_path, f"import os; os.kill({other.pid}, 9)")
        assert "PermissionError" in finished.output
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_program_that_is_not_there_is_no_traceback_of_ours(tmp_path):
    finished = run_sandboxed(["no-such-program"], tmp_path, 20.0, GIGABYTE)
    assert finished.code not in (0, None)
    assert "no-such-program" in finished.output or "No such file" in finished.output


def test_other_children_of_this_process_are_left_alone(tmp_path):
    own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        run(tmp_path, "pass")
        assert own.poll() is None
    finally:
        own.kill()
        own.wait()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OSError, match="missing"):
        run(Path(tmp_path, "missing"), "pass")

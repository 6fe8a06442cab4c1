"""Running other people's code in a process of its own, with limits.

What the limits do: a program that takes too much time, memory, disk or too many processes is
stopped together with everything that it started. Its output is drained, and only the end is kept.
If the kernel has Landlock, the program can write below one folder only, cannot open TCP
connections, and cannot signal processes outside. What they do not do: the program can read every
file that the user can read, and nothing protects against a bug in the kernel. For code that you do
not trust at all, use a container without network (see docs/concepts/verification.md).

``run_sandboxed`` starts this module as a program, which limits its own process and then becomes
the other program: ``python -m driftboard.suite.sandbox.process FOLDER BYTES SECONDS PROGRAM...``.
Exit code 97 means that the limits could not be set and the program was not run.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from driftboard.suite.package import import_variables

if TYPE_CHECKING:
    import psutil

POLL_SECONDS = 0.1
MOST_PROCESSES = 64
MOST_DISK_BYTES = 2**30
KEPT_OUTPUT = 8192  # characters
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DRIFTBOARD_DATA")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Finished:
    """How a sandboxed process ended.

    ``code`` is its exit code, negative for a signal, None if it had to be stopped; ``stopped``
    then says why. ``output`` is the end of what it printed. ``confined`` tells whether its writes
    were confined to the folder.
    """

    code: int | None
    stopped: str
    output: str
    seconds: float
    confined: bool


def run_sandboxed(
    program: Sequence[str],
    folder: Path,
    seconds: float,
    memory_bytes: int,
    environment: Mapping[str, str] = {},
) -> Finished:
    """Run a program with limits until it ends or is stopped, with all that it started.

    Args:
        program: the command and its arguments.
        folder: the working directory and home, and the only place that it may write to.
        seconds: the limit of its wall-clock time.
        memory_bytes: the limit of all its processes together; shared pages count once for each.
        environment: variables besides the few that are passed on.

    Raises:
        OSError: the program cannot be started, or the limits cannot be set.
    """
    start = time.monotonic()
    launcher = [sys.executable, "-m", "driftboard.suite.sandbox.process", str(folder)]
    launcher += [str(memory_bytes), str(max(1, round(seconds)))]
    with _adopting_orphans():
        before = {process.pid for process in _descendants()}
        child = subprocess.Popen(
            [*launcher, *program],
            cwd=folder,
            env={**_environment(folder), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        output = _Tail(child.stdout)
        try:
            stopped = _watch(child, folder, start + seconds, memory_bytes, before)
        finally:
            _end_all(before)
        code = child.wait()
    kept = output.text()
    if code == REFUSED and not stopped:
        raise OSError(kept.strip())
    return Finished(
        code=None if stopped else code,
        stopped=stopped,
        output=kept,
        seconds=time.monotonic() - start,
        confined=landlock_version() > 0,
    )


def _environment(folder: Path) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    own = {"HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return passed | own | import_variables() | {"PYTHONDONTWRITEBYTECODE": "1"}


def _watch(
    child: "subprocess.Popen[bytes]",
    folder: Path,
    deadline: float,
    memory_bytes: int,
    before: set[int],
) -> str:
    """Wait for the program; return why it has to be stopped, or "" if it ended by itself."""
    import psutil

    polls = 0
    while child.poll() is None:
        if time.monotonic() > deadline:
            return "it took longer than it may"
        memory, count = 0, 0
        for process in _descendants():
            if process.pid in before:
                continue
            with suppress(psutil.Error):
                memory += process.memory_info().rss
                count += 1
        if count > MOST_PROCESSES:
            return f"it started more than {MOST_PROCESSES} processes"
        if memory > memory_bytes:
            return f"it used more than {memory_bytes / 1e9:.1f} GB of memory"
        if polls % 10 == 0 and _disk_use(folder) > MOST_DISK_BYTES:
            return f"it wrote more than {MOST_DISK_BYTES / 1e9:.1f} GB of files"
        polls += 1
        with suppress(subprocess.TimeoutExpired):
            child.wait(POLL_SECONDS)
    return ""


def _disk_use(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total


def _end_all(before: set[int]) -> None:
    """Kill whatever the program started, including processes that left its session."""
    import psutil

    while True:
        left = [process for process in _descendants() if process.pid not in before]
        if not left:
            return
        for process in left:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)  # so that it cannot fork now
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        for process in left:
            with suppress(psutil.Error, psutil.TimeoutExpired):
                process.wait(1.0)


def _descendants() -> "list[psutil.Process]":
    import psutil

    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of orphaned descendants, so that they can be found; on Linux only."""
    if sys.platform != "linux":
        yield
        return
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class _Tail:
    """Reads all output of a process while it runs, and keeps the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._kept: deque[bytes] = deque(maxlen=KEPT_OUTPUT // 1024)
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return the end of the output; call it after the process has ended."""
        self._thread.join()
        return b"".join(self._kept).decode(errors="replace")

    def _drain(self, stream: IO[bytes] | None) -> None:
        if stream is not None:
            with stream:
                while piece := os.read(stream.fileno(), 1024):
                    self._kept.append(piece)


REFUSED = 97
ADDRESS_SPACE_SLACK = 16 * 2**30  # libraries map far more than they use
LARGEST_FILE = 2**28

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_QUERY_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract sockets and signals to others, since version 6


def main() -> None:
    """Set the limits and replace this process by the program."""
    folder, memory, seconds, *program = sys.argv[1:]
    try:
        _limit(resource.RLIMIT_AS, int(memory) + ADDRESS_SPACE_SLACK)
        _limit(resource.RLIMIT_CPU, 64 * int(seconds))
        _limit(resource.RLIMIT_FSIZE, LARGEST_FILE)
        _limit(resource.RLIMIT_CORE, 0)
        confine_writes([Path(folder), Path(os.devnull)])
    except (OSError, ValueError) as error:
        print(f"cannot set the limits: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    os.execvp(program[0], program)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (allowed, allowed))


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers, 0 if it has none."""
    if sys.platform != "linux":
        return 0
    found = _call(_CREATE_RULESET, None, 0, _QUERY_VERSION)
    return max(found, 0)


def confine_writes(writable: Iterable[Path]) -> bool:
    """Let this process write below the given paths only; return whether the kernel can do so.

    From version 4 on Landlock also denies TCP connections, from version 6 on signals to other
    processes.

    Raises:
        OSError: a path does not exist, or a system call fails.
    """
    version = landlock_version()
    if version == 0:
        return False
    access = _WRITE_FILE | _REMOVE_AND_MAKE
    access |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = _Ruleset(access, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    ruleset = _checked(_call(_CREATE_RULESET, ctypes.byref(rules), _size(version), 0))
    for path in writable:
        _allow(ruleset, path, access)
    _checked(_library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_call(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    return True


def _size(version: int) -> int:
    """Return how many bytes of the structure this version of the kernel knows."""
    fields = 3 if version >= 6 else 2 if version >= 4 else 1
    return fields * ctypes.sizeof(ctypes.c_uint64)


def _allow(ruleset: int, path: Path, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        of_files = access & (_WRITE_FILE | _TRUNCATE)
        rule = _PathBeneath(access if path.is_dir() else of_files, handle)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(handle)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(*arguments: object) -> int:
    return int(_library().syscall(*arguments))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    main()

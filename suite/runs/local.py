"""Workers on this machine: one process each, replaced when it is lost.

To import torch takes seconds. On Linux a server does so once for all workers, while the command
itself still does; a worker is a copy of the server, so it is there at once and ends at once. The
server does nothing else, so there is no thread (OpenBLAS ends its own before a fork) and no
half-changed state that a copy could inherit. Where there can be no server, and elsewhere than on
Linux, where libraries do not all survive being copied, every worker is an interpreter of its own.
Nothing in this module imports torch in the commanding process.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, Protocol, Self

from driftboard.suite.errors import DriftboardError, counted
from driftboard.suite.package import importing_as_here, package_digest
from driftboard.suite.runs.scheduler import Log, Refusal, Result, Step, interrupts_blocked

PRELOADED = ["driftboard.suite.runs.cells", "driftboard.suite.runs.worker"]

STARTS = 5
"""How often one process is tried to start."""

PAUSE = 0.2
"""Seconds between two such tries."""

PATIENCE = 5.0
"""Seconds that a lost process has to end, so that its exit code is known."""

FORGOTTEN = 255
"""The exit code of a worker of which the server cannot tell how it ended."""


class Task(Protocol):
    """What a worker process does, such as a ``Job``."""

    @property
    def label(self) -> str:
        """What a failure calls it."""

    def measure(self, on_step: Callable[[], None]) -> list[Any]:
        """Do it, calling ``on_step`` at every step, and return what comes of it."""


@dataclass(eq=False)
class Worker:
    """A process that takes one job at a time, and our end of the pipe to it."""

    process: BaseProcess
    pipe: "Connection[Any, Any]"
    ready: bool = False  # whether it has said that it is
    number: int | None = None  # of the job that it has
    label: str = ""  # of the same


class LocalExecutor:
    """Worker processes of this machine, as an executor; see ``scheduler.Executor``."""

    def __init__(self, count: int, start: Callable[[], Worker], device: str) -> None:
        self.description = f"on {device} with {counted(count, 'worker')}"
        self._start = start
        self._workers: list[Worker] = []
        try:
            for _ in range(count):
                self._workers.append(start())
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the workers, whatever they are at: only the commanding process writes records."""
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    @property
    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(worker.number is None for worker in self._workers)

    def submit(self, number: int, job: Task) -> None:
        """Give a job to a worker that has none."""
        worker = next(worker for worker in self._workers if worker.number is None)
        worker.number, worker.label = number, job.label
        with suppress(OSError):  # it died with nothing to do, which the next poll finds
            worker.pipe.send((number, job))

    def poll(self, seconds: float) -> Iterator[Log | Step | Result]:
        """Wait for messages of the workers that have a job, or for the end of one.

        Raises:
            DriftboardError: a worker process does not start, or runs other code than this one.
        """
        busy = [worker for worker in self._workers if worker.number is not None]
        watched: dict[Any, Worker] = {worker.pipe: worker for worker in busy}
        watched |= {worker.process.sentinel: worker for worker in busy}
        ready = connection.wait(list(watched), seconds)
        for worker in dict.fromkeys(watched[one] for one in ready):
            yield from self._received(worker)

    def _received(self, worker: Worker) -> Iterator[Step | Result]:
        """Yield what a worker has sent until now; replace it if it is lost or cannot go on.

        Raises:
            DriftboardError: it does not start, or runs other code than this process.
        """
        number = worker.number
        assert number is not None
        while message := _message(worker):
            worker.ready = True
            if isinstance(message, str) and message != package_digest():
                raise DriftboardError(
                    "worker processes have another driftboard than this one: its files, or where "
                    "Python looks for them, have changed since; start Python anew and run again"
                )
            if isinstance(message, Step):
                yield message
            elif isinstance(message, Result):
                if isinstance(message.outcome, Refusal) and message.outcome.of_worker:
                    self._replace(worker)
                worker.number = None
                yield message
                return
        if message is None:
            worker.process.join(PATIENCE)  # its pipe ends a moment before it does
            how = how_it_ended(worker.process.exitcode, len(self._workers))
            self._replace(worker)
            yield Result(number, Refusal(f"{worker.label}: {how}", of_worker=True))

    def _replace(self, worker: Worker) -> None:
        if not worker.ready:
            raise not_started()
        worker.pipe.close()
        worker.process.terminate()
        worker.process.join()
        self._workers[self._workers.index(worker)] = self._start()


def how_it_ended(code: int | None, workers: int) -> str:
    """Return how a worker process was lost, and what helps against it.

    Args:
        code: its exit code, the negative number of a signal; None where that is not known.
        workers: how many there were at the same time.

    >>> print(how_it_ended(3, 1))
    its worker process ended with exit code 3: what it ran has ended it, as os._exit does
    >>> print(how_it_ended(-9, 1))
    its worker process died with exit code -9 (SIGKILL): it crashed or ran out of memory
    """
    if code is not None and 0 <= code != FORGOTTEN:
        return (
            f"its worker process ended with exit code {code}: what it ran has ended it, as "
            "os._exit does"
        )
    name = f" ({signal.Signals(-code).name})" if code and -code in set(signal.Signals) else ""
    said = "" if code is None else f" with exit code {code}{name}"
    advice = " (fewer --workers need less)" if workers > 1 else ""
    return f"its worker process died{said}: it crashed or ran out of memory{advice}"


def _message(worker: Worker) -> Any:
    """Return the next message, "" if there is none now, and None if the process is lost."""
    try:
        if worker.pipe.poll():
            return worker.pipe.recv()
    except (OSError, EOFError):
        return None
    return "" if worker.process.is_alive() else None


def local_executor(device: str, count: int) -> LocalExecutor:
    """Start worker processes.

    Raises:
        DriftboardError: they do not start.
    """
    return LocalExecutor(count, lambda: start_worker(device), device)


def start_worker(device: str) -> Worker:
    """Start a worker process.

    Raises:
        DriftboardError: it does not start.
    """
    for _ in range(STARTS):
        with suppress(OSError, EOFError):
            return _try_to_start(device)
        time.sleep(PAUSE)  # a server that was just killed still counts as running
    raise not_started()


def _try_to_start(device: str) -> Worker:
    context = worker_context()
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=work_as_process, args=(theirs, device, dict(os.environ))
    )
    with interrupts_blocked(), importing_as_here(), _main_hidden():
        process.start()
    theirs.close()  # or else we would not see the end of the process
    return Worker(process, ours)


def not_started() -> DriftboardError:
    """Return what is raised when a worker process does not start."""
    return DriftboardError(
        "a worker process does not start, most likely for want of memory; what is done "
        "is kept: run the same command again with fewer --workers"
    )


def worker_context() -> BaseContext:
    """Return what starts worker processes; ``interrupts_blocked`` is to be around their start."""
    return multiprocessing.get_context("forkserver" if start_server() else "spawn")


def start_server() -> bool:
    """Start the server unless it runs, without waiting for it; return whether there is one."""
    if sys.platform != "linux":
        return False
    forkserver.set_forkserver_preload(PRELOADED)
    with importing_as_here():
        resource_tracker.ensure_running()  # if the server's start did it, it would end the block
        try:
            with interrupts_blocked():
                forkserver.ensure_running()
        except OSError:  # the path of its socket, in the folder for temporary files, may be long
            return False
    return True


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep the processes that this block starts from importing the user's main module.

    ``multiprocessing`` tells every new process to import the ``__main__`` of its parent, for the
    sake of functions that lie there. Ours lie in no script, and a script without
    ``if __name__ == "__main__"`` would run once more in every worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# What follows runs in the worker processes.


def work_as_process(
    pipe: "Connection[Any, Any]", device: str, environment: Mapping[str, str]
) -> None:
    """Do jobs until the pipe ends; the whole life of a worker process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Those of this moment, not those of the server's start.
    os.environ.clear()
    os.environ.update(environment)
    from driftboard.suite.runs.worker import prepare_process

    prepare_process(device)
    with suppress(EOFError, ConnectionError):
        work(pipe)


def work(pipe: "Connection[Any, Any]") -> None:
    """Do jobs until the pipe ends.

    Raises:
        EOFError: it has.
    """
    from driftboard.suite.runs.worker import try_to_measure

    pipe.send(package_digest())
    while True:
        number, job = pipe.recv()
        measure = partial(job.measure, partial(_report, pipe, number, itertools.count(1)))
        pipe.send(Result(number, try_to_measure(job.label, measure)))


def _report(pipe: "Connection[Any, Any]", number: int, steps: Iterator[int]) -> None:
    pipe.send(Step(number, next(steps)))


def _end_with_parent() -> None:
    """End this process when its parent has gone, however it went; else it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

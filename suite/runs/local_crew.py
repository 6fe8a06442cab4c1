"""A run on this machine: one process per worker, replaced when it is lost.

Every worker is a pool of one process, since the loss of a process breaks its whole pool.
"""

import itertools
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

import torch

from driftboard.suite.errors import DriftboardError, counted
from driftboard.suite.runs.crew import (
    POLL_SECONDS,
    Errand,
    Executable,
    Failure,
    Planned,
    Refusal,
    Step,
    Tell,
    in_smaller_cohorts,
    refused,
    retried_or_failed,
)
from driftboard.suite.runs.process_start import (
    interrupts_blocked,
    take_environment,
    worker_context,
)
from driftboard.suite.runs.worker import forget, prepare_process
from driftboard.suite.training.device import worker_count

Reports = SimpleQueue[tuple[int, int]]
"""What a worker says in between: its errand's number, and how many of the steps are done."""

STARTS = 5
"""How often one process is tried to start."""

PAUSE = 0.2
"""Seconds between two such tries."""


@dataclass(frozen=True)
class LocalWorker:
    """A process that takes one job at a time."""

    executor: Executor
    reports: Reports  # its own: one that dies while it writes would leave a shared one locked
    started: "Future[int]"


class LocalCrew:
    """The workers of one run on this machine: a crew."""

    def __init__(self, start: Callable[[], LocalWorker], description: str, tell: Tell) -> None:
        self.description = description
        self._start = start
        self._tell = tell
        self._numbers = itertools.count()
        self._workers: list[LocalWorker] = []
        self._busy: dict[Future[Refusal | None], tuple[LocalWorker, Errand[Executable]]] = {}

    def hire(self, count: int) -> None:
        """Start so many workers."""
        for _ in range(count):
            self._workers.append(self._start())

    def end(self) -> None:
        """Wait for what the workers are at, and end them."""
        for worker in self._workers:
            worker.executor.shutdown(cancel_futures=True)

    def run(self, planned: list[Planned]) -> Iterator[Step | Failure]:
        """Hand the jobs out, one to a worker, and yield what happens.

        Raises:
            DriftboardError: a worker process does not start.
        """
        waiting = deque(Errand(next(self._numbers), item.job, item.work) for item in planned)
        while waiting or self._busy:
            at_work = {worker for worker, _ in self._busy.values()}
            for worker in [worker for worker in self._workers if worker not in at_work]:
                if waiting:
                    self._hand_out(worker, waiting.popleft())
            ready, _ = wait(self._busy, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            yield from self._news()
            for reply in ready:
                yield from self._take_back(reply, waiting)

    def _hand_out(self, worker: LocalWorker, errand: Errand[Executable]) -> None:
        errand.tries += 1
        try:
            reply = worker.executor.submit(_execute, errand.number, errand.job)
        except BrokenExecutor as error:  # it died before it got anything to do
            reply = Future()
            reply.set_exception(error)
        self._busy[reply] = worker, errand

    def _news(self) -> Iterator[Step]:
        """Yield the steps that the workers have reported."""
        under_way = {errand.number: errand for _, errand in self._busy.values()}
        for worker in self._workers:
            while not worker.reports.empty():
                number, steps = worker.reports.get()
                yield from under_way[number].advance(steps)

    def _take_back(
        self, reply: "Future[Refusal | None]", waiting: deque[Errand[Executable]]
    ) -> Iterator[Step | Failure]:
        """Deal with the end of a try."""
        worker, errand = self._busy.pop(reply)
        refusal = _answer(reply, errand.job.label)
        if refusal and refusal.of_worker:
            self._replace(worker)
            failed = retried_or_failed(errand, refusal.reason, self._tell)
            if failed is None:
                waiting.appendleft(errand)
                return
        elif refusal and refusal.of_memory and (fewer := self._smaller(errand)):
            waiting.extendleft(reversed(fewer))
            return
        else:
            failed = Failure(refusal.reason) if refusal else None
        yield from errand.advance(errand.job.steps)
        if failed:
            yield failed

    def _smaller(self, errand: Errand[Executable]) -> list[Errand[Executable]]:
        return in_smaller_cohorts(errand, self._numbers, self._tell)

    def _replace(self, worker: LocalWorker) -> None:
        if worker.started.exception() is not None:
            raise not_started()
        worker.executor.shutdown(wait=False, cancel_futures=True)
        self._workers[self._workers.index(worker)] = self._start()


def _answer(reply: "Future[Refusal | None]", label: str) -> Refusal | None:
    try:
        return reply.result()
    except BrokenExecutor:
        return Refusal(
            f"{label}: its worker process died, by a crash or for want of memory, of which fewer "
            "--workers need less",
            of_worker=True,
        )


@contextmanager
def local_workers(device: str, wanted: int | None, tell: Tell) -> Iterator[LocalCrew]:
    """Start worker processes, and end them however the block ends.

    Args:
        device: ``cpu`` or ``cuda``.
        wanted: the number of processes; None chooses by the device.
        tell: prints a line on what becomes of a worker.
    """
    count = worker_count(device, wanted)
    crew = LocalCrew(
        lambda: start_worker(device), f"on {device} with {counted(count, 'worker')}", tell
    )
    try:
        crew.hire(count)
        yield crew
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # a record is written whole or not at all
        raise
    finally:
        crew.end()


def start_worker(device: str) -> LocalWorker:
    """Start a worker process.

    Raises:
        DriftboardError: it does not start.
    """
    for _ in range(STARTS):
        try:
            return _try_to_start(device)
        except (OSError, EOFError):
            time.sleep(PAUSE)  # a server that was just killed still counts as running
    raise not_started()


def _try_to_start(device: str) -> LocalWorker:
    context = worker_context()
    reports: Reports = context.SimpleQueue()
    executor = ProcessPoolExecutor(1, context, _begin_process, (reports, device, dict(os.environ)))
    with interrupts_blocked():
        # A process starts when it gets work.
        return LocalWorker(executor, reports, executor.submit(os.getpid))


def not_started() -> DriftboardError:
    """Return what is raised when a worker process does not start."""
    return DriftboardError(
        "a worker process does not start, most likely for want of memory; what is done "
        "is kept: run the same command again with fewer --workers"
    )


# What follows runs in the worker processes. A process pool hands an initializer's result to no
# one, so the queue has to lie at module level; it is set once, before the first job.

_parent: list[Reports] = []


def _begin_process(reports: Reports, device: str, environment: dict[str, str]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    take_environment(environment)
    prepare_process(device)
    _parent.append(reports)


def _end_with_parent() -> None:
    """End this process when its parent has gone, however it went; else it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _execute(number: int, job: Executable) -> Refusal | None:
    done = itertools.count(1)
    try:
        job.execute(lambda: _parent[0].put((number, next(done))))
    except Exception as error:  # a defect of ours, or somebody else's code: other jobs go on
        # After an error of its GPU a process can do nothing more with it.
        refusal = refused(job.label, error, torch.AcceleratorError)
    else:
        return None
    # Not within the except, whose traceback keeps what the job has made.
    if refusal.of_memory:
        forget()
    return refusal

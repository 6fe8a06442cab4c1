"""The runner: workers that take a run's jobs, with progress, interruption and failures.

Who the workers are does not matter to it: processes of this machine, which are here, or those of
a cluster (``cluster/``).
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Protocol

import torch

from driftboard.suite.data import Pool, load_pool
from driftboard.suite.errors import DriftboardError
from driftboard.suite.grid import Request, is_complete, jobs_for, linear_jobs_for
from driftboard.suite.lanes import choose_lane
from driftboard.suite.linear.setting import LinearSetting
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import Sequence
from driftboard.suite.splits import cached_splits
from driftboard.suite.worker import Job, prepare_process

CONVOLUTION_COST = 30.0
"""Roughly how much longer an image takes in a small ResNet than in an MLP; for estimates only."""

LINEAR_WORK = 3000.0
"""The same for a seed of a linear sequence."""

POLL_SECONDS = 0.2

Progress = Callable[[float, float, str], None]
"""Called with work done, work in all, and the cell group that has just moved on."""


class Executable(Protocol):
    """What a worker process can do: it names everything and carries nothing, so it is small."""

    @property
    def label(self) -> str:
        """What a progress bar and a failure call it."""

    @property
    def steps(self) -> int:
        """How often ``execute`` reports."""

    def execute(self, on_step: Callable[[], None]) -> None:
        """Do it, calling ``on_step`` at every step."""


@dataclass(frozen=True)
class Planned:
    """A job and an estimate of its work, counted in images of an MLP."""

    job: Executable
    work: float
    cells: int


@dataclass(frozen=True)
class Step:
    """A worker's message: one more step of a job is done."""

    label: str
    work: float


@dataclass(frozen=True)
class Failure:
    """A job that failed, in one line; the others are not affected."""

    line: str


class Crew(Protocol):
    """The workers of a run, wherever they are."""

    @property
    def description(self) -> str:
        """Where they train and how many they are, in words."""

    def run(self, planned: list[Planned]) -> Iterator[Step | Failure]:
        """Run all jobs, about in their order, and yield what happens until all are through.

        Raises:
            DriftboardError: there is nobody left to go on; what is done is kept.
        """


def plan(request: Request) -> list[Planned]:
    """Return the jobs of all sequences, in order; makes the splits that are not cached yet.

    Raises:
        DataError: a data set is missing or broken.
        RecordError: a record in the results folder does not belong to this run.
    """
    planned = []
    pools: dict[str, Pool] = {}
    for sequence in request.sequences:
        if is_complete(request, sequence):
            continue  # neither its data nor its splits are needed
        if isinstance(sequence.scenario, LinearSetting):
            planned += [
                Planned(job, LINEAR_WORK * len(job.seeds), len(job.seeds))
                for job in linear_jobs_for(request, sequence, sequence.scenario)
            ]
            continue
        if sequence.source not in pools:
            pools = {sequence.source: load_pool(sequence.source, request.data)}
        pool = pools[sequence.source]
        seeds = request.seeds(sequence)
        recipes = cached_splits(sequence, pool, PROTOCOL, seeds, request.purpose)[0]
        jobs = jobs_for(request, sequence, pool, recipes)
        if note := _note_on_split(sequence, request.device, seeds, jobs):
            print(note, file=sys.stderr)
        for job in jobs:
            images = sum(len(recipe.train) for recipe in recipes) * len(job.seeds)
            planned.append(Planned(job, work_on(sequence.network, images), len(job.seeds)))
    return planned


def _note_on_split(
    sequence: Sequence, device: str, seeds: tuple[int, ...], jobs: list[Job]
) -> str | None:
    """Return the line that says that seeds which could be stacked do not fit all at once."""
    together = max((len(job.seeds) for job in jobs), default=len(seeds))
    if together == len(seeds) or choose_lane(sequence.network, torch.device(device)) == "solo":
        return None
    return (
        f"{sequence.name}: {len(seeds)} seeds do not fit into memory at once, "
        f"trained {together} at a time"
    )


def work_on(network: str, images: int) -> float:
    """Return the estimated work of training on so many images."""
    return images * (1.0 if network.startswith("mlp") else CONVOLUTION_COST)


@contextmanager
def worker_processes(count: int, device: str) -> Iterator["Workers"]:
    """Start worker processes, which import torch at once; end them however the block ends."""
    context = multiprocessing.get_context("spawn")
    messages: SimpleQueue[Step] = context.SimpleQueue()
    executor = ProcessPoolExecutor(count, context, _begin_process, (messages, device))
    try:
        # Ctrl-C reaches every process of the terminal; only this one decides what it means. The
        # others inherit the blocked signal, so that it holds while they still import.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(count):
                executor.submit(os.getpid)  # a process starts, and imports, when it gets work
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield Workers(executor, messages, f"on {device} with {count} worker(s)")
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # a record is written whole or not at all
        raise
    finally:
        executor.shutdown(cancel_futures=True)


class Workers:
    """The worker processes of one run on this machine: a crew."""

    def __init__(
        self, executor: ProcessPoolExecutor, messages: "SimpleQueue[Step]", description: str
    ) -> None:
        self._executor = executor
        self._messages = messages
        self.description = description

    def run(self, planned: list[Planned]) -> Iterator[Step | Failure]:
        """Hand the jobs to the processes and yield what happens.

        Raises:
            DriftboardError: a worker process died.
        """
        try:
            pending = {self._executor.submit(_execute, item) for item in planned}
            while pending:
                ready, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                while not self._messages.empty():
                    yield self._messages.get()
                lines = [future.result() for future in ready]
                yield from (Failure(line) for line in lines if line is not None)
        except BrokenProcessPool as error:
            raise DriftboardError(
                "a worker process died, most likely for want of memory; what is done is kept: "
                "run the same command again with fewer --workers"
            ) from error


def run_jobs(planned: list[Planned], crew: Crew, progress: Progress) -> list[str]:
    """Run all jobs and return one line for each that failed; the others are not affected.

    Raises:
        DriftboardError: there is no worker left.
    """
    failures = []
    total = sum(item.work for item in planned)
    done = 0.0
    for news in crew.run(planned):
        if isinstance(news, Failure):
            failures.append(news.line)
        else:
            done += news.work
            progress(done, total, news.label)
    return failures


def failure(label: str, error: Exception) -> str:
    """Return the line that tells why a job failed."""
    if isinstance(error, DriftboardError):
        return f"{label}: {error}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"{label}: not enough memory; use fewer --workers or a device with more"
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = "".join(traceback.format_exception_only(error)).strip()
    return f"{label}: {what} ({Path(place.filename).name}, line {place.lineno})"


# What follows runs in the worker processes. A process pool hands an initializer's result to no
# one, so the queue has to lie at module level; it is set once, before the first job.

_parent: "list[SimpleQueue[Step]]" = []


def _begin_process(messages: "SimpleQueue[Step]", device: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare_process(device)
    _parent.append(messages)


def _end_with_parent() -> None:
    """End this process when its parent has gone, however it went; else it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _execute(item: Planned) -> str | None:
    label = item.job.label
    share = item.work / item.job.steps
    try:
        item.job.execute(lambda: _parent[0].put(Step(label, share)))
    except Exception as error:  # a defect of ours, or somebody else's code: other jobs go on
        return failure(label, error)
    return None

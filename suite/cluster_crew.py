"""The workers of a run on a Ray cluster: one for every core or GPU, replaced when it is lost.

A worker is an actor and not a task of its own for each job: it imports torch, opens its GPU and
reads the data once, and it says at the start whether its machine can be used at all. A machine
that fails at once would otherwise draw all jobs to itself.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from driftboard.suite.cluster_mailbox import Mailbox
from driftboard.suite.cluster_worker import (
    CellJob,
    ClusterWorker,
    Conditions,
    Files,
    Refusal,
    files_of,
    fingerprints,
    versions,
)
from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.grid import Request
from driftboard.suite.linear.setting import LinearSetting
from driftboard.suite.progress import Tell
from driftboard.suite.records import AnyRecord
from driftboard.suite.runner import POLL_SECONDS, Failure, Planned, Step
from driftboard.suite.worker import Job, keep

TRIES = 3
"""How often a job is given to a worker, and a worker started in one seat, before we give up."""

PATIENCE_SECONDS = 15.0
"""How long no worker may be there before a line says what the run waits for."""

RESOURCES = {"cpu": "CPU", "cuda": "GPU"}
HOW_TO_GO_ON = "what is done is kept: run the same command again"


@dataclass(eq=False)
class _Seat:
    """Room for one worker; who sits there may change."""

    actor: Any
    failed_starts: int = 0


@dataclass(eq=False)
class _Errand:
    """A job on its way."""

    number: int
    job: CellJob
    work: float
    files: Files
    tries: int = 0
    steps: int = 0  # of the try that has come furthest

    def advance(self, steps: int) -> Iterator[Step]:
        """Yield what is new once ``steps`` are done; a second try starts over, progress not."""
        if steps > self.steps:
            yield Step(self.job.label, self.work * (steps - self.steps) / self.job.steps)
            self.steps = steps


class ClusterCrew:
    """The workers of one run on a cluster: a crew."""

    def __init__(self, ray: ModuleType, request: Request, count: int, tell: Tell) -> None:
        self._ray = ray
        self._request = request
        self._count = count
        self._tell = tell
        self._told: set[str] = set()
        self._numbers = itertools.count()
        self._mailbox: Any = None
        self._news: Any = None  # what the mailbox has been asked for
        self._seats: list[_Seat] = []
        self._idle: deque[_Seat] = deque()
        self._starting: dict[Any, _Seat] = {}
        self._busy: dict[Any, tuple[_Seat, _Errand]] = {}
        self._under_way: dict[int, _Errand] = {}

    @property
    def description(self) -> str:
        """Where they train and how many they are, in words."""
        machines = sum(node["Alive"] for node in self._ray.nodes())
        return (
            f"on {self._request.device} with {self._count} worker(s) of a Ray cluster of "
            f"{machines} machine(s)"
        )

    def begin(self) -> None:
        """Start all workers; they import torch while we plan."""
        restarts = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        self._mailbox = self._ray.remote(**restarts)(Mailbox).remote()
        self._data = self._request.data and self._request.data.absolute()
        self._seats = [_Seat(self._new_actor()) for _ in range(self._count)]
        sequences = self._request.sequences
        sources = {s.source for s in sequences if not isinstance(s.scenario, LinearSetting)}
        self._conditions = Conditions(
            self._request.device, versions(), self._data, fingerprints(self._data, sorted(sources))
        )
        for seat in self._seats:
            self._examine(seat)

    def end(self) -> None:
        """End all workers, at work or not."""
        for actor in (self._mailbox, *(seat.actor for seat in self._seats)):
            if actor is not None:
                self._ray.kill(actor)

    def run(self, planned: list[Planned]) -> Iterator[Step | Failure]:
        """Hand the jobs out, one to a worker, write what comes back, and yield what happens.

        A job whose worker is lost is given to another, ``TRIES`` times in all.

        Raises:
            DriftboardError: no worker is left, or a user's file is missing here.
        """
        waiting = deque(self._errand(item) for item in planned)
        idle_since = time.monotonic()
        while waiting or self._busy:
            while waiting and self._idle:
                self._hand_out(self._idle.popleft(), waiting.popleft())
            if self._busy:
                idle_since = time.monotonic()
            elif not self._starting:
                raise DriftboardError(f"no worker of the Ray cluster is left; {HOW_TO_GO_ON}")
            elif time.monotonic() - idle_since > PATIENCE_SECONDS:
                self._explain_waiting()
            ready, _ = self._ray.wait([*self._starting, *self._busy], timeout=POLL_SECONDS)
            yield from self._reports()
            for reply in ready:
                if reply in self._starting:
                    self._welcome(reply)
                else:
                    yield from self._take_back(reply, waiting)

    def _new_actor(self) -> Any:
        needs = {"cpu": {"num_cpus": 1}, "cuda": {"num_cpus": 0, "num_gpus": 1}}
        device = self._request.device
        return self._ray.remote(**needs[device])(ClusterWorker).remote(device, self._mailbox)

    def _examine(self, seat: _Seat) -> None:
        """Let the worker say whether its machine can be used."""
        self._starting[seat.actor.fault.remote(self._conditions)] = seat

    def _replace(self, seat: _Seat) -> None:
        self._ray.kill(seat.actor)
        seat.actor = self._new_actor()
        self._examine(seat)

    def _welcome(self, reply: Any) -> None:
        """Give a worker that has started its place, unless its machine cannot be used."""
        seat = self._starting.pop(reply)
        try:
            fault: str | None = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            seat.failed_starts += 1
            if seat.failed_starts < TRIES:
                self._replace(seat)
            else:
                self._tell_once(f"a worker could not be started: {_cause(error)}")
            return
        if fault is not None:
            self._ray.kill(seat.actor)
            self._tell_once(fault)
            return
        seat.failed_starts = 0
        self._idle.append(seat)

    def _errand(self, item: Planned) -> _Errand:
        job = item.job
        if not isinstance(job, CellJob):
            raise TypeError(f"{type(job).__name__} cannot be sent to a cluster")
        if isinstance(job, Job):
            job = replace(job, data=self._data)
        files = {path: _content(path) for path in files_of(job)}
        return _Errand(next(self._numbers), job, item.work, files)

    def _hand_out(self, seat: _Seat, errand: _Errand) -> None:
        errand.tries += 1
        reply = seat.actor.measure.remote(errand.number, errand.job, errand.files)
        self._busy[reply] = seat, errand
        self._under_way[errand.number] = errand

    def _take_back(self, reply: Any, waiting: deque[_Errand]) -> Iterator[Step | Failure]:
        """Deal with the end of a try."""
        seat, errand = self._busy.pop(reply)
        del self._under_way[errand.number]
        try:
            result: list[AnyRecord] | Refusal = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            result = Refusal(f"{errand.job.label}: its worker was lost: {_cause(error)}", True)
        if isinstance(result, Refusal) and result.of_worker:
            self._replace(seat)
            if errand.tries < TRIES:
                self._tell(f"{result.reason}; trying again")
                waiting.appendleft(errand)
                return
            result = Refusal(f"{result.reason} ({TRIES} times)", True)
        else:
            self._idle.append(seat)
        yield from errand.advance(errand.job.steps)
        if isinstance(result, Refusal):
            yield Failure(result.reason)
            return
        try:
            keep(errand.job.results, result)
        except DriftboardError as error:
            yield Failure(f"{errand.job.label}: {error}")

    def _reports(self) -> Iterator[Step]:
        """Yield the steps that the workers have told the mailbox of."""
        if self._news is None:
            self._news = self._mailbox.take.remote()
        if not self._ray.wait([self._news], timeout=0)[0]:
            return
        news, self._news = self._news, None
        for number, steps in self._ray.get(news):
            if number in self._under_way:
                yield from self._under_way[number].advance(steps)

    def _explain_waiting(self) -> None:
        """Say once that there is no worker yet.

        Raises:
            DriftboardError: there will be none.
        """
        resource = RESOURCES[self._request.device]
        if not room_for(self._ray, self._request.device):
            raise DriftboardError(f"the Ray cluster has no {resource} left; {HOW_TO_GO_ON}")
        self._tell_once(f"waiting for a worker to start, or for a free {resource} of the cluster")

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._tell(one_line(line))


def room_for(ray: ModuleType, device: str) -> int:
    """Return how many workers a cluster has room for, in use or not."""
    return int(ray.cluster_resources().get(RESOURCES[device], 0))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DriftboardError(f"cannot read {path}: {error.strerror or error}") from error


def _cause(error: Exception) -> str:
    """Return in a few words why Ray could not bring a worker's answer; its own are a page."""
    text = str(error).strip()
    if "its node has died" in text or "unavailable" in text:
        return "its machine cannot be reached any more"
    if "low on memory" in text:
        return "its machine ran out of memory; use fewer --workers"
    if "Worker exit type" in text:
        return "its process ended, by a crash or for want of memory"
    return one_line(text.splitlines()[-1] if text else type(error).__name__)

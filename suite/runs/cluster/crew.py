"""A run on a Ray cluster: its jobs are handed out, taken back, and given to others if need be."""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from driftboard.suite.errors import DriftboardError, counted
from driftboard.suite.runs.cluster.mailbox import Mailbox
from driftboard.suite.runs.cluster.staff import RESOURCES, Seat, Staff, cause_of, room_for
from driftboard.suite.runs.cluster.worker import Conditions, Files, fingerprints, versions
from driftboard.suite.runs.crew import (
    POLL_SECONDS,
    Errand,
    Failure,
    Planned,
    PortableJob,
    Refusal,
    Step,
    Tell,
    in_smaller_cohorts,
    retried_or_failed,
)
from driftboard.suite.runs.grid import AnyRequest
from driftboard.suite.sequences.linear import LinearSetting

PATIENCE_SECONDS = 15.0
"""How long no worker may be there before a line says what the run waits for."""

HOW_TO_GO_ON = "what is done is kept: run the same command again"


class ClusterCrew:
    """The workers of one run on a cluster: a crew. They start, and import torch, at once."""

    def __init__(self, ray: ModuleType, request: AnyRequest, count: int, tell: Tell) -> None:
        self._ray = ray
        self._request = request
        self._tell = tell
        self._mailbox = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox).remote()
        self._news: Any = None  # what the mailbox has been asked for
        self._staff = Staff(ray, request.device, self._mailbox, count, tell)
        self._busy: dict[Any, tuple[Seat, Errand[PortableJob]]] = {}
        self._under_way: dict[int, Errand[PortableJob]] = {}
        self._files: dict[int, Files] = {}  # what an errand takes along
        self._numbers = itertools.count()
        machines = sum(node["Alive"] for node in ray.nodes())
        self.description = (
            f"on {request.device} with {counted(count, 'worker')} of a Ray cluster of "
            f"{counted(machines, 'machine')}"
        )

    def examine(self) -> None:
        """Let the workers see whether their machines have what this one has.

        Raises:
            DataError: a data set is missing or broken here.
        """
        sequences = self._request.sequences
        sources = {s.source for s in sequences if not isinstance(s.scenario, LinearSetting)}
        digests = fingerprints(self._request.data, sorted(sources))
        wanted = Conditions(self._request.device, versions(), self._request.data, digests)
        self._staff.examine(wanted)

    def end(self) -> None:
        """End all workers, at work or not."""
        self._staff.end()
        self._ray.kill(self._mailbox)

    def run(self, planned: list[Planned]) -> Iterator[Step | Failure]:
        """Hand the jobs out, one to a worker, write what comes back, and yield what happens.

        A job whose worker is lost is given to another, ``TRIES`` times in all.

        Raises:
            DriftboardError: no worker is left, or a user's file is missing here.
        """
        waiting = deque(self._errand(item) for item in planned)
        idle_since = time.monotonic()
        while waiting or self._busy:
            while waiting and self._staff.idle:
                self._hand_out(self._staff.idle.popleft(), waiting.popleft())
            if self._busy:
                idle_since = time.monotonic()
            elif not self._staff.starting:
                raise DriftboardError(f"no worker of the Ray cluster is left; {HOW_TO_GO_ON}")
            elif time.monotonic() - idle_since > PATIENCE_SECONDS:
                self._explain_waiting()
            ready, _ = self._ray.wait([*self._staff.starting, *self._busy], timeout=POLL_SECONDS)
            yield from self._reports()
            for reply in ready:
                if reply in self._staff.starting:
                    self._staff.welcome(reply)
                else:
                    yield from self._take_back(reply, waiting)

    def _errand(self, item: Planned) -> Errand[PortableJob]:
        job = item.job
        if not isinstance(job, PortableJob):
            raise TypeError(f"{type(job).__name__} cannot be sent to a cluster")
        number = next(self._numbers)
        self._files[number] = {path: _content(path) for path in job.files}
        return Errand(number, job, item.work)

    def _hand_out(self, seat: Seat, errand: Errand[PortableJob]) -> None:
        errand.tries += 1
        reply = seat.actor.measure.remote(errand.number, errand.job, self._files[errand.number])
        self._busy[reply] = seat, errand
        self._under_way[errand.number] = errand

    def _take_back(
        self, reply: Any, waiting: deque[Errand[PortableJob]]
    ) -> Iterator[Step | Failure]:
        """Deal with the end of a try."""
        seat, errand = self._busy.pop(reply)
        del self._under_way[errand.number]
        try:
            result: list[Any] | Refusal = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            result = Refusal(f"{errand.job.label}: its worker was lost: {cause_of(error)}", True)
        if isinstance(result, Refusal) and result.of_worker:
            self._staff.replace(seat)
            failed = retried_or_failed(errand, result.reason, self._tell)
            if failed is None:
                waiting.appendleft(errand)
                return
        elif isinstance(result, Refusal) and result.of_memory and (fewer := self._smaller(errand)):
            self._staff.idle.append(seat)
            waiting.extendleft(reversed(fewer))
            return
        else:
            self._staff.idle.append(seat)
            failed = _kept_or_failed(errand.job, result)
        yield from errand.advance(errand.job.steps)
        if failed:
            yield failed

    def _smaller(self, errand: Errand[PortableJob]) -> list[Errand[PortableJob]]:
        fewer = in_smaller_cohorts(errand, self._numbers, self._tell)
        self._files |= {each.number: self._files[errand.number] for each in fewer}
        return fewer

    def _reports(self) -> Iterator[Step]:
        """Yield the steps that the workers have told the mailbox of."""
        if self._news is None:
            self._news = self._mailbox.take.remote()
        if not self._ray.wait([self._news], timeout=0)[0]:
            return
        news, self._news = self._news, None
        try:
            reports = self._ray.get(news)
        except self._ray.exceptions.RayError:  # it starts anew; only reports are lost
            return
        for number, steps in reports:
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
        self._staff.tell_once(
            f"waiting for a worker to start, or for a free {resource} of the cluster"
        )


def _kept_or_failed(job: PortableJob, result: list[Any] | Refusal) -> Failure | None:
    """Write a job's records, or return why there are none."""
    if isinstance(result, Refusal):
        return Failure(result.reason)
    try:
        job.keep(result)
    except DriftboardError as error:
        return Failure(f"{job.label}: {error}")
    return None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DriftboardError(f"cannot read {path}: {error.strerror or error}") from error

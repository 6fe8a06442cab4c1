"""The workers of a run on a Ray cluster: one for every core or GPU, replaced when it is lost.

A worker is an actor and not a task of its own for each job: it imports torch, opens its GPU and
reads the data once, and it says at the start whether its machine can be used at all. A machine
that fails at once would otherwise draw all jobs to itself.
"""

from collections import deque
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from driftboard.suite.errors import one_line
from driftboard.suite.runs.cluster.worker import ClusterWorker, Conditions
from driftboard.suite.runs.crew import TRIES, Tell

NEEDS = {"cpu": {"num_cpus": 1}, "cuda": {"num_cpus": 0, "num_gpus": 1}}
"""What a worker takes of the cluster, by device."""

RESOURCES = {"cpu": "CPU", "cuda": "GPU"}


def room_for(ray: ModuleType, device: str) -> int:
    """Return how many workers a cluster has room for, in use or not."""
    return int(ray.cluster_resources().get(RESOURCES[device], 0))


def cause_of(error: Exception) -> str:
    """Return in a few words why Ray could not bring a worker's answer; its own are a page."""
    text = str(error).strip()
    if "its node has died" in text or "unavailable" in text:
        return "its machine cannot be reached any more"
    if "low on memory" in text:
        return "its machine ran out of memory; use fewer --workers"
    if "Worker exit type" in text:
        return "its process ended, by a crash or for want of memory"
    return text.splitlines()[-1] if text else type(error).__name__


@dataclass(eq=False)
class Seat:
    """Room for one worker; who sits there may change."""

    actor: Any
    failed_starts: int = 0


class Staff:
    """The workers that are there; ``starting`` maps what they have been asked to their seats."""

    def __init__(self, ray: ModuleType, device: str, mailbox: Any, count: int, tell: Tell) -> None:
        self._ray = ray
        self._device = device
        self._mailbox = mailbox
        self._tell = tell
        self._told: set[str] = set()
        self._conditions: Conditions | None = None
        self._seats = [Seat(self._new_worker()) for _ in range(count)]
        self.idle: deque[Seat] = deque()
        self.starting: dict[Any, Seat] = {}

    def examine(self, conditions: Conditions) -> None:
        """Let every worker say whether its machine can be used, now and when it is replaced."""
        self._conditions = conditions
        for seat in self._seats:
            self._ask(seat)

    def end(self) -> None:
        """End all workers, at work or not."""
        for seat in self._seats:
            self._ray.kill(seat.actor)

    def replace(self, seat: Seat) -> None:
        """End whoever sits there and start another."""
        self._ray.kill(seat.actor)
        seat.actor = self._new_worker()
        self._ask(seat)

    def welcome(self, reply: Any) -> None:
        """Count a worker among the idle, unless it did not start or its machine is of no use."""
        seat = self.starting.pop(reply)
        try:
            fault: str | None = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            seat.failed_starts += 1
            if seat.failed_starts < TRIES:
                self.replace(seat)
            else:
                self.tell_once(f"a worker could not be started: {cause_of(error)}")
            return
        if fault is not None:
            self._ray.kill(seat.actor)
            self.tell_once(fault)
            return
        seat.failed_starts = 0
        self.idle.append(seat)

    def tell_once(self, line: str) -> None:
        """Tell what several workers may give cause for."""
        if line not in self._told:
            self._told.add(line)
            self._tell(one_line(line))

    def _new_worker(self) -> Any:
        start = self._ray.remote(**NEEDS[self._device])(ClusterWorker).remote
        return start(self._device, self._mailbox)

    def _ask(self, seat: Seat) -> None:
        self.starting[seat.actor.fault.remote(self._conditions)] = seat

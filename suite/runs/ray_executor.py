"""Workers on a Ray cluster: one for every core or GPU, replaced when it is lost.

A worker is an actor and not a task of its own for each job: it imports torch, opens its GPU and
reads the data once, and it says at the start whether its machine can be used at all. A machine
that fails at once would otherwise draw all jobs to itself.

Ray is imported only when it is asked for. Nothing here imports torch on its own: the process of the
``ProgressActor`` needs neither torch nor data.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

from driftboard.suite.errors import DriftboardError, counted, one_line
from driftboard.suite.runs.scheduler import TRIES, Log, Refusal, Result, Step

if TYPE_CHECKING:
    from driftboard.suite.runs.job import Job
    from driftboard.suite.runs.worker import Conditions

CONNECT_SECONDS = 10.0
LOCAL = "local"

STORE_BYTES = 80 * 2**20
"""The object store of a cluster of our own; what travels is small, and Ray asks for this much."""

PATIENCE_SECONDS = 15.0
"""How long no worker may be there before a line says what the run waits for."""

HOW_TO_GO_ON = "what is done is kept: run the same command again"

NEEDS = {"cpu": {"num_cpus": 1}, "cuda": {"num_cpus": 0, "num_gpus": 1}}
"""What a worker takes of the cluster, by device."""

RESOURCES = {"cpu": "CPU", "cuda": "GPU"}


def import_ray() -> ModuleType:
    """Return the module.

    Raises:
        DriftboardError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours reports nothing
    try:
        import ray
    except ImportError as error:
        raise DriftboardError(
            "--cluster ray needs Ray; install it with: pip install 'ray>=2.60'"
        ) from error
    module: ModuleType = ray
    return module


@contextmanager
def connected(address: str | None, cores: int) -> Iterator["Cluster"]:
    """Connect to the cluster at ``address``, or start one here that lasts as long as the block.

    Args:
        address: ``HOST:PORT``, ``auto`` or ``local``; None means that of the
            environment variable RAY_ADDRESS, else ``local``.
        cores: of a cluster of this machine.

    Raises:
        DriftboardError: Ray is not installed, or there is no such cluster.
    """
    ray = import_ray()
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    options: dict[str, Any] = {}
    if where == LOCAL:
        options = {
            "num_cpus": cores,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
    elif where != "auto":
        check_reachable(where)
    # When a worker is lost, Ray prints pages to standard output; we print one line instead.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            # Ray lets workers import from the folder that is current now, before all others.
            with chdir(Path.cwd().anchor):
                ray.init(where, log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise DriftboardError(
                f"no Ray cluster at '{where}': {one_line(str(error))}; start one with "
                "`ray start --head`"
            ) from error
        try:
            yield Cluster(ray)
        finally:
            ray.shutdown()


def check_reachable(address: str) -> None:
    """Check that something listens at ``HOST:PORT``: Ray would wait long and print a lot.

    Raises:
        DriftboardError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise DriftboardError(
            f"'{address}' is no address of a Ray cluster; use HOST:PORT as `ray start --head` "
            "prints it, 'auto' or 'local'"
        )
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise DriftboardError(
            f"no Ray cluster at '{address}': {error}; start one with `ray start --head`, or fix "
            "--ray-address"
        ) from error


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that we are connected to."""

    ray: ModuleType

    def room(self, device: str) -> int:
        """Return how many workers it has room for, in use or not."""
        return int(self.ray.cluster_resources().get(RESOURCES[device], 0))

    def resolve_device(self, wanted: str) -> str:
        """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``, by what the cluster has.

        Raises:
            DriftboardError: the cluster has nothing of what is asked for.
        """
        if wanted != "cpu" and self.room("cuda"):
            return "cuda"
        if wanted == "cuda":
            raise DriftboardError(
                "the Ray cluster has no GPU; use --device cpu, or add a machine that has one with "
                "`ray start --address`"
            )
        if not self.room("cpu"):
            raise DriftboardError(
                "the Ray cluster has no CPU to train on; add a machine with `ray start --address`"
            )
        return "cpu"


class ProgressActor:
    """Keeps what all workers report until the executor takes it."""

    def __init__(self) -> None:
        self._reports: list[Step] = []

    def put(self, report: Step) -> None:
        """Keep one more."""
        self._reports.append(report)

    def take(self) -> list[Step]:
        """Hand out what has come in since the last time."""
        reports, self._reports = self._reports, []
        return reports


@dataclass(eq=False)
class Slot:
    """The place of one worker, whose actor is replaced when it is lost."""

    actor: Any
    failed_starts: int = 0


class RayExecutor:
    """Workers of a Ray cluster, as an executor; see ``scheduler.Executor``.

    They start, and import torch, at once. Every worker says whether its machine can be used, now
    and when it is replaced.

    Args:
        cluster: where.
        conditions: what each machine has to have.
        wanted: at most so many workers; None takes as many as there is room for.
    """

    def __init__(self, cluster: Cluster, conditions: "Conditions", wanted: int | None) -> None:
        self._ray, self._cluster = cluster.ray, cluster
        self._conditions = conditions
        self._device = conditions.device
        room = cluster.room(self._device)
        count = room if wanted is None else min(wanted, room)
        machines = sum(node["Alive"] for node in self._ray.nodes())
        self.description = (
            f"on {self._device} with {counted(count, 'worker')} of a Ray cluster of "
            f"{counted(machines, 'machine')}"
        )
        self._progress = self._ray.remote(num_cpus=0, max_restarts=-1)(ProgressActor).remote()
        self._reports: Any = None  # what the progress actor has been asked for
        self._idle: deque[Slot] = deque()
        self._starting: dict[Any, Slot] = {}  # by what they have been asked
        self._busy: dict[Any, tuple[Slot, int, str]] = {}  # by the same; number and label of jobs
        self._idle_since = time.monotonic()
        self._logged: set[str] = set()
        self._slots = [Slot(self._new_worker()) for _ in range(count)]
        for slot in self._slots:
            self._ask(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End all workers, at work or not."""
        for slot in self._slots:
            self._ray.kill(slot.actor)
        self._ray.kill(self._progress)

    @property
    def free(self) -> int:
        """How many workers have started, are usable and have nothing to do."""
        return len(self._idle)

    def submit(self, number: int, job: "Job") -> None:
        """Send a job to an idle worker."""
        slot = self._idle.popleft()
        reply = slot.actor.measure.remote(number, job)
        self._busy[reply] = slot, number, job.label

    def poll(self, seconds: float) -> Iterator[Log | Step | Result]:
        """Wait for replies of the workers.

        Raises:
            DriftboardError: no worker is left.
        """
        if self._busy:
            self._idle_since = time.monotonic()
        elif not self._starting:
            raise DriftboardError(f"no worker of the Ray cluster is left; {HOW_TO_GO_ON}")
        elif time.monotonic() - self._idle_since > PATIENCE_SECONDS:
            yield from self._explain_waiting()
        ready, _ = self._ray.wait([*self._starting, *self._busy], timeout=seconds)
        yield from self._steps()
        for reply in ready:
            if reply in self._starting:
                yield from self._started(reply)
            else:
                yield self._result(reply)

    def _result(self, reply: Any) -> Result:
        slot, number, label = self._busy.pop(reply)
        try:
            outcome: list[Any] | Refusal = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            outcome = Refusal(f"{label}: its worker was lost: {cause_of(error)}", of_worker=True)
        if isinstance(outcome, Refusal) and outcome.of_worker:
            self._replace(slot)
        else:
            self._idle.append(slot)
        return Result(number, outcome)

    def _started(self, reply: Any) -> Iterator[Log]:
        """Count a worker among the idle, unless it did not start or its machine is not usable."""
        slot = self._starting.pop(reply)
        try:
            fault: str | None = self._ray.get(reply)
        except self._ray.exceptions.RayError as error:
            slot.failed_starts += 1
            if slot.failed_starts < TRIES:
                self._replace(slot)
            else:
                yield from self._log_once(f"a worker could not be started: {cause_of(error)}")
            return
        if fault is not None:
            self._ray.kill(slot.actor)
            yield from self._log_once(fault)
            return
        slot.failed_starts = 0
        self._idle.append(slot)

    def _steps(self) -> Iterable[Step]:
        """Return what the workers have reported to the progress actor."""
        if self._reports is None:
            self._reports = self._progress.take.remote()
        if not self._ray.wait([self._reports], timeout=0)[0]:
            return []
        asked, self._reports = self._reports, None
        try:
            reports: list[Step] = self._ray.get(asked)
        except self._ray.exceptions.RayError:  # it starts anew; only reports are lost
            return []
        return reports

    def _explain_waiting(self) -> Iterator[Log]:
        """Say once that there is no worker yet.

        Raises:
            DriftboardError: there will be none.
        """
        resource = RESOURCES[self._device]
        if not self._cluster.room(self._device):
            raise DriftboardError(f"the Ray cluster has no {resource} left; {HOW_TO_GO_ON}")
        yield from self._log_once(
            f"waiting for a worker to start, or for a free {resource} of the cluster"
        )

    def _log_once(self, line: str) -> Iterator[Log]:
        """Yield a line that several workers may give cause for."""
        if line not in self._logged:
            self._logged.add(line)
            yield Log(one_line(line))

    def _replace(self, slot: Slot) -> None:
        """End the actor of a slot and start another."""
        self._ray.kill(slot.actor)
        slot.actor = self._new_worker()
        self._ask(slot)

    def _new_worker(self) -> Any:
        from driftboard.suite.runs.worker import RayWorker

        start = self._ray.remote(**NEEDS[self._device])(RayWorker).remote
        return start(self._device, self._progress)

    def _ask(self, slot: Slot) -> None:
        self._starting[slot.actor.fault.remote(self._conditions)] = slot


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

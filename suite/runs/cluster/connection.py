"""A Ray cluster: the way in, and what it has. Ray is imported here, and only when asked for."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.runs.cluster.crew import ClusterCrew
from driftboard.suite.runs.cluster.staff import room_for
from driftboard.suite.runs.crew import Tell
from driftboard.suite.runs.grid import AnyRequest
from driftboard.suite.training.device import worker_count

CONNECT_SECONDS = 10.0
LOCAL = "local"

STORE_BYTES = 80 * 2**20
"""The object store of a cluster of our own; what travels is small, and Ray asks for this much."""


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
def connected(address: str | None, workers: int | None) -> Iterator["Cluster"]:
    """Connect to the cluster at ``address``, or start one on this machine for the time being.

    Args:
        address: ``HOST:PORT``, ``auto`` or ``local``; None means that of the
            environment variable RAY_ADDRESS, else ``local``.
        workers: cores that a cluster of this machine has; None takes all that we may use.

    Raises:
        DriftboardError: Ray is not installed, or there is no such cluster.
    """
    ray = import_ray()
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    options: dict[str, Any] = {}
    if where == LOCAL:
        options = {
            "num_cpus": worker_count("cpu", workers),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
    elif where != "auto":
        _knock(where)
    # Ray prints pages on a lost worker to standard output; we say it in a line of our own.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
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


def _knock(address: str) -> None:
    """Check that somebody listens at ``HOST:PORT``: Ray itself waits long and tells much."""
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
            f"no Ray cluster at '{address}': {error}; start one with `ray start --head`, or mend "
            "--ray-address"
        ) from error


class Cluster:
    """A cluster that we are connected to."""

    def __init__(self, ray: ModuleType) -> None:
        self._ray = ray

    def resolve_device(self, wanted: str) -> str:
        """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``, by what the cluster has.

        Raises:
            DriftboardError: the cluster has nothing of what is asked for.
        """
        if wanted != "cpu" and room_for(self._ray, "cuda"):
            return "cuda"
        if wanted == "cuda":
            raise DriftboardError(
                "the Ray cluster has no GPU; use --device cpu, or add a machine that has one with "
                "`ray start --address`"
            )
        if not room_for(self._ray, "cpu"):
            raise DriftboardError(
                "the Ray cluster has no CPU to train on; add a machine with `ray start --address`"
            )
        return "cpu"

    @contextmanager
    def workers(
        self, request: AnyRequest, wanted: int | None, tell: Tell
    ) -> Iterator["ClusterCrew"]:
        """Start workers for a request; end them however the block ends.

        Args:
            request: what the jobs will be of; its device is one that ``resolve_device`` gave, and
                its data folder is named from the root, for machines with other working folders.
            wanted: at most so many workers; None takes as many as there is room for.
            tell: prints a line on what becomes of a worker.

        Raises:
            DriftboardError: a data set or a user's file is missing here.
        """
        room = room_for(self._ray, request.device)
        crew = ClusterCrew(self._ray, request, room if wanted is None else min(wanted, room), tell)
        try:
            crew.examine()
            yield crew
        finally:
            crew.end()

"""What runs on the machines of a Ray cluster: a worker, which measures and returns records.

It writes no results: the scheduler does, so neither a shared file system nor equal clocks are
needed. A job names the strategy's file of the commanding machine, so the files come along.
"""

import itertools
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from driftboard.suite.data import load_pool
from driftboard.suite.errors import DataError
from driftboard.suite.runs.job import Job
from driftboard.suite.runs.scheduler import Refusal, Step
from driftboard.suite.runs.worker import prepare_process, try_to_measure

Files = dict[Path, bytes]
"""The users' files that a job needs, by the path under which it names them."""


@dataclass(frozen=True)
class Conditions:
    """What a worker has to find on its machine, so that its records are those of any other."""

    device: str
    versions: dict[str, str]  # by the name of the package
    data: Path | None
    fingerprints: dict[str, str]  # by the name of the data set


def versions() -> dict[str, str]:
    """Return the versions that decide a record, without what tells builds of one apart."""
    return {name: version(name).partition("+")[0] for name in ("driftboard", "torch")}


def fingerprints(data: Path | None, sources: Iterable[str]) -> dict[str, str]:
    """Return the digests of data sets on this machine.

    Raises:
        DataError: one is missing or broken.
    """
    return {source: load_pool(source, data).fingerprint for source in sources}


class RayWorker:
    """A worker process of the cluster; ``progress`` is the handle of a ``ProgressActor``."""

    def __init__(self, device: str, progress: Any) -> None:
        prepare_process(device)
        self._progress = progress

    def fault(self, wanted: Conditions) -> str | None:
        """Return a line on what is wrong with this machine, if anything is."""
        found = _fault(wanted)
        return found and f"{socket.gethostname()} is not used: {found}"

    def measure(self, number: int, job: Job, files: Files) -> list[Any] | Refusal:
        """Do a job and return its records, or say in one line why there are none."""
        # A full disk stays full, so the worker is to blame for it.
        return try_to_measure(job.label, lambda: self._measure(number, job, files), OSError)

    def _measure(self, number: int, job: Job, files: Files) -> list[Any]:
        steps: Iterator[int] = itertools.count(1)

        def on_step() -> None:
            self._progress.put.remote(Step(number, next(steps)))

        with tempfile.TemporaryDirectory(prefix="driftboard-") as folder:
            return _unpacked(job, files, Path(folder)).measure(on_step)


def _fault(wanted: Conditions) -> str | None:
    if wanted.device == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA GPU there; mend the driver, or install torch with CUDA"
    for name, there in versions().items():
        if there != wanted.versions[name]:
            return f"it has {name} {there} and not {wanted.versions[name]}; install the same"
    try:
        found = fingerprints(wanted.data, wanted.fingerprints)
    except DataError as error:
        return f"{error} (each machine needs the data folder, under the same path)"
    for source, fingerprint in wanted.fingerprints.items():
        if found[source] != fingerprint:
            return f"its files of {source} differ from those here; copy the data folder there"
    return None


def _unpacked(job: Job, files: Files, folder: Path) -> Job:
    """Write the files below ``folder`` and return the job that names them there.

    Each keeps its own name, which messages mention.
    """
    places = {}
    for number, path in enumerate(job.files):
        places[path] = folder / str(number) / path.name
        places[path].parent.mkdir()
        places[path].write_bytes(files[path])
    return job.moved(places)

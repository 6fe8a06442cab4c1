"""What runs on the machines of a cluster: a worker, which trains cohorts and returns the records.

It writes no results: the driver does, so neither a shared file system nor equal clocks are
needed. A job names the strategy's file of the driver's machine, so the files come along.
"""

import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from driftboard.suite.data import load_pool
from driftboard.suite.errors import DataError
from driftboard.suite.runs.crew import PortableJob, Refusal, refused
from driftboard.suite.runs.worker import forget, prepare_process

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


class ClusterWorker:
    """A worker process of the cluster; ``mailbox`` is the handle of a ``Mailbox``."""

    def __init__(self, device: str, mailbox: Any) -> None:
        prepare_process(device)
        self._mailbox = mailbox

    def fault(self, wanted: Conditions) -> str | None:
        """Return a line on what is wrong with this machine, if anything is."""
        found = _fault(wanted)
        return found and f"{socket.gethostname()} is not used: {found}"

    def measure(self, number: int, job: PortableJob, files: Files) -> list[Any] | Refusal:
        """Do a job and return its records, or say in one line why there are none."""
        done = 0

        def on_step() -> None:
            nonlocal done
            done += 1
            self._mailbox.put.remote((number, done))

        try:
            with tempfile.TemporaryDirectory(prefix="driftboard-") as folder:
                return _unpacked(job, files, Path(folder)).measure(on_step)
        except Exception as error:  # a defect of ours, or somebody else's code: other jobs go on
            # A CUDA context does not survive an error, and a full disk stays full.
            refusal = refused(job.label, error, torch.AcceleratorError, OSError)
        # Not within the except, whose traceback keeps what the job has made.
        if refusal.of_memory:
            forget()
        return refusal


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


def _unpacked(job: PortableJob, files: Files, folder: Path) -> PortableJob:
    """Write the files below ``folder`` and return the job that names them there.

    Each keeps its own name, which messages mention.
    """
    places = {}
    for number, path in enumerate(job.files):
        places[path] = folder / str(number) / path.name
        places[path].parent.mkdir()
        places[path].write_bytes(files[path])
    return job.moved(places)

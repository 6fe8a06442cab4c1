"""What a worker process does: set itself up, then do one job at a time, here or on a Ray cluster.

On a cluster it writes no results: the scheduler does, so neither a shared file system nor equal
clocks are needed.
"""

import gc
import itertools
import os
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from driftboard.suite.data import load_pool
from driftboard.suite.errors import DataError, DriftboardError, cause_of, place_of
from driftboard.suite.package import package_digest
from driftboard.suite.runs.job import Job
from driftboard.suite.runs.scheduler import Refusal, Step
from driftboard.suite.training.cohort import prepare
from driftboard.suite.training.memory_plan import keep_freed_memory

NO_MEMORY = (MemoryError, torch.OutOfMemoryError)

package_digest()  # now, while the files are still those that were imported


def prepare_process(device: str) -> None:
    """Set up a worker process: one thread on a CPU, deterministic kernels on a GPU."""
    if device == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Otherwise an extra kernel fills every new tensor, though none is read before it is
        # written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def try_to_measure(
    label: str,
    measure: Callable[[], list[Any]],
    *of_worker: type[BaseException],
) -> list[Any] | Refusal:
    """Return the records of a job, or why there are none.

    Args:
        label: of the job.
        measure: makes the records.
        of_worker: errors that mean that this process can do nothing more, besides those of a GPU,
            whose context does not survive an error.
    """
    try:
        return measure()
    # A defect of ours, or somebody else's code: other jobs go on. Ctrl-C does not come here, so
    # what looks like it is of that code as well.
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        blamed = caused_by(error, torch.AcceleratorError, *of_worker)
        trace = "".join(traceback.format_exception(error))
        refusal = Refusal(_failure(label, error), blamed, isinstance(error, NO_MEMORY), trace)
    # Not within the except, whose traceback keeps what the job has made.
    if refusal.of_memory:
        forget()
    return refusal


def forget() -> None:
    """Give back what this process keeps from job to job, as far as it can."""
    prepare.cache_clear()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def caused_by(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Say whether an error, or what it came from, is of certain kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False


def _failure(label: str, error: BaseException) -> str:
    """Return the line that tells why a job failed."""
    if isinstance(error, DriftboardError):
        return f"{label}: {error}"
    if isinstance(error, NO_MEMORY):
        return f"{label}: not enough memory; use fewer --workers or a device with more"
    ours = traceback.extract_tb(error.__traceback__)[-1]
    place = place_of(error) or f"; {Path(ours.filename).name}, line {ours.lineno}"
    return f"{label}: {cause_of(error)}{place}"


@dataclass(frozen=True)
class Conditions:
    """What a worker has to find on its machine, so that its records are those of any other."""

    device: str
    versions: dict[str, str]  # by the name of the package
    data: Path | None
    fingerprints: dict[str, str]  # by the name of the data set


def versions() -> dict[str, str]:
    """Return the versions that decide a record, without what tells builds of one apart."""
    found = {name: version(name).partition("+")[0] for name in ("driftboard", "torch")}
    return found | {"driftboard's code": package_digest()[:12]}


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

    def measure(self, number: int, job: Job) -> list[Any] | Refusal:
        """Do a job and return its records, or say in one line why there are none."""
        steps: Iterator[int] = itertools.count(1)

        def on_step() -> None:
            self._progress.put.remote(Step(number, next(steps)))

        # A full disk stays full, so the worker is to blame for it.
        return try_to_measure(job.label, lambda: job.measure(on_step), OSError)


def _fault(wanted: Conditions) -> str | None:
    if wanted.device == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA GPU there; fix the driver, or install torch with CUDA"
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

"""What a worker process does, on this machine or another: set itself up, then one job at a time."""

import gc
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from driftboard.suite.errors import DriftboardError
from driftboard.suite.runs.scheduler import Refusal
from driftboard.suite.training.cohort import prepare
from driftboard.suite.training.memory_plan import keep_freed_memory

NO_MEMORY = (MemoryError, torch.OutOfMemoryError)


def prepare_process(device: str) -> None:
    """Set up a worker process: one thread on a CPU, deterministic kernels on a GPU."""
    if device == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # Else a kernel more fills every new tensor; no value is read before it is written.
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
    except Exception as error:  # a defect of ours, or somebody else's code: other jobs go on
        blamed = caused_by(error, torch.AcceleratorError, *of_worker)
        refusal = Refusal(_failure(label, error), blamed, isinstance(error, NO_MEMORY))
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


def _failure(label: str, error: Exception) -> str:
    """Return the line that tells why a job failed."""
    if isinstance(error, DriftboardError):
        return f"{label}: {error}"
    if isinstance(error, NO_MEMORY):
        return f"{label}: not enough memory; use fewer --workers or a device with more"
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = "".join(traceback.format_exception_only(error)).strip()
    return f"{label}: {what} ({Path(place.filename).name}, line {place.lineno})"

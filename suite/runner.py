"""The runner: a run's jobs, and what workers tell while they take them.

Who the workers are does not matter to it: processes of this machine (``local_crew.py``), or those
of a cluster (``cluster/``).
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from driftboard.suite.data import Pool, load_pool
from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.grid import Request, is_complete, jobs_for, linear_jobs_for
from driftboard.suite.lanes import choose_lane
from driftboard.suite.linear.setting import LinearSetting
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import Sequence
from driftboard.suite.splits import cached_splits
from driftboard.suite.worker import Job

CONVOLUTION_COST = 30.0
"""Roughly how much longer an image takes in a small ResNet than in an MLP; for estimates only."""

LINEAR_WORK = 3000.0
"""The same for a seed of a linear sequence."""

POLL_SECONDS = 0.2

TRIES = 3
"""How often a job is given to a worker, and a worker started anew, before we give up."""

Progress = Callable[[float, float, str], None]
"""Called with work done, work in all, and the cell group that has just moved on."""

Tell = Callable[[str], None]
"""Prints a line, above the progress bar where there is one."""


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
    """News of a job: more of its work is done."""

    label: str
    work: float


@dataclass(frozen=True)
class Failure:
    """A job that failed, in one line; the others are not affected."""

    line: str


@dataclass(frozen=True)
class Refusal:
    """Why a worker has not done a job.

    ``of_worker`` says that the worker is to blame, not the job, so another one may try.
    """

    reason: str
    of_worker: bool


JobT = TypeVar("JobT", bound=Executable)


@dataclass(eq=False)
class Errand(Generic[JobT]):
    """A job on its way to a worker, and perhaps to several."""

    number: int
    job: JobT
    work: float
    tries: int = 0
    steps: int = 0  # of the try that has come furthest

    def advance(self, steps: int) -> Iterator[Step]:
        """Yield what is new once ``steps`` are done; a second try starts over, progress not."""
        if steps > self.steps:
            yield Step(self.job.label, self.work * (steps - self.steps) / self.job.steps)
            self.steps = steps


def retried_or_failed(errand: Errand[JobT], reason: str, tell: Tell) -> Failure | None:
    """Tell that an errand whose worker was lost is tried again, or return its failure."""
    if errand.tries < TRIES:
        tell(one_line(f"{reason}; trying again"))
        return None
    return Failure(f"{reason} ({TRIES} times)")


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


def caused_by(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Say whether an error, or what it came from, is of certain kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False

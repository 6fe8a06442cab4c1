"""Jobs and those who do them: what a crew is given, and what it tells meanwhile.

Who they are does not matter here: processes of this machine (``local_crew.py``), or those of a
cluster (``cluster/``).
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

import torch

from driftboard.suite.errors import DriftboardError, one_line

POLL_SECONDS = 0.2

TRIES = 3
"""How often a job is given to a worker, and a worker started anew, before we give up."""

NO_MEMORY = (MemoryError, torch.OutOfMemoryError)

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

    @property
    def together(self) -> int:
        """How many learners it trains together, at the most."""

    def smaller(self) -> list[Self]:
        """Return jobs that do the same with about half as many together; none for a single one."""

    def execute(self, on_step: Callable[[], None]) -> None:
        """Do it, calling ``on_step`` at every step."""


@runtime_checkable
class PortableJob(Executable, Protocol):
    """What a process of another machine can do, too: it sends the records, and we write them.

    Label and steps are known without the users' files.
    """

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""

    def moved(self, places: Mapping[Path, Path]) -> Self:
        """Return the same job where each of its files lies in another place."""

    def measure(self, on_step: Callable[[], None]) -> list[Any]:
        """Do it and return the records, calling ``on_step`` at every step; nothing is written."""

    def keep(self, records: list[Any]) -> None:
        """Write what ``measure`` has returned, here or elsewhere.

        Raises:
            DriftboardError: it cannot be written.
        """


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

    ``of_worker`` says that the worker is to blame, not the job, so another one may try;
    ``of_memory`` that memory was short, so fewer learners at a time may fit.
    """

    reason: str
    of_worker: bool
    of_memory: bool = False


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


def in_smaller_cohorts(
    errand: Errand[JobT], numbers: Iterator[int], tell: Tell
) -> list[Errand[JobT]]:
    """Return errands for what memory was short for, with fewer learners at a time, and tell so.

    There are none where a single learner did not fit. Memory is planned for, so this is for a
    machine that has less than is thought, or shares it.
    """
    jobs = errand.job.smaller()
    if jobs:
        what = f"not enough memory to train {errand.job.together} learners at once"
        tell(one_line(f"{errand.job.label}: {what}; trying {jobs[0].together} at a time"))
    left = errand.work * (1 - errand.steps / errand.job.steps)
    return [Errand(next(numbers), job, left / len(jobs)) for job in jobs]


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


Hire = Callable[[Tell], AbstractContextManager[Crew]]
"""Starts workers, which end with the block; they may print lines through what it is given."""


def run_jobs(planned: list[Planned], crew: Crew, progress: Progress) -> list[str]:
    """Run all jobs and return a line for each that failed; the others are not affected.

    What has been halved may fail more than once for one reason, which is told once.

    Raises:
        DriftboardError: there is no worker left.
    """
    failures = []
    total = sum(item.work for item in planned)
    done = 0.0
    for news in crew.run(planned):
        if isinstance(news, Failure):
            if news.line not in failures:
                failures.append(news.line)
        else:
            done += news.work
            progress(done, total, news.label)
    return failures


def refused(label: str, error: Exception, *of_worker: type[BaseException]) -> Refusal:
    """Return why a worker has not done a job, whose errors of some kinds are the worker's own."""
    of_memory = isinstance(error, NO_MEMORY)
    return Refusal(_failure(label, error), caused_by(error, *of_worker), of_memory)


def _failure(label: str, error: Exception) -> str:
    """Return the line that tells why a job failed."""
    if isinstance(error, DriftboardError):
        return f"{label}: {error}"
    if isinstance(error, NO_MEMORY):
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

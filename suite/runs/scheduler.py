"""The scheduler hands jobs to the workers of an executor and keeps what they measure.

Where the workers are does not matter here: processes of this machine (``local.py``), or of a Ray
cluster (``ray_executor.py``). Nothing here imports torch.
"""

import itertools
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from driftboard.suite.errors import DriftboardError, one_line

if TYPE_CHECKING:
    from driftboard.suite.runs.job import Job

POLL_SECONDS = 0.2

TRIES = 3
"""How often a job is given to a worker, and a worker started anew, before we give up."""


@dataclass(frozen=True)
class Log:
    """A line on how the run goes."""

    line: str


@dataclass(frozen=True)
class Progress:
    """How much of the work is done; ``total`` is None while that is not known."""

    label: str
    done: float = 0.0
    total: float | None = None


@dataclass(frozen=True)
class Failure:
    """A job that failed, in one line, with the traceback; the others are not affected."""

    line: str
    trace: str = field(default="", compare=False)


Event = Log | Progress | Failure
"""What happens in a run."""


class TrainingError(DriftboardError):
    """Jobs of a run failed; the cause shows the tracebacks of the workers."""

    def __init__(self, failures: Sequence[Failure], results: Path) -> None:
        self._reasons = [one_line(failure.line) for failure in failures]
        listed = "; ".join(self._reasons)
        super().__init__(f"training failed: {listed}; what is done is kept in {results}")
        self.__cause__ = remote_cause(failure.trace for failure in failures)

    @property
    def lines(self) -> list[str]:
        """A line for every job."""
        return [f"failed: {reason}" for reason in self._reasons]


class _RemoteError(Exception):
    """Its message is the tracebacks of other processes, which do not come along with errors."""


def remote_cause(traces: Iterable[str]) -> Exception | None:
    """Return an error that shows the tracebacks of other processes, None if there are none."""
    found = [trace for trace in traces if trace]
    return _RemoteError("\n" + "\n".join(found)) if found else None


def raise_failures(failures: Sequence[Failure], results: Path) -> None:
    """Raise TrainingError if jobs failed; ``results`` is where the others are kept."""
    if failures:
        raise TrainingError(failures, results)


@dataclass(frozen=True)
class Refusal:
    """Why a worker has not done a job, in one line.

    ``of_worker`` says that the worker is to blame, not the job, so another one may try;
    ``of_memory`` that memory was short, so fewer learners at a time may fit. ``trace`` is the
    traceback in the worker.
    """

    reason: str
    of_worker: bool = False
    of_memory: bool = False
    trace: str = field(default="", compare=False)


@dataclass(frozen=True)
class Step:
    """A worker's report: so many steps of an attempt are done."""

    number: int
    steps: int


@dataclass(frozen=True)
class Result:
    """The end of an attempt: the records, or why there are none."""

    number: int
    outcome: list[Any] | Refusal


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this block and, for good, in the processes that it starts.

    Ctrl-C reaches every process of the terminal; only the one that commands decides what it
    means. The others inherit the blocked signal, so that it holds while they still import.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Executor(Protocol):
    """Workers that measure jobs, wherever they are; a context manager that ends them."""

    @property
    def description(self) -> str:
        """Where the workers train and how many they are, in words."""

    @property
    def free(self) -> int:
        """How many jobs could be submitted now."""

    def submit(self, number: int, job: "Job") -> None:
        """Give a job to a free worker, under a number by which it is reported."""

    def poll(self, seconds: float) -> Iterable[Log | Step | Result]:
        """Wait until something happens, or for so long, and yield what has happened.

        A worker that is lost, or to blame for a refusal, is replaced. Called only while there
        is something to do.

        Raises:
            DriftboardError: no worker is left and none can be started.
        """


@dataclass(eq=False)
class Attempt:
    """A job on its way to a worker, and perhaps to several."""

    job: "Job"
    share: float = 1.0  # of the job's effort that is not counted yet
    tries: int = 0
    steps: int = 0  # of the try that has come furthest

    def advance(self, steps: int) -> float:
        """Return the effort that is new; a second try counts only what the first did not reach."""
        new = max(0, steps - self.steps)
        self.steps += new
        return self.share * self.job.effort * new / self.job.steps


class Scheduler:
    """Runs jobs on an executor: retries lost ones, halves those that memory is short for."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._numbers = itertools.count()
        self._waiting: deque[Attempt] = deque()
        self._running: dict[int, Attempt] = {}

    def run(self, jobs: Sequence["Job"]) -> Iterator[Event]:
        """Run all jobs, roughly in order, and yield what happens until all of them have ended.

        A job whose worker is lost is given to another, ``TRIES`` times in all.

        Raises:
            DriftboardError: there is nobody left to go on; what is done is kept.
        """
        self._waiting.extend(Attempt(job) for job in jobs)
        total, done = sum(job.effort for job in jobs), 0.0
        self._hand_out()
        while self._running or self._waiting:
            for report in self._executor.poll(POLL_SECONDS):
                if isinstance(report, Log):
                    yield report
                    continue
                attempt = self._running.get(report.number)
                if attempt is None:
                    continue  # a late report of a step
                if isinstance(report, Step):
                    gained = attempt.advance(report.steps)
                else:
                    del self._running[report.number]
                    events, through = self._take_back(attempt, report.outcome)
                    yield from events
                    gained = attempt.advance(attempt.job.steps) if through else 0.0
                if gained:
                    done += gained
                    yield Progress(attempt.job.label, done, total)
            self._hand_out()

    def keep_finished(self) -> None:
        """Write what workers have finished and nobody has taken yet; for a run that is stopped."""
        with suppress(DriftboardError):  # nobody is left to go on, and nobody is to
            for report in self._executor.poll(0.0):
                if isinstance(report, Result) and not isinstance(report.outcome, Refusal):
                    _keep(self._running.pop(report.number).job, report.outcome)

    def _hand_out(self) -> None:
        while self._waiting and self._executor.free:
            attempt = self._waiting.popleft()
            attempt.tries += 1
            number = next(self._numbers)
            self._running[number] = attempt
            self._executor.submit(number, attempt.job)

    def _take_back(
        self, attempt: Attempt, outcome: list[Any] | Refusal
    ) -> tuple[list[Event], bool]:
        """Deal with the end of a try; return what there is to tell, and whether it was the last."""
        if not isinstance(outcome, Refusal):
            self._hand_out()  # the worker need not wait until the records are written
            return _keep(attempt.job, outcome), True
        if outcome.of_worker:
            if attempt.tries == TRIES:
                return [Failure(f"{outcome.reason} ({TRIES} times)", outcome.trace)], True
            self._waiting.appendleft(attempt)
            return [Log(one_line(f"{outcome.reason}; trying again"))], False
        smaller = attempt.job.smaller() if outcome.of_memory else []
        if not smaller:
            return [Failure(outcome.reason, outcome.trace)], True
        # Memory is planned for, so this is for a machine that has less than is thought, or shares
        # it. What has been reported of the job is done; the parts make up for the rest.
        left = attempt.share * (1 - attempt.steps / attempt.job.steps)
        self._waiting.extendleft(Attempt(job, share=left) for job in reversed(smaller))
        what = f"not enough memory to train {attempt.job.together} learners at once"
        line = f"{attempt.job.label}: {what}; trying {smaller[0].together} at a time"
        return [Log(one_line(line))], False


def _keep(job: "Job", records: list[Any]) -> list[Event]:
    """Write a job's records, all of them or none; return the failure if they cannot be."""
    try:
        with interrupts_blocked():  # Ctrl-C waits until they are written
            job.keep(records)
    except DriftboardError as error:
        return [Failure(f"{job.label}: {error}")]
    return []

"""How jobs are handed to workers: lost ones, refused ones, slow ones.

The workers are made up here; ``test_local.py`` and ``test_ray.py`` have real ones, and
``test_run.py`` kills and interrupts them.
"""

import signal
from collections import deque
from dataclasses import dataclass, field

import pytest
import torch

from driftboard.suite.errors import DriftboardError, RecordError, StrategyError
from driftboard.suite.runs import worker
from driftboard.suite.runs.scheduler import (
    TRIES,
    Attempt,
    Failure,
    Log,
    Progress,
    Refusal,
    Result,
    Scheduler,
    Step,
)
from driftboard.suite.runs.worker import caused_by, try_to_measure


class Office:
    """An executor whose workers do a job when they are polled, and know what became of them."""

    description = "here"

    def __init__(self, workers=1):
        self.workers = list(range(workers))
        self.hired = workers
        self.taken = deque()  # number, job, worker
        self.lost = 0  # so many of the next jobs are lost with their worker

    @property
    def free(self):
        return len(self.workers)

    def submit(self, number, job):
        self.taken.append((number, job, self.workers.pop(0)))

    def poll(self, seconds):
        number, job, who = self.taken.popleft()
        if self.lost:
            self.lost -= 1
            outcome = Refusal(f"{job.label}: its worker process died", of_worker=True)
        else:
            reports = []
            job.workers.add(who)
            outcome = try_to_measure(job.label, lambda: job.measure(lambda: reports.append(1)))
            yield from (Step(number, done) for done in range(1, len(reports) + 1))
        if isinstance(outcome, Refusal) and outcome.of_worker:
            who = self.hired
            self.hired += 1
        self.workers.append(who)
        yield Result(number, outcome)
        yield Step(number, 1)  # one that comes too late


class Run:
    """What came of some jobs."""

    def __init__(self, *jobs, office=None):
        self.office = office or Office()
        self.events = list(Scheduler(self.office).run(jobs))
        self.told = [event.line for event in self.events if isinstance(event, Log)]
        self.failures = [event.line for event in self.events if isinstance(event, Failure)]
        news = [event for event in self.events if isinstance(event, Progress)]
        self.done = [event.done for event in news]
        self.totals = {event.total for event in news}
        self.labels = {event.label for event in news}


@dataclass(eq=False)
class Scripted:
    """A job of two steps that does in each try what its script says."""

    label: str
    script: list
    effort: float = 10.0
    steps: int = 2
    runs: int = 0
    workers: set = field(default_factory=set)
    seeds: tuple = (0,)
    pieces: list = field(default_factory=list)  # the smaller jobs it has become
    fits: int = 99  # so many learners
    kept: list = field(default_factory=list)
    refuses: bool = False  # to be written

    @property
    def together(self):
        return len(self.seeds)

    def smaller(self):
        half = -(-len(self.seeds) // 2)
        parts = [self.seeds[:half], self.seeds[half:]] if len(self.seeds) > 1 else []
        self.pieces = [
            Scripted(
                self.label,
                [],
                effort=self.effort * len(seeds) / len(self.seeds),
                steps=self.steps,
                seeds=seeds,
                fits=self.fits,
            )
            for seeds in parts
        ]
        return self.pieces

    def groups(self):
        """Return the groups of seeds whose records were kept, in order."""
        return self.kept + [group for piece in self.pieces for group in piece.groups()]

    def measure(self, on_step):
        act = self.script[self.runs] if self.runs < len(self.script) else None
        self.runs += 1
        on_step()
        if act:
            raise act
        if len(self.seeds) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        on_step()
        return [self.seeds]

    def keep(self, records):
        if self.refuses:
            raise RecordError("cannot write there")
        self.kept += records


def of_device(words="an illegal memory access"):
    return torch.AcceleratorError(words)


def test_every_job_is_done_once_and_counted_whole():
    jobs = [Scripted(f"job {index}", [], effort=float(index)) for index in range(1, 8)]
    run = Run(*jobs, office=Office(workers=3))
    assert run.failures == run.told == []
    assert [job.runs for job in jobs] == [1] * 7
    assert [job.kept for job in jobs] == [[(0,)]] * 7
    assert run.office.hired == 3
    assert run.totals == {28.0}
    assert run.done[-1] == pytest.approx(28.0)
    assert run.done == sorted(run.done)
    assert run.labels == {job.label for job in jobs}


def test_a_worker_has_its_next_job_before_records_are_written():
    """It need not wait for a slow disk."""
    office = Office()
    first, second = Scripted("first", []), Scripted("second", [])
    seen = []
    first.keep = lambda records: seen.append([job.label for _, job, _ in office.taken])
    Run(first, second, office=office)
    assert seen == [["second"]]


def test_worker_whose_device_failed_is_replaced_and_its_job_tried_again():
    hurt, other = Scripted("hurt", [of_device()]), Scripted("other", [])
    run = Run(hurt, other)
    assert run.failures == []
    assert (hurt.runs, other.runs, run.office.hired) == (2, 1, 2)
    assert len(hurt.workers) == 2
    (line,) = run.told
    assert line.startswith("hurt: ")
    assert line.endswith("; trying again")
    assert "an illegal memory access" in line
    # The first step of the second try is no news: progress neither jumps back nor over the end.
    assert [round(done, 6) for done in run.done] == [5.0, 10.0, 15.0, 20.0]


def test_error_that_came_from_the_device_counts_as_its_own():
    wrapped = StrategyError("decide() raised")
    wrapped.__cause__ = of_device()
    run = Run(Scripted("hurt", [wrapped]))
    assert (run.failures, run.office.hired) == ([], 2)


def test_lost_worker_is_replaced_and_its_job_tried_again():
    office, job = Office(), Scripted("job", [])
    office.lost = TRIES - 1
    run = Run(job, office=office)
    assert run.failures == []
    assert run.told == ["job: its worker process died; trying again"] * (TRIES - 1)
    assert (job.runs, job.kept, office.hired) == (1, [(0,)], TRIES)


def test_job_that_is_never_done_fails_after_all_its_tries():
    never, other = Scripted("never", [of_device()] * 99), Scripted("other", [])
    run = Run(never, other)
    (line,) = run.failures
    assert line.startswith("never: ")
    assert line.endswith(f" ({TRIES} times)")
    assert (never.runs, other.runs) == (TRIES, 1)
    assert len(run.told) == TRIES - 1
    assert run.done[-1] == pytest.approx(20.0)


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), StrategyError("mend it")])
def test_error_of_the_job_is_not_tried_again(error):
    wrong, other = Scripted("wrong", [error]), Scripted("other", [])
    run = Run(wrong, other)
    (line,) = run.failures
    assert line.startswith("wrong: ")
    assert (wrong.runs, other.runs, run.office.hired, run.told) == (1, 1, 1, [])
    assert (wrong.kept, other.kept) == ([], [(0,)])


def test_records_that_cannot_be_written_are_a_failure_of_the_job():
    full, other = Scripted("full", [], refuses=True), Scripted("other", [])
    run = Run(full, other)
    assert run.failures == ["full: cannot write there"]
    assert (full.runs, other.kept) == (1, [(0,)])
    assert run.done[-1] == pytest.approx(20.0)


def test_ctrl_c_while_records_are_written_waits_for_all_of_them():
    class Interrupted(Scripted):
        def keep(self, records):
            signal.raise_signal(signal.SIGINT)  # while the first of two is written
            super().keep([*records, "the second"])

    job = Interrupted("one", [])
    with pytest.raises(KeyboardInterrupt):
        list(Scheduler(Office()).run([job]))
    assert job.kept == [(0,), "the second"]


def test_what_has_been_measured_when_a_run_is_stopped_is_written():
    jobs = [Scripted(label, []) for label in ("first", "second", "third")]
    scheduler = Scheduler(Office(workers=2))
    events = scheduler.run(jobs)
    next(events)  # the first is taken back while the second is there as well
    assert [job.kept for job in jobs] == [[], [], []]
    scheduler.keep_finished()
    assert [job.kept for job in jobs] == [[], [(0,)], []]


def test_a_cohort_that_memory_is_short_for_is_tried_in_halves():
    tight, other = Scripted("tight", [], seeds=(0, 1, 2, 3, 4), fits=2), Scripted("other", [])
    run = Run(tight, other)
    assert run.failures == []
    assert tight.groups() == [(0, 1), (2,), (3, 4)]
    assert run.told == [
        "tight: not enough memory to train 5 learners at once; trying 3 at a time",
        "tight: not enough memory to train 3 learners at once; trying 2 at a time",
    ]
    assert (run.office.hired, other.runs) == (1, 1)  # the worker is as good as before
    assert run.totals == {20.0}
    assert run.done == sorted(run.done)
    assert run.done[-1] == pytest.approx(20.0)


def test_a_learner_that_does_not_fit_alone_fails_and_others_go_on():
    huge, other = Scripted("huge", [], seeds=(0, 1, 2), fits=0), Scripted("other", [])
    run = Run(huge, other)
    line = "huge: not enough memory; use fewer --workers or a device with more"
    assert run.failures == [line] * 3  # told once, see ``test_backend.py``
    assert other.runs == 1
    assert run.done[-1] == pytest.approx(20.0)


def test_nobody_left_ends_the_run():
    class Gone(Office):
        def poll(self, seconds):
            raise DriftboardError("nobody is left")

    with pytest.raises(DriftboardError, match="nobody is left"):
        Run(Scripted("job", []), office=Gone())


def test_what_a_process_keeps_is_forgotten_where_memory_is_short(monkeypatch):
    from driftboard.suite.training.cohort import prepare

    kept = []
    monkeypatch.setattr(worker, "forget", lambda: kept.append("forgotten"))
    Run(Scripted("wrong", [ValueError("a")]), Scripted("hurt", [of_device()]))
    assert kept == []
    Run(Scripted("huge", [], fits=0))
    assert kept == ["forgotten"]
    monkeypatch.undo()
    worker.forget()
    assert prepare.cache_info().currsize == 0


def test_second_try_advances_only_past_the_first():
    tried = Attempt(Scripted("job", [], effort=8.0, steps=4))
    assert [tried.advance(steps) for steps in (1, 3, 1, 2, 3, 4, 4)] == [2, 4, 0, 0, 0, 2, 0]


def test_causes_are_found_at_any_depth():
    outer, middle = ValueError("outer"), KeyError("middle")
    outer.__cause__, middle.__cause__ = middle, OSError(28, "full")
    assert caused_by(outer, OSError)
    assert caused_by(outer, IndexError, KeyError)
    assert not caused_by(outer, MemoryError)
    assert not caused_by(None, Exception)

"""How jobs are handed to the workers of one machine: lost ones, refused ones, slow ones.

The workers are threads here; ``test_run.py`` has real processes, killed and interrupted.
"""

import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import pytest
import torch

from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.runs import local_crew
from driftboard.suite.runs.crew import TRIES, Errand, Planned, caused_by, run_jobs
from driftboard.suite.runs.local_crew import LocalCrew, LocalWorker

RULES = "of which fewer --workers need less"


class Office:
    """Hires threads as workers and knows what became of them."""

    def __init__(self):
        self.reports = queue.SimpleQueue()
        self.hired = 0
        self.told = []
        self.progress = []

    def start(self):
        self.hired += 1
        executor = ThreadPoolExecutor(1)
        return LocalWorker(executor, self.reports, executor.submit(os.getpid))

    def run(self, *jobs, workers=1):
        crew = LocalCrew(self.start, "here", self.told.append)
        crew.hire(workers)
        try:
            planned = [Planned(job, job.work, 1) for job in jobs]
            return run_jobs(planned, crew, lambda *news: self.progress.append(news))
        finally:
            crew.end()


@pytest.fixture
def office(monkeypatch):
    office = Office()
    monkeypatch.setattr(local_crew, "_parent", [office.reports])
    return office


@dataclass(eq=False)
class Scripted:
    """A job of two steps that does in each try what its script says."""

    label: str
    script: list
    work: float = 10.0
    steps: int = 2
    runs: int = 0
    threads: set = field(default_factory=set)
    seeds: tuple = (0,)
    pieces: list = field(default_factory=list)  # the smaller jobs it has become
    fits: int = 99  # so many learners

    @property
    def together(self):
        return len(self.seeds)

    def smaller(self):
        half = -(-len(self.seeds) // 2)
        parts = [self.seeds[:half], self.seeds[half:]] if len(self.seeds) > 1 else []
        self.pieces = [
            Scripted(self.label, [], steps=self.steps, seeds=seeds, fits=self.fits)
            for seeds in parts
        ]
        return self.pieces

    def done(self):
        """Return the groups of seeds that were trained, in order."""
        if not self.pieces:
            return [self.seeds] if len(self.seeds) <= self.fits else []
        return [group for piece in self.pieces for group in piece.done()]

    def execute(self, on_step):
        self.threads.add(threading.get_ident())
        act = self.script[self.runs] if self.runs < len(self.script) else None
        self.runs += 1
        on_step()
        if act:
            raise act
        if len(self.seeds) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        on_step()


def of_device(words="an illegal memory access"):
    return torch.AcceleratorError(words)


def test_every_job_is_done_once_and_counted_whole(office):
    jobs = [Scripted(f"job {index}", [], work=float(index)) for index in range(1, 8)]
    assert office.run(*jobs, workers=3) == []
    assert [job.runs for job in jobs] == [1] * 7
    assert (office.hired, office.told) == (3, [])
    done, totals, labels = zip(*office.progress, strict=True)
    assert set(totals) == {28.0}
    assert done[-1] == pytest.approx(28.0)
    assert list(done) == sorted(done)
    assert set(labels) == {job.label for job in jobs}


def test_worker_whose_device_failed_is_replaced_and_its_job_tried_again(office):
    hurt, other = Scripted("hurt", [of_device()]), Scripted("other", [])
    assert office.run(hurt, other) == []
    assert (hurt.runs, other.runs, office.hired) == (2, 1, 2)
    assert len(hurt.threads) == 2
    (line,) = office.told
    assert line.startswith("hurt: ")
    assert line.endswith("; trying again")
    assert "an illegal memory access" in line
    # The first step of the second try is no news: progress neither jumps back nor over the end.
    assert [round(done, 6) for done, *_ in office.progress] == [5.0, 10.0, 15.0, 20.0]


def test_error_that_came_from_the_device_counts_as_its_own(office):
    wrapped = StrategyError("decide() raised")
    wrapped.__cause__ = of_device()
    assert office.run(Scripted("hurt", [wrapped])) == []
    assert office.hired == 2


def test_job_that_is_never_done_fails_after_all_its_tries(office):
    never, other = Scripted("never", [of_device()] * 99), Scripted("other", [])
    (line,) = office.run(never, other)
    assert line.startswith("never: ")
    assert line.endswith(f" ({TRIES} times)")
    assert (never.runs, other.runs) == (TRIES, 1)
    assert len(office.told) == TRIES - 1
    assert office.progress[-1][0] == pytest.approx(20.0)


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), StrategyError("mend it")])
def test_error_of_the_job_is_not_tried_again(office, error):
    wrong, other = Scripted("wrong", [error]), Scripted("other", [])
    (line,) = office.run(wrong, other)
    assert line.startswith("wrong: ")
    assert (wrong.runs, other.runs, office.hired, office.told) == (1, 1, 1, [])


def test_a_cohort_that_memory_is_short_for_is_tried_in_halves(office):
    tight, other = Scripted("tight", [], seeds=(0, 1, 2, 3, 4), fits=2), Scripted("other", [])
    assert office.run(tight, other) == []
    assert tight.done() == [(0, 1), (2,), (3, 4)]
    assert office.told == [
        "tight: not enough memory to train 5 learners at once; trying 3 at a time",
        "tight: not enough memory to train 3 learners at once; trying 2 at a time",
    ]
    assert (office.hired, other.runs) == (1, 1)  # the worker is as good as before
    done, totals, _ = zip(*office.progress, strict=True)
    assert set(totals) == {20.0}
    assert list(done) == sorted(done)
    assert done[-1] == pytest.approx(20.0)


def test_a_learner_that_does_not_fit_alone_fails_and_others_go_on(office):
    huge, other = Scripted("huge", [], seeds=(0, 1, 2), fits=0), Scripted("other", [])
    lines = office.run(huge, other)
    assert lines == ["huge: not enough memory; use fewer --workers or a device with more"]
    assert other.runs == 1
    assert office.progress[-1][0] == pytest.approx(20.0)


def test_what_a_process_keeps_is_forgotten_where_memory_is_short(office, monkeypatch):
    from driftboard.suite.training.preparation import prepare

    kept = []
    monkeypatch.setattr(local_crew, "forget", lambda: kept.append("forgotten"))
    office.run(Scripted("wrong", [ValueError("a")]), Scripted("hurt", [of_device()]))
    assert kept == []
    office.run(Scripted("huge", [], fits=0))
    assert kept == ["forgotten"]
    monkeypatch.undo()
    local_crew.forget()
    assert prepare.cache_info().currsize == 0


def failed(error):
    future = Future()
    future.set_exception(error)
    return future


class Lost(ThreadPoolExecutor):
    """A pool whose process has died, before it was given a job or with it."""

    def __init__(self, refuses):
        super().__init__(1)
        self.refuses = refuses

    def submit(self, function, *arguments):
        error = BrokenProcessPool("terminated abruptly")
        if self.refuses:
            raise error
        return failed(error)


@pytest.mark.parametrize("refuses", [False, True])
def test_lost_process_is_replaced(office, monkeypatch, refuses):
    start = office.start

    def first_lost():
        worker = start()
        if office.hired > 1:
            return worker
        return LocalWorker(Lost(refuses), office.reports, worker.started)

    monkeypatch.setattr(office, "start", first_lost)
    job = Scripted("job", [])
    assert office.run(job) == []
    assert office.told == [
        f"job: its worker process died, by a crash or for want of memory, {RULES}; trying again"
    ]
    assert (job.runs, office.hired) == (1, 2)


def test_process_that_does_not_start_ends_the_run(office, monkeypatch):
    def stillborn():
        return LocalWorker(Lost(False), office.reports, failed(BrokenProcessPool("at birth")))

    monkeypatch.setattr(office, "start", stillborn)
    with pytest.raises(DriftboardError, match="does not start, most likely for want of memory"):
        office.run(Scripted("job", []))


def test_second_try_advances_only_past_the_first():
    errand = Errand(0, Scripted("job", [], steps=4), 8.0)
    amounts = [[step.work for step in errand.advance(steps)] for steps in (1, 3, 1, 2, 3, 4, 4)]
    assert amounts == [[2.0], [4.0], [], [], [], [2.0], []]


def test_causes_are_found_at_any_depth():
    outer, middle = ValueError("outer"), KeyError("middle")
    outer.__cause__, middle.__cause__ = middle, OSError(28, "full")
    assert caused_by(outer, OSError)
    assert caused_by(outer, IndexError, KeyError)
    assert not caused_by(outer, MemoryError)
    assert not caused_by(None, Exception)

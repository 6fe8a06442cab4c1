"""Sweeps: one strategy at many update magnitudes, as one cohort of seeds x magnitudes.

Every learner of a seed has the same initialisation, data and batches, so the curve over
magnitudes is paired by seed. A learner's magnitude lies in its memory from the start; see
``strategies/magnitude.py``.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from driftboard.strategies.base import Strategy
from driftboard.strategies.magnitude import Ball, Fraction
from driftboard.suite.data import convert_originals, load_pool
from driftboard.suite.loading import load_sequences
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.runs.crew import Planned
from driftboard.suite.runs.grid import stacking_for
from driftboard.suite.runs.planning import work_on
from driftboard.suite.sequences.splits import cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sweeps.records import (
    SweepRecord,
    check_sweep,
    read_sweep,
    sweep_path,
    write_sweep,
)
from driftboard.suite.training.engine import Cohort, Outcome, run
from driftboard.suite.training.memory_plan import half_of, in_groups
from driftboard.suite.training.networks import choose_mode
from driftboard.suite.training.preparation import Prepared, Setting, prepare
from driftboard.suite.training.task_data import TaskData

Kind = Literal["fraction", "ball"]
STRATEGIES: dict[Kind, Strategy] = {"fraction": Fraction(), "ball": Ball()}

LEARNERS_AT_ONCE = 40
"""Learners of one job, about: more use more memory, fewer stack less."""


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep was asked for; it names the sequence, so that any process can find it."""

    name: str
    sequence_files: tuple[Path, ...]
    kind: Kind
    magnitudes: tuple[float, ...]
    seeds: tuple[int, ...]
    data: Path | None
    results: Path
    device: str

    @property
    def sequence(self) -> TaskSequence:
        """The sequence of that name."""
        return _load(self.name, self.sequence_files)

    @property
    def sequences(self) -> tuple[TaskSequence, ...]:
        """That sequence alone."""
        return (self.sequence,)

    def cell_count(self) -> int:
        """Return the number of records asked for, done or not."""
        return len(self.seeds)


@functools.lru_cache(maxsize=1)
def _load(name: str, files: tuple[Path, ...]) -> TaskSequence:
    return load_sequences(files)[name]


@dataclass(frozen=True)
class SweepJob:
    """Some seeds of a sweep, all magnitudes; writes one file per seed."""

    request: SweepRequest
    seeds: tuple[int, ...]
    at_once: int  # learners that are trained together

    @property
    def label(self) -> str:
        """What a progress bar and a failure call it."""
        return f"{self.request.name} by {self.request.kind}"

    @property
    def together(self) -> int:
        """How many learners it trains together, at the most."""
        return min(self.at_once, len(self.seeds) * len(self.request.magnitudes))

    def smaller(self) -> list["SweepJob"]:
        """Return the job that trains half as many together; none where one is alone."""
        if self.together == 1:
            return []
        return [replace(self, at_once=half_of(self.together))]

    @property
    def steps(self) -> int:
        """How often ``execute`` reports: once per task and cohort."""
        return self.request.sequence.scenario.tasks * len(_groups(self))

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""
        return self.request.sequence_files

    def moved(self, places: Mapping[Path, Path]) -> "SweepJob":
        """Return the same job where each of its files lies in another place."""
        files = tuple(places[path] for path in self.request.sequence_files)
        return replace(self, request=replace(self.request, sequence_files=files))

    def execute(self, on_step: Callable[[], None]) -> None:
        """Train and write."""
        self.keep(self.measure(on_step))

    def measure(self, on_step: Callable[[], None]) -> list[SweepRecord]:
        """Train and return the record of every seed."""
        request = self.request
        setting = Setting(
            request.sequence,
            self.seeds,
            "test",
            request.data,
            request.device,
        )
        prepared = prepare(setting)
        strategy = STRATEGIES[request.kind]
        cohort = prepared.for_strategy(setting, strategy.name)
        mode = choose_mode(request.sequence.network, cohort.device)
        outcomes = []
        for learners in _groups(self):
            chosen = _learners(cohort, [seed for seed, _ in learners])
            magnitudes = torch.tensor([m for _, m in learners], dtype=cohort.dtype)
            memory = {"magnitude": magnitudes.to(cohort.device)}
            outcomes.append(run(chosen, strategy, mode, lambda _: on_step(), memory))
        return [
            _record(request, prepared, outcomes, position, len(self.seeds), seed)
            for position, seed in enumerate(self.seeds)
        ]

    def keep(self, records: list[SweepRecord]) -> None:
        """Write one file per seed."""
        for record in records:
            write_sweep(_path(self.request, record.seed), record)


def plan_sweep(request: SweepRequest) -> list[Planned]:
    """Return the jobs that make what is missing.

    Raises:
        DataError: the data set is missing or broken.
        RecordError: a file in the results folder does not belong to this sweep.
    """
    missing = [seed for seed in request.seeds if not _is_done(request, seed)]
    if not missing:
        return []
    sequence = request.sequence
    convert_originals(sequence.source, request.data)
    pool = load_pool(sequence.source, request.data)
    recipes = cached_splits(sequence, pool, PROTOCOL, missing, "test")[0]
    images = sum(len(recipe.train) for recipe in recipes) * len(request.magnitudes)
    stacking = stacking_for(sequence, pool, recipes, request.device)
    wanted = min(_seeds_of(LEARNERS_AT_ONCE, request), len(missing))
    if note := stacking.note(sequence.name, wanted * len(request.magnitudes), "learners"):
        print(note, file=sys.stderr)
    together = _seeds_of(min(LEARNERS_AT_ONCE, stacking.at_once), request)
    return [
        Planned(
            SweepJob(request, group, stacking.at_once),
            work_on(sequence.network, images * len(group)),
            len(group),
        )
        for group in in_groups(missing, together)
    ]


def _seeds_of(learners: int, request: SweepRequest) -> int:
    """Return how many seeds have so many learners, at least one."""
    return max(1, learners // len(request.magnitudes))


def sweep_records(request: SweepRequest) -> list[SweepRecord]:
    """Return the records of all seeds that are there."""
    paths = [_path(request, seed) for seed in request.seeds]
    return [read_sweep(path) for path in paths if path.exists()]


def _is_done(request: SweepRequest, seed: int) -> bool:
    path = _path(request, seed)
    if not path.exists():
        return False
    check_sweep(path, read_sweep(path), request.sequence.hash(), request.magnitudes)
    return True


def _path(request: SweepRequest, seed: int) -> Path:
    return sweep_path(request.results, request.name, request.kind, seed)


def _groups(job: SweepJob) -> list[tuple[tuple[int, float], ...]]:
    """Return the learners of every cohort as (position of the seed, magnitude)."""
    learners = [
        (seed, magnitude) for magnitude in job.request.magnitudes for seed in range(len(job.seeds))
    ]
    return in_groups(learners, job.at_once)


def _learners(cohort: Cohort, seeds: list[int]) -> Cohort:
    """Return a cohort whose learners are those of the given positions, repeated as they stand."""
    index = torch.tensor(seeds, device=cohort.device)

    def data(task: TaskData) -> TaskData:
        return TaskData(task.images[index], task.labels[index], task.active[index])

    def repeated(values: list[Tensor]) -> list[Tensor]:
        return [value[index] for value in values]

    return replace(
        cohort,
        initial={name: value[index] for name, value in cohort.initial.items()},
        train=[data(task) for task in cohort.train],
        test=[data(task) for task in cohort.test],
        classes=repeated(list(cohort.classes)),
        # A generator per learner, so that learners of one seed draw the same numbers.
        batch_orders=lambda task, count: [cohort.batch_orders(task, count)[seed] for seed in seeds],
        strategy_noise=lambda task: [cohort.strategy_noise(task)[seed] for seed in seeds],
    )


def _record(
    request: SweepRequest,
    prepared: Prepared,
    outcomes: list[Outcome],
    position: int,
    seeds: int,
    seed: int,
) -> SweepRecord:
    """Return the record of one seed; learners are ordered by magnitude, then by seed."""
    cohort = prepared.cohort
    own = slice(position, None, seeds)

    def of_seed(name: str) -> Tensor:
        """Return what the outcomes hold under a name, shape (magnitudes, tasks, ...)."""
        per_task = [torch.cat([getattr(o, name)[t] for o in outcomes]) for t in _tasks(cohort)]
        return torch.stack([values[own] for values in per_task], dim=1)

    sizes = [int((data.labels[position] >= 0).sum()) for data in cohort.test]
    classes = [int(active[position].sum()) for active in cohort.classes]
    chance = torch.tensor([round(n / c) for n, c in zip(sizes, classes, strict=True)])
    finite = of_seed("finite")
    # As in every record: once a learner has diverged, its counts are those of chance.
    correct = torch.where(finite[:, :, None], of_seed("correct"), chance)
    norms = torch.where(finite, of_seed("update_norms").norm(dim=2), 0.0)
    return SweepRecord(
        schema=1,
        protocol=PROTOCOL.stamp(),
        sequence=request.sequence.stamp(
            prepared.data_title, prepared.data_hash, cohort.network.blocks
        ),
        kind=request.kind,
        seed=seed,
        magnitudes=request.magnitudes,
        test_sizes=tuple(sizes),
        correct=tuple(tuple(map(tuple, matrix)) for matrix in correct.tolist()),
        update_norms=tuple(map(tuple, norms.tolist())),
        diverged=tuple(not fine for fine in finite[:, -1].tolist()),
    )


def _tasks(cohort: Cohort) -> range:
    return range(len(cohort.train))

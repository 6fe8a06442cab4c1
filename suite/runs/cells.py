"""Cells of the benchmark: one strategy on one sequence, a record of accuracies for every seed."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

import torch
from msgspec import UNSET, UnsetType

from driftboard.strategies.base import Strategy
from driftboard.suite.errors import StrategyError
from driftboard.suite.linear.cells import linear_records
from driftboard.suite.loading import LoadedStrategy
from driftboard.suite.metrics import chance_counts
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    AnyRecord,
    Divergence,
    LossRecord,
    Record,
    cell_path,
    read_record,
    write_record,
)
from driftboard.suite.runs.job import Job
from driftboard.suite.runs.request import Planner, Request, Row, changed_images, check_data
from driftboard.suite.runs.results_folder import Outdated, Parts
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.session import SESSION_SUFFIX
from driftboard.suite.training.attributes import kept_attributes
from driftboard.suite.training.cohort import Cohort, Setting, prepare
from driftboard.suite.training.engine import Outcome, run
from driftboard.suite.training.global_state import kept_global_state
from driftboard.suite.training.networks import choose_mode
from driftboard.suite.training.record_builder import (
    RecordBuilder,
    environment,
    numbers_seen,
    sizes_and_classes,
)

LINEAR_EFFORT = 3000.0
"""Roughly the effort of a seed of a linear sequence; for estimates only."""


@dataclass(frozen=True)
class Survey:
    """What the results folder of a request lacks.

    Args:
        rows: what has to be measured, by sequence.
        outdated: what is measured again because it is of something else.
    """

    rows: Mapping[str, list[Row]]
    outdated: Outdated

    @property
    def count(self) -> int:
        """The number of missing records."""
        return sum(len(row.seeds) for rows in self.rows.values() for row in rows)


def survey(request: Request, changed: Mapping[Path, str] = {}) -> Survey:
    """Return what the results folder of a request lacks.

    ``changed`` names what is known to be measured on other images.

    Raises:
        RecordError: it holds records of another version, which the request does not overwrite.
    """
    outdated, work = Outdated(changed), request.work or Cells()
    rows = {each.name: work.rows(request, each, outdated) for each in request.sequences}
    if not request.overwrite:
        outdated.refuse(request.results)
    return Survey(rows, outdated)


def survey_with_images(request: Request) -> tuple[Survey, list[str]]:
    """Return the same, and lines on images that are not compared, or of what stays as it is.

    Raises:
        RecordError: as ``survey``.
        DataError: what the folder holds was measured on other images, and is not overwritten.
    """
    if not request.overwrite:
        return survey(request), check_data(request)
    changed, notes = changed_images(request)
    found = survey(request, changed)
    return found, notes + found.outdated.check_others(request.results)


def plan(
    request: Request, log: Callable[[str], None] = lambda line: None, found: Survey | None = None
) -> list[Job]:
    """Return the jobs of all sequences, in order; ``log`` is given lines on what does not fit.

    ``found`` is what ``survey`` has returned, if it has been called.

    Raises:
        DataError: a data set is missing or broken.
        RecordError: as ``survey``.
    """
    found, work = found or survey(request), request.work or Cells()
    planner = Planner(request, log)
    wanted = [(each, rows) for each in request.sequences if (rows := found.rows[each.name])]
    # Where nothing is missing, neither data nor splits are needed.
    return [job for sequence, rows in wanted for job in work.jobs(planner, sequence, rows)]


@dataclass(frozen=True)
class Cells:
    """The cells of the benchmark, as work and as payload."""

    def rows(self, request: Request, sequence: TaskSequence, outdated: Outdated) -> list[Row]:
        """Return each strategy with the seeds that lack a record; see ``Work``."""
        rows = [
            Row(
                f"{sequence.name} / {_label(loaded)}",
                _missing_seeds(request, sequence, loaded, outdated),
                loaded.specification,
                loaded.source,
            )
            for loaded in request.strategies
        ]
        return [row for row in rows if row.seeds]

    def jobs(self, planner: Planner, sequence: TaskSequence, rows: Sequence[Row]) -> list[Job]:
        """Return the jobs that make the missing cells of a sequence; see ``Work``."""
        if isinstance(sequence.scenario, LinearSetting):
            seeds = planner.request.seeds(sequence)
            return [
                planner.job(
                    sequence,
                    row,
                    seeds,
                    self,
                    learners=1,
                    at_once=len(seeds),
                    effort=LINEAR_EFFORT * len(seeds),
                )
                for row in rows
            ]
        recipes = planner.recipes(sequence)
        stacking = planner.stacking(sequence, recipes)
        return planner.jobs(sequence, rows, self, recipes=recipes, stacking=stacking)

    def measure(
        self,
        setting: Setting,
        loaded: LoadedStrategy | None,
        at_once: int,
        on_step: Callable[[], None],
    ) -> list[Record] | list[LossRecord]:
        """Train the cohort and return the record of every seed; see ``Payload``.

        A cohort is always trained whole, also where some of its records exist: how learners are
        stacked may change the last bits of a result, so a resumed run repeats the same stack.
        """
        assert loaded is not None
        if isinstance(setting.sequence.scenario, LinearSetting):
            with _nothing_left_by(loaded.strategy):
                return linear_records(setting, loaded, on_step)
        prepared = prepare(setting)
        cohort = prepared.for_strategy(setting, loaded.stamp.name)
        training = cohort.training
        scaled = replace(training, learning_rate=training.learning_rate * loaded.rate)
        cohort = replace(cohort, training=scaled)
        if cohort.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        mode = choose_mode(cohort.network, cohort.device)
        places = range(len(setting.seeds))
        groups = [tuple(places)]
        if not loaded.strategy.vectorized:
            mode, groups = "loop", [(place,) for place in places]
        records, ends = [], count(1)

        def on_task(_: int) -> None:
            if next(ends) % len(groups) == 0:  # a step is a task of all seeds
                on_step()

        for group in groups:
            part = cohort if len(groups) == 1 else cohort.chosen(group)
            with _nothing_left_by(loaded.strategy):
                outcome = run(part, loaded.strategy, mode, on_task)
            own = replace(setting, seeds=tuple(setting.seeds[place] for place in group))
            ran = environment(cohort.device, mode, own.seeds)
            builder = RecordBuilder(own, loaded.stamp, prepared.stamp, ran)
            records += [_record(builder, part, outcome, place) for place in range(len(group))]
        return records

    def keep(self, results: Path, records: list[AnyRecord], seeds: tuple[int, ...]) -> None:
        """Write a file per record."""
        for record in records:
            if record.seed in seeds:
                write_record(results, record)


def _missing_seeds(
    request: Request, sequence: TaskSequence, loaded: LoadedStrategy, outdated: Outdated
) -> tuple[int, ...]:
    """Return the seeds that have no record of this very sequence and strategy."""
    protocol, version, name = PROTOCOL.stamp(), sequence.hash(), loaded.stamp.name

    def parts(record: AnyRecord, seed: int) -> Parts:
        return (
            ("protocol", record.protocol, protocol),
            (f"version of the sequence {sequence.name}", record.sequence.hash, version),
            (f"version of the strategy {name}", record.strategy, loaded.stamp),
            ("split (test or validation)", record.split, request.purpose),
            ("seed", record.seed, seed),
        )

    paths = {
        seed: cell_path(request.results, sequence.name, name, seed)
        for seed in request.seeds(sequence)
    }
    return outdated.lacking(paths, read_record, parts)


@contextmanager
def _nothing_left_by(strategy: Strategy) -> Iterator[None]:
    """Let nothing that the hooks of a strategy change in this block reach other strategies.

    Raises:
        StrategyError: they changed what all strategies share.
    """
    try:
        with kept_global_state() as changed, kept_attributes() as replaced:
            yield
    except Exception as error:
        prepare.cache_clear()  # its tensors may have been changed in place
        if (changed or replaced) and not isinstance(error, torch.OutOfMemoryError):
            raise _changes(strategy, changed + replaced) from error
        raise
    if changed or replaced:
        raise _changes(strategy, changed + replaced)


def _changes(strategy: Strategy, changed: Sequence[str]) -> StrategyError:
    return StrategyError(
        f"strategy '{strategy.name}': a hook changes {' and '.join(changed)}, which all strategies "
        "share; leave it as it is, and draw random numbers from task.uniform"
    )


def _label(loaded: LoadedStrategy) -> str:
    """Return a strategy as the user wrote it, its name where that was an object in Python."""
    kept = SESSION_SUFFIX in loaded.specification
    return loaded.stamp.name if kept else loaded.specification


def _passed(
    outcome: Outcome, divergence: Sequence[Divergence | None], position: int
) -> tuple[tuple[float, ...], ...] | UnsetType:
    """Return per task which part of its gradient passed; zeros from where the seed diverged.

    Nothing if the strategy corrects no gradient, or what it made of one was not finite.
    """
    if not outcome.passed:
        return UNSET
    kept = [
        row[position].tolist() if cause is None else [0.0] * row.shape[1]
        for row, cause in zip(outcome.passed, divergence, strict=True)
    ]
    if not all(map(math.isfinite, chain.from_iterable(kept))):
        return UNSET
    return tuple(tuple(round(part, 6) for part in row) for row in kept)


def _shifts(
    rows: Sequence[torch.Tensor], divergence: Sequence[Divergence | None], position: int
) -> tuple[float | None, ...]:
    """Return how far outputs moved, None where that is not finite or the seed had diverged."""
    values = [row[position].item() for row in rows]
    return tuple(
        round(value, 6) if cause is None and math.isfinite(value) else None
        for value, cause in zip(values, divergence, strict=True)
    )


def _record(builder: RecordBuilder, cohort: Cohort, outcome: Outcome, position: int) -> Record:
    """Return the record of the seed at ``position`` in the cohort."""
    sizes, classes = sizes_and_classes(cohort, position)
    seen = numbers_seen(cohort, position)
    chance = chance_counts(sizes, classes, seen)
    divergence = outcome.divergence(position)
    return Record(
        **builder.fields(
            position,
            divergence=divergence,
            update_norms=[row[position] for row in outcome.update_norms],
            solution_norms=[row[position] for row in outcome.solution_norms],
            drift_norms=[row[position] for row in outcome.drift_norms],
            operations=tuple(row[position] for row in outcome.operations),
            share=[plan.share[position] for plan in outcome.plans],
            restart=[plan.restart[position] for plan in outcome.plans],
            memory_bytes=outcome.memory_bytes,
            seconds=outcome.seconds,
            evaluation_seconds=outcome.evaluation_seconds,
        ),
        correct=tuple(
            tuple(row[position].tolist()) if cause is None else guesses
            for row, guesses, cause in zip(outcome.correct, chance, divergence, strict=True)
        ),
        correct_untrained=tuple(outcome.correct_untrained[position].tolist()),
        test_sizes=tuple(sizes),
        classes=tuple(classes),
        seen=UNSET if seen is None else seen,
        passed=_passed(outcome, divergence, position),
        shift_new=_shifts(outcome.shift_new, divergence, position),
        shift_old=(None, *_shifts(outcome.shift_old, divergence[1:], position)),
    )

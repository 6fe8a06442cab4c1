"""Cells of the benchmark: one strategy on one sequence, a record of accuracies for every seed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from driftboard.strategies.base import Strategy
from driftboard.suite.errors import StrategyError
from driftboard.suite.linear.cells import linear_records
from driftboard.suite.loading import LoadedStrategy, load_strategy
from driftboard.suite.records import AnyRecord, LossRecord, Record, write_missing
from driftboard.suite.runs.job import Job
from driftboard.suite.runs.request import Planner, Request, Row, missing_cells
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.session import SESSION_SUFFIX
from driftboard.suite.training.cohort import Cohort, Setting, prepare
from driftboard.suite.training.engine import Outcome, run
from driftboard.suite.training.global_state import kept_global_state
from driftboard.suite.training.networks import choose_mode
from driftboard.suite.training.record_builder import (
    RecordBuilder,
    chance_counts,
    environment,
    sizes_and_classes,
)

LINEAR_EFFORT = 3000.0
"""Roughly the effort of a seed of a linear sequence; for estimates only."""


def plan(request: Request, log: Callable[[str], None] = lambda line: None) -> list[Job]:
    """Return the jobs of all sequences, in order; ``log`` is given lines on what does not fit.

    Raises:
        DataError: a data set is missing or broken.
        RecordError: a record in the results folder does not belong to this request.
    """
    planner, work = Planner(request, log), request.work or Cells()
    return [job for sequence in request.sequences for job in work.jobs(planner, sequence)]


@dataclass(frozen=True)
class Cells:
    """The cells of the benchmark, as work and as payload."""

    def jobs(self, planner: Planner, sequence: TaskSequence) -> list[Job]:
        """Return the jobs that make the missing cells of a sequence; see ``Work``."""
        rows = [
            Row(f"{sequence.name} / {_label(loaded)}", seeds, loaded.specification)
            for loaded, seeds in missing_cells(planner.request, sequence)
            if seeds
        ]
        if not rows:
            return []  # neither data nor splits are needed
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
        self, setting: Setting, strategy: str, at_once: int, on_step: Callable[[], None]
    ) -> list[Record] | list[LossRecord]:
        """Train the cohort and return the record of every seed; see ``Payload``.

        A cohort is always trained whole, also where some of its records exist: how learners are
        stacked may change the last bits of a result, so a resumed run repeats the same stack.
        """
        loaded = load_strategy(strategy)
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
        mode = choose_mode(setting.sequence.network, cohort.device)
        with _nothing_left_by(loaded.strategy):
            outcome = run(cohort, loaded.strategy, mode, lambda _: on_step())
        ran = environment(cohort.device, mode, setting.seeds)
        builder = RecordBuilder(setting, loaded.stamp, prepared.stamp, ran)
        return [_record(builder, cohort, outcome, place) for place in range(len(setting.seeds))]

    def keep(self, results: Path, records: list[AnyRecord]) -> None:
        """Write the records that are not there yet."""
        write_missing(results, records)


@contextmanager
def _nothing_left_by(strategy: Strategy) -> Iterator[None]:
    """Let nothing that the hooks of a strategy change in this block reach other strategies.

    Raises:
        StrategyError: they changed what all strategies share.
    """
    try:
        with kept_global_state() as changed:
            yield
    except Exception as error:
        prepare.cache_clear()  # its tensors may have been changed in place
        if changed and not isinstance(error, torch.OutOfMemoryError):
            raise _changes(strategy, changed) from error
        raise
    if changed:
        raise _changes(strategy, changed)


def _changes(strategy: Strategy, changed: Sequence[str]) -> StrategyError:
    return StrategyError(
        f"strategy '{strategy.name}': a hook changes {' and '.join(changed)}, which all strategies "
        "share; leave it as it is, and draw random numbers from task.noise"
    )


def _label(loaded: LoadedStrategy) -> str:
    """Return a strategy as the user wrote it, its name where that was an object in Python."""
    kept = SESSION_SUFFIX in loaded.specification
    return loaded.stamp.name if kept else loaded.specification


def _record(builder: RecordBuilder, cohort: Cohort, outcome: Outcome, position: int) -> Record:
    """Return the record of the seed at ``position`` in the cohort."""
    sizes, classes = sizes_and_classes(cohort, position)
    chance = tuple(chance_counts(sizes, classes))
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
            tuple(row[position].tolist()) if cause is None else chance
            for row, cause in zip(outcome.correct, divergence, strict=True)
        ),
        correct_untrained=tuple(outcome.correct_untrained[position].tolist()),
        test_sizes=tuple(sizes),
        classes=tuple(classes),
    )

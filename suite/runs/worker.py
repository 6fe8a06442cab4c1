"""What a worker process does with a job: train one cohort and write its records.

A job names everything and carries nothing, so it is small and any process can run it.
"""

import gc
import os
import platform
import resource
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from driftboard.suite.loading import (
    LoadedStrategy,
    files_of,
    load_sequences,
    load_strategy,
    moved,
)
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import (
    AnyRecord,
    Cost,
    Environment,
    PlanStamp,
    Record,
    cell_path,
    write_record,
)
from driftboard.suite.sequences.splits import Purpose
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.device import device_name, keep_freed_memory
from driftboard.suite.training.engine import Outcome, run
from driftboard.suite.training.memory_plan import halves
from driftboard.suite.training.networks import LANES, choose_mode
from driftboard.suite.training.preparation import Prepared, Setting, prepare


@dataclass(frozen=True)
class Job:
    """One strategy on one sequence for the seeds of one cohort."""

    sequence: str
    sequence_files: tuple[Path, ...]
    strategy: str  # a specification for load_strategy
    seeds: tuple[int, ...]
    purpose: Purpose
    data: Path | None
    results: Path
    device: str
    steps: int  # the number of tasks: how often ``execute`` reports

    @property
    def label(self) -> str:
        """What a progress bar and a failure call it."""
        return f"{self.sequence} / {self.strategy}"

    @property
    def together(self) -> int:
        """How many learners it trains together."""
        return len(self.seeds)

    def smaller(self) -> list["Job"]:
        """Return two jobs of half the seeds each; none for a single seed."""
        return [replace(self, seeds=seeds) for seeds in halves(self.seeds)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""
        return (*files_of(self.strategy), *self.sequence_files)

    def moved(self, places: Mapping[Path, Path]) -> "Job":
        """Return the same job where each of its files lies in another place."""
        return replace(
            self,
            strategy=moved(self.strategy, places),
            sequence_files=tuple(places[path] for path in self.sequence_files),
        )

    def execute(self, on_step: Callable[[], None]) -> None:
        """Train and write the records that are not there yet."""
        self.keep(self.measure(on_step))

    def measure(self, on_step: Callable[[], None]) -> list[Record]:
        """Train and return the records of all seeds."""
        return train(self, on_step)

    def keep(self, records: list[Record]) -> None:
        """Write the records that are not there yet."""
        keep(self.results, records)


def keep(results: Path, records: Iterable[AnyRecord]) -> None:
    """Write the records that are not there yet."""
    for record in records:
        place = record.sequence.name, record.strategy.name, record.seed
        if not cell_path(results, *place).exists():
            write_record(results, record)


def train(job: Job, on_step: Callable[[], None]) -> list[Record]:
    """Run a job and return the record of every seed; nothing is written.

    A cohort is always trained whole, also where some of its records exist: how learners are
    stacked may change the last bits of a result, so a resumed run repeats the same stack.
    """
    loaded = load_strategy(job.strategy)
    sequence = load_sequences(job.sequence_files)[job.sequence]
    setting = Setting(sequence, job.seeds, job.purpose, job.data, job.device)
    prepared = prepare(setting)
    cohort = prepared.for_strategy(setting, loaded.stamp.name)
    training = cohort.training
    scaled = replace(training, learning_rate=training.learning_rate * loaded.rate)
    cohort = replace(cohort, training=scaled)
    if cohort.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    mode = choose_mode(sequence.network, cohort.device)
    outcome = run(cohort, loaded.strategy, mode, lambda _: on_step())
    environment = Environment(
        driftboard=version("driftboard"),
        python=platform.python_version(),
        torch=str(torch.__version__),
        device=device_name(cohort.device),
        lane=LANES[mode],
        cohort=job.seeds,
    )
    return [
        _record(job, loaded, sequence, prepared, outcome, environment, position)
        for position in range(len(job.seeds))
    ]


def _record(
    job: Job,
    loaded: LoadedStrategy,
    sequence: TaskSequence,
    prepared: Prepared,
    outcome: Outcome,
    environment: Environment,
    position: int,
) -> Record:
    """Return the record of the seed at ``position`` in the cohort."""
    cohort = prepared.cohort
    seeds = len(job.seeds)
    sizes = [int((data.labels[position] >= 0).sum()) for data in cohort.test]
    classes = [int(active[position].sum()) for active in cohort.classes]
    chance = [round(size / count) for size, count in zip(sizes, classes, strict=True)]
    finite = [bool(row[position]) for row in outcome.finite]
    return Record(
        schema=2,
        protocol=PROTOCOL.stamp(),
        sequence=sequence.stamp(prepared.data_title, prepared.data_hash, cohort.network.blocks),
        strategy=loaded.stamp,
        seed=job.seeds[position],
        split=job.purpose,
        correct=tuple(
            tuple(row[position].tolist()) if fine else tuple(chance)
            for row, fine in zip(outcome.correct, finite, strict=True)
        ),
        correct_untrained=tuple(outcome.correct_untrained[position].tolist()),
        test_sizes=tuple(sizes),
        classes=tuple(classes),
        update_norms=_rows(outcome.update_norms, finite, position),
        solution_norms=_rows(outcome.solution_norms, finite, position),
        drift_norms=_rows(outcome.drift_norms, finite, position),
        plans=tuple(
            PlanStamp(
                tuple(round(share, 6) for share in plan.share[position].tolist()),
                tuple(plan.restart[position].tolist()),
            )
            for plan in outcome.plans
        ),
        memory_bytes=tuple(outcome.memory_bytes),
        status="finished" if finite[-1] else "diverged",
        diverged_at=None if finite[-1] else finite.index(False),
        cost=Cost(
            seconds=tuple(round(value / seeds, 4) for value in outcome.seconds),
            evaluation_seconds=round(outcome.evaluation_seconds / seeds, 4),
            peak_memory_bytes=peak_memory(cohort.device),
        ),
        environment=environment,
    )


def _rows(
    values: list[torch.Tensor], finite: list[bool], position: int
) -> tuple[tuple[float, ...], ...]:
    """Return one seed's rows; zeros from where it diverged, since JSON knows no NaN."""
    return tuple(
        tuple(row[position].tolist() if fine else [0.0] * row.shape[1])
        for row, fine in zip(values, finite, strict=True)
    )


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use: by this process, or on a CUDA device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else 1024 * peak


def forget() -> None:
    """Give back what this process keeps from job to job, as far as it can."""
    prepare.cache_clear()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


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

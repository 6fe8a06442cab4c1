"""The job of a linear sequence: one strategy, all seeds, written as records of excess losses."""

import functools
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from driftboard.suite.linear.draws import LinearData, draw
from driftboard.suite.linear.learner import LinearOutcome, linear_network, run
from driftboard.suite.loading import LoadedStrategy, files_of, load_strategy, moved
from driftboard.suite.protocol import PROTOCOL, digest
from driftboard.suite.records import (
    Cost,
    Environment,
    LossRecord,
    PlanStamp,
    SequenceStamp,
)
from driftboard.suite.rng import stream
from driftboard.suite.runs.worker import keep, peak_memory
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.splits import Purpose
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.device import device_name
from driftboard.suite.training.memory_plan import halves

TITLE = "Linear regression"


@dataclass(frozen=True)
class LinearJob:
    """One strategy on one linear sequence for all seeds."""

    sequence: TaskSequence
    setting: LinearSetting
    strategy: str  # a specification for load_strategy
    seeds: tuple[int, ...]
    purpose: Purpose
    results: Path
    steps: int = 1

    @property
    def label(self) -> str:
        """What a progress bar and a failure call it."""
        return f"{self.sequence.name} / {self.strategy}"

    @property
    def together(self) -> int:
        """How many learners it trains together, each on its draws."""
        return len(self.seeds)

    def smaller(self) -> list["LinearJob"]:
        """Return two jobs of half the seeds each; none for a single seed."""
        return [replace(self, seeds=seeds) for seeds in halves(self.seeds)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""
        return files_of(self.strategy)

    def moved(self, places: Mapping[Path, Path]) -> "LinearJob":
        """Return the same job where its file lies in another place."""
        return replace(self, strategy=moved(self.strategy, places))

    def execute(self, on_step: Callable[[], None]) -> None:
        """Train and write the records that are not there yet."""
        self.keep(self.measure(on_step))

    def keep(self, records: list[LossRecord]) -> None:
        """Write the records that are not there yet."""
        keep(self.results, records)

    def measure(self, on_step: Callable[[], None]) -> list[LossRecord]:
        """Train and return the records of all seeds."""
        loaded = load_strategy(self.strategy)
        _data(self.sequence.name, self.setting, self.seeds)  # not a cost of the first strategy
        began = time.perf_counter()
        outcome = measure(self.sequence.name, self.setting, loaded, self.seeds)
        seconds = time.perf_counter() - began
        data_hash = digest([PROTOCOL.name, PROTOCOL.version, self.sequence.name])
        sequence = self.sequence.stamp(TITLE, data_hash, linear_network(self.setting).blocks)
        environment = Environment(
            driftboard=version("driftboard"),
            python=platform.python_version(),
            torch=str(torch.__version__),
            device=device_name(torch.device("cpu")),
            lane="stacked",
            cohort=self.seeds,
        )
        on_step()
        return [
            _record(self, loaded, outcome, sequence, environment, position, seconds)
            for position in range(len(self.seeds))
        ]


def measure(
    name: str, setting: LinearSetting, loaded: LoadedStrategy, seeds: tuple[int, ...]
) -> LinearOutcome:
    """Train every seed's draws under a strategy; all strategies meet the same data."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return run(
        setting,
        loaded.strategy,
        _data(name, setting, seeds),
        lambda task: [stream(*names, seed, "strategy", loaded.stamp.name, task) for seed in seeds],
    )


@functools.lru_cache(maxsize=1)
def _data(name: str, setting: LinearSetting, seeds: tuple[int, ...]) -> LinearData:
    """Return a sequence's data, kept for the next strategy: a run takes one after the other."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return draw(setting, [stream(*names, seed, "linear data") for seed in seeds])


def _record(
    job: LinearJob,
    loaded: LoadedStrategy,
    outcome: LinearOutcome,
    sequence: SequenceStamp,
    environment: Environment,
    position: int,
    seconds: float,
) -> LossRecord:
    """Return the record of one seed: means over its draws; of restarts what most draws did.

    A strategy whose parameters are no longer finite has diverged, and its losses are from then
    on those of the initialisation.
    """
    setting = job.setting
    own = slice(position * setting.draws, (position + 1) * setting.draws)

    def mean(values: Tensor) -> Tensor:
        return values[own].double().mean(dim=0)

    finite = torch.isfinite(outcome.excess[own]).all(dim=2).all(dim=0)
    untrained = mean(outcome.untrained)
    losses = torch.where(finite[:, None], mean(outcome.excess), untrained)
    lost = None if bool(finite.all()) else int(finite.int().argmin())
    return LossRecord(
        schema=2,
        protocol=PROTOCOL.stamp(),
        sequence=sequence,
        strategy=loaded.stamp,
        seed=job.seeds[position],
        split=job.purpose,
        losses=_rows(losses),
        losses_untrained=tuple(untrained.tolist()),
        draws=setting.draws,
        update_norms=_rows(torch.nan_to_num(mean(outcome.update_norms))),
        solution_norms=_rows(torch.nan_to_num(mean(outcome.solution_norms))),
        drift_norms=_rows(torch.nan_to_num(mean(outcome.drift_norms))),
        plans=tuple(
            PlanStamp(tuple(np.clip(share, 0.0, 1.0).round(6).tolist()), tuple(restart.tolist()))
            for share, restart in zip(
                mean(outcome.share).numpy(), mean(outcome.restart) >= 0.5, strict=True
            )
        ),
        memory_bytes=outcome.memory_bytes,
        status="finished" if lost is None else "diverged",
        diverged_at=lost,
        cost=Cost(
            seconds=(round(seconds / len(job.seeds) / setting.tasks, 6),) * setting.tasks,
            evaluation_seconds=0.0,
            peak_memory_bytes=peak_memory(torch.device("cpu")),
        ),
        environment=environment,
    )


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())

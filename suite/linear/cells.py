"""Cells of linear sequences: one strategy, all seeds, written as records of excess losses."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from driftboard.suite.linear.draws import LinearData, draw
from driftboard.suite.linear.learner import LinearOutcome, linear_network, run
from driftboard.suite.loading import LoadedStrategy, load_strategy
from driftboard.suite.protocol import PROTOCOL, digest
from driftboard.suite.records import LossRecord, write_missing
from driftboard.suite.rng import stream
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.record_builder import RecordBuilder, environment

TITLE = "Linear regression"


@dataclass(frozen=True)
class LinearCells:
    """The payload of a job on a linear sequence."""

    def measure(
        self, setting: Setting, strategy: str, at_once: int, on_step: Callable[[], None]
    ) -> list[LossRecord]:
        """Train all seeds together, on the CPU, and return the record of each."""
        sequence, scenario = setting.sequence, setting.sequence.scenario
        assert isinstance(scenario, LinearSetting)
        setting = replace(setting, device="cpu")
        loaded = load_strategy(strategy)
        _data(sequence.name, scenario, setting.seeds)  # not a cost of the first strategy
        began = time.perf_counter()
        outcome = measure(sequence.name, scenario, loaded, setting.seeds, on_step)
        seconds = time.perf_counter() - began
        data_hash = digest([PROTOCOL.name, PROTOCOL.version, sequence.name])
        builder = RecordBuilder(
            setting,
            loaded.stamp,
            sequence.stamp(TITLE, data_hash, linear_network(scenario).blocks),
            environment(torch.device("cpu"), "vmap", setting.seeds),
        )
        return [
            _record(builder, scenario, outcome, position, seconds)
            for position in range(len(setting.seeds))
        ]

    def keep(self, results: Path, records: list[LossRecord]) -> None:
        """Write the records that are not there yet."""
        write_missing(results, records)


def measure(
    name: str,
    setting: LinearSetting,
    loaded: LoadedStrategy,
    seeds: tuple[int, ...],
    on_step: Callable[[], None] = lambda: None,
) -> LinearOutcome:
    """Train every seed's draws under a strategy; all strategies meet the same data."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return run(
        setting,
        loaded.strategy,
        _data(name, setting, seeds),
        lambda task: [stream(*names, seed, "strategy", loaded.stamp.name, task) for seed in seeds],
        on_step,
    )


@functools.lru_cache(maxsize=1)
def _data(name: str, setting: LinearSetting, seeds: tuple[int, ...]) -> LinearData:
    """Return a sequence's data, kept for the next strategy: a run takes one after the other."""
    names = (PROTOCOL.name, PROTOCOL.version, name)
    return draw(setting, [stream(*names, seed, "linear data") for seed in seeds])


def _record(
    builder: RecordBuilder,
    setting: LinearSetting,
    outcome: LinearOutcome,
    position: int,
    seconds: float,
) -> LossRecord:
    """Return the record of one seed: means over its draws; of restarts what most draws did.

    A strategy whose parameters are no longer finite has diverged, and its losses are from then
    on those of the initialisation.
    """
    own = slice(position * setting.draws, (position + 1) * setting.draws)

    def mean(values: Tensor) -> Tensor:
        return values[own].double().mean(dim=0)

    finite = torch.isfinite(outcome.excess[own]).all(dim=2).all(dim=0)
    untrained = mean(outcome.untrained)
    losses = torch.where(finite[:, None], mean(outcome.excess), untrained)
    return LossRecord(
        **builder.fields(
            position,
            finite=finite.tolist(),
            update_norms=mean(outcome.update_norms),
            solution_norms=mean(outcome.solution_norms),
            drift_norms=mean(outcome.drift_norms),
            share=mean(outcome.share).clamp(0.0, 1.0),
            restart=mean(outcome.restart) >= 0.5,
            memory_bytes=outcome.memory_bytes,
            seconds=[seconds / setting.tasks] * setting.tasks,
        ),
        losses=tuple(map(tuple, losses.tolist())),
        losses_untrained=tuple(untrained.tolist()),
        draws=setting.draws,
    )

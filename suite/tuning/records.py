"""Tuning records: what the trials of one strategy reached. Reading one imports no torch."""

from typing import Literal

from msgspec import Struct

from driftboard.suite.records import (
    Count,
    Digest,
    Name,
    NonNegative,
    ProtocolStamp,
    StrategyStamp,
    Text,
)


class Trial(Struct, frozen=True, forbid_unknown_fields=True):
    """One setting and what it reached, means over sequences and seeds."""

    specification: Text
    strategy: StrategyStamp
    avg_acc: NonNegative
    task_acc: NonNegative
    forgetting: float
    diverged: Count  # cells


class TuningRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """All trials of one strategy; ``chosen`` is the place of the best in ``trials``."""

    schema: Literal[1]
    protocol: ProtocolStamp
    tuning: ProtocolStamp
    sequences: dict[Name, Digest]
    seeds: tuple[Count, ...]
    trials: tuple[Trial, ...]
    chosen: Count

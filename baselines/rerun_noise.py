"""Re-run noise: how far apart two honest runs of one cell lie, as it was measured."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Literal

import msgspec
from msgspec import Struct

from driftboard.leaderboard.analysis.cells import METRICS, cell_of, matrix_of
from driftboard.leaderboard.verification.rerun import Noise
from driftboard.suite.records import AnyRecord, Name, NonNegative, Positive
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import family_of

FILE = "rerun_noise.json"
FEWEST_CELLS = 10  # from fewer it cannot be told that a family or strategy is noisier than others

Pair = tuple[AnyRecord, AnyRecord]  # published, run again
Cell = tuple[str, str, int]  # sequence, strategy, seed


class NoiseRow(Struct, frozen=True, forbid_unknown_fields=True):
    """The noise of one network on one family of sequences, or of one strategy on all of them.

    A cell was run again in several ways. ``differences`` holds for each metric the root mean
    square, over the ``cells``, of the largest difference from the published record: some ways
    give equal results on some machines, which says nothing of others.
    """

    network: str
    of: Literal["family", "strategy"]
    name: Name
    cells: Positive
    differences: dict[Name, NonNegative]


class MeasuredNoise(Struct, frozen=True, forbid_unknown_fields=True):
    """All rows of the file, and how they were measured."""

    command: str
    hardware: str
    rows: tuple[NoiseRow, ...]


@cache
def measured_noise() -> MeasuredNoise:
    """Return what comes with the package."""
    content = files("driftboard.baselines").joinpath(FILE).read_bytes()
    return msgspec.json.decode(content, type=MeasuredNoise)


def measure_noise(pairs: Iterable[Pair]) -> tuple[NoiseRow, ...]:
    """Return the noise in accuracies, from re-runs of cells of registered sequences.

    Cells that diverged in one of the runs are left out: a failure is no matter of rounding.
    """
    largest: dict[Cell, dict[str, float]] = {}
    for published, again in pairs:
        if "diverged" in (published.status, again.status):
            continue
        cell = published.sequence.name, published.strategy.name, published.seed
        off = largest.setdefault(cell, {})
        before, after = (cell_of(one, matrix_of(one)).metrics for one in (published, again))
        for metric in METRICS["accuracy"]:
            difference = abs(after[metric.name] - before[metric.name])
            off[metric.name] = max(off.get(metric.name, 0.0), difference)
    groups: dict[tuple[str, Literal["family", "strategy"], str], list[Mapping[str, float]]] = {}
    for (sequence, strategy, _), off in largest.items():
        network = _networks()[sequence]
        groups.setdefault((network, "family", family_of(sequence)), []).append(off)
        groups.setdefault((network, "strategy", strategy), []).append(off)
    return tuple(
        NoiseRow(*group, len(cells), {m: _root_mean_square(cells, m) for m in cells[0]})
        for group, cells in sorted(groups.items())
    )


def noise_of(sequence: str, strategy: str, metric: str, rows: Iterable[NoiseRow]) -> Noise | None:
    """Return the noise of a cell of a registered sequence; None where nothing was measured.

    It is that of the sequence's family, but no less than that of all families of the network
    together, since rare jumps may be missing from the few cells of a family, and no less than
    the strategy's own on this network, where it was measured: some are several times as noisy as
    others. Of fewer than ten cells nothing is known.
    """
    network = _networks().get(sequence)
    known = [row for row in rows if row.network == network and metric in row.differences]
    families = [row for row in known if row.of == "family"]
    groups = [
        families,
        [row for row in families if row.name == family_of(sequence)],
        [row for row in known if row.of == "strategy" and row.name == strategy],
    ]
    noises = [
        _pooled(group, metric)
        for group in groups
        if sum(row.cells for row in group) >= FEWEST_CELLS
    ]
    return max(noises, key=lambda noise: noise.size, default=None)


def _pooled(rows: Sequence[NoiseRow], metric: str) -> Noise:
    cells = [row.cells for row in rows]
    square = fmean((row.differences[metric] ** 2 for row in rows), cells)
    return Noise(math.sqrt(square), sum(cells))


def _root_mean_square(cells: Iterable[Mapping[str, float]], metric: str) -> float:
    return math.sqrt(fmean(off[metric] ** 2 for off in cells))


@cache
def _networks() -> dict[str, str]:
    return {name: sequence.network_name for name, sequence in registered().items()}

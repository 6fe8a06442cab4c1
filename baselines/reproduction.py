"""A re-run beside published records: one verdict for every sequence, strategy and metric."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from driftboard.baselines.verdict import Judgement, Verdict, difference, judge, margin
from driftboard.leaderboard.analysis.cells import cell_of, matrix_of
from driftboard.leaderboard.analysis.metric import METRICS, Metric
from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord, LossRecord

LEAST_MARGIN = 0.005  # half a point of percent; for losses, this share of the published mean

Place = tuple[str, str]  # sequence, strategy
Values = dict[str, dict[Place, dict[int, float]]]  # by metric, place and seed


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The verdict on one metric of one strategy on one sequence."""

    sequence: str
    strategy: str
    metric: Metric
    published: float
    found: float
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All verdicts, and what had to be left out.

    ``changed`` names the strategies whose source is not that of the published records.
    """

    rows: tuple[Reproduced, ...]
    changed: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how often a verdict was given."""
        return sum(row.judgement.verdict == verdict for row in self.rows)


def reproduce(published: Iterable[AnyRecord], found: Iterable[AnyRecord]) -> Reproduction:
    """Compare a re-run with published records, on the cells that the re-run has.

    Raises:
        RecordError: the two are not of one protocol, split or sequence, or share nothing.
    """
    old, new = list(published), list(found)
    _refuse_mixtures(old, new)
    known, measured = _values(old), _values(new)
    tasks: list[tuple[Metric, Place]] = [
        (metric, place)
        for metric in METRICS["excess-loss" if isinstance(old[0], LossRecord) else "accuracy"]
        for place in sorted(measured[metric.name])
        if place in known[metric.name]
    ]
    if not tasks:
        raise RecordError("the re-run has no sequence and strategy that was published")
    pairs = [(known[m.name][place], measured[m.name][place]) for m, place in tasks]
    judgements = judge(
        [difference(before, after) for before, after in pairs],
        [_margin(metric, before) for (metric, _), (before, _) in zip(tasks, pairs, strict=True)],
    )
    rows = [
        Reproduced(*place, metric, _mean(before), _mean(after), judgement)
        for (metric, place), (before, after), judgement in zip(
            tasks, pairs, judgements, strict=True
        )
    ]
    return Reproduction(
        rows=tuple(sorted(rows, key=lambda row: (row.sequence, row.strategy))),
        changed=_changed(old, new),
    )


def _margin(metric: Metric, published: Mapping[int, float]) -> float:
    scale = 1.0 if metric.is_share else abs(_mean(published))
    return margin(list(published.values()), LEAST_MARGIN * scale)


def _mean(values: Mapping[int, float]) -> float:
    return sum(values.values()) / len(values)


def _values(records: Iterable[AnyRecord]) -> Values:
    values: Values = {}
    for record in records:
        place = (record.sequence.name, record.strategy.name)
        for name, value in cell_of(record, matrix_of(record)).metrics.items():
            values.setdefault(name, {}).setdefault(place, {})[record.seed] = value
    return values


def _refuse_mixtures(old: Sequence[AnyRecord], new: Sequence[AnyRecord]) -> None:
    if not old or not new:
        raise RecordError("there are no records to compare")
    if len({(record.protocol.hash, record.split) for record in (*old, *new)}) > 1:
        raise RecordError(
            "the re-run and the published records are not of one protocol and split; "
            "reproduce with the version of driftboard that published them"
        )
    hashes = {record.sequence.name: record.sequence.hash for record in old}
    for record in new:
        name, digest = record.sequence.name, record.sequence.hash
        if hashes.get(name, digest) != digest:
            raise RecordError(f"sequence {name} has changed since its records were published")


def _changed(old: Iterable[AnyRecord], new: Iterable[AnyRecord]) -> tuple[str, ...]:
    sources = {record.strategy.name: record.strategy.source_hash for record in old}
    return tuple(
        sorted(
            {
                record.strategy.name
                for record in new
                if sources.get(record.strategy.name, record.strategy.source_hash)
                != record.strategy.source_hash
            }
        )
    )

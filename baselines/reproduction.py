"""A re-run beside published records: one verdict for every sequence, strategy and metric.

The verdicts in words and tables: for the terminal, as Markdown and as CSV.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from driftboard.baselines.verdict import Judgement, Verdict, difference, judge, margin
from driftboard.leaderboard.analysis.cells import METRICS, Metric, cell_of, matrix_of
from driftboard.leaderboard.columns import Value
from driftboard.leaderboard.formatting import estimate_text, number_text
from driftboard.leaderboard.render.csv import csv_text
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord, LossRecord, read_record, record_paths

VERDICTS: tuple[Verdict, ...] = ("REPRODUCED", "INCONCLUSIVE", "CONTRADICTED")

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


def compare_folder(published: Sequence[AnyRecord], results: Path) -> Reproduction:
    """Compare the records of a results folder with published ones of the same cells.

    Raises:
        RecordError: a record is broken, or the two cannot be compared, see ``compare``.
    """
    wanted = {(record.sequence.name, record.strategy.name) for record in published}
    found = [
        record
        for record in map(read_record, record_paths(results))
        if (record.sequence.name, record.strategy.name) in wanted
    ]
    return compare(published, found)


def compare(published: Iterable[AnyRecord], found: Iterable[AnyRecord]) -> Reproduction:
    """Compare a re-run with published records, on the cells that the re-run has.

    Raises:
        RecordError: the two are not of one protocol, split or sequence, or share nothing.
    """
    old, new = list(published), list(found)
    _check_comparable(old, new)
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
        Reproduced(*place, metric, fmean(before.values()), fmean(after.values()), judgement)
        for (metric, place), (before, after), judgement in zip(
            tasks, pairs, judgements, strict=True
        )
    ]
    return Reproduction(
        rows=tuple(sorted(rows, key=lambda row: (row.sequence, row.strategy))),
        changed=_changed(old, new),
    )


def _margin(metric: Metric, published: Mapping[int, float]) -> float:
    values = list(published.values())
    return margin(values, LEAST_MARGIN * (1.0 if metric.is_share else abs(fmean(values))))


def _values(records: Iterable[AnyRecord]) -> Values:
    values: Values = {}
    for record in records:
        place = (record.sequence.name, record.strategy.name)
        for name, value in cell_of(record, matrix_of(record)).metrics.items():
            values.setdefault(name, {}).setdefault(place, {})[record.seed] = value
    return values


def _check_comparable(old: Sequence[AnyRecord], new: Sequence[AnyRecord]) -> None:
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
    known = {record.strategy.name: record.strategy.source_hash for record in old}
    sources = {(record.strategy.name, record.strategy.source_hash) for record in new}
    return tuple(sorted({name for name, digest in sources if known.get(name, digest) != digest}))


def summary(reproduction: Reproduction) -> list[str]:
    """Return the verdicts in a few lines: how many of each, and what to look at."""
    rows = reproduction.rows
    counts = ", ".join(f"{reproduction.count(verdict)} {verdict}" for verdict in VERDICTS)
    identical = sum(row.judgement.difference.identical for row in rows)
    lines = [f"{len(rows)} numbers: {counts}; {identical} of them equal to the last digit"]
    if reproduction.changed:
        names = ", ".join(reproduction.changed)
        lines.append(f"source changed since the records were published: {names}")
    lines += [_in_words(row) for row in rows if row.judgement.verdict == "CONTRADICTED"]
    lines += [_in_words(row) for row in rows if row.judgement.verdict == "INCONCLUSIVE"]
    return lines


def reproduction_page(reproduction: Reproduction) -> str:
    """Return all verdicts as a page of Markdown."""
    parts = ["# Reproduction of the published baselines"]
    parts.append("\n".join(f"- {line}" for line in summary(reproduction)))
    left = ("Sequence", "Strategy", "Metric", "Verdict")
    parts.append(markdown_table([_cells(row) for row in reproduction.rows], left))
    parts.append(
        "Found minus published, with the 90 % t interval, paired by seed where the re-run used "
        "published seeds. REPRODUCED: the interval lies within the margin, twice the deviation "
        "over the published seeds and at least half a point. CONTRADICTED: the 95 % interval lies "
        "wholly outside it, with Holm's correction over all numbers. INCONCLUSIVE: neither."
    )
    return "\n\n".join(parts) + "\n"


def reproduction_csv(reproduction: Reproduction) -> str:
    """Return all verdicts with raw numbers; an empty cell means not defined."""
    rows = [_raw(row) for row in reproduction.rows]
    return csv_text(list(rows[0]), rows)  # there is no reproduction without a row


def _cells(row: Reproduced) -> dict[str, str]:
    is_share = row.metric.is_share
    found = row.judgement.difference
    scale = 100.0 if is_share else 1.0
    return {
        "Sequence": f"`{row.sequence}`",
        "Strategy": f"`{row.strategy}`",
        "Metric": row.metric.title,
        "Verdict": row.judgement.verdict,
        "Published": _one(row.published, is_share),
        "Found": _one(row.found, is_share),
        "Difference": estimate_text(found.mean, *found.interval(0.90), is_share, sign="+"),
        "Margin": number_text(scale * row.judgement.margin),
        "Seeds": str(found.n),
    }


def _one(value: float, is_share: bool) -> str:
    return estimate_text(value, value, value, is_share).partition(" ")[0]


def _raw(row: Reproduced) -> dict[str, Value]:
    judgement = row.judgement
    found = judgement.difference
    low, high = found.interval(0.90)
    return {
        "sequence": row.sequence,
        "strategy": row.strategy,
        "metric": row.metric.name,
        "verdict": judgement.verdict,
        "published": row.published,
        "found": row.found,
        "difference": found.mean,
        "low": low,
        "high": high,
        "margin": judgement.margin,
        "p_contradicted": judgement.p_contradicted,
        "seeds": found.n,
        "paired": int(found.paired),
        "identical": int(found.identical),
        "seeds_needed": judgement.seeds,
    }


def _in_words(row: Reproduced) -> str:
    """Return one verdict with its numbers, and what would settle it."""
    judgement, cells = row.judgement, _cells(row)
    text = (
        f"{judgement.verdict}: {row.strategy} on {row.sequence}, {cells['Metric']} "
        f"{cells['Found']}, published {cells['Published']}, difference {cells['Difference']} "
        f"against a margin of {cells['Margin']}"
    )
    if judgement.verdict == "CONTRADICTED":
        return text
    if judgement.seeds is None:
        return f"{text}; run more seeds: these do not tell on which side it lies"
    return f"{text}; about {judgement.seeds} seeds would settle it"

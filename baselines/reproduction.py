"""A re-run beside published records: a verdict on every number and every strategy's overall mean.

Equality comes first: of how many cells are all counts those that were published. What
``verdict.py`` says of the other numbers takes re-run noise as it was measured.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, get_args

from driftboard.baselines.rerun_noise import NoiseRow, measured_noise, noise_of
from driftboard.baselines.verdict import (
    Difference,
    Judgement,
    Verdict,
    difference,
    judge,
    margin,
    mean_noise,
)
from driftboard.leaderboard.analysis.cells import METRICS, Metric, cell_of, matrix_of
from driftboard.leaderboard.analysis.collect import OVERALL
from driftboard.leaderboard.analysis.statistics import common_seeds, seed_averages
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import estimate_text, number_text
from driftboard.leaderboard.render.csv import csv_text
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.records import AnyRecord, LossRecord, Record, read_record, record_paths

# In points of percent as shares; for losses, shares of the published mean.
LEAST_MARGIN = 0.005
MOST_MARGIN = 0.02  # of an overall mean
SHOWN = 5  # lines on numbers that were neither reproduced nor contradicted

BySeed = Mapping[int, float]
Place = tuple[str, str]  # sequence, strategy
Values = dict[str, dict[Place, dict[int, float]]]  # by metric, place and seed


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The verdict on one metric of one strategy on one sequence, or overall.

    ``published`` and ``found`` are means over the seeds that both have, ``sequences`` says over
    how many sequences.
    """

    sequence: str
    strategy: str
    metric: Metric
    sequences: int
    published: float
    found: float
    judgement: Judgement

    @property
    def is_overall(self) -> bool:
        """Whether it is a mean over sequences."""
        return self.sequence == OVERALL


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All verdicts, and what has to be known beside them.

    ``rows`` holds overall means first. All counts of ``equal`` of the ``cells`` that both have
    are the same. ``changed`` names the strategies whose source is not that of the published
    records, ``unmeasured`` the sequences without a measured re-run noise. ``diverged`` counts, of
    the same cells, those that diverged when they were published and in the re-run.
    """

    rows: tuple[Reproduced, ...]
    equal: int
    cells: int
    changed: tuple[str, ...]
    unmeasured: tuple[str, ...]
    diverged: tuple[int, int]

    def count(self, verdict: Verdict, overall: bool | None = None) -> int:
        """Return how often a verdict was given: in all, of overall means, or of the others."""
        return sum(
            row.judgement.verdict == verdict and overall in (None, row.is_overall)
            for row in self.rows
        )


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


def compare(
    published: Iterable[AnyRecord],
    found: Iterable[AnyRecord],
    noise: Iterable[NoiseRow] | None = None,
) -> Reproduction:
    """Compare a re-run with published records, on the cells that both have.

    ``noise`` is what an honest re-run may be off by, by default what comes with the package.

    Raises:
        RecordError: the two are not of one protocol, split or sequence, or share no cell.
    """
    old, new = list(published), list(found)
    _check_comparable(old, new)
    known = {_cell(record): record for record in old}
    common = [record for record in new if _cell(record) in known]
    if not common:
        raise RecordError("the re-run has no sequence, strategy and seed that was published")
    rows = measured_noise().rows if noise is None else tuple(noise)
    metrics = METRICS["excess-loss" if isinstance(old[0], LossRecord) else "accuracy"]
    places = sorted({(record.sequence.name, record.strategy.name) for record in common})
    return Reproduction(
        rows=judge_values(values_of(old), values_of(common), metrics, rows),
        equal=sum(_results(record) == _results(known[_cell(record)]) for record in common),
        cells=len(common),
        changed=_changed(old, new),
        unmeasured=tuple(
            dict.fromkeys(one[0] for one in places if not noise_of(*one, metrics[0].name, rows))
        ),
        diverged=(
            sum(known[_cell(record)].status == "diverged" for record in common),
            sum(record.status == "diverged" for record in common),
        ),
    )


def values_of(records: Iterable[AnyRecord]) -> Values:
    """Return the metrics of records by metric, sequence and strategy, and seed."""
    values: Values = {}
    for record in records:
        place = (record.sequence.name, record.strategy.name)
        for name, value in cell_of(record, matrix_of(record)).metrics.items():
            values.setdefault(name, {}).setdefault(place, {})[record.seed] = value
    return values


def judge_values(
    published: Values, found: Values, metrics: Sequence[Metric], noise: Sequence[NoiseRow]
) -> tuple[Reproduced, ...]:
    """Judge all overall means together, and all numbers of single sequences together."""
    before, after = published[metrics[0].name], found[metrics[0].name]
    places = [one for one in sorted(after) if common_seeds([before.get(one, {}), after[one]])]
    by_strategy: dict[str, list[Place]] = {}
    for place in places:
        by_strategy.setdefault(place[1], []).append(place)
    groups = [[on for on in by_strategy.values() if len(on) > 1], [[place] for place in places]]
    rows: list[Reproduced] = []
    for group in groups:
        numbers = [
            number
            for on in group
            for metric in metrics
            if (number := _number(published[metric.name], found[metric.name], metric, on, noise))
        ]
        judgements = judge([one.difference for one in numbers], [one.margin for one in numbers])
        rows += [
            Reproduced(*one.about, judgement)
            for one, judgement in zip(numbers, judgements, strict=True)
        ]
    return tuple(rows)


class _Number(NamedTuple):
    """One number of a re-run before it is judged; ``about`` are the other fields of its row."""

    about: tuple[str, str, Metric, int, float, float]
    difference: Difference
    margin: float


def _number(
    published: Mapping[Place, BySeed],
    found: Mapping[Place, BySeed],
    metric: Metric,
    on: Sequence[Place],
    rows: Sequence[NoiseRow],
) -> _Number | None:
    """Return the mean over one or several sequences; None if these have no seed in common."""
    before = seed_averages([published[place] for place in on])
    after = seed_averages([found[place] for place in on])
    seeds = common_seeds([before, after])
    if not seeds:
        return None
    cells = [noise_of(*place, metric.name, rows) for place in on]
    unit = 1.0 if metric.is_share else abs(fmean(before.values()))
    most = MOST_MARGIN * unit if len(on) > 1 else math.inf
    (sequence, strategy), *others = on
    means = [fmean(values[seed] for seed in seeds) for values in (before, after)]
    return _Number(
        (OVERALL if others else sequence, strategy, metric, len(on), means[0], means[1]),
        difference(before, after, mean_noise(cells, len(seeds))),
        margin(mean_noise(cells, len(before)), LEAST_MARGIN * unit, most),
    )


def _cell(record: AnyRecord) -> tuple[str, str, int]:
    return record.sequence.name, record.strategy.name, record.seed


def _results(record: AnyRecord) -> tuple[object, ...]:
    if isinstance(record, Record):
        return record.correct, record.correct_untrained
    return record.losses, record.losses_untrained


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
    """Return the verdicts in a few lines: equality first, then how many of each, then which."""
    rows = reproduction.rows
    lines = [f"equal on the same seeds: {reproduction.equal} of {reproduction.cells} cells"]
    for overall, what in ((True, "overall means"), (False, "numbers of single sequences")):
        if of := [row for row in rows if row.is_overall == overall]:
            counts = [f"{reproduction.count(one, overall)} {one}" for one in get_args(Verdict)]
            lines.append(f"{len(of)} {what}: {', '.join(counts)}")
    if any(reproduction.diverged):
        before, after = reproduction.diverged
        lines.append(f"diverged, with the accuracy of chance: {before} published, {after} found")
    if reproduction.changed:
        names = ", ".join(reproduction.changed)
        lines.append(f"source changed since the records were published: {names}")
    if reproduction.unmeasured:
        names = ", ".join(reproduction.unmeasured)
        lines.append(f"judged by the re-run's own spread, no noise is measured for: {names}")
    first = {row.strategy: row for row in reversed(rows)}  # the overall mean, where there is one
    lines += [_in_words(row) for row in reversed(first.values())]
    others = [row for row in rows if row not in first.values()]
    lines += [_in_words(row) for row in others if row.judgement.verdict == "CONTRADICTED"]
    open_ones = [_in_words(row) for row in others if row.judgement.verdict == "INCONCLUSIVE"]
    lines += open_ones[:SHOWN]
    if (left := len(open_ones) - SHOWN) > 0:
        lines.append(f"{counted(left, 'more number')} INCONCLUSIVE, see the page")
    return lines


def reproduction_page(reproduction: Reproduction) -> str:
    """Return all verdicts as a page of Markdown."""
    parts = ["# Reproduction of the published baselines"]
    parts.append("\n".join(f"- {line}" for line in summary(reproduction)))
    left = ("Sequence", "Strategy", "Metric", "Verdict")
    parts.append(markdown_table([_cells(row) for row in reproduction.rows], left))
    parts.append(
        "Published and found: means over the same seeds. Difference: found minus published, with "
        "the wider of the 90 % t intervals by re-run noise and by the spread over seeds. Margin: "
        "what 80 % of honest re-runs of all published seeds pass, at least half a point, of an "
        "overall mean at most two points. REPRODUCED: the interval lies within the margin. "
        "CONTRADICTED: the 95 % interval by re-run noise lies wholly outside it, with Holm's "
        "correction over all overall means, and over all other numbers. INCONCLUSIVE: neither. "
        "Detectable: the smallest true difference that this re-run would have contradicted with "
        "90 %. Where no re-run noise is measured, the spread over seeds stands in its place and "
        "the margin is half a point."
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
        "Sequence": row.sequence if row.is_overall else f"`{row.sequence}`",
        "Strategy": f"`{row.strategy}`",
        "Metric": row.metric.title,
        "Verdict": row.judgement.verdict,
        "Published": estimate_text(row.published, math.nan, math.nan, is_share),
        "Found": estimate_text(row.found, math.nan, math.nan, is_share),
        "Difference": estimate_text(found.mean, *found.interval(0.90), is_share, sign="+"),
        "Margin": number_text(scale * row.judgement.margin),
        "Detectable": number_text(scale * row.judgement.detectable),
        "Sequences": str(row.sequences),
        "Seeds": str(found.n),
    }


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
        "detectable": judgement.detectable,
        "noise": None if found.noise is None else found.noise.size,
        "sequences": row.sequences,
        "seeds": found.n,
        "identical": int(found.identical),
    }


def _in_words(row: Reproduced) -> str:
    """Return one verdict with its numbers, and what the re-run could have told apart."""
    cells = _cells(row)
    where = f"over {counted(row.sequences, 'sequence')}" if row.is_overall else f"on {row.sequence}"
    return (
        f"{row.judgement.verdict}: {row.strategy} {where}, {cells['Metric']} {cells['Found']}, "
        f"published {cells['Published']} on the same {counted(row.judgement.difference.n, 'seed')}"
        f", difference {cells['Difference']} against a margin of {cells['Margin']}; a true one of "
        f"{cells['Detectable']} would have been contradicted with 90 %"
    )

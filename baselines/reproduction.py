"""A re-run beside published records: one verdict for every sequence, strategy and metric.

Does it reproduce the numbers? Equivalence within a margin that was fixed beforehand. REPRODUCED:
the 90 % interval of the difference lies within the margin (two one-sided tests, Schuirmann 1987,
Journal of Pharmacokinetics and Biopharmaceutics 15). CONTRADICTED: the 95 % interval lies wholly
outside, after Holm's correction over all comparisons. INCONCLUSIVE: neither; more seeds decide.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, get_args

from scipy.special import stdtr, stdtrit

from driftboard.leaderboard.analysis.cells import METRICS, Metric, cell_of, matrix_of
from driftboard.leaderboard.analysis.statistics import ROUNDING, SIGNIFICANT, holm, t_interval
from driftboard.leaderboard.column import Value
from driftboard.leaderboard.formatting import estimate_text, number_text
from driftboard.leaderboard.render.csv import csv_text
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord, LossRecord, read_record, record_paths

Verdict = Literal["REPRODUCED", "INCONCLUSIVE", "CONTRADICTED"]

MARGIN_DEVIATIONS = 2.0
MOST_SEEDS = 1000
LEAST_MARGIN = 0.005  # half a point of percent; for losses, this share of the published mean

Place = tuple[str, str]  # sequence, strategy
Values = dict[str, dict[Place, dict[int, float]]]  # by metric, place and seed


@dataclass(frozen=True, slots=True)
class Difference:
    """Found minus published, with its standard error on ``freedom`` degrees of freedom.

    ``paired`` tells that it was taken seed by seed. ``error`` is NaN and ``freedom`` 0 where one
    value alone cannot tell; ``identical`` says that all values are equal, which needs no test.
    """

    mean: float
    error: float
    freedom: float
    n: int
    paired: bool
    identical: bool

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the t interval of the difference; NaN where there is none."""
        if self.identical or self.error == 0.0:
            return self.mean, self.mean
        if math.isnan(self.error):
            return math.nan, math.nan
        return t_interval(self.mean, self.error, self.freedom, confidence)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one number; ``seeds`` says how many would settle it, None if unknown."""

    difference: Difference
    margin: float
    p_contradicted: float  # corrected
    verdict: Verdict
    seeds: int | None


def margin(published: Sequence[float], least: float) -> float:
    """Return how far a re-run may be off: twice the deviation over the published seeds.

    It is at least ``least``, for numbers that do not vary over the published seeds.

    >>> margin([0.75, 0.75], least=0.005), margin([1.0, 2.0, 3.0], least=0.005)
    (0.005, 2.0)
    """
    spread = stdev(published) if len(published) > 1 else 0.0
    return max(MARGIN_DEVIATIONS * spread, least)


def difference(published: Mapping[int, float], found: Mapping[int, float]) -> Difference:
    """Compare values by seed: paired where all found seeds were published, else by Welch.

    >>> found = difference({0: 0.5, 1: 0.75}, {0: 0.625, 1: 0.875})
    >>> found.mean, found.n, found.paired
    (0.125, 2, True)

    Raises:
        ValueError: one side has no value.
    """
    if not published or not found:
        raise ValueError("nothing to compare")
    if found.keys() <= published.keys():
        return _paired([found[seed] - published[seed] for seed in sorted(found)])
    return _welch(list(published.values()), list(found.values()))


def _paired(differences: Sequence[float]) -> Difference:
    n = len(differences)
    identical = all(abs(one) <= ROUNDING for one in differences)
    error = stdev(differences) / math.sqrt(n) if n > 1 else math.nan
    return Difference(fmean(differences), error, n - 1, n, paired=True, identical=identical)


def _welch(published: Sequence[float], found: Sequence[float]) -> Difference:
    mean = fmean(found) - fmean(published)
    n = min(len(published), len(found))
    if n < 2:
        return Difference(mean, math.nan, 0, n, paired=False, identical=False)
    parts = [stdev(values) ** 2 / len(values) for values in (published, found)]
    error = math.sqrt(sum(parts))
    weights = sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (published, found), strict=True)
    )
    freedom = error**4 / weights if weights else math.inf
    return Difference(mean, error, freedom, n, paired=False, identical=False)


def judge(differences: Sequence[Difference], margins: Sequence[float]) -> list[Judgement]:
    """Judge all numbers of a re-run together, each with its margin.

    >>> equal = difference({0: 0.5, 1: 0.75}, {0: 0.5, 1: 0.75})
    >>> judge([equal], [0.005])[0].verdict
    'REPRODUCED'
    """
    p_values = [_p_outside(one, limit) for one, limit in zip(differences, margins, strict=True)]
    return [
        Judgement(one, limit, p, _verdict(one, limit, p), _seeds_needed(one, limit))
        for one, limit, p in zip(differences, margins, holm(p_values), strict=True)
    ]


def _p_outside(found: Difference, limit: float) -> float:
    """Return the two-sided p-value of a difference no larger than the margin."""
    excess = abs(found.mean) - limit
    if found.identical or excess <= 0.0:
        return 1.0
    if math.isnan(found.error):
        return math.nan
    if found.error == 0.0:
        return 0.0
    return min(1.0, 2.0 * float(stdtr(found.freedom, -excess / found.error)))


def _verdict(found: Difference, limit: float, p: float) -> Verdict:
    low, high = found.interval(0.90)
    if -limit < low and high < limit:
        return "REPRODUCED"
    return "CONTRADICTED" if p < SIGNIFICANT else "INCONCLUSIVE"


def _seeds_needed(found: Difference, limit: float) -> int | None:
    """Return the fewest seeds that would reproduce this difference if it and its spread stay.

    None where no number of seeds would, or where one seed tells nothing of the spread.
    """
    room = limit - abs(found.mean)
    if room <= 0.0 or math.isnan(found.error):
        return None
    spread = found.error * math.sqrt(found.n)
    for n in range(2, MOST_SEEDS + 1):
        freedom = n - 1 if found.paired else 2 * (n - 1)
        if float(stdtrit(freedom, 0.95)) * spread / math.sqrt(n) < room:
            return n
    return None


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
    counts = ", ".join(f"{reproduction.count(verdict)} {verdict}" for verdict in get_args(Verdict))
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
        "Published": estimate_text(row.published, math.nan, math.nan, is_share),
        "Found": estimate_text(row.found, math.nan, math.nan, is_share),
        "Difference": estimate_text(found.mean, *found.interval(0.90), is_share, sign="+"),
        "Margin": number_text(scale * row.judgement.margin),
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

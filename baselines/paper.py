"""The paper's tables and other publications' numbers as data, and both beside ours."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean, variance
from typing import NamedTuple

import msgspec

from driftboard.baselines.published import published_records, published_sets
from driftboard.baselines.reproduction import LEAST_MARGIN
from driftboard.baselines.verdict import Difference, Judgement, judge
from driftboard.leaderboard.analysis.cells import METRICS, cell_of, matrix_of
from driftboard.leaderboard.analysis.statistics import mean_interval
from driftboard.leaderboard.formatting import NOTHING, estimate_text, interval_text
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.leaderboard.verification.rerun import Noise
from driftboard.suite.errors import DriftboardError, counted

STAND_INS = {
    "cifar10-split-full": "cifar10-split",
    "cifar100-overlap-50": "cifar10-overlap-50",
    "cub200-corrupted-3": "cifar10-corrupted-3",
    "mnist-permuted": "fashion-permuted",
}
"""For a sequence of the paper, one of ours of the same kind on other data, or on less of it."""

_DIFFERENCES = (
    "The paper's learning rate, epochs, batch size, threshold and modules per task are not known "
    "to us; ours are the protocol's, with 1,000 images and four epochs a task in core.",
    "The paper reports three runs with standard deviations; ours are means over new seeds with "
    "95 % intervals.",
    "What the paper calls frozen keeps part of the shared parameters; see "
    "docs/concepts/strategies.md for our reading.",
    "A stand-in is a sequence of the same kind on other data: its level says nothing of the "
    "paper's, only the order of the strategies can be held against it.",
    "The paper's rows do not satisfy Avg.Acc = Task.Acc - (M - 1)/M forgetting; see "
    "docs/results/literature.md.",
)
_OF_CLAIMS = (
    "The verdict speaks of the publication's claim, not of a re-run: seeds and code are others, "
    "and so may be settings that it does not name. Welch's test with its standard error; "
    "REPRODUCED: the 90 % interval of the difference lies within half a point, CONTRADICTED: the "
    "95 % interval lies wholly outside, with Holm's correction over these numbers, INCONCLUSIVE: "
    "neither."
)
_METRICS = {metric.name: metric for metric in METRICS["accuracy"]}

Key = tuple[str, str, str]  # sequence, strategy, metric


@dataclass(frozen=True)
class PaperValue:
    """One number of arXiv 2602.20796, in percent, under the name of our nearest sequence."""

    table: str  # I, II or III
    sequence: str
    strategy: str
    metric: str  # avg_acc, task_acc or forgetting
    mean: float
    deviation: float | None  # standard deviation over three runs, where it is known


@dataclass(frozen=True)
class LiteratureValue:
    """One number of another publication, in percent; text is empty where nothing is known.

    Without a standard error a number stands beside ours and is not judged.
    ``our_sequence`` is the sequence of ours that is closest to its setting, and ``our_strategy``
    our published strategy in its place, empty where none was run.
    """

    source: str
    sequence: str
    network: str
    optimiser: str
    iterations: str
    batch_size: str
    seeds: int
    selection: str  # of hyper-parameters
    strategy: str
    metric: str
    mean: float
    standard_error: float | None
    our_sequence: str
    our_strategy: str


class Ours(NamedTuple):
    """The published values of all seeds, as shares; ``diverged`` ones count as chance."""

    values: Sequence[float]
    diverged: int


def paper_values() -> tuple[PaperValue, ...]:
    """Return all numbers of the paper's Tables I to III that are known to us."""
    rows = [{**row, "deviation": row["deviation"] or None} for row in _rows("paper_tables.csv")]
    return msgspec.convert(rows, tuple[PaperValue, ...], strict=False)


def literature_values() -> tuple[LiteratureValue, ...]:
    """Return all numbers of the literature that are known to us, apart from the paper's."""
    rows = [
        {**row, "standard_error": row["standard_error"] or None} for row in _rows("literature.csv")
    ]
    return msgspec.convert(rows, tuple[LiteratureValue, ...], strict=False)


def _rows(file: str) -> list[dict[str, str]]:
    text = files("driftboard.baselines").joinpath(file).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def paper_comparison() -> str:
    """Return Markdown: Tables I to III with our published numbers, and the literature's.

    Raises:
        DriftboardError: nothing is published.
    """
    ours = _published_values()
    parts = ["# The paper's tables beside ours"]
    for table in ("I", "II", "III"):
        rows = [_row(value, ours) for value in paper_values() if value.table == table]
        table_text = markdown_table(rows, left=("Sequence", "Strategy", "Metric", "Stand-in"))
        parts += [f"## Table {table}", table_text]
    parts.append("## What differs\n\n" + "\n".join(f"- {line}" for line in _DIFFERENCES))
    values = literature_values()
    verdicts = literature_verdicts(values, ours)
    literature = [_literature_row(value, ours, verdicts.get(value)) for value in values]
    left = ("Sequence", "Strategy", "Our sequence", "Our strategy", "Verdict", "How", "Source")
    parts += ["## Other publications", markdown_table(literature, left), _OF_CLAIMS]
    return "\n\n".join(parts)


def literature_verdicts(
    values: Sequence[LiteratureValue], ours: Mapping[Key, Ours]
) -> dict[LiteratureValue, Judgement]:
    """Judge other publications' numbers together, where we have run their setting.

    Their seeds are others, so the difference is tested by Welch with their standard error, against
    a margin of half a point.
    """
    known = {
        value: value.standard_error
        for value in values
        if _key(value) in ours and value.standard_error is not None
    }
    differences = [_welch(value, error, ours[_key(value)].values) for value, error in known.items()]
    return dict(zip(known, judge(differences, [LEAST_MARGIN] * len(known)), strict=True))


def _key(value: LiteratureValue) -> Key:
    return value.our_sequence, value.our_strategy, value.metric


def _welch(value: LiteratureValue, error: float, ours: Sequence[float]) -> Difference:
    """Return ours minus theirs as a share, whose error, theirs in percent, is of both sides."""
    n = len(ours)
    parts = [
        ((error / 100.0) ** 2, value.seeds - 1),
        (variance(ours) / n, n - 1),
    ]
    both = math.sqrt(sum(part for part, _ in parts))
    freedom = both**4 / sum(part**2 / free for part, free in parts)
    mean = fmean(ours) - value.mean / 100.0
    return Difference(mean, 0.0, n, Noise(both, math.floor(freedom)), identical=False)


def _published_values() -> dict[Key, Ours]:
    """Return every published sequence, strategy and metric."""
    values: dict[Key, list[float]] = {}
    diverged: Counter[Key] = Counter()
    for name in published_sets():
        for record in published_records(name):
            found = cell_of(record, matrix_of(record)).metrics
            for metric in _METRICS:
                key = (record.sequence.name, record.strategy.name, metric)
                values.setdefault(key, []).append(found[metric])
                diverged[key] += record.status == "diverged"
    if not values:
        raise DriftboardError("no records are published with this version")
    return {key: Ours(found, diverged[key]) for key, found in values.items()}


def _row(value: PaperValue, ours: Mapping[Key, Ours]) -> dict[str, str]:
    stand_in = STAND_INS.get(value.sequence, "")
    deviation = "" if value.deviation is None else f" ± {value.deviation:.2f}"
    return {
        "Sequence": f"`{value.sequence}`",
        "Strategy": f"`{value.strategy}`",
        "Metric": _METRICS[value.metric].title,
        "Paper": f"{value.mean:.2f}{deviation}",
        "Ours": _text(value.metric, ours.get((value.sequence, value.strategy, value.metric))),
        "Stand-in": f"`{stand_in}`" if stand_in else NOTHING,
        "On the stand-in": _text(value.metric, ours.get((stand_in, value.strategy, value.metric))),
    }


def _literature_row(
    value: LiteratureValue, ours: Mapping[Key, Ours], found: Judgement | None
) -> dict[str, str]:
    names = ("network", "optimiser", "iterations", "batch_size", "seeds", "selection")
    error = "" if value.standard_error is None else f" ± {value.standard_error:.2f}"
    how = {name.replace("_", " "): getattr(value, name) for name in names}
    return {
        "Sequence": value.sequence,
        "Strategy": value.strategy,
        "Avg.Acc ± standard error": f"{value.mean:.2f}{error}",
        "Our sequence": f"`{value.our_sequence}`",
        "Our strategy": f"`{value.our_strategy}`" if value.our_strategy else NOTHING,
        "Ours": _text(value.metric, ours.get(_key(value))),
        "Ours minus theirs": NOTHING if found is None else _difference_text(found.difference),
        "Verdict": NOTHING if found is None else found.verdict,
        "How": "; ".join(f"{name}: {text}" for name, text in how.items() if text),
        "Source": value.source,
    }


def _text(metric: str, ours: Ours | None) -> str:
    if ours is None:
        return NOTHING
    low, high = _METRICS[metric].low, _METRICS[metric].high
    text = interval_text(mean_interval(ours.values, low, high), is_share=True)
    if ours.diverged:
        text += f", {ours.diverged} of {counted(len(ours.values), 'run')} diverged"
    return text


def _difference_text(found: Difference) -> str:
    return estimate_text(found.mean, *found.interval(0.90), is_share=True, sign="+")

"""The paper's tables beside ours, and what differs between the two."""

from driftboard.baselines.literature import LiteratureValue, literature_values
from driftboard.baselines.paper import PaperValue, paper_values
from driftboard.baselines.published import published_records, published_sets
from driftboard.leaderboard.analysis.cells import cell_of, matrix_of
from driftboard.leaderboard.analysis.metric import METRICS
from driftboard.leaderboard.analysis.statistics import Interval, mean_interval
from driftboard.leaderboard.render.layout import NOTHING, estimate_text
from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.suite.errors import DriftboardError

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
    "What the paper calls frozen keeps part of the shared parameters; see strategies/README.md "
    "for our reading.",
    "A stand-in is a sequence of the same kind on other data: its level says nothing of the "
    "paper's, only the order of the strategies can be held against it.",
    "The paper's rows do not satisfy Avg.Acc = Task.Acc - (M - 1)/M forgetting; see "
    "baselines/README.md.",
)

Key = tuple[str, str, str]  # sequence, strategy, metric


def paper_comparison() -> str:
    """Return Markdown: Tables I to III with our published numbers, and the literature's."""
    ours = _published_means()
    parts = ["# The paper's tables beside ours"]
    for table in ("I", "II", "III"):
        rows = [_row(value, ours) for value in paper_values() if value.table == table]
        parts += [f"## Table {table}", markdown_table(rows, left=_LEFT)]
    parts.append("## What differs\n\n" + "\n".join(f"- {line}" for line in _DIFFERENCES))
    literature = [_literature_row(value, ours) for value in literature_values()]
    parts += ["## Other publications", markdown_table(literature, left=_LITERATURE_LEFT)]
    return "\n\n".join(parts)


_LEFT = ("Sequence", "Strategy", "Metric", "Stand-in")
_LITERATURE_LEFT = ("Sequence", "Strategy", "Our sequence", "Our strategy", "How", "Source")
_METRICS = {metric.name: metric for metric in METRICS["accuracy"]}


def _published_means() -> dict[Key, Interval]:
    """Return the mean over seeds of every published sequence, strategy and metric.

    Raises:
        DriftboardError: nothing is published.
    """
    values: dict[Key, dict[int, float]] = {}
    for name in published_sets():
        for record in published_records(name):
            found = cell_of(record, matrix_of(record)).metrics
            for metric in _METRICS:
                key = (record.sequence.name, record.strategy.name, metric)
                values.setdefault(key, {})[record.seed] = found[metric]
    if not values:
        raise DriftboardError("no records are published with this version")
    return {
        key: mean_interval(list(by_seed.values()), _METRICS[key[2]].low, _METRICS[key[2]].high)
        for key, by_seed in values.items()
    }


def _row(value: PaperValue, ours: dict[Key, Interval]) -> dict[str, str]:
    stand_in = STAND_INS.get(value.sequence)
    deviation = "" if value.deviation is None else f" ± {value.deviation:.2f}"
    return {
        "Sequence": f"`{value.sequence}`",
        "Strategy": f"`{value.strategy}`",
        "Metric": _METRICS[value.metric].title,
        "Paper": f"{value.mean:.2f}{deviation}",
        "Ours": _text(ours.get((value.sequence, value.strategy, value.metric))),
        "Stand-in": NOTHING if stand_in is None else f"`{stand_in}`",
        "On the stand-in": _text(ours.get((stand_in or "", value.strategy, value.metric))),
    }


def _text(interval: Interval | None) -> str:
    if interval is None:
        return NOTHING
    return estimate_text(interval.mean, interval.low, interval.high, is_share=True)


def _literature_row(value: LiteratureValue, ours: dict[Key, Interval]) -> dict[str, str]:
    how = {
        "network": value.network,
        "optimiser": value.optimiser,
        "iterations": value.iterations,
        "batch size": value.batch_size,
        "seeds": value.seeds,
        "selection": value.selection,
    }
    return {
        "Sequence": value.sequence,
        "Strategy": value.strategy,
        "Avg.Acc ± standard error": f"{value.mean:.2f} ± {value.standard_error:.2f}",
        "Our sequence": f"`{value.our_sequence}`",
        "Our strategy": f"`{value.our_strategy}`" if value.our_strategy else NOTHING,
        "Ours": _text(ours.get((value.our_sequence, value.our_strategy, value.metric))),
        "How": "; ".join(f"{name}: {text}" for name, text in how.items() if text),
        "Source": value.source,
    }

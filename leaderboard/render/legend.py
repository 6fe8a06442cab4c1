"""What a reader must know of a board's numbers, in words that every format for people prints.

Texts are our own and mark code by backticks; what comes from elsewhere stands apart as ``quoted``,
for the format to make harmless.
"""

from dataclasses import dataclass
from importlib.metadata import version

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.collect import Collection, Measure
from driftboard.leaderboard.render.layout import CROSSING, TIED_BEST

_METRIC_WORDS: dict[Measure, str] = {
    "accuracy": "Avg.Acc, the accuracy over all tasks after the last one; Forgetting, accuracy "
    "right after a task minus accuracy at the end (lower is better); Task.Acc, accuracy right "
    "after each task. All in percent.",
    "excess-loss": "Excess loss: expected loss less that of the true parameters; lower is "
    "better throughout. Avg.Loss, over all tasks after the last one; Forgetting, loss at the end "
    "minus loss right after a task; Task.Loss, right after each task.",
}
_DIVERGED_WORDS: dict[Measure, str] = {
    "accuracy": "From then on such a run counts with the accuracy of chance.",
    "excess-loss": "Such a run counts with the losses in its record.",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of the legend: a term, what it means, and text from elsewhere."""

    term: str
    text: str
    quoted: str = ""


def caveats(collection: Collection) -> str:
    """Return the sentences, each after a space, on what keeps records from being published."""
    text = ""
    if collection.split == "validation":
        text += " **Validation data: for tuning, not for publication.**"
    if collection.skipped:
        text += f" Broken records left out: {len(collection.skipped)}."
    return text


def legend(board: Board, command: str) -> list[Point]:
    """Return the legend; ``command`` is what a reader types to make the board again."""
    return [*_statistics(board), *_columns(board), *_grades(board), *_origin(board, command)]


def _statistics(board: Board) -> list[Point]:
    first = board.metrics[0]
    unit = "in points of percent" if first.is_share else "in the same unit"
    return [
        Point(
            "Estimand",
            "the mean over new seeds on these sequences, not over other sequences. For "
            "the overall table each seed is first averaged over the sequences.",
        ),
        Point("Metrics", _METRIC_WORDS[board.source.measure]),
        Point(
            "`[low, high]`",
            "95 % interval over seeds, Student t, clipped to the possible range; no "
            "interval with one seed.",
        ),
        Point(
            "`Δ`",
            f"difference from `{board.reference}` on the same seeds {unit}, with its paired "
            f"95 % t interval; `r`: correlation of {first.title} with the reference over these "
            "seeds.",
        ),
        Point(
            "`*`",
            "p < .05, paired t test with Holm's correction over the ranked strategies compared "
            f"on that metric within that table; `p`: that corrected p-value for {first.title}. "
            "Bounds and incomplete strategies are not tested.",
        ),
        Point("`#`", f"rank by mean {first.title}; neighbours need not differ significantly."),
        Point(
            "Ranks",
            "the ranks that are possible: 1 + the number of significantly better strategies, to "
            "the number of strategies less the significantly worse ones, by paired t tests of all "
            "pairs with Holm's correction. All true ranks lie in their sets together in 95 % of "
            f"cases. `{TIED_BEST}`: tied for best, none is significantly better.",
        ),
    ]


def _columns(board: Board) -> list[Point]:
    return [
        Point(
            "Diverged",
            "seeds with at least one diverged run, and the exact (Clopper-Pearson) 95 % interval "
            f"of their share in percent. {_DIVERGED_WORDS[board.source.measure]}",
        ),
        Point(
            "Step",
            "the norm of a task's update of all blocks before the head, relative to that of "
            "the solution it leads to; mean over the tasks after the first. Drift: the distance of "
            "the final blocks before the head from the first task's solution, relative to its "
            "norm. Means over records.",
        ),
        Point(
            "Memory",
            "the most that the strategy carries over between tasks. Time: training time "
            f"relative to `{board.reference}` on the cells that both have from the same kind of "
            "device.",
        ),
        Point(
            "Evidence",
            "`published`: records that come with driftboard; `records checked`, `spot re-run`, "
            "`fully re-run`: how far `driftboard verify` has gone with a submission; nothing: no "
            "check is known.",
        ),
        Point("Notes", _flag_words(board)),
        Point("Incomplete", "cells that another strategy has are missing; they are not imputed."),
    ]


def _flag_words(board: Board) -> str:
    text = "`n < 5`: too few seeds to trust the interval"
    if any(metric.has_ceiling for metric in board.metrics):
        text += (
            "; `ceiling`: a mean accuracy of at least 99.5 % or a seed at 100 %, where the "
            "interval is too narrow"
        )
    return f"{text}."


def _grades(board: Board) -> list[Point]:
    if not board.strata:
        return []
    return [
        Point(
            "Distance",
            "the measured parameter distance of consecutive tasks, with its 95 % jackknife "
            "interval over seeds: 0 for the same task, 2 for unrelated ones. Grade: near, medium "
            f"or far by the cut-offs of the grading. `{CROSSING}`: the interval contains a "
            "cut-off, new seeds might give another grade. Each grade's table is made as the "
            "overall one.",
        )
    ]


def _origin(board: Board, command: str) -> list[Point]:
    protocol = board.source.protocol
    versions = "; ".join(f"{name} {', '.join(of)}" for name, of in board.source.versions.items())
    made_with = f"driftboard {version('driftboard')}, scipy {version('scipy')}."
    return [
        Point(
            "Protocol",
            f"`{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        ),
        Point("Records made with", "", versions),
        Point("Table made with", made_with),
        Point("Command", "", command),
    ]

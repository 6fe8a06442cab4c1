"""The registry of the board's columns: a new column is one entry at the end of ``COLUMNS``.

CONTRIBUTING.md lists what else changes: tests that count columns, and the published tables.

An entry says all there is to know of a column: its names and raw numbers in the CSV file, its
heading, text and place in the tables for people, and what the legend says of it. The order of the
entries is that of the CSV file. Its columns are a promise, so new ones come at the end.
"""

import math
from collections.abc import Mapping

from driftboard.leaderboard.analysis.cells import Measure
from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference
from driftboard.leaderboard.column import Column, Line, Value
from driftboard.leaderboard.formatting import (
    CROSSING,
    LOW_RELIABILITY,
    MAY_BE_BEST,
    NOTHING,
    bytes_text,
    difference_text,
    divergence_text,
    interval_text,
    notes_text,
    number_text,
    of_finished_text,
    p_text,
    rank_set_text,
)

_METRICS: Mapping[Measure, str] = {
    "accuracy": "Avg.Acc, the accuracy over all tasks after the last one; Forgetting, accuracy "
    "right after a task minus accuracy at the end (lower is better); Task.Acc, accuracy right "
    "after each task. All in percent.",
    "excess-loss": "Excess loss: expected loss less that of the true parameters; lower is "
    "better throughout. Avg.Loss, over all tasks after the last one; Forgetting, loss at the end "
    "minus loss right after a task; Task.Loss, right after each task.",
}
_DIVERGED: Mapping[Measure, str] = {
    "accuracy": "From then on such a run counts with the accuracy of chance.",
    "excess-loss": "Such a run counts with the losses in its record.",
}
_FLAGS: Mapping[Measure, str] = {
    "accuracy": "`n < 5`: too few seeds to trust the interval; `ceiling`: a mean accuracy of at "
    "least 99.5 % or a seed at 100 %, where the interval is too narrow.",
    "excess-loss": "`n < 5`: too few seeds to trust the interval.",
}


def _interval(found: Interval) -> tuple[Value, ...]:
    return found.mean, found.low, found.high


def _change(found: PairedDifference | None) -> tuple[Value, ...]:
    """Return the numbers of a difference, none of the reference's."""
    return (None, None, None) if found is None else (found.mean, found.low, found.high)


def _distance(line: Line) -> tuple[Value, ...]:
    grade = line.section.grade
    if grade is None:
        return None, None, None, None
    return grade.distance.value, grade.distance.low, grade.distance.high, grade.level


def _rank_set(line: Line) -> tuple[Value, ...]:
    ranks = line.row.rank_set
    if ranks is None:
        return None, None, None
    return ranks.best, ranks.worst, int(line.row.may_be_best)


COLUMNS = (
    Column(
        keys=("sequence",),
        values=lambda line: (line.section.name,),
        change=lambda contrast: (f"change:{contrast.nearer}:{contrast.farther}",),
    ),
    Column(keys=("tier",), values=lambda line: (line.section.tier,)),
    Column(
        keys=("strategy",),
        values=lambda line: (line.row.strategy,),
        change=lambda contrast: (contrast.strategy,),
        title="Strategy",
        kind="name",
        text=lambda line: line.row.strategy,
        mark=lambda line: line.row.letters.replace(" ", ""),
        places={"full": 3, "brief": 2, "print": 2, "narrow": 1, "sequences": 1, "page": 2},
    ),
    Column(keys=("role",), values=lambda line: (line.row.role,), change=lambda _: ("ranked",)),
    Column(
        keys=("metric",),
        values=lambda line: (line.score.metric.name,),
        change=lambda contrast: (contrast.metric.name,),
    ),
    Column(
        keys=("mean",),
        values=lambda line: (line.score.interval.mean,),
        title="{metric}",
        text=lambda line: interval_text(line.score.interval, line.score.metric.is_share),
        places={"full": 4, "brief": 3, "print": 3, "narrow": 2, "page": 3},
        others={"full": 4, "brief": 6, "print": 6, "narrow": 4, "page": 3},
        legend=1,
        term="Metrics",
        explanation=lambda board: _METRICS[board.source.measure],
    ),
    Column(
        keys=("low", "high"),
        values=lambda line: _interval(line.score.interval)[1:],
        legend=2,
        term="`[low, high]`",
        explanation="95 % interval over seeds, Student t, clipped to the possible range; no "
        "interval with one seed. It holds the test images fixed: another test set may give "
        "other means.",
    ),
    Column(
        keys=("n",),
        values=lambda line: (line.score.interval.n,),
        change=lambda contrast: (contrast.change.n,),
    ),
    Column(
        keys=("difference", "difference_low", "difference_high"),
        values=lambda line: _change(line.score.difference),
        change=lambda contrast: _change(contrast.change),
        title="Δ {metric}",
        text=lambda line: difference_text(
            line.score.difference, line.score.metric.is_share, line.score.is_significant
        ),
        number=lambda line: _change(line.score.difference)[0] or 0.0,
        places={"full": 4, "brief": 4, "print": 4, "narrow": 3, "page": 3},
        others={"full": 4},
        legend=3,
        term="`Δ`",
        explanation=lambda board: (
            f"difference from `{board.reference}` on the same seeds "
            f"{'in points of percent' if board.metrics[0].is_share else 'in the same unit'}, "
            "with its paired 95 % t interval"
        ),
    ),
    Column(
        keys=("p", "p_holm"),
        values=lambda line: (getattr(line.score.difference, "p", None), line.score.p_holm),
        change=lambda contrast: (contrast.change.p, contrast.p_holm),
        title="p",
        text=lambda line: p_text(line.score.p_holm),
        number=lambda line: line.score.p_holm,
        places={"full": 5, "brief": 5, "print": 5},
        legend=5,
        term="`*`",
        explanation=lambda board: (
            "p < .05, paired t test with Holm's correction over the ranked strategies compared "
            "on that metric within that table; `p`: that corrected p-value for "
            f"{board.metrics[0].title}. Bounds and incomplete strategies are not tested."
        ),
    ),
    Column(
        keys=("correlation",),
        values=lambda line: (getattr(line.score.difference, "correlation", None),),
        change=lambda contrast: (contrast.change.correlation,),
        title="r",
        text=lambda line: number_text(getattr(line.score.difference, "correlation", math.nan)),
        places={"full": 6},
        legend=4,
        term="`r`",
        joined="; ",
        explanation=lambda board: (
            f"correlation of {board.metrics[0].title} with the reference over these seeds."
        ),
    ),
    Column(
        title="Seeds",
        kind="count",
        text=lambda line: str(line.row.divergence.n),
        number=lambda line: line.row.divergence.n,
        mark=lambda line: f"{line.row.diverged}†" if line.row.diverged else "",
        places={"full": 7, "print": 8},
    ),
    Column(
        keys=("diverged",),
        values=lambda line: (line.row.diverged,),
        title="Diverged",
        text=lambda line: divergence_text(line.row),
        number=lambda line: line.row.divergence.mean,
        places={"full": 8},
        legend=8,
        explanation=lambda board: (
            "seeds with at least one diverged run, and the exact (Clopper-Pearson) 95 % interval "
            f"of their share in percent. {_DIVERGED[board.source.measure]}"
        ),
    ),
    Column(
        keys=("missing",),
        values=lambda line: (line.row.missing,),
        legend=15,
        term="Incomplete",
        explanation="cells that another strategy has are missing; they are not imputed.",
    ),
    Column(
        keys=("rank",),
        values=lambda line: (line.row.rank,),
        title="#",
        kind="count",
        text=lambda line: NOTHING if line.row.rank is None else str(line.row.rank),
        places={"full": 1},
        legend=6,
        term="`#`",
        explanation=lambda board: (
            f"rank by mean {board.metrics[0].title}; neighbours need not differ significantly."
        ),
    ),
    Column(
        keys=("flags",),
        values=lambda line: (";".join(line.score.flags),),
        title="Notes",
        kind="words",
        text=lambda line: notes_text(line.row),
        places={"full": 14, "brief": 7},
        legend=14,
        explanation=lambda board: _FLAGS[board.source.measure],
    ),
    Column(
        keys=("step",),
        values=lambda line: (line.row.step,),
        title="Step",
        text=lambda line: of_finished_text(line.row, number_text(line.row.step, digits=3)),
        places={"full": 9},
        legend=9,
        explanation="the norm of a task's update of all blocks before the head, relative to that "
        "of the solution it leads to; mean over the tasks after the first.",
    ),
    Column(
        keys=("drift",),
        values=lambda line: (line.row.drift,),
        title="Drift",
        text=lambda line: of_finished_text(line.row, number_text(line.row.drift, digits=3)),
        places={"full": 10, "print": 7, "page": 4},
        legend=10,
        joined=" ",
        explanation="the distance of the final blocks before the head from the first task's "
        "solution, relative to its norm. Step, Drift, Memory and Compute are of finished runs "
        "only; `(28/30)`: of 28 of 30 runs, the others diverged.",
    ),
    Column(
        keys=("distance", "distance_low", "distance_high", "grade"),
        values=_distance,
        legend=16,
        term="Distance",
        explanation=lambda board: (
            "the measured parameter distance of consecutive tasks, with its 95 % jackknife "
            "interval over seeds: 0 for the same task, 2 for unrelated ones. Grade: near, medium "
            f"or far by the cut-offs of the grading. `{CROSSING}`: the interval contains a "
            f"cut-off, new seeds might give another grade. `{LOW_RELIABILITY}`: low reliability, "
            "the solutions from two parts of a task's images have little in common. Each grade's "
            "table is made as the overall one."
            if board.strata
            else ""
        ),
    ),
    Column(
        keys=("rank_low", "rank_high", "tied_best"),
        values=_rank_set,
        title="Ranks",
        kind="count",
        text=lambda line: rank_set_text(line.row.rank_set, line.row.may_be_best),
        places={"full": 2, "brief": 1, "print": 1, "page": 1},
        legend=7,
        explanation="the ranks that are possible: 1 + the number of significantly better "
        "strategies, to the number of strategies less the significantly worse ones, by paired t "
        "tests of all pairs with Holm's correction. All true ranks lie in their sets together in "
        f"95 % of cases. `{MAY_BE_BEST}`: not ruled out as best, because none is significantly "
        "better, neither in these tests nor in those against the reference; no mark where that "
        "holds for all ranked strategies of a table.",
    ),
    Column(keys=("letters",), values=lambda line: (line.row.letters,)),
    Column(
        keys=("diverged_low", "diverged_high"),
        values=lambda line: _interval(line.row.divergence)[1:],
    ),
    Column(
        keys=("memory_bytes",),
        values=lambda line: (line.row.memory_bytes,),
        title="Memory",
        text=lambda line: of_finished_text(line.row, bytes_text(line.row.memory_bytes)),
        places={"full": 11, "narrow": 5, "page": 5},
        legend=11,
        explanation="the most that the strategy carries over between tasks.",
    ),
    Column(
        keys=("sequences", "sequences_low", "sequences_high"),
        values=lambda line: (
            line.score.over_sequences.n,
            *_interval(line.score.over_sequences)[1:],
        ),
        title="{metric}",
        text=lambda line: interval_text(line.score.over_sequences, line.score.metric.is_share),
        number=lambda line: line.score.over_sequences.mean,
        places={"sequences": 2},
        others={"sequences": 2},
    ),
    Column(
        keys=("sequences_difference_low", "sequences_difference_high"),
        values=lambda line: _change(line.score.difference_over_sequences)[1:],
        title="Δ {metric}",
        text=lambda line: difference_text(
            line.score.difference_over_sequences, line.score.metric.is_share
        ),
        number=lambda line: _change(line.score.difference_over_sequences)[0] or 0.0,
        places={"sequences": 2},
        others={"sequences": 2},
    ),
    Column(
        keys=("evidence",),
        values=lambda line: (line.row.evidence,),
        title="Evidence",
        kind="words",
        text=lambda line: line.row.evidence or NOTHING,
        places={"full": 13},
        legend=13,
        explanation="`published`: records that come with driftboard; `records checked`, `spot "
        "re-run`, `fully re-run`: how far `driftboard verify` has gone with a submission; "
        "nothing: no check is known.",
    ),
    Column(
        keys=("max_forgetting", "max_forgetting_low", "max_forgetting_high"),
        of_row=True,
        values=lambda line: _interval(line.row.average("max_forgetting", -1.0, 1.0)),
        title="Max.Forgetting",  # in no table yet, they are wide enough
        explanation="the largest accuracy on a task after any task before the last one, minus "
        "that at the end; mean over the tasks but the last.",
    ),
    Column(
        keys=("compute", "compute_runs"),
        values=lambda line: (line.row.compute, line.row.compute_runs),
        title="Compute",
        text=lambda line: of_finished_text(
            line.row, number_text(line.row.compute, unit="x"), line.row.compute_runs
        ),
        places={"full": 12, "narrow": 6, "page": 6},
        legend=12,
        joined=" ",
        explanation=lambda board: (
            f"floating-point operations of training relative to `{board.reference}`, on the runs "
            "that both have; empty where one was not counted."
        ),
    ),
    Column(
        keys=("finished", "diverged_runs", "finished_mean", "finished_difference"),
        values=lambda line: (
            len(line.row.finished),
            line.row.diverged_runs,
            line.score.finished_mean,
            line.score.finished_difference,
        ),
    ),
    Column(keys=("near_chance",), values=lambda line: (line.row.near_chance,)),
    Column(
        keys=("reliability",),
        values=lambda line: (getattr(line.section.grade, "reliability", None),),
    ),
    Column(
        keys=("incremental_accuracy", "incremental_accuracy_low", "incremental_accuracy_high"),
        of_row=True,
        values=lambda line: _interval(line.row.average("incremental_accuracy", 0.0, 1.0)),
        title="Inc.Acc",  # in no table yet, they are wide enough
        explanation="the accuracy over the tasks so far, mean over all tasks.",
    ),
    Column(
        keys=("track",),
        of_row=True,
        values=lambda line: (line.row.track,),
        title="Stores",
        kind="words",
        text=lambda line: line.row.track if line.row.role == "ranked" else NOTHING,
        places={"full": 11, "page": 5},
        legend=17,
        explanation="what the strategy carries over between tasks: nothing, parameters or other "
        "numbers, or examples, with the most images that it keeps. Strategies with stored examples "
        "are ranked, and their tests corrected, among those that keep as many.",
    ),
    Column(
        keys=("forward_transfer", "forward_transfer_low", "forward_transfer_high"),
        of_row=True,
        values=lambda line: _interval(line.row.average("forward_transfer", -1.0, 1.0)),
        title="Forward.Transfer",  # in no table yet, they are wide enough
        explanation="the accuracy on a task just before its training minus that of the untrained "
        "network; mean over the tasks after the first.",
    ),
    Column(
        keys=("shift_new", "shift_old"),
        of_row=True,
        values=lambda line: (line.row.shift_new, line.row.shift_old),
        title="Output shift",  # in no table yet, they are wide enough
        explanation="how far a task moves the outputs, on its own test images and on those of "
        "earlier tasks: the Kullback-Leibler divergence of the new outputs from the old ones in "
        "nats, mean over the tasks after the first, of finished runs only; empty where records "
        "do not tell.",
    ),
)
"""Every column, in the order of the CSV file; new ones at the end."""

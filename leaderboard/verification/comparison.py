"""Are the results plausible beside those of other strategies, and beside guessing?"""

import statistics
from collections.abc import Mapping

from driftboard.leaderboard.analysis.cells import matrix_of
from driftboard.leaderboard.analysis.statistics import paired_difference
from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.machine import same_machine
from driftboard.leaderboard.verification.material import Material, cell_name
from driftboard.suite.errors import counted
from driftboard.suite.metrics import average_accuracy
from driftboard.suite.records import AnyRecord, Record

CEILING = "joint"
ROUNDING_SHARE = 0.01
"""Of the test images: how far the same initial network's answers may differ across machines."""


def check_untrained(material: Material) -> Finding:
    """The untrained network answers as that of every other strategy: all share it, per seed."""
    wrong: list[str] = []
    rounded: list[str] = []
    compared = 0
    for record in material.records:
        for other in material.others.get((record.sequence.name, record.seed), ()):
            compared += 1
            if _untrained(record) == _untrained(other):
                continue
            name = f"{cell_name(record)} ({other.strategy.name})"
            (rounded if _may_round(record, other) else wrong).append(name)
            break
    if wrong:
        found = f"the untrained network is not that of other strategies: {some(wrong)}"
        return Finding("FAILED", "untrained", found, "run them with the protocol's own seeds")
    if rounded:
        found = f"the untrained network answers a few images otherwise: {some(rounded)}"
        return Finding("warning", "untrained", found, "fine on another device or version of torch")
    if not compared:
        return Finding("ok", "untrained", "nothing to compare with; --against RESULTS gives it")
    return Finding("ok", "untrained", f"as in {counted(compared, 'cell')} of other strategies")


def _untrained(record: AnyRecord) -> tuple[float, ...]:
    return record.correct_untrained if isinstance(record, Record) else record.losses_untrained


def _may_round(record: AnyRecord, other: AnyRecord) -> bool:
    """Tell whether another device or version can be why the two untrained networks differ."""
    if same_machine(record.environment, other.environment):
        return False
    mine, theirs = _untrained(record), _untrained(other)
    sizes = record.test_sizes if isinstance(record, Record) else mine
    return len(mine) == len(theirs) and all(
        abs(a - b) <= ROUNDING_SHARE * size for a, b, size in zip(mine, theirs, sizes, strict=True)
    )


def check_learning(material: Material) -> Finding:
    """Somewhere a task is answered better than by guessing, right after it was trained."""
    if not material.counted:
        return Finding("ok", "learning", "nothing to test")
    gains = [
        statistics.fmean(
            record.correct[task][task] / record.test_sizes[task] - 1.0 / record.classes[task]
            for task in range(record.tasks)
        )
        for record in material.counted
    ]
    best = max(gains)
    if best <= 0.0:
        found = "no cell is better than guessing right after training"
        return Finding("warning", "learning", found, "look at the learning rate")
    mean = 100 * statistics.fmean(gains)
    return Finding("ok", "learning", f"{mean:.1f} points above guessing right after training")


def check_above_joint(material: Material) -> Finding:
    """Nothing is better than training on all tasks at once, unless a remark says why.

    On each sequence the paired interval of Avg.Acc over seeds is taken at 95 % over all of
    them together (Bonferroni).
    """
    bounds: dict[str, dict[int, float]] = {}
    for other in material.against:
        if isinstance(other, Record) and other.strategy.name == CEILING:
            bounds.setdefault(other.sequence.name, {})[other.seed] = _avg_acc(other)
    compared = {
        name: ({record.seed: _avg_acc(record) for record in records}, bounds[name])
        for name, records in material.counted_by_sequence.items()
        if name in bounds
    }
    if not compared:
        return Finding("ok", "above joint", f"no results of '{CEILING}' to compare with")
    above = _above(compared)
    if not above:
        return Finding("ok", "above joint", f"on none of {counted(len(compared), 'sequence')}")
    found = f"better than joint training: {some(above)}"
    if material.submission.remarks:
        return Finding("ok", "above joint", f"{found}; see the remarks")
    return Finding("warning", "above joint", found, "say why with --remark")


def _above(compared: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]) -> list[str]:
    confidence = 1.0 - 0.05 / len(compared)
    differences = {name: paired_difference(*pair, confidence) for name, pair in compared.items()}
    return [
        f"{name} (by {100 * one.mean:.1f} points)"
        for name, one in differences.items()
        if one.low > 0.0
    ]


def _avg_acc(record: Record) -> float:
    return average_accuracy(matrix_of(record))

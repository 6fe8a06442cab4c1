"""Do the numbers of each record agree with each other and with what is known of its sequence?"""

import math
from typing import Any

from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.material import AGAIN, Material, cell_name
from driftboard.suite.errors import counted
from driftboard.suite.records import AnyRecord, Record
from driftboard.suite.sequences.registry import registered

LONGEST_SECONDS = 366 * 24 * 3600.0  # of training, for one cell
NORM_TOLERANCE = 1e-6
"""Of the largest norm involved; parameters are float32, norms of their differences float64."""


def chance(record: Record) -> tuple[int, ...]:
    """Return the right answers of a guess on every task, as a diverged record counts them."""
    pairs = zip(record.test_sizes, record.classes, strict=True)
    return tuple(round(size / classes) for size, classes in pairs)


def check_divergence(material: Material) -> Finding:
    """From where a record diverged, its counts are those of chance and its norms zero."""
    diverged = [record for record in material.records if record.diverged_at is not None]
    wrong = [cell_name(record) for record in diverged if not _is_as_diverged(record)]
    if wrong:
        found = f"diverged, but not counted as chance from there on: {some(wrong)}"
        return Finding("FAILED", "divergence", found, AGAIN)
    return Finding("ok", "divergence", f"{len(diverged)} of {len(material.records)} cells diverged")


def _is_as_diverged(record: AnyRecord) -> bool:
    start = record.diverged_at or 0
    if isinstance(record, Record):
        norms = (record.update_norms, record.solution_norms, record.drift_norms)
        still = not any(value for part in norms for row in part[start:] for value in row)
        return still and all(row == chance(record) for row in record.correct[start:])
    return record.losses[start] == record.losses_untrained


def check_test_sets(material: Material) -> Finding:
    """Test images and classes are as the registry says, where it does, and as others had them."""
    known = registered()
    wrong = []
    for counts in material.counted:
        sequence = known.get(counts.sequence.name)
        each = sequence.test_per_class if sequence else None
        sizes = zip(counts.test_sizes, counts.classes, strict=True)
        if each and any(size != each * classes for size, classes in sizes):
            wrong.append(f"{cell_name(counts)} ({each} images a class)")
    for record in material.records:
        others = material.others.get((record.sequence.name, record.seed), ())
        wrong += [
            f"{cell_name(record)} (not as {other.strategy.name} had them)"
            for other in others[:1]
            if _test_set(record) != _test_set(other)
        ]
    if wrong:
        found = f"other test images, classes or data than the sequence has: {some(wrong)}"
        return Finding("FAILED", "test sets", found, "run them on the data that the protocol names")
    return Finding("ok", "test sets", "as the sequences have them")


def _test_set(record: AnyRecord) -> tuple[Any, ...]:
    own = (record.test_sizes, record.classes) if isinstance(record, Record) else (record.draws,)
    return (record.sequence.hash, record.sequence.data_hash, *own)


def check_norms(material: Material) -> list[Finding]:
    """Norms are those of one path through parameter space, and only what moved answers anew.

    With u the update of a task, s the solution's norm and d the drift from the first solution:
    d is 0 after the first task and u after the second; d and s change by at most u from one task
    to the next; s differs from the first solution's norm by at most d. A network of which no
    block moved gives the same answers as before. A block of share 0 that did not restart stays,
    unless the strategy's own ``finish`` moves it, which is only worth a warning.
    """
    broken = [f"{cell_name(one)} ({why})" for one in material.records if (why := _broken_path(one))]
    moved = [cell_name(one) for one in material.records if _moves_frozen_blocks(one)]
    findings = []
    if broken:
        found = f"norms that no training has: {some(broken)}"
        findings.append(Finding("FAILED", "norms", found, AGAIN))
    if moved:
        found = f"blocks of share 0 moved in {counted(len(moved), 'cell')}: {some(moved)}"
        advice = "fine if the strategy's finish() moves them"
        findings.append(Finding("warning", "norms", found, advice))
    return findings or [Finding("ok", "norms", "those of a path through parameter space")]


def _last_finite(record: AnyRecord) -> int:
    return record.tasks if record.diverged_at is None else record.diverged_at


def _broken_path(record: AnyRecord) -> str | None:
    """Return what is wrong with a record's norms."""
    update, solution, drift = record.update_norms, record.solution_norms, record.drift_norms
    rows = range(1, _last_finite(record))
    if not all(
        math.isfinite(value) for part in (update, solution, drift) for row in part for value in row
    ):
        return "not finite"
    if any(drift[0]):
        return "drift after the first task"
    for task in rows:
        for block in range(len(drift[0])):
            u, d = update[task][block], drift[task][block]
            size = max(u, d, solution[task][block], solution[0][block], drift[task - 1][block])
            slack = NORM_TOLERANCE * size
            if task == 1 and abs(d - u) > slack:
                return "after the second task drift is not the update"
            if abs(d - drift[task - 1][block]) > u + slack:
                return "drift changes by more than the update"
            if abs(solution[task][block] - solution[task - 1][block]) > u + slack:
                return "the solution changes by more than the update"
            if abs(solution[task][block] - solution[0][block]) > d + slack:
                return "the solution is farther from the first than its drift"
        if not any(update[task]) and not _answers_alike(record, task):
            return "nothing moved, but the answers changed"
    return None


def _answers_alike(record: AnyRecord, task: int) -> bool:
    """Tell whether the answers after a task are those of before; losses up to rounding."""
    if isinstance(record, Record):
        return record.correct[task] == record.correct[task - 1]
    return all(
        math.isclose(a, b, rel_tol=NORM_TOLERANCE)
        for a, b in zip(record.losses[task], record.losses[task - 1], strict=True)
    )


def _moves_frozen_blocks(record: AnyRecord) -> bool:
    return any(
        share == 0.0 and not restart and moved > 0.0
        for plan, row in zip(record.plans, record.update_norms, strict=True)
        for share, restart, moved in zip(plan.share, plan.restart, row, strict=True)
    )


def check_cost(material: Material) -> Finding:
    """Every cell took time and memory."""
    free = [
        cell_name(record)
        for record in material.records
        if not 0.0 < sum(record.cost.seconds) < LONGEST_SECONDS
        or record.cost.peak_memory_bytes == 0
    ]
    if free:
        found = f"no time, no memory or more than a year was used: {some(free)}"
        return Finding("FAILED", "cost", found, AGAIN)
    seconds = sum(second for one in material.records for second in one.cost.seconds)
    return Finding("ok", "cost", f"{seconds:.0f} seconds of training in all")

"""Do the numbers of each record agree with each other and with what is known of its sequence?"""

import math
from collections.abc import Iterator, Sequence
from operator import le
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray
from scipy.special import gammainc

from driftboard.leaderboard.verification.report import AGAIN, Finding, shorten
from driftboard.leaderboard.verification.submission import SubmissionData, cell_name
from driftboard.suite.errors import counted
from driftboard.suite.metrics import chance_counts
from driftboard.suite.records import AnyRecord, Record
from driftboard.suite.sequences.registry import registered

LONGEST_SECONDS = 366 * 24 * 3600.0  # of training, for one cell
NORM_TOLERANCE = 1e-6
"""A share of the largest norm: parameters are float32, norms of their differences float64."""

MOST_PASSED = 1000.0
"""The part of a gradient beyond which what passes is a training that one step would lead astray."""

SHARE_ROUNDING = 5e-7
"""Shares in records have six digits."""

LEAST = 0.25
LEVEL = 1e-6
SMALLEST_EXPECTED = 10.0
"""Below this sum of v counts are at the floor or the ceiling and say too little."""


def check_divergence(data: SubmissionData) -> Finding:
    """From where a record diverged, its counts are those of chance and its norms zero."""
    diverged = [record for record in data.records if record.diverged_at is not None]
    wrong = [cell_name(record) for record in diverged if not _is_as_diverged(record)]
    if wrong:
        found = f"diverged, but not counted as chance from there on: {shorten(wrong)}"
        return Finding("FAILED", "divergence", found, AGAIN)
    return Finding("ok", "divergence", f"{len(diverged)} of {len(data.records)} cells diverged")


def _is_as_diverged(record: AnyRecord) -> bool:
    start = record.diverged_at or 0
    if isinstance(record, Record):
        norms = (record.update_norms, record.solution_norms, record.drift_norms)
        still = not any(value for part in norms for row in part[start:] for value in row)
        return still and record.correct[start:] == _chance(record)[start:]
    return record.losses[start] == record.losses_untrained


def _chance(record: Record) -> tuple[tuple[int, ...], ...]:
    return chance_counts(record.test_sizes, record.classes, record.seen or None)


def check_test_sets(data: SubmissionData) -> Finding:
    """Test images and classes are as the registry says, where it does, and as others had them."""
    known = registered()
    wrong = []
    for counts in data.counted:
        sequence = known.get(counts.sequence.name)
        each = sequence.test_per_class if sequence else None
        sizes = zip(counts.test_sizes, counts.classes, strict=True)
        if each and any(size != each * classes for size, classes in sizes):
            wrong.append(f"{cell_name(counts)} ({each} images a class)")
    for record in data.records:
        others = data.others.get((record.sequence.name, record.seed), ())
        wrong += [
            f"{cell_name(record)} (not as {other.strategy.name} had them)"
            for other in others[:1]
            if _test_set(record) != _test_set(other)
        ]
    if wrong:
        found = f"other test images, classes or data than the sequence has: {shorten(wrong)}"
        return Finding("FAILED", "test sets", found, "run them on the data that the protocol names")
    return Finding("ok", "test sets", "as the sequences have them")


def _test_set(record: AnyRecord) -> tuple[Any, ...]:
    own = (
        (record.test_sizes, record.classes, record.seen)
        if isinstance(record, Record)
        else (record.draws,)
    )
    return (record.sequence.hash, record.sequence.data_hash, *own)


def check_norms(data: SubmissionData) -> list[Finding]:
    """Norms are those of one path through parameter space, and only what moved answers anew.

    With u the update of a task, s the solution's norm and d the drift from the first solution:
    d is 0 after the first task and u after the second; d and s change by at most u from one task
    to the next; s differs from the first solution's norm by at most d. A network of which no
    block moved gives the same answers as before. A block of share 0 that did not restart stays,
    unless the strategy's own ``finish`` moves it, which is only worth a warning.
    """
    broken = [f"{cell_name(one)} ({why})" for one in data.records if (why := _broken_path(one))]
    moved = [cell_name(one) for one in data.records if _moves_frozen_blocks(one)]
    findings = []
    if broken:
        found = f"norms that no training has: {shorten(broken)}"
        findings.append(Finding("FAILED", "norms", found, AGAIN))
    if moved:
        found = f"blocks of share 0 moved in {counted(len(moved), 'cell')}: {shorten(moved)}"
        advice = "fine if the strategy's finish() moves them"
        findings.append(Finding("warning", "norms", found, advice))
    return findings or [Finding("ok", "norms", "those of a path through parameter space")]


def _broken_path(record: AnyRecord) -> str | None:
    """Return what is wrong with a record's norms."""
    update, solution, drift = record.update_norms, record.solution_norms, record.drift_norms
    rows = range(1, record.tasks if record.diverged_at is None else record.diverged_at)
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
        if not any(update[task]) and not _may_stand_still(record, task):
            return "nothing moved, but the answers changed"
    return None


def _may_stand_still(record: AnyRecord, task: int) -> bool:
    """Return whether the answers after a task are those before it; losses up to rounding.

    Where classes were seen for the first time, on earlier tasks only right answers may be lost.
    """
    if isinstance(record, Record):
        now, before = record.correct[task], record.correct[task - 1]
        if record.seen and record.seen[task] > record.seen[task - 1]:
            return all(map(le, now[:task], before[:task]))
        return now == before
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


def check_passed(data: SubmissionData) -> list[Finding]:
    """What passes of a gradient is that of a training, where records tell it.

    A block of share 0 lets nothing pass, and from where a record diverged it is zeros. How much
    passes has no bound, but more than ``MOST_PASSED`` times the share is worth a warning, and so
    is a strategy of which only some records tell it. Whether the strategy corrects gradients at
    all, and to this part, only a re-run shows.
    """
    telling = [record for record in data.counted if record.passed is not UNSET]
    if not telling:
        return []
    wrong = [f"{cell_name(one)} ({why})" for one in telling if (why := _wrong_passed(one))]
    if wrong:
        found = f"parts of gradients that no training lets pass: {shorten(wrong)}"
        return [Finding("FAILED", "passed", found, AGAIN)]
    findings = []
    if large := [cell_name(one) for one in telling if _passes_much(one)]:
        found = f"more than {MOST_PASSED:,.0f} times the gradient passes: {shorten(large)}"
        findings.append(Finding("warning", "passed", found, "look at the strategy's correct()"))
    if silent := [cell_name(one) for one in data.counted if one.passed is UNSET]:
        found = f"told by {counted(len(telling), 'cell')}, but not by {shorten(silent)}"
        advice = "fine if an older version made them; else run them again"
        findings.append(Finding("warning", "passed", found, advice))
    return findings or [Finding("ok", "passed", f"told by {counted(len(telling), 'cell')}")]


def _parts(record: Record) -> Iterator[tuple[int, float, float]]:
    """Yield task, share and what passes of the gradient, for every task and block."""
    for task, (plan, row) in enumerate(zip(record.plans, record.passed or (), strict=True)):
        for share, part in zip(plan.share, row, strict=True):
            yield task, share, part


def _wrong_passed(record: Record) -> str | None:
    end = record.tasks if record.diverged_at is None else record.diverged_at
    for task, share, part in _parts(record):
        if not math.isfinite(part):
            return "not finite"
        if task >= end and part != 0.0:
            return "after it diverged"
        # A share below the digits that a record has may let something pass.
        if share == 0.0 and abs(part) > MOST_PASSED * SHARE_ROUNDING:
            return "of a frozen block"
    return None


def _passes_much(record: Record) -> bool:
    return any(
        abs(part) > MOST_PASSED * max(share, SHARE_ROUNDING) for _, share, part in _parts(record)
    )


def check_cost(data: SubmissionData) -> Finding:
    """Every cell took time and memory."""
    free = [
        cell_name(record)
        for record in data.records
        if not 0.0 < sum(record.cost.seconds) < LONGEST_SECONDS
        or record.cost.peak_memory_bytes == 0
    ]
    if free:
        found = f"no time, no memory or more than a year was used: {shorten(free)}"
        return Finding("FAILED", "cost", found, AGAIN)
    seconds = sum(second for one in data.records for second in one.cost.seconds)
    return Finding("ok", "cost", f"{seconds:.0f} seconds of training in all")


def spread(records: Sequence[Record]) -> tuple[float, int] | None:
    """Return the variance of counts over seeds relative to ``LEAST * v``, and S - 1.

    The smaller of two: over the counts after the last task, and over those right after each task.
    None where too little could vary: fewer than two seeds, counts at the ceiling, or answers
    of chance, as of a network that always says the same.
    """
    own = [record for record in records if record.status == "finished"]
    if len(own) < 2 or len({(record.tasks, record.test_sizes) for record in own}) > 1:
        return None
    counts = np.asarray([record.correct for record in own], dtype=np.float64)
    sizes = np.asarray(own[0].test_sizes, dtype=np.float64)
    chance = np.asarray(_chance(own[0]))
    last_and_first = (
        (counts[:, -1], chance[-1]),
        (np.diagonal(counts, axis1=1, axis2=2), np.diagonal(chance)),
    )
    ratios = [
        ratio for part, guess in last_and_first if (ratio := _ratio(part, sizes, guess)) is not None
    ]
    return (min(ratios), len(own) - 1) if ratios else None


def _ratio(
    counts: NDArray[np.float64], sizes: NDArray[np.float64], guess: NDArray[np.int64]
) -> float | None:
    """Return the ratio for counts of shape (seeds, tasks)."""
    mean = counts.mean(axis=0)
    expected = mean * (1.0 - mean / sizes)
    expected[(counts == guess).all(axis=0)] = 0.0
    if expected.sum() < SMALLEST_EXPECTED:
        return None
    return float(counts.var(axis=0, ddof=1).sum() / (LEAST * expected.sum()))


def lower_tail(statistic: float, freedom: int) -> float:
    """Return the probability of a chi-square value of at most ``statistic``."""
    return float(gammainc(freedom / 2.0, statistic / 2.0))


def check_variance(data: SubmissionData) -> Finding:
    """Counts vary over seeds at least as counts of right answers must.

    If the test images were drawn anew for every seed, the count of a task would vary over seeds at
    least as a binomial does, ``v = n p (1 - p)``: training only adds. But a sequence's test images
    may be the same for all seeds. Then image i, answered rightly by a share p_i of all possible
    trainings, adds only ``p_i (1 - p_i)``, and the sum over images is below v by n times the
    variance of the p_i: easy images are right and hard ones wrong whatever the seed. No bound above
    zero holds without knowing the p_i, so the smallest honest variance is taken to be ``LEAST``
    times v, a measured bound: see docs/studies/verification.md for the least that real
    strategies show.

    The statistic is the variance over S seeds summed over tasks, relative to LEAST times the sum
    of v; the smaller of that after the last task and that right after each. Tasks share learner
    and images, so they count as one: (S - 1) times the statistic is compared with the lower tail
    of a chi-square distribution with S - 1 degrees of freedom, which is exact for perfectly
    correlated normal counts and too cautious for others. Sequences have random streams of their
    own, so their statistics are independent, and their sum is tested with S - 1 degrees of freedom
    for each. All tests together may raise a false alarm with probability ``LEVEL``.
    """
    spreads = {
        name: value
        for name, records in data.counted_by_sequence.items()
        if (value := spread(records)) is not None
    }
    if not spreads:
        return Finding("ok", "variance", "nothing to test")
    level = LEVEL / (len(spreads) + 1)
    small = [
        f"{name} ({LEAST * ratio:.3f})"
        for name, (ratio, freedom) in spreads.items()
        if lower_tail(freedom * ratio, freedom) < level
    ]
    freedom = sum(one for _, one in spreads.values())
    total = sum(ratio * one for ratio, one in spreads.values())
    if not small and lower_tail(total, freedom) < level:
        small = [f"all together ({LEAST * total / freedom:.3f})"]
    if small:
        found = (
            f"variance over seeds far below that of counting, as a share of it: {shorten(small)}"
        )
        return Finding("FAILED", "variance", found, "submit every seed as its own run made it")
    least = min(LEAST * ratio for ratio, _ in spreads.values())
    return Finding("ok", "variance", f"at least {least:.2f} times that of counting")

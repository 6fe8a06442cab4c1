"""Are the results plausible beside each other, those of other strategies, and guessing?"""

import math
import re
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import combinations, islice, pairwise
from typing import TypeVar

import numpy as np

from driftboard.leaderboard.analysis.cells import matrix_of
from driftboard.leaderboard.analysis.statistics import paired_difference
from driftboard.leaderboard.verification.report import Finding, shorten
from driftboard.leaderboard.verification.submission import SubmissionData, cell_name, group_by
from driftboard.suite.errors import counted
from driftboard.suite.metrics import average_accuracy
from driftboard.suite.records import AnyRecord, Environment, Record

CHANCE = 1e-6
"""A match is called a copy if such a match is less likely than this in an honest submission."""

SLACK = 2
"""How many images two counts of a matrix that was touched up may differ by."""

MOST_PAIRS = 1000
MOST_SEEDS = 100
R = TypeVar("R", bound=AnyRecord)

ADVICE = "submit every cell as its own run made it"

CEILING = "joint"
ROUNDING_SHARE = 0.01
"""The share of the test images that the same initial network may answer otherwise elsewhere."""

_ANY_CPU = re.compile(r"\S+ CPU, \d+ thread\(s\)")
"""The name of an architecture, on systems that do not say which processor it is. Processors differ
in their vector instructions, and so in the order in which they add."""


def log_chance(record: Record, slack: int = 0) -> float:
    """Return log10 of the probability that another cell's matrix agrees by chance, at most 0.

    Two cells may honestly agree, so every match is weighed by how likely it is by chance. The
    first rows of two cells are compared as if their counts were independent binomials with the
    variance ``v = n p (1 - p)`` of the first cell, so that two agree with a probability of about
    ``1 / (2 sqrt(pi v))``. A later count says only as much as it changed: one that moved by m
    images could as well have moved by any other number up to m, which gives ``1 / (1 + m)``, and
    nothing where the network stands still. Columns that are equal in all rows, as where all tasks
    share their test images, count once. With a slack of w images either way the probabilities grow
    by ``2 w + 1``. Permutations and the number of pairs are allowed for by multiplication, by the
    caller.
    """
    columns: dict[tuple[int, ...], int] = {}
    for column, size in zip(zip(*record.correct, strict=True), record.test_sizes, strict=True):
        columns[column] = size
    width = 2 * slack + 1
    total = 0.0
    for column, size in columns.items():
        variance = column[0] * (size - column[0]) / size
        spread = [2.0 * math.sqrt(math.pi * variance)]
        spread += [1.0 + abs(b - a) for a, b in pairwise(column)]
        total += sum(min(0.0, math.log10(width / max(width, one))) for one in spread)
    return total


def _sorted_counts(record: Record) -> tuple[object, ...]:
    """Return what does not change when rows or columns of a matrix change places."""
    rows = sorted(tuple(sorted(row)) for row in record.correct)
    columns = sorted(tuple(sorted(column)) for column in zip(*record.correct, strict=True))
    return (tuple(rows), tuple(columns))


def _pairs_of(records: Iterable[R], key: Callable[[R], Hashable]) -> Iterator[tuple[R, R]]:
    """Yield the pairs of records with the same key, but no more than a report could use."""
    groups = group_by(records, key).values()
    return islice((pair for group in groups for pair in combinations(group, 2)), MOST_PAIRS)


def _close(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield pairs of one sequence all of whose counts differ by at most ``SLACK`` images."""
    if len({record.tasks for record in records}) > 1 or len(records) > MOST_SEEDS:
        return  # such a submission fails another check
    counts = np.asarray([record.correct for record in records], dtype=np.int64)
    for place, record in enumerate(records[:-1]):
        differences = np.abs(counts[place + 1 :] - counts[place]).max(axis=(1, 2))
        for other in np.flatnonzero(differences <= SLACK):
            yield record, records[place + 1 + int(other)]


def check_copies(data: SubmissionData) -> Finding:
    """No matrix of right answers, and no norms, of one cell in another cell of the submission."""
    records = data.counted
    found: dict[tuple[str, str], str] = {}
    budget = math.log10(CHANCE / max(1, math.comb(len(records), 2)))
    for one, other in _pairs_of(records, _sorted_counts):
        same = one.correct == other.correct
        allowance = 0.0 if same else 2.0 * math.log10(math.factorial(one.tasks))
        if log_chance(one) + allowance < budget:
            found[_names(one, other)] = "equal counts" if same else "permuted counts"
    for group in data.counted_by_sequence.values():
        budget = math.log10(
            CHANCE / max(1, math.comb(len(group), 2)) / len(data.counted_by_sequence)
        )
        for one, other in _close(group):
            if log_chance(one, SLACK) < budget:
                found.setdefault(_names(one, other), f"counts within {SLACK} images")
    # Two trainings never agree in all digits.
    trained = (record for record in data.records if all(record.solution_norms[0]))
    for pair in _pairs_of(trained, lambda record: record.solution_norms):
        found.setdefault(_names(*pair), "equal norms")
    if found:
        pairs = [f"{a} and {b} ({why})" for (a, b), why in found.items()]
        text = f"{counted(len(found), 'pair')} of cells too alike for chance: {shorten(pairs)}"
        return Finding("FAILED", "copies", text, ADVICE)
    return Finding("ok", "copies", "no cell repeats another")


def _names(one: AnyRecord, other: AnyRecord) -> tuple[str, str]:
    return cell_name(one), cell_name(other)


def check_copies_of_others(data: SubmissionData) -> list[Finding]:
    """No matrix of another strategy's cell of another seed; what agrees at the same seed is named.

    A rule may honestly do what another does, as one that freezes by a threshold which is never
    passed, and then both agree in all counts and norms of a cell. So agreement is a warning only
    where counts agree and norms do not, or where nothing in the whole submission is its own.
    """
    others = [record for record in data.against if isinstance(record, Record)]
    if not others:
        return []
    moved = _from_other_seeds(data, others)
    if moved:
        text = f"counts of other strategies' cells of other seeds: {shorten(moved)}"
        return [Finding("FAILED", "copies of others", text, ADVICE)]
    half, whole = [], 0
    for record in data.counted:
        rivals = [
            one
            for one in data.others.get((record.sequence.name, record.seed), ())
            if isinstance(one, Record) and one.correct == record.correct
        ]
        if any(one.solution_norms == record.solution_norms for one in rivals):
            whole += 1
        elif rivals and log_chance(record) < math.log10(CHANCE / len(data.counted)):
            half.append(f"{cell_name(record)} ({rivals[0].strategy.name})")
    if half:
        text = f"counts of another strategy, but other norms: {shorten(half)}"
        return [Finding("warning", "copies of others", text, "explain it with --remark")]
    if whole == len(data.counted):
        text = "every cell is that of another strategy in all counts and norms"
        return [Finding("warning", "copies of others", text, "explain what is new with --remark")]
    text = f"{counted(whole, 'cell')} equal to another strategy's in all counts and norms"
    return [Finding("ok", "copies of others", text)]


def _from_other_seeds(data: SubmissionData, others: Sequence[Record]) -> list[str]:
    by_counts = group_by(others, lambda record: record.correct)
    budget = math.log10(CHANCE / max(1, len(data.counted) * len(others)))
    return [
        f"{cell_name(record)} is {cell_name(other)} of {other.strategy.name}"
        for record in data.counted
        for other in by_counts.get(record.correct, ())
        if (other.sequence.name, other.seed) != (record.sequence.name, record.seed)
        and log_chance(record) < budget
    ]


def check_untrained(data: SubmissionData) -> Finding:
    """The untrained network answers as that of other strategies: all share it, per seed."""
    wrong: list[str] = []
    rounded: list[str] = []
    compared = 0
    for record in data.records:
        for other in data.others.get((record.sequence.name, record.seed), ()):
            compared += 1
            if _untrained(record) == _untrained(other):
                continue
            name = f"{cell_name(record)} ({other.strategy.name})"
            (rounded if _may_round(record, other) else wrong).append(name)
            break
    if wrong:
        found = f"the untrained network is not that of other strategies: {shorten(wrong)}"
        return Finding("FAILED", "untrained", found, "run them with the protocol's own seeds")
    if rounded:
        found = f"the untrained network answers a few images otherwise: {shorten(rounded)}"
        return Finding("warning", "untrained", found, "fine on another device or version of torch")
    if not compared:
        return Finding("ok", "untrained", "nothing to compare with; --against RESULTS gives it")
    return Finding("ok", "untrained", f"as in {counted(compared, 'cell')} of other strategies")


def _untrained(record: AnyRecord) -> tuple[float, ...]:
    return record.correct_untrained if isinstance(record, Record) else record.losses_untrained


def _may_round(record: AnyRecord, other: AnyRecord) -> bool:
    """Return whether another device or version explains why the two untrained networks differ."""
    if same_machine(record.environment, other.environment):
        return False
    mine, theirs = _untrained(record), _untrained(other)
    sizes = record.test_sizes if isinstance(record, Record) else mine
    return len(mine) == len(theirs) and all(
        abs(a - b) <= ROUNDING_SHARE * size for a, b, size in zip(mine, theirs, sizes, strict=True)
    )


def check_learning(data: SubmissionData) -> Finding:
    """Some cell answers better than guessing, right after a task was trained."""
    if not data.counted:
        return Finding("ok", "learning", "nothing to test")
    gains = [
        statistics.fmean(
            record.correct[task][task] / record.test_sizes[task] - 1.0 / record.choices[task]
            for task in range(record.tasks)
        )
        for record in data.counted
    ]
    best = max(gains)
    if best <= 0.0:
        found = "no cell is better than guessing right after training"
        return Finding("warning", "learning", found, "look at the learning rate")
    mean = 100 * statistics.fmean(gains)
    return Finding("ok", "learning", f"{mean:.1f} points above guessing right after training")


def check_above_joint(data: SubmissionData) -> Finding:
    """Nothing is better than training on all tasks at once, unless a remark says why.

    On each sequence the paired interval of Avg.Acc over seeds is taken at 95 % over all of
    them together (Bonferroni).
    """
    bounds: dict[str, dict[int, float]] = {}
    for other in data.against:
        if isinstance(other, Record) and other.strategy.name == CEILING:
            bounds.setdefault(other.sequence.name, {})[other.seed] = _avg_acc(other)
    compared = {
        name: ({record.seed: _avg_acc(record) for record in records}, bounds[name])
        for name, records in data.counted_by_sequence.items()
        if name in bounds
    }
    if not compared:
        return Finding("ok", "above joint", f"no results of '{CEILING}' to compare with")
    confidence = 1.0 - 0.05 / len(compared)
    differences = {name: paired_difference(*pair, confidence) for name, pair in compared.items()}
    above = [
        f"{name} (by {100 * one.mean:.1f} points)"
        for name, one in differences.items()
        if one.low > 0.0
    ]
    if not above:
        return Finding("ok", "above joint", f"on none of {counted(len(compared), 'sequence')}")
    found = f"better than joint training: {shorten(above)}"
    if data.submission.remarks:
        return Finding("ok", "above joint", f"{found}; see the remarks")
    return Finding("warning", "above joint", found, "say why with --remark")


def _avg_acc(record: Record) -> float:
    return average_accuracy(matrix_of(record))


def same_machine(one: Environment, other: Environment) -> bool:
    """Return whether torch, device and lane are the same, so that two runs must agree exactly.

    A CPU without the name of its processor never counts as the same: on another processor of the
    same architecture half of the cells have other counts (``tests/studies/rerun_noise.py``).
    """
    if _ANY_CPU.fullmatch(one.device):
        return False
    return (one.torch, one.device, one.lane) == (other.torch, other.device, other.lane)

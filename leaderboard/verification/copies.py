"""Matrices that occur twice: copied, permuted, or touched up a little.

Two cells may honestly agree, so every match is weighed by the probability that chance alone makes
it. The first row of two cells is compared as if its counts were independent binomials of the
variance ``v = n p (1 - p)`` that the first cell shows, so that two agree with a probability of
about ``1 / (2 sqrt(pi v))``. A later count only tells as much as it changed: one that moved by m
images could as well have moved by any other number up to m, which gives ``1 / (1 + m)``, and
nothing where the network stands still. Columns that are equal in all rows, as where all tasks share
their test images, count once. With a slack of w images either way the probabilities grow by
``2 w + 1``; permutations and all pairs looked at are allowed for by multiplication.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, islice, pairwise
from typing import TypeVar

import numpy as np

from driftboard.leaderboard.verification.findings import Finding, some
from driftboard.leaderboard.verification.material import Material, cell_name
from driftboard.suite.errors import counted
from driftboard.suite.records import AnyRecord, Record

CHANCE = 1e-6
"""A match is called a copy if chance makes one of its kind in the submission more rarely."""

SLACK = 2
"""How many images two counts of a matrix that was touched up may differ by."""

MOST_PAIRS = 1000
MOST_SEEDS = 100
S = TypeVar("S")

ADVICE = "submit every cell as its own run made it"


def log_chance(record: Record, slack: int = 0) -> float:
    """Return log10 of the probability that another cell's matrix agrees by chance, at most 0."""
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


def _shape(record: Record) -> tuple[object, ...]:
    """Return what stays when the rows or the columns of a matrix change places."""
    rows = sorted(tuple(sorted(row)) for row in record.correct)
    columns = sorted(tuple(sorted(column)) for column in zip(*record.correct, strict=True))
    return (tuple(rows), tuple(columns))


def _same_shapes(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[_shape(record)].append(record)
    yield from _some_pairs(groups.values())


def _some_pairs(groups: Iterable[Sequence[S]]) -> Iterator[tuple[S, S]]:
    """Yield the pairs of each group, but not more than anybody needs to see."""
    pairs = (pair for group in groups for pair in combinations(group, 2))
    return islice(pairs, MOST_PAIRS)


def _close(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield pairs of one sequence all of whose counts differ by at most ``SLACK`` images."""
    if len({record.tasks for record in records}) > 1 or len(records) > MOST_SEEDS:
        return  # another check refuses that
    counts = np.asarray([record.correct for record in records], dtype=np.int64)
    for place, record in enumerate(records[:-1]):
        differences = np.abs(counts[place + 1 :] - counts[place]).max(axis=(1, 2))
        for other in np.flatnonzero(differences <= SLACK):
            yield record, records[place + 1 + int(other)]


def _pairs(count: int) -> float:
    return max(1.0, count * (count - 1) / 2)


def check_copies(material: Material) -> Finding:
    """No matrix of right answers, and no norms, of one cell in another cell of the submission."""
    records = material.counted
    found: dict[tuple[str, str], str] = {}
    budget = math.log10(CHANCE / _pairs(len(records)))
    for one, other in _same_shapes(records):
        same = one.correct == other.correct
        allowance = 0.0 if same else 2.0 * math.log10(math.factorial(one.tasks))
        if log_chance(one) + allowance < budget:
            found[_names(one, other)] = "equal counts" if same else "permuted counts"
    for group in material.counted_by_sequence.values():
        budget = math.log10(CHANCE / _pairs(len(group)) / len(material.counted_by_sequence))
        for one, other in _close(group):
            if log_chance(one, SLACK) < budget:
                found.setdefault(_names(one, other), f"counts within {SLACK} images")
    for pair in _same_norms(material.records):
        found.setdefault(_names(*pair), "equal norms")
    if found:
        pairs = [f"{a} and {b} ({why})" for (a, b), why in found.items()]
        text = f"{counted(len(found), 'pair')} of cells too alike for chance: {some(pairs)}"
        return Finding("FAILED", "copies", text, ADVICE)
    return Finding("ok", "copies", "no cell repeats another")


def _names(one: AnyRecord, other: AnyRecord) -> tuple[str, str]:
    return cell_name(one), cell_name(other)


def _same_norms(records: Iterable[AnyRecord]) -> Iterator[tuple[AnyRecord, AnyRecord]]:
    """Yield pairs whose solutions have the same norms: two trainings never agree in all digits."""
    groups: dict[tuple[tuple[float, ...], ...], list[AnyRecord]] = defaultdict(list)
    for record in records:
        if all(record.solution_norms[0]):
            groups[record.solution_norms].append(record)
    yield from _some_pairs(groups.values())


def check_copies_of_others(material: Material) -> list[Finding]:
    """No matrix of another strategy's cell of another seed; what agrees at the same seed is named.

    A rule may honestly do what another does, as one that freezes by a threshold which is never
    passed, and then both agree in all counts and norms of a cell. So agreement is a warning only
    where counts agree and norms do not, or where nothing in the whole submission is its own.
    """
    others = [record for record in material.against if isinstance(record, Record)]
    if not others:
        return []
    moved = _from_other_seeds(material, others)
    if moved:
        text = f"counts of other strategies' cells of other seeds: {some(moved)}"
        return [Finding("FAILED", "copies of others", text, ADVICE)]
    half, whole = [], 0
    for record in material.counted:
        rivals = [
            one
            for one in material.others.get((record.sequence.name, record.seed), ())
            if isinstance(one, Record) and one.correct == record.correct
        ]
        if any(one.solution_norms == record.solution_norms for one in rivals):
            whole += 1
        elif rivals and log_chance(record) < math.log10(CHANCE / len(material.counted)):
            half.append(f"{cell_name(record)} ({rivals[0].strategy.name})")
    if half:
        text = f"counts of another strategy, but other norms: {some(half)}"
        return [Finding("warning", "copies of others", text, "explain it with --remark")]
    if whole == len(material.counted):
        text = "every cell is that of another strategy in all counts and norms"
        return [Finding("warning", "copies of others", text, "explain what is new with --remark")]
    text = f"{counted(whole, 'cell')} equal to another strategy's in all counts and norms"
    return [Finding("ok", "copies of others", text)]


def _from_other_seeds(material: Material, others: Sequence[Record]) -> list[str]:
    by_counts: dict[tuple[tuple[int, ...], ...], list[Record]] = defaultdict(list)
    for other in others:
        by_counts[other.correct].append(other)
    budget = math.log10(CHANCE / max(1, len(material.counted) * len(others)))
    return [
        f"{cell_name(record)} is {cell_name(other)} of {other.strategy.name}"
        for record in material.counted
        for other in by_counts.get(record.correct, ())
        if (other.sequence.name, other.seed) != (record.sequence.name, record.seed)
        and log_chance(record) < budget
    ]

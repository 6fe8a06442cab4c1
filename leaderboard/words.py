"""What stands around the tables of a board: its legend, its facts, and notes on what to beware of.

A text that every format shows is made of parts: plain strings are our own words, ``Code`` is a
name that may be set as code, and ``Quote`` is text from elsewhere that a format makes harmless.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from driftboard.leaderboard.analysis.board import UNGRADED, Board
from driftboard.leaderboard.analysis.cells import METRICS, Metric
from driftboard.leaderboard.analysis.collect import Collection
from driftboard.leaderboard.analysis.join import SHOWN_HASH, OtherKind, SameCells, Unchosen
from driftboard.leaderboard.analysis.section import Row, Score, Section
from driftboard.leaderboard.columns import COLUMNS
from driftboard.leaderboard.formatting import estimate_text, graded_text, notes_text
from driftboard.suite.distance.grades import Grade
from driftboard.suite.errors import counted


class Code(str):
    """A name of ours, which a format may set as code."""


class Quote(str):
    """Text from elsewhere, which a format makes harmless."""


Words = tuple[str, ...]

MOST_NAMES = 6  # of what was not asked for


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of the legend: a term, what it means with code in backticks, and a quotation."""

    term: str
    text: str
    quoted: str = ""


def legend(board: Board, command: str) -> list[Point]:
    """Return what a reader must know; ``command`` is what makes the board again."""
    points = [
        Point(
            "Estimand",
            "the mean over new seeds on these sequences, not over other sequences or test images. "
            "For the overall table each seed is first averaged over the sequences.",
        )
    ]
    for column in sorted((one for one in COLUMNS if one.legend), key=lambda one: one.legend):
        term, text = column.term or column.title, column.explained(board)
        if column.joined:
            last = points.pop()
            text = f"{last.text}{column.joined}{term}: {text}"
            term = last.term
        if text:
            points.append(Point(term, text))
    protocol = board.source.protocol
    versions = "; ".join(f"{name} {', '.join(of)}" for name, of in board.source.versions.items())
    return [
        *points,
        Point(
            "Protocol",
            f"`{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        ),
        Point("Records made with", "", versions),
        Point("Table made with", f"driftboard {version('driftboard')}, scipy {version('scipy')}."),
        Point("Command", "", command),
    ]


def facts(board: Board) -> dict[str, str]:
    """Return what the board is made of, by term."""
    collection = board.source
    protocol = collection.protocol
    found = {
        "Strategies": str(len(board.overall.rows)),
        "Sequences": str(len(board.sections)),
        "Seeds": str(len({cell.seed for cell in collection.cells})),
        "Records": str(len(collection.cells)),
        "Split": collection.split,
        "Reference": board.reference,
        "Protocol": f"{protocol.name}, version {protocol.version}",
    }
    if collection.skipped:
        found["Broken records left out"] = str(len(collection.skipped))
    return found


def extent(collection: Collection) -> str:
    """Return e.g. ``2 sequences with 5 seeds, 30 records, test split.``"""
    seeds = {cell.seed for cell in collection.cells}
    return (
        f"{counted(len(collection.sequences), 'sequence')} with {counted(len(seeds), 'seed')}, "
        f"{counted(len(collection.cells), 'record')}, {collection.split} split."
    )


def caveats(collection: Collection) -> str:
    """Return the sentences, each after a space, on what keeps records from being published."""
    text = ""
    if collection.split == "validation":
        text += " **Validation data: for tuning, not for publication.**"
    if collection.skipped:
        text += f" Broken records left out: {len(collection.skipped)}."
    return text


def distance_sentence(grade: Grade | None) -> Words:
    """Return all that is known of a sequence's measured distance, in a sentence."""
    if grade is None:
        return ("Distance: not measured.",)
    if grade.distance.n == 0:
        return "Distance: not measurable, ", Quote(grade.note), "."
    text = (
        f"Distance {graded_text(grade)} over "
        f"{counted(grade.distance.n, 'seed')}, reliability {grade.reliability:.2f}, grade "
        f"{grade.level or UNGRADED}"
    )
    return (f"{text} (", Quote(grade.note), ").") if grade.note else (f"{text}.",)


def count_of(section: Section) -> str:
    """Return e.g. ``3 sequences``."""
    return counted(len(section.sequences), "sequence")


def collection_notes(collection: Collection) -> list[Words]:
    """Return a sentence for each thing that is not on a board, or that is mixed on it."""
    left_out, metric = collection.left_out, METRICS[collection.measure][0]
    notes = [_same_cells(pair, metric) for pair in left_out.same_cells]
    notes += map(_other_kind, left_out.other_kinds)
    if left_out.unchosen is not None:
        notes.append(_unchosen(left_out.unchosen))
    if len(collection.builds) > 1:
        notes.append(_builds(collection.builds))
    return notes


def _same_cells(pair: SameCells, metric: Metric) -> Words:
    """Return how many of a source's cells stand as another one has them, and how far they are."""
    count, also = pair.equal + pair.different, Quote(pair.standing)
    text = f": {counted(count, 'record')} of cells that stand as they are in "
    if not pair.different:
        return Quote(pair.left), text, also, ", all equal to these."
    scale, unit = (100.0, " points") if metric.is_share else (1.0, "")
    apart = (
        f"in {metric.title} {scale * pair.largest:.2g}{unit} apart at most, "
        f"{scale * pair.average:.2g} on average"
        if pair.largest
        else f"all with the same {metric.title}"
    )
    counts = f"; {pair.equal} equal to these, {pair.different} different and left out, "
    return Quote(pair.left), text, also, f"{counts}{apart}."


def _other_kind(one: OtherKind) -> Words:
    kind, _, name = one.subject.partition(" ")
    if kind == "the":
        reason: Words = (f"{one.subject} is not that of ",)
    else:
        reason = (f"{kind} ", Code(name), f" has another {' and '.join(one.aspects)} in ")
    count = f": {counted(one.records, 'record')} left out, because "
    return Quote(one.left), count, *reason, Quote(one.standing), "."


def _unchosen(left: Unchosen) -> Words:
    text = f"Left out as asked for: {counted(left.records, 'record')}, among them all of "
    names = left.strategies + left.sequences
    shown, others = _listed(names[:MOST_NAMES]), len(names) - MOST_NAMES
    return text, *shown, f" and {others} more." if others > 0 else "."


def _builds(builds: Mapping[str | None, int]) -> Words:
    """Return how many records each build of the package has made, the most first."""
    found: Words = (f"The records are of {len(builds)} builds of the package: ",)
    for digest, count in sorted(builds.items(), key=lambda one: (-one[1], one[0] or "")):
        name = "an unrecorded one" if digest is None else Code(digest[:SHOWN_HASH])
        found += (f"{count} of ", name, ", ")
    return (*found[:-1], ".")


def section_notes(section: Section) -> tuple[Words, ...]:
    """Return what to beware of in the numbers of a table."""
    notes = [*divergence_notes(section)]
    if any(row.near_chance for row in section.rows):
        notes.append(_near_chance(section.rows))
    if len(section.ranked) < 2 and section.incomplete and len(section.sequences) > 1:
        notes.append(
            (
                "Only a strategy that has every sequence and seed which another one has is ranked. "
                "The tables of single sequences rank more, and so does a board of the sequences "
                "that they share: choose them with --sequence.",
            )
        )
    return tuple(notes)


def divergence_notes(section: Section) -> tuple[Words, ...]:
    """Return for each strategy of which runs diverged how many, and the means without them."""
    return tuple(_divergence(row) for row in section.rows if row.diverged_runs)


def _divergence(row: Row) -> Words:
    is_share = row.first.metric.is_share
    runs = f"{row.diverged_runs} of {counted(len(row.cells), 'run')}"
    as_what = "accuracy of chance" if is_share else "losses in their records"
    found = [_without_diverged(score) for score in row.scores.values()]
    means = ", ".join(filter(None, found)) or "no mean is left"
    text = f": {runs} diverged and count with the {as_what}; without them {means}."
    is_reference = row.first.difference is None
    return Code(row.strategy), text + (" Every Δ counts them." if is_reference else "")


def _without_diverged(score: Score) -> str:
    """Return e.g. ``Avg.Acc 59.9 (Δ +0.5)``, nothing where there is no such mean."""

    def number(value: float, sign: str = "") -> str:
        return estimate_text(value, math.nan, math.nan, score.metric.is_share, sign)

    if math.isnan(score.finished_mean):
        return ""
    text = f"{score.metric.title} {number(score.finished_mean)}"
    if math.isnan(score.finished_difference):
        return text
    return f"{text} (Δ {number(score.finished_difference, sign='+')})"


def _near_chance(rows: Sequence[Row]) -> Words:
    """Return which strategies' first tasks ended near chance, and how often."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row.near_chance:
            runs = f"{row.near_chance} of {counted(len(row.cells), 'run')}"
            groups.setdefault(runs, []).append(row.strategy)
    found: Words = (
        "The first task ends near chance, less than a tenth of the way from there to 100 %, so "
        "nothing was learned that could be forgotten: ",
    )
    rest = [row.strategy for row in rows]
    for runs, names in sorted(groups.items(), key=lambda group: len(group[1])):
        others = [name for name in rest if name not in names]
        whose = _listed(names)
        if len(others) < len(names):
            everyone = "all strategies" if len(rest) == len(rows) else "all others"
            whose = (everyone, *((" but ", *_listed(others)) if others else ()))
        found += (f"{runs} of ", *whose, "; ")
        rest = others
    return (*found[:-1], ".")


def flag_notes(section: Section) -> tuple[Words, ...]:
    """Return a line for each note that rows have, with the strategies that it is about."""
    strategies: dict[str, list[str]] = {}
    for row in section.rows:
        if note := notes_text(row):
            strategies.setdefault(note, []).append(row.strategy)
    count = len(section.rows)
    return tuple(
        (f"{note}: ", *(("all",) if len(names) == count else _listed(names)))
        for note, names in strategies.items()
    )


def _listed(names: Sequence[str]) -> Words:
    """Return names with commas between."""
    return tuple(part for name in names for part in (Code(name), ", "))[:-1]

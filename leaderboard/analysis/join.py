"""Records from several sources on one board: which stand where sources meet, and what is left out.

A source is a results folder, a submission's among them, or a published set. They are taken in
order of precedence: folders as they were named, then published sets, or the other way round. The
first that has a cell stands with it, and the first that knows a strategy or sequence says what it
is: later records of the same cell, or of another version of one of the two, are left out and
counted. Nothing is averaged over two of them. Inside one source such a mixture is a mistake and
refused, and so are folders of two protocols, measures or splits.
"""

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from msgspec import UNSET

from driftboard.leaderboard.analysis.cells import METRICS, Measure, cell_of, matrix_of
from driftboard.leaderboard.analysis.statistics import mean
from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.patterns import matching
from driftboard.suite.records import AnyRecord, LossRecord, read_record

SHOWN_HASH = 12  # leading digits of a hash that are shown to people

Prefer = Literal["own", "published"]
Place = tuple[str, str, int]  # sequence, strategy, seed

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_SHOWN_VARIANTS = 4
# May differ between two equal runs. What must not of a strategy, its kind says; its file may have
# been renamed.
_NOT_CONTENT = {"cost", "environment", "strategy"}
_OF_ALL = {"the measure", "the protocol", "the split"}

Kind = tuple[tuple[str, str], ...]
"""What must agree between records: pairs of an aspect and, in words, what it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where records are from: a results folder, a Python object or a published set."""

    name: str
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Which records a board is asked for: patterns such as ``fashion-*``, and who goes first.

    A strategy and a sequence are taken if they match any of theirs, or there are none; what
    matches one of ``exclude``, a strategy or a sequence, is not.
    """

    strategies: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    prefer: Prefer = "own"

    def takes(self, sequence: str, strategy: str) -> bool:
        """Whether records of this sequence and strategy are asked for."""
        return (
            (not self.strategies or _matches(strategy, self.strategies))
            and (not self.sequences or _matches(sequence, self.sequences))
            and not _matches(strategy, self.exclude)
            and not _matches(sequence, self.exclude)
        )

    def check(self, sequences: set[str], strategies: set[str]) -> None:
        """Check that every pattern matches one of the names that there are.

        Raises:
            DriftboardError: one matches none.
        """
        for patterns, kind, known in (
            (self.strategies, "strategy", strategies),
            (self.sequences, "sequence", sequences),
            (self.exclude, "strategy or sequence", strategies | sequences),
        ):
            matching(patterns, known, f"these records have no {kind}")

    def nothing_taken(self, places: Iterable[tuple[str, str]]) -> str:
        """Return the line on a choice that takes none of these sequences and strategies."""
        if any(replace(self, exclude=()).takes(*place) for place in places):
            patterns = " ".join(f"--exclude {shlex.quote(one)}" for one in self.exclude)
            return f"{patterns} leaves no record; leave out a part of them only"
        return "no record is of these strategies and sequences"

    def in_order(self, sources: Iterable[Source]) -> list[Source]:
        """Return sources in order of precedence.

        Raises:
            DriftboardError: published ones go first, and none is published.
        """
        found = list(sources)
        if self.prefer == "published" and found and not any(one.is_published for one in found):
            raise DriftboardError(
                "published records are preferred and there are none; name some with --published, "
                "such as --published quick, or leave --prefer out"
            )
        return sorted(found, key=lambda one: one.is_published == (self.prefer == "own"))

    def options(self) -> list[str]:
        """Return the words on the command line that say the same."""
        options = {"strategy": self.strategies, "sequence": self.sequences, "exclude": self.exclude}
        options["prefer"] = () if self.prefer == "own" else (self.prefer,)
        return [
            word for name, all_of in options.items() for of in all_of for word in (f"--{name}", of)
        ]


EVERYTHING = Choice()


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class SameCells:
    """How the records of two sources compare on the cells that both have.

    Those of ``standing`` are on the board, of the others the ``different`` ones are left out.
    ``largest`` and ``average`` are of the latter's distances in the metric that ranks, NaN where
    there are none.
    """

    left: str
    standing: str
    equal: int
    different: int
    largest: float
    average: float


@dataclass(frozen=True, slots=True)
class OtherKind:
    """Records that were left out because ``subject`` is something else in a source that stands.

    ``aspects`` name what differs, e.g. source and parameters of a strategy.
    """

    left: str
    standing: str
    subject: str
    aspects: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class Unchosen:
    """What a choice left out: so many records, and names of which it took none."""

    records: int
    strategies: tuple[str, ...]
    sequences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """All that is not on a board though it was in what the board is made from, and why."""

    same_cells: tuple[SameCells, ...] = ()
    other_kinds: tuple[OtherKind, ...] = ()
    unchosen: Unchosen | None = None

    @property
    def records(self) -> int:
        """How many records are left out."""
        asked = self.unchosen.records if self.unchosen else 0
        others = sum(one.records for one in self.other_kinds)
        return asked + others + sum(pair.different for pair in self.same_cells)

    def joined(self, other: "LeftOut") -> "LeftOut":
        """Return this together with what was left out before."""
        return LeftOut(
            other.same_cells + self.same_cells,
            other.other_kinds + self.other_kinds,
            self.unchosen or other.unchosen,
        )


@dataclass(slots=True)
class _Standing:
    """What is known of a cell that stands; ``record`` is None where its file can be read again."""

    path: Path
    record: AnyRecord | None
    sources: tuple[Source, ...]  # first the one that it is from, then those that have the same


@dataclass(slots=True)
class _Known:
    """What a subject is, by the source that came first, and where each of its kinds was seen."""

    source: Source
    kinds: dict[Kind, Path]


@dataclass(slots=True)
class Join:
    """Takes one record after the other, source by source, and says which stand."""

    _standing: dict[Place, _Standing] = field(default_factory=dict)
    _subjects: dict[str, _Known] = field(default_factory=dict)
    _equal: dict[tuple[str, str], int] = field(default_factory=dict)
    _distances: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _others: dict[tuple[str, str, str, tuple[str, ...]], int] = field(default_factory=dict)
    _conflicts: list[tuple[Path, Path]] = field(default_factory=list)
    _previous: tuple[Source, AnyRecord] | None = None
    _why_not: tuple[str, str, str, tuple[str, ...]] | None = None  # the previous one stands

    def take(self, source: Source, path: Path, record: AnyRecord, in_memory: bool = False) -> bool:
        """Tell whether a record stands; ``in_memory`` says that ``path`` does not hold it."""
        # Neighbours mostly differ in their seed only, and to compare is faster than to format.
        previous = self._previous
        if previous is None or previous[0] is not source or not _same_kind(record, previous[1]):
            self._why_not = self._other_kind(source, path, record)
        self._previous = source, record
        if self._why_not is not None:
            self._others[self._why_not] = self._others.get(self._why_not, 0) + 1
            return False
        place = (record.sequence.name, record.strategy.name, record.seed)
        known = self._standing.get(place)
        if known is None:
            self._standing[place] = _Standing(path, record if in_memory else None, (source,))
            return True
        self._meet(source, path, record, known)
        return False

    def _other_kind(
        self, source: Source, path: Path, record: AnyRecord
    ) -> tuple[str, str, str, tuple[str, ...]] | None:
        """Return why a record is left out, or note what it is."""
        kinds = list(_kinds(record))
        for subject, kind in kinds:
            known = self._subjects.get(subject)
            if known is None or kind in known.kinds or known.source == source:
                continue
            if subject in _OF_ALL and known.source.is_published == source.is_published:
                continue
            first = next(iter(known.kinds))
            aspects = tuple(a for (a, own), (_, of) in zip(kind, first, strict=True) if own != of)
            return source.name, known.source.name, subject, aspects
        for subject, kind in kinds:
            known = self._subjects.setdefault(subject, _Known(source, {}))
            known.kinds.setdefault(kind, path)
        return None

    def _meet(self, source: Source, path: Path, record: AnyRecord, known: _Standing) -> None:
        """Compare a record with the one that stands for its cell."""
        # Rare, so the other one is read again rather than held.
        other = known.record or read_record(known.path)
        is_equal = same_content(record, other)
        if source in known.sources:
            if not is_equal:
                self._conflicts.append((path, known.path))
            return
        pair = source.name, known.sources[0].name
        self._equal[pair] = self._equal.get(pair, 0) + is_equal
        if is_equal:
            known.sources += (source,)
        else:
            self._distances.setdefault(pair, []).append(abs(_first(record) - _first(other)))

    def check(self) -> None:
        """Check that no source contradicts itself.

        Raises:
            RecordError: one is a mixture of kinds, or has a cell with two contents; or folders are
                of two protocols, measures or splits.
        """
        for subject, known in self._subjects.items():
            if len(known.kinds) > 1:
                raise RecordError(_mixture_message(subject, known.kinds))
        for path, other in self._conflicts:
            raise RecordError(
                f"{path} and {other} are records of one cell with different content; "
                "find out which one is right and leave the other out"
            )

    def sources(self, place: Place) -> tuple[Source, ...]:
        """Return the sources that have a cell as it stands, first the one that it is from."""
        return self._standing[place].sources

    def left_out(self, unchosen: Unchosen | None = None) -> LeftOut:
        """Return what does not stand."""
        return LeftOut(
            same_cells=tuple(
                SameCells(*pair, equal, len(apart), max(apart, default=math.nan), mean(apart))
                for pair, equal in self._equal.items()
                for apart in [self._distances.get(pair, [])]
            ),
            other_kinds=tuple(OtherKind(*why, count) for why, count in self._others.items()),
            unchosen=unchosen,
        )


def measure_of(record: AnyRecord) -> Measure:
    """Return what a record was measured in."""
    return "excess-loss" if isinstance(record, LossRecord) else "accuracy"


def same_content(a: AnyRecord, b: AnyRecord) -> bool:
    """Tell whether two records of one strategy are equal, cost and environment apart.

    Operations and what passes of the gradient count only where both know them: older records do
    not.
    """
    names = [name for name in a.__struct_fields__ if name not in _NOT_CONTENT]
    if None in (a.operations, b.operations):
        names.remove("operations")
    if UNSET in (getattr(a, "passed", None), getattr(b, "passed", None)):
        names.remove("passed")
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _first(record: AnyRecord) -> float:
    """Return the metric that ranks."""
    return cell_of(record, matrix_of(record)).metrics[METRICS[measure_of(record)][0].name]


def _kinds(record: AnyRecord) -> Iterable[tuple[str, Kind]]:
    """Yield each subject of which records must be of one kind, and its kind."""
    protocol, sequence, strategy = record.protocol, record.sequence, record.strategy
    yield "the measure", (("measure", measure_of(record)),)
    version = f"{protocol.name} version {protocol.version} {protocol.hash}"
    yield "the protocol", (("version", version),)
    yield "the split", (("split", record.split),)
    yield (
        f"sequence {sequence.name}",
        (
            ("definition", sequence.hash),
            ("tier", f"of tier {sequence.tier},"),
            ("number of tasks", f"{record.tasks} tasks,"),
            ("data", f"on data {sequence.data_hash} {sequence.data!r}"),
        ),
    )
    parameters = dict(sorted(strategy.parameters.items()))
    yield (
        f"strategy {strategy.name}",
        (
            ("role", strategy.role),
            ("source", f"from source {strategy.source_hash}"),
            ("parameters", f"with {parameters!r}"),
        ),
    )


def _same_kind(a: AnyRecord, b: AnyRecord) -> bool:
    """Whether all that ``_kinds`` looks at is equal."""
    return (
        a.strategy == b.strategy
        and a.sequence == b.sequence
        and a.protocol == b.protocol
        and (a.split, a.tasks, type(a)) == (b.split, b.tasks, type(b))
    )


def _mixture_message(subject: str, kinds: Mapping[Kind, Path]) -> str:
    variants = {" ".join(words for _, words in kind): path for kind, path in kinds.items()}
    shown = [
        f"{_HASH.sub(lambda match: match[0][:SHOWN_HASH], kind)} in {variants[kind]}"
        for kind in sorted(variants)[:_SHOWN_VARIANTS]
    ]
    if len(variants) > len(shown):
        shown.append("and more")
    return (
        f"{subject} is not the same in all records: {'; '.join(shown)}; "
        "keep each kind in a results folder of its own and build a board from one of them"
    )

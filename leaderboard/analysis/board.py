"""The board as data: what every table, page and figure of a leaderboard is written from.

The rules behind the numbers are in docs/concepts/statistics.md.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from driftboard.leaderboard.analysis.cells import METRICS, Cell, Metric
from driftboard.leaderboard.analysis.collect import OVERALL, Collection
from driftboard.leaderboard.analysis.evidence import Badge
from driftboard.leaderboard.analysis.join import LeftOut
from driftboard.leaderboard.analysis.scope import Scope
from driftboard.leaderboard.analysis.section import Section, build_section
from driftboard.leaderboard.analysis.statistics import (
    PairedDifference,
    holm,
    paired_difference,
    seed_averages,
)
from driftboard.suite.distance.grades import LEVELS, Grade, Level
from driftboard.suite.errors import RecordError, counted
from driftboard.suite.submissions import Credits

Stratum = Level | Literal["ungraded"]
UNGRADED: Literal["ungraded"] = "ungraded"
STRATA: tuple[Stratum, ...] = (*LEVELS, UNGRADED)


@dataclass(frozen=True, slots=True)
class GradeContrast:
    """How a strategy's difference from the reference changes from one grade to another.

    ``change`` is the difference on the sequences of grade ``farther`` minus that on those of
    grade ``nearer``, paired by seed. ``p_holm`` is corrected over all strategies and pairs of
    grades of this metric.
    """

    nearer: Level
    farther: Level
    strategy: str
    metric: Metric
    change: PairedDifference
    p_holm: float


@dataclass(frozen=True, slots=True)
class Board:
    """The whole leaderboard, and the collection that it was made from.

    ``suites`` holds a section per tier, named ``suite:core`` and so on, where there are several.
    ``strata`` holds a section per grade that occurs, named ``grade:near`` and so on, and
    ``grade:ungraded`` where only some of the sequences have a grade. ``authors`` holds what
    those who submitted strategies say of them, by strategy.
    """

    reference: str
    overall: Section
    suites: tuple[Section, ...]
    strata: tuple[Section, ...]
    contrasts: tuple[GradeContrast, ...]
    sections: tuple[Section, ...]  # one per sequence, by name
    source: Collection
    authors: Mapping[str, Credits]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of this board, first the one that ranks."""
        return METRICS[self.source.measure]

    @property
    def averages(self) -> tuple[Section, ...]:
        """The sections that average over sequences, in the order of the tables."""
        return (self.overall, *self.suites, *self.strata)

    def sections_of(self, stratum: Section) -> tuple[Section, ...]:
        """Return the sections of a stratum's sequences, near ones first."""
        chosen = [section for section in self.sections if section.name in stratum.sequences]
        return tuple(sorted(chosen, key=_by_distance))


def level_of(grade: Grade | None) -> Stratum:
    """Return the grade of a sequence, ``ungraded`` where it has none."""
    return UNGRADED if grade is None or grade.level is None else grade.level


def build_board(
    collection: Collection,
    reference: str = "sgd",
    grades: Mapping[str, Grade] = {},
    evidence: Mapping[str, Badge] = {},
    authors: Mapping[str, Credits] = {},
) -> Board:
    """Compute the leaderboard of a collection, with differences from ``reference``.

    ``grades`` are looked up by the hash of the sequence; those of other sequences do not matter.
    ``evidence`` says of strategies how far their numbers were checked, ``authors`` who made them.

    Raises:
        RecordError: there is no cell of the reference strategy.
    """
    roles = dict(sorted({cell.strategy: cell.role for cell in collection.cells}.items()))
    if reference not in roles:
        raise RecordError(_no_reference(reference, roles, collection.left_out))
    tracks = {cell.strategy: cell.track for cell in collection.cells}
    leagues = {name: track if "(" in track else "" for name, track in tracks.items()}
    stamps = dict(sorted(collection.sequences.items()))
    found = {name: grades.get(stamp.hash) for name, stamp in stamps.items()}
    cells_of: dict[str, list[Cell]] = {name: [] for name in stamps}
    for cell in collection.cells:
        cells_of[cell.sequence].append(cell)

    def scope(sequences: tuple[str, ...]) -> Scope:
        cells: dict[str, dict[tuple[str, int], Cell]] = {strategy: {} for strategy in roles}
        for sequence in sequences:
            for cell in cells_of[sequence]:
                cells[cell.strategy][sequence, cell.seed] = cell
        metrics = METRICS[collection.measure]
        return Scope(sequences, cells, roles, leagues, evidence, reference, metrics)

    def section(name: str, sequences: tuple[str, ...], grade: Grade | None = None) -> Section:
        tier = " ".join(sorted({stamps[sequence].tier for sequence in sequences}))
        return build_section(name, tier, scope(sequences), grade)

    strata = _strata(found)
    return Board(
        reference=reference,
        overall=section(OVERALL, tuple(stamps)),
        suites=tuple(section(f"suite:{tier}", names) for tier, names in _suites(collection)),
        strata=tuple(section(f"grade:{level}", names) for level, names in strata.items()),
        contrasts=_contrasts({level: scope(names) for level, names in strata.items()}),
        sections=tuple(section(name, (name,), found[name]) for name in stamps),
        source=collection,
        authors=authors,
    )


def _no_reference(reference: str, roles: Iterable[str], left_out: LeftOut) -> str:
    """Return why there is no reference strategy, and which there could be."""
    others = f"name one of these with --reference: {', '.join(roles)}"
    if left_out.unchosen and reference in left_out.unchosen.strategies:
        return (
            f"the reference strategy {reference!r} has records, but --strategy, --sequence or "
            f"--exclude leaves all of them out; take it in, or {others}"
        )
    why = _left_out(left_out)
    return f"this board has no records of the reference strategy {reference!r}; {others}{why}"


def _left_out(left_out: LeftOut) -> str:
    """Return why records of a strategy may be missing, with their numbers."""
    asked = left_out.unchosen.records if left_out.unchosen else 0
    counts = {
        "that were not asked for": asked,
        "of another protocol, source or version": sum(one.records for one in left_out.other_kinds),
    }
    return "".join(
        f"; {counted(count, 'record')} {why} are left out" for why, count in counts.items() if count
    )


def _suites(collection: Collection) -> list[tuple[str, tuple[str, ...]]]:
    """Return the sequences of each tier; nothing where there is only one."""
    tiers = sorted({stamp.tier for stamp in collection.sequences.values()})
    if len(tiers) == 1:
        return []
    names = sorted(collection.sequences)
    return [
        (tier, tuple(name for name in names if collection.sequences[name].tier == tier))
        for tier in tiers
    ]


def _strata(grades: Mapping[str, Grade | None]) -> dict[Stratum, tuple[str, ...]]:
    """Return the sequences of each grade that occurs; nothing where none is graded."""
    strata = {
        level: tuple(name for name, grade in grades.items() if level_of(grade) == level)
        for level in STRATA
    }
    if len(strata[UNGRADED]) == len(grades):
        return {}
    return {level: sequences for level, sequences in strata.items() if sequences}


def _contrasts(strata: Mapping[Stratum, Scope]) -> tuple[GradeContrast, ...]:
    """Compare every two grades, for each strategy that is ranked in both."""
    levels = [level for level in LEVELS if level in strata]
    if len(levels) < 2:
        return ()
    contrasts: list[GradeContrast] = []
    for metric in strata[levels[0]].metrics:
        advantages = {level: _advantages(strata[level], metric) for level in levels}
        found = [
            (nearer, farther, strategy, paired_difference(advantages[farther][strategy], values))
            for nearer, farther in combinations(levels, 2)
            for strategy, values in advantages[nearer].items()
            if strategy in advantages[farther]
        ]
        adjusted = holm([change.p for *_, change in found])
        contrasts += [
            GradeContrast(nearer, farther, strategy, metric, change, p)
            for (nearer, farther, strategy, change), p in zip(found, adjusted, strict=True)
        ]
    return tuple(contrasts)


def _advantages(scope: Scope, metric: Metric) -> dict[str, dict[int, float]]:
    """Return each ranked strategy's difference from the reference, by seed."""
    reference = seed_averages(scope.by_sequence(scope.reference, metric))
    return {
        strategy: {
            seed: value - reference[seed]
            for seed, value in seed_averages(scope.by_sequence(strategy, metric)).items()
            if seed in reference
        }
        for strategy in scope.family
        if strategy != scope.reference
    }


def _by_distance(section: Section) -> tuple[float, str]:
    grade = section.grade
    if grade is None or grade.level is None:
        return math.inf, section.name
    return grade.distance.value, section.name

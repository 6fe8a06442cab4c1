"""What a strategy lets pass of a new task's gradient, against the distance between tasks.

Related tasks want a small update and unrelated ones a large one, the paper says. A rule that
follows it shows it at the start of each task, before anything is trained.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftboard.leaderboard.analysis.cells import Cell
from driftboard.leaderboard.analysis.collect import Collection
from driftboard.leaderboard.analysis.statistics import Interval, mean_interval
from driftboard.leaderboard.claim.fit import Fitted, rank_correlation, values_to_fit
from driftboard.leaderboard.claim.trend import GROUPS, Group, group_of
from driftboard.suite.distance.grades import Grade


@dataclass(frozen=True, slots=True)
class PassedPoint:
    """What passes on one sequence: ``by_seed`` the mean over later tasks and blocks.

    ``interval`` is over these seeds. The ``diverged`` seeds are in neither. ``grade`` is None
    where the sequence has no usable distance.
    """

    sequence: str
    grade: Grade | None
    by_seed: Mapping[int, float]
    interval: Interval
    diverged: int

    @property
    def distance(self) -> float:
        """The measured distance; infinite where there is none, so that these sort last."""
        return math.inf if self.grade is None else self.grade.distance.value


@dataclass(frozen=True, slots=True)
class Passed:
    """What a strategy lets pass on the sequences of a group, and its trend with the distance.

    ``spearman`` is the rank correlation over the graded sequences with a finished seed, of which
    there are ``sequences``, and the ``seeds`` that all of them share. ``no_trend`` says why it is
    None.
    """

    strategy: str
    group: Group
    points: tuple[PassedPoint, ...]  # by distance, those without one last
    sequences: int
    seeds: int
    spearman: Fitted | None
    no_trend: str


def passed_of(collection: Collection, grades: Mapping[str, Grade]) -> tuple[Passed, ...]:
    """Return what passes for every strategy whose records tell, and every group of sequences.

    Args:
        collection: the records of all strategies.
        grades: by the hash of the sequence.
    """
    found: dict[tuple[str, Group], dict[str, list[Cell]]] = {}
    for cell in collection.cells:
        if cell.passed is not None:
            of_group = found.setdefault((cell.strategy, group_of(cell.sequence)), {})
            of_group.setdefault(cell.sequence, []).append(cell)
    usable = {
        name: grade
        for name, stamp in collection.sequences.items()
        if (grade := grades.get(stamp.hash)) and grade.level is not None
    }
    order = list(GROUPS)
    return tuple(
        _passed(*key, [_point(name, of, usable.get(name)) for name, of in found[key].items()])
        for key in sorted(found, key=lambda key: (key[0], order.index(key[1])))
    )


def _point(sequence: str, cells: Sequence[Cell], grade: Grade | None) -> PassedPoint:
    by_seed = {
        cell.seed: cell.passed for cell in cells if cell.has_finished and cell.passed is not None
    }
    return PassedPoint(
        sequence=sequence,
        grade=grade,
        by_seed=by_seed,
        interval=mean_interval(list(by_seed.values()), -math.inf, math.inf),
        diverged=len(cells) - len(by_seed),
    )


def _passed(strategy: str, group: Group, points: Sequence[PassedPoint]) -> Passed:
    fitted = [point for point in points if point.grade is not None and point.by_seed]
    distances = [point.distance for point in fitted]
    by_seed, why_not = values_to_fit(distances, [point.by_seed for point in fitted])
    return Passed(
        strategy=strategy,
        group=group,
        points=tuple(sorted(points, key=lambda point: (point.distance, point.sequence))),
        sequences=len(fitted),
        seeds=len(by_seed),
        spearman=None if why_not else rank_correlation(distances, by_seed),
        no_trend=why_not,
    )

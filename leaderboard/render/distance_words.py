"""What is known of a sequence's measured distance, in words for every format for people."""

from collections.abc import Callable

from driftboard.leaderboard.analysis.board import UNGRADED
from driftboard.leaderboard.render.layout import distance_text
from driftboard.suite.distance.grades import Grade
from driftboard.suite.errors import counted


def short_distance(grade: Grade | None, escape: Callable[[str], str] = str) -> str:
    """Return e.g. ``0.31 [0.28, 0.34]``, or why there is none.

    ``escape`` makes the note of a grade harmless for the format that it is shown in.
    """
    if grade is None:
        return "not measured"
    if grade.level is None:
        return f"({escape(grade.note)})"
    return distance_text(grade.distance, grade.crosses)


def distance_sentence(grade: Grade | None, escape: Callable[[str], str] = str) -> str:
    """Return all that is known, in a sentence; ``escape`` as in ``short_distance``."""
    if grade is None:
        return "Distance: not measured."
    if grade.distance.n == 0:
        return f"Distance: not measurable, {escape(grade.note)}."
    seeds = counted(grade.distance.n, "seed")
    text = (
        f"Distance {distance_text(grade.distance, grade.crosses)} over {seeds}, "
        f"reliability {grade.reliability:.2f}, grade {grade.level or UNGRADED}"
    )
    return f"{text} ({escape(grade.note)})." if grade.note else f"{text}."

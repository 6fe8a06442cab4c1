"""Numbers as text, the same in every format for people.

What stands here is made of our own words, numbers and validated identifiers only.
"""

import math

from driftboard.leaderboard.analysis.section import AT_CEILING, FEW_SEEDS, Row, Score
from driftboard.leaderboard.analysis.statistics import PairedDifference, RankSet
from driftboard.suite.distance.distance import Estimate

NOTHING = "-"
TIED_BEST = "★"  # marks a strategy that none is significantly better than
CROSSING = "†"  # marks a distance whose interval contains a cut-off between grades
LONGEST_NAME = 22  # characters, where there is no room for a name of 64
_BYTE_UNITS = ("kB", "MB", "GB", "TB")
_FLAG_WORDS = {FEW_SEEDS: "n < 5", AT_CEILING: "ceiling"}


def rank_set_text(ranks: RankSet | None) -> str:
    """Return e.g. ``1-3 ★``: the ranks that are possible, and a star if the best one is."""
    if ranks is None:
        return NOTHING
    span = str(ranks.best) if ranks.best == ranks.worst else f"{ranks.best}-{ranks.worst}"
    return f"{span} {TIED_BEST}" if ranks.is_tied_best else span


def p_text(p: float) -> str:
    """Return a p-value with up to three decimals, e.g. ``.012`` or ``<.001``."""
    if math.isnan(p):
        return NOTHING
    if p < 0.001:
        return "<.001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def interval_text(score: Score) -> str:
    """Return e.g. ``78.4 [77.9, 78.9]``, without bounds where there are none."""
    interval = score.interval
    return estimate_text(interval.mean, interval.low, interval.high, score.metric.is_share)


def difference_text(score: Score) -> str:
    """Return e.g. ``+1.2 [+0.5, +1.9] *``; the star marks significance."""
    if score.difference is None:
        return "reference"
    return change_text(score.difference, score.metric.is_share, score.is_significant)


def sequences_text(score: Score) -> str:
    """Return the mean as ``interval_text`` does, with its interval over new sequences."""
    found = score.over_sequences
    return estimate_text(found.mean, found.low, found.high, score.metric.is_share)


def sequences_difference_text(score: Score) -> str:
    """Return the difference as ``difference_text`` does, with its interval over new sequences."""
    found = score.difference_over_sequences
    return "reference" if found is None else change_text(found, score.metric.is_share, False)


def correlation_text(score: Score) -> str:
    """Return the correlation with the reference over the common seeds."""
    return NOTHING if score.difference is None else number_text(score.difference.correlation)


def change_text(found: PairedDifference, is_share: bool, is_significant: bool) -> str:
    """Return a difference as ``difference_text`` does."""
    star = " *" if is_significant else ""
    return estimate_text(found.mean, found.low, found.high, is_share, sign="+") + star


def estimate_text(mean: float, low: float, high: float, is_share: bool, sign: str = "") -> str:
    """Return a number with its interval: a share in percent, others with up to four digits.

    Nothing is shown of a number that is NaN, no interval where a bound is NaN. ``sign`` is ``+``
    to show the sign of positive numbers as well.
    """
    if math.isnan(mean):
        return NOTHING
    shown = [mean] if math.isnan(low) or math.isnan(high) else [mean, low, high]
    if is_share:
        # One digit is what few seeds can tell; two where the interval is too narrow to be seen.
        form = f"{sign}z.{2 if 0.0 < high - low < 0.002 else 1}f"
        shown = [100 * number for number in shown]
    else:
        form = _plain_form(max(map(abs, shown)), sign)
    first, *bounds = (f"{number:{form}}" for number in shown)
    return f"{first} [{', '.join(bounds)}]" if bounds else first


def distance_text(distance: Estimate, crosses: bool = False) -> str:
    """Return e.g. ``0.31 [0.28, 0.34]``, marked where the interval contains a cut-off."""
    if math.isnan(distance.value):
        return NOTHING
    mark = f" {CROSSING}" if crosses else ""
    if math.isnan(distance.low):
        return f"{distance.value:z.2f}{mark}"
    return f"{distance.value:z.2f} [{distance.low:z.2f}, {distance.high:z.2f}]{mark}"


def _plain_form(largest: float, sign: str) -> str:
    """Return the format that shows four digits of the largest of some numbers."""
    if largest == 0.0:
        return f"{sign}z.0f"
    if not 1e-3 <= largest < 1e6:
        return f"{sign}z.2e"
    return f"{sign}z.{max(0, 3 - math.floor(math.log10(largest)))}f"


def bytes_text(count: int | None) -> str:
    """Return a number of bytes in decimal units, e.g. ``1.2 MB``."""
    if count is None:
        return NOTHING
    if count < 1000:
        return f"{count} B"
    power = min((len(str(count)) - 1) // 3, len(_BYTE_UNITS))
    return f"{count / 1000**power:.1f} {_BYTE_UNITS[power - 1]}"


def number_text(number: float, digits: int = 2, unit: str = "") -> str:
    """Return a plain number with its unit, or that there is none."""
    return NOTHING if math.isnan(number) else f"{number:z.{digits}f}{unit}"


def divergence_text(row: Row) -> str:
    """Return e.g. ``1/5 [1, 72]``: diverged seeds of all, and the interval of their share."""
    share = row.divergence
    return f"{row.diverged}/{share.n} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def notes_text(row: Row) -> str:
    """Return what a reader must know of a row, e.g. ``n < 5, 2 of 10 cells missing``."""
    notes = [_FLAG_WORDS[flag] for flag in row.flags]
    if row.missing:
        notes.append(f"{row.missing} of {row.expected} cells missing")
    return ", ".join(notes)


def shortened(name: str) -> str:
    """Return a name of at most ``LONGEST_NAME`` characters, long ones without their middle.

    Names that differ mostly do so at one end.
    """
    if len(name) <= LONGEST_NAME:
        return name
    end = LONGEST_NAME // 2
    return f"{name[: LONGEST_NAME - end - 1]}…{name[-end:]}"

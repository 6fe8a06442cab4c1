"""Numbers as text, the same in every format for people, and text that others wrote made visible.

Identifiers are held to a narrow alphabet by the record schema, but titles of data, versions and
command lines are not. Each format escapes in addition what has a meaning in it.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import combinations_with_replacement

from driftboard.leaderboard.analysis.section import AT_CEILING, FEW_SEEDS, Row
from driftboard.leaderboard.analysis.statistics import Interval, PairedDifference, RankSet
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade

NOTHING = "-"
MAY_BE_BEST = "★"  # marks a strategy that is not ruled out as best
CROSSING = "†"  # marks a distance whose interval contains a cut-off between grades
LOW_RELIABILITY = "‡"  # marks a distance that was measured badly
LONGEST_LABEL = 30  # usual letters that a name has room for in a figure

# What nobody can see but what moves text about: control, format (among them the bidirectional
# ones), lone surrogates, and the two separators that some readers take for a new line.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_BYTE_UNITS = ("kB", "MB", "GB", "TB")
_FLAG_WORDS = {FEW_SEEDS: "n < 5", AT_CEILING: "ceiling"}


def rank_set_text(ranks: RankSet | None, may_be_best: bool = False) -> str:
    """Return e.g. ``1-3 ★``: the ranks that are possible, and whether it is marked."""
    if ranks is None:
        return NOTHING
    span = str(ranks.best) if ranks.best == ranks.worst else f"{ranks.best}-{ranks.worst}"
    return f"{span} {MAY_BE_BEST}" if may_be_best else span


def p_text(p: float) -> str:
    """Return a p-value with up to three decimals, e.g. ``.012`` or ``<.001``."""
    if math.isnan(p):
        return NOTHING
    if p < 0.001:
        return "<.001"
    return "1" if p >= 0.9995 else f"{p:.3f}".removeprefix("0")


def interval_text(found: Interval | PairedDifference, is_share: bool, sign: str = "") -> str:
    """Return e.g. ``78.4 [77.9, 78.9]``, as ``estimate_text`` does."""
    return estimate_text(found.mean, found.low, found.high, is_share, sign)


def difference_text(
    found: PairedDifference | None, is_share: bool, is_significant: bool = False
) -> str:
    """Return e.g. ``+1.2 [+0.5, +1.9] *``; the reference has no difference from itself."""
    if found is None:
        return "reference"
    return interval_text(found, is_share, sign="+") + (" *" if is_significant else "")


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


def distance_text(distance: Estimate, sign: str = "") -> str:
    """Return e.g. ``0.31 [0.28, 0.34]``."""
    if math.isnan(distance.value):
        return NOTHING
    value, low, high = (
        f"{number:{sign}z.2f}" for number in (distance.value, distance.low, distance.high)
    )
    return value if math.isnan(distance.low) else f"{value} [{low}, {high}]"


def graded_text(grade: Grade) -> str:
    """Return a measured distance, marked where new seeds or images might well give another."""
    marks = [CROSSING] * grade.crosses + [LOW_RELIABILITY] * grade.is_unreliable
    return " ".join([distance_text(grade.distance), *marks])


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


def of_finished_text(row: Row, text: str, runs: int | None = None) -> str:
    """Return a text with the number of runs that it is of, where that is not all of the row's."""
    count = len(row.finished) if runs is None else runs
    if text == NOTHING or count == len(row.cells):
        return text
    return f"{text} ({count}/{len(row.cells)})"


def divergence_text(row: Row) -> str:
    """Return e.g. ``1/5 [1, 72]``: diverged seeds of all, and the interval of their share."""
    share = row.divergence
    return f"{row.diverged}/{share.n} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def notes_text(row: Row) -> str:
    """Return what a reader must know of a row, e.g. ``n < 5, 2 of 10 cells missing``."""
    notes = [_FLAG_WORDS[flag] for flag in row.flags]
    if row.own_optimiser:
        notes.append("own optimiser")
    if row.missing:
        notes.append(f"{row.missing} of {row.expected} cells missing")
    return ", ".join(notes)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return names that stand together, each for where there is no room for a long one.

    All are different if the names are: those that would be cut to the same text are cut less.

    >>> list(short_names(["ewc-implicit-rate-0.838-strength-646.0", "sgd"]).values())
    ['ewc-implicit…strength-646.0', 'sgd']
    """
    lengths = dict.fromkeys(names, LONGEST_LABEL)
    while True:
        short = {name: _cut(name, length) for name, length in lengths.items()}
        times = Counter(short.values())
        alike = [name for name, text in short.items() if times[text] > 1]
        if not alike:
            return short
        for name in alike:
            lengths[name] += 1


def _cut(name: str, longest: int) -> str:
    """Return a name that is as wide as at most so many letters, a long one without its middle.

    It is cut where a setting begins, if it can be: a value is nothing without its name. What is
    said first is what the strategy is called, so of the beginning as much is kept as there is room.
    """
    if _width(name) <= longest:
        return name
    begins = [one.start() for one in re.finditer("(?<=-)[a-z]", name)]
    cuts = [
        f"{name[: start - 1]}…{name[end:]}"
        for start, end in combinations_with_replacement(begins, 2)
    ]
    fitting = [cut for cut in cuts if _width(cut) <= longest]
    if fitting:
        return max(fitting, key=lambda cut: (cut.index("…"), len(cut)))
    halves = (
        f"{name[: kept - kept // 2]}…{name[-(kept // 2) :]}" for kept in range(longest, 1, -1)
    )
    return next(text for text in halves if _width(text) <= longest)


def _width(text: str) -> int:
    """Return how many usual letters are as wide; m and w take up to two."""
    return len(text) + text.count("m") + text.count("w")


def visible_text(text: str) -> str:
    """Return ``text`` on one line with nothing hidden in it, for a format that escapes by itself.

    Line breaks and tabs become spaces, hidden characters the replacement character.
    """
    return without_hidden(re.sub(r"[\t\r\n]+", " ", text))


def without_hidden(text: str, keep: str = "") -> str:
    """Return ``text`` with the replacement character for hidden ones, but for those to ``keep``."""
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in keep
        else character
        for character in text
    )

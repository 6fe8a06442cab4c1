"""The columns of a board's tables, each row as plain strings, for every format meant for people.

What stands here is made of our own words, numbers and validated identifiers only.
"""

import math

from driftboard.leaderboard.board import (
    AT_CEILING,
    FEW_SEEDS,
    METRICS,
    Row,
    Score,
    Section,
)
from driftboard.leaderboard.statistics import Interval, PairedDifference

NOTHING = "-"
_BYTE_UNITS = ("kB", "MB", "GB", "TB")
FLAG_WORDS = {FEW_SEEDS: "n < 5", AT_CEILING: "ceiling"}
GROUPS = {
    "ranked": "Ranked",
    "bounds": "Bounds (for reference, not ranked)",
    "incomplete": "Incomplete (not ranked)",
}


def groups(section: Section) -> dict[str, tuple[Row, ...]]:
    """Return the rows of a section by the title of their group, groups without rows left out."""
    by_title = {title: getattr(section, name) for name, title in GROUPS.items()}
    return {title: rows for title, rows in by_title.items() if rows}


def row_cells(row: Row) -> dict[str, str]:
    """Return one row of a table as text by column heading; accuracies are in percent."""
    cells = {"#": NOTHING if row.rank is None else str(row.rank), "Strategy": row.strategy}
    for metric in METRICS:
        score = row.scores[metric.name]
        cells[metric.title] = interval_text(score.interval)
        cells[f"Δ {metric.title}"] = difference_text(score)
    first = row.scores["avg_acc"]
    cells["r"] = _correlation_text(first.difference)
    cells["Seeds"] = str(row.divergence.n)
    cells["Diverged"] = _divergence_text(row)
    cells["Memory"] = NOTHING if row.memory_bytes is None else bytes_text(row.memory_bytes)
    cells["Time"] = _number_or_nothing(row.relative_time, "x")
    cells["Notes"] = _notes(row)
    return cells


def interval_text(interval: Interval) -> str:
    """Return e.g. ``78.4 [77.9, 78.9]`` in percent, without bounds where there are none."""
    return _percent(interval.mean, interval.low, interval.high, sign="")


def difference_text(score: Score) -> str:
    """Return e.g. ``+1.2 [+0.5, +1.9] *`` in points of percent; the star marks significance."""
    if score.difference is None:
        return "reference"
    difference = score.difference
    star = " *" if score.is_significant else ""
    return _percent(difference.mean, difference.low, difference.high, sign="+") + star


def bytes_text(count: int) -> str:
    """Return a number of bytes in decimal units, e.g. ``1.2 MB``."""
    if count < 1000:
        return f"{count} B"
    power = min((len(str(count)) - 1) // 3, len(_BYTE_UNITS))
    return f"{count / 1000**power:.1f} {_BYTE_UNITS[power - 1]}"


def _percent(mean: float, low: float, high: float, sign: str) -> str:
    if math.isnan(mean):
        return NOTHING
    # One digit is what few seeds can tell; two where the interval is too narrow to be seen.
    digits = 2 if 0.0 < high - low < 0.002 else 1
    form = f"{sign}z.{digits}f"
    if math.isnan(low):
        return f"{100 * mean:{form}}"
    return f"{100 * mean:{form}} [{100 * low:{form}}, {100 * high:{form}}]"


def _correlation_text(difference: PairedDifference | None) -> str:
    return _number_or_nothing(math.nan if difference is None else difference.correlation, "")


def _number_or_nothing(number: float, unit: str) -> str:
    return NOTHING if math.isnan(number) else f"{number:z.2f}{unit}"


def _divergence_text(row: Row) -> str:
    share = row.divergence
    return f"{row.diverged}/{share.n} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _notes(row: Row) -> str:
    notes = [FLAG_WORDS[flag] for flag in row.flags]
    if row.missing:
        notes.append(f"{row.missing} of {row.expected} cells missing")
    return ", ".join(notes)

"""The tables of the page as data: each cell as text, with the raw number that it is sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftboard.leaderboard.analysis.board import UNGRADED, Board, GradeContrast, level_of
from driftboard.leaderboard.analysis.metric import Metric
from driftboard.leaderboard.analysis.ranks import SIGNIFICANT
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.render.layout import (
    NOTHING,
    change_text,
    estimate_text,
    groups,
    row_cells,
)
from driftboard.leaderboard.render.page.facts import about_average, about_sequence, count_of

STRATEGY = "Strategy"
_TEXTS = {STRATEGY, "Evidence", "Notes"}  # the columns that are sorted as text

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of a table: what it shows, and its raw number, NaN where there is none."""

    text: str
    number: float = math.nan

    @property
    def parts(self) -> tuple[str, str]:
        """The text up to its interval, and the interval with what follows, maybe empty."""
        head, bracket, rest = self.text.partition(" [")
        return head, f"[{rest}" if bracket else ""

    @property
    def key(self) -> str:
        """The raw number as JavaScript reads it, empty where there is none."""
        return "" if math.isnan(self.number) else repr(self.number)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, how it is sorted, and whether large numbers come first."""

    title: str
    is_text: bool = False
    large_first: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of groups of rows, by title; ``sequences`` are those that its numbers are of.

    A ``name`` of our own holds a colon, so that no sequence has the same.
    """

    name: str
    title: str
    about: str
    columns: tuple[Column, ...]
    groups: Mapping[str, Sequence[Mapping[str, Entry]]]
    sequences: tuple[str, ...]


def section_tables(board: Board) -> list[Table]:
    """Return the table of every section: overall, suites, grades, sequences."""
    return [
        _section(board, board.overall, f"Overall, {count_of(board.overall)}", ""),
        *(_section(board, one, f"Suite: {one.tier}, {count_of(one)}", "") for one in board.suites),
        *(_stratum(board, one) for one in board.strata),
        *(_section(board, one, one.name, about_sequence(board, one)) for one in board.sections),
    ]


def change_tables(board: Board) -> list[Table]:
    """Return for each metric how differences from the reference change between grades."""
    tables = []
    for metric in board.metrics:
        found = [contrast for contrast in board.contrasts if contrast.metric == metric]
        if found:
            tables.append(_changes(board, metric, found))
    return tables


def new_sequences_table(board: Board) -> Table | None:
    """Return the overall means with intervals over new sequences, None with one sequence only."""
    if len(board.sections) == 1 or not board.overall.ranked:
        return None
    columns = [Column(STRATEGY, is_text=True)]
    for metric in board.metrics:
        columns += _metric_columns(metric)
    return Table(
        name="new:sequences",
        title="Intervals over new sequences",
        about="The overall means with intervals over a population of sequences of which these are "
        "a sample: Student t with one value per sequence, not corrected. They answer another "
        "question than the other tables: what to expect of a new sequence, not of new seeds.",
        columns=tuple(columns),
        groups={"Ranked": [_over_sequences(row) for row in board.overall.ranked]},
        sequences=board.overall.sequences,
    )


def row_numbers(row: Row) -> Numbers:
    """Return the raw number behind each cell of ``row_cells`` that is not text, NaN for none.

    The reference's difference from itself counts as 0, a set of ranks as its best one.
    """
    numbers = {
        "#": math.nan if row.rank is None else row.rank,
        "Ranks": math.nan if row.rank_set is None else row.rank_set.best,
    }
    for score in row.scores.values():
        numbers[score.metric.title] = score.interval.mean
        numbers[_change(score.metric)] = 0.0 if score.difference is None else score.difference.mean
    first = row.first.difference
    return numbers | {
        "p": row.first.p_holm,
        "r": math.nan if first is None else first.correlation,
        "Seeds": row.divergence.n,
        "Diverged": row.divergence.mean,
        "Step": row.step,
        "Drift": row.drift,
        "Memory": math.nan if row.memory_bytes is None else row.memory_bytes,
        "Time": row.relative_time,
    }


def _change(metric: Metric) -> str:
    return f"Δ {metric.title}"


def _metric_columns(metric: Metric) -> list[Column]:
    large_first = not metric.lower_is_better
    return [Column(title, False, large_first) for title in (metric.title, _change(metric))]


def _stratum(board: Board, stratum: Section) -> Table:
    level = level_of(board.sections_of(stratum)[0].grade)
    title = "Ungraded" if level == UNGRADED else f"Grade: {level}"
    title = f"{title}, {count_of(stratum)}"
    return _section(board, stratum, title, about_average(board, stratum))


def _section(board: Board, section: Section, title: str, about: str) -> Table:
    found = {name: [_row(row) for row in rows] for name, rows in groups(section).items()}
    headings = next(iter(found.values()))[0]
    known = {column.title: column for one in board.metrics for column in _metric_columns(one)}
    return Table(
        name=section.name,
        title=title,
        about=about,
        columns=tuple(known.get(one, Column(one, one in _TEXTS)) for one in headings),
        groups=found,
        sequences=section.sequences,
    )


def _row(row: Row) -> dict[str, Entry]:
    numbers = row_numbers(row)
    return {
        heading: Entry(text) if heading in _TEXTS else Entry(text, numbers[heading])
        for heading, text in row_cells(row).items()
    }


def _changes(board: Board, metric: Metric, contrasts: Sequence[GradeContrast]) -> Table:
    pairs = list(dict.fromkeys(_pair(contrast) for contrast in contrasts))
    rows: dict[str, dict[str, Entry]] = {}
    for contrast in contrasts:
        row = rows.setdefault(
            contrast.strategy,
            {STRATEGY: Entry(contrast.strategy)} | dict.fromkeys(pairs, Entry(NOTHING)),
        )
        text = change_text(contrast.change, metric.is_share, contrast.p_holm < SIGNIFICANT)
        row[_pair(contrast)] = Entry(text, contrast.change.mean)
    large_first = not metric.lower_is_better
    return Table(
        name=f"change:{metric.name}",
        title=f"Changes in Δ {metric.title}",
        about="",
        columns=(Column(STRATEGY, True), *(Column(one, False, large_first) for one in pairs)),
        groups={"Ranked": list(rows.values())},
        sequences=board.overall.sequences,
    )


def _pair(contrast: GradeContrast) -> str:
    return f"{contrast.farther} - {contrast.nearer}"


def _over_sequences(row: Row) -> dict[str, Entry]:
    cells = {STRATEGY: Entry(row.strategy)}
    for score in row.scores.values():
        metric, own = score.metric, score.over_sequences
        text = estimate_text(own.mean, own.low, own.high, metric.is_share)
        cells[metric.title] = Entry(text, own.mean)
        change = score.difference_over_sequences
        cells[_change(metric)] = (
            Entry("reference", 0.0)
            if change is None
            else Entry(change_text(change, metric.is_share, False), change.mean)
        )
    return cells

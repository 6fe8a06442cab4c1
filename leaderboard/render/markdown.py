"""The leaderboard as one Markdown file: the overall table, one per sequence, and a legend."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from tabulate import tabulate

from driftboard.leaderboard.analysis.board import UNGRADED, Board, level_of
from driftboard.leaderboard.analysis.collect import SHOWN_HASH
from driftboard.leaderboard.analysis.ranks import SIGNIFICANT
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.render.distance_words import distance_sentence, short_distance
from driftboard.leaderboard.render.layout import (
    NOTHING,
    TIED_BEST,
    change_text,
    estimate_text,
    groups,
    row_cells,
)
from driftboard.leaderboard.render.legend import caveats, legend
from driftboard.leaderboard.render.text import markdown_cell
from driftboard.suite.errors import counted


def markdown(board: Board, command: str) -> str:
    """Return the board as Markdown; ``command`` is what a reader types to make it again."""
    parts = [f"# Driftboard leaderboard\n\n{_summary(board)}"]
    of_all = counted(len(board.sections), "sequence")
    parts.append(_section(f"## Overall, {of_all}", "", board.overall))
    if len(board.sections) > 1 and board.overall.ranked:
        parts.append(_over_sequences(board))
    parts += [_suite(suite) for suite in board.suites]
    parts += [_stratum(board, stratum) for stratum in board.strata]
    if board.contrasts:
        parts.append(_contrasts(board))
    for section in board.sections:
        stamp = board.source.sequences[section.name]
        about = (
            f"Data: {markdown_cell(stamp.data)}, {len(stamp.blocks)} blocks, tier "
            f"`{stamp.tier}`, sequence `{stamp.hash[:SHOWN_HASH]}`. "
            f"{distance_sentence(section.grade, markdown_cell)}"
        )
        parts.append(_section(f"## `{section.name}`", about, section))
    parts.append(_legend(board, command))
    return "\n\n".join(parts) + "\n"


def overall_tables(board: Board, command: str) -> str:
    """Return the overall tables in few columns, for a page that says what they are about."""
    first = board.metrics[0]
    keep = ["Ranks", "Strategy", first.title, f"Δ {first.title}", "p"]
    keep += [metric.title for metric in board.metrics[1:]] + ["Notes"]
    parts = [_summary(board)]
    for title, rows in groups(board.overall).items():
        parts += [f"**{title}**", _table(rows, keep)]
    parts.append(
        f"95 % intervals over new seeds; `*`: p < .05 after Holm's correction; `{TIED_BEST}`: none "
        f"is significantly better. Made with <code>{markdown_cell(command)}</code>."
    )
    return "\n\n".join(parts)


def _summary(board: Board) -> str:
    collection = board.source
    seeds = {cell.seed for cell in collection.cells}
    text = (
        f"{counted(len(board.overall.rows), 'strategy', 'strategies')} on "
        f"{counted(len(board.sections), 'sequence')} with {counted(len(seeds), 'seed')}, "
        f"{counted(len(collection.cells), 'record')}, {collection.split} split. "
        f"Reference: `{board.reference}`."
    )
    return text + caveats(collection)


def _suite(suite: Section) -> str:
    return _section(f"## Suite: {suite.tier}, {_count(suite)}", "", suite)


def _count(section: Section) -> str:
    return counted(len(section.sequences), "sequence")


def _stratum(board: Board, stratum: Section) -> str:
    sections = board.sections_of(stratum)
    level = level_of(sections[0].grade)
    title = "Ungraded" if level == UNGRADED else f"Grade: {level}"
    listed = "; ".join(
        f"`{section.name}` {short_distance(section.grade, markdown_cell)}" for section in sections
    )
    return _section(f"## {title}, {_count(stratum)}", f"Distances: {listed}.", stratum)


def _section(heading: str, about: str, section: Section) -> str:
    parts = [heading]
    if about:
        parts.append(about)
    for title, rows in groups(section).items():
        parts += [f"**{title}**", _table(rows)]
    return "\n\n".join(parts)


def _table(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """Return rows as a table of the columns that are named, by default of all."""
    # A code span: an identifier such as www.x.y would become a link outside of it.
    whole = [row_cells(row) | {"Strategy": f"`{row.strategy}`"} for row in rows]
    cells = [{name: row[name] for name in columns or row} for row in whole]
    return markdown_table(cells, left=("Strategy", "Evidence", "Notes"))


def markdown_table(cells: Sequence[Mapping[str, str]], left: Collection[str]) -> str:
    """Return rows of Markdown by heading as a table; the columns in ``left`` are left-aligned."""
    names = list(cells[0])
    table: str = tabulate(
        [[row[name] for name in names] for row in cells],
        headers=names,
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if name in left else "right" for name in names],
    )
    return table


def _contrasts(board: Board) -> str:
    """Return the table of how differences from the reference change between grades."""
    first = board.metrics[0]
    rows: dict[str, dict[str, str]] = {}
    for contrast in board.contrasts:
        if contrast.metric == first:
            row = rows.setdefault(contrast.strategy, {"Strategy": f"`{contrast.strategy}`"})
            row[f"{contrast.farther} - {contrast.nearer}"] = change_text(
                contrast.change, first.is_share, contrast.p_holm < SIGNIFICANT
            )
    about = (
        f"How the difference from `{board.reference}` in {first.title} changes from one grade to "
        "another, paired by seed, with 95 % t intervals. `*`: p < .05 with Holm's correction over "
        "this table."
    )
    table = markdown_table(
        [{**dict.fromkeys(_all_keys(rows.values()), NOTHING), **row} for row in rows.values()],
        left=("Strategy",),
    )
    return f"## Changes between grades\n\n{about}\n\n{table}"


def _all_keys(rows: Iterable[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _over_sequences(board: Board) -> str:
    """Return the overall means with intervals over new sequences in place of new seeds."""
    about = (
        "The same means with intervals over a population of sequences of which these are a "
        "sample: Student t with one value per sequence, not corrected. They answer another "
        "question than the tables: what to expect of a new sequence, not of new seeds."
    )
    rows = []
    for row in board.overall.ranked:
        cells = {"Strategy": f"`{row.strategy}`"}
        for score in row.scores.values():
            own, difference = score.over_sequences, score.difference_over_sequences
            is_share, title = score.metric.is_share, score.metric.title
            cells[title] = estimate_text(own.mean, own.low, own.high, is_share)
            cells[f"Δ {title}"] = (
                "reference" if difference is None else change_text(difference, is_share, False)
            )
        rows.append(cells)
    return f"## Over sequences\n\n{about}\n\n{markdown_table(rows, left=('Strategy',))}"


def _legend(board: Board, command: str) -> str:
    lines = []
    for point in legend(board, command):
        quoted = f"<code>{markdown_cell(point.quoted)}</code>" if point.quoted else ""
        lines.append(f"- {point.term}: {point.text}{quoted}")
    return "## Legend\n\n" + "\n".join(lines)

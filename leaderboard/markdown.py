"""The leaderboard as one Markdown file: the overall table, one per sequence, and a legend."""

from collections.abc import Sequence
from importlib.metadata import version

import pandas as pd

from driftboard.leaderboard.board import Board, Row, Section
from driftboard.leaderboard.collect import SHOWN_HASH
from driftboard.leaderboard.layout import groups, row_cells
from driftboard.leaderboard.text import markdown_cell


def markdown(board: Board, command: str) -> str:
    """Return the board as Markdown; ``command`` is what a reader types to make it again."""
    parts = [f"# Driftboard leaderboard\n\n{_summary(board)}"]
    parts.append(_section(f"## Overall, {len(board.sections)} sequences", "", board.overall))
    for section in board.sections:
        stamp = board.source.sequences[section.name]
        about = (
            f"Data: {markdown_cell(stamp.data)}, {len(stamp.blocks)} blocks, tier "
            f"`{stamp.tier}`, sequence `{stamp.hash[:SHOWN_HASH]}`."
        )
        parts.append(_section(f"## `{section.name}`", about, section))
    parts.append(_legend(board, command))
    return "\n\n".join(parts) + "\n"


def _summary(board: Board) -> str:
    collection = board.source
    seeds = {cell.seed for cell in collection.cells}
    text = (
        f"{len(board.overall.rows)} strategies on {len(board.sections)} sequences with "
        f"{len(seeds)} seeds, {len(collection.cells)} records, {collection.split} split. "
        f"Reference: `{board.reference}`."
    )
    if collection.split == "validation":
        text += " **Validation data: for tuning, not for publication.**"
    if collection.skipped:
        text += f" Broken records left out: {len(collection.skipped)}."
    return text


def _section(heading: str, about: str, section: Section) -> str:
    parts = [heading]
    if about:
        parts.append(about)
    for title, rows in groups(section).items():
        parts += [f"**{title}**", _table(rows)]
    return "\n\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    # A code span: an identifier such as www.x.y would become a link outside of it.
    cells = [row_cells(row) | {"Strategy": f"`{row.strategy}`"} for row in rows]
    frame = pd.DataFrame(cells)
    align = ["left" if name in ("Strategy", "Notes") else "right" for name in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _legend(board: Board, command: str) -> str:
    protocol = board.source.protocol
    versions = "; ".join(
        f"{name} {', '.join(markdown_cell(text) for text in texts)}"
        for name, texts in board.source.versions.items()
    )
    points = [
        "Estimand: the mean over new seeds on these sequences, not over other sequences. For "
        "the overall table each seed is first averaged over the sequences.",
        "Avg.Acc, the accuracy over all tasks after the last one; Forgetting, accuracy right "
        "after a task minus accuracy at the end (lower is better); Task.Acc, accuracy right "
        "after each task. All in percent.",
        "`[low, high]`: 95 % interval over seeds, Student t, clipped to the possible range; no "
        "interval with one seed.",
        f"`Δ`: difference from `{board.reference}` on the same seeds in points of percent, with "
        "its paired 95 % t interval; `r`: correlation of Avg.Acc with the reference over these "
        "seeds.",
        "`*`: p < .05, paired t test with Holm's correction over the ranked strategies compared "
        "on that metric within that table. Bounds and incomplete strategies are not tested.",
        "`#`: rank by mean Avg.Acc; neighbours need not differ significantly.",
        "Diverged: seeds with at least one diverged run, and the exact (Clopper-Pearson) 95 % "
        "interval of their share in percent. From then on such a run counts with the accuracy of "
        "chance.",
        "Memory: the most that the strategy carries over between tasks. Time: training time "
        f"relative to `{board.reference}`.",
        "`n < 5`: too few seeds to trust the interval; `ceiling`: a mean accuracy of at least "
        "99.5 % or a seed at 100 %, where the interval is too narrow.",
        "Incomplete: cells that another strategy has are missing; they are not imputed.",
        f"Protocol: `{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        f"Records made with: {versions}.",
        f"Table made with: driftboard {version('driftboard')}, scipy {version('scipy')}.",
        f"Command: <code>{markdown_cell(command)}</code>",
    ]
    return "## Legend\n\n" + "\n".join(f"- {point}" for point in points)

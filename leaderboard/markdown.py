"""The leaderboard as one Markdown file: the overall table, one per sequence, and a legend."""

from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version

import pandas as pd

from driftboard.leaderboard.board import UNGRADED, Board, Row, Section, level_of
from driftboard.leaderboard.collect import SHOWN_HASH, Measure
from driftboard.leaderboard.layout import CROSSING, distance_text, groups, row_cells
from driftboard.leaderboard.text import markdown_cell
from driftboard.suite.grades import Grade

_METRIC_WORDS: dict[Measure, str] = {
    "accuracy": "Avg.Acc, the accuracy over all tasks after the last one; Forgetting, accuracy "
    "right after a task minus accuracy at the end (lower is better); Task.Acc, accuracy right "
    "after each task. All in percent.",
    "excess-loss": "Excess loss: expected loss less that of the true parameters; lower is "
    "better throughout. Avg.Loss, over all tasks after the last one; Forgetting, loss at the end "
    "minus loss right after a task; Task.Loss, right after each task.",
}
_DIVERGED_WORDS: dict[Measure, str] = {
    "accuracy": "From then on such a run counts with the accuracy of chance.",
    "excess-loss": "Such a run counts with the losses in its record.",
}


def markdown(board: Board, command: str) -> str:
    """Return the board as Markdown; ``command`` is what a reader types to make it again."""
    parts = [f"# Driftboard leaderboard\n\n{_summary(board)}"]
    parts.append(_section(f"## Overall, {len(board.sections)} sequences", "", board.overall))
    parts += [_stratum(board, stratum) for stratum in board.strata]
    for section in board.sections:
        stamp = board.source.sequences[section.name]
        about = (
            f"Data: {markdown_cell(stamp.data)}, {len(stamp.blocks)} blocks, tier "
            f"`{stamp.tier}`, sequence `{stamp.hash[:SHOWN_HASH]}`. {_graded(section.grade)}"
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


def _stratum(board: Board, stratum: Section) -> str:
    sections = board.sections_of(stratum)
    level = level_of(sections[0].grade)
    title = "Ungraded" if level == UNGRADED else f"Grade: {level}"
    listed = "; ".join(f"`{section.name}` {_short_distance(section.grade)}" for section in sections)
    count = f"{len(sections)} sequence{'s' if len(sections) > 1 else ''}"
    return _section(f"## {title}, {count}", f"Distances: {listed}.", stratum)


def _short_distance(grade: Grade | None) -> str:
    if grade is None:
        return "not measured"
    if grade.level is None:
        return f"({markdown_cell(grade.note)})"
    return distance_text(grade.distance, grade.crosses)


def _graded(grade: Grade | None) -> str:
    """Return what is known of a sequence's distance, in a sentence."""
    if grade is None:
        return "Distance: not measured."
    if grade.distance.n == 0:
        return f"Distance: not measurable, {markdown_cell(grade.note)}."
    text = (
        f"Distance {distance_text(grade.distance, grade.crosses)} over "
        f"{grade.distance.n} seeds, reliability {grade.reliability:.2f}, "
        f"grade **{grade.level or UNGRADED}**"
    )
    return f"{text} ({markdown_cell(grade.note)})." if grade.note else f"{text}."


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
    return markdown_table(cells, left=("Strategy", "Notes"))


def markdown_table(cells: Sequence[Mapping[str, str]], left: Collection[str]) -> str:
    """Return rows of Markdown by heading as a table; the columns in ``left`` are left-aligned."""
    frame = pd.DataFrame(cells)
    align = ["left" if name in left else "right" for name in frame.columns]
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _legend(board: Board, command: str) -> str:
    protocol, measure = board.source.protocol, board.source.measure
    first = board.metrics[0]
    unit = "in points of percent" if first.is_share else "in the same unit"
    versions = "; ".join(
        f"{name} {', '.join(markdown_cell(text) for text in texts)}"
        for name, texts in board.source.versions.items()
    )
    points = [
        "Estimand: the mean over new seeds on these sequences, not over other sequences. For "
        "the overall table each seed is first averaged over the sequences.",
        _METRIC_WORDS[measure],
        "`[low, high]`: 95 % interval over seeds, Student t, clipped to the possible range; no "
        "interval with one seed.",
        f"`Δ`: difference from `{board.reference}` on the same seeds {unit}, with its paired "
        f"95 % t interval; `r`: correlation of {first.title} with the reference over these seeds.",
        "`*`: p < .05, paired t test with Holm's correction over the ranked strategies compared "
        "on that metric within that table. Bounds and incomplete strategies are not tested.",
        f"`#`: rank by mean {first.title}; neighbours need not differ significantly.",
        "Diverged: seeds with at least one diverged run, and the exact (Clopper-Pearson) 95 % "
        f"interval of their share in percent. {_DIVERGED_WORDS[measure]}",
        "Step: the norm of a task's update of all blocks before the head, relative to that of "
        "the solution it leads to; mean over the tasks after the first. Drift: the distance of "
        "the final blocks before the head from the first task's solution, relative to its norm. "
        "Means over records.",
        *_grade_points(board),
        "Memory: the most that the strategy carries over between tasks. Time: training time "
        f"relative to `{board.reference}`.",
        _flag_words(board),
        "Incomplete: cells that another strategy has are missing; they are not imputed.",
        f"Protocol: `{protocol.name}` version {protocol.version}, hash `{protocol.hash}`.",
        f"Records made with: {versions}.",
        f"Table made with: driftboard {version('driftboard')}, scipy {version('scipy')}.",
        f"Command: <code>{markdown_cell(command)}</code>",
    ]
    return "## Legend\n\n" + "\n".join(f"- {point}" for point in points)


def _flag_words(board: Board) -> str:
    text = "`n < 5`: too few seeds to trust the interval"
    if any(metric.has_ceiling for metric in board.metrics):
        text += (
            "; `ceiling`: a mean accuracy of at least 99.5 % or a seed at 100 %, where the "
            "interval is too narrow"
        )
    return f"{text}."


def _grade_points(board: Board) -> list[str]:
    if not board.strata:
        return []
    return [
        "Distance: the measured parameter distance of consecutive tasks, with its 95 % jackknife "
        "interval over seeds: 0 for the same task, 2 for unrelated ones. Grade: near, medium or "
        f"far by the cut-offs of the grading. `{CROSSING}`: the interval contains a cut-off, new "
        "seeds might give another grade. Each grade's table is made as the overall one."
    ]

"""The figures of a leaderboard, each with a text alternative that holds its numbers.

Those drawn here have a row for each strategy: a panel overall, and one for each grade. Every panel
has the same rows, in the order of the overall ranking.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.cells import Metric
from driftboard.leaderboard.analysis.section import Row, Section
from driftboard.leaderboard.claim.trend import PAPER, Claim
from driftboard.leaderboard.formatting import interval_text, rank_set_text
from driftboard.leaderboard.render.claim_page import answer
from driftboard.leaderboard.render.figures.curves import claim_figure
from driftboard.leaderboard.render.figures.drawing import (
    BLUE,
    GREY,
    NOBODY,
    PAGE,
    Illustration,
    difference_title,
    draw_intervals,
    house_style,
    images,
    labels_of,
    shown,
    widest,
)
from driftboard.leaderboard.render.figures.plane import DRIFT, Across, plane_figure
from driftboard.suite.errors import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.17  # inches
_TOP, _BOTTOM, _EDGE = 0.45, 0.85, 0.12  # inches around the panels

REACH = 0.3  # by which a span extends beyond its ranks, so that a single rank is visible
_LIGHT, _LINE = "#D0D0D0", "#E8E8E8"


def illustrate(board: Board, claim: Claim | None) -> tuple[Illustration, ...]:
    """Return the figures ``distance``, ``drift``, ``plane``, ``forest`` and ``ranks``.

    ``distance`` needs a claim. The same board gives the same bytes.
    """
    first, forgetting = board.metrics[:2]
    drawn = {
        "drift": (
            f"{first.title} against the drift of the parameters",
            plane_words(board, "drift"),
            plane_figure(board, "drift"),
        ),
        "plane": (
            f"{first.title} against {forgetting.title}",
            plane_words(board, "forgetting"),
            plane_figure(board, "forgetting"),
        ),
        "forest": (
            f"Differences from {board.reference} in {first.title}",
            forest_words(board),
            forest_figure(board),
        ),
        "ranks": (f"Possible ranks by {first.title}", ranks_words(board), ranks_figure(board)),
    }
    if claim is not None:
        title = f"{PAPER.title.capitalize()} against the measured distance"
        drawn = {"distance": (title, distance_words(claim), claim_figure(claim))} | drawn
    return tuple(
        Illustration(name, title, words, **images(figure))
        for name, (title, words, figure) in drawn.items()
    )


def distance_words(claim: Claim) -> str:
    """Describe the figure of the claim by the answer that its page gives."""
    findings = " ".join(answer(claim)).replace("**", "").replace("`", "")
    return (
        f"{PAPER.title.capitalize()}: the difference on each sequence against the measured "
        f"distance of its tasks, a panel for each metric, with 95 % intervals. {findings}"
    )


def plane_words(board: Board, across: Across) -> str:
    """Describe a plane: both means of every strategy on it, with intervals."""
    up, right = board.metrics[:2]

    def place(row: Row) -> str:
        height = interval_text(row.first.interval, up.is_share)
        if across == "drift":
            beside = interval_text(row.drift_over_seeds, is_share=False)
        else:
            beside = interval_text(row.scores[right.name].interval, right.is_share)
        return f"{row.strategy}: {height} and {beside}{_diverged(row)}"

    overall, count = board.overall, counted(len(board.overall.sequences), "sequence")
    return (
        f"Every strategy as a point: upwards {_axis(up)}, to the right "
        f"{_axis(right) if across == 'forgetting' else DRIFT.lower()}, means over "
        f"{count} with 95 % intervals over seeds, in this order. "
        f"Ranked, best first: {_listed(map(place, overall.ranked))}. {_examples(board, place)}"
        f"Bounds, not ranked: {_listed(map(place, overall.bounds), 'none')}."
    )


def forest_words(board: Board) -> str:
    """Describe the forest plot: every difference with its interval."""
    metric = board.metrics[0]
    unit = " in points of percent" if metric.is_share else ""

    def difference(row: Row) -> str:
        found = row.first.difference
        if found is None:
            return f"{row.strategy} is the reference{_diverged(row)}"
        text = interval_text(found, metric.is_share, sign="+")
        verdict = "significant" if row.first.is_significant else "not significant"
        return f"{row.strategy} {text}, {verdict}{_diverged(row)}"

    return (
        f"Differences from {board.reference} in {metric.title}{unit}, {_better(metric)}, paired by "
        f"seed, with 95 % intervals. {_by_section(board, difference)}"
    )


def ranks_words(board: Board) -> str:
    """Describe the ranks: by the mean, and all that are possible."""

    def ranks(row: Row) -> str:
        mark = ", not ruled out as best" if row.may_be_best else ""
        possible = rank_set_text(row.rank_set)
        return f"{row.strategy} {row.rank}, possible {possible}{mark}{_diverged(row)}"

    return (
        f"Rank of every strategy by its mean {board.metrics[0].title}, and the ranks that are "
        f"possible, with 95 % confidence for all together. {_by_section(board, ranks)}"
    )


def _diverged(row: Row) -> str:
    runs = f", {row.diverged_runs} of {counted(len(row.cells), 'run')} diverged"
    return runs if row.diverged_runs else ""


def _by_section(board: Board, describe: Callable[[Row], str]) -> str:
    return " ".join(
        f"{_section_name(section).capitalize()}, {counted(len(section.sequences), 'sequence')}: "
        f"{_listed(map(describe, section.ranked))}."
        for section in _panels_of(board)
    )


def _examples(board: Board, describe: Callable[[Row], str]) -> str:
    """Describe the strategies that store examples, if there are any."""
    found = board.overall.examples
    return f"With stored examples: {_listed(map(describe, found))}. " if found else ""


def _listed(items: Iterable[str], otherwise: str = NOBODY) -> str:
    return "; ".join(items) or otherwise


def _axis(metric: Metric) -> str:
    unit = " in percent" if metric.is_share else ""
    return f"{metric.title}{unit} ({_better(metric)})"


def _better(metric: Metric) -> str:
    return "lower is better" if metric.lower_is_better else "higher is better"


@house_style()
def forest_figure(board: Board) -> "Figure":
    """Draw the differences from the reference on the metric that ranks, with their intervals.

    Filled markers are significant. The reference has none, it is the line at zero.
    """
    strategies = _strategies(board)
    names = [
        name + (" (reference)" if strategy == board.reference else "")
        for strategy, name in zip(strategies, _labels(board, strategies), strict=True)
    ]
    figure, panels = _panels(board, names)
    for panel, section in zip(panels, _panels_of(board), strict=True):
        panel.axvline(0.0, color=GREY, linewidth=0.8, zorder=1)
        _draw_differences(panel, _placed(section, strategies))
    _finish(figure, panels, difference_title(board))
    room = PAGE * panels[0].get_position().width / widest(figure, panels[0].get_xticklabels())
    panels[0].locator_params(axis="x", nbins=max(1, int(room / 2.0)))
    return figure


@house_style()
def ranks_figure(board: Board) -> "Figure":
    """Draw the ranks that are possible, and the rank by the mean; a star if it may be the best."""
    strategies = _strategies(board)
    figure, panels = _panels(board, _labels(board, strategies))
    for panel, section in zip(panels, _panels_of(board), strict=True):
        _draw_ranks(panel, _placed(section, strategies))
    most = max(1, *(len(section.ranked) for section in _panels_of(board)))
    step = 1 if most <= 5 else 5 * math.ceil(most / 20)
    panels[0].set_xticks(sorted({1, *range(step, most + 1, step)}))
    panels[0].set_xlim(0.4, most + 0.6)
    _finish(figure, panels, f"rank by {board.metrics[0].title} (1 is best)")
    return figure


def _strategies(board: Board) -> tuple[str, ...]:
    """Return all that are ranked: overall first, then those that are so in a grade only."""
    rows = [row for section in _panels_of(board) for row in section.ranked]
    return tuple(dict.fromkeys(row.strategy for row in rows))


def _labels(board: Board, strategies: Sequence[str]) -> list[str]:
    labels = labels_of(board.overall.rows)
    return [labels[strategy] for strategy in strategies]


def _placed(section: Section, strategies: Sequence[str]) -> list[tuple[int, Row]]:
    """Return the ranked rows of a section with their heights."""
    return [(strategies.index(row.strategy), row) for row in section.ranked]


def _draw_differences(panel: "Axes", rows: Sequence[tuple[int, Row]]) -> None:
    found = [
        (height, shown(row.first.difference, row.first.metric), row.first.is_significant)
        for height, row in rows
        if row.first.difference is not None
    ]
    draw_intervals(panel, "x", [(height, difference) for height, difference, _ in found], BLUE)
    for chosen, face, label in (
        (True, BLUE, "significant (p < .05)"),
        (False, "white", "not significant"),
    ):
        panel.plot(
            [difference[0] for _, difference, significant in found if significant is chosen],
            [height for height, _, significant in found if significant is chosen],
            marker="o",
            markersize=4,
            markeredgecolor=BLUE,
            markerfacecolor=face,
            linestyle="none",
            label=label,
        )


def _draw_ranks(panel: "Axes", rows: Sequence[tuple[int, Row]]) -> None:
    found = [
        (height, row.rank, row.rank_set, row.may_be_best)
        for height, row in rows
        if row.rank and row.rank_set
    ]
    if found:
        panel.hlines(
            [height for height, *_ in found],
            [ranks.best - REACH for _, _, ranks, _ in found],
            [ranks.worst + REACH for _, _, ranks, _ in found],
            colors=_LIGHT,
            linewidth=6,
            label="possible ranks",
        )
    for chosen, marker, colour, label in (
        (True, "*", BLUE, "rank by the mean, not ruled out as best"),
        (False, "o", "black", "rank by the mean"),
    ):
        panel.plot(
            [rank for _, rank, _, is_marked in found if is_marked is chosen],
            [height for height, _, _, is_marked in found if is_marked is chosen],
            marker=marker,
            markersize=6 if chosen else 3,
            color=colour,
            linestyle="none",
            label=label,
        )


def _panels(board: Board, names: Sequence[str]) -> tuple["Figure", list["Axes"]]:
    """Return a figure with an empty panel for each section, row 0 on top of each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    labels = names or [NOBODY]
    height = _TOP + _ROW * len(labels) + _BOTTOM
    figure = Figure(figsize=(PAGE, height))
    FigureCanvasAgg(figure)
    sections = _panels_of(board)
    panels = list(figure.subplots(1, len(sections), sharex=True, squeeze=False)[0])
    for panel, section in zip(panels, sections, strict=True):
        panel.set_title(f"{_section_name(section)}\n{counted(len(section.sequences), 'sequence')}")
        panel.set_ylim(len(labels) - 0.5, -0.5)
        panel.set_yticks([])
        guides = [((0.0, place), (1.0, place)) for place in range(len(labels))]
        across = panel.get_yaxis_transform()
        lines = LineCollection(guides, colors=_LINE, linewidths=0.5, transform=across, zorder=0)
        panel.add_collection(lines, autolim=False)
    panels[0].set_yticks(range(len(labels)), labels=labels)
    panels[0].tick_params(left=False)
    return figure, panels


def _finish(figure: "Figure", panels: Sequence["Axes"], title: str) -> None:
    """Lay the panels out, and put the title of their common axis and the legend below them.

    The layout is made by hand, because matplotlib's own takes longer than the drawing.
    """
    left, right = widest(figure, panels[0].get_yticklabels()) + 2 * _EDGE, PAGE - _EDGE
    _spread(figure, panels, left, right, _EDGE)
    gap = widest(figure, panels[0].get_xticklabels())
    _spread(figure, panels, left, right - gap / 2, gap + _EDGE / 2)
    axis = figure.text(0.5, 0.33 / figure.get_figheight(), title, ha="center", va="bottom")
    middle = (left + right) / 2.0
    axis.set_x(min(middle, PAGE - _EDGE - widest(figure, [axis]) / 2.0) / PAGE)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False)


def _spread(
    figure: "Figure", panels: Sequence["Axes"], left: float, right: float, gap: float
) -> None:
    """Divide the width between ``left`` and ``right`` among the panels, all in inches."""
    height = figure.get_figheight()
    width = (right - left - gap * (len(panels) - 1)) / len(panels)
    figure.subplots_adjust(
        left=left / PAGE,
        right=right / PAGE,
        bottom=_BOTTOM / height,
        top=1.0 - _TOP / height,
        wspace=gap / width,
    )


def _panels_of(board: Board) -> tuple[Section, ...]:
    """Return the sections with a panel of their own: overall, then each grade."""
    return (board.overall, *board.strata)


def _section_name(section: Section) -> str:
    """Return ``overall`` or the grade."""
    return section.name.removeprefix("grade:")

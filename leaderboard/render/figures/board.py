"""The figures of a leaderboard, each with a text alternative that holds its numbers."""

from collections.abc import Callable, Iterable

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.analysis.cells import Metric
from driftboard.leaderboard.analysis.section import Row
from driftboard.leaderboard.claim.trend import PAPER, Claim
from driftboard.leaderboard.formatting import (
    TIED_BEST,
    estimate_text,
    interval_text,
    rank_set_text,
)
from driftboard.leaderboard.render.claim_page import answer
from driftboard.leaderboard.render.figures.curves import claim_figure
from driftboard.leaderboard.render.figures.drawing import (
    NOBODY,
    Illustration,
    illustration,
    panels_of,
    section_name,
    sequences_text,
)
from driftboard.leaderboard.render.figures.plane import plane_figure
from driftboard.leaderboard.render.figures.rows import forest_figure, ranks_figure


def illustrate(board: Board, claim: Claim | None) -> tuple[Illustration, ...]:
    """Return the figures ``distance``, ``plane``, ``forest`` and ``ranks``.

    ``distance`` needs a claim. The same board gives the same bytes.
    """
    first, forgetting = board.metrics[:2]
    drawn = (
        illustration(
            "plane",
            f"{first.title} against {forgetting.title}",
            plane_words(board),
            plane_figure(board),
        ),
        illustration(
            "forest",
            f"Differences from {board.reference} in {first.title}",
            forest_words(board),
            forest_figure(board),
        ),
        illustration(
            "ranks", f"Possible ranks by {first.title}", ranks_words(board), ranks_figure(board)
        ),
    )
    if claim is None:
        return drawn
    title = f"{PAPER.title.capitalize()} against the measured distance"
    return (illustration("distance", title, distance_words(claim), claim_figure(claim)), *drawn)


def distance_words(claim: Claim) -> str:
    """Describe the figure of the claim by the answer that its page gives."""
    findings = " ".join(answer(claim)).replace("**", "").replace("`", "")
    return (
        f"{PAPER.title.capitalize()}: the difference on each sequence against the measured "
        f"distance of its tasks, a panel for each metric, with 95 % intervals. {findings}"
    )


def plane_words(board: Board) -> str:
    """Describe the plane: both means of every strategy on it, with intervals."""
    up, across = board.metrics[:2]

    def place(row: Row) -> str:
        both = (row.scores[metric.name] for metric in (up, across))
        return f"{row.strategy}: " + " and ".join(map(interval_text, both))

    overall = board.overall
    return (
        f"Every strategy as a point: upwards {_axis(up)}, to the right {_axis(across)}, means over "
        f"{sequences_text(overall)} with 95 % intervals over seeds, in this order. "
        f"Ranked, best first: {_listed(map(place, overall.ranked))}. "
        f"Bounds, not ranked: {_listed(map(place, overall.bounds), 'none')}."
    )


def forest_words(board: Board) -> str:
    """Describe the forest plot: every difference with its interval."""
    metric = board.metrics[0]
    unit = " in points of percent" if metric.is_share else ""

    def difference(row: Row) -> str:
        found = row.first.difference
        if found is None:
            return f"{row.strategy} is the reference"
        text = estimate_text(found.mean, found.low, found.high, metric.is_share, sign="+")
        verdict = "significant" if row.first.is_significant else "not significant"
        return f"{row.strategy} {text}, {verdict}"

    return (
        f"Differences from {board.reference} in {metric.title}{unit}, {_better(metric)}, paired by "
        f"seed, with 95 % intervals. {_by_section(board, difference)}"
    )


def ranks_words(board: Board) -> str:
    """Describe the ranks: by the mean, and all that are possible."""

    def ranks(row: Row) -> str:
        possible = rank_set_text(row.rank_set).replace(f" {TIED_BEST}", ", tied for best")
        return f"{row.strategy} {row.rank}, possible {possible}"

    return (
        f"Rank of every strategy by its mean {board.metrics[0].title}, and the ranks that are "
        f"possible, with 95 % confidence for all together. {_by_section(board, ranks)}"
    )


def _by_section(board: Board, describe: Callable[[Row], str]) -> str:
    return " ".join(
        f"{section_name(section).capitalize()}, {sequences_text(section)}: "
        f"{_listed(map(describe, section.ranked))}."
        for section in panels_of(board)
    )


def _listed(items: Iterable[str], otherwise: str = NOBODY) -> str:
    return "; ".join(items) or otherwise


def _axis(metric: Metric) -> str:
    unit = " in percent" if metric.is_share else ""
    return f"{metric.title}{unit} ({_better(metric)})"


def _better(metric: Metric) -> str:
    return "lower is better" if metric.lower_is_better else "higher is better"

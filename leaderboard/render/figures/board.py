"""The figures of a leaderboard, each with a text alternative that holds its numbers."""

from driftboard.leaderboard.analysis.board import Board
from driftboard.leaderboard.claim.claim import PAPER, Claim
from driftboard.leaderboard.render.figures.claim import claim_figure
from driftboard.leaderboard.render.figures.drawing import Illustration, illustration
from driftboard.leaderboard.render.figures.plane import plane_figure
from driftboard.leaderboard.render.figures.rows import forest_figure, ranks_figure
from driftboard.leaderboard.render.figures.words import (
    distance_words,
    forest_words,
    plane_words,
    ranks_words,
)


def illustrate(board: Board, claim: Claim | None) -> tuple[Illustration, ...]:
    """Return the figures ``distance``, ``plane``, ``forest`` and ``ranks``.

    The first one is left out without a claim. The same board gives the same bytes.
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

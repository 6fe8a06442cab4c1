"""What the view of one strategy is drawn from: every mean matrix, and one scale for all of them."""

import math
from typing import Any

from driftboard.leaderboard.analysis.board import Board, level_of

# How far below the largest loss the scale reaches: a factor of 10,000. An excess loss may be
# zero, and one that has all but vanished must not take the colours from the others.
DECADES = 4


def view_data(board: Board) -> dict[str, Any]:
    """Return what the page's script needs to know, as JSON has it.

    ``matrices[sequence][strategy][t][k]`` is the mean over seeds of the accuracy, in [0, 1], or of
    the excess loss on task k after training task t; see ``view_scale`` for ``scale``.
    """
    return {
        "measure": board.source.measure,
        "reference": board.reference,
        "strategies": [row.strategy for row in board.overall.rows],
        "sequences": {
            section.name: {"tier": section.tier, "grade": level_of(section.grade)}
            for section in board.sections
        },
        "scale": view_scale(board),
        "matrices": {
            section.name: {
                row.strategy: matrix
                for row in board.overall.rows
                if (matrix := board.source.matrices.get((section.name, row.strategy)))
            }
            for section in board.sections
        },
    }


def view_scale(board: Board) -> dict[str, Any]:
    """Return the scale of all matrices of a board: from ``low`` to ``high``, and its ``ticks``.

    Accuracies have a linear one from 0 to 1; losses a logarithmic one over whole powers of ten
    that ends above the largest and spans at most ``DECADES``. Zero lies below it.
    """
    if board.source.measure == "accuracy":
        return {"log": False, "low": 0.0, "high": 1.0, "ticks": [0.0, 0.25, 0.5, 0.75, 1.0]}
    losses = [value for matrix in board.source.matrices.values() for row in matrix for value in row]
    positive = [value for value in losses if value > 0.0] or [1.0]
    # a power of ten that is a number, and of which those DECADES below are not zero
    last = min(max(math.ceil(math.log10(max(positive))), -300), 308)
    first = max(math.floor(math.log10(min(positive))), last - DECADES)
    first = min(first, last - 1)
    ticks = [10.0**power for power in range(first, last + 1)]
    return {"log": True, "low": ticks[0], "high": ticks[-1], "ticks": ticks}

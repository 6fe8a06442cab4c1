"""Old name of ``formatting.py``, until every room has moved to the new one."""

from driftboard.leaderboard.formatting import (
    CROSSING,
    LONGEST_NAME,
    NOTHING,
    TIED_BEST,
    bytes_text,
    change_text,
    difference_text,
    distance_text,
    estimate_text,
    interval_text,
    number_text,
    p_text,
    rank_set_text,
    shortened,
)

__all__ = [
    "CROSSING",
    "LONGEST_NAME",
    "NOTHING",
    "TIED_BEST",
    "bytes_text",
    "change_text",
    "difference_text",
    "distance_text",
    "estimate_text",
    "interval_text",
    "number_text",
    "p_text",
    "rank_set_text",
    "shortened",
]

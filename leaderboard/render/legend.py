"""Old name of ``table.py``, until every room has moved to the new one."""

from driftboard.leaderboard.table import Point, caveats, legend

__all__ = ["Point", "caveats", "legend"]

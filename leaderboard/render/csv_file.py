"""Old name of ``render/csv.py``, until every room has moved to the new one."""

from driftboard.leaderboard.columns import Value
from driftboard.leaderboard.render.csv import csv_text

__all__ = ["Value", "csv_text"]

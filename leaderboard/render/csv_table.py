"""Old name of ``render/csv.py``, until every room has moved to the new one."""

from driftboard.leaderboard.render.csv import csv_table

__all__ = ["csv_table"]

"""Old name of ``analysis/cells.py``, until every room has moved to the new one."""

from driftboard.leaderboard.analysis.cells import METRICS, Metric

__all__ = ["METRICS", "Metric"]

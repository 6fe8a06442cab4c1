"""Old name of ``analysis/collect.py``, until every room has moved to the new one."""

from driftboard.leaderboard.analysis.collect import Badge, evidence

__all__ = ["Badge", "evidence"]

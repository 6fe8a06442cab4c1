"""Old name of ``render/markdown.py``, until every room has moved to the new one."""

from driftboard.leaderboard.render.markdown import BEGIN, END, between_markers, update_file

__all__ = ["BEGIN", "END", "between_markers", "update_file"]

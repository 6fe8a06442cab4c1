"""The board as one web page that needs nothing else: no network, no second file."""

from driftboard.leaderboard.render.page.render import html_page

__all__ = ["html_page"]

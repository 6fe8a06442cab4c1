"""Driftboard: how far should the parameters move when a new task arrives?"""

from importlib.metadata import version

__version__ = version("driftboard")

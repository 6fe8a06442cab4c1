"""Strategies: how far may each part of the network move on a new task?

What an author of a strategy needs is here: ``from driftboard.strategies import Strategy``.
"""

from driftboard.strategies.base import (
    Block,
    Examples,
    Memory,
    Network,
    Parameters,
    Range,
    Strategy,
    Task,
    UpdatePlan,
    overrides,
)

__all__ = [
    "Block",
    "Examples",
    "Memory",
    "Network",
    "Parameters",
    "Range",
    "Strategy",
    "Task",
    "UpdatePlan",
    "overrides",
]

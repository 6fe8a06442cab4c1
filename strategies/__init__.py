"""Strategies: how far may each part of the network move on a new task?

What an author of a strategy needs is here: ``from driftboard.strategies import Strategy``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftboard.strategies.base import (
        Block,
        Examples,
        Memory,
        Network,
        Parameters,
        Query,
        Range,
        Scaling,
        Step,
        Strategy,
        Task,
        UpdatePlan,
        masked,
        mean_cross_entropy,
        overrides,
    )

__all__ = [
    "Block",
    "Examples",
    "Memory",
    "Network",
    "Parameters",
    "Query",
    "Range",
    "Scaling",
    "Step",
    "Strategy",
    "Task",
    "UpdatePlan",
    "masked",
    "mean_cross_entropy",
    "overrides",
]


def __getattr__(name: str) -> Any:
    """Import the interface, and torch with it, only when something of it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'driftboard.strategies' has no attribute '{name}'")
    return getattr(import_module("driftboard.strategies.base"), name)

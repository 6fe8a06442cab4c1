"""Driftboard: how far should the parameters move when a new task arrives?

A benchmark and leaderboard of continual learning, from Python. It does what the program
``driftboard`` does, and keeps results in the same folders.

>>> import driftboard as db
>>> results = db.published("quick", strategies=["sgd", "ewc", "hybrid", "joint"])
>>> results.accuracy("digits-split", "ewc", seed=0).shape
(5, 5)
>>> board = db.leaderboard(results, reference="sgd")
>>> board.frame().query("sequence == 'overall' and rank == 1")["strategy"].iloc[0]
'hybrid'

Names are imported when they are first used, so that importing the package costs next to nothing:
neither torch nor pandas is loaded before something needs it.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from driftboard._board import Leaderboard, leaderboard
    from driftboard._results import Results, load, published
    from driftboard._run import Grades, check_strategy, grade, run, sequences, strategies
    from driftboard.strategies.base import Memory, Parameters, Range, Strategy, Task, UpdatePlan
    from driftboard.suite.errors import DataError, DriftboardError, RecordError, StrategyError
    from driftboard.suite.sequences.task_sequence import TaskSequence

    __version__: str

__all__ = [
    "DataError",
    "DriftboardError",
    "Grades",
    "Leaderboard",
    "Memory",
    "Parameters",
    "Range",
    "RecordError",
    "Results",
    "Strategy",
    "StrategyError",
    "Task",
    "TaskSequence",
    "UpdatePlan",
    "__version__",
    "check_strategy",
    "grade",
    "leaderboard",
    "load",
    "published",
    "run",
    "sequences",
    "strategies",
]

_HOMES = {
    "driftboard._board": ("Leaderboard",),
    "driftboard._results": ("Results", "load", "published"),
    "driftboard._run": ("Grades", "check_strategy", "grade", "run", "sequences"),
    "driftboard.strategies.base": (
        *("Memory", "Parameters", "Range", "Strategy", "Task", "UpdatePlan"),
    ),
    "driftboard.suite.errors": ("DataError", "DriftboardError", "RecordError", "StrategyError"),
    "driftboard.suite.sequences.task_sequence": ("TaskSequence",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        return import_module("importlib.metadata").version("driftboard")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'driftboard' has no attribute '{name}'")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """Return the public names, also those that are not imported yet."""
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__})


def _leaderboard(results: Any, reference: str = "sgd", **choice: Any) -> Any:
    """Return the ``Leaderboard`` of results.

    Args:
        results: a ``Results`` or several, of runs, folders or published sets. Of a cell, or a
            version of a strategy, that several have the first one's stands, your own before what
            is published.
        reference: the strategy that the others are compared with, on the same seeds.
        choice: ``strategies``, ``exclude`` and ``sequences``, names or patterns; ``prefer``,
            ``own`` or ``published``.

    Raises:
        DriftboardError: the records cannot stand on one board, the reference has none, or a
            pattern matches nothing.
    """
    return import_module("driftboard._board").leaderboard(results, reference, **choice)


def _strategies() -> Any:
    """Return the strategies that come with the package as a data frame, indexed by name."""
    return import_module("driftboard._run").strategies()


def _make_callable(package: str, function: Callable[..., Any]) -> None:
    """Let a subpackage be called as the function of its name.

    ``driftboard.leaderboard`` and ``driftboard.strategies`` are packages that users import from,
    and importing one makes it the attribute of that name, whatever stood there. So the package
    answers for the function, too. Python provides for it: a module's class may be replaced.
    """
    module = import_module(f"driftboard.{package}")
    members = {"__call__": staticmethod(function), "__doc__": function.__doc__}
    module.__class__ = type("CallablePackage", (ModuleType,), members)
    setattr(sys.modules[__name__], package, module)


_make_callable("leaderboard", _leaderboard)
_make_callable("strategies", _strategies)

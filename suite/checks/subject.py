"""The strategy that is checked, and how to get it as if nobody had used it yet."""

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from driftboard.strategies.base import Strategy
from driftboard.suite.loading import LoadedStrategy, load_strategy


@dataclass(frozen=True)
class Subject:
    """A loaded strategy and the module that its class is from."""

    loaded: LoadedStrategy
    module: ModuleType

    @property
    def strategy(self) -> Strategy:
        """The strategy itself."""
        return self.loaded.strategy

    @property
    def file(self) -> Path:
        """The file of its class."""
        return Path(inspect.getfile(type(self.strategy)))

    def fresh(self) -> "Subject":
        """Return the same, with its file run again; a built-in strategy is the same object."""
        return load_subject(self.loaded.specification)


def load_subject(specification: str) -> Subject:
    """Return the strategy that a specification names, see ``load_strategy``.

    Raises:
        StrategyError: it cannot be loaded.
    """
    loaded = load_strategy(specification)
    return Subject(loaded, sys.modules[type(loaded.strategy).__module__])

"""What is told of the built-in strategies: by the command ``driftboard strategies`` and the API."""

import dataclasses
import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN, FAMILIES, FURTHER
from driftboard.suite.checks.tiny import example_task
from driftboard.suite.errors import StrategyError
from driftboard.suite.loading import no_strategy
from driftboard.suite.training.stored import bytes_of


@dataclass(frozen=True)
class KnownStrategy:
    """One built-in strategy in words.

    Args:
        name: as it is given to ``--strategy``.
        family: the title of its family.
        role: ``ranked`` or ``bound``.
        default: whether a run takes it when none is named.
        stores: ``nothing``, ``parameters`` or ``examples``.
        parameters: its fields with their values.
        search: the ranges that ``driftboard tune`` tries, beside the learning rate.
        summary: what it does from the second task on.
        literature: where it comes from.
    """

    name: str
    family: str
    role: str
    default: bool
    stores: str
    parameters: dict[str, Any]
    search: dict[str, tuple[float, float]]
    summary: str
    literature: str


def known_strategies() -> list[KnownStrategy]:
    """Return all built-in strategies, those first that run by default.

    >>> next(one for one in known_strategies() if one.name == "er").stores
    'examples'
    """
    family = {name: title for title, names in FAMILIES.items() for name in names}
    return [
        KnownStrategy(
            name=name,
            family=family[name],
            role=strategy.role,
            default=name in BUILTIN,
            stores=stored_by(strategy),
            parameters=dataclasses.asdict(strategy),
            search={field: (one.low, one.high) for field, one in strategy.search.items()},
            summary=strategy.summary,
            literature=strategy.literature,
        )
        for name, strategy in (BUILTIN | FURTHER).items()
    ]


def by_family(known: Sequence[KnownStrategy]) -> dict[str, list[KnownStrategy]]:
    """Return strategies by the title of their family, in the order of the catalogue's families."""
    groups = {title: [one for one in known if one.family == title] for title in FAMILIES}
    return {title: members for title, members in groups.items() if members}


def named(patterns: Iterable[str], known: Sequence[KnownStrategy]) -> list[KnownStrategy]:
    """Return those whose names match any of the shell-style patterns, in the order of ``known``.

    Raises:
        StrategyError: a pattern matches nothing; the message offers the nearest names.
    """
    names = [one.name for one in known]
    found: set[str] = set()
    for pattern in patterns:
        matches = fnmatch.filter(names, pattern)
        if not matches:
            raise StrategyError(no_strategy(pattern, names))
        found.update(matches)
    return [one for one in known if one.name in found]


def stored_by(strategy: Strategy) -> str:
    """Return what a strategy stores: ``nothing``, ``parameters`` or ``examples``.

    One that does not declare it is tried on a task of the tiny sequence.
    """
    if strategy.stores is not None:
        return strategy.stores
    task = example_task()
    _, memory = strategy.begin(task, task.initial, {})
    _, memory = strategy.finish(task, task.initial, memory)
    return "parameters" if bytes_of(memory) else "nothing"

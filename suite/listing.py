"""What is told of the built-in strategies: by the command ``driftboard strategies`` and the API."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN, FAMILIES, FURTHER
from driftboard.suite.checks.tiny import example_task
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
        summary: what it does from the second task on.
        literature: where it comes from.
    """

    name: str
    family: str
    role: str
    default: bool
    stores: str
    parameters: dict[str, Any]
    summary: str
    literature: str


def known_strategies() -> list[KnownStrategy]:
    """Return all built-in strategies, family by family.

    >>> next(one for one in known_strategies() if one.name == "er").stores
    'examples'
    """
    known = BUILTIN | FURTHER
    return [
        KnownStrategy(
            name=name,
            family=title,
            role=known[name].role,
            default=name in BUILTIN,
            stores=stored_by(known[name]),
            parameters=dataclasses.asdict(known[name]),
            summary=known[name].summary,
            literature=known[name].literature,
        )
        for title, names in FAMILIES.items()
        for name in names
    ]


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

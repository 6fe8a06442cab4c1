"""Are the hyper-parameters used: does another value give another solution?"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from driftboard.strategies.base import Parameters, Strategy
from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.checks.training import learn, told
from driftboard.suite.checks.trees import same
from driftboard.suite.errors import StrategyError

Effect = Literal["used", "unused", "not tried"]


def setting_results(subject: Subject) -> list[Result]:
    """Train with one field changed at a time; a change that changes nothing is a warning."""
    strategy = subject.strategy
    usual = {network: _solution(strategy, network) for network in NETWORKS}
    effects: dict[str, Effect] = {}
    for field in dataclasses.fields(strategy):
        try:
            effects[field.name] = _effect(strategy, field.name, usual)
        except StrategyError as error:
            line = f"at an end of the search range of {field.name}, {told(error, subject.file)}"
            return [Result("settings", "FAILED", line)]
    return [_summary(effects)]


def _summary(effects: dict[str, Effect]) -> Result:
    names: dict[Effect, str] = {
        effect: ", ".join(name for name, found in effects.items() if found == effect)
        for effect in ("used", "unused", "not tried")
    }
    if names["unused"]:
        line = f"another value of {names['unused']} changes nothing here; does a hook use it?"
        return Result("settings", "warning", line)
    said = [f"{names['used']}: another value gives another solution"] if names["used"] else []
    said += [f"not tried: {names['not tried']}"] if names["not tried"] else []
    return Result("settings", "ok", "; ".join(said) or "there are none")


def _effect(strategy: Strategy, name: str, usual: dict[str, Parameters]) -> Effect:
    """Tell whether one of the other values of a field changes the solution of some network.

    Raises:
        StrategyError: a hook raised at a value that the strategy itself says is worth trying.
    """
    effect: Effect = "not tried"
    for value in _other_values(strategy, name):
        changed = _changed(strategy, name, value)
        if changed is None:
            continue
        try:
            if any(not same(_solution(changed, network), usual[network]) for network in NETWORKS):
                return "used"
        except StrategyError:
            if name in strategy.search:
                raise
        else:
            effect = "unused"
    return effect


def _changed(strategy: Strategy, name: str, value: bool | int | float) -> Strategy | None:
    """Return the strategy with one field changed, or None if it refuses the value."""
    try:
        return dataclasses.replace(strategy, **{name: value})
    except Exception:  # anything may come out of somebody else's code
        return None


def _other_values(strategy: Strategy, name: str) -> Iterator[bool | int | float]:
    """Yield values to try instead: the ends of the search range, or guesses; none for a text."""
    value = getattr(strategy, name)
    if name in strategy.search:
        limits = strategy.search[name]
        candidates = [float(limits.low), float(limits.high)]
    elif isinstance(value, bool):
        candidates = [not value]
    elif isinstance(value, int):
        candidates = [value + 1, value - 1, 2 * value]
    elif isinstance(value, float):
        candidates = [value / 100, 2 * value, value + 0.5, value - 0.5]
    else:
        candidates = []
    yield from (other for other in candidates if other != value)


def _solution(strategy: Strategy, network: str) -> Parameters:
    return learn(tiny_cohort(network, (0,)), strategy, "loop")[-1].parameters

"""Settings of a strategy: ``,parameter=value`` after its name, and the name that they give it."""

import dataclasses
import hashlib
from typing import Any

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.errors import StrategyError, cause_of, place_of
from driftboard.suite.records import LONGEST_NAME, name_part

RATE = "rate"
HIGHEST_RATE = 100.0


def parse_settings(strategy: Strategy, settings: str, name: str) -> tuple[float, dict[str, Any]]:
    """Return the rate and the fields that ``,parameter=value`` sets, any number of times."""
    known = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    known[RATE] = 1.0
    changes: dict[str, Any] = {}
    for setting in settings.split(",")[1:]:
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            names = ", ".join(known)
            raise StrategyError(f"'{setting}' does not set a parameter of {name}; it has: {names}")
        changes[key] = _parse(text, known[key], setting)
    rate = changes.pop(RATE, 1.0)
    if not 0 < rate <= HIGHEST_RATE:
        raise StrategyError(
            f"{name}: rate must be above 0 and at most {HIGHEST_RATE:g}, not {rate}"
        )
    return rate, changes


def changed(strategy: Strategy, changes: dict[str, Any], name: str) -> Strategy:
    """Return a strategy with some fields changed.

    Raises:
        StrategyError: its class refuses the values; ``name`` begins the message.
    """
    try:
        return dataclasses.replace(strategy, **changes) if changes else strategy
    except (Exception, SystemExit) as error:  # a user's class may raise anything
        # How a class says that a value is no good; anything else is a mistake of its own.
        cause = cause_of(error).removeprefix("ValueError: ")
        raise StrategyError(f"{name}: {cause}{place_of(error)}") from error


def name_with_settings(name: str, plain: Strategy, strategy: Strategy, rate: float) -> str:
    """Return the one name of a strategy with its settings, however they were written.

    What has a name in the catalogue goes by that; else the settings that are not those of
    ``plain`` follow its name.
    """
    known = BUILTIN | FURTHER
    settings = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(plain)}
    settings = {key: value for key, value in settings.items() if value != getattr(plain, key)}
    if name in known and strategy in known.values():
        name, settings = next(one for one in known if known[one] == strategy), {}
    settings = ({} if rate == 1.0 else {RATE: rate}) | settings
    suffix = "".join(name_part(key, value) for key, value in settings.items())
    return with_suffix(name, suffix[1:]) if suffix else name


def _parse(text: str, model: bool | int | float | str, setting: str) -> bool | int | float | str:
    """Read ``text`` as the type that the parameter has."""
    if isinstance(model, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise StrategyError(f"'{setting}': use true or false")
    try:
        value = type(model)(text)
    except ValueError as error:
        raise StrategyError(f"'{setting}': expected {type(model).__name__}") from error
    return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0


def with_suffix(name: str, suffix: str) -> str:
    """Return the name of a strategy with its settings; one too long ends in a digest of the whole.

    >>> with_suffix("mine", "rate-0.5"), with_suffix("m" * 60, "rate-0.5")[-15:]
    ('mine-rate-0.5', 'mmmmmm-ff98dcd7')
    """
    whole = f"{name}-{suffix}"
    if len(whole) <= LONGEST_NAME or len(name) > LONGEST_NAME:
        return whole
    end = f"-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return whole[: LONGEST_NAME - len(end)] + end

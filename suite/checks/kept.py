"""What a strategy keeps where nobody counts it: on the object, in its class, in its module."""

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from driftboard.strategies.base import Strategy

DEPTH = 6
"""How many containers within each other are looked into."""


def kept(strategy: Strategy, module: ModuleType) -> dict[str, Any]:
    """Return what is stored outside of the memory: name in words -> content that can be compared.

    Looked into are tensors, arrays, numbers, texts, containers of them, the module's classes,
    their objects, and functions' default arguments.
    """
    own = {f"self.{name}": value for name, value in vars(strategy).items()}
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            own |= {f"{name}.{key}": content for key, content in vars(value).items()}
        elif not name.startswith("__"):
            own[f"the module's {name}"] = value
    return {name: _content(value, module.__name__, DEPTH) for name, value in own.items()}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of what is new, or no longer what it was."""
    absent = object()
    return [name for name, content in after.items() if before.get(name, absent) != content]


def _content(value: Any, home: str, depth: int) -> Any:
    """Return plain data that is equal for equal content; whatever else by its identity.

    ``home`` is the name of the module whose classes' objects are looked into.
    """
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), repr(value.tolist())
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, repr(value.tolist())
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in value)
    if isinstance(value, FunctionType):
        value = [value.__defaults__, value.__kwdefaults__, vars(value)]
    elif type(value).__module__ == home:
        value = vars(value)
    if depth > 0 and isinstance(value, Mapping):
        return [(repr(key), _content(item, home, depth - 1)) for key, item in value.items()]
    if depth > 0 and isinstance(value, list | tuple):
        return [_content(item, home, depth - 1) for item in value]
    return id(value)

"""State that a strategy must not use: hidden state of its own, and global state of the process.

Hidden state is whatever lies on the strategy's object, in its class or in its module. Nothing
counts it as memory, and all learners share it.
"""

import pickle
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driftboard.strategies.base import Strategy

DEPTH = 6
"""How many levels of nested containers are inspected."""


def hidden_state(strategy: Strategy, module: ModuleType) -> dict[str, Any]:
    """Return what is stored outside of the memory: a name for messages -> comparable content.

    Covers tensors, arrays, numbers, texts, containers of them, the module's classes and their
    instances, and the default arguments of functions.
    """
    own = {f"self.{name}": value for name, value in vars(strategy).items()}
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            own |= {f"{name}.{key}": content for key, content in vars(value).items()}
        elif not name.startswith("__"):
            own[f"the module's {name}"] = value
    return {name: _content(value, module.__name__, DEPTH) for name, value in own.items()}


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names whose content is new or has changed.

    >>> changed_names({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    ['b', 'c']
    """
    absent = object()
    return [name for name, content in after.items() if before.get(name, absent) != content]


def _content(value: Any, home: str, depth: int) -> Any:
    """Return plain data that is equal for equal content; other objects by their identity.

    ``home`` is the name of the module whose instances are inspected.
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


@dataclass(frozen=True)
class GlobalState:
    """The global state of a process that results could depend on."""

    torch_random: bytes
    numpy_random: bytes
    python_random: bytes
    default_dtype: torch.dtype
    grad_mode: bool

    def changed_since(self, before: "GlobalState") -> list[str]:
        """Return in words what differs from the state ``before``."""
        return [
            _IN_WORDS[field.name]
            for field in fields(self)
            if getattr(self, field.name) != getattr(before, field.name)
        ]

    def restore(self) -> None:
        """Set the state of the process to this one."""
        torch.set_rng_state(torch.frombuffer(bytearray(self.torch_random), dtype=torch.uint8))
        np.random.set_state(pickle.loads(self.numpy_random))
        random.setstate(pickle.loads(self.python_random))
        torch.set_default_dtype(self.default_dtype)
        torch.set_grad_enabled(self.grad_mode)


_IN_WORDS = {
    "torch_random": "torch's random state",
    "numpy_random": "NumPy's random state",
    "python_random": "Python's random state",
    "default_dtype": "torch's default dtype",
    "grad_mode": "torch's grad mode",
}


def global_state() -> GlobalState:
    """Return the present state of the process."""
    return GlobalState(
        torch_random=torch.get_rng_state().numpy().tobytes(),
        numpy_random=pickle.dumps(np.random.get_state()),
        python_random=pickle.dumps(random.getstate()),
        default_dtype=torch.get_default_dtype(),
        grad_mode=torch.is_grad_enabled(),
    )

"""The state of a process that results may depend on, and that a strategy leaves as it is."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_BACKENDS: Any = torch.backends  # whose flags are typed as properties of modules

_PRECISIONS = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.mkldnn.matmul,
    _BACKENDS.mkldnn.conv,
)
_FLAGS = (
    (_BACKENDS.cudnn, "enabled"),
    (_BACKENDS.cudnn, "benchmark"),
    (_BACKENDS.cudnn, "deterministic"),
    (_BACKENDS.mkldnn, "enabled"),
)

_CACHES = ("TORCHINDUCTOR_", "TRITON_")
"""Variables that torch sets by itself, such as when ``vmap`` is first used; no result depends on
where compiled code is kept."""


def _write_torch_random(state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _read_numpy_random() -> tuple[Any, ...]:
    kind, key, *rest = np.random.get_state()
    return (kind, np.asarray(key).tobytes(), *rest)


def _write_numpy_random(state: tuple[Any, ...]) -> None:
    kind, key, *rest = state
    np.random.set_state((kind, np.frombuffer(key, dtype=np.uint32), *rest))


def _read_deterministic() -> tuple[bool, bool]:
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warns


def _write_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _write_device(device: torch.device) -> None:
    # None, since a device that is set makes every call of torch slower, also where it is the CPU.
    torch.set_default_device(None if device.type == "cpu" else device)


def _write_precisions(state: list[str]) -> None:
    for place, value in zip(_PRECISIONS, state, strict=True):
        place.fp32_precision = value


def _write_flags(state: list[bool]) -> None:
    for (place, name), value in zip(_FLAGS, state, strict=True):
        setattr(place, name, value)


def _read_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_CACHES)}


def _write_environment(state: Mapping[str, str]) -> None:
    for name in _read_environment().keys() - state.keys():
        del os.environ[name]
    os.environ.update(state)


_PARTS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's random state": (
        lambda: torch.get_rng_state().numpy().tobytes(),
        _write_torch_random,
    ),
    "NumPy's random state": (_read_numpy_random, _write_numpy_random),
    "Python's random state": (random.getstate, random.setstate),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (torch.get_default_device, _write_device),
    "torch's grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's deterministic mode": (_read_deterministic, _write_deterministic),
    "torch's precision of float32": (
        lambda: [place.fp32_precision for place in _PRECISIONS],
        _write_precisions,
    ),
    "torch's backends": (lambda: [getattr(*flag) for flag in _FLAGS], _write_flags),
    "how NumPy treats errors": (np.geterr, lambda state: np.seterr(**state)),
    "the environment variables": (_read_environment, _write_environment),
    "the current folder": (os.getcwd, os.chdir),
}
"""In words -> what reads a part of the state, and what sets it."""


@dataclass(frozen=True)
class GlobalState:
    """The state of a process at some moment; ``parts`` is keyed by what messages call them."""

    parts: Mapping[str, Any]

    def changed_since(self, before: "GlobalState") -> list[str]:
        """Return in words what differs from the state ``before``."""
        return [name for name, value in self.parts.items() if value != before.parts[name]]

    def restore(self, names: Iterable[str]) -> None:
        """Set the named parts of the process's state to what they are here."""
        for name in names:
            _PARTS[name][1](self.parts[name])


def global_state() -> GlobalState:
    """Return the present state of the process.

    >>> before = global_state()
    >>> torch.set_default_dtype(torch.float64)
    >>> changed = global_state().changed_since(before)
    >>> changed
    ["torch's default dtype"]
    >>> before.restore(changed)
    >>> torch.get_default_dtype()
    torch.float32
    """
    return GlobalState({name: read() for name, (read, _) in _PARTS.items()})


@contextmanager
def kept_global_state() -> Iterator[list[str]]:
    """Restore the state at the end of a block; yield a list that then tells what had changed."""
    before = global_state()
    changed: list[str] = []
    try:
        yield changed
    finally:
        changed += global_state().changed_since(before)
        before.restore(changed)

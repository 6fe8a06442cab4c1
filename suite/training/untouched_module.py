"""Noticing whether tensors, or a network's layers, have been changed in place."""

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from driftboard.strategies.base import Parameters


class Untouched:
    """Notices whether tensors have been changed in place since it was made.

    Torch counts in ``_version`` the changes of a tensor and of all views of it, also those that
    ``vmap`` makes for many learners. It does not count what is changed through ``.data`` or a NumPy
    array, neither of which ``vmap`` permits.

    Args:
        tensors: by what messages call them.
        exactly: compare the bytes, too. They are read once now and once when it is asked.

    >>> value = torch.zeros(2)
    >>> untouched = Untouched({"the labels": value}, exactly=True)
    >>> value.numpy()[0] = 1.0
    >>> untouched.changed()
    ['the labels']
    """

    def __init__(self, tensors: Mapping[str, Tensor], *, exactly: bool) -> None:
        self._exactly = exactly
        self._tensors = dict(tensors)
        self._before = self._now()

    def changed(self) -> list[str]:
        """Return what has been changed."""
        now = self._now()
        return [name for name, before in self._before.items() if now[name] != before]

    def _now(self) -> dict[str, tuple[int, int]]:
        return {
            name: (value._version, _checksum(value) if self._exactly else 0)
            for name, value in self._tensors.items()
        }


def _checksum(value: Tensor) -> int:
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return zlib.crc32(content.data)


def named(what: str, parameters: Parameters) -> dict[str, Tensor]:
    """Return parameters by what messages call them."""
    return {f"{what}['{name}']": value for name, value in parameters.items()}


class UntouchedModule:
    """Notices whether a network's layers have been changed since it was made.

    All strategies share the module: its buffers, its own weights, settings and hooks.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        names = {f"task.network.module's '{name}'": value for name, value in tensors.items()}
        self._tensors = Untouched(names, exactly=True)
        self._settings = self._now()

    def changed(self) -> list[str]:
        """Return what has been changed."""
        return self._tensors.changed() + ["task.network.module"] * (self._settings != self._now())

    def _now(self) -> list[Any]:
        return [(name, type(part), _settings(part)) for name, part in self._module.named_modules()]


def _settings(part: nn.Module) -> dict[str, Any]:
    """Return a layer's own settings, and how many hooks of each kind it has."""
    found: dict[str, Any] = {}
    for name, value in vars(part).items():
        if isinstance(value, bool | int | float | str | tuple):
            found[name] = repr(value)
        elif name.endswith("_hooks"):
            found[name] = len(value)
    return found

"""What torch and driftboard are made of, which a strategy's code must not replace.

A file that assigns to ``torch.nn.functional.cross_entropy``, or to a method of a class of ours,
would change every strategy that comes after it in the same process.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import nn

_OF_TORCH: dict[str, ModuleType | type] = {
    "torch": torch,
    "torch.nn": nn,
    "torch.nn.functional": nn.functional,
    "torch.nn.init": nn.init,
    "torch.func": torch.func,
    "torch.autograd": torch.autograd,
    "torch.linalg": torch.linalg,
    "torch.Tensor": torch.Tensor,
    "torch.nn.Module": nn.Module,
    "torch.nn.Linear": nn.Linear,
    "torch.nn.Conv2d": nn.Conv2d,
    "torch.nn.GroupNorm": nn.GroupNorm,
}
"""Where most is lost by a replacement; to look everywhere in torch would take too long."""

_BY_TORCH = {
    *("torch.Storage", "torch.manual_seed"),
    *("torch.nn.Module.__init__", "torch.nn.Module.__setstate__"),
}
"""What torch itself replaces, with the default dtype and where its compiler is first used."""


@contextmanager
def kept_attributes() -> Iterator[list[str]]:
    """Put back what is replaced in a block; yield a list that then names it.

    Looks at functions and classes in ``_OF_TORCH``, and at all that the modules and classes of
    driftboard hold. What is new there, a module that is imported for one, replaces nothing.

    >>> with kept_attributes() as replaced:
    ...     nn.functional.relu = torch.sigmoid
    >>> replaced, nn.functional.relu is torch.sigmoid
    (['torch.nn.functional.relu'], False)
    """
    places = _OF_TORCH | _ours()
    before = {name: _attributes(name, place) for name, place in places.items()}
    replaced: list[str] = []
    try:
        yield replaced
    finally:
        for name, place in places.items():
            now = vars(place)
            for attribute, value in before[name].items():
                if attribute in now and _same(now[attribute], value):
                    continue
                setattr(place, attribute, value)
                replaced.append(f"{name}.{attribute}")


def _ours() -> dict[str, ModuleType | type]:
    """Return the modules of driftboard that are loaded, and the classes that they define."""
    found: dict[str, ModuleType | type] = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "driftboard":
            continue
        found[name] = module
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == name:
                found[f"{name}.{value.__qualname__}"] = value
    return found


def _attributes(place_name: str, place: ModuleType | type) -> dict[str, object]:
    """Return what nobody but a user's code would replace; torch's modules keep state of theirs."""
    is_torchs = isinstance(place, ModuleType) and place_name.startswith("torch")
    return {
        name: value
        for name, value in vars(place).items()
        if callable(value) or not (is_torchs or name.startswith("__"))
        if f"{place_name}.{name}" not in _BY_TORCH
    }


def _same(now: object, before: object) -> bool:
    """Tell whether nothing was replaced; an import sets a module's name in its package."""
    return now is before or isinstance(now, ModuleType)

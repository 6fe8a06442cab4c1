"""A network of a user's own: built, tried on a few images, and refused in a line if unsound.

All learners share one module, which is called with the parameters of one after the other. So every
parameter has to belong to one block, and the module has to be a function of parameters and images.
"""

import contextlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import UninitializedParameter

from driftboard.strategies.base import Block
from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.sequences.network import NetworkDefinition
from driftboard.suite.training.global_state import kept_global_state
from driftboard.suite.training.networks.module import ModuleNetwork
from driftboard.suite.training.networks.trial import can_be_mapped, check_answers, of_user

_BLOCK_NAME = re.compile(r"[\w.\-]{1,64}")
_RANDOM = "torch's random state"


def own_network(
    definition: NetworkDefinition, image_shape: Sequence[int], units: int
) -> ModuleNetwork:
    """Build a user's network for images (channels, height, width) and a head of ``units`` rows.

    Its initial weights come from torch's global generator, as those of all networks.

    Raises:
        DriftboardError: it does not build, or what it builds is not what a network is; the line
            names the definition and where it stands.
    """
    try:
        with _nothing_printed():
            module = _sound_module(definition, tuple(image_shape), units)
            network = ModuleNetwork(module, _blocks(module))
            _check_head(network, units)
            check_answers(network, image_shape, units)
            mapped = can_be_mapped(network, image_shape)
    except ValueError as error:
        where = f"network '{definition.name}'{_place(definition)}"
        raise DriftboardError(f"{where}: {one_line(str(error))}") from error
    convolves = any(isinstance(layer, _ConvNd) for layer in module.modules())
    if not mapped:
        return ModuleNetwork(module, network.blocks, mapped_on="none")
    return ModuleNetwork(module, network.blocks, mapped_on="gpu" if convolves else "all")


@contextlib.contextmanager
def _nothing_printed() -> Iterator[None]:
    """Raise ValueError if anything was printed, which would end up among a command's results."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        yield
    if text := said.getvalue().strip():
        raise ValueError(f"it prints {text[:60]!r}; leave that out")


def _place(definition: NetworkDefinition) -> str:
    code = getattr(type(definition).build, "__code__", None)
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""


def _sound_module(
    definition: NetworkDefinition, image_shape: tuple[int, ...], units: int
) -> nn.Module:
    """Return what a definition builds, in evaluation mode.

    Raises:
        ValueError: it fails, its weights do not follow from torch's random state alone, or its
            parameters cannot be those of many learners.
    """
    module, left = _built(definition, image_shape, units)
    _check_parameters(module)
    again, _ = _built(definition, image_shape, units)
    if not _equal(_tensors(module), _tensors(again)):
        raise ValueError(
            "build makes other weights when it is called again; draw them from torch's generator"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() ^ 1)  # any other
        elsewhere, left_elsewhere = _built(definition, image_shape, units)
    if torch.equal(left, left_elsewhere):
        raise ValueError("build sets torch's seed, so all seeds would begin alike; leave that out")
    if not _equal(dict(module.named_buffers()), dict(elsewhere.named_buffers())):
        raise ValueError(
            "build draws a buffer from torch's generator, and all seeds share the buffers of one; "
            "make it a constant or a parameter"
        )
    return module


def _built(definition: Any, image_shape: tuple[int, ...], units: int) -> tuple[nn.Module, Tensor]:
    """Return what a definition builds from the present random state, and the state it leaves.

    The state of the process stays as it is.
    """
    with kept_global_state() as changed:
        module = of_user("build", lambda: definition.build(image_shape, units))
        left = torch.get_rng_state()
    others = [what for what in changed if what != _RANDOM]
    if others:
        raise ValueError(f"build changes {' and '.join(others)}; draw from torch's generator alone")
    if not isinstance(module, nn.Module):
        raise ValueError(f"build returns a {type(module).__name__}; expected a torch.nn.Module")
    return of_user("eval", module.eval), left


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _check_parameters(module: nn.Module) -> None:
    named = list(module.named_parameters(remove_duplicate=False))
    for name, value in named:
        if isinstance(value, UninitializedParameter):
            raise ValueError(f"parameter '{name}' has no shape yet; use layers that are not lazy")
        if value.dtype != torch.float32 or value.device.type != "cpu":
            raise ValueError(
                f"parameter '{name}' is {value.dtype} on {value.device}; make it torch.float32 on "
                "the CPU"
            )
        if not value.requires_grad:
            raise ValueError(
                f"parameter '{name}' does not require a gradient; make what is not trained a buffer"
            )
    names: dict[int, str] = {}
    for name, value in named:
        if names.setdefault(id(value), name) != name:
            raise ValueError(
                f"'{names[id(value)]}' and '{name}' are one parameter; register a module once, and "
                "call it as often as you like"
            )
    for name, layer in module.named_modules():
        if isinstance(layer, _NormBase) and layer.running_mean is not None:
            raise ValueError(
                f"'{name}' is a {type(layer).__name__} with running statistics, which would move "
                "even in a frozen block; use nn.GroupNorm, or timm:MODEL with weights"
            )


def _blocks(module: nn.Module) -> tuple[Block, ...]:
    """Return the blocks that a module names, or its children that have parameters, in order.

    Raises:
        ValueError: a parameter is in none or in several, or there are fewer than two.
    """
    parts: Any = dict(module.named_children())
    method: Any = getattr(module, "blocks", None)
    if callable(method) and not isinstance(method, nn.Module):
        parts = of_user("blocks", method)
        if not isinstance(parts, Mapping) or not all(
            isinstance(part, nn.Module) for part in parts.values()
        ):
            raise ValueError("blocks() does not return modules of its own by name")
    named = dict(module.named_parameters())
    blocks = []
    for name, part in parts.items():
        own = {id(value) for value in part.parameters()}
        blocks.append(Block(str(name), tuple(n for n, value in named.items() if id(value) in own)))
    blocks = [block for block in blocks if block.parameters]
    for block in blocks:
        if not _BLOCK_NAME.fullmatch(block.name):
            raise ValueError(
                f"{block.name!r} cannot name a block; use up to 64 letters, digits, '.', '_', '-'"
            )
    count = Counter(name for block in blocks for name in block.parameters)
    for name in named:
        if count[name] != 1:
            where = "no block" if count[name] == 0 else "several blocks"
            raise ValueError(
                f"parameter '{name}' is in {where}; a block is a child of the module, or what its "
                "method blocks() returns"
            )
    if len(blocks) < 2:
        raise ValueError(
            f"there are {len(blocks)} blocks with parameters; expected at least one and the head"
        )
    return tuple(blocks)


def _check_head(network: ModuleNetwork, units: int) -> None:
    for name in network.head.parameters:
        shape = tuple(network.module.get_parameter(name).shape)
        if shape[:1] != (units,):
            raise ValueError(
                f"parameter '{name}' of the last block, '{network.head.name}', has the shape "
                f"{shape}; the head needs a row for each of the {units} units"
            )

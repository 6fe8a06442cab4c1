"""A network: a torch module with ordered blocks and a pure forward, and how learners share it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from driftboard.strategies.base import Block, Parameters, Scaling
from driftboard.suite.training.networks.stacked_mlp import StackedMlp

Mode = Literal["loop", "vmap"]
"""How several learners are trained: one after another in a loop, or together in one call that
``torch.func.vmap`` maps over them."""

LANES: dict[Mode, Literal["solo", "stacked"]] = {"loop": "solo", "vmap": "stacked"}
"""Mode -> the value of a record's field ``lane``."""


@dataclass(frozen=True)
class ModuleNetwork:
    """A network made of a torch module; implements ``driftboard.strategies.Network``."""

    module: nn.Module
    blocks: tuple[Block, ...]
    stacked: StackedMlp | None = None
    """The closed form for S learners, where there is one; it is faster than ``vmap`` and autograd
    over ``logits``."""

    mapped_on: Literal["all", "gpu", "none"] = "gpu"
    """The devices on which ``vmap`` is the faster mode. On a GPU small networks are bound by kernel
    launches. On a CPU ``vmap`` speeds up matrix products, and slows convolutions down by a factor
    of about three. Some networks of a user's own cannot be mapped at all."""

    scaling: Scaling | None = None
    """What the images were scaled by when the network was pretrained; None where it was not, and
    the training images of the data set decide."""

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return logits, shape (n, head units), for float images, shape (n, channels, h, w).

        Other parameters than the network's, such as the extra ones of a plan, are not looked at.
        """
        own = {name: parameters[name] for block in self.blocks for name in block.parameters}
        result: Tensor = functional_call(self.module, own, (images,))
        return result

    def on(self, device: torch.device) -> "ModuleNetwork":
        """Return the network with its constants, such as running statistics, on a device.

        Its own parameters are never used, so without constants it is the same network.
        """
        if not any(True for _ in self.module.buffers()):
            return self
        return replace(self, module=copy.deepcopy(self.module).to(device))

    @property
    def head(self) -> Block:
        """The last block; the first dimension of its parameters runs over the head's units."""
        return self.blocks[-1]


def choose_mode(network: ModuleNetwork, device: torch.device) -> Mode:
    """Return the faster mode for a network on a device.

    >>> from driftboard.suite.training.networks import build_network
    >>> choose_mode(build_network("mlp-128x2", (1, 8, 8), 10), torch.device("cpu"))
    'vmap'
    >>> choose_mode(build_network("resnet9-w16", (1, 8, 8), 10), torch.device("cpu"))
    'loop'
    """
    on_cpu = device.type == "cpu"
    return (
        "vmap"
        if network.mapped_on == "all" or (network.mapped_on == "gpu" and not on_cpu)
        else "loop"
    )


def blocks_by_prefix(module: nn.Module, names: Sequence[str]) -> tuple[Block, ...]:
    """Return blocks of a module's children, named as these are."""
    parameters = [name for name, _ in module.named_parameters()]
    return tuple(
        Block(name, tuple(p for p in parameters if p.startswith(f"{name}."))) for name in names
    )

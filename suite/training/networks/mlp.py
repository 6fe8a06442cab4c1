"""Multilayer perceptrons, one block per hidden layer."""

from collections import OrderedDict

from torch import nn

from driftboard.suite.training.networks.module import ModuleNetwork, blocks_by_prefix
from driftboard.suite.training.networks.stacked_mlp import StackedMlp


def mlp(inputs: int, width: int, depth: int, units: int) -> ModuleNetwork:
    """Build linear layers of one width with rectifiers between them, and a head."""
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for index in range(depth):
        layers.append((f"hidden{index + 1}", nn.Linear(inputs if index == 0 else width, width)))
        layers.append((f"relu{index + 1}", nn.ReLU()))
    layers.append(("head", nn.Linear(width, units)))
    module = nn.Sequential(OrderedDict(layers))
    names = [f"hidden{index + 1}" for index in range(depth)] + ["head"]
    blocks = blocks_by_prefix(module, names)
    return ModuleNetwork(module.eval(), blocks, StackedMlp(tuple(names)), mapped_on="all")

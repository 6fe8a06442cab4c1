"""Networks: layers grouped into ordered blocks, and a pure forward function.

Names: ``mlp-WIDTHxDEPTH`` (one block per hidden layer), ``resnet9-wWIDTH`` (the 9 convolution
blocks of arXiv 2602.20796, whose widths are ours), ``resnet18-wWIDTH`` (the ResNet-18 of small
images, for which WIDTH 20 is the field's reduced one), ``timm:MODEL`` (any timm classifier, one
block per stage, perhaps pretrained). A user's own network is built by a definition of theirs. The
last block is always the head, one row per class.
"""

from driftboard.suite.training.networks.module import LANES, Mode, ModuleNetwork, choose_mode
from driftboard.suite.training.networks.names import (
    build_network,
    initial_parameters,
    is_network_name,
)

__all__ = [
    "LANES",
    "Mode",
    "ModuleNetwork",
    "build_network",
    "choose_mode",
    "initial_parameters",
    "is_network_name",
]

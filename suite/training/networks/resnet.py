"""Residual networks for small images, with group norms."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import nn

from driftboard.suite.training.networks.module import ModuleNetwork, blocks_by_prefix
from driftboard.suite.training.networks.norms import group_norm


def resnet9(channels: int, width: int, units: int) -> ModuleNetwork:
    """Build a convolution, eight residual blocks at widths w w w 2w 2w 2w 4w 4w, and a head."""

    def shortcut(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 1, 2, bias=False)

    return _resnet(channels, width, units, (1, 1, 1, 2, 2, 2, 4, 4), (2, 5, 8), shortcut)


def resnet18(channels: int, width: int, units: int) -> ModuleNetwork:
    """Build a convolution, eight residual blocks at widths w w 2w 2w 4w 4w 8w 8w, and a head.

    He et al. 2016 (CVPR) for small images as in Lopez-Paz and Ranzato 2017 (NeurIPS), with group
    norms in place of batch norms.
    """

    def shortcut(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), group_norm(outputs))

    return _resnet(channels, width, units, (1, 1, 2, 2, 4, 4, 8, 8), (4, 6, 8), shortcut)


def _resnet(
    channels: int,
    width: int,
    units: int,
    factors: Sequence[int],
    halved: Collection[int],
    shortcut: Callable[[int, int], nn.Module],
) -> ModuleNetwork:
    """Build a convolution, residual blocks of timm's, and a head.

    Args:
        channels: of the images.
        width: of the first block.
        units: of the head.
        factors: the widths of the residual blocks 2, 3, ..., as multiples of the first width.
        halved: the numbers of the blocks that halve the side of the image.
        shortcut: makes the shortcut connection of such a block, given the widths before and after.
    """
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
    from timm.layers.conv_bn_act import ConvNormAct
    from timm.models.resnet import BasicBlock

    block: Any = BasicBlock  # typed to take a class as norm layer; a function works, too
    layers: list[tuple[str, nn.Module]] = [
        ("block1", ConvNormAct(channels, width, 3, norm_layer=group_norm))
    ]
    current = width
    for index, factor in enumerate(factors, start=2):
        stride = 2 if index in halved else 1
        around = shortcut(current, factor * width) if stride == 2 else None
        layers.append(
            (
                f"block{index}",
                block(current, factor * width, stride, around, norm_layer=group_norm),
            )
        )
        current = factor * width
    layers.append(("pool", SelectAdaptivePool2d(pool_type="avg", flatten=True)))
    layers.append(("head", nn.Linear(current, units)))
    module = nn.Sequential(OrderedDict(layers))
    names = [name for name, _ in layers if name != "pool"]
    return ModuleNetwork(module.eval(), blocks_by_prefix(module, names))

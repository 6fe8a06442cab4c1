"""Norms: group norms, which take the place of batch norms where nothing is pretrained."""

import math

from torch import nn


def without_running_statistics(module: nn.Module) -> None:
    """Replace batch norms by group norms, in place.

    Running statistics would change even in a frozen block, and ``vmap`` cannot keep a copy for
    every learner.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # timm's subclass of BatchNorm2d includes the activation that follows it.
            activation = getattr(child, "act", nn.Identity())
            setattr(module, name, nn.Sequential(group_norm(child.num_features), activation))
        else:
            without_running_statistics(child)


def group_norm(channels: int, **_: object) -> nn.GroupNorm:
    """Return a group norm of at most 8 groups; it ignores the options that timm passes to norms."""
    return nn.GroupNorm(math.gcd(8, channels), channels)

"""The network of a sequence, as plain data: a name, or a definition of a user's own; and weights.

Nothing here imports torch, so sequences can be listed without it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from msgspec import Meta

if TYPE_CHECKING:
    from torch import nn


class NetworkDefinition(Protocol):
    """A network of a user's own: a frozen dataclass, whose fields are plain data.

    ``build`` makes a module whose children are its blocks, from the input to the head; where that
    does not fit, the module has a method ``blocks()`` that returns them by name. The module is
    called in evaluation mode with float images (n, channels, height, width) and returns logits
    (n, units). The last block is the head: the first dimension of all its parameters is ``units``.
    Initial weights are drawn by ``build`` from torch's global generator, which the seed has set.

    >>> @dataclass(frozen=True)
    ... class Linear:
    ...     width: int = 32
    ...     name: str = "two-layers"
    ...
    ...     def build(self, image_shape: tuple[int, int, int], units: int) -> "nn.Module":
    ...         from math import prod
    ...
    ...         from torch import nn
    ...
    ...         first, last = nn.Linear(prod(image_shape), self.width), nn.Linear(self.width, units)
    ...         return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
    >>> name_of(Linear(width=8))
    'two-layers'
    """

    @property
    def name(self) -> str:
        """What tables and messages call it: lower-case letters, digits, dots, hyphens."""

    def build(self, image_shape: tuple[int, int, int], units: int) -> "nn.Module":
        """Return a new module for images (channels, height, width) and a head of some units."""


AnyNetwork = str | NetworkDefinition


def name_of(network: AnyNetwork) -> str:
    """Return the name of a network, which may be no more than that.

    >>> name_of("mlp-128x2")
    'mlp-128x2'
    """
    return network if isinstance(network, str) else network.name


@dataclass(frozen=True)
class Weights:
    """A file of pretrained weights in the data folder, for a network ``timm:MODEL``.

    What a sequence's hash covers is the digest, not the file's name. All tensors but those of the
    head are read; see ``driftboard.suite.training.networks.weights``.

    Args:
        file: a plain name that ends in ``.safetensors``, or ``.pt`` or ``.pth`` for a state dict
            that ``torch.save`` has written.
        sha256: the SHA-256 digest of its content, 64 hexadecimal digits, as ``sha256sum`` prints.

    >>> weights = Weights("resnet18.safetensors", sha256=64 * "0")
    """

    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][\w.\-]*\.(safetensors|pt|pth)$")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

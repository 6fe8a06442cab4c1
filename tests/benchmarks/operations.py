"""Operations and bytes of a training step, in closed form, and the layers they are counted from.

Counted are multiplications and additions (each for one) of matrix products and convolutions, as
``torch.utils.flop_counter`` counts them: the forward pass, the gradient of the weights, and the
gradient of the inputs, which the first layer does not need. Bytes are the least that the same
layers and the step of gradient descent with momentum move if every tensor is read or written
once by each operation that needs it; norms, activations and losses come on top, so the share of
the bandwidth that follows is a lower bound.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Layer:
    """A convolution; a matrix product is one with kernel 1 on an image of 1 x 1."""

    inputs: int  # channels
    outputs: int  # channels
    kernel: int = 1
    side: int = 1  # of the output
    stride: int = 1

    @property
    def weights(self) -> int:
        """The number of weights, biases left out."""
        return self.inputs * self.outputs * self.kernel**2

    @property
    def products(self) -> int:
        """Multiply-and-adds of one image in one pass."""
        return self.weights * self.side**2

    @property
    def values_in(self) -> int:
        """Input values of one image."""
        return self.inputs * (self.side * self.stride) ** 2

    @property
    def values_out(self) -> int:
        """Output values of one image."""
        return self.outputs * self.side**2


def layers_of(network: str, image_shape: Sequence[int], units: int) -> list[Layer]:
    """Return the layers of ``mlp-WIDTHxDEPTH`` or ``resnet9-wWIDTH`` (square images), in order.

    Raises:
        ValueError: the network has another name, or the image's side is no multiple of 8.
    """
    channels, height, width = image_shape
    if match := re.fullmatch(r"mlp-(\d+)x(\d+)", network):
        hidden, depth = int(match[1]), int(match[2])
        sizes = [channels * height * width, *[hidden] * depth, units]
        return [Layer(one, other) for one, other in pairwise(sizes)]
    match = re.fullmatch(r"resnet9-w(\d+)", network)
    if match is None or height != width or height % 8:
        raise ValueError(f"no closed form for {network} on images of {tuple(image_shape)}")
    return list(_resnet9(channels, int(match[1]), height, units))


def _resnet9(channels: int, width: int, side: int, units: int) -> Iterator[Layer]:
    yield Layer(channels, width, 3, side)
    current = width
    for index, factor in enumerate((1, 1, 1, 2, 2, 2, 4, 4), start=2):
        wide, stride = factor * width, 2 if index in (2, 5, 8) else 1
        side //= stride
        yield Layer(current, wide, 3, side, stride)
        yield Layer(wide, wide, 3, side)
        if stride == 2:
            yield Layer(current, wide, 1, side, stride)
        current = wide
    yield Layer(current, units)


def step_operations(layers: Sequence[Layer], batch: int) -> int:
    """Return the operations of one step of one learner."""
    first, *others = layers
    return 2 * batch * (2 * first.products + 3 * sum(layer.products for layer in others))


def step_bytes(layers: Sequence[Layer], parameters: int, batch: int) -> int:
    """Return the least bytes that one step of one learner moves.

    Weights are read by the forward pass and, but for the first layer, for the gradient of the
    inputs; every parameter's gradient is written, and the update reads gradient, velocity and
    parameter and writes the last two. Of the activations the forward pass reads the inputs and
    writes the outputs; the backward pass reads the outputs' gradient twice (once in the first
    layer) and the inputs once, and writes the inputs' gradient (not of the first layer).

    Args:
        layers: in order.
        parameters: all of them, biases and norms included.
        batch: images of a step.
    """
    first, *others = layers
    of_parameters = 8 * parameters - first.weights
    of_images = 2 * first.values_in + 2 * first.values_out
    of_images += sum(3 * layer.values_in + 3 * layer.values_out for layer in others)
    return FLOAT * (of_parameters + batch * of_images)

"""What the hardware can do, measured: matrix products, a layer's own products, bandwidth."""

import time
from collections.abc import Callable, Sequence

import torch
from operations import Layer
from torch import Tensor
from torch.nn import functional as F

LARGE = {"cpu": 1536, "cuda": 8192}
"""The side of the large matrices."""

COPIED = {"cpu": 2**28, "cuda": 2**32}
"""Bytes of the copied tensor, more than any cache holds."""


def timed(function: Callable[[], object], device: str, repeats: int) -> float:
    """Return the seconds of one call, the mean of ``repeats`` after one to warm up."""
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        function()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats


def product_rate(device: str, side: int | None = None, repeats: int = 3) -> float:
    """Return operations per second of a large float32 matrix product."""
    side = side or LARGE[device]
    one = torch.rand(side, side, device=device)
    return 2 * side**3 / timed(lambda: one @ one, device, repeats)


def bandwidth(device: str, size: int | None = None, repeats: int = 3) -> float:
    """Return bytes read and written per second by a copy."""
    size = size or COPIED[device]
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / timed(lambda: target.copy_(source), device, repeats)


def own_products_seconds(
    layers: Sequence[Layer], batch: int, seeds: int, device: str, repeats: int
) -> float:
    """Return the seconds that the products of one step take by themselves, for all seeds.

    The three passes of ``operations.py`` at the layers' own shapes, and nothing between them:
    matrices of all seeds in one batched product, convolutions one seed after the other.
    """
    total = 0.0
    for index, layer in enumerate(layers):
        convolution = layer.kernel > 1 or layer.side > 1
        passes = (_convolutions if convolution else _matrices)(layer, batch, seeds, device)
        needed = passes if index else passes[:2]
        times = seeds if convolution else 1
        total += times * sum(timed(one, device, repeats) for one in needed)
    return total


def _matrices(layer: Layer, batch: int, seeds: int, device: str) -> list[Callable[[], object]]:
    """Return forward pass, gradient of the weights, gradient of the inputs."""
    images = torch.rand(seeds, batch, layer.inputs, device=device)
    weights = torch.rand(seeds, layer.outputs, layer.inputs, device=device)
    slopes = torch.rand(seeds, batch, layer.outputs, device=device)
    return [
        lambda: images @ weights.mT,
        lambda: slopes.mT @ images,
        lambda: slopes @ weights,
    ]


def _convolutions(layer: Layer, batch: int, seeds: int, device: str) -> list[Callable[[], object]]:
    """Return the same three passes of one seed."""
    side = layer.side * layer.stride
    images = torch.rand(batch, layer.inputs, side, side, device=device)
    weights = torch.rand(layer.outputs, layer.inputs, layer.kernel, layer.kernel, device=device)
    slopes = torch.rand(batch, layer.outputs, layer.side, layer.side, device=device)
    padding = layer.kernel // 2

    def gradient(of_images: bool, of_weights: bool) -> Tensor:
        found: list[Tensor] = torch.ops.aten.convolution_backward(
            slopes, images, weights, None, [layer.stride] * 2, [padding] * 2, [1, 1], False,
            [0, 0], 1, [of_images, of_weights, False],
        )  # fmt: skip
        return found[0] if of_images else found[1]

    return [
        lambda: F.conv2d(images, weights, stride=layer.stride, padding=padding),
        lambda: gradient(False, True),
        lambda: gradient(True, False),
    ]

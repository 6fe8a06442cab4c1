"""The layers of a network: what goes into each, and what gradient comes back at its output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vjp
from torch.nn import functional as F

from driftboard.strategies.base import (
    EXAMPLES_AT_ONCE,
    Examples,
    Network,
    Parameters,
    Task,
)

Layer = nn.Linear | nn.Conv2d
Layers = dict[str, Layer]
"""Name of a layer -> the layer, which tells its sizes; its own weights are not used."""


@dataclass(frozen=True)
class Pass:
    """One pass over examples with what every layer saw; made by ``tracked_pass``."""

    logits: Tensor  # (n, head units)
    inputs: dict[str, Tensor]  # layer -> its input, (n, ...)
    pull: Callable[[Tensor], tuple[dict[str, Tensor]]]
    """Directions in the logits, (n, head units) -> per layer the gradient at its output, (n, ...),
    of the sum of logits times directions."""


def layers_applied_once(task: Task, parameters: Parameters) -> Layers:
    """Return the Linear layers and plain convolutions that one forward pass calls exactly once.

    A layer that is called twice has a gradient that is a sum over its calls; a convolution in
    groups has no single matrix. Neither is returned. Found by sending one example through.
    """
    known: Layers = {
        name: layer for name, layer in task.network.module.named_modules() if _is_plain(layer)
    }
    calls = dict.fromkeys(known, 0)

    def count(name: str, *_: Any) -> None:
        calls[name] += 1

    with _hooks(known, count):
        task.network.logits(parameters, task.examples.images[:1])
    return {name: layer for name, layer in known.items() if calls[name] == 1}


def layer_of(task: Task, name: str) -> Layer:
    """Return the layer of that name."""
    layer: Any = task.network.module.get_submodule(name)
    return cast(Layer, layer)


def _is_plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear) and layer.weight.numel() == 0:
        return False  # the first block of a linear sequence may have no parameters
    if type(layer) is nn.Conv2d:
        return (
            layer.groups == 1
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        )
    return isinstance(layer, nn.Linear)


def tracked_pass(task: Task, parameters: Parameters, examples: Examples, layers: Layers) -> Pass:
    """Return a pass that knows the layers' inputs and can be differentiated at their outputs.

    Gradients are taken with respect to "taps": zeros that are added to the outputs.
    """
    like = next(iter(parameters.values()))
    count = examples.labels.shape[0]
    shapes: dict[str, torch.Size] = {}

    def note(name: str, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        shapes[name] = output.shape[1:]

    with _hooks(layers, note):
        task.network.logits(parameters, examples.images[:1])
    taps = {name: like.new_zeros(count, *shape) for name, shape in shapes.items()}

    def forward(taps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        inputs: dict[str, Tensor] = {}

        def tap(name: str, _: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
            inputs[name] = arguments[0]
            return output + taps[name]

        with _hooks(layers, tap):
            return task.logits(parameters, examples), inputs

    tracked: Any = vjp(forward, taps, has_aux=True)
    logits, pull, inputs = tracked
    return Pass(logits, inputs, pull)


def features(network: Network, parameters: Parameters, images: Tensor) -> Tensor:
    """Return what goes into the layer that holds the head's parameters, shape (n, features).

    Raises:
        ValueError: the head's parameters belong to several layers, or their layer is called not
            once but several times.
    """
    owners = {name.rpartition(".")[0] for name in network.blocks[-1].parameters}
    if len(owners) != 1:
        raise ValueError(f"features go into one layer, and the head has {len(owners)}")
    inputs: list[Tensor] = []

    def note(_: str, __: nn.Module, arguments: tuple[Any, ...], ___: Tensor) -> None:
        inputs.append(arguments[0])

    head: Any = {name: network.module.get_submodule(name) for name in owners}
    with _hooks(head, note):
        network.logits(parameters, images)
    if len(inputs) != 1:
        raise ValueError(f"features go into one layer once, and the head is called {len(inputs)}x")
    return inputs[0].flatten(1)


def logits_of_task(task: Task, parameters: Parameters) -> Tensor:
    """Return the logits of all of a task's examples and of all units, shape (n, head units)."""
    parts = task.examples.slices(EXAMPLES_AT_ONCE)
    return torch.cat([task.network.logits(parameters, part.images) for part in parts])


def input_rows(layer: Layer, inputs: Tensor) -> Tensor:
    """Return the vectors that a layer's matrix is multiplied with, shape (rows, inputs [+ 1]).

    A row per example and position: tokens of a Linear layer, unfolded patches of a convolution.
    A layer with a bias has a one appended to every row.
    """
    if isinstance(layer, nn.Conv2d):
        patches = F.unfold(
            inputs,
            layer.kernel_size,
            dilation=layer.dilation,
            padding=cast("tuple[int, ...]", layer.padding),  # a string is not plain
            stride=layer.stride,
        )
        rows = patches.transpose(1, 2).flatten(0, 1)
    else:
        rows = inputs.flatten(0, -2)
    return rows if layer.bias is None else F.pad(rows, (0, 1), value=1.0)


def output_rows(layer: Layer, gradients: Tensor) -> Tensor:
    """Return gradients at a layer's output as vectors, shape (rows, outputs)."""
    if isinstance(layer, nn.Conv2d):
        return gradients.flatten(2).transpose(1, 2).flatten(0, 1)
    return gradients.flatten(0, -2)


def times(name: str, layer: Layer, parameters: Parameters, vectors: Tensor) -> Tensor:
    """Return a layer's matrix times vectors, (inputs [+ 1], r): shape (outputs, r).

    The matrix is the one that multiplies a row of ``input_rows``: the weight, and the bias as its
    last column. It is never put together, because copies of it would cost as much as a product.
    """
    weight = parameters[joined_name(name, "weight")].flatten(1)
    if layer.bias is None:
        return weight @ vectors
    return weight @ vectors[:-1] + parameters[joined_name(name, "bias")][:, None] * vectors[-1]


def plus_product(
    name: str, layer: Layer, parameters: Parameters, scale: Tensor, part: Tensor, vectors: Tensor
) -> Parameters:
    """Return ``scale M + part vectors^T`` as a layer's parameters, where M is its matrix.

    Args:
        name: of the layer.
        layer: its matrix M is taken from ``parameters``.
        parameters: not changed.
        scale: a scalar.
        part: (outputs, r).
        vectors: (inputs [+ 1], r).
    """
    weight, bias = joined_name(name, "weight"), joined_name(name, "bias")
    old = parameters[weight]
    rows = vectors if layer.bias is None else vectors[:-1]
    # Not ``addmm``: under ``vmap`` it multiplies the sum by 1 first, which takes as long.
    result = {weight: (scale * old.flatten(1) + part @ rows.mT).reshape(old.shape)}
    if layer.bias is not None:
        result[bias] = scale * parameters[bias] + part @ vectors[-1]
    return result


def matrix(name: str, layer: Layer, parameters: Parameters) -> Tensor:
    """Return a layer's matrix, (outputs, inputs [+ 1])."""
    weight = parameters[joined_name(name, "weight")].flatten(1)
    if layer.bias is None:
        return weight
    return torch.cat([weight, parameters[joined_name(name, "bias")][:, None]], dim=1)


def from_matrix(name: str, layer: Layer, values: Tensor, like: Parameters) -> Parameters:
    """Return a layer's parameters, given its matrix: the reverse of ``matrix``."""
    weight = joined_name(name, "weight")
    if layer.bias is None:
        return {weight: values.reshape(like[weight].shape)}
    return {
        weight: values[:, :-1].reshape(like[weight].shape),
        joined_name(name, "bias"): values[:, -1],
    }


def zeros_like(parameters: Parameters) -> Parameters:
    """Return zeros of the same names and shapes."""
    return {name: torch.zeros_like(value) for name, value in parameters.items()}


def joined_name(layer: str, parameter: str) -> str:
    """Return a parameter's full name; the outermost layer has the empty name."""
    return f"{layer}.{parameter}" if layer else parameter


@contextmanager
def _hooks(layers: Layers, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call ``hook(name, layer, arguments, output)`` after every layer's forward."""
    handles = [layer.register_forward_hook(partial(hook, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

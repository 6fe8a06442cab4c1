"""Memory aware synapses: a parameter is worth what it changes of the outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import grad, vmap

from driftboard.strategies.anchors import Anchor
from driftboard.strategies.base import (
    EXAMPLES_AT_ONCE,
    Examples,
    Memory,
    Parameters,
    Range,
    Task,
)
from driftboard.strategies.fisher import SAMPLES_AT_ONCE, layers_with_closed_form
from driftboard.strategies.layers import Layers, joined_name, tracked_pass, zeros_like


@dataclass(frozen=True)
class MemoryAwareSynapses(Anchor):
    """Hold each parameter by how strongly the outputs depend on it.

    The paper's (Aljundi et al. 2018, arXiv 1711.09601): ``lambda sum_i Omega_i (theta_i -
    theta*_i)^2`` is added to the loss (equation 4), with Omega the mean over a task's images of
    the absolute gradient of the outputs' squared norm (equation 3, section 4.1), added up over
    tasks. Labels play no part. ``strength`` here is 2 lambda, so that it means what it means for
    the other anchors; its default is the paper's lambda = 1.

    Ours: the step of the penalty is implicit by default; the outputs are the logits of the units
    that an answer is chosen from, since all others are never compared.

    Parameters:
        strength: 2 lambda, at least 0; 0 is plain training.
        explicit: take the penalty's gradient where the step begins, as the paper does.
    """

    strength: float = 2.0

    name: ClassVar[str] = "mas"
    summary: ClassVar[str] = (
        "Every block trains, pulled towards the last solution by what moves the outputs."
    )
    search: ClassVar[Mapping[str, Range]] = {"strength": Range(0.02, 20.0, logarithmic=True)}
    literature: ClassVar[str] = "Aljundi et al. 2018, arXiv 1711.09601"

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Add the task's importance, and remember the solution."""
        importance = output_importance(task, parameters)
        if memory:
            earlier = memory["importance"]
            importance = {name: earlier[name] + value for name, value in importance.items()}
        return parameters, {"importance": importance, "solution": parameters}


def output_importance(task: Task, parameters: Parameters) -> Parameters:
    """Return the mean over a task's images of the absolute gradient of ``|logits|^2``.

    Over the allowed units. Shaped like the parameters, at least 0; head units that no image allows
    get exactly 0. Networks that consist of Linear layers only are treated in closed form, all
    others image by image, as in ``fisher.py``.
    """
    layers = layers_with_closed_form(task, parameters)
    sizes = partial(_linear_sizes, layers) if layers else _general_sizes
    total = zeros_like(parameters)
    for examples in task.examples.slices(EXAMPLES_AT_ONCE if layers else SAMPLES_AT_ONCE):
        for name, value in sizes(task, parameters, examples).items():
            total[name] = total[name] + value
    count = task.examples.labels.shape[0]
    return {name: value / count for name, value in total.items()}


def _linear_sizes(
    layers: Layers, task: Task, parameters: Parameters, examples: Examples
) -> Parameters:
    """Return the sum over examples of absolute gradients, in closed form.

    For one example the gradient of a weight is the outer product of delta, the gradient of the
    layer's output, and h, its input; so the sum of sizes is one matrix product, ``|delta|^T |h|``.
    """
    tracked = tracked_pass(task, parameters, examples, layers)
    (pulled,) = tracked.pull(2 * torch.where(examples.allowed, tracked.logits, 0.0))
    result: Parameters = {}
    for name, layer in layers.items():
        delta = pulled[name].abs()
        result[joined_name(name, "weight")] = delta.T @ tracked.inputs[name].abs()
        if layer.bias is not None:
            result[joined_name(name, "bias")] = delta.sum(0)
    return result


def _general_sizes(task: Task, parameters: Parameters, examples: Examples) -> Parameters:
    """Return the sum over examples of absolute gradients, for any network."""

    def squared_norm(parameters: Parameters, image: Tensor, allowed: Tensor) -> Tensor:
        logits = task.network.logits(parameters, image[None])
        return torch.where(allowed, logits, 0.0).square().sum()

    each = vmap(grad(squared_norm), in_dims=(None, 0, 0))(
        parameters, examples.images, examples.allowed
    )
    return {name: value.abs().sum(0) for name, value in each.items()}

"""The diagonal of the Fisher information of a network on the data of one task.

``F_i = 1/n sum_n E_y [ (d log p(y | x_n) / d theta_i)^2 ]``, with ``p`` the softmax over the
units that are allowed for the example: per-sample gradients, squared one by one, mean over
samples. The choices a library makes silently here change the method; van de Ven (2025,
arXiv 2502.11756) compares them. ``labels`` says over which labels y the expectation runs:

- ``exact``: the model's own predictive distribution, every unit weighted with its probability;
- ``sampled``: one label per example, drawn from that distribution;
- ``empirical``: the true label (Kunstner et al. 2019, arXiv 1905.12558, on its limits);
- ``batch``: the *legacy* form of some libraries, the square of a mini-batch's mean gradient with
  the true labels, averaged over batches. It depends on the batch size and is no Fisher; it is
  kept so that results obtained with it can be compared.

In regression ``p`` is a normal distribution of variance 1 around the prediction. The expectation
over y then leaves the mean of the prediction's squared gradient (Pascanu and Bengio 2014,
arXiv 1301.3584); only ``exact`` is defined.

The expectation costs one backward pass less than there are classes. With J the Jacobian of the
logits z, ``grad log p(y) = J^T (e_y - p)``, and over y the outer product of ``e_y - p`` has the
mean ``diag(p) - p p^T``, which is singular: it is ``sum_k v_k v_k^T`` with C - 1 vectors, its
Cholesky factor's columns (Tanabe and Sagae 1992, J. R. Stat. Soc. B 54(1)). So
``F_i = 1/n sum_n sum_k (J^T v_k)_i^2``: for two classes one pass, v being
``sqrt(p_1 p_2) (1, -1)``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from driftboard.strategies.base import EXAMPLES_AT_ONCE, Examples, Parameters, Task
from driftboard.strategies.layers import (
    Layers,
    joined_name,
    layers_applied_once,
    tracked_pass,
    zeros_like,
)

LABELS = ("exact", "sampled", "empirical", "batch")
"""The ways to choose the labels, see the head of this file."""

SAMPLES_AT_ONCE = 64
"""How many per-sample gradients of the whole network the general form holds at once.

``tests/benchmarks/fisher_ways.py`` compares it with other numbers and forms."""

LEGACY_BATCH = 32
"""The mini-batch of the form ``batch``."""

Squares = Callable[[Task, Parameters, str, Examples, Tensor], Parameters]


def diagonal_fisher(task: Task, parameters: Parameters, *, labels: str = "exact") -> Parameters:
    """Return the diagonal Fisher at ``parameters``, entries >= 0, shaped like the parameters.

    A pure function of one learner: it runs alone and under ``vmap`` over learners. Head units
    that no example allows get exactly 0. Networks that consist of Linear layers only are treated
    in closed form, without a weight matrix's gradient for every example; all others in the
    general form. Both give the same values up to rounding.

    Raises:
        ValueError: ``labels`` is none of LABELS, or other than ``exact`` in regression.
    """
    if labels not in LABELS:
        raise ValueError(f"labels must be one of {', '.join(LABELS)}, not {labels!r}")
    if task.regression and labels != "exact":
        raise ValueError(f"labels must be 'exact' in regression, not {labels!r}")
    if labels == "batch":
        return _squared_batch_gradients(task, parameters)
    layers = layers_with_closed_form(task, parameters)
    squares: Squares = partial(_linear_squares, layers) if layers else _general_squares
    size = EXAMPLES_AT_ONCE if layers else SAMPLES_AT_ONCE
    total = zeros_like(parameters)
    for examples, noise in zip(
        task.examples.slices(size), torch.split(task.noise, size), strict=True
    ):
        total = _plus(total, squares(task, parameters, labels, examples, noise))
    count = task.examples.labels.shape[0]
    return {name: value / count for name, value in total.items()}


def _squared_batch_gradients(task: Task, parameters: Parameters) -> Parameters:
    """Return the mean over mini-batches of the squared gradient of the mini-batch's mean loss."""
    total = zeros_like(parameters)
    batches = list(task.examples.slices(LEGACY_BATCH))
    for batch in batches:
        gradient = grad(task.loss)(parameters, batch)
        total = _plus(total, {name: value.square() for name, value in gradient.items()})
    return {name: value / len(batches) for name, value in total.items()}


def _linear_squares(
    layers: Layers,
    task: Task,
    parameters: Parameters,
    labels: str,
    examples: Examples,
    noise: Tensor,
) -> Parameters:
    """Return the sum over examples of expected squared gradients, in closed form.

    For one example the gradient of a Linear layer's weight is the outer product of delta, the
    gradient of its output, and h, its input; so the square is the outer product of the squares,
    and the sum over examples is one matrix product, ``(delta^2)^T h^2``.
    """
    tracked = tracked_pass(task, parameters, examples, layers)
    directions = _directions(labels, task, tracked.logits, examples.labels, noise)
    squares = _sum_of_squares(tracked.pull, directions)
    result: Parameters = {}
    for name, layer in layers.items():
        result[joined_name(name, "weight")] = squares[name].T @ tracked.inputs[name].square()
        if layer.bias is not None:
            result[joined_name(name, "bias")] = squares[name].sum(0)
    return result


def _general_squares(
    task: Task, parameters: Parameters, labels: str, examples: Examples, noise: Tensor
) -> Parameters:
    """Return the sum over examples of expected squared gradients, for any network."""

    def squares(image: Tensor, label: Tensor, allowed: Tensor, number: Tensor) -> Parameters:
        example = Examples(image[None], label[None], allowed[None])

        def logits_at(parameters: Parameters) -> Tensor:
            return task.logits(parameters, example)

        tracked: Any = vjp(logits_at, parameters)
        logits, pull = tracked
        directions = _directions(labels, task, logits, example.labels, number[None])
        return _sum_of_squares(pull, directions)

    each = vmap(squares)(examples.images, examples.labels, examples.allowed, noise)
    return {name: value.sum(0) for name, value in each.items()}


def _sum_of_squares(pull: Callable[..., Any], directions: Iterator[Tensor]) -> Parameters:
    """Return the sum over directions of the square of what is pulled back, entry by entry."""
    total: Parameters = {}
    for direction in directions:
        (pulled,) = pull(direction)
        for name in list(pulled):  # one by one, so that few of this size are there at a time
            square = pulled.pop(name).square()
            total[name] = total[name] + square if name in total else square
    return total


def _directions(
    labels: str, task: Task, logits: Tensor, true_labels: Tensor, noise: Tensor
) -> Iterator[Tensor]:
    """Yield vectors of every example, shape (n, units), along which logits are differentiated.

    Over the labels, the mean of the outer product of ``log p``'s gradient is the sum of theirs.
    There is at least one. In regression it is 1, because the squared error of the drawn y, by
    which the prediction's squared gradient is multiplied, has the mean 1.
    """
    if task.regression:
        yield torch.ones_like(logits)
        return
    probabilities = logits.softmax(-1)
    if labels == "exact":
        yield from _factors(probabilities, task)
        return
    drawn = true_labels if labels == "empirical" else _sample(probabilities, noise)
    units = torch.arange(logits.shape[-1], device=logits.device)
    yield (drawn[:, None] == units).to(logits.dtype) - probabilities


def _factors(probabilities: Tensor, task: Task) -> Iterator[Tensor]:
    """Yield vectors v, shape (n, units), of which ``sum v v^T`` is ``diag(p) - p p^T``.

    Label by label, with r the probability of those whose turn comes later and q = p + r:
    ``v = sqrt(p r / q) (e - p_later / r)``, and 0 where they have vanished. Only the units that an
    answer is chosen from have a turn, since all others have probability 0, and the last of them
    has none coming later; where there is only one it has a turn, with v = 0.
    """
    least = torch.finfo(probabilities.dtype).tiny
    units = torch.arange(probabilities.shape[-1], device=probabilities.device)
    later = probabilities
    q = later.sum(-1)
    for unit in task.answers[: max(1, len(task.answers) - 1)]:
        own = (units == unit).to(probabilities.dtype)
        later = later * (1 - own)
        r = later.sum(-1)
        size = (probabilities @ own * (r / q.clamp_min(least))).sqrt()
        yield size[:, None] * (own - later / r.clamp_min(least)[:, None])
        q = r


def _sample(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Return labels, shape (n,), drawn by inverting the distribution function at ``noise``.

    The label is the first unit whose cumulated probability exceeds the number, so a unit of
    probability 0 is never drawn; scaling by the total keeps rounding from running past the end.
    """
    cumulated = probabilities.cumsum(-1)
    return (cumulated <= noise[:, None] * cumulated[:, -1:]).sum(-1)


def layers_with_closed_form(task: Task, parameters: Parameters) -> Layers:
    """Return the network's Linear layers by name if they are all there is to it, else nothing.

    The closed form holds if every parameter belongs to a Linear layer and every layer is applied
    once, to one vector per example. The latter is found by sending one example through.
    """
    layers = layers_applied_once(task, parameters)
    owned = {
        joined_name(name, own)
        for name, layer in layers.items()
        for own, _ in layer.named_parameters()
    }
    if owned != parameters.keys():
        return {}
    inputs = tracked_pass(task, parameters, next(task.examples.slices(1)), layers).inputs
    return layers if all(value.dim() == 2 for value in inputs.values()) else {}


def _plus(one: Parameters, other: Parameters) -> Parameters:
    return {name: value + other[name] for name, value in one.items()}

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
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vjp, vmap
from torch.nn import functional as F

from driftboard.strategies.base import EXAMPLES_AT_ONCE, Examples, Parameters, Task

LABELS = ("exact", "sampled", "empirical", "batch")
"""The ways to choose the labels, see the head of this file."""

SAMPLES_AT_ONCE = 32
"""How many per-sample gradients of the whole network the general form holds at once."""

LEGACY_BATCH = 32
"""The mini-batch of the form ``batch``."""

Layers = dict[str, nn.Linear]
Squares = Callable[[Task, Parameters, str, Examples, Tensor], Parameters]


def diagonal_fisher(task: Task, parameters: Parameters, *, labels: str = "exact") -> Parameters:
    """Return the diagonal Fisher at ``parameters``, entries >= 0, shaped like the parameters.

    A pure function of one learner: it runs alone and under ``vmap`` over learners. Head units
    that no example allows get exactly 0. Networks that consist of Linear layers only are treated
    in closed form, tens of times faster than per-sample gradients one by one; all others in
    the general form. Both give the same values up to rounding.

    Raises:
        ValueError: ``labels`` is none of LABELS, or other than ``exact`` in regression.
    """
    if labels not in LABELS:
        raise ValueError(f"labels must be one of {', '.join(LABELS)}, not {labels!r}")
    if task.regression and labels != "exact":
        raise ValueError(f"labels must be 'exact' in regression, not {labels!r}")
    if labels == "batch":
        return _squared_batch_gradients(task, parameters)
    layers = _layers_with_closed_form(task, parameters)
    squares: Squares = partial(_linear_squares, layers) if layers else _general_squares
    size = EXAMPLES_AT_ONCE if layers else SAMPLES_AT_ONCE
    total = _zeros(parameters)
    for examples, noise in zip(
        task.examples.slices(size), torch.split(task.noise, size), strict=True
    ):
        total = _plus(total, squares(task, parameters, labels, examples, noise))
    count = task.examples.labels.shape[0]
    return {name: value / count for name, value in total.items()}


def _squared_batch_gradients(task: Task, parameters: Parameters) -> Parameters:
    """Return the mean over mini-batches of the squared gradient of the mini-batch's mean loss."""
    total = _zeros(parameters)
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
    and the sum over examples is one matrix product, ``(delta^2)^T h^2``. The deltas are
    gradients with respect to "taps": zeros added to the outputs.
    """
    count = examples.labels.shape[0]
    like = next(iter(parameters.values()))
    taps = {name: like.new_zeros(count, layer.out_features) for name, layer in layers.items()}

    def forward(taps: Parameters) -> tuple[Tensor, Parameters]:
        inputs: Parameters = {}

        def tap(name: str, _: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
            inputs[name] = arguments[0]
            return output + taps[name]

        with _hooks(layers, tap):
            return _scores(task, parameters, examples), inputs

    tracked: Any = vjp(forward, taps, has_aux=True)
    scores, pull, inputs = tracked
    squares = _zeros(taps)
    for chosen, weight in _draws(labels, task, scores, examples.labels, noise):
        (deltas,) = pull(chosen)
        squares = _plus(
            squares, {name: weight[:, None] * delta.square() for name, delta in deltas.items()}
        )
    result: Parameters = {}
    for name, layer in layers.items():
        result[_join(name, "weight")] = squares[name].T @ inputs[name].square()
        if layer.bias is not None:
            result[_join(name, "bias")] = squares[name].sum(0)
    return result


def _general_squares(
    task: Task, parameters: Parameters, labels: str, examples: Examples, noise: Tensor
) -> Parameters:
    """Return the sum over examples of expected squared gradients, for any network."""

    def squares(image: Tensor, label: Tensor, allowed: Tensor, number: Tensor) -> Parameters:
        example = Examples(image[None], label[None], allowed[None])

        def scores_at(parameters: Parameters) -> Tensor:
            return _scores(task, parameters, example)

        tracked: Any = vjp(scores_at, parameters)
        scores, pull = tracked
        total = _zeros(parameters)
        for chosen, weight in _draws(labels, task, scores, example.labels, number[None]):
            (gradient,) = pull(chosen)
            for name in total:  # one after the other, so that few of this size are there at a time
                total[name] = total[name] + weight[0] * gradient.pop(name).square()
        return total

    each = vmap(squares)(examples.images, examples.labels, examples.allowed, noise)
    return {name: value.sum(0) for name, value in each.items()}


def _scores(task: Task, parameters: Parameters, examples: Examples) -> Tensor:
    """Return what is differentiated: log-probabilities, (n, units), or predictions, (n, 1)."""
    logits = task.logits(parameters, examples)
    return logits if task.regression else F.log_softmax(logits, dim=-1)


def _draws(
    labels: str, task: Task, scores: Tensor, true_labels: Tensor, noise: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs of one-hot labels, shape (n, units), and their weights, shape (n,).

    The weights of one example sum to 1. Exactly, only the units of the task need a turn: all
    others have probability 0. In regression the one unit has the weight 1, because the squared
    error of the drawn y, by which its squared gradient is multiplied, has the mean 1.
    """
    if task.regression:
        yield torch.ones_like(scores), torch.ones_like(noise)
        return
    units = torch.arange(scores.shape[-1], device=scores.device)
    if labels == "exact":
        probabilities = scores.exp()
        for unit in task.units:
            chosen = (units == unit).to(scores.dtype)
            yield chosen.expand_as(scores), probabilities @ chosen
        return
    drawn = true_labels if labels == "empirical" else _sample(scores.exp(), noise)
    yield (drawn[:, None] == units).to(scores.dtype), torch.ones_like(noise)


def _sample(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Return labels, shape (n,), drawn by inverting the distribution function at ``noise``.

    The label is the first unit whose cumulated probability exceeds the number, so a unit of
    probability 0 is never drawn; scaling by the total keeps rounding from running past the end.
    """
    cumulated = probabilities.cumsum(-1)
    return (cumulated <= noise[:, None] * cumulated[:, -1:]).sum(-1)


def _layers_with_closed_form(task: Task, parameters: Parameters) -> Layers:
    """Return the network's Linear layers by name if they are all there is to it, else nothing.

    The closed form holds if every parameter belongs to a Linear layer and every layer is applied
    once, to one vector per example. The latter is found by sending one example through.
    """
    layers = {
        name: layer
        for name, layer in task.network.module.named_modules()
        if isinstance(layer, nn.Linear)
    }
    owned = {
        _join(name, own) for name, layer in layers.items() for own, _ in layer.named_parameters()
    }
    if owned != parameters.keys():
        return {}
    dimensions: list[tuple[str, int]] = []

    def note(name: str, _: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        dimensions.append((name, output.dim()))

    with _hooks(layers, note):
        task.network.logits(parameters, task.examples.images[:1])
    return layers if sorted(dimensions) == sorted((name, 2) for name in layers) else {}


@contextmanager
def _hooks(layers: Layers, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call ``hook(name, layer, arguments, output)`` after every layer's forward."""
    handles = [layer.register_forward_hook(partial(hook, name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _join(layer: str, parameter: str) -> str:
    """Return a parameter's full name; the outermost layer has the empty name."""
    return f"{layer}.{parameter}" if layer else parameter


def _zeros(like: Parameters) -> Parameters:
    return {name: torch.zeros_like(value) for name, value in like.items()}


def _plus(one: Parameters, other: Parameters) -> Parameters:
    return {name: value + other[name] for name, value in one.items()}

"""Second moments of a layer's inputs and of its output gradients, and their eigenvectors.

For a layer z = W h (h with a one appended if the layer has a bias) the curvature of a task's loss
in W is close to the Kronecker product of ``A = E[h h^T]`` and ``G = E[J^T C J]``, with J the
Jacobian of the logits in z (Martens and Grosse 2015, arXiv 1503.05671). With ``C = I - 1/m``,
which centres the m logits that are allowed, G tells how far the logits move, whatever the labels
and however sure the network is; with ``C = diag(p) - p p^T`` it is the Fisher's.

For convolutions a row is a patch, one per image and position, and G sums over positions (Grosse
and Martens 2016, arXiv 1602.01407).

Moments of several tasks are summed as eigenvectors: the leading ones, and one mean for the rest.
Computed in float64, with a sign that does not depend on the routine, so that learners that are
trained together have the moments that they have alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from driftboard.strategies.base import Examples, Memory, Parameters, Task
from driftboard.strategies.layers import Layer, Layers, input_rows, output_rows, tracked_pass

EXAMPLES = 150
"""Over how many of a task's examples moments are taken, in classification."""

APART = 1e-16
"""How far equal eigenvalues are set apart, in parts of the mean eigenvalue."""

VANISHING = 1e-10
"""An eigenvalue below this part of the largest is rounding and counts as 0."""


@dataclass(frozen=True)
class Moments:
    """The second moments of one layer on one task."""

    rows: Tensor  # (n, inputs): A = rows^T rows
    outputs: Tensor  # (outputs, outputs): G

    def normalised(self) -> "Moments":
        """Return the same scaled to mean eigenvalues of 1; zeros stay zeros."""
        mean = self.outputs.diagonal().mean()
        least = torch.finfo(self.outputs.dtype).tiny
        return Moments(_scaled_rows(self.rows), self.outputs / mean.clamp_min(least))


def evenly_spaced(examples: Examples, count: int) -> Examples:
    """Return at most ``count`` examples at equal distances, since they may be sorted by class.

    >>> some = evenly_spaced(Examples(torch.zeros(5, 1), torch.arange(5), torch.ones(5, 2)), 3)
    >>> some.labels.tolist()
    [0, 2, 4]
    """
    step = -(-examples.labels.shape[0] // count)
    return Examples(examples.images[::step], examples.labels[::step], examples.allowed[::step])


def layer_moments(task: Task, parameters: Parameters, layers: Layers) -> dict[str, Moments]:
    """Return the moments of every layer at ``parameters``, on evenly spaced examples of the task.

    In regression all examples count, and G is that of the prediction.
    """
    examples = _examples_of(task)
    tracked = tracked_pass(task, parameters, examples, layers)
    outputs: dict[str, Tensor] = {}
    for direction in centred_directions(task, examples):
        (pulled,) = tracked.pull(direction)
        for name, layer in layers.items():
            rows = output_rows(layer, pulled[name])
            square = rows.mT @ rows
            outputs[name] = outputs[name] + square if name in outputs else square
    count = examples.labels.shape[0]
    return {
        name: Moments(_mean_rows(layer, tracked.inputs[name]), outputs[name] / count)
        for name, layer in layers.items()
    }


def input_moments(task: Task, parameters: Parameters, layers: Layers) -> Parameters:
    """Return per layer rows, (n, inputs), of which ``rows^T rows`` has a mean eigenvalue of 1."""
    tracked = tracked_pass(task, parameters, _examples_of(task), layers)
    return {
        name: _scaled_rows(_mean_rows(layer, tracked.inputs[name]))
        for name, layer in layers.items()
    }


def _examples_of(task: Task) -> Examples:
    return task.examples if task.regression else evenly_spaced(task.examples, EXAMPLES)


def _mean_rows(layer: Layer, inputs: Tensor) -> Tensor:
    """Return a layer's input rows, scaled so that their outer products sum to the mean."""
    rows = input_rows(layer, inputs)
    return rows / math.sqrt(rows.shape[0])


def _scaled_rows(rows: Tensor) -> Tensor:
    """Return rows scaled so that ``rows^T rows`` has a mean eigenvalue of 1; zeros stay zeros."""
    mean = rows.square().sum() / rows.shape[1]
    return rows / mean.clamp_min(torch.finfo(rows.dtype).tiny).sqrt()


def centred_directions(task: Task, examples: Examples) -> Iterator[Tensor]:
    """Yield vectors v of the logits, (n, head units), of which ``sum v v^T`` is C = I - 1/m.

    Unit by unit, with m - k units still to come: ``sqrt((m - k) / (m - k + 1))`` times the unit
    less the mean of those to come, which are orthonormal (Helmert's). In regression there is one
    direction, the prediction.
    """
    left = examples.allowed.to(task.noise.dtype)
    if task.regression:
        yield left
        return
    units = torch.arange(left.shape[-1], device=left.device)
    for unit in task.answers[: max(1, len(task.answers) - 1)]:
        count = left.sum(-1, keepdim=True)
        own = (units == unit).to(left.dtype)
        left = left * (1 - own)
        rest = left.sum(-1, keepdim=True)
        yield (rest / count).sqrt() * (own - left / rest.clamp_min(1.0))


def added_inputs(earlier: Memory | None, rows: Tensor, rank: int) -> Memory:
    """Return the eigenvectors of earlier moments of inputs plus ``rows^T rows``.

    Args:
        earlier: what this function returned before; None if nothing is earlier.
        rows: (n, inputs).
        rank: how many leading eigenvectors are kept; all of them if there are no more.

    Returns:
        A memory: ``vectors`` (inputs, r), columns of length 1, or of 0 where the eigenvalue
        vanishes; ``values`` (r,), the eigenvalues; ``rest``, a scalar, the mean of all others.
    """
    all_rows = rows.double()
    if earlier is not None:  # the part above ``rest`` is as many rows again
        above, vectors = _above_rest(earlier)
        all_rows = torch.cat([all_rows, above.sqrt()[:, None] * vectors.mT])
    values, vectors = leading_of_rows(all_rows, min(rank, rows.shape[1]))
    return _with_rest(earlier, values, vectors, all_rows.square().sum(), rows.dtype)


def added_outputs(earlier: Memory | None, moments: Tensor, rank: int) -> Memory:
    """Return the eigenvectors of earlier moments of output gradients plus others.

    Args:
        earlier: what this function returned before; None if nothing is earlier.
        moments: (outputs, outputs), symmetric.
        rank: as for inputs.

    Returns:
        A memory, as for inputs.
    """
    total = moments.double()
    if earlier is not None:
        above, vectors = _above_rest(earlier)
        total = total + (vectors * above) @ vectors.mT
    values, vectors = _leading(total, min(rank, moments.shape[0]))
    return _with_rest(earlier, values, vectors, total.trace(), moments.dtype)


def _above_rest(earlier: Memory) -> tuple[Tensor, Tensor]:
    """Return how far the leading eigenvalues are above the rest, and their eigenvectors."""
    above = earlier["values"].double() - earlier["rest"].double()
    return above.clamp_min(0), earlier["vectors"].double()


def _with_rest(
    earlier: Memory | None, values: Tensor, vectors: Tensor, trace: Tensor, dtype: torch.dtype
) -> Memory:
    """Return a memory of moments, of which ``values`` and ``trace`` leave out the earlier rest."""
    size, rank = vectors.shape
    rest = torch.zeros_like(trace) if earlier is None else earlier["rest"].double()
    values = values + rest
    if size > rank:
        rest = rest + (trace - (values - rest).sum()).clamp_min(0) / (size - rank)
    memory = {"vectors": vectors, "values": values, "rest": rest}
    return {name: value.to(dtype) for name, value in memory.items()}


def leading_of_rows(rows: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues of ``rows^T rows`` and their eigenvectors.

    Shapes (rank,) and (inputs, rank); in ascending order. A vector whose eigenvalue vanishes is 0,
    because any other would do as well. They come from ``rows rows^T`` where that is smaller: it
    has the same eigenvalues, and ``rows^T u`` over its length is an eigenvector.
    """
    count, size = rows.shape
    if not rank <= count < size:
        return _leading(rows.mT @ rows, rank)
    values, vectors = _leading(rows @ rows.mT, rank)
    return values, _signed(rows.mT @ vectors / torch.where(values > 0, values, 1.0).sqrt())


def _leading(square: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the same of a symmetric matrix."""
    # The routine refuses what is not finite. A learner that has diverged is lost without it.
    finite = torch.where(square.isfinite(), square, 0.0)
    # It sometimes fails where many eigenvalues are equal, as those of inputs that are always 0.
    size = square.shape[0]
    apart = torch.arange(1, size + 1, dtype=square.dtype, device=square.device).diag()
    values, vectors = torch.linalg.eigh(finite + APART / size * finite.trace() * apart)
    values, vectors = values[-rank:], vectors[:, -rank:]
    there = values > VANISHING * values[-1:].clamp_min(0)
    return torch.where(there, values, 0.0), torch.where(there, _signed(vectors), 0.0)


def _signed(vectors: Tensor) -> Tensor:
    """Return columns with a sign that does not depend on the routine that found them."""
    # Any vector that is hardly ever at right angles to an eigenvector serves.
    side = torch.arange(1, vectors.shape[0] + 1, dtype=vectors.dtype, device=vectors.device).cos()
    return torch.where(side @ vectors < 0, -vectors, vectors)

"""Several multilayer perceptrons at once, with loss, gradient and logits in closed form."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from driftboard.strategies.base import Examples, Parameters, masked


@dataclass(frozen=True)
class StackedMlp:
    """S networks of Linear layers with ReLUs between them; the last layer is the head.

    Loss, gradient and logits are in closed form. ``vmap`` over one network is general, but for
    small MLPs it spends more time on bookkeeping than on arithmetic. Here a step is a handful of
    batched matrix products. The backward pass calls the same kernels as autograd, so that both
    give the same gradients.
    """

    layers: tuple[str, ...]
    """The layers' names, inputs first: parameters are ``NAME.weight`` (S, outputs, inputs) and
    ``NAME.bias`` (S, outputs)."""

    @torch.no_grad()
    def losses_and_gradient(
        self, parameters: Parameters, examples: Examples, wanted: Collection[str]
    ) -> tuple[Tensor, Parameters]:
        """Return the mean cross-entropy of every learner, (S,), and its gradient.

        Args:
            parameters: with a leading dimension S.
            examples: a batch of each learner, with a leading dimension S.
            wanted: the names of the parameters whose gradient is returned.
        """
        *inputs, logits = self._forward(parameters, examples.images)
        scores = masked(logits, examples.allowed).log_softmax(dim=-1)
        losses = -scores.gather(2, examples.labels[..., None]).squeeze(2).mean(dim=1)
        slope = _slope_of_mean_cross_entropy(scores, examples)
        return losses, self._backward(parameters, inputs, slope, wanted)

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return the logits of every learner, (S, n, units), for float images (S, n, ...)."""
        for values in self._forward(parameters, images):
            logits = values  # frees the inputs of a layer as soon as its outputs are there
        return logits

    def _forward(self, parameters: Parameters, images: Tensor) -> Iterator[Tensor]:
        """Yield the inputs of every layer, (S, n, inputs), and then the logits, (S, n, units)."""
        values = images.flatten(2)
        yield values
        for layer in self.layers:
            weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
            values = torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))
            if layer != self.layers[-1]:
                values.relu_()
            yield values

    def _backward(
        self, parameters: Parameters, inputs: list[Tensor], slope: Tensor, wanted: Collection[str]
    ) -> Parameters:
        """Return the gradient of the wanted parameters, given that of the logits, (S, n, units)."""
        gradient = {}
        left = set(wanted)
        for layer, below in zip(reversed(self.layers), reversed(inputs), strict=True):
            weight, bias = f"{layer}.weight", f"{layer}.bias"
            if weight in left:
                gradient[weight] = self._weight_gradient(layer, below, slope)
            if bias in left:
                gradient[bias] = slope.sum(dim=1)
            left -= {weight, bias}
            if not left:
                break
            slope = torch.ops.aten.threshold_backward(
                torch.bmm(slope, parameters[weight]), below, 0
            )
        return {name: gradient[name] for name in wanted}

    def _weight_gradient(self, layer: str, below: Tensor, slope: Tensor) -> Tensor:
        """Return the gradient of a layer's weight, (S, outputs, inputs).

        Autograd computes the transposed product. For a wide layer both products have the same
        bits, and the update reads this one faster; for the few rows of the head they differ.
        """
        if layer == self.layers[-1]:
            return torch.bmm(below.transpose(1, 2), slope).transpose(1, 2)
        return torch.bmm(slope.transpose(1, 2), below)


def _slope_of_mean_cross_entropy(scores: Tensor, examples: Examples) -> Tensor:
    """Return the gradient of the mean cross-entropy in the logits, given log-probabilities."""
    each = -1.0 / examples.labels.shape[1]
    chosen = torch.zeros_like(scores).scatter_(2, examples.labels[..., None], each)
    slope: Tensor = torch.ops.aten._log_softmax_backward_data(chosen, scores, 2, scores.dtype)
    return slope.masked_fill_(~examples.allowed, 0.0)

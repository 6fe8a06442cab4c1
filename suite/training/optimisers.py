"""What a step does with the gradient; all state changes in place.

A parameter's *scale* is the learning rate times the share of its block, shaped to broadcast: half
the share takes half the step, whatever the optimiser makes of the gradient.
"""

from typing import Protocol

import torch

from driftboard.strategies.base import Parameters
from driftboard.suite.protocol import AdamTraining, Training


class Optimiser(Protocol):
    """The state of one task's training."""

    def step(self, gradient: Parameters, trained: Parameters, scales: Parameters) -> None:
        """Move the trained parameters, in place."""


class Momentum:
    """Stochastic gradient descent with momentum."""

    def __init__(self, momentum: float, trained: Parameters) -> None:
        self._momentum = momentum
        self._velocity = _zeros(trained)

    def step(self, gradient: Parameters, trained: Parameters, scales: Parameters) -> None:
        """Move the trained parameters, in place."""
        for name, value in trained.items():
            self._velocity[name].mul_(self._momentum).add_(gradient[name])
            value.addcmul_(self._velocity[name], scales[name], value=-1.0)


class Adam:
    """Kingma and Ba 2015 (ICLR, arXiv 1412.6980), Algorithm 1."""

    def __init__(self, training: AdamTraining, trained: Parameters) -> None:
        self._training = training
        self._mean = _zeros(trained)
        self._square = _zeros(trained)
        device = next(iter(trained.values())).device
        # A tensor, because a recorded step is replayed without Python.
        self._steps = torch.zeros((), dtype=torch.float64, device=device)

    def step(self, gradient: Parameters, trained: Parameters, scales: Parameters) -> None:
        """Move the trained parameters, in place."""
        first, second = self._training.momentum, self._training.second_momentum
        self._steps += 1
        of_mean, of_square = 1 - first**self._steps, 1 - second**self._steps
        for name, value in trained.items():
            slope = gradient[name]
            mean = self._mean[name].mul_(first).add_(slope, alpha=1 - first)
            square = self._square[name].mul_(second).addcmul_(slope, slope, value=1 - second)
            size = (square / of_square).sqrt_().add_(self._training.epsilon)
            value.addcmul_(mean / of_mean / size, scales[name], value=-1.0)


def optimiser_of(training: Training, trained: Parameters) -> Optimiser:
    """Return the optimiser that a task is trained with, its state at zero."""
    if isinstance(training, AdamTraining):
        return Adam(training, trained)
    return Momentum(training.momentum, trained)


def _zeros(parameters: Parameters) -> Parameters:
    return {name: torch.zeros_like(value) for name, value in parameters.items()}

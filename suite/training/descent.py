"""Gradient descent on one task: what a step is, for S learners at once.

Everything that a step changes, it changes in place, so that a recorded step can be replayed.
"""

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Examples, Memory, Parameters
from driftboard.suite.protocol import Training
from driftboard.suite.training.hooks import CohortTask, Hooks
from driftboard.suite.training.optimisers import optimiser_of


class Descent:
    """The training of a cohort on one task.

    Args:
        task: the training data; the tensors of all learners, (S, ...).
        hooks: the strategy's.
        scales: the learning rate times the share of every parameter that may move, shaped to
            broadcast; a parameter that is not there is frozen for all learners.
        training: what the optimiser is, and its settings.
        parameters: where to start; they are not changed.
        memory: the strategy's; it is not changed.
    """

    def __init__(
        self,
        task: CohortTask,
        hooks: Hooks,
        scales: Parameters,
        training: Training,
        parameters: Parameters,
        memory: Memory,
    ) -> None:
        self._task = task
        self._hooks = hooks
        self._scales = scales
        self._trained = {name: parameters[name].clone().requires_grad_() for name in scales}
        self.parameters: Parameters = {**parameters, **self._trained}
        self._optimiser = optimiser_of(training, self._trained)
        self._moves = {name: scale > 0 for name, scale in scales.items()}
        self._some_stay = not all(bool(moving.all()) for moving in self._moves.values())
        self._before = _copied(self._trained) if hooks.observes else {}
        self.memory = _own(memory) if hooks.observes else memory
        seeds, count = task.labels.shape
        device = task.labels.device
        self.finite = torch.ones(seeds, dtype=torch.bool, device=device)
        """bool (S,): whose losses were all finite so far."""
        self._first = (torch.arange(seeds, device=device) * count)[:, None]
        tensors = (task.images, task.labels, task.allowed)
        self._examples = tuple(value.flatten(0, 1) for value in tensors)

    def step(self, order: Tensor) -> None:
        """Take a step of every learner on its own images, whose indices are ``order`` (S, n)."""
        batch = self._batch(order)
        losses, slope = self._hooks.losses_and_gradient(
            batch, self.parameters, self.memory, self._trained
        )
        with torch.no_grad():
            if self._some_stay:
                # A block that only some learners freeze has a gradient for all of them.
                slope = {n: torch.where(self._moves[n], value, 0.0) for n, value in slope.items()}
            self._update(slope)
            if self._hooks.constrains:
                self._constrain()
            if self._hooks.observes:
                self._observe(slope)
            self.finite &= torch.isfinite(losses)

    def _batch(self, order: Tensor) -> Examples:
        """Return examples of shape (S, n, ...)."""
        rows = (order + self._first).flatten()
        return Examples(
            *(
                value.index_select(0, rows).reshape(*order.shape, *value.shape[1:])
                for value in self._examples
            )
        )

    def _update(self, slope: Parameters) -> None:
        gradient = slope
        if self._hooks.corrects:
            gradient = self._hooks.correct(slope, self.parameters, self.memory)
        self._optimiser.step(gradient, self._trained, self._scales)

    def _constrain(self) -> None:
        kept = self._hooks.constrain(self.parameters, self.memory)
        for name, value in self._trained.items():
            if self._some_stay:
                value.copy_(torch.where(self._moves[name], kept[name], value))
            else:
                value.copy_(kept[name])

    def _observe(self, slope: Parameters) -> None:
        # Copies, since a strategy may keep what it is shown, and training goes on in place.
        after = _copied(self._trained)
        step = {name: after[name] - self._before[name] for name in after}
        memory = self._hooks.observe(slope, step, {**self.parameters, **after}, self.memory)
        _overwrite(self.memory, memory)
        for name, value in after.items():
            self._before[name].copy_(value)


def _copied(parameters: Parameters) -> Parameters:
    return {name: value.detach().clone() for name, value in parameters.items()}


def _own(memory: Memory) -> Memory:
    result: Memory = pytree.tree_map(torch.clone, memory)
    return result


def _overwrite(memory: Memory, new: Memory) -> None:
    """Write one memory's tensors into another's of the same names, in whatever order."""
    places = dict(pytree.tree_flatten_with_path(memory)[0])
    # First all copies: a strategy may return its old tensors under other names.
    values = [(path, value.clone()) for path, value in pytree.tree_flatten_with_path(new)[0]]
    for path, value in values:
        places[path].copy_(value)

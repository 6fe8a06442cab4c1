"""Gradient descent on one task: a training step of S learners at once, and its optimisers.

A step changes all of its state in place, so that it can be replayed as a CUDA graph.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Examples, Memory, Parameters
from driftboard.suite.protocol import AdamTraining, Training
from driftboard.suite.training.hooks import CohortStep, CohortTask, Hooks


class Optimiser(Protocol):
    """The optimiser of one task, with its state; everything changes in place.

    The *scale* of a parameter is the learning rate times the share of its block, shaped to
    broadcast: half the share takes half the step, whatever the optimiser makes of the gradient.
    """

    def step(self, gradient: Parameters, trained: Parameters, scales: Parameters) -> None:
        """Move the trained parameters, (S, ...), in place."""


class Momentum:
    """Stochastic gradient descent with momentum, as ``torch.optim.SGD`` does it."""

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
        # A tensor, because a Python number would keep its value in every replay of a CUDA graph.
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
    """Return the optimiser that a task is trained with; its averages start at zero."""
    if isinstance(training, AdamTraining):
        return Adam(training, trained)
    return Momentum(training.momentum, trained)


class Descent:
    """The training of S learners on one task.

    Args:
        task: the training data of all learners, tensors of shape (S, ...).
        hooks: the strategy's hooks.
        scales: the learning rate times the share of every parameter that may move, shaped to
            broadcast; a parameter that is missing here is frozen for all learners.
        training: the optimiser and its settings.
        parameters: where training starts, (S, ...); these tensors are not changed.
        memory: the strategy's memory; its tensors are not changed.
        steps: how many the task has.
    """

    def __init__(
        self,
        task: CohortTask,
        hooks: Hooks,
        scales: Parameters,
        training: Training,
        parameters: Parameters,
        memory: Memory,
        steps: int,
    ) -> None:
        self._task = task
        self._hooks = hooks
        self._scales = scales
        self._trained = {name: parameters[name].clone().requires_grad_() for name in scales}
        self._own_changes = 0  # of every trained parameter, in place
        self.parameters: Parameters = {**parameters, **self._trained}
        self._optimiser = optimiser_of(training, self._trained)
        self._moves = {name: scale > 0 for name, scale in scales.items()}
        self._some_frozen = not all(bool(moving.all()) for moving in self._moves.values())
        self._before = _copied(self._trained) if hooks.observes else {}
        self.memory = _own(memory) if hooks.observes or hooks.updates else memory
        self._memory_versions = _versions(self.memory)
        self._memory_changes = 0  # of every tensor of the memory, in place
        seeds, count = task.labels.shape
        device = task.labels.device
        # A tensor that is counted up in place, so that a replayed step counts on.
        self._numbers = torch.zeros(seeds, dtype=torch.int64, device=device)
        self._steps = steps
        self.finite = torch.ones(seeds, dtype=torch.bool, device=device)
        """bool, (S,): whether all losses of a learner were finite so far."""
        # Examples of all learners in one dimension, (S * n, ...), so that a single index_select
        # gathers the batches of all learners.
        self._first = (torch.arange(seeds, device=device) * count)[:, None]
        tensors = (task.images, task.labels, task.allowed)
        self._examples = tuple(value.flatten(0, 1) for value in tensors)

    def changed_by_hooks(self) -> list[str]:
        """Return what of the trained parameters and the memory a hook has changed in place."""
        changes = {name: value._version for name, value in self._trained.items()}
        found = [f"parameters['{n}']" for n, count in changes.items() if count != self._own_changes]
        before, now = self._memory_versions, _versions(self.memory)
        return found + [f"memory{n}" for n in now if now[n] - before[n] != self._memory_changes]

    def check_batch(self, order: Tensor) -> None:
        """Raise if the first batch that a strategy makes has labels that cannot be answered.

        Once for a task, since on a GPU the host waits for it.
        """
        if self._hooks.batches:
            step = CohortStep(self._numbers, order, self._steps)
            with torch.no_grad():
                made = self._hooks.batch(self._batch(order), self.memory, step)
            self._hooks.check_labels(made)

    def step(self, order: Tensor) -> None:
        """Take a step of every learner on its own images, whose indices are ``order`` (S, n)."""
        step = CohortStep(self._numbers, order, self._steps)
        batch = self._batch(order)
        if self._hooks.batches:
            with torch.no_grad():
                batch = self._hooks.batch(batch, self.memory, step)
        losses, slope = self._hooks.losses_and_gradient(
            batch, self.parameters, self.memory, self._trained, step
        )
        with torch.no_grad():
            if self._some_frozen:
                # A block that only some learners freeze has a gradient for all of them.
                slope = {n: torch.where(self._moves[n], value, 0.0) for n, value in slope.items()}
            self._update(slope, step)
            if self._hooks.constrains:
                self._constrain(step)
            if self._hooks.observes:
                self._observe(slope, step)
            self.finite &= torch.isfinite(losses)
            self._numbers += 1

    def _batch(self, order: Tensor) -> Examples:
        """Return examples of shape (S, n, ...)."""
        rows = (order + self._first).flatten()
        return Examples(
            *(
                value.index_select(0, rows).reshape(*order.shape, *value.shape[1:])
                for value in self._examples
            )
        )

    def _update(self, slope: Parameters, step: CohortStep) -> None:
        gradient = slope
        if self._hooks.corrects:
            gradient = self._hooks.correct(slope, self.parameters, self.memory, step)
        if self._hooks.updates:
            moves, memory = self._hooks.update(gradient, self.parameters, self.memory, step)
            self._keep(memory)
            for name, value in self._trained.items():
                move = moves[name]
                if self._some_frozen:  # a share of 0 times infinity is not 0
                    move = torch.where(self._moves[name], move, 0.0)
                value.addcmul_(move, self._scales[name], value=-1.0)
        else:
            self._optimiser.step(gradient, self._trained, self._scales)
        self._own_changes += 1

    def _keep(self, memory: Memory) -> None:
        _overwrite(self.memory, memory)
        self._memory_changes += 1

    def _constrain(self, step: CohortStep) -> None:
        kept = self._hooks.constrain(self.parameters, self.memory, step)
        for name, value in self._trained.items():
            if self._some_frozen:
                value.copy_(torch.where(self._moves[name], kept[name], value))
            else:
                value.copy_(kept[name])
        self._own_changes += 1

    def _observe(self, slope: Parameters, step: CohortStep) -> None:
        # Copies, since a strategy may keep what it is shown, and training goes on in place.
        after = _copied(self._trained)
        moved = {name: after[name] - self._before[name] for name in after}
        seen = {**self.parameters, **after}
        self._keep(self._hooks.observe(slope, moved, seen, self.memory, step))
        for name, value in after.items():
            self._before[name].copy_(value)


def _copied(parameters: Parameters) -> Parameters:
    return {name: value.detach().clone() for name, value in parameters.items()}


def _versions(memory: Memory) -> dict[str, int]:
    leaves = pytree.tree_flatten_with_path(memory)[0]
    return {pytree.keystr(path): leaf._version for path, leaf in leaves}


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


def _zeros(parameters: Parameters) -> Parameters:
    return {name: torch.zeros_like(value) for name, value in parameters.items()}

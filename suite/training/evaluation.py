"""Tests: what a cohort answers on every task's test images, and how many answers are right."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory, Parameters, Query, Strategy, overrides
from driftboard.suite.errors import StrategyError
from driftboard.suite.training.cohort import Cohort, TaskData
from driftboard.suite.training.hooks import blaming, check_untouched, over_learners
from driftboard.suite.training.networks import Mode
from driftboard.suite.training.untouched import Untouched, named

TESTED_AT_ONCE = 250
"""How many test images of a learner one forward pass takes; more do not fit the CPU's caches."""

Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images (S, n, ...), allowed units (S, n, units), tasks (S,) -> logits (S, n, units)."""


@dataclass(frozen=True)
class Tested:
    """What a cohort answers on every task's test images."""

    correct: Tensor  # int64, (S, tasks), on the CPU: the numbers of right answers
    logits: list[Tensor]  # per task (S, n, head units), of all units, as they were answered


@dataclass(frozen=True)
class Evaluation:
    """The tests of a cohort under a strategy."""

    cohort: Cohort
    strategy: Strategy
    mode: Mode

    def before(self, parameters: Parameters) -> Tested:
        """Return the answers before the first task, which are the network's; see ``after``."""
        return self._tested(self._of_network(parameters), 0)

    def after(self, parameters: Parameters, memory: Memory, tasks: int) -> Tested:
        """Return the answers on every task's test images.

        Args:
            parameters: of the learners, (S, ...).
            memory: of the strategy, (S, ...).
            tasks: how many tasks the learners have been trained on.

        Raises:
            StrategyError: the strategy's ``answer`` raised, or returned something else than logits.
        """
        if not overrides(self.strategy, "answer"):
            return self._tested(self._of_network(parameters), tasks)
        # Training goes on from these: what an answer put there would come from test images.
        given = named("parameters", parameters) | {
            f"memory{pytree.keystr(path)}": leaf
            for path, leaf in pytree.tree_flatten_with_path(memory)[0]
        }
        shown = Untouched(given, exactly=self.mode == "loop")
        tested = self._tested(self._of_strategy(parameters, memory), tasks)
        check_untouched(self.strategy, shown.changed(), "answer()")
        return tested

    @torch.no_grad()
    def logits(self, parameters: Parameters, memory: Memory, index: int) -> Tensor:
        """Return the logits of a task's test images, (S, n, units), once it has been trained."""
        data, cohort = self.cohort.test[index], self.cohort
        tasks = torch.full((cohort.size,), index, device=cohort.device)
        images = cohort.scaling(data.images, cohort.dtype)
        answer = (
            self._of_strategy(parameters, memory)
            if overrides(self.strategy, "answer")
            else self._of_network(parameters)
        )
        return answer(images, cohort.allowed(data, index + 1), tasks)

    def _of_network(self, parameters: Parameters) -> Answer:
        network = self.cohort.network
        stacked = network.stacked if self.mode == "vmap" else None
        answer = stacked.logits if stacked is not None else over_learners(self.mode)(network.logits)
        return lambda images, _, __: answer(parameters, images)

    def _of_strategy(self, parameters: Parameters, memory: Memory) -> Answer:
        network, tells = self.cohort.network, self.cohort.tells_task

        def of_one(
            images: Tensor, allowed: Tensor, task: Tensor, parameters: Parameters, memory: Memory
        ) -> Tensor:
            query = Query(network, images, allowed, task if tells else None)
            logits: Any = self.strategy.answer(query, parameters, memory)
            if not isinstance(logits, Tensor) or logits.shape != allowed.shape:
                found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                shape = tuple(allowed.shape)
                raise self._error(f"must return logits of shape {shape}, not {found}")
            return logits

        def answer(images: Tensor, allowed: Tensor, tasks: Tensor) -> Tensor:
            with blaming(self._error):
                mapped = over_learners(self.mode)(of_one)
                # A copy of what may answer, so that a strategy cannot change it.
                logits: Tensor = mapped(images, allowed.clone(), tasks, parameters, memory)
            return logits

        return answer

    def _error(self, what: str, place: str = "") -> StrategyError:
        return StrategyError(f"strategy '{self.strategy.name}': answer() {what}{place}")

    @torch.no_grad()
    def _tested(self, answer: Answer, tasks: int) -> Tested:
        parts = [
            self._answers(answer, index, data, self.cohort.allowed(data, tasks))
            for index, data in enumerate(self.cohort.test)
        ]
        correct = torch.stack([counts for counts, _ in parts], dim=1)
        return Tested(correct, [logits for _, logits in parts])

    def _answers(
        self, answer: Answer, index: int, data: TaskData, allowed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the numbers of right answers, (S,), and all logits, (S, n, units)."""
        cohort = self.cohort
        total = torch.zeros(cohort.size, dtype=torch.int64, device=cohort.device)
        tasks = torch.full_like(total, index)
        given = []
        for start in range(0, data.count, TESTED_AT_ONCE):
            part = slice(start, start + TESTED_AT_ONCE)
            choices = allowed[:, part]
            images = cohort.scaling(data.images[:, part], cohort.dtype)
            logits = answer(images, choices, tasks)
            chosen = logits.masked_fill(~choices, -torch.inf).argmax(dim=-1)
            # A padded image has label -1, which no answer equals; where no unit may answer, none
            # does.
            right = (chosen == data.labels[:, part]) & choices.any(dim=-1)
            total += right.sum(dim=1)
            given.append(logits)
        return total.cpu(), torch.cat(given, dim=1)

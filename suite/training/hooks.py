"""A strategy's hooks, applied to a cohort. A strategy is a user's code, so results are checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import (
    Examples,
    Memory,
    Parameters,
    Strategy,
    Task,
    UpdatePlan,
    overrides,
)
from driftboard.suite.errors import StrategyError, cause_of, place_of
from driftboard.suite.training.networks import Mode, ModuleNetwork


@dataclass(frozen=True)
class CohortTask:
    """A task's training data for S learners: what ``Task`` holds, with a leading dimension S."""

    index: int
    network: ModuleNetwork
    images: Tensor
    labels: Tensor
    allowed: Tensor
    classes: Tensor
    units: Tensor
    answers: Tensor
    initial: Parameters
    noise: Tensor
    regression: bool = False
    rate: float = 0.0

    def tensors(self) -> tuple[Any, ...]:
        """Return all tensors, in the order that ``view`` takes them."""
        return (
            self.images,
            self.labels,
            self.allowed,
            self.classes,
            self.units,
            self.answers,
            self.initial,
            self.noise,
        )

    def only(self, position: int) -> "CohortTask":
        """Return the task of the learner at a position, with S = 1."""
        names = ("images", "labels", "allowed", "classes", "units", "answers", "initial", "noise")
        return replace(self, **{n: only(getattr(self, n), position) for n in names})

    def view(self, tensors: tuple[Any, ...]) -> Task:
        """Return one learner's task, given that learner's part of ``tensors``."""
        images, labels, allowed, classes, units, answers, initial, noise = tensors
        examples = Examples(images, labels, allowed)
        return Task(
            self.index,
            self.network,
            examples,
            classes,
            units,
            answers,
            initial,
            noise,
            self.regression,
            self.rate,
        )


def only(tree: Any, position: int) -> Any:
    """Return the part of one learner of tensors of shape (S, ...), with S = 1."""
    return pytree.tree_map(lambda value: value[position : position + 1], tree)


def over_learners(mode: Mode) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what turns a pure function of one learner into one of S learners.

    The result takes and returns tensors with a leading dimension S; in the mode "loop" S is 1.

    >>> total = over_learners("vmap")(torch.sum)
    >>> total(torch.tensor([[1, 2], [3, 4]])).tolist()
    [3, 7]
    """
    return torch.func.vmap if mode == "vmap" else _of_the_only_learner


def _of_the_only_learner(function: Callable[..., Any]) -> Callable[..., Any]:
    """Call the function without vmap, which costs time and forbids what reads a tensor's value."""

    def applied(*arguments: Any) -> Any:
        single = pytree.tree_map_only(Tensor, lambda value: value.squeeze(0), arguments)
        result = function(*single)
        return pytree.tree_map_only(Tensor, lambda value: value.unsqueeze(0), result)

    return applied


def check_untouched(
    strategy: Strategy, changed: Sequence[str], hooks: str = "", when: str = ""
) -> None:
    """Raise StrategyError if a strategy has changed what it must not.

    Args:
        strategy: it is named.
        changed: what, in words; nothing is fine.
        hooks: who may have done it, if that is known.
        when: the same, with a leading space.
    """
    if changed:
        what = ", ".join(changed[:2]) + (f" and {len(changed) - 2} more" if changed[2:] else "")
        raise StrategyError(
            f"strategy '{strategy.name}': {hooks or 'a hook'} changes {what} in place; "
            f"return new tensors instead{when}"
        )


class Hooks:
    """The hooks of one strategy for a cohort, during one task.

    All tensors have a leading dimension S. Every method raises StrategyError if the hook raises or
    returns something of the wrong type, shape or device.
    """

    def __init__(self, strategy: Strategy, task: CohortTask, mode: Mode) -> None:
        self._strategy = strategy
        self._task = task
        self._over_learners = over_learners(mode)
        self._stacks_plain_loss = (
            mode == "vmap" and not overrides(strategy, "loss") and not task.regression
        )
        self.corrects = overrides(strategy, "correct")
        self.constrains = overrides(strategy, "constrain")
        self.observes = overrides(strategy, "observe")

    def alone(self, position: int) -> "Hooks":
        """Return the hooks of the learner at a position, in the mode "loop"."""
        return Hooks(self._strategy, self._task.only(position), "loop")

    def check_untouched(self, changed: Sequence[str], *hooks: str) -> None:
        """Raise StrategyError if hooks of these names have changed tensors in place."""
        own = [f"{hook}()" for hook in hooks if overrides(self._strategy, hook)]
        check_untouched(
            self._strategy, changed, " or ".join(own), f" (task {self._task.index + 1})"
        )

    def begin(self, parameters: Parameters, memory: Memory) -> tuple[UpdatePlan, Memory]:
        """Return the plans, whose tensors have the shape (S, blocks), and the memory."""

        def begin(tensors: tuple[Any, ...], parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.begin(self._task.view(tensors), parameters, memory)
            plan, memory = self._pair("begin", result, UpdatePlan)
            if not isinstance(plan.share, Tensor) or not isinstance(plan.restart, Tensor):
                raise self._error("begin", "must return a plan whose share and restart are tensors")
            self._check_device("begin", "a plan", (plan.share, plan.restart))
            return plan.share, plan.restart, self._checked_memory("begin", memory)

        share, restart, memory = self._call("begin", begin, parameters, memory)
        plan = UpdatePlan(share, restart)
        self._check_plan(plan)
        return plan, memory

    def losses_and_gradient(
        self,
        examples: Examples,
        parameters: Parameters,
        memory: Memory,
        trained: Parameters,
    ) -> tuple[Tensor, Parameters]:
        """Return the loss of every learner, (S,), and the gradient of the trained parameters.

        ``trained`` is the part of ``parameters`` that consists of leaves that require a gradient.
        """
        stacked = self._task.network.stacked
        if self._stacks_plain_loss and stacked is not None:
            return stacked.losses_and_gradient(parameters, examples, trained)
        losses = self.losses(examples, parameters, memory)
        # No loss depends on another learner's parameters, so the gradient of the sum holds the
        # gradients of all. A loss that ignores a parameter has a gradient of zero, not None.
        slopes = torch.autograd.grad(losses.sum(), list(trained.values()), materialize_grads=True)
        return losses, dict(zip(trained, slopes, strict=True))

    def losses(self, examples: Examples, parameters: Parameters, memory: Memory) -> Tensor:
        """Return the loss of every learner, (S,)."""

        def loss(
            tensors: tuple[Any, ...],
            batch: tuple[Tensor, ...],
            parameters: Parameters,
            memory: Memory,
        ) -> Tensor:
            task = self._task.view(tensors)
            value = self._strategy.loss(task, Examples(*batch), parameters, memory)
            if not isinstance(value, Tensor) or value.ndim != 0:
                raise self._error("loss", "must return a scalar tensor")
            return value

        batch = (examples.images, examples.labels, examples.allowed)
        result: Tensor = self._call("loss", loss, batch, parameters, memory)
        if not result.requires_grad:
            raise self._error("loss", "must return a loss that depends on the parameters")
        return result

    def correct(self, gradient: Parameters, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the corrected gradients of the trained parameters."""

        def correct(tensors: tuple[Any, ...], gradient: Parameters, *rest: Any) -> Parameters:
            result = self._strategy.correct(self._task.view(tensors), gradient, *rest)
            return self._like("correct", result, gradient)

        result: Parameters = self._call("correct", correct, gradient, parameters, memory)
        return result

    def constrain(self, parameters: Parameters, memory: Memory) -> Parameters:
        """Return the parameters after the strategy has moved them back into its permitted set."""

        def constrain(tensors: tuple[Any, ...], parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.constrain(self._task.view(tensors), parameters, memory)
            return self._like("constrain", result, parameters)

        result: Parameters = self._call("constrain", constrain, parameters, memory)
        return result

    def observe(
        self, gradient: Parameters, step: Parameters, parameters: Parameters, memory: Memory
    ) -> Memory:
        """Return the memory after a step."""

        def observe(tensors: tuple[Any, ...], *rest: Any) -> Memory:
            result = self._strategy.observe(self._task.view(tensors), *rest)
            kept = self._checked_memory("observe", result)
            if _shapes(kept) != _shapes(rest[-1]):
                raise self._error(
                    "observe", "must return a memory of the same names, shapes and dtypes"
                )
            return kept

        result: Memory = self._call("observe", observe, gradient, step, parameters, memory)
        return result

    def finish(self, parameters: Parameters, memory: Memory) -> tuple[Parameters, Memory]:
        """Return the solutions and the memory at the task's end."""

        def finish(tensors: tuple[Any, ...], parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.finish(self._task.view(tensors), parameters, memory)
            solution, memory = self._pair("finish", result, dict)
            solution = self._like("finish", solution, parameters)
            return solution, self._checked_memory("finish", memory)

        result: tuple[Parameters, Memory] = self._call("finish", finish, parameters, memory)
        return result

    def _call(self, hook: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._over_learners(function)(self._task.tensors(), *arguments)
        except StrategyError:
            raise
        except torch.OutOfMemoryError:  # not the strategy's fault: fewer learners are tried
            raise
        except (Exception, SystemExit) as error:  # a user's hook may raise anything
            raise self._error(hook, f"raised {cause_of(error)}", place_of(error)) from error

    def _error(self, hook: str, what: str, place: str = "") -> StrategyError:
        task = self._task.index + 1
        return StrategyError(
            f"strategy '{self._strategy.name}': {hook}() {what} (task {task}){place}"
        )

    def _pair(self, hook: str, result: Any, first: type) -> tuple[Any, Any]:
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], first)):
            raise self._error(hook, f"must return two things, {first.__name__} and memory")
        return result

    def _checked_memory(self, hook: str, memory: Any) -> Memory:
        leaves = pytree.tree_leaves(memory)
        if not isinstance(memory, dict) or not all(isinstance(leaf, Tensor) for leaf in leaves):
            raise self._error(hook, "must return a memory that is a dict of tensors")
        self._check_device(hook, "a memory", leaves)
        return memory

    def _like(self, hook: str, result: Any, model: Parameters) -> Parameters:
        if not isinstance(result, dict) or result.keys() != model.keys():
            raise self._error(hook, "must return a dict of the same parameters that it was given")
        for name, value in model.items():
            if not isinstance(result[name], Tensor) or result[name].shape != value.shape:
                raise self._error(
                    hook, f"must return '{name}' as a tensor of shape {tuple(value.shape)}"
                )
        self._check_device(hook, "parameters", result.values())
        return result

    def _check_device(self, hook: str, what: str, tensors: Iterable[Tensor]) -> None:
        """Raise if a tensor is not on the device of the task.

        On a GPU a step is recorded once and replayed. A replay does not repeat operations on the
        CPU, so a memory there would silently stay as the first steps left it.
        """
        device = self._task.noise.device
        if any(tensor.device != device for tensor in tensors):
            raise self._error(
                hook,
                f"must return {what} on the task's device; make new tensors with zeros_like, "
                "new_zeros or device=task.noise.device",
            )

    def _check_plan(self, plan: UpdatePlan) -> None:
        shape = (self._task.images.shape[0], len(self._task.network.blocks))
        if plan.share.shape != shape or plan.restart.shape != shape:
            raise self._error(
                "begin", f"must return a plan with share and restart of shape ({shape[1]},)"
            )
        if plan.restart.dtype != torch.bool:
            raise self._error("begin", "must return a plan whose restart is of type bool")
        if not bool(((plan.share >= 0) & (plan.share <= 1)).all()):
            raise self._error("begin", "must return shares between 0 and 1")


def _shapes(memory: Memory) -> list[tuple[str, torch.Size, torch.dtype]]:
    """Return name, shape and dtype of every tensor of one learner's memory, sorted."""
    leaves = pytree.tree_flatten_with_path(memory)[0]
    return sorted((pytree.keystr(path), leaf.shape, leaf.dtype) for path, leaf in leaves)

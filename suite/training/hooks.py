"""A strategy's hooks, applied to a cohort. A strategy is a user's code, so results are checked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import (
    Examples,
    Memory,
    Parameters,
    Scaling,
    Step,
    Strategy,
    Task,
    UpdatePlan,
    overrides,
)
from driftboard.suite.errors import StrategyError, cause_of, place_of
from driftboard.suite.training.networks import Mode, ModuleNetwork

_OF_A_LEARNER = (
    "images",
    "labels",
    "allowed",
    "classes",
    "units",
    "answers",
    "initial",
    "noise",
    "keys",
)
"""The fields of ``CohortTask`` that have a leading dimension S."""


@dataclass(frozen=True)
class CohortStep:
    """A step of S learners: what ``Step`` holds, with a leading dimension S."""

    numbers: Tensor  # int64, (S,)
    positions: Tensor  # int64, (S, n)
    total: int


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
    keys: Tensor
    regression: bool = False
    rate: float = 0.0
    scaling: Scaling | None = None

    def only(self, position: int) -> "CohortTask":
        """Return the task of the learner at a position, with S = 1."""
        return replace(self, **{n: only(getattr(self, n), position) for n in _OF_A_LEARNER})

    def tensors(self, moment: int | CohortStep) -> tuple[Any, ...]:
        """Return all tensors of shape (S, ...), in the order that ``view`` takes them.

        Args:
            moment: the step that is taken; beside steps 0 at the task's beginning, -1 at its end.
        """
        own = tuple(getattr(self, name) for name in _OF_A_LEARNER)
        if isinstance(moment, CohortStep):
            return *own, moment.numbers + 1, moment.positions
        return *own, torch.full_like(self.keys, moment)

    def view(self, tensors: tuple[Any, ...], steps: int = 0) -> Task:
        """Return one learner's task, given that learner's part of ``tensors``.

        ``steps`` is how many the task has, where one is taken.
        """
        images, labels, allowed, classes, units, answers, initial, noise, key, moment, *rest = (
            tensors
        )
        return Task(
            self.index,
            self.network,
            Examples(images, labels, allowed),
            classes,
            units,
            answers,
            initial,
            noise,
            self.regression,
            self.rate,
            Step(moment - 1, steps, *rest) if rest else None,
            self.scaling,
            key,
            moment,
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
        self.batches = overrides(strategy, "batch")
        self.corrects = overrides(strategy, "correct")
        self.updates = overrides(strategy, "update")
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

        def begin(task: Task, parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.begin(task, parameters, memory)
            plan, memory = self._pair("begin", result, UpdatePlan)
            if not isinstance(plan.share, Tensor) or not isinstance(plan.restart, Tensor):
                raise self._error("begin", "must return a plan whose share and restart are tensors")
            self._check_device("begin", "a plan", (plan.share, plan.restart))
            start = {} if plan.start is None else self._like("begin", plan.start, parameters)
            extra = {} if plan.extra is None else self._extra(plan.extra, parameters)
            return plan.share, plan.restart, start, extra, self._checked_memory("begin", memory)

        share, restart, start, extra, memory = self._call("begin", begin, 0, parameters, memory)
        plan = UpdatePlan(share, restart, start or None, extra or None)
        self._check_plan(plan)
        return plan, memory

    def batch(self, examples: Examples, memory: Memory, step: CohortStep) -> Examples:
        """Return the examples that a step trains on, tensors of shape (S, n, ...)."""

        def batch(task: Task, given: tuple[Tensor, ...], memory: Memory) -> tuple[Tensor, ...]:
            made = self._strategy.batch(task, Examples(*given), memory)
            if not isinstance(made, Examples):
                raise self._error("batch", "must return Examples")
            parts = (made.images, made.labels, made.allowed)
            self._check_examples(parts, given)
            return parts

        given = (examples.images, examples.labels, examples.allowed)
        return Examples(*self._call("batch", batch, step, given, memory))

    def check_labels(self, examples: Examples) -> None:
        """Raise if a batch has a label that is no unit of the head, or not allowed to answer."""
        labels, units = examples.labels, examples.allowed.shape[-1]
        if not bool(((labels >= 0) & (labels < units)).all()):
            raise self._error(
                "batch", f"must return labels from 0 to {units - 1}, the head's units"
            )
        if not bool(examples.allowed.gather(-1, labels[..., None]).all()):
            raise self._error("batch", "must return allowed units that hold every example's label")

    def losses_and_gradient(
        self,
        examples: Examples,
        parameters: Parameters,
        memory: Memory,
        trained: Parameters,
        step: CohortStep,
    ) -> tuple[Tensor, Parameters]:
        """Return the loss of every learner, (S,), and the gradient of the trained parameters.

        ``trained`` is the part of ``parameters`` that consists of leaves that require a gradient.
        """
        stacked = self._task.network.stacked
        if self._stacks_plain_loss and stacked is not None:
            return stacked.losses_and_gradient(parameters, examples, trained)
        losses = self.losses(examples, parameters, memory, step)
        # No loss depends on another learner's parameters, so the gradient of the sum holds the
        # gradients of all. A loss that ignores a parameter has a gradient of zero, not None.
        slopes = torch.autograd.grad(losses.sum(), list(trained.values()), materialize_grads=True)
        return losses, dict(zip(trained, slopes, strict=True))

    def losses(
        self, examples: Examples, parameters: Parameters, memory: Memory, step: CohortStep
    ) -> Tensor:
        """Return the loss of every learner, (S,)."""

        def loss(task: Task, batch: tuple[Tensor, ...], *rest: Any) -> Tensor:
            value = self._strategy.loss(task, Examples(*batch), *rest)
            if not isinstance(value, Tensor) or value.ndim != 0:
                raise self._error("loss", "must return a scalar tensor")
            return value

        batch = (examples.images, examples.labels, examples.allowed)
        result: Tensor = self._call("loss", loss, step, batch, parameters, memory)
        if not result.requires_grad:
            raise self._error("loss", "must return a loss that depends on the parameters")
        return result

    def correct(
        self, gradient: Parameters, parameters: Parameters, memory: Memory, step: CohortStep | int
    ) -> Parameters:
        """Return the corrected gradients of the trained parameters."""

        def correct(task: Task, gradient: Parameters, *rest: Any) -> Parameters:
            result = self._strategy.correct(task, gradient, *rest)
            return self._like("correct", result, gradient)

        with self._untouched_gradient("correct", gradient):
            result: Parameters = self._call("correct", correct, step, gradient, parameters, memory)
        return result

    def update(
        self, gradient: Parameters, parameters: Parameters, memory: Memory, step: CohortStep
    ) -> tuple[Parameters, Memory]:
        """Return the moves of the trained parameters, less rate and share, and the memory."""

        def update(task: Task, gradient: Parameters, *rest: Any) -> Any:
            result = self._strategy.update(task, gradient, *rest)
            moves, memory = self._pair("update", result, dict)
            moves = self._like("update", moves, gradient)
            return moves, self._same_memory("update", memory, rest[-1])

        with self._untouched_gradient("update", gradient):
            result: tuple[Parameters, Memory] = self._call(
                "update", update, step, gradient, parameters, memory
            )
        return result

    def constrain(self, parameters: Parameters, memory: Memory, step: CohortStep) -> Parameters:
        """Return the parameters after the strategy has moved them back into its permitted set."""

        def constrain(task: Task, parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.constrain(task, parameters, memory)
            return self._like("constrain", result, parameters)

        result: Parameters = self._call("constrain", constrain, step, parameters, memory)
        return result

    def observe(
        self,
        gradient: Parameters,
        moved: Parameters,
        parameters: Parameters,
        memory: Memory,
        step: CohortStep,
    ) -> Memory:
        """Return the memory after a step, which moved the trained parameters by ``moved``."""

        def observe(task: Task, *rest: Any) -> Memory:
            result = self._strategy.observe(task, *rest)
            return self._same_memory("observe", result, rest[-1])

        result: Memory = self._call("observe", observe, step, gradient, moved, parameters, memory)
        return result

    def finish(self, parameters: Parameters, memory: Memory) -> tuple[Parameters, Memory]:
        """Return the solutions, of the network's parameters only, and the memory at the end."""

        def finish(task: Task, parameters: Parameters, memory: Memory) -> Any:
            result = self._strategy.finish(task, parameters, memory)
            solution, memory = self._pair("finish", result, dict)
            extra = parameters.keys() - task.initial.keys()
            solution = {name: value for name, value in solution.items() if name not in extra}
            own = {name: parameters[name] for name in task.initial}
            solution = self._like("finish", solution, own)
            return solution, self._checked_memory("finish", memory)

        result: tuple[Parameters, Memory] = self._call("finish", finish, -1, parameters, memory)
        return result

    @contextmanager
    def _untouched_gradient(self, hook: str, gradient: Parameters) -> Iterator[None]:
        """Raise if a block changes the gradient in place, from which records and hooks go on."""
        before = {name: value._version for name, value in gradient.items()}
        yield
        changed = [n for n, version in before.items() if gradient[n]._version != version]
        self.check_untouched([f"gradient['{name}']" for name in changed], hook)

    def _call(
        self, hook: str, function: Callable[..., Any], moment: int | CohortStep, *arguments: Any
    ) -> Any:
        """Map ``function(task, *arguments)`` over learners; see ``CohortTask.tensors``."""
        steps = moment.total if isinstance(moment, CohortStep) else 0

        def of_one(tensors: tuple[Any, ...], *arguments: Any) -> Any:
            return function(self._task.view(tensors, steps), *arguments)

        with blaming(partial(self._error, hook)):
            return self._over_learners(of_one)(self._task.tensors(moment), *arguments)

    def _error(self, hook: str, what: str, place: str = "") -> StrategyError:
        task = self._task.index + 1
        return StrategyError(
            f"strategy '{self._strategy.name}': {hook}() {what} (task {task}){place}"
        )

    def _pair(self, hook: str, result: Any, first: type) -> tuple[Any, Any]:
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], first)):
            raise self._error(hook, f"must return two things, {first.__name__} and memory")
        return result

    def _extra(self, extra: Any, parameters: Parameters) -> Parameters:
        """Return the extra parameters of a plan, if they can be trained beside the network's."""
        if not overrides(self._strategy, "loss"):
            raise self._error(
                "begin", "gives extra parameters, but no loss() of this class makes use of them"
            )
        if not isinstance(extra, dict) or not all(isinstance(name, str) for name in extra):
            raise self._error("begin", "must return a plan whose extra is a dict of named tensors")
        dtype = next(iter(parameters.values())).dtype
        for name, value in extra.items():
            if name in parameters:
                raise self._error(
                    "begin", f"gives an extra parameter '{name}', which the network has already"
                )
            if not isinstance(value, Tensor) or value.dtype != dtype:
                raise self._error("begin", f"must return the extra '{name}' as a tensor of {dtype}")
        self._check_device("begin", "extra parameters", extra.values())
        return extra

    def _checked_memory(self, hook: str, memory: Any) -> Memory:
        leaves = pytree.tree_leaves(memory)
        if not isinstance(memory, dict) or not all(isinstance(leaf, Tensor) for leaf in leaves):
            raise self._error(hook, "must return a memory that is a dict of tensors")
        self._check_device(hook, "a memory", leaves)
        return memory

    def _same_memory(self, hook: str, memory: Any, before: Memory) -> Memory:
        kept = self._checked_memory(hook, memory)
        if (now := _shapes(kept)) != (then := _shapes(before)):
            odd = next(name for name, *_ in sorted(set(now) ^ set(then), key=str))
            raise self._error(
                hook,
                "must return a memory of the same names, shapes and dtypes as begin(), and "
                f"memory{odd} is not",
            )
        return kept

    def _check_examples(self, parts: tuple[Any, ...], given: tuple[Tensor, ...]) -> None:
        """Raise if a batch does not consist of equally many images, labels and allowed units."""
        if not all(isinstance(part, Tensor) for part in parts):
            raise self._error("batch", "must return images, labels and allowed units as tensors")
        for name, part, like in zip(("images", "labels", "allowed"), parts, given, strict=True):
            rest, count = tuple(like.shape[1:]), parts[1].shape[0] if parts[1].ndim else 0
            if part.shape != (count, *rest) or part.dtype != like.dtype or not count:
                raise self._error(
                    "batch",
                    f"must return {name} of shape ({', '.join(map(str, ('n', *rest)))}) and type "
                    f"{like.dtype}, n the same for images, labels and allowed units; these have "
                    f"{tuple(part.shape)} and {part.dtype}, and there are {count} labels",
                )
        self._check_device("batch", "examples", parts)

    def _like(self, hook: str, result: Any, model: Parameters) -> Parameters:
        if not isinstance(result, dict) or result.keys() != model.keys():
            raise self._error(hook, "must return a dict of the same parameters that it was given")
        for name, value in model.items():
            if not isinstance(result[name], Tensor) or result[name].shape != value.shape:
                raise self._error(
                    hook, f"must return '{name}' as a tensor of shape {tuple(value.shape)}"
                )
            if result[name].dtype != value.dtype:
                raise self._error(
                    hook, f"must return '{name}' as {value.dtype}, not {result[name].dtype}"
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


@contextmanager
def blaming(error_of: Callable[[str, str], StrategyError]) -> Iterator[None]:
    """Turn what a user's hook raises into a StrategyError.

    ``error_of`` makes it of what the hook did and of the place in the user's file.
    """
    try:
        yield
    except StrategyError:
        raise
    except torch.OutOfMemoryError:  # not the strategy's fault: fewer learners are tried
        raise
    except (Exception, SystemExit) as error:  # a user's hook may raise anything
        raise error_of(f"raised {_cause_in_hook(error)}", place_of(error)) from error


_OF_VMAP = ("data-dependent", ".item()", "dynamic shape")
"""What torch's messages hold where a function that is mapped asks for the value of a tensor."""


def _cause_in_hook(error: BaseException) -> str:
    """Return the cause of an error, in our words where torch's lead astray."""
    if isinstance(error, RuntimeError) and any(word in str(error) for word in _OF_VMAP):
        return (
            f"{type(error).__name__}: vmap has no value of a tensor to tell; decide with "
            "torch.where, or set vectorized = False"
        )
    return cause_of(error)


def _shapes(memory: Memory) -> list[tuple[str, torch.Size, torch.dtype]]:
    """Return name, shape and dtype of every tensor of one learner's memory, sorted."""
    leaves = pytree.tree_flatten_with_path(memory)[0]
    return sorted((pytree.keystr(path), leaf.shape, leaf.dtype) for path, leaf in leaves)

"""The engine: trains a cohort of learners through a sequence and counts right answers.

A cohort is one strategy with S seeds; every tensor has a leading dimension S. In the mode "loop"
S is 1. The engine knows a strategy only by its hooks and by which data it trains on.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from driftboard.strategies.base import (
    Block,
    Examples,
    Memory,
    Parameters,
    Strategy,
    UpdatePlan,
)
from driftboard.suite.protocol import Training
from driftboard.suite.records import Divergence
from driftboard.suite.training.cohort import Cohort, TaskData, joined
from driftboard.suite.training.cuda_graph import GraphRunner, graph_runner_on, run_steps
from driftboard.suite.training.descent import Descent
from driftboard.suite.training.evaluation import Evaluation
from driftboard.suite.training.hooks import CohortStep, CohortTask, Hooks, check_untouched, only
from driftboard.suite.training.networks import Mode, ModuleNetwork
from driftboard.suite.training.operations import CountedOperations, per_learner
from driftboard.suite.training.output_shift import shifts_of_task
from driftboard.suite.training.stored import bytes_of, check_stored
from driftboard.suite.training.untouched import (
    Untouched,
    UntouchedModule,
    named,
    tensors_of_cohort,
    tensors_of_task,
)

HOOKS_OF_A_STEP = ("batch", "loss", "correct", "update", "constrain", "observe")

PASSED_OVER = 500
"""Over how many of a task's images the gradient is taken of which a strategy lets a part pass."""

BLOW_UP = 1000.0
"""How many times the norm of its initialisation a block before the head may move away from it."""


@dataclass
class Outcome:
    """The results of a cohort; the first dimension of every tensor is the seed."""

    correct_untrained: Tensor  # (S, tasks)
    correct: list[Tensor] = field(default_factory=list)  # per task (S, tasks)
    plans: list[UpdatePlan] = field(default_factory=list)  # per task, tensors (S, blocks)
    update_norms: list[Tensor] = field(default_factory=list)  # per task (S, blocks)
    solution_norms: list[Tensor] = field(default_factory=list)
    drift_norms: list[Tensor] = field(default_factory=list)
    passed: list[Tensor] = field(default_factory=list)  # per task (S, blocks); see ``Record``
    shift_new: list[Tensor] = field(default_factory=list)  # per task (S,); see ``Record``
    shift_old: list[Tensor] = field(default_factory=list)  # per task but the first (S,)
    memory_bytes: list[int] = field(default_factory=list)  # per task, of one seed
    finite: list[Tensor] = field(default_factory=list)  # per task bool (S,), until its end
    blown_up: list[Tensor] = field(default_factory=list)  # per task bool (S,), until its end
    operations: list[tuple[int, ...]] = field(default_factory=list)  # per task, of each seed
    seconds: list[float] = field(default_factory=list)  # per task, of the whole cohort
    evaluation_seconds: float = 0.0

    def divergence(self, position: int) -> list[Divergence | None]:
        """Return per task by what a seed had diverged at its end, None if it had not."""
        causes: list[Divergence | None] = []
        cause: Divergence | None = None
        for finite, blown_up in zip(self.finite, self.blown_up, strict=True):
            now: Divergence | None = "blow-up" if blown_up[position] else None
            cause = cause or (now if finite[position] else "not finite")
            causes.append(cause)
        return causes

    @property
    def fine(self) -> list[Tensor]:
        """Return per task which seeds had not diverged at its end, bool, (S,)."""
        return [a & ~b for a, b in zip(self.finite, self.blown_up, strict=True)]


@dataclass(frozen=True)
class Trained:
    """How a cohort ended a task; the first dimension of every tensor is the seed."""

    parameters: Parameters
    memory: Memory
    plan: UpdatePlan
    passed: Tensor | None  # (S, blocks); None if the strategy corrects no gradient
    finite: Tensor  # bool, (S,): whether losses and solution were
    operations: tuple[int, ...]  # of each seed's training; see ``operations.py``


def run(
    cohort: Cohort,
    strategy: Strategy,
    mode: Mode,
    on_task: Callable[[int], None] = lambda _: None,
    memory: Memory | None = None,
) -> Outcome:
    """Train a cohort through all tasks, and test it on all tasks after each.

    Args:
        cohort: the learners and their data.
        strategy: the same for all learners.
        mode: "vmap" trains all learners together; "loop" needs a cohort of one seed.
        on_task: called with the number of finished tasks, for progress.
        memory: the memory that the learners start with, tensors of shape (S, ...).

    Raises:
        StrategyError: a hook of the strategy raised, or returned something of the wrong shape.
    """
    parameters = {name: value.clone() for name, value in cohort.initial.items()}
    memory = memory or {}
    shared = Untouched(tensors_of_cohort(cohort), exactly=mode == "loop")
    module = UntouchedModule(cohort.network.module)
    evaluation = Evaluation(cohort, strategy, mode)
    tested = evaluation.before(parameters)
    outcome = Outcome(tested.correct)
    finite = torch.ones(cohort.size, dtype=torch.bool, device=cohort.device)
    blown_up = torch.zeros(cohort.size, dtype=torch.bool)
    blocks = cohort.network.blocks
    first = parameters
    runner = graph_runner_on(cohort.device)
    for index in range(len(cohort.train)):
        began = time.perf_counter()
        before = parameters
        trained = train_task(cohort, strategy, index, before, memory, mode, runner)
        parameters, memory = trained.parameters, trained.memory
        finite = finite & trained.finite
        outcome.finite.append(finite.cpu())
        outcome.seconds.append(time.perf_counter() - began)
        outcome.plans.append(UpdatePlan(trained.plan.share.cpu(), trained.plan.restart.cpu()))
        outcome.operations.append(trained.operations)
        if trained.passed is not None:
            outcome.passed.append(trained.passed.cpu())
        if index == 0:  # copied, since the strategy may have kept it
            first = {name: value.clone() for name, value in parameters.items()}
        blown_up = blown_up | _blown_up(cohort, parameters)
        outcome.blown_up.append(blown_up)
        outcome.update_norms.append(_distances(parameters, before, blocks))
        outcome.solution_norms.append(_block_norms(parameters, blocks).cpu())
        outcome.drift_norms.append(_distances(parameters, first, blocks))
        outcome.memory_bytes.append(bytes_of(memory) // cohort.size)
        check_stored(strategy, memory, cohort.train[index].images, cohort.scaling)
        began = time.perf_counter()
        answered, tested = tested.logits, evaluation.after(parameters, memory, index + 1)
        outcome.correct.append(tested.correct)
        new, old = shifts_of_task(cohort, index, answered, tested.logits)
        outcome.shift_new.append(new.cpu())
        if old is not None:
            outcome.shift_old.append(old.cpu())
        outcome.evaluation_seconds += time.perf_counter() - began
        on_task(index + 1)
    check_untouched(strategy, [*shared.changed(), *module.changed()])
    return outcome


def train_task(
    cohort: Cohort,
    strategy: Strategy,
    index: int,
    parameters: Parameters,
    memory: Memory,
    mode: Mode,
    runner: GraphRunner | None = None,
    *,
    steps: int | None = None,
    share: Tensor | None = None,
) -> Trained:
    """Train a cohort on the task ``index``, starting from ``parameters`` and ``memory``, (S, ...).

    Args:
        cohort: the learners.
        strategy: the same for all.
        index: of the task.
        parameters: not changed.
        memory: not changed.
        mode: as for ``run``.
        runner: belongs to the run, see ``graph_runner_on``; with None all steps are taken eagerly.
        steps: how many are taken; None takes all. Operations are those of all in either case.
        share: of the plan, (S, blocks), instead of the strategy's own.

    Raises:
        StrategyError: as for ``run``.
    """
    data = (
        joined(cohort.train[: index + 1]) if strategy.trains_on_all_tasks else cohort.train[index]
    )
    task = _cohort_task(cohort, index, data)
    hooks = Hooks(strategy, task, mode)
    exactly = mode == "loop"
    shown = Untouched(tensors_of_task(task) | named("parameters", parameters), exactly=exactly)
    with torch.no_grad():
        with CountedOperations() as begun:
            plan, memory = hooks.begin(parameters, memory)
        hooks.check_untouched(shown.changed(), "begin")
        plan = plan if share is None else replace(plan, share=share)
        parameters = _restarted(parameters, task, plan) | (plan.extra or {})
    orders = _batch_orders(cohort, index, data.count)
    passed = _passed(task, hooks, plan, parameters, memory, len(orders))
    start = _Start(task, hooks, plan, cohort.training, parameters, memory, len(orders))
    parameters, memory, finite, of_step = _descend(start, orders[:steps], runner)
    hooks.check_untouched(shown.changed(), *HOOKS_OF_A_STEP)
    solved = Untouched(named("parameters", parameters), exactly=exactly)
    with torch.no_grad(), CountedOperations() as finished:
        parameters, memory = hooks.finish(parameters, memory)
    hooks.check_untouched([*shown.changed(), *solved.changed()], "finish")
    for value in parameters.values():
        finite = finite & torch.isfinite(value).flatten(1).all(dim=1)
    once = per_learner(begun.total + finished.total, cohort.size)
    operations = tuple(once + len(orders) * each for each in of_step)
    return Trained(parameters, memory, plan, passed, finite, operations)


def _cohort_task(cohort: Cohort, index: int, data: TaskData) -> CohortTask:
    generators = cohort.strategy_noise(index)
    noise = [generator.random(data.count) for generator in generators]
    keys = [int(generator.integers(2**63)) for generator in generators]
    own = cohort.classes[index]
    answers = cohort.seen(index + 1) if cohort.class_incremental else own
    return CohortTask(
        index=index,
        network=cohort.network,
        images=cohort.scaling(data.images, cohort.dtype),
        labels=data.labels,
        allowed=cohort.allowed(data, index + 1).contiguous(),
        classes=own,
        units=_numbers(own),
        answers=_numbers(answers),
        initial=cohort.initial,
        noise=torch.from_numpy(np.stack(noise)).to(cohort.device, cohort.dtype),
        keys=torch.tensor(keys, device=cohort.device),
        rate=cohort.training.learning_rate,
        scaling=cohort.scaling,
    )


def _numbers(units: Tensor) -> Tensor:
    """Return units, bool, (S, head units), by their numbers, int64, (S, classes)."""
    return units.nonzero()[:, 1].reshape(len(units), -1)


def _restarted(parameters: Parameters, task: CohortTask, plan: UpdatePlan) -> Parameters:
    """Return new tensors, where training starts: restarted blocks have their initialisation.

    Of the head only the rows of the task's own classes restart.
    """
    parameters = plan.start or parameters
    result = {}
    for position, block in enumerate(task.network.blocks):
        for name in block.parameters:
            old, new = parameters[name], task.initial[name]
            where = plan.restart[:, position]
            if block is task.network.head:
                where = where[:, None] & task.classes
            where = where.reshape(where.shape + (1,) * (old.ndim - where.ndim))
            result[name] = torch.where(where, new, old)
    return result


def _passed(
    task: CohortTask,
    hooks: Hooks,
    plan: UpdatePlan,
    parameters: Parameters,
    memory: Memory,
    steps: int,
) -> Tensor | None:
    """Return which part of the gradient with which a task begins passes the strategy, (S, blocks).

    The share of a block times ``<corrected, g> / <g, g>``, with g the gradient of the loss over
    evenly spaced images of the task; the share alone where g is zero. NaN where one of the two is
    not finite. None if the strategy corrects no gradient.
    """
    if not hooks.corrects:
        return None
    every = -(-task.labels.shape[1] // PASSED_OVER)
    # Copies, as batches are: what a hook does to them must not reach the task's own images.
    examples = Examples(*(v[:, ::every].clone() for v in (task.images, task.labels, task.allowed)))
    scales = _step_scales(task.network, plan, parameters, 1.0)
    if not scales:
        return plan.share.clone()
    trained = {name: parameters[name].clone().requires_grad_() for name in scales}
    positions = torch.arange(task.labels.shape[1], device=task.labels.device)[::every]
    step = CohortStep(torch.zeros_like(task.keys), positions.expand_as(examples.labels), steps)
    if hooks.batches:
        with torch.no_grad():
            examples = hooks.batch(examples, memory, step)
    _, slope = hooks.losses_and_gradient(examples, {**parameters, **trained}, memory, trained, step)
    with torch.no_grad():
        # A block that only some learners freeze has a gradient for all of them.
        slope = {name: torch.where(scales[name] > 0, slope[name], 0.0) for name in scales}
        corrected = hooks.correct(slope, parameters, memory, step)
        along, whole = (_inner_products(one, slope, task) for one in (corrected, slope))
        return plan.share * torch.where(whole == 0, 1.0, along / whole)


def _inner_products(one: Parameters, other: Parameters, task: CohortTask) -> Tensor:
    """Return the inner product of every block, float64, (S, blocks); 0 of a frozen one."""
    # In double precision, because squares of what a converged task leaves would underflow.
    zero = task.noise.new_zeros(task.noise.shape[0], dtype=torch.float64)
    columns = []
    for block in task.network.blocks:
        names = [name for name in block.parameters if name in other]
        parts = [
            (one[name].double() * other[name].double()).flatten(1).sum(dim=1) for name in names
        ]
        columns.append(sum(parts, zero))
    return torch.stack(columns, dim=1)


def _batch_orders(cohort: Cohort, index: int, count: int) -> Tensor:
    """Return the indices of the images of every step, int64, shape (steps, S, batch)."""
    training = cohort.training
    batch = min(training.batch_size, count)
    per_epoch = count // batch
    steps = max(training.epochs * per_epoch, training.minimum_steps)
    epochs = -(-steps // per_epoch)
    orders = [
        np.concatenate([random.permutation(count)[: per_epoch * batch] for _ in range(epochs)])
        for random in cohort.batch_orders(index, count)
    ]
    stacked = np.stack(orders).reshape(cohort.size, -1, batch)[:, :steps]
    return torch.from_numpy(np.ascontiguousarray(stacked.swapaxes(0, 1))).to(cohort.device)


@dataclass(frozen=True)
class _Start:
    """What the steps of a task start from; tensors have a leading dimension S."""

    task: CohortTask
    hooks: Hooks
    plan: UpdatePlan
    training: Training
    parameters: Parameters
    memory: Memory
    steps: int

    def alone(self, position: int) -> "_Start":
        """Return that of the learner at a position, in the mode "loop"."""
        return _Start(
            self.task.only(position),
            self.hooks.alone(position),
            UpdatePlan(
                only(self.plan.share, position),
                only(self.plan.restart, position),
                extra=only(self.plan.extra or {}, position),
            ),
            self.training,
            only(self.parameters, position),
            only(self.memory, position),
            self.steps,
        )

    def descent(self) -> Descent | None:
        """Return the training of what may move, or None if all of it is frozen for all."""
        rate = self.training.learning_rate
        scales = _step_scales(self.task.network, self.plan, self.parameters, rate)
        state = (self.parameters, self.memory)
        if not scales:
            return None
        return Descent(self.task, self.hooks, scales, self.training, *state, self.steps)


def _descend(
    start: _Start, orders: Tensor, runner: GraphRunner | None
) -> tuple[Parameters, Memory, Tensor, list[int]]:
    """Take the steps of a task.

    Returns:
        Parameters, memory, which seeds stayed finite, and the operations of one step of each seed.
    """
    seeds = start.task.labels.shape[0]
    descent = start.descent()
    if descent is None:
        finite = torch.ones(seeds, dtype=torch.bool, device=start.task.labels.device)
        return start.parameters, start.memory, finite, [0] * seeds
    descent.check_batch(orders[0])
    first = CountedOperations()
    uncounted = [first]

    def step(order: Tensor) -> None:
        with uncounted.pop() if uncounted else nullcontext():
            descent.step(order)

    run_steps(step, orders, runner)
    start.hooks.check_untouched(descent.changed_by_hooks(), *HOOKS_OF_A_STEP)
    solution = {name: value.detach() for name, value in descent.parameters.items()}
    of_step = _operations_of_a_step(start, orders[0], first.total)
    return solution, descent.memory, descent.finite, of_step


def _operations_of_a_step(start: _Start, order: Tensor, together: int) -> list[int]:
    """Return the operations of one step of each seed, given those of all seeds together.

    A block that some seeds freeze gets a gradient for all of them, which those that freeze it would
    not need. So where plans differ, one step of each kind is taken alone to be counted.
    """
    moving = [tuple(row) for row in (start.plan.share > 0).cpu().tolist()]
    kinds = {row: position for position, row in enumerate(moving)}
    if len(kinds) == 1:
        return [per_learner(together, len(moving))] * len(moving)
    counts = {}
    for row, position in kinds.items():
        descent = start.alone(position).descent()
        with CountedOperations() as counted:
            if descent is not None:
                descent.step(order[position : position + 1])
        counts[row] = counted.total
    return [counts[row] for row in moving]


def _step_scales(
    network: ModuleNetwork, plan: UpdatePlan, parameters: Parameters, learning_rate: float
) -> dict[str, Tensor]:
    """Return learning rate times share, shaped to broadcast, for every parameter that may move.

    A block that is frozen for all seeds is left out, so that no gradient is computed for it. Extra
    parameters have the share 1.
    """
    shares = {
        name: plan.share[:, position]
        for position, block in enumerate(network.blocks)
        for name in block.parameters
        if bool((plan.share[:, position] > 0).any())
    }
    shares |= {name: torch.ones_like(plan.share[:, 0]) for name in plan.extra or {}}
    scales = {}
    for name, share in shares.items():
        value = parameters[name]
        shape = (-1,) + (1,) * (value.ndim - 1)
        scales[name] = (learning_rate * share.to(value.dtype)).reshape(shape)
    return scales


def _blown_up(cohort: Cohort, parameters: Parameters) -> Tensor:
    """Tell of every seed whether a block before the head lies too far from where it began."""
    blocks = cohort.network.blocks[:-1]
    moved = _distances(parameters, cohort.initial, blocks)
    most = BLOW_UP * _block_norms(cohort.initial, blocks).cpu()
    # A block that begins at zero has no size that its move could be compared with.
    return ((moved > most) & (most > 0)).any(dim=1)


def _distances(one: Parameters, other: Parameters, blocks: Sequence[Block]) -> Tensor:
    return _block_norms({name: one[name] - other[name] for name in one}, blocks).cpu()


def _block_norms(values: Parameters, blocks: Sequence[Block]) -> Tensor:
    """Return the Euclidean norm of every block of every seed, shape (S, blocks)."""
    norms = []
    for block in blocks:
        parts = [values[name].flatten(1).double() for name in block.parameters]
        squares = [part.square().sum(dim=1) for part in parts]
        norms.append(torch.stack(squares).sum(dim=0).sqrt())
    return torch.stack(norms, dim=1)

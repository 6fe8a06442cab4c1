"""The engine: trains a cohort of learners through a sequence and counts right answers.

A cohort is one strategy with S seeds; every tensor has a leading dimension S. In the mode "loop"
S is 1. The engine knows a strategy only by its hooks and by which data it trains on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Block, Memory, Parameters, Strategy, UpdatePlan
from driftboard.suite.training.cohort import Cohort, TaskData, joined
from driftboard.suite.training.cuda_graph import GraphRunner, graph_runner_on, run_steps
from driftboard.suite.training.descent import Descent
from driftboard.suite.training.hooks import CohortTask, Hooks, over_learners
from driftboard.suite.training.networks import Mode, ModuleNetwork

TESTED_AT_ONCE = 250
"""How many test images of a learner one forward pass takes; more do not fit the CPU's caches."""


@dataclass
class Outcome:
    """The results of a cohort; the first dimension of every tensor is the seed."""

    correct_untrained: Tensor  # (S, tasks)
    correct: list[Tensor] = field(default_factory=list)  # per task (S, tasks)
    plans: list[UpdatePlan] = field(default_factory=list)  # per task, tensors (S, blocks)
    update_norms: list[Tensor] = field(default_factory=list)  # per task (S, blocks)
    solution_norms: list[Tensor] = field(default_factory=list)
    drift_norms: list[Tensor] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)  # per task, of one seed
    finite: list[Tensor] = field(default_factory=list)  # per task bool (S,)
    seconds: list[float] = field(default_factory=list)  # per task, of the whole cohort
    evaluation_seconds: float = 0.0


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
    outcome = Outcome(_count_all(cohort, parameters, mode))
    finite = torch.ones(cohort.size, dtype=torch.bool, device=cohort.device)
    first = parameters
    runner = graph_runner_on(cohort.device)
    for index in range(len(cohort.train)):
        began = time.perf_counter()
        before = parameters
        parameters, memory, plan, stayed_finite = train_task(
            cohort, strategy, index, parameters, memory, mode, runner
        )
        finite = finite & stayed_finite
        outcome.finite.append(finite.cpu())
        outcome.seconds.append(time.perf_counter() - began)
        outcome.plans.append(UpdatePlan(plan.share.cpu(), plan.restart.cpu()))
        first = parameters if index == 0 else first
        blocks = cohort.network.blocks
        outcome.update_norms.append(_distances(parameters, before, blocks))
        outcome.solution_norms.append(_block_norms(parameters, blocks).cpu())
        outcome.drift_norms.append(_distances(parameters, first, blocks))
        outcome.memory_bytes.append(_bytes(memory) // cohort.size)
        began = time.perf_counter()
        outcome.correct.append(_count_all(cohort, parameters, mode))
        outcome.evaluation_seconds += time.perf_counter() - began
        on_task(index + 1)
    return outcome


def train_task(
    cohort: Cohort,
    strategy: Strategy,
    index: int,
    parameters: Parameters,
    memory: Memory,
    mode: Mode,
    runner: GraphRunner | None = None,
) -> tuple[Parameters, Memory, UpdatePlan, Tensor]:
    """Train a cohort on the task ``index``, starting from ``parameters`` and ``memory``, (S, ...).

    ``runner`` belongs to the run, see ``graph_runner_on``; with None all steps are taken eagerly.

    Returns:
        The solutions, the memory, the plans, and whether each learner stayed finite, bool, (S,).

    Raises:
        StrategyError: as for ``run``.
    """
    data = (
        joined(cohort.train[: index + 1]) if strategy.trains_on_all_tasks else cohort.train[index]
    )
    task = _cohort_task(cohort, index, data)
    hooks = Hooks(strategy, task, mode)
    with torch.no_grad():
        plan, memory = hooks.begin(parameters, memory)
        parameters = _restarted(parameters, task, plan)
    orders = _batch_orders(cohort, index, data.count)
    parameters, memory, finite = _descend(
        cohort, task, hooks, plan, parameters, memory, orders, runner
    )
    with torch.no_grad():
        parameters, memory = hooks.finish(parameters, memory)
    for value in parameters.values():
        finite = finite & torch.isfinite(value).flatten(1).all(dim=1)
    return parameters, memory, plan, finite


def _cohort_task(cohort: Cohort, index: int, data: TaskData) -> CohortTask:
    noise = [generator.random(data.count) for generator in cohort.strategy_noise(index)]
    return CohortTask(
        index=index,
        network=cohort.network,
        images=cohort.scaling(data.images, cohort.dtype),
        labels=data.labels,
        allowed=data.active,
        classes=cohort.classes[index],
        units=cohort.classes[index].nonzero()[:, 1].reshape(cohort.size, -1),
        initial=cohort.initial,
        noise=torch.from_numpy(np.stack(noise)).to(cohort.device, cohort.dtype),
    )


def _restarted(parameters: Parameters, task: CohortTask, plan: UpdatePlan) -> Parameters:
    """Return new tensors in which restarted blocks have their seeded initialisation.

    Of the head only the rows of the task's own classes restart.
    """
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


def _descend(
    cohort: Cohort,
    task: CohortTask,
    hooks: Hooks,
    plan: UpdatePlan,
    parameters: Parameters,
    memory: Memory,
    orders: Tensor,
    runner: GraphRunner | None,
) -> tuple[Parameters, Memory, Tensor]:
    """Take all steps of a task; return parameters, memory and which seeds stayed finite."""
    training = cohort.training
    scales = _step_scales(task.network, plan, parameters, training.learning_rate)
    if not scales:
        return parameters, memory, torch.ones(cohort.size, dtype=torch.bool, device=cohort.device)
    descent = Descent(task, hooks, scales, training, parameters, memory)
    run_steps(descent.step, orders, runner)
    solution = {name: value.detach() for name, value in descent.parameters.items()}
    return solution, descent.memory, descent.finite


def _step_scales(
    network: ModuleNetwork, plan: UpdatePlan, parameters: Parameters, learning_rate: float
) -> dict[str, Tensor]:
    """Return learning rate times share, shaped to broadcast, for every parameter that may move.

    A block that is frozen for all seeds is left out, so that no gradient is computed for it.
    """
    scales = {}
    for position, block in enumerate(network.blocks):
        share = plan.share[:, position]
        if bool((share > 0).any()):
            for name in block.parameters:
                value = parameters[name]
                scales[name] = (learning_rate * share.to(value.dtype)).reshape(
                    (-1,) + (1,) * (value.ndim - 1)
                )
    return scales


@torch.no_grad()
def _count_all(cohort: Cohort, parameters: Parameters, mode: Mode) -> Tensor:
    """Return the number of correct answers on the test images of every task, int64, (S, tasks)."""
    return torch.stack([_count(cohort, parameters, data, mode) for data in cohort.test], dim=1)


def _count(cohort: Cohort, parameters: Parameters, data: TaskData, mode: Mode) -> Tensor:
    stacked = cohort.network.stacked if mode == "vmap" else None
    answer = stacked.logits if stacked is not None else over_learners(mode)(cohort.network.logits)
    total = torch.zeros(cohort.size, dtype=torch.int64, device=cohort.device)
    for start in range(0, data.count, TESTED_AT_ONCE):
        part = slice(start, start + TESTED_AT_ONCE)
        logits = answer(parameters, cohort.scaling(data.images[:, part], cohort.dtype))
        # A padded image has label -1, which no answer equals.
        chosen = logits.masked_fill(~data.active[:, part], -torch.inf).argmax(dim=-1)
        total += (chosen == data.labels[:, part]).sum(dim=1)
    return total.cpu()


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


def _bytes(memory: Memory) -> int:
    leaves = pytree.tree_leaves(memory)
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves)

"""Learners of a linear sequence: their data, and training solved under any strategy's hooks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import vmap

from driftboard.strategies.base import Block, Memory, Parameters, Strategy, overrides
from driftboard.suite.errors import StrategyError
from driftboard.suite.linear.solutions import least_squares, stationary_point
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.training.hooks import CohortTask, Hooks
from driftboard.suite.training.networks import ModuleNetwork
from driftboard.suite.training.stored import bytes_of
from driftboard.suite.training.untouched import Untouched, named, tensors_of_task

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearData:
    """The truths and training data of L learners, float64, on the CPU."""

    truths: Tensor  # (L, tasks, parameters), the shared ones first
    inputs: tuple[Tensor, ...]  # per task (L, samples, parameters)
    targets: tuple[Tensor, ...]  # per task (L, samples)


def draw(setting: LinearSetting, generators: Sequence[np.random.Generator]) -> LinearData:
    """Draw the data of ``setting.draws`` learners from every seed's generator.

    The learners of one seed follow one another. Every learner has truths of its own in random
    directions. For a strategy that treats all directions alike, fixed ones would give the same
    distribution of errors, because the inputs look the same from all directions; one that looks
    at single coordinates, such as EWC, must not meet truths that lie along them.

    Settings that differ only in norms, noise and distance share the random numbers.
    """
    seeds = [_draw_of_one_seed(setting, generator) for generator in generators]
    truths, inputs, targets = zip(*seeds, strict=True)
    return LinearData(
        _joined(truths),
        tuple(_joined(task) for task in zip(*inputs, strict=True)),
        tuple(_joined(task) for task in zip(*targets, strict=True)),
    )


def _draw_of_one_seed(
    setting: LinearSetting, random: np.random.Generator
) -> tuple[Array, list[Array], list[Array]]:
    truths = _truths(setting, random)
    inputs, targets = [], []
    for task in range(setting.tasks):
        size = (setting.draws, setting.samples_of(task))
        features = random.standard_normal((*size, setting.parameters))
        noise = setting.noise * random.standard_normal(size)
        inputs.append(features)
        targets.append(np.einsum("lnp,lp->ln", features, truths[:, task]) + noise)
    return truths, inputs, targets


def _truths(setting: LinearSetting, random: np.random.Generator) -> Array:
    """Return truths, shape (draws, tasks, parameters).

    ``q*_k = own_norm (sqrt(1 - rho) a + sqrt(rho) b_k)`` with a, b_1, b_2, ... orthonormal has
    the squared distances ``2 rho own_norm^2``.
    """
    shared = random.standard_normal((setting.draws, setting.shared))
    shared = setting.shared_norm * shared / np.linalg.norm(shared, axis=1, keepdims=True)
    frame = _orthonormal(random.standard_normal((setting.draws, setting.own, setting.tasks + 1)))
    common, private = frame[:, :, 0], frame[:, :, 1:].swapaxes(1, 2)
    rho = min(1.0, setting.distance**2 / (2 * setting.own_norm**2))
    own = setting.own_norm * (np.sqrt(1 - rho) * common[:, None] + np.sqrt(rho) * private)
    repeated = np.broadcast_to(shared[:, None], (*own.shape[:2], setting.shared))
    return np.concatenate([repeated, own], axis=2)


def _orthonormal(columns: Array) -> Array:
    """Return orthonormal columns in uniformly random directions, from normal ones."""
    basis, triangle = np.linalg.qr(columns)
    # Without the signs the directions would follow the routine's convention, and not be uniform.
    signs: Array = np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))
    return np.asarray(basis * signs[:, None, :])


def _joined(parts: tuple[Array, ...]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


SHARED, OWN = "shared.weight", "own.weight"

POINTS_AT_ONCE = 32
"""At how many points of every learner gradients are corrected at once; bounds the memory."""

Noise = Callable[[int], Sequence[np.random.Generator]]
"""(task) -> one generator per seed, the strategy's own."""


@dataclass(frozen=True)
class LinearOutcome:
    """What L learners did, float64 unless said otherwise; blocks are the shared and the own one."""

    untrained: Tensor  # (L, tasks), excess losses before the first task
    excess: Tensor  # (L, tasks, tasks), [:, k, i] on task i after training task k
    share: Tensor  # (L, tasks, 2), of the plans
    restart: Tensor  # bool, (L, tasks, 2), of the plans
    update_norms: Tensor  # (L, tasks, 2), from the solution of the task before
    solution_norms: Tensor  # (L, tasks, 2)
    drift_norms: Tensor  # (L, tasks, 2), from the first task's solution
    memory_bytes: tuple[int, ...]  # per task, of one learner


class _Weights(nn.Linear):
    """A Linear layer without a bias, whose weights are given with every call and never drawn."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 1, bias=False, dtype=torch.float64)

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _TwoBlocks(nn.Module):
    """``u . x_shared + q . x_own``."""

    def __init__(self, shared: int, own: int) -> None:
        super().__init__()
        self.shared = _Weights(shared)
        self.own = _Weights(own)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions, shape (n, 1), for inputs of shape (n, parameters)."""
        split = self.shared.in_features
        result: Tensor = self.shared(inputs[:, :split]) + self.own(inputs[:, split:])
        return result


def linear_network(setting: LinearSetting) -> ModuleNetwork:
    """Return the network with the blocks ``shared`` and, as its head, ``own``."""
    blocks = (Block("shared", (SHARED,)), Block("own", (OWN,)))
    return ModuleNetwork(_TwoBlocks(setting.shared, setting.own), blocks)


@torch.no_grad()
def run(
    setting: LinearSetting,
    strategy: Strategy,
    data: LinearData,
    noise: Noise,
    on_task: Callable[[], None] = lambda: None,
) -> LinearOutcome:
    """Train all learners through all tasks, every one to convergence.

    Args:
        setting: the sequence.
        strategy: any strategy that overrides none but ``begin``, ``correct`` and ``finish``, and
            whose ``correct`` is affine in the parameters.
        data: what ``draw`` returned for the setting.
        noise: the source of ``task.noise``; learners are dealt to its seeds in order.
        on_task: called after every task.

    Raises:
        StrategyError: the strategy cannot be solved, or one of its hooks breaks the interface.
    """
    if why := why_not_solved(strategy):
        raise StrategyError(f"strategy '{strategy.name}' cannot run on linear sequences: {why}")
    truths = data.truths
    weights = torch.zeros_like(truths[:, 0])
    first, memory = weights, Memory()
    untrained = _excess(weights, truths)
    rows: list[Tensor] = []
    shares: list[Tensor] = []
    restarts: list[Tensor] = []
    updates: list[Tensor] = []
    solutions: list[Tensor] = []
    drifts: list[Tensor] = []
    sizes: list[int] = []
    for index in range(setting.tasks):
        before = weights
        task = _cohort_task(setting, strategy, data, index, noise)
        hooks = Hooks(strategy, task, "vmap")
        given = named("parameters", _parameters(setting, before))
        shown = Untouched(tensors_of_task(task) | given, exactly=False)
        plan, memory = hooks.begin(_parameters(setting, before), memory)
        hooks.check_untouched(shown.changed(), "begin")
        # Solvers refuse what is not finite; such a learner is solved from 0 and stays lost.
        finite = torch.isfinite(before).all(dim=1, keepdim=True)
        begun = before if plan.start is None else _weights(plan.start)
        kept = torch.where(finite, begun, 0.0)
        start = torch.where(_spread(setting, plan.restart), 0.0, kept)
        share = _spread(setting, plan.share.double())
        if hooks.corrects:
            weights = _solve_corrected(setting, strategy, hooks, task, start, share, memory)
        else:
            weights = least_squares(task.images, task.labels, start, share)
        hooks.check_untouched(shown.changed(), "correct")
        weights = torch.where(finite, weights, torch.nan)
        solution, memory = hooks.finish(_parameters(setting, weights), memory)
        hooks.check_untouched(shown.changed(), "finish")
        weights = _weights(solution)
        first = weights if index == 0 else first
        shares.append(plan.share.double())
        restarts.append(plan.restart)
        updates.append(_block_norms(setting, weights - before))
        solutions.append(_block_norms(setting, weights))
        drifts.append(_block_norms(setting, weights - first))
        rows.append(_excess(weights, truths))
        sizes.append(bytes_of(memory) // truths.shape[0])
        on_task()
    return LinearOutcome(
        untrained=untrained,
        excess=torch.stack(rows, dim=1),
        share=torch.stack(shares, dim=1),
        restart=torch.stack(restarts, dim=1),
        update_norms=torch.stack(updates, dim=1),
        solution_norms=torch.stack(solutions, dim=1),
        drift_norms=torch.stack(drifts, dim=1),
        memory_bytes=tuple(sizes),
    )


def why_not_solved(strategy: Strategy) -> str | None:
    """Return why a strategy cannot run on linear sequences, None if nothing speaks against it."""
    if strategy.stores == "examples":
        return "they have no images that could be stored"
    for hook in ("batch", "loss", "update", "constrain", "observe", "answer"):
        if overrides(strategy, hook):
            return (
                "they are solved in closed form and know begin(), correct() and finish(), "
                f"not {hook}()"
            )
    return None


def _cohort_task(
    setting: LinearSetting, strategy: Strategy, data: LinearData, index: int, noise: Noise
) -> CohortTask:
    """Return the task's data, or those of all tasks so far if that is what it trains on."""
    seen = slice(0 if strategy.trains_on_all_tasks else index, index + 1)
    inputs = torch.cat(data.inputs[seen], dim=1)
    learners, count, _ = inputs.shape
    generators = noise(index)
    numbers = [generator.random((setting.draws, count)) for generator in generators]
    keys = [generator.integers(2**63, size=setting.draws) for generator in generators]
    return CohortTask(
        index=index,
        network=linear_network(setting),
        images=inputs,
        labels=torch.cat(data.targets[seen], dim=1),
        allowed=torch.ones(learners, count, 1, dtype=torch.bool),
        classes=torch.ones(learners, 1, dtype=torch.bool),
        units=torch.zeros(learners, 1, dtype=torch.int64),
        answers=torch.zeros(learners, 1, dtype=torch.int64),
        initial=_parameters(setting, torch.zeros_like(data.truths[:, 0])),
        noise=torch.from_numpy(np.concatenate(numbers)),
        keys=torch.from_numpy(np.concatenate(keys)),
        regression=True,
    )


def _solve_corrected(
    setting: LinearSetting,
    strategy: Strategy,
    hooks: Hooks,
    task: CohortTask,
    start: Tensor,
    share: Tensor,
    memory: Memory,
) -> Tensor:
    """Return where training with the strategy's corrected gradients ends."""
    moving = share > 0
    trained = [name for name, part in _parameters(setting, moving).items() if bool(part.any())]
    if not trained:
        return start
    count = task.labels.shape[1]
    curvature = task.images.mT @ task.images / count
    pull = (task.images.mT @ task.labels[..., None])[..., 0] / count

    def corrected(gradient: Tensor, weights: Tensor) -> Tensor:
        # As in training by steps, a block that only some learners freeze has a gradient of 0.
        parts = _parameters(setting, torch.where(moving, gradient, 0.0))
        given = {name: parts[name] for name in trained}
        result = hooks.correct(given, _parameters(setting, weights), memory, 0)
        return _weights({name: result.get(name, part) for name, part in parts.items()})

    def slope(weights: Tensor) -> Tensor:
        gradient = torch.einsum("lij,plj->pli", curvature, weights) - pull
        return vmap(corrected, chunk_size=POINTS_AT_ONCE)(gradient, weights)

    solution, ends = stationary_point(slope, start, share)
    if not bool(ends.all()):
        raise StrategyError(
            f"strategy '{strategy.name}' cannot run on linear sequences: correct() must be affine "
            f"in the parameters and lead to convergence (task {task.index + 1})"
        )
    return solution


def _parameters(setting: LinearSetting, weights: Tensor) -> Parameters:
    """Return weights, shape (L, parameters), as the network's parameters."""
    shared, own = torch.split(weights, [setting.shared, setting.own], dim=1)
    return {SHARED: shared[:, None], OWN: own[:, None]}


def _weights(parameters: Parameters) -> Tensor:
    """Return parameters as weights, shape (L, parameters)."""
    return torch.cat([parameters[SHARED], parameters[OWN]], dim=-1)[:, 0]


def _spread(setting: LinearSetting, blocks: Tensor) -> Tensor:
    """Return values of the blocks, shape (L, 2), repeated for every weight."""
    return blocks.repeat_interleave(torch.tensor([setting.shared, setting.own]), dim=1)


def _excess(weights: Tensor, truths: Tensor) -> Tensor:
    """Return the excess losses of weights on all tasks, shape (L, tasks)."""
    return (weights[:, None] - truths).square().sum(dim=2)


def _block_norms(setting: LinearSetting, weights: Tensor) -> Tensor:
    """Return the Euclidean norm of every block, shape (L, 2)."""
    parts = torch.split(weights, [setting.shared, setting.own], dim=1)
    return torch.stack([part.norm(dim=1) for part in parts], dim=1)

"""Projections by inputs: dense formulas, the paper's algorithm, and what they leave as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from driftboard.strategies import projections
from driftboard.strategies.projections import Gpm, SoftInputs

EXACT = {"rtol": 1e-9, "atol": 1e-11}
ALL = 10_000
NETWORKS = ["mlp", "convolutions"]


def begun(strategy, tasks, solutions):
    """Return the memory with which a task trains after earlier ones with these solutions."""
    memory = {}
    for task, solution in zip(tasks, solutions, strict=False):
        plan, memory = strategy.begin(task, solution, memory)
        assert plan.share.tolist() == [1.0] * task.block_count
        assert not plan.restart.any()
        returned, memory = strategy.finish(task, solution, memory)
        assert returned is solution
    return strategy.begin(tasks[len(solutions)], solutions[-1], memory)[1]


def corrected(strategy, tasks, earlier):
    """Return the gradient of the task after ``earlier`` ones, and what it becomes."""
    task = tasks[earlier]
    memory = begun(strategy, tasks, [one.initial for one in tasks[:earlier]])
    gradient = task.gradient(task.initial)
    return gradient, strategy.correct(task, gradient, task.initial, memory)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("earlier", [1, 2])
def test_with_all_eigenvectors_soft_inputs_is_a_dense_inverse(
    three_tasks, rows_of, matrices_of, network, earlier
):
    tasks = three_tasks(network)
    rows = [rows_of(task, task.initial) for task in tasks[:earlier]]

    gradient, found = corrected(SoftInputs(strength=2.0, rank=ALL), tasks, earlier)

    assert found.keys() == gradient.keys()
    before, after = (matrices_of(part, rows[0]) for part in (gradient, found))
    for name, whole in before.items():
        mean = sum(one[name].T @ one[name] for one in rows) / earlier
        wanted = whole @ torch.linalg.inv(torch.eye(len(mean)) + 2.0 * mean)
        torch.testing.assert_close(after[name], wanted, **EXACT)


def test_beyond_the_leading_inputs_one_mean_stands_for_all_others(
    three_tasks, rows_of, matrices_of
):
    tasks = three_tasks()
    rows = rows_of(tasks[0], tasks[0].initial)

    gradient, found = corrected(SoftInputs(strength=2.0, rank=2), tasks, 1)

    before, after = (matrices_of(part, rows) for part in (gradient, found))
    for name, own in rows.items():
        values, vectors = torch.linalg.eigh(own.T @ own)
        values[:-2] = values[:-2].mean()
        wanted = before[name] @ vectors @ torch.diag(1 / (1 + 2.0 * values)) @ vectors.T
        torch.testing.assert_close(after[name], wanted, **EXACT)


def test_without_strength_no_layer_is_held(three_tasks, rows_of, matrices_of):
    tasks = three_tasks()
    gradient, found = corrected(SoftInputs(strength=0.0), tasks, 2)
    layers = rows_of(tasks[0], tasks[0].initial)
    torch.testing.assert_close(
        matrices_of(found, layers), matrices_of(gradient, layers), rtol=0, atol=0
    )


def paper_projections(rows_by_task, thresholds):
    """The algorithm of Saha, Garg, Roy 2021, section 5, for one layer: a projection per task.

    Columns of R are inputs, as there.
    """
    basis = np.zeros((rows_by_task[0].shape[1], 0))
    found = []
    for rows, threshold in zip(rows_by_task, thresholds, strict=True):
        r = rows.numpy().T
        inside = basis @ basis.T @ r
        left, sizes, _ = np.linalg.svd(r - inside, full_matrices=False)
        count, held, total = 0, np.sum(inside**2), np.sum(r**2)
        while held < threshold * total:
            held += sizes[count] ** 2
            count += 1
        basis = np.hstack([basis, left[:, :count]])
        found.append(basis @ basis.T)
    return found


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("threshold", "growth", "thresholds"),
    [
        (0.5, 0.0, [0.5, 0.5, 0.5]),
        (0.5, 0.2, [0.5, 0.7, 0.9]),
        (0.8, 0.15, [0.8, 0.95, 1.0]),
    ],
)
def test_gpm_projects_on_the_bases_of_the_paper(
    three_tasks, rows_of, matrices_of, network, threshold, growth, thresholds
):
    tasks = three_tasks(network)
    rows = [rows_of(task, task.initial) for task in tasks]
    strategy, memory = Gpm(threshold=threshold, growth=growth), {}
    expected = {
        name: paper_projections([one[name] for one in rows], thresholds) for name in rows[0]
    }
    for number, task in enumerate(tasks):
        gradient = task.gradient(task.initial)
        _, memory = strategy.finish(task, task.initial, memory)
        found = strategy.correct(task, gradient, task.initial, memory)
        before, after = (matrices_of(part, rows[0]) for part in (gradient, found))
        for name, whole in before.items():
            free = torch.from_numpy(np.eye(whole.shape[1]) - expected[name][number])
            torch.testing.assert_close(memory[name], free, **EXACT)
            torch.testing.assert_close(after[name], whole @ free, **EXACT)
    ranks = [[round(np.trace(one)) for one in of_layer] for of_layer in expected.values()]
    assert all(first < last for first, _, last in ranks)


@pytest.mark.parametrize(("network", "count"), [("mlp", 3), ("convolutions", 1)])
def test_a_step_of_gpm_leaves_all_answers_to_inputs_that_it_holds(three_tasks, network, count):
    first, second, _ = three_tasks(network, count)
    strategy = Gpm(threshold=1.0)
    _, memory = strategy.finish(first, first.initial, {})
    gradient = second.gradient(first.initial)
    found = strategy.correct(second, gradient, first.initial, memory)
    moved = {name: value - found[name] for name, value in first.initial.items()}

    def answers(task, parameters):
        return task.network.logits(parameters, task.examples.images)

    kept, changed = (answers(first, point) for point in (first.initial, moved))
    torch.testing.assert_close(changed, kept, **EXACT)
    new, changed = (answers(second, point) for point in (first.initial, moved))
    assert (changed - new).abs().max() > 0.01


@pytest.mark.parametrize("network", NETWORKS)
def test_gpm_freezes_layers_whose_inputs_go_everywhere_at_threshold_1(three_tasks, network):
    gradient, found = corrected(Gpm(threshold=1.0), three_tasks(network, count=30), 1)
    assert max(value.abs().max() for value in gradient.values()) > 0.01
    assert not any(value.any() for value in found.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_basis_gains_nothing_from_rounding(dtype):
    """A direction that counts twice would turn the gradient around."""
    random = torch.Generator().manual_seed(0)
    seen = torch.randn(40, 6, generator=random) @ torch.randn(6, 9, generator=random)
    free = None
    for _ in range(4):
        mixed = torch.randn(40, 40, generator=random) @ seen
        free = projections._left_free(free, mixed.to(dtype), 1.0)
    values = torch.linalg.eigvalsh(free.double())
    wanted = torch.tensor([0.0] * 6 + [1.0] * 3).double()
    torch.testing.assert_close(values, wanted, rtol=0, atol=1e-6)


def test_a_faint_direction_is_added_at_right_angles_to_the_basis():
    """In single precision the rounding of what is carried over is not far below it."""
    random = torch.Generator().manual_seed(0)
    seen = torch.randn(40, 6, generator=random) @ torch.randn(6, 9, generator=random)
    faint = torch.outer(torch.randn(40, generator=random), torch.randn(9, generator=random))
    free = projections._left_free(None, seen, 1.0)
    free = projections._left_free(free, seen + 1e-4 * faint, 1.0)
    values = torch.linalg.eigvalsh(free.double())
    wanted = torch.tensor([0.0] * 7 + [1.0] * 2).double()
    torch.testing.assert_close(values, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strategy", [SoftInputs(), Gpm(threshold=0.5)], ids=lambda s: s.name)
def test_the_first_task_is_plain_training_and_then_norms_are_frozen(three_tasks, strategy):
    tasks = three_tasks("convolutions")
    gradient = tasks[0].gradient(tasks[0].initial)
    assert strategy.correct(tasks[0], gradient, tasks[0].initial, {}) is gradient

    gradient, found = corrected(strategy, tasks, 1)

    assert gradient["1.weight"].all()
    assert {name for name, value in found.items() if not value.any()} == {"1.weight", "1.bias"}


def test_what_is_carried_over_does_not_grow_with_the_tasks(three_tasks):
    tasks = three_tasks()
    for strategy, sizes in (
        (SoftInputs(rank=3), {"1": 7 * 3 + 3 + 1, "3": 5 * 3 + 3 + 1, "5": 8 * 3 + 3 + 1}),
        (Gpm(), {"1": 49, "3": 25, "5": 64}),
    ):
        memory = {}
        for task in [*tasks, replace(tasks[0], index=3)]:
            _, memory = strategy.finish(task, task.initial, memory)
            layers = memory.get("layers", memory)
            assert {
                name: sum(value.numel() for value in kept.values())
                if isinstance(kept, dict)
                else kept.numel()
                for name, kept in layers.items()
            } == sizes

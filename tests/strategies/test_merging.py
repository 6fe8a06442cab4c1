"""Merging by inputs: naive least squares, RegMean's closed form, and both ends of the pull."""

import pytest
import torch

from driftboard.strategies import merging
from driftboard.strategies.merging import LEAST_MOMENT, MergeInputs

EXACT = {"rtol": 1e-8, "atol": 1e-10}
ALL = 10_000
NETWORKS = ["mlp", "convolutions"]


def solutions_of(tasks):
    """Return what training found on every task: any points will do."""
    return [
        {name: (1 + k) * value for name, value in task.initial.items()}
        for k, task in enumerate(tasks)
    ]


def merge(strategy, tasks, found):
    """Return the merged solution after every task."""
    memory, merged = {}, []
    start = tasks[0].initial
    for task, solution in zip(tasks, found, strict=True):
        plan, memory = strategy.begin(task, start, memory)
        assert plan.share.tolist() == [1.0] * task.block_count
        assert not plan.restart.any()
        start, memory = strategy.finish(task, solution, memory)
        merged.append(start)
    assert merged[0] is found[0]
    return merged


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("pull", [0.3, 2.0])
def test_solutions_are_those_of_naive_least_squares(
    three_tasks, rows_of, matrices_of, network, pull
):
    """Near the last solution on earlier inputs, near what training found on the new ones."""
    tasks = three_tasks(network)
    found = solutions_of(tasks)
    rows = [rows_of(task, solution) for task, solution in zip(tasks, found, strict=True)]

    merged = merge(MergeInputs(pull=pull, rank=ALL), tasks, found)

    for number in (1, 2):
        last, new, ours = (
            matrices_of(one, rows[0]) for one in (merged[number - 1], found[number], merged[number])
        )
        for name in last:
            old_rows = pull**0.5 * torch.cat([one[name] for one in rows[:number]])
            own = rows[number][name]
            least = LEAST_MOMENT**0.5 * torch.eye(own.shape[1], dtype=own.dtype)
            targets = [old_rows @ last[name].T, own @ new[name].T, least @ new[name].T]
            wanted = torch.linalg.lstsq(
                torch.cat([old_rows, own, least]), torch.cat(targets)
            ).solution
            torch.testing.assert_close(ours[name], wanted.T, **EXACT)


@pytest.mark.parametrize("network", NETWORKS)
def test_with_pull_1_it_is_regmean(three_tasks, rows_of, matrices_of, monkeypatch, network):
    """``W^T = (sum_i G_i)^-1 sum_i G_i W_i^T`` with G_i the inputs' Gram matrices, scaled."""
    monkeypatch.setattr(merging, "LEAST_MOMENT", 0.0)  # these have full rank
    tasks = three_tasks(network)
    found = solutions_of(tasks)
    rows = [rows_of(task, solution) for task, solution in zip(tasks, found, strict=True)]

    *_, merged = merge(MergeInputs(pull=1.0, rank=ALL), tasks, found)

    single = [matrices_of(solution, rows[0]) for solution in found]
    for name, ours in matrices_of(merged, rows[0]).items():
        grams = [one[name].T @ one[name] for one in rows]
        weighted = sum(gram @ one[name].T for gram, one in zip(grams, single, strict=True))
        wanted = torch.linalg.inv(sum(grams)) @ weighted
        torch.testing.assert_close(ours, wanted.T, rtol=1e-7, atol=1e-9)


def test_without_pull_the_whole_update_is_taken(three_tasks, rows_of, matrices_of):
    tasks = three_tasks("convolutions")
    found = solutions_of(tasks)
    layers = rows_of(tasks[0], found[0])

    merged = merge(MergeInputs(pull=0.0), tasks, found)

    for ours, wanted in zip(merged, found, strict=True):
        torch.testing.assert_close(matrices_of(ours, layers), matrices_of(wanted, layers), **EXACT)


def test_a_large_pull_takes_nothing_along_earlier_inputs_and_something_beside_them(
    three_tasks, rows_of, matrices_of
):
    tasks = three_tasks(count=2)
    found = solutions_of(tasks)
    rows = rows_of(tasks[0], found[0])

    _, merged, _ = merge(MergeInputs(pull=1e8, rank=ALL), tasks, found)

    last, new, ours = (matrices_of(one, rows) for one in (found[0], found[1], merged))
    for name, own in rows.items():
        along = torch.linalg.pinv(own) @ own
        update = new[name] - last[name]
        assert (update @ along).abs().max() > 0.1
        assert ((ours[name] - last[name]) @ along).abs().max() < 1e-4
        assert (ours[name] - last[name]).abs().max() > 0.1


def test_beyond_the_leading_inputs_one_mean_stands_for_all_others(
    three_tasks, rows_of, matrices_of
):
    tasks = three_tasks()
    found = solutions_of(tasks)
    (old, own) = (rows_of(task, one) for task, one in zip(tasks[:2], found[:2], strict=True))

    _, merged, _ = merge(MergeInputs(pull=2.0, rank=2), tasks, found)

    last, new, ours = (matrices_of(one, old) for one in (found[0], found[1], merged))
    for name, rows in old.items():
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        values[:-2] = values[:-2].mean()
        earlier = vectors @ torch.diag(values) @ vectors.T
        here = own[name].T @ own[name] + LEAST_MOMENT * torch.eye(len(earlier))
        taken = (new[name] - last[name]) @ here @ torch.linalg.inv(here + 2.0 * earlier)
        torch.testing.assert_close(ours[name] - last[name], taken, **EXACT)


def test_what_no_layer_holds_becomes_the_mean_of_all_solutions(three_tasks):
    tasks = three_tasks("convolutions")
    found = solutions_of(tasks)

    *_, merged = merge(MergeInputs(), tasks, found)

    for name in ("1.weight", "1.bias"):
        wanted = sum(solution[name] for solution in found) / 3
        torch.testing.assert_close(merged[name], wanted, **EXACT)


def test_nothing_but_moments_is_carried_over(three_tasks):
    tasks = three_tasks()
    strategy, memory = MergeInputs(rank=3), {}
    for task in tasks:
        _, memory = strategy.begin(task, task.initial, memory)
        _, memory = strategy.finish(task, task.initial, memory)
        sizes = {
            name: sum(value.numel() for value in kept.values())
            for name, kept in memory["layers"].items()
        }
        assert memory.keys() == {"layers"}
        assert sizes == {"1": 7 * 3 + 3 + 1, "3": 5 * 3 + 3 + 1, "5": 8 * 3 + 3 + 1}

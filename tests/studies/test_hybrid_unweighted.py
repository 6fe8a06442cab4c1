"""The hybrid without weights by value: two tasks of which one was not learned count alike."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from driftboard.strategies.hybrid import LEAST_WEIGHT, Hybrid
from driftboard.suite.loading import load_strategy

FILE = Path(__file__).parent / "hybrid_unweighted.py"


def test_a_task_of_which_nothing_was_learned_counts_as_much(make_task):
    task = make_task(nn.Sequential(nn.Linear(3, 4)), shape=(3,), units=4)
    nothing = {name: torch.zeros_like(value) for name, value in task.initial.items()}
    assert task.loss(nothing, task.examples).item() == pytest.approx(math.log(4))
    traces = {}
    for strategy in (Hybrid(), load_strategy(str(FILE)).strategy):
        _, memory = strategy.finish(task, nothing, {})
        _, memory = strategy.finish(task, nothing, memory)
        assert memory["weight"].dtype == torch.float64
        inputs = memory["layers"]["0"]["inputs"]
        traces[strategy.name] = inputs["values"].sum().item(), memory["weight"].item()
    assert traces["hybrid-unweighted"] == pytest.approx((2 * 4, 2))  # eigenvalues of mean 1
    assert traces["hybrid"] == pytest.approx((2 * 4 * LEAST_WEIGHT, 2 * LEAST_WEIGHT))

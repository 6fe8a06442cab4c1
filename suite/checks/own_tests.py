"""Tests of my-method: the checks of ``driftboard check``, and one hook by value.

Run them with ``python -m pytest`` and the name of this file.
"""

from pathlib import Path

import torch

from driftboard.suite.checks import check_strategy, example_task
from driftboard.suite.loading import load_strategy

FILE = Path(__file__).with_name("my_method.py")


def test_all_checks_pass() -> None:
    """A failed check says in its message what to do."""
    failed = [result for result in check_strategy(str(FILE)) if result.status == "FAILED"]
    assert failed == []


def test_the_gradient_is_pulled_towards_the_last_solution() -> None:
    """The pull is the strength times the way back; change this test along with your idea."""
    strategy = load_strategy(f"{FILE},strength=0.5").strategy
    first, second = example_task(index=0), example_task(index=1)
    parameters = {name: value + 0.1 for name, value in first.initial.items()}
    gradient = second.gradient(parameters)

    assert strategy.correct(first, gradient, parameters, {}) is gradient
    _, memory = strategy.finish(first, first.initial, {})
    corrected = strategy.correct(second, gradient, parameters, memory)

    for name, value in corrected.items():
        pull = 0.5 * (parameters[name] - first.initial[name])
        torch.testing.assert_close(value, gradient[name] + pull)

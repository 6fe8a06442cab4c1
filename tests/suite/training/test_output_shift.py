"""How far a task moves the outputs: by value, in both modes, through the engine."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from driftboard.strategies import Strategy, UpdatePlan
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.training import engine
from driftboard.suite.training.output_shift import output_shift

MODES = {"loop": (3,), "vmap": (3, 4)}
NUMBERS = st.floats(-30, 30)


def shift(before, after, allowed=None, shown=None):
    before, after = torch.tensor(before), torch.tensor(after)
    allowed = torch.ones_like(before, dtype=torch.bool) if allowed is None else allowed
    shown = torch.ones(before.shape[:2], dtype=torch.bool) if shown is None else shown
    return output_shift(before, after, allowed, shown)


@given(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, min_size=3, max_size=3))
def test_it_is_what_torch_has_for_two_distributions(old, new):
    found = shift([[old]], [[new]])
    logs = [torch.tensor(one, dtype=torch.float32).double().log_softmax(0) for one in (new, old)]
    expected = F.kl_div(*logs, reduction="sum", log_target=True).clamp(min=0)
    torch.testing.assert_close(found, expected[None], rtol=1e-9, atol=1e-12)


def test_the_old_outputs_weigh():
    """From (1/2, 1/2) to (1/4, 3/4) is not as far as back."""
    even, skewed = [[[0.0, 0.0]]], [[[0.0, math.log(3)]]]
    there = shift(even, skewed).item()
    back = shift(skewed, even).item()
    assert there == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert back == pytest.approx(0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5))
    assert there != pytest.approx(back, abs=1e-3)


def test_units_that_may_not_answer_and_padding_do_not_count():
    before, after = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    allowed = torch.tensor([True, False, True, True]).expand_as(before)
    shown = torch.tensor([[True, True, False], [True, True, True]])
    found = output_shift(before, after, allowed, shown)
    kept = [0, 2, 3]
    for place, count in enumerate((2, 3)):
        alone = output_shift(
            before[place : place + 1, :count, kept],
            after[place : place + 1, :count, kept],
            torch.ones(1, count, 3).bool(),
            torch.ones(1, count).bool(),
        )
        torch.testing.assert_close(found[place : place + 1], alone)
    # What is added to all logits of an image, and what stands at other places, changes nothing.
    moved = torch.where(allowed, after + 7.0, 1e30)
    moved[0, 2] = torch.nan
    torch.testing.assert_close(
        output_shift(before, moved, allowed, shown), found, rtol=1e-5, atol=1e-6
    )


@dataclass(frozen=True)
class Shifting(Strategy):
    """Trains nothing; adds ``amount`` to the first allowed unit's logit, once for each task."""

    name: ClassVar[str] = "shifting"
    amount: float = 0.5

    def begin(self, task, parameters, memory):
        nothing = torch.zeros_like(task.everything().share)
        tasks = memory.get("tasks", torch.zeros((), dtype=torch.int64)) + 1
        return UpdatePlan(nothing, nothing.bool()), {"tasks": tasks}

    def answer(self, query, parameters, memory):
        first = query.allowed & (query.allowed.cumsum(-1) == 1)
        return torch.where(first, self.amount * memory["tasks"], 0.0).to(query.images.dtype)


@pytest.mark.parametrize("mode", MODES)
def test_in_a_run_it_is_from_before_to_after_every_task(mode):
    outcome = engine.run(tiny_cohort("MLP", MODES[mode]), Shifting(), mode)

    def between(old, new):
        old, new = (torch.tensor([a, 0.0]).double().log_softmax(0) for a in (old, new))
        return (old.exp() * (old - new)).sum().expand(len(MODES[mode]))

    later = [between(0.5, 1.0), between(1.0, 1.5)]
    for found, expected in zip(outcome.shift_new[1:], later, strict=True):
        torch.testing.assert_close(found, expected)
    for found, expected in zip(outcome.shift_old, later, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("class_incremental", [False, True])
def test_of_a_trained_network_it_is_that_of_its_outputs(mode, class_incremental):
    """A second way: the networks after every task, and torch's divergence of their outputs."""
    cohort = tiny_cohort("MLP", MODES[mode], class_incremental)
    outcome = engine.run(cohort, Sgd(), mode)
    solutions, parameters = [cohort.initial], cohort.initial
    for index in range(3):
        parameters = engine.train_task(cohort, Sgd(), index, parameters, {}, mode).parameters
        solutions.append(parameters)

    def of(learner, index, task):
        images = cohort.scaling(cohort.test[task].images[learner], cohort.dtype)
        units = torch.stack([one[learner] for one in cohort.classes])
        units = units[: index + 1].any(0) if class_incremental else units[task]
        old, new = (
            cohort.network.logits({n: v[learner] for n, v in one.items()}, images)[:, units]
            for one in solutions[index : index + 2]
        )
        logs = new.log_softmax(-1), old.log_softmax(-1)
        return F.kl_div(*logs, reduction="batchmean", log_target=True)

    for index in range(3):
        new = torch.stack([of(learner, index, index) for learner in range(cohort.size)])
        torch.testing.assert_close(outcome.shift_new[index], new, rtol=1e-9, atol=1e-12)
        assert (new > 1e-4).all()
        if index:
            old = torch.stack(
                [
                    torch.stack([of(learner, index, task) for task in range(index)]).mean()
                    for learner in range(cohort.size)
                ]
            )
            torch.testing.assert_close(outcome.shift_old[index - 1], old, rtol=1e-9, atol=1e-12)


def test_outputs_that_stand_still_are_not_moved():
    cohort = tiny_cohort("MLP", (3,))
    still = replace(Shifting(), amount=0.0)
    outcome = engine.run(cohort, still, "loop")
    assert not any(one.any() for one in (*outcome.shift_new[1:], *outcome.shift_old))

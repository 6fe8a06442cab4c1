"""When a learner counts as diverged: what is not finite, and blow-ups, in both modes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from driftboard.strategies import Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.training import engine
from driftboard.suite.training.engine import BLOW_UP

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Leaping(Strategy):
    """Ends every task at the initialisation, in one block so many times its norm away from it."""

    name: ClassVar[str] = "leaping"
    ends: str = "0 0 0"  # how many times, for every task
    block: int = 0

    def finish(self, task, parameters, memory):
        factor = float(self.ends.split()[task.index])
        own = task.network.blocks[self.block].parameters
        leapt = {name: task.initial[name] * (1 + factor) for name in own}
        return dict(task.initial) | leapt, memory


def causes(strategy, mode="vmap", network="MLP", change=lambda cohort: cohort):
    seeds = SEEDS[:1] if mode == "loop" else SEEDS
    outcome = engine.run(change(tiny_cohort(network, seeds)), strategy, mode)
    found = [outcome.divergence(position) for position in range(len(seeds))]
    for position, own in enumerate(found):
        assert [bool(row[position]) for row in outcome.fine] == [cause is None for cause in own]
    assert found == found[:1] * len(found)
    return found[0]


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("factor", "cause"), [(0.999, None), (1.001, "blow-up"), (-2, "blow-up")])
def test_a_block_far_from_its_initialisation_has_blown_up(factor, cause, network, mode):
    strategy = Leaping(ends=f"0 {factor * BLOW_UP} {factor * BLOW_UP}")
    assert causes(strategy, mode, network) == [None, cause, cause]


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_every_block_before_the_head_counts_and_the_head_does_not(mode):
    ends = f"{2 * BLOW_UP} 0 0"
    assert causes(Leaping(ends=ends, block=1), mode) == ["blow-up"] * 3
    assert causes(Leaping(ends=ends, block=2), mode) == [None] * 3


@pytest.mark.parametrize("mode", ["loop", "vmap"])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("0 2000 0", [None, "blow-up", "blow-up"]),  # from then on, wherever it goes
        ("0 2000 nan", [None, "blow-up", "blow-up"]),  # the first that happened
        ("nan 2000 0", ["not finite"] * 3),
        ("0 0 inf", [None, None, "not finite"]),
    ],
)
def test_the_cause_is_the_first_that_happened(ends, expected, mode):
    assert causes(Leaping(ends=ends), mode) == expected


def test_only_the_learner_that_has_blown_up_is_diverged():
    cohort = tiny_cohort("MLP", SEEDS)
    middle = cohort.initial["head.bias"].sum(dim=1).median()

    class One(Strategy):
        name = "one"

        def finish(self, task, parameters, memory):
            high = task.initial["head.bias"].sum() > middle
            far = {name: torch.where(high, 3000 * v, v) for name, v in parameters.items()}
            return far, memory

    outcome = engine.run(cohort, One(), "vmap")
    high = cohort.initial["head.bias"].sum(dim=1) > middle
    assert high.sum() == 1
    assert torch.equal(outcome.fine[0], ~high)


def test_a_block_that_begins_at_zero_has_nothing_to_be_compared_with():
    def zero(cohort):
        own = cohort.network.blocks[0].parameters
        zeros = {name: torch.zeros_like(cohort.initial[name]) for name in own}
        return replace(cohort, initial=cohort.initial | zeros)

    assert causes(Strategy(), change=zero) == [None] * 3


@pytest.mark.parametrize("name", BUILTIN)
def test_plain_training_is_far_from_a_blow_up(name):
    outcome = engine.run(tiny_cohort("MLP", SEEDS), BUILTIN[name], "vmap")
    assert all(fine.all() for fine in outcome.fine)

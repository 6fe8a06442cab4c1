"""What strategies known by name keep: lost learners raise nothing, linear sequences are solved."""

import numpy as np
import pytest
import torch

from driftboard.strategies import overrides
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.linear.learner import draw, run
from driftboard.suite.sequences.linear import LinearSetting

KNOWN = BUILTIN | FURTHER
NAMES = [
    *("l2", "si", "mas", "packnet", "wise-ft", "ema", "cofima", "slow-backbone", "discriminative"),
    *("surgical-first", "surgical-last", "lp-ft", "stable-sgd", "sam", "shrink-perturb", "adam"),
]
TRAINED_BY_STEPS = {"si", "packnet", "ema", "stable-sgd", "adam"}
"""Those with hooks that a solved task does not have."""


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_that_has_diverged_raises_nothing(name):
    cohort = tiny_cohort("MLP", (0, 1))
    for value in cohort.initial.values():
        value[0] = torch.nan
    *_, last = learn(cohort, KNOWN[name], "vmap")
    assert all(value[0].isnan().any() for value in last.parameters.values())
    assert all(value[1].isfinite().all() for value in last.parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_linear_sequences_have_a_solution_or_say_what_they_lack(name):
    setting = LinearSetting(tasks=4, shared=5, own=7, samples=30, noise=0.3, distance=0.8, draws=2)
    data = draw(setting, [np.random.default_rng(0)])
    noise = [np.random.default_rng(1)]
    if name in TRAINED_BY_STEPS:
        with pytest.raises(StrategyError, match="cannot run on linear sequences"):
            run(setting, KNOWN[name], data, lambda _: noise)
        return
    outcome = run(setting, KNOWN[name], data, lambda _: noise)
    assert outcome.excess.isfinite().all()
    assert outcome.drift_norms[:, 1].any()


@pytest.mark.parametrize("name", NAMES)
def test_what_it_stores_is_what_it_says(name):
    strategy = KNOWN[name]
    end = learn(tiny_cohort("MLP", (0,)), strategy, "loop")[-1]
    assert bool(end.memory) == (strategy.stores == "parameters")
    assert strategy.stores in ("nothing", "parameters")
    assert overrides(strategy, "finish") or not end.memory

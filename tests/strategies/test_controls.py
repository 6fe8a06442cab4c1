"""What all controls of the hybrid keep: both modes agree, and values outside ranges are refused."""

import math

import numpy as np
import pytest
import torch

from driftboard.strategies.ewc_implicit import EwcImplicit
from driftboard.strategies.hybrid_diagonal import HybridDiagonal
from driftboard.strategies.merging import MergeInputs
from driftboard.strategies.projections import Gpm, SoftInputs
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.linear.learner import draw, run
from driftboard.suite.sequences.linear import LinearSetting

CONTROLS = [
    EwcImplicit(strength=100.0),
    HybridDiagonal(),
    SoftInputs(rank=5),
    MergeInputs(rank=5),
    Gpm(threshold=0.8, growth=0.1),
]
controls = pytest.mark.parametrize("strategy", CONTROLS, ids=lambda strategy: strategy.name)


@controls
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_learners_that_train_together_end_where_each_ends_alone(strategy, network):
    together = learn(tiny_cohort(network, (3, 4)), strategy, "vmap")
    for place, seed in enumerate((3, 4)):
        alone = learn(tiny_cohort(network, (seed,)), strategy, "loop")
        for one, other in zip(together, alone, strict=True):
            for name, value in other.parameters.items():
                torch.testing.assert_close(
                    one.parameters[name][place], value[0], rtol=1e-9, atol=1e-11
                )


@controls
@pytest.mark.parametrize("network", ["MLP", "convolutions"])
def test_the_first_task_ends_where_plain_training_does_and_later_ones_elsewhere(strategy, network):
    ours, plain = (learn(tiny_cohort(network, (0,)), one, "loop") for one in (strategy, Sgd()))
    torch.testing.assert_close(ours[0].parameters, plain[0].parameters, rtol=0, atol=0)
    for one, other in zip(ours[1:], plain[1:], strict=True):
        assert any(
            not torch.allclose(value, other.parameters[name])
            for name, value in one.parameters.items()
        )


@controls
def test_a_learner_that_has_diverged_raises_nothing(strategy):
    cohort = tiny_cohort("MLP", (0, 1))
    for value in cohort.initial.values():
        value[0] = torch.nan
    *_, last = learn(cohort, strategy, "vmap")
    assert all(value[0].isnan().any() for value in last.parameters.values())
    assert all(value[1].isfinite().all() for value in last.parameters.values())


@pytest.mark.parametrize("samples", [4, 30])  # fewer and more than parameters
@controls
def test_linear_sequences_have_a_solution(strategy, samples):
    setting = LinearSetting(
        tasks=4, shared=5, own=7, samples=samples, noise=0.3, distance=0.8, draws=2
    )
    data = draw(setting, [np.random.default_rng(0)])
    outcome = run(setting, strategy, data, lambda _: [np.random.default_rng(1)])
    assert outcome.excess.isfinite().all()
    assert not outcome.drift_norms[:, 0].any()
    assert outcome.drift_norms[:, 1].any()


@pytest.mark.parametrize(
    ("strategy", "wrong"),
    [
        (EwcImplicit, {"strength": -1.0}),
        (EwcImplicit, {"decay": 1.5}),
        (HybridDiagonal, {"strength": -1.0}),
        (HybridDiagonal, {"strength": math.inf}),
        (HybridDiagonal, {"pull": math.nan}),
        (SoftInputs, {"strength": -0.1}),
        (SoftInputs, {"strength": math.inf}),
        (SoftInputs, {"rank": 0}),
        (MergeInputs, {"pull": -0.1}),
        (MergeInputs, {"pull": math.nan}),
        (MergeInputs, {"rank": 0}),
        (Gpm, {"threshold": 1.1}),
        (Gpm, {"threshold": math.nan}),
        (Gpm, {"growth": -0.1}),
    ],
)
def test_values_outside_their_range_are_refused_by_name(strategy, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        strategy(**wrong)

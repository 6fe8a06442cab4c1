"""Which part of a task's first gradient passes a strategy: by value, in both modes."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from msgspec import UNSET

from driftboard.strategies import Strategy, UpdatePlan
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import Training
from driftboard.suite.runs.cells import Cells
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training import engine
from driftboard.suite.training.cohort import Setting, prepare

SEEDS = (3, 4)
MODES = {"loop": SEEDS[:1], "vmap": SEEDS}
NETWORKS = ("MLP", "convolutions")


@dataclass(frozen=True)
class Halves(Strategy):
    """It halves the gradient, under a plan of one share for each of the blocks."""

    share: tuple[float, ...] = ()

    name: ClassVar[str] = "halves"

    def begin(self, task, parameters, memory):
        plan = task.everything()
        share = plan.share if not self.share else plan.share.new_tensor(self.share)
        return UpdatePlan(share, plan.restart), memory

    def correct(self, task, gradient, parameters, memory):
        return {name: 0.5 * value for name, value in gradient.items()}


@dataclass(frozen=True)
class Turns(Strategy):
    """It turns every block's gradient, in a way that depends on the lengths of all others."""

    name: ClassVar[str] = "turns"

    def begin(self, task, parameters, memory):
        plan = task.everything()
        moves = (torch.arange(len(plan.share)) > 0) | (task.noise[0] > 0.5)  # not all learners
        return UpdatePlan(plan.share * moves, plan.restart), memory

    def correct(self, task, gradient, parameters, memory):
        length = sum(value.square().sum() for value in gradient.values()).sqrt()
        return {name: value * value.abs() / length for name, value in gradient.items()}


def passed(strategy, mode, network="MLP", seeds=None):
    cohort = tiny_cohort(network, MODES[mode] if seeds is None else seeds)
    return engine.run(cohort, strategy, mode).passed


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, check_dtype=False)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_half_passes_of_a_gradient_that_is_halved(mode, network):
    found = passed(Halves(), mode, network)
    blocks = len(tiny_cohort(network, (3,)).network.blocks)
    assert [one.shape for one in found] == [(len(MODES[mode]), blocks)] * len(found)
    for one in found:
        close(one, torch.full_like(one, 0.5))


@pytest.mark.parametrize("mode", MODES)
def test_of_a_share_half_passes_and_of_a_frozen_block_nothing(mode):
    for one in passed(Halves((0.25, 0.0, 1.0)), mode):
        close(one, torch.tensor([[0.125, 0.0, 0.5]]).expand(len(one), -1))


@pytest.mark.parametrize("mode", MODES)
def test_nothing_passes_where_all_is_frozen(mode):
    for one in passed(Halves((0.0, 0.0, 0.0)), mode):
        assert not one.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["sgd", "frozen", "constrained-0.1", "algorithm-1"])
def test_a_strategy_that_corrects_nothing_has_no_such_number(name, mode):
    assert passed(BUILTIN[name], mode) == []


def test_it_is_of_the_gradient_over_evenly_spaced_images_at_the_tasks_start(monkeypatch):
    """Written out again: the first task's first gradient, of every third of 40 images."""

    @dataclass(frozen=True)
    class Signs(Strategy):
        name: ClassVar[str] = "signs"

        def correct(self, task, gradient, parameters, memory):
            return {name: 0.01 * value.sign() for name, value in gradient.items()}

    cohort = tiny_cohort("MLP", SEEDS[:1])
    count = cohort.train[0].count
    monkeypatch.setattr(engine, "PASSED_OVER", -(-count // 3))
    data = cohort.train[0]
    rows = range(0, count, 3)
    parameters = {name: value[0].requires_grad_() for name, value in cohort.initial.items()}
    images = cohort.scaling(data.images, cohort.dtype)[0, rows]
    logits = cohort.network.logits(parameters, images)
    logits = logits.masked_fill(~cohort.allowed(data, 1)[0, rows], -torch.inf)
    torch.nn.functional.cross_entropy(logits, data.labels[0, rows]).backward()
    expected = []
    for block in cohort.network.blocks:
        slopes = [parameters[name].grad.double() for name in block.parameters]
        along = sum(0.01 * one.abs().sum() for one in slopes)
        expected.append(along / sum(one.square().sum() for one in slopes))
    found = engine.run(tiny_cohort("MLP", SEEDS[:1]), Signs(), "loop").passed[0]
    torch.testing.assert_close(found, torch.stack(expected)[None], rtol=1e-4, atol=0.0)


def test_it_is_the_same_alone_as_among_learners_that_train_other_blocks():
    seeds = tuple(range(6))
    together = passed(Turns(), "vmap", seeds=seeds)
    assert {bool(one) for one in together[0][:, 0] > 0} == {True, False}
    for position, seed in enumerate(seeds):
        (first, *_) = passed(Turns(), "loop", seeds=(seed,))
        torch.testing.assert_close(together[0][position], first[0], rtol=1e-4, atol=1e-6)


@dataclass(frozen=True)
class Faint(Halves):
    """Its loss is too small for squares of its gradient in single precision."""

    name: ClassVar[str] = "faint"

    def loss(self, task, examples, parameters, memory):
        return 1e-26 * task.loss(parameters, examples)


@pytest.mark.parametrize("mode", MODES)
def test_a_faint_gradient_is_a_gradient(mode):
    cohort = tiny_cohort("MLP", MODES[mode])
    cohort = replace(cohort, initial={k: v.float() for k, v in cohort.initial.items()})
    for one in engine.run(cohort, Faint(), mode).passed:
        close(one, torch.full_like(one, 0.5))


@dataclass(frozen=True)
class Flat(Halves):
    name: ClassVar[str] = "flat"

    def loss(self, task, examples, parameters, memory):
        return 0.0 * task.loss(parameters, examples)


@pytest.mark.parametrize("mode", MODES)
def test_without_a_gradient_it_is_the_share(mode):
    for one in passed(Flat((0.25, 0.0, 1.0)), mode):
        close(one, torch.tensor([[0.25, 0.0, 1.0]]).expand(len(one), -1))


@dataclass(frozen=True)
class Overwrites(Halves):
    """It makes its batch its own, which is harmless as long as a batch is a copy."""

    name: ClassVar[str] = "overwrites"

    def loss(self, task, examples, parameters, memory):
        examples.images.mul_(0.5)
        return task.loss(parameters, examples)


def test_what_a_hook_does_to_its_batch_does_not_reach_the_task():
    assert passed(Overwrites(), "loop")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strategy", [Halves((0.5, 0.0, 1.0)), Turns(), BUILTIN["hybrid"]])
def test_looking_changes_neither_training_nor_counts(outcome_of, strategy, mode, monkeypatch):
    seen = outcome_of(tiny_cohort("MLP", MODES[mode]), strategy, mode)
    monkeypatch.setattr(engine, "_passed", lambda *_: None)
    unseen = outcome_of(tiny_cohort("MLP", MODES[mode]), strategy, mode)
    assert len(seen.pop("passed")) > 1
    assert unseen.pop("passed") == []
    torch.testing.assert_close(seen, unseen, rtol=0, atol=0)


# From here on: records.


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Return a function that trains a sequence with some seeds and returns its records."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def measure(sequence, strategy, seeds):
        setting = Setting(sequence, seeds, "test", None, "cpu")
        return Cells().measure(setting, load_strategy(strategy), 9, lambda: None)

    yield measure
    prepare.cache_clear()


def test_hybrid_passes_more_of_unrelated_tasks_than_of_equal_ones(measured):
    """On average over later tasks and blocks 0.02 of equal tasks passes, 0.18 of unrelated ones."""

    def mean(name):
        found = measured(registered()[name], "hybrid", (0,))[0].passed
        assert found[0] == pytest.approx([1.0] * 3, abs=1e-6)  # the first task is free
        return sum(map(sum, found[1:])) / sum(map(len, found[1:]))

    assert 4 * mean("digits-repeat") < mean("digits-permuted")


TINY = TaskSequence(
    name="tiny",
    description="",
    source="digits",
    scenario=Relabelled(2, 5),
    network="mlp-8x1",
    train_per_class=4,
    test_per_class=4,
    training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
)

FILE = """
import torch
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"

    def correct(self, task, gradient, parameters, memory):
        return {name: FACTOR * value for name, value in gradient.items()}
"""


@pytest.fixture
def of_factor(measured, tmp_path):
    """Return a function that returns the record of a strategy that scales its gradient."""

    def record(factor, sequence=TINY):
        file = tmp_path / "mine.py"
        file.write_text(FILE.replace("FACTOR", factor))
        return measured(sequence, str(file), (0,))[0]

    return record


def test_a_record_has_six_digits_of_it(of_factor):
    assert of_factor("(1 / 3)").passed == ((0.333333, 0.333333), (0.333333, 0.333333))


def test_from_where_a_seed_diverged_it_is_zero(of_factor):
    record = of_factor("(0.25 if task.index == 0 else 1e30)")
    assert record.diverged_at == 1
    assert record.passed == ((0.25, 0.25), (0.0, 0.0))


def test_a_record_tells_nothing_of_a_part_that_is_not_finite(of_factor, monkeypatch):
    """The gradient that is looked at is of other images than those of any step."""
    monkeypatch.setattr(engine, "_passed", lambda task, hooks, plan, *_: torch.nan * plan.share)
    record = of_factor("0.5")
    assert (record.status, record.passed) == ("finished", UNSET)


def test_a_record_of_sgd_does_not_have_it(measured):
    assert measured(TINY, "sgd", (0,))[0].passed is UNSET

"""Counted operations: against torch's own counter, closed forms, and from mode to mode."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from driftboard.strategies import Strategy
from driftboard.strategies.algorithm_1 import AlgorithmOne
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.tiny import IMAGES, NETWORKS, SHAPE, TRAINING, UNITS, tiny_cohort
from driftboard.suite.loading import load_strategy
from driftboard.suite.runs.cells import Cells
from driftboard.suite.sequences.registry import registered
from driftboard.suite.training import engine
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.compute import count_operations
from driftboard.suite.training.networks import initial_parameters
from driftboard.suite.training.operations import CountedOperations, per_learner

SEEDS = (0, 1, 2)


def ones(*shape):
    return torch.ones(shape, requires_grad=True)


def counted(function, *given):
    with CountedOperations() as counter:
        function(*given)
    return counter.total


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (torch.mm, [(2, 3), (3, 5)], 60),
        (torch.matmul, [(4, 2, 3), (4, 3, 5)], 240),
        (torch.matmul, [(4, 2, 3), (3, 5)], 240),
        (torch.mv, [(2, 3), (3,)], 12),
        (torch.dot, [(3,), (3,)], 6),
        (F.linear, [(2, 3), (5, 3), (5,)], 60),
        (torch.addmv, [(2,), (2, 3), (3,)], 12),
        (torch.add, [(2, 3), (2, 3)], 0),
        (torch.outer, [(2,), (3,)], 0),
        (lambda a: a.sum(), [(2, 3)], 0),
        (F.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3)], 2 * 2 * 9 * (4 * 3 * 9)),
        (
            lambda a, b: F.conv2d(a, b, groups=2),
            [(2, 4, 5, 5), (6, 2, 3, 3)],
            2 * 2 * 9 * 6 * 2 * 9,
        ),
        (F.conv_transpose2d, [(2, 3, 5, 5), (3, 4, 3, 3)], 2 * 2 * 25 * (3 * 4 * 9)),
    ],
)
def test_products_are_counted_and_nothing_else(function, given, expected):
    assert counted(function, *(ones(*shape).detach() for shape in given)) == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda: F.linear(ones(7, 3), ones(5, 3), ones(5)),
        lambda: ones(4, 2, 3) @ ones(4, 3, 5),
        lambda: F.conv2d(ones(2, 3, 8, 8), ones(4, 3, 3, 3), ones(4), stride=2, padding=1),
        lambda: F.conv_transpose2d(ones(2, 3, 4, 4), ones(3, 4, 3, 3), stride=2),
        lambda: F.conv2d(torch.ones(2, 3, 8, 8), ones(4, 3, 3, 3)),  # no gradient of the images
        lambda: F.scaled_dot_product_attention(*(ones(2, 4, 6, 8) for _ in range(3))),
    ],
)
def test_forward_and_backward_are_counted_as_torchs_own_counter_does(function):
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as theirs:
            function().sum().backward()
        assert counted(lambda: function().sum().backward()) == theirs.get_total_flops() > 0


def test_a_grouped_convolution_is_the_sum_of_its_groups():
    """Torch's own counter takes the gradient of the weights for more, by the number of groups."""

    def step(channels, groups):
        images, weights = ones(2, channels, 6, 6), ones(channels, channels // groups, 3, 3)
        F.conv2d(images, weights, groups=groups).sum().backward()

    assert counted(step, 8, 4) == 4 * counted(step, 2, 1)


@pytest.mark.parametrize("backend", ["MATH", "FLASH_ATTENTION"])
def test_attention_is_the_same_whatever_computes_it(backend):
    def step():
        F.scaled_dot_product_attention(*(ones(2, 4, 6, 8) for _ in range(3))).sum().backward()

    with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
        assert counted(step) == 3 * (2 * 2 * 4 * 6 * 6 * 8) * 2


def test_inference_mode_hides_nothing():
    with torch.inference_mode():
        assert counted(F.linear, torch.ones(2, 3), torch.ones(5, 3), torch.ones(5)) == 60


@pytest.mark.parametrize(("total", "expected"), [(0, 0), (9, 3), (10, 4)])
def test_per_learner(total, expected):
    assert per_learner(total, 3) == expected


# In runs.


def cohort_of(network, seeds):
    cohort = tiny_cohort(network if network in NETWORKS else "convolutions", seeds)
    if network in NETWORKS:
        return cohort
    found = [initial_parameters(network, SHAPE, UNITS, seed) for seed in seeds]
    initial = {name: torch.stack([one[name] for _, one in found]) for name in found[0][1]}
    return replace(cohort, network=found[0][0], initial=initial)


def operations(network, strategy, mode, seeds):
    return engine.run(cohort_of(network, seeds), strategy, mode).operations


@dataclass(frozen=True)
class OwnLoss(Strategy):
    """Takes autograd's path in place of the closed form of the stacked MLP."""

    name = "own-loss"

    def loss(self, task, examples, parameters, memory):
        return super().loss(task, examples, parameters, memory)


FORMS = {
    **BUILTIN,
    **FURTHER,
    "own-loss": OwnLoss(),
    "ewc-separate": Ewc(separate=True),
    "ewc-sampled": Ewc(labels="sampled"),
    "ewc-batch": Ewc(labels="batch"),
    "algorithm-1-mixed": AlgorithmOne(related=0.3, anchor="initial"),
}


CASES = [(network, name) for network in NETWORKS for name in FORMS]
CASES += [("resnet9-w8", name) for name in ("ewc", "hybrid", "joint", "algorithm-1-mixed")]


@pytest.mark.parametrize(("network", "name"), CASES)
def test_a_learner_has_the_same_number_alone_and_among_others(name, network):
    together = operations(network, FORMS[name], "vmap", SEEDS)
    alone = [operations(network, FORMS[name], "loop", (seed,)) for seed in SEEDS]
    assert together == [tuple(one[task][0] for one in alone) for task in range(len(together))]


def test_learners_with_other_plans_have_other_numbers():
    found = operations("MLP", FORMS["algorithm-1-mixed"], "vmap", SEEDS)
    assert len(set(found[1])) > 1


def test_plain_training_of_an_mlp_by_hand():
    """Forward, gradient of the weights, and of the inputs, which the first layer needs not."""
    sizes = [SHAPE[1] * SHAPE[2], 6, 6, UNITS]
    products = [one * other for one, other in pairwise(sizes)]
    step = 2 * TRAINING.batch_size * (2 * products[0] + 3 * sum(products[1:]))
    steps = max(IMAGES // TRAINING.batch_size, TRAINING.minimum_steps)
    for strategy in (Sgd(), OwnLoss()):
        assert operations("MLP", strategy, "vmap", SEEDS) == [(steps * step,) * 3] * 3


@pytest.mark.parametrize("name", ["constrained-0.1", "constrained-0.3", "constrained-first-0.1"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_smaller_step_is_the_same_work(name, network):
    """Of strategies that do the same work a board must not say that one is cheaper."""
    plain = operations(network, BUILTIN["sgd"], "loop", (0,))
    assert operations(network, BUILTIN[name], "loop", (0,)) == plain


def test_what_is_frozen_is_not_counted():
    head = 2 * TRAINING.batch_size * (25 * 6 + 6 * 6 + 2 * 6 * UNITS)

    @dataclass(frozen=True)
    class HeadOnly(Strategy):
        name = "head-only"

        def begin(self, task, parameters, memory):
            plan = task.everything()
            share = task.last_blocks(1).to(plan.share.dtype)
            return replace(plan, share=share), memory

    assert operations("MLP", HeadOnly(), "loop", (0,)) == [(4 * head,)] * 3
    first, *later = operations("MLP", BUILTIN["noop"], "vmap", SEEDS)
    assert later == [(0, 0, 0)] * 2
    assert min(first) > 0


def test_begin_and_finish_are_counted_once_and_steps_as_often_as_they_are_taken():
    class Multiplying(Strategy):
        name = "multiplying"

        def begin(self, task, parameters, memory):
            return task.everything(), {"m": task.noise[:2, None] @ task.noise[None, :3]}

        def constrain(self, task, parameters, memory):
            _ = memory["m"] @ memory["m"].T
            return parameters

        def finish(self, task, parameters, memory):
            _ = memory["m"].T @ memory["m"]
            return parameters, memory

    plain = operations("MLP", Sgd(), "loop", (0,))[0][0]
    found = operations("MLP", Multiplying(), "loop", (0,))[0][0]
    assert found - plain == 2 * (2 * 3) + 4 * 2 * (2 * 3 * 2) + 2 * (3 * 2 * 3)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_counting_changes_no_bit(network, mode, monkeypatch, outcome_of):
    cohort = tiny_cohort(network, (0,) if mode == "loop" else SEEDS)
    for strategy in (Ewc(), FORMS["algorithm-1-mixed"]):
        found = outcome_of(cohort, strategy, mode)
        with monkeypatch.context() as patch:
            patch.setattr(CountedOperations, "__enter__", lambda self: self)
            patch.setattr(CountedOperations, "__exit__", lambda self, *_: None)
            plain = outcome_of(cohort, strategy, mode)
        assert plain.pop("operations") == [(0,) * len(cohort.train[0].labels)] * 3
        assert max(found.pop("operations")[0]) > 0
        torch.testing.assert_close(found, plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", BUILTIN | FURTHER)
def test_a_count_without_training_is_that_of_a_run(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    setting = Setting(registered()["digits-overlap-50"], (0, 1), "test", None, "cpu")
    loaded = load_strategy(name)
    for record in Cells().measure(setting, load_strategy(name), 9, lambda: None):
        one = replace(setting, seeds=(record.seed,))
        assert count_operations(one, loaded.strategy, record.plans) == record.operations
        if not name.startswith("algorithm-1"):  # whose plans follow from what it has learned
            assert count_operations(one, loaded.strategy) == record.operations


def test_linear_sequences_count_nothing():
    setting = Setting(registered()["linear-few-50"], (0,), "test", None, "cpu")
    assert count_operations(setting, Sgd()) is None
    (record,) = Cells().measure(setting, load_strategy("sgd"), 1, lambda: None)
    assert record.operations is None

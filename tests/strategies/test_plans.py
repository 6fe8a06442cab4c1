"""Every strategy's plan by value, and what the scalar hybrid and the constrained family compute."""

import math
import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import grad
from torch.utils._pytree import tree_map

from driftboard.strategies import Examples, Step, Strategy, overrides
from driftboard.strategies.algorithm_1 import AlgorithmOne, relation
from driftboard.strategies.bounds import FrozenReset
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.constrained import Constrained
from driftboard.strategies.frozen import Frozen
from driftboard.strategies.hybrid_scalar import HybridScalar
from driftboard.strategies.initialized import Initialized
from driftboard.strategies.magnitude import Ball, Fraction
from driftboard.strategies.task_specific import share_of_blocks
from driftboard.strategies.template import MyMethod

EXACT = {"rtol": 1e-10, "atol": 1e-13}


def chain(blocks):
    """Linear layers in a row, ``blocks`` of them; the last one is the head of 4 units."""
    hidden = [layer for _ in range(blocks - 1) for layer in (nn.Linear(6, 6), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(6, 4))


@pytest.fixture
def small_task(make_task):
    """Return a function that makes a task of a network with a number of blocks."""

    def make(blocks=3, **settings):
        return make_task(chain(blocks), shape=(6,), units=4, **settings)

    return make


def plan(strategy, task, memory=None):
    found, _ = strategy.begin(task, task.initial, memory or {})
    assert found.restart.dtype == torch.bool
    assert found.share.dtype == torch.float32
    return found.share.tolist(), found.restart.tolist()


SHARES = {"0": 0.0, "1": 1.0, "t": 0.1, "T": 0.3, "x": 0.05}


def later(share, restart):
    """Return a plan written with one character per block; the shares' are in SHARES."""
    return [pytest.approx(SHARES[c], rel=1e-7, abs=0) for c in share], [c == "1" for c in restart]


@pytest.mark.parametrize("blocks", [3, 10])
@pytest.mark.parametrize("name", BUILTIN)
def test_the_first_task_trains_everything_and_restarts_nothing(small_task, name, blocks):
    assert plan(BUILTIN[name], small_task(blocks)) == later("1" * blocks, "0" * blocks)


@pytest.mark.parametrize(
    ("strategy", "three", "ten"),
    [
        (BUILTIN["sgd"], ("111", "000"), ("1111111111", "0000000000")),
        (BUILTIN["ewc"], ("111", "000"), ("1111111111", "0000000000")),
        (BUILTIN["frozen"], ("011", "000"), ("0000011111", "0000000000")),
        (BUILTIN["initialized"], ("111", "011"), ("1111111111", "0000011111")),
        (BUILTIN["constrained-0.1"], ("ttt", "000"), ("tttttttttt", "0000000000")),
        (BUILTIN["constrained-0.3"], ("TTT", "000"), ("TTTTTTTTTT", "0000000000")),
        (BUILTIN["constrained-first-0.1"], ("t11", "000"), ("t111111111", "0000000000")),
        (BUILTIN["noop"], ("000", "000"), ("0000000000", "0000000000")),
        (BUILTIN["scratch"], ("111", "111"), ("1111111111", "1111111111")),
        (BUILTIN["frozen-reset"], ("011", "011"), ("0000011111", "0000011111")),
        (BUILTIN["joint"], ("111", "000"), ("1111111111", "0000000000")),
        (Frozen(0.25), ("001", "000"), ("0000000111", "0000000000")),
        (Frozen(0.01), ("001", "000"), ("0000000001", "0000000000")),
        (Frozen(1.0), ("111", "000"), ("1111111111", "0000000000")),
        (Initialized(0.3), ("111", "001"), ("1111111111", "0000000111")),
        (FrozenReset(0.7), ("111", "111"), ("0001111111", "0001111111")),
        (Constrained(share=0.0), ("000", "000"), ("0000000000", "0000000000")),
        (Constrained(first_block=0.0), ("011", "000"), ("0111111111", "0000000000")),
        (Constrained(share=0.1, first_block=0.5), ("xtt", "000"), ("xttttttttt", "0000000000")),
    ],
)
def test_later_tasks_follow_the_strategy(small_task, strategy, three, ten):
    assert plan(strategy, small_task(3, index=1)) == later(*three)
    assert plan(strategy, small_task(10, index=1)) == later(*ten)


@given(count=st.integers(1, 200), data=st.data())
def test_a_share_of_blocks_that_is_a_whole_number_is_exact(count, data):
    number = data.draw(st.integers(1, count))
    assert share_of_blocks(number / count, count) == number
    assert share_of_blocks((number - 0.5) / count, count) == number


def test_a_share_of_blocks_is_not_rounded_up_by_floating_point():
    assert 0.07 * 100 > 7
    assert share_of_blocks(0.07, 100) == 7


# Algorithm 1


def shared_gradient(task, parameters):
    """The gradient of the mean loss with respect to all blocks but the head, by autograd."""
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    shared = [name for block in task.network.blocks[:-1] for name in block.parameters]
    logits = task.network.logits(leaves, task.examples.images)
    units = task.classes.nonzero().flatten()
    target = (task.examples.labels[:, None] == units).long().argmax(1)
    loss = nn.functional.cross_entropy(logits[:, units], target)
    gradients = torch.autograd.grad(loss, [leaves[name] for name in shared])
    return dict(zip(shared, gradients, strict=True))


def flat(gradient):
    return np.concatenate([value.numpy().ravel() for value in gradient.values()])


def two_tasks(small_task, blocks=3, seeds=(0, 1)):
    """Two tasks with classes of their own, and what training made of the first."""
    first = small_task(blocks, classes=[0, 1], index=0, seed=seeds[0])
    second = small_task(blocks, classes=[2, 3], index=1, seed=seeds[1])
    trained = {name: value + 0.3 * value.roll(1) for name, value in first.initial.items()}
    return first, second, trained


@pytest.mark.parametrize("anchor", ["initial", "current"])
def test_algorithm_1_scores_the_cosine_of_gradients_at_its_anchor(small_task, anchor):
    first, second, trained = two_tasks(small_task)
    strategy = AlgorithmOne(anchor=anchor)
    old = shared_gradient(first, first.initial)
    new = shared_gradient(second, second.initial if anchor == "initial" else trained)
    a, b = flat(old), flat(new)

    _, memory = strategy.begin(first, first.initial, {})
    torch.testing.assert_close(memory, {"gradient": old}, **EXACT)
    _, memory = strategy.begin(second, trained, memory)

    assert memory["score"].item() == pytest.approx(
        a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-9
    )
    torch.testing.assert_close(memory["gradient"], new, **EXACT)


def test_algorithm_1_scores_the_agreement_of_signs(small_task):
    first, second, _ = two_tasks(small_task)
    a = flat(shared_gradient(first, first.initial))
    b = flat(shared_gradient(second, second.initial))

    _, memory = AlgorithmOne(metric="sign", anchor="initial", threshold=0.5).begin(
        first, first.initial, {}
    )
    _, memory = AlgorithmOne(metric="sign", anchor="initial", threshold=0.5).begin(
        second, second.initial, memory
    )

    agree = np.sign(a) == np.sign(b)
    assert memory["score"].item() == pytest.approx(agree.mean() - (~agree).mean())


def test_relations_by_hand():
    one = {"a": torch.tensor([[3.0, 0.0]]), "b": torch.tensor([4.0])}
    other = {"b": torch.tensor([-1.0]), "a": torch.tensor([[2.0, 7.0]])}
    zero = {"a": torch.zeros(1, 2), "b": torch.zeros(1)}

    assert relation("cosine", one, one).item() == pytest.approx(1)
    assert relation("cosine", one, other).item() == pytest.approx(2 / (5 * 54**0.5))
    assert relation("sign", one, one).item() == 1
    assert relation("sign", one, other).item() == 0
    assert relation("cosine", one, zero).item() == 0
    assert relation("sign", one, zero).item() == 0


def test_algorithm_1_decides_on_each_side_of_its_threshold(small_task):
    first, second, _ = two_tasks(small_task, blocks=10)
    _, start = AlgorithmOne(anchor="initial").begin(first, first.initial, {})
    _, memory = AlgorithmOne(anchor="initial").begin(second, second.initial, start)
    score = memory["score"].item()

    def at(threshold):
        strategy = AlgorithmOne("cosine", threshold, 0.25, 0.8, "initial")
        return plan(strategy, second, start)

    assert at(score - 1e-6) == later("0000000111", "0000000000")
    assert at(score) == later("0000000111", "0000000000")
    assert at(score + 1e-6) == later("0011111111", "0000000000")


def test_algorithm_1_decides_per_learner(small_task, map_learners):
    pairs = [two_tasks(small_task, seeds=seeds) for seeds in ((0, 1), (2, 3), (4, 5))]
    starts = [
        AlgorithmOne(anchor="initial").begin(first, first.initial, {})[1] for first, _, _ in pairs
    ]
    seconds = [second for _, second, _ in pairs]
    scores = [
        AlgorithmOne(anchor="initial").begin(second, second.initial, start)[1]["score"].item()
        for second, start in zip(seconds, starts, strict=True)
    ]
    low, middle, _ = sorted(scores)
    strategy = AlgorithmOne(threshold=(low + middle) / 2, anchor="initial")

    def shares(task, memory):
        found, memory = strategy.begin(task, task.initial, memory)
        return found.share, memory["score"]

    share, score = map_learners(shares, seconds, starts)

    expected = [[1.0] * 3 if score == low else [0.0, 1.0, 1.0] for score in scores]
    assert share.tolist() == expected
    assert score.tolist() == pytest.approx(scores)


# The scalar hybrid


def flat_gradient(task):
    """Return the gradient at the initialisation of everything before the head."""
    gradient = task.gradient(task.initial)
    head = task.network.blocks[-1].parameters
    return torch.cat([value.flatten() for name, value in gradient.items() if name not in head])


def test_the_scalar_hybrid_scores_the_cosine_with_all_earlier_gradients(small_task):
    tasks = [
        small_task(classes=classes, index=k) for k, classes in enumerate([[0, 1], [1, 2], [0, 3]])
    ]
    memory, scores = {}, []
    for task in tasks:
        _, memory = HybridScalar().begin(task, task.initial, memory)
        scores.append(memory.get("score"))
    assert scores[0] is None
    one, two, three = (flat_gradient(task).numpy() for task in tasks)

    def unit(vector):
        return vector / np.linalg.norm(vector)

    assert scores[1].item() == pytest.approx(unit(one) @ unit(two), rel=1e-9)
    assert scores[2].item() == pytest.approx(unit(unit(one) + unit(two)) @ unit(three), rel=1e-9)


@pytest.mark.parametrize(
    ("score", "fraction"), [(1.0, 0.2), (0.5, 0.5), (0.25, 0.65), (0.0, 0.8), (-0.7, 0.8)]
)
def test_the_scalar_hybrid_takes_the_less_of_an_update_the_more_gradients_agree(
    small_task, score, fraction
):
    first, second, trained = two_tasks(small_task)
    strategy = HybridScalar(share=0.5, related=0.2, unrelated=0.8)
    ours = flat_gradient(second) / flat_gradient(second).norm()
    other = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0), dtype=ours.dtype)
    other = other - (other @ ours) * ours
    earlier = score * ours + math.sqrt(1 - score**2) * other / other.norm()

    plan, memory = strategy.begin(second, first.initial, {"gradients": 3 * earlier})
    assert plan.share.tolist() == [0.5] * 3
    assert not plan.restart.any()
    solution, memory = strategy.finish(second, trained, memory)

    for name, value in solution.items():
        expected = (1 - fraction) * first.initial[name] + fraction * trained[name]
        torch.testing.assert_close(value, expected, **EXACT)
    assert memory.keys() == {"gradients", "score", "fraction"}


def test_the_scalar_hybrid_trains_the_first_task_as_sgd_does(small_task):
    first, _, trained = two_tasks(small_task)
    plan, memory = HybridScalar().begin(first, first.initial, {})
    assert plan.share.tolist() == [1.0] * 3
    assert HybridScalar().finish(first, trained, memory)[0] is trained


# Constrained


def distance(one, other):
    return sum((one[name] - other[name]).square().sum() for name in one).sqrt().item()


def test_shares_alone_need_no_memory(small_task):
    task = small_task(index=1)

    plan, memory = Constrained(share=0.3, first_block=0.5).begin(task, task.initial, {})

    assert plan.share.tolist() == pytest.approx([0.15, 0.3, 0.3])
    assert memory == {}


# Magnitudes


def begun(strategy, first, second, **memory):
    """Return the memory of a strategy that has gone through the first task, ending where it
    began, and has begun the second."""
    _, memory = strategy.begin(first, first.initial, dict(memory))
    _, memory = strategy.finish(first, first.initial, memory)
    return strategy.begin(second, first.initial, memory)[1]


def test_a_fraction_of_the_update_is_taken_from_the_second_task_on(small_task):
    first, second, trained = two_tasks(small_task)
    strategy = Fraction(fraction=0.25)

    memory = begun(strategy, first, second)
    assert strategy.finish(first, trained, memory)[0] is trained
    solution, memory = strategy.finish(second, trained, memory)

    for name, value in solution.items():
        torch.testing.assert_close(
            value, 0.75 * first.initial[name] + 0.25 * trained[name], **EXACT
        )


@pytest.mark.parametrize("index", [0, 1])
def test_a_constant_fraction_is_the_scalar_hybrid_whose_gradients_do_not_matter(small_task, index):
    first, second, trained = two_tasks(small_task)
    found = []
    for strategy in (
        Fraction(fraction=0.6, share=0.2),
        HybridScalar(share=0.2, related=0.6, unrelated=0.6),
    ):
        plan, memory = strategy.begin(first, first.initial, {})
        _, memory = strategy.finish(first, first.initial, memory)
        if index == 1:
            plan, memory = strategy.begin(second, first.initial, memory)
        solution, _ = strategy.finish((first, second)[index], trained, memory)
        found.append((plan, solution))
    (ours, solution), (theirs, wanted) = found
    assert ours.share.tolist() == theirs.share.tolist()
    assert ours.share.tolist() == pytest.approx([(1.0, 0.2)[index]] * 3)
    for name, value in solution.items():
        torch.testing.assert_close(value, wanted[name], **EXACT)


def test_a_magnitude_that_a_learner_brings_along_goes_before_the_strategys_own(small_task):
    first, second, trained = two_tasks(small_task)
    strategy = Fraction(fraction=0.25)

    memory = begun(strategy, first, second, magnitude=torch.tensor(0.5, dtype=torch.float64))
    solution, _ = strategy.finish(second, trained, memory)

    for name, value in solution.items():
        torch.testing.assert_close(value, (first.initial[name] + trained[name]) / 2, **EXACT)


def test_parameters_outside_the_ball_come_back_to_its_surface(small_task):
    first, second, trained = two_tasks(small_task)
    far = distance(trained, first.initial)
    strategy = Ball(radius=far / 3)

    inside = strategy.constrain(second, trained, begun(strategy, first, second))

    assert distance(inside, first.initial) == pytest.approx(far / 3, rel=1e-12)
    for name, value in inside.items():
        update = trained[name] - first.initial[name]
        torch.testing.assert_close(value - first.initial[name], update / 3, **EXACT)


def test_parameters_inside_the_ball_stay_bit_by_bit(small_task):
    first, second, trained = two_tasks(small_task)
    strategy = Ball(radius=1.01 * distance(trained, first.initial))
    memory = begun(strategy, first, second)

    for point in (trained, first.initial):
        found = strategy.constrain(second, point, memory)
        assert all(torch.equal(found[name], point[name]) for name in point)


def test_a_ball_of_radius_0_holds_its_centre_only(small_task):
    first, second, trained = two_tasks(small_task)
    strategy = Ball(radius=0.0)
    memory = begun(strategy, first, second)

    for point in (trained, first.initial):
        found = strategy.constrain(second, point, memory)
        assert all(torch.equal(found[name], first.initial[name]) for name in point)


def test_the_ball_does_not_bind_the_first_task_nor_change_the_solution(small_task):
    first, second, trained = two_tasks(small_task)
    strategy = Ball(radius=1e-3)

    _, memory = strategy.begin(first, first.initial, {})
    assert strategy.constrain(first, trained, memory) is trained
    assert strategy.finish(second, trained, memory)[0] is trained


# Template


def test_the_template_pulls_towards_the_last_solution(small_task):
    first, second, trained = two_tasks(small_task)
    gradient = second.gradient(trained)
    strategy = MyMethod(strength=0.5)

    assert strategy.correct(first, gradient, trained, {}) is gradient
    _, memory = strategy.finish(first, first.initial, {})
    corrected = strategy.correct(second, gradient, trained, memory)

    for name, value in corrected.items():
        added = 0.5 * (trained[name] - first.initial[name])
        torch.testing.assert_close(value - gradient[name], added, **EXACT)


# All of them


@pytest.mark.parametrize(
    "strategy",
    [
        *BUILTIN.values(),
        MyMethod(),
        Constrained(share=0.5, first_block=0.5),
        Fraction(),
        Ball(radius=0.5),
        AlgorithmOne(metric="sign", anchor="current"),
    ],
    ids=str,
)
def test_mapped_learners_equal_each_alone(small_task, map_learners, strategy):
    """Two tasks with all hooks, once mapped over three learners and once for each of them."""
    tasks = [
        small_task(classes=classes, index=0, seed=seed)
        for seed, classes in enumerate([[0, 1], [2, 3], [1, 3]])
    ]
    others = [small_task(classes=[0, 2], index=1, seed=seed).examples for seed in (3, 4, 5)]

    def of_one(task, images, labels):
        parameters, memory, plans = task.initial, {}, []
        for _ in range(2):
            found, memory = strategy.begin(task, parameters, memory)
            plans.append((found.share, found.restart))
            step = Step(torch.tensor(0), 1, torch.arange(len(task.examples.labels)))
            stepped = replace(task, step=step)
            loss_gradient = grad(strategy.loss, argnums=2)
            gradient = loss_gradient(stepped, task.examples, parameters, memory)
            gradient = strategy.correct(stepped, gradient, parameters, memory)
            parameters = {name: parameters[name] - gradient[name] for name in parameters}
            parameters = strategy.constrain(task, parameters, memory)
            parameters, memory = strategy.finish(task, parameters, memory)
            everyone = torch.ones_like(task.examples.allowed)
            task = replace(task, index=1, examples=Examples(images, labels, everyone))
        return plans, parameters, memory

    images = [part.images for part in others]
    labels = [part.labels for part in others]
    together = map_learners(of_one, tasks, images, labels)

    for number, (task, *data) in enumerate(zip(tasks, images, labels, strict=True)):
        found = tree_map(lambda value, k=number: value[k], together)
        torch.testing.assert_close(found, of_one(task, *data), **EXACT)


@pytest.mark.parametrize("strategy", [*BUILTIN.values(), MyMethod()], ids=str)
def test_every_strategy_says_what_it_is(strategy):
    assert re.fullmatch(r"[a-z0-9._-]+", strategy.name)
    assert strategy.summary.endswith(".")
    assert strategy.literature
    for field in fields(strategy):
        assert field.type in (bool, int, float, str)
        assert isinstance(field.default, field.type)


def test_names_belong_to_one_class_each():
    classes = {strategy.name: type(strategy) for strategy in [*BUILTIN.values(), MyMethod()]}
    assert len(set(classes.values())) == len(classes) == 35


def test_the_board_ranks_the_strategies_and_not_the_bounds():
    ranked = [name for name, strategy in BUILTIN.items() if strategy.role == "ranked"]
    assert ranked == [
        "sgd",
        "ewc",
        "ewc-implicit",
        "frozen",
        "initialized",
        "hybrid",
        "hybrid-diagonal",
        "hybrid-scalar",
        "soft-inputs",
        "merge-inputs",
        "gpm",
        "algorithm-1",
        "constrained-0.1",
        "constrained-0.3",
        "constrained-first-0.1",
        "fraction-0.6",
        "l2",
        "si",
        "mas",
        "lwf",
        "packnet",
        "slda",
        "wise-ft",
        "cofima",
        "stable-sgd",
        "slow-backbone",
        "lp-ft",
        "sam",
        "er",
        "er-500",
        "derpp",
        "a-gem",
        "gdumb",
    ]
    bounds = [name for name, strategy in BUILTIN.items() if strategy.role == "bound"]
    assert bounds == ["noop", "scratch", "frozen-reset", "joint"]
    assert [name for name in BUILTIN if BUILTIN[name].trains_on_all_tasks] == ["joint"]


def test_overridden_hooks_are_known():
    assert overrides(BUILTIN["ewc"], "correct")
    assert not overrides(BUILTIN["ewc"], "constrain")
    assert not overrides(Strategy(), "finish")


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        (Frozen, {"task_specific": 0.0}),
        (Frozen, {"task_specific": 1.1}),
        (Initialized, {"task_specific": 0.0}),
        (FrozenReset, {"task_specific": float("nan")}),
        (AlgorithmOne, {"metric": "angle"}),
        (AlgorithmOne, {"anchor": "start"}),
        (AlgorithmOne, {"threshold": 1.5}),
        (AlgorithmOne, {"related": 0.0}),
        (AlgorithmOne, {"unrelated": 2.0}),
        (HybridScalar, {"share": -0.1}),
        (HybridScalar, {"related": 1.1}),
        (HybridScalar, {"unrelated": float("nan")}),
        (Constrained, {"share": -0.1}),
        (Constrained, {"first_block": 1.1}),
        (Fraction, {"fraction": float("nan")}),
        (Ball, {"radius": -1.0}),
    ],
)
def test_settings_out_of_range_are_refused(strategy, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        strategy(**settings)

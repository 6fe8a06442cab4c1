"""What hooks can do since the interface's second version, by value: steps, batches, starts, own
optimisers, answers, declared memory, and hooks that are not mapped."""

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from driftboard.strategies import Examples, Strategy, UpdatePlan
from driftboard.strategies.base import EXAMPLES_AT_ONCE, Scaling
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import IMAGES, TRAINING, example_task, tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training import engine
from driftboard.suite.training.evaluation import Evaluation
from driftboard.suite.training.stored import images_in

MODES = ["loop", "vmap"]
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def ends(strategy, mode, network="MLP", seeds=(0,)):
    return learn(tiny_cohort(network, seeds), strategy, mode)


def same_ends(one, other, tolerance=EXACT):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.parameters, b.parameters, **tolerance)


@dataclass(frozen=True)
class Noting(Strategy):
    """Counts steps, and sums the numbers and the positions that it is told."""

    name: ClassVar[str] = "noting"

    def begin(self, task, parameters, memory):
        assert task.step is None
        zero = torch.zeros_like(task.key)
        fresh = {"count": zero, "numbers": zero, "positions": zero, "right": zero}
        return task.everything(), memory or fresh

    def observe(self, task, gradient, step, parameters, memory):
        at = task.step
        assert at.total == TRAINING.minimum_steps
        return {
            "count": memory["count"] + 1,
            "numbers": 10 * memory["numbers"] + at.number,
            "positions": memory["positions"] + at.positions.sum(),
            "right": memory["right"] + (at.positions < IMAGES).sum(),
        }


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_numbered_and_their_images_named(mode):
    memory = ends(Noting(), mode)[0].memory
    # Four steps of 8 of 24 images: an epoch has all once, and the next begins.
    assert memory["count"].tolist() == [4]
    assert memory["numbers"].tolist() == [123]
    assert memory["right"].tolist() == [32]
    assert memory["positions"] > sum(range(IMAGES))


@dataclass(frozen=True)
class Positions(Strategy):
    """Trains on the images that ``task.step.positions`` name, instead of the batch."""

    name: ClassVar[str] = "positions"

    def batch(self, task, examples, memory):
        at, own = task.step.positions, task.examples
        return Examples(own.images[at], own.labels[at], own.allowed[at])


@pytest.mark.parametrize("mode", MODES)
def test_positions_are_those_of_the_batch(mode):
    same_ends(ends(Positions(), mode), ends(Strategy(), mode), {"rtol": 0, "atol": 0})


@dataclass(frozen=True)
class Twice(Strategy):
    """Trains on every image of the batch twice, or does the same through the loss."""

    name: ClassVar[str] = "twice"
    by_loss: bool = False

    def batch(self, task, examples, memory):
        parts = (examples.images, examples.labels, examples.allowed)
        more = Examples(*(torch.cat([part, part[:3]]) for part in parts))
        return examples if self.by_loss else more

    def loss(self, task, examples, parameters, memory):
        if not self.by_loss:
            return super().loss(task, examples, parameters, memory)
        first = next(examples.slices(3))
        own, count = task.loss(parameters, examples), len(examples.labels)
        return (count * own + 3 * task.loss(parameters, first)) / (count + 3)


@dataclass(frozen=True)
class OnlyBatch(Strategy):
    name: ClassVar[str] = "only-batch"

    def batch(self, task, examples, memory):
        return Twice().batch(task, examples, memory)


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize("mode", MODES)
def test_a_batch_may_grow_with_and_without_the_closed_form(mode, network):
    expected = ends(Twice(by_loss=True), "loop", network)
    same_ends(ends(Twice(), mode, network), expected)
    same_ends(ends(OnlyBatch(), mode, network), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda e: (e.images, e.labels, e.allowed), "must return Examples"),
        (lambda e: Examples(e.images[:2], e.labels, e.allowed), "must return images of shape"),
        (lambda e: Examples(e.images, e.labels.float(), e.allowed), "must return labels of shape"),
        (lambda e: Examples(e.images, e.labels, e.allowed[:, :2]), "must return allowed of shape"),
        (lambda e: Examples(e.images[:0], e.labels[:0], e.allowed[:0]), "must return images"),
        (lambda e: Examples(e.images.tolist(), e.labels, e.allowed), "as tensors"),
    ],
)
def test_a_batch_of_another_kind_is_refused(mode, made, said):
    class Broken(Strategy):
        name = "broken"

        def batch(self, task, examples, memory):
            return made(examples)

    if mode == "vmap" and "tensors" in said:
        pytest.skip("vmap itself refuses .tolist()")
    with pytest.raises(StrategyError, match=said) as caught:
        ends(Broken(), mode)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class Halfway(Strategy):
    """Starts every later task half way between the initialisation and the last solution."""

    name: ClassVar[str] = "halfway"
    restart: bool = False

    def begin(self, task, parameters, memory):
        plan = task.everything()
        plan = replace(plan, restart=task.last_blocks(1 if self.restart else 0))
        if task.index == 0:
            return plan, memory
        start = {n: (value + task.initial[n]) / 2 for n, value in parameters.items()}
        return UpdatePlan(0 * plan.share, plan.restart, start), memory


@pytest.mark.parametrize("mode", MODES)
def test_training_starts_where_the_plan_says(mode):
    first, second, _ = ends(Halfway(), mode)
    initial = tiny_cohort("MLP", (0,)).initial
    for name, value in second.parameters.items():
        torch.testing.assert_close(value, (first.parameters[name] + initial[name]) / 2, **EXACT)


@pytest.mark.parametrize("mode", MODES)
def test_what_restarts_does_so_after_a_start_of_ones_own(mode):
    first, second, _ = ends(Halfway(restart=True), mode)
    cohort = tiny_cohort("MLP", (0,))
    rows = cohort.classes[1][0]
    halfway = (first.parameters["head.weight"] + cohort.initial["head.weight"]) / 2
    assert torch.equal(
        second.parameters["head.weight"][0, rows], cohort.initial["head.weight"][0, rows]
    )
    torch.testing.assert_close(
        second.parameters["head.weight"][0, ~rows], halfway[0, ~rows], **EXACT
    )


@pytest.mark.parametrize(
    "start",
    [lambda p: {}, lambda p: {"a": torch.zeros(1)}, lambda p: {**p, "head.bias": torch.ones(1)}],
)
def test_a_start_of_other_parameters_is_refused(start):
    class Broken(Strategy):
        name = "broken"

        def begin(self, task, parameters, memory):
            return replace(task.everything(), start=start(parameters)), memory

    with pytest.raises(StrategyError, match=r"begin\(\) must return"):
        ends(Broken(), "loop")


@dataclass(frozen=True)
class OwnMomentum(Strategy):
    """The protocol's optimiser, written as one's own."""

    name: ClassVar[str] = "own-momentum"

    def begin(self, task, parameters, memory):
        velocity = {name: torch.zeros_like(value) for name, value in parameters.items()}
        share = torch.where(task.last_blocks(1), 1.0, 0.5).to(task.noise.dtype)
        return replace(task.everything(), share=share), {"velocity": velocity}

    def update(self, task, gradient, parameters, memory):
        velocity = {n: TRAINING.momentum * memory["velocity"][n] + g for n, g in gradient.items()}
        return velocity, {"velocity": velocity}


class Halved(OwnMomentum):
    """The same plan under the protocol's own."""

    update = Strategy.update


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize("mode", MODES)
def test_an_optimiser_of_ones_own_moves_by_rate_and_share(mode, network):
    same_ends(ends(OwnMomentum(), mode, network), ends(Halved(), mode, network))


def test_an_optimiser_that_changes_the_memorys_shape_is_refused():
    class Broken(OwnMomentum):
        name = "broken"

        def update(self, task, gradient, parameters, memory):
            return gradient, {}

    with pytest.raises(StrategyError, match="same names, shapes and dtypes"):
        ends(Broken(), "loop")


@dataclass(frozen=True)
class Answering(Strategy):
    """Answers one unit above the network's, in the order of the units; says what it is told."""

    name: ClassVar[str] = "answering"

    def answer(self, query, parameters, memory):
        assert (query.task is None) == (not self.told)
        logits = query.network.logits(parameters, query.images)
        return logits if query.task is None else logits + 0.0 * query.task

    told: ClassVar[bool] = True


@pytest.mark.parametrize("mode", MODES)
def test_answers_are_the_strategys_own(mode):
    cohort = tiny_cohort("MLP", (0,))
    plain = engine.run(cohort, Strategy(), mode)
    same = engine.run(cohort, Answering(), mode)
    assert [row.tolist() for row in same.correct] == [row.tolist() for row in plain.correct]

    class Reversed(Strategy):
        name = "reversed"

        def answer(self, query, parameters, memory):
            return -query.network.logits(parameters, query.images)

    turned = engine.run(cohort, Reversed(), mode)
    assert torch.equal(turned.correct_untrained, plain.correct_untrained)
    for one, other in zip(plain.correct, turned.correct, strict=True):
        assert (one + other == IMAGES).all()  # two classes a task: the other one is right


@pytest.mark.parametrize("mode", MODES)
def test_the_task_is_told_only_where_the_units_tell_it_anyway(mode):
    cohort = tiny_cohort("MLP", (0,))
    everywhere = [torch.ones_like(one) for one in cohort.classes]
    untold = type("Untold", (Answering,), {"told": False})()
    for told, changes in (
        (True, {}),
        (False, {"class_incremental": True}),
        (False, {"classes": everywhere}),
    ):
        one = replace(cohort, **changes)
        strategy = Answering() if told else untold
        Evaluation(one, strategy, mode).after(one.initial, {}, 1)


def test_logits_of_another_shape_are_refused_with_the_line():
    class Broken(Strategy):
        name = "broken"

        def answer(self, query, parameters, memory):
            return query.network.logits(parameters, query.images)[:, :2]

    with pytest.raises(StrategyError, match=r"answer\(\) must return logits of shape \(24, 6\)"):
        ends(Broken(), "loop")


@dataclass(frozen=True)
class Keeping(Strategy):
    """Keeps the first images of every task, as bytes or as floats."""

    name: ClassVar[str] = "keeping"
    capacity: int = 4
    kept: int = 2
    as_bytes: bool = True
    stores: ClassVar[str] = "examples"

    def finish(self, task, parameters, memory):
        own = task.examples.images[: self.kept]
        own = task.scaling.to_bytes(own) if self.as_bytes else own
        return parameters, {"images": torch.cat([memory.get("images", own[:0]), own])}


def test_a_buffer_within_its_capacity_is_fine_and_counts_as_bytes():
    outcome = engine.run(tiny_cohort("MLP", (0, 1)), Keeping(capacity=6), "vmap")
    assert outcome.memory_bytes == [2 * 25, 4 * 25, 6 * 25]
    in_floats = engine.run(tiny_cohort("MLP", (0, 1)), Keeping(capacity=6, as_bytes=False), "vmap")
    assert in_floats.memory_bytes == [8 * 50, 8 * 100, 8 * 150]


def test_images_come_back_from_bytes_bit_for_bit():
    cohort = tiny_cohort("MLP", (0,))
    for dtype in (torch.float32, torch.float64):
        images = cohort.scaling(cohort.train[0].images, dtype)
        assert torch.equal(cohort.scaling.to_bytes(images), cohort.train[0].images)


@pytest.mark.parametrize(
    ("stores", "settings", "said"),
    [
        ("examples", {}, "its memory holds 6 images, more than its capacity=4"),
        (
            "parameters",
            {},
            "holds 2 images, or tensors of the shape of one; say stores =",
        ),
        (None, {}, "holds 2 images, or tensors"),
        ("nothing", {}, "holds 50 bytes, but stores says 'nothing'"),
        ("examples", {"capacity": 0}, "holds 2 images, more than its capacity=0"),
    ],
)
def test_a_memory_that_is_not_what_was_declared_is_refused(stores, settings, said):
    strategy = type("Declared", (Keeping,), {"stores": stores})(**settings)
    with pytest.raises(StrategyError, match=said):
        engine.run(tiny_cohort("MLP", (0,)), strategy, "loop")


@dataclass(frozen=True)
class Branching(Strategy):
    """Plain PyTorch: ``if``, ``.item()`` and boolean indexing, which ``vmap`` cannot map."""

    name: ClassVar[str] = "branching"
    vectorized: ClassVar[bool] = False

    def loss(self, task, examples, parameters, memory):
        logits = task.logits(parameters, examples)
        wrong = logits.argmax(-1) != examples.labels
        if wrong.any().item():
            return F.cross_entropy(logits[wrong], examples.labels[wrong])
        return task.loss(parameters, examples)


def test_hooks_that_cannot_be_mapped_are_trained_one_after_another(tmp_path):
    """Through the cells of a run, each learner with the bits that it has alone."""
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.runs.cells import Cells
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.training.cohort import Setting

    file = tmp_path / "branching.py"
    file.write_text(
        """
from dataclasses import dataclass
from typing import ClassVar
from torch.nn import functional as F
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Branching(Strategy):
    name: ClassVar[str] = "branching"
    vectorized: ClassVar[bool] = False

    def loss(self, task, examples, parameters, memory):
        logits = task.logits(parameters, examples)
        wrong = logits.argmax(-1) != examples.labels
        if wrong.any().item():
            return F.cross_entropy(logits[wrong], examples.labels[wrong])
        return task.loss(parameters, examples)
"""
    )
    loaded = load_strategy(str(file))
    settings = [
        Setting(registered()["digits-split"], seeds, "test", None, "cpu")
        for seeds in ((0, 1), (1,))
    ]
    together, alone = (Cells().measure(each, loaded, 2, lambda: None) for each in settings)
    assert [record.seed for record in together] == [0, 1]
    assert [record.environment.lane for record in together] == ["solo", "solo"]
    assert [record.environment.cohort for record in together] == [(0,), (1,)]
    assert together[1].correct == alone[0].correct
    with pytest.raises(StrategyError, match="raised"):
        engine.run(tiny_cohort("MLP", (0, 1)), Branching(), "vmap")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('stores: ClassVar[str] = "pictures"', "stores must be 'nothing', 'parameters' or"),
        ('stores: ClassVar[str] = "examples"', "needs an int field capacity"),
        ("vectorized: ClassVar[bool] = 1", "vectorized must be True or False, not 1"),
        (
            "def loss(self, task, batch): return 0",
            r"loss\(task, batch\) cannot be called as loss\(task, examples, parameters, memory\)",
        ),
        (
            "def observe(self, task, *, gradient, **rest): return {}",
            r"observe\(task, \*, gradient, \*\*rest\) cannot be called as observe\(task, gradient,",
        ),
        (
            "finish = None",
            r"finish is None, and must be a method finish\(task, parameters, memory\)",
        ),
    ],
)
def test_a_declaration_that_is_no_good_is_refused_when_it_is_read(
    tmp_path, strategy_text, line, said
):
    from driftboard.suite.loading import load_strategy

    file = tmp_path / "mine.py"
    text = strategy_text("mine", "return task.everything(), memory")
    file.write_text(text.replace("    turn: int = 1", f"    turn: int = 1\n    {line}"))
    with pytest.raises(StrategyError, match=said):
        load_strategy(str(file))


@pytest.mark.parametrize(
    "line",
    ["def loss(self, *given): return 0", "def loss(self, a, b, c, d, e=1): return 0"],
)
def test_hooks_may_name_their_arguments_as_they_like(tmp_path, strategy_text, line):
    from driftboard.suite.loading import load_strategy

    file = tmp_path / "mine.py"
    text = strategy_text("mine", "return task.everything(), memory")
    file.write_text(text.replace("    turn: int = 1", f"    turn: int = 1\n    {line}"))
    assert load_strategy(str(file)).stamp.name == "mine"


@pytest.mark.parametrize("name", ["sgd", "ewc", "hybrid"])
def test_strategies_of_the_first_version_do_what_they_did(name):
    """By bits, with hooks of the first version's signatures only."""
    strategy = BUILTIN[name]
    assert strategy.stores is None
    one, other = (ends(strategy, "vmap", seeds=(0, 1)) for _ in range(2))
    same_ends(one, other, {"rtol": 0, "atol": 0})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hook", ["correct", "update"])
def test_a_gradient_that_is_changed_in_place_is_refused(mode, hook):
    """Else the record would say that all of it passes, and ``observe`` would see another one."""

    def halved(self, task, gradient, parameters, memory):
        for value in gradient.values():
            value.mul_(0.5)
        return gradient if hook == "correct" else (gradient, memory)

    strategy = type("Halved", (Strategy,), {"name": "halved", hook: halved})()
    with pytest.raises(StrategyError, match=rf"{hook}\(\) changes gradient\['hidden1.weight'\]"):
        ends(strategy, mode)


@pytest.mark.parametrize("mode", MODES)
def test_parameters_of_another_type_are_refused_with_the_hook(mode):
    class Halved(Strategy):
        name = "halved"

        def finish(self, task, parameters, memory):
            return {name: value.half() for name, value in parameters.items()}, memory

    with pytest.raises(
        StrategyError, match=r"finish\(\) must return 'hidden1.weight' as .*float64"
    ):
        ends(Halved(), mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "hidden",
    [
        lambda images: images.flatten(1),
        lambda images: images.squeeze(1),
        lambda images: images.permute(1, 2, 3, 0),
        lambda images: images.flatten(),
        lambda images: images.flatten(1).mT.contiguous(),
    ],
)
def test_images_in_another_shape_are_found(mode, hidden):
    class Hiding(Strategy):
        name = "hiding"

        def finish(self, task, parameters, memory):
            kept = task.examples.images[:7]
            return parameters, {"statistics": hidden(kept), **parameters}

    with pytest.raises(StrategyError, match="holds 7 images"):
        ends(Hiding(), mode)


def test_every_one_of_many_images_is_found_and_no_other():
    """More images than are looked at together, kept in another order among as many others."""
    count = 2 * EXAMPLES_AT_ONCE + 3
    random = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, 1, 5, 5), generator=random, dtype=torch.uint8)
    others = torch.randint(0, 256, (count, 1, 5, 5), generator=random, dtype=torch.uint8)
    order = torch.randperm(2 * count, generator=random)
    scaling = Scaling(torch.full((1, 1, 1), 0.4), torch.full((1, 1, 1), 0.2))
    for form in (Tensor.double, lambda part: part / 255, scaling):
        kept = form(torch.cat([images, others]))[order].flatten(1)
        assert images_in({"kept": kept[None]}, images, scaling) == count
        assert images_in({"kept": form(others).flatten(1)[None]}, images, scaling) == 0


def test_a_replay_that_counts_its_images_under_another_shape_is_found():
    class Sly(Keeping):
        name = "sly"

        def finish(self, task, parameters, memory):
            parameters, kept = super().finish(task, parameters, memory)
            return parameters, {"images": kept["images"].flatten(1)}

        def begin(self, task, parameters, memory):
            memory = {n: v.reshape(-1, 1, 5, 5) for n, v in memory.items()}
            return task.everything(), memory

    with pytest.raises(StrategyError, match="holds 9 images, more than its capacity=4"):
        ends(Sly(kept=9), "loop")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["parameters", "memory"])
def test_an_answer_that_changes_what_training_goes_on_from_is_refused(mode, what):
    class Adapting(Strategy):
        name = "adapting"

        def finish(self, task, parameters, memory):
            return parameters, {"sum": torch.zeros_like(task.noise[0])}

        def answer(self, query, parameters, memory):
            logits = query.network.logits(parameters, query.images)
            if what == "memory":
                memory["sum"].add_(1.0)
            else:
                parameters["head.bias"].add_(logits.mean(0))
            return logits

    with pytest.raises(StrategyError, match=rf"answer\(\) changes {what}\["):
        engine.run(tiny_cohort("MLP", (0,)), Adapting(), mode)


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_cannot_change_which_units_may_answer(mode):
    class Forbidding(Strategy):
        name = "forbidding"

        def answer(self, query, parameters, memory):
            query.allowed.fill_(False)
            return query.network.logits(parameters, query.images)

    cohort = tiny_cohort("MLP", (0,), True)
    found = engine.run(cohort, Forbidding(), mode)
    plain = engine.run(cohort, Strategy(), mode)
    assert [row.tolist() for row in found.correct] == [row.tolist() for row in plain.correct]


@pytest.mark.parametrize("mode", MODES)
def test_a_memory_that_a_step_changes_in_place_is_refused(mode):
    class Counting(Strategy):
        name = "counting"

        def begin(self, task, parameters, memory):
            return task.everything(), {"count": torch.zeros_like(task.noise[0])}

        def batch(self, task, examples, memory):
            memory["count"].add_(1.0)
            return examples

        def observe(self, task, gradient, step, parameters, memory):
            return {"count": memory["count"] + 0}

    with pytest.raises(StrategyError, match=r"changes memory\['count'\] in place"):
        ends(Counting(), mode)


def test_a_block_that_only_some_learners_freeze_has_no_part_in_an_optimiser_of_ones_own():
    """The direction of a gradient of zero is not a number."""

    class Direction(Strategy):
        name = "direction"

        def begin(self, task, parameters, memory):
            frozen = task.noise[0] < 0.5  # differs between learners
            share = torch.where(task.last_blocks(2), 1.0, 1.0 - frozen.to(task.noise.dtype))
            return UpdatePlan(share, task.last_blocks(0)), memory

        def update(self, task, gradient, parameters, memory):
            return {name: value / value.norm() for name, value in gradient.items()}, memory

    seeds = tuple(range(6))
    together = ends(Direction(), "vmap", seeds=seeds)
    assert 0 < (together[0].share[:, 0] == 0).sum() < len(seeds)
    for seed in seeds:
        alone = ends(Direction(), "loop", seeds=(seed,))
        for both, single in zip(together, alone, strict=True):
            for name, value in single.parameters.items():
                torch.testing.assert_close(both.parameters[name][seed], value[0], **EXACT)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (lambda e: e.labels + 50, "must return labels from 0 to 5"),
        (lambda e: (e.labels + 1) % 6, "allowed units that hold every example's label"),
    ],
)
def test_labels_that_cannot_be_answered_are_refused(mode, labels, said):
    class Relabelling(Strategy):
        name = "relabelling"

        def batch(self, task, examples, memory):
            return Examples(examples.images, labels(examples), examples.allowed)

    with pytest.raises(StrategyError, match=said):
        ends(Relabelling(), mode)


def test_what_passes_is_of_the_loss_on_the_batch_as_it_is_made():
    class Doubling(Strategy):
        name = "doubling"

        def batch(self, task, examples, memory):
            return Twice().batch(task, examples, memory)

        def loss(self, task, examples, parameters, memory):
            assert len(examples.labels) in (TRAINING.batch_size + 3, IMAGES + 3)
            return task.loss(parameters, examples)

        def correct(self, task, gradient, parameters, memory):
            return {name: 0.5 * value for name, value in gradient.items()}

    outcome = engine.run(tiny_cohort("MLP", (0,)), Doubling(), "loop")
    torch.testing.assert_close(outcome.passed[0][0], torch.full((3,), 0.5, dtype=torch.float64))


def test_the_advice_where_a_value_is_asked_for_names_both_ways_out():
    with pytest.raises(StrategyError) as caught:
        ends(Branching(), "vmap", seeds=(0, 1))
    message = str(caught.value)
    assert "decide with torch.where, or set vectorized = False" in message
    assert "github" not in message


# Extra parameters.


@dataclass(frozen=True)
class Adapted(Strategy):
    """Adds the product of two trained factors to the first layer, and two trained shifts."""

    name: ClassVar[str] = "adapted"
    freeze: bool = False

    def begin(self, task, parameters, memory):
        plan = task.everything()
        share = 0 * plan.share if self.freeze else plan.share
        weight = parameters["hidden1.weight"]
        extra = {
            "out": task.normal("out", weight.shape[0], 2) / 5,
            "in": task.normal("in", 2, weight.shape[1]) / 5,
            "prompt": torch.zeros_like(task.examples.images[0]).flatten(),
        }
        return replace(plan, share=share, extra=extra), memory

    def loss(self, task, examples, parameters, memory):
        weight = parameters["hidden1.weight"] + parameters["out"] @ parameters["in"]
        images = examples.images + parameters["prompt"].view_as(examples.images[0])
        return task.loss({**parameters, "hidden1.weight": weight}, replace(examples, images=images))

    def finish(self, task, parameters, memory):
        kept = {name: parameters[name] for name in ("out", "in", "prompt")}
        return parameters, {f"{task.index}": kept} | memory


def _plainly(task, parameters, batches, freeze, rate, momentum):
    """Train one task of one learner with torch.optim, the factors among the parameters."""
    extra = Adapted().begin(task, parameters, {})[0].extra
    network = {n: v.clone().requires_grad_() for n, v in parameters.items()}
    more = {n: v.clone().requires_grad_() for n, v in extra.items()}
    moving = [*more.values(), *([] if freeze else network.values())]
    optimiser = torch.optim.SGD(moving, lr=rate, momentum=momentum)
    for rows in batches:
        own = task.examples
        weight = network["hidden1.weight"] + more["out"] @ more["in"]
        images = own.images[rows].flatten(1) + more["prompt"]
        hidden = (images @ weight.T + network["hidden1.bias"]).relu()
        hidden = (hidden @ network["hidden2.weight"].T + network["hidden2.bias"]).relu()
        logits = hidden @ network["head.weight"].T + network["head.bias"]
        logits = logits.masked_fill(~own.allowed[rows], -1e30)
        optimiser.zero_grad()
        F.cross_entropy(logits, own.labels[rows]).backward()
        optimiser.step()
    return tuple({n: v.detach() for n, v in one.items()} for one in (network, more))


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_extra_parameters_train_beside_the_networks(mode, freeze):
    seeds = (0,) if mode == "loop" else (0, 1)
    cohort = tiny_cohort("MLP", seeds)
    found = learn(cohort, Adapted(freeze), mode)
    for place, seed in enumerate(seeds):
        parameters = {name: value[place] for name, value in cohort.initial.items()}
        for index, end in enumerate(found):
            task = example_task(index, seed)
            alone = tiny_cohort("MLP", (seed,))
            batches = engine._batch_orders(alone, index, IMAGES)[:, 0]
            parameters, extra = _plainly(task, parameters, batches, freeze, 0.05, 0.9)
            assert end.parameters.keys() == parameters.keys()
            for name, value in parameters.items():
                torch.testing.assert_close(end.parameters[name][place], value, **EXACT)
            kept = {name: value[place] for name, value in end.memory[f"{index}"].items()}
            torch.testing.assert_close(kept, extra, **EXACT)


@dataclass(frozen=True)
class Unsound(Strategy):
    name: ClassVar[str] = "unsound"
    kind: str = "taken"

    def begin(self, task, parameters, memory):
        extra = {
            "taken": {"head.bias": parameters["head.bias"]},
            "numbers": {"a": 1.0},
            "dtype": {"a": torch.zeros(2)},
            "list": [torch.zeros(2)],
        }
        return replace(task.everything(), extra=extra[self.kind]), memory

    def loss(self, task, examples, parameters, memory):
        return task.loss(parameters, examples)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("taken", "gives an extra parameter 'head.bias', which the network has already"),
        ("numbers", "must return the extra 'a' as a tensor of torch.float64"),
        ("dtype", "must return the extra 'a' as a tensor of torch.float64"),
        ("list", "must return a plan whose extra is a dict of named tensors"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_unsound_extra_parameters_are_refused(mode, kind, message):
    with pytest.raises(StrategyError, match=re.escape(f"begin() {message} (task 1)")):
        ends(Unsound(kind), mode)


@dataclass(frozen=True)
class Unused(Strategy):
    name: ClassVar[str] = "unused"

    def begin(self, task, parameters, memory):
        return replace(task.everything(), extra={"a": torch.zeros_like(task.noise)}), memory


@pytest.mark.parametrize("mode", MODES)
def test_extra_parameters_that_no_loss_uses_are_refused(mode):
    with pytest.raises(StrategyError, match=r"no loss\(\) of this class makes use of them"):
        ends(Unused(), mode)

"""The engine by value: both modes, against plain loops, on a small cohort made by hand."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from driftboard.strategies import Strategy, UpdatePlan
from driftboard.strategies.algorithm_1 import AlgorithmOne
from driftboard.strategies.base import Scaling
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.constrained import Constrained
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.magnitude import Ball, Fraction
from driftboard.strategies.sgd import Sgd
from driftboard.suite.errors import StrategyError
from driftboard.suite.protocol import Training
from driftboard.suite.training import engine, evaluation
from driftboard.suite.training.cohort import TaskData
from driftboard.suite.training.hooks import Hooks
from driftboard.suite.training.networks import initial_parameters

SHAPE = (1, 3, 4)
UNITS = 6
NETWORK = "mlp-8x2"
SEEDS = (0, 1, 2)
TASKS = 3
COUNT = 23  # training images of a task
TRAINING = Training(epochs=2, batch_size=5, learning_rate=0.1, momentum=0.9, minimum_steps=10)
ONE_STEP = Training(epochs=1, batch_size=COUNT, learning_rate=0.1, minimum_steps=1)
MODES = ("loop", "vmap")
EXACT = {"rtol": 1e-9, "atol": 1e-9}


def make_cohort(seeds=SEEDS, *, tasks=TASKS, count=COUNT, training=TRAINING, dtype=torch.float64):
    """Random images that carry their own number, in [0, 256), in the first pixel.

    A task has two of the units, others for every seed. Test sets are longer than what is tested
    at once, of unequal length, and padded with images whose label is -1.
    """

    def part(name, task, seed, size):
        random = np.random.default_rng([seed, task, len(name)])
        images = random.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
        images[:, 0, 0, 0] = (np.arange(size) + task * count) % 256
        own = np.random.default_rng(seed).permutation(UNITS)[2 * task % UNITS :][:2]
        labels = random.choice(own, size)
        # so that there is something to learn
        images[:, 0, 1] = (images[:, 0, 1] // 2) + 100 * (labels == own.max())[:, None]
        active = np.isin(np.arange(UNITS), own)
        return images, labels, active

    def tested(seed):
        return 300 - 20 * seed

    def data(name, task):
        longest = max(tested(seed) for seed in seeds) if name == "test" else count
        rows = []
        for seed in seeds:
            size = tested(seed) if name == "test" else count
            images, labels, active = part(name, task, seed, size)
            padding = longest - size
            noise = np.random.default_rng(9).integers(0, 256, (padding, *SHAPE), dtype=np.uint8)
            rows.append(
                (
                    np.concatenate([images, noise]),
                    np.concatenate([labels, np.full(padding, -1)]),
                    np.broadcast_to(active, (longest, UNITS)),
                )
            )
        return TaskData(*(torch.from_numpy(np.stack(value)) for value in zip(*rows, strict=True)))

    learners = [initial_parameters(NETWORK, SHAPE, UNITS, seed) for seed in seeds]
    train = [data("train", task) for task in range(tasks)]
    return engine.Cohort(
        network=learners[0][0],
        initial={
            name: torch.stack([values[name] for _, values in learners]).to(dtype)
            for name in learners[0][1]
        },
        train=train,
        test=[data("test", task) for task in range(tasks)],
        classes=[one.active[:, 0] for one in train],
        scaling=Scaling(torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.29)),
        training=training,
        batch_orders=lambda task, size: [
            np.random.default_rng([seed, task, size, 77]) for seed in seeds
        ],
        strategy_noise=lambda task: [np.random.default_rng([seed, task, 78]) for seed in seeds],
    )


class Recording(Hooks):
    """The hooks of the engine, which also write down what they are given and return."""

    def begin(self, parameters, memory):
        self.trace = {"before": copied(parameters), "steps": [], "task": self._task}
        self.traces.append(self.trace)
        plan, memory = super().begin(parameters, memory)
        return plan, memory

    def losses_and_gradient(self, examples, parameters, memory, trained, step):
        self.trace["steps"].append((examples, copied(parameters)))
        return super().losses_and_gradient(examples, parameters, memory, trained, step)

    def correct(self, gradient, parameters, memory, step):
        result = super().correct(gradient, parameters, memory, step)
        self.trace.setdefault("corrected", []).append(copied(result))
        return result

    def finish(self, parameters, memory):
        result = super().finish(parameters, memory)
        self.trace["solution"], self.trace["memory"] = copied(result)
        return result


def copied(tree):
    return pytree.tree_map(lambda value: value.detach().clone(), tree)


@pytest.fixture
def train(monkeypatch):
    """Return a function that runs the engine and gives its outcome and one trace per task."""

    def run(cohort, strategy, mode="vmap"):
        traces = []
        recording = type("Recording", (Recording,), {"traces": traces})
        monkeypatch.setattr(engine, "Hooks", recording)
        return engine.run(cohort, strategy, mode), traces

    return run


def of_seed(tree, position):
    return pytree.tree_map(lambda value: value[position : position + 1], tree)


def assert_identical(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def numbers(examples):
    """The numbers that the images carry, shape (S, n)."""
    return (255 * (0.5 + 0.29 * examples.images[..., 0, 0, 0])).round().int()


def is_head(name):
    return name.startswith("head.")


# Besides those of the catalogue, the forms that its settings leave out.
STRATEGIES = {
    **BUILTIN,
    "ewc-separate": Ewc(strength=5.0, separate=True),
    "ewc-decay-sampled": Ewc(strength=5.0, decay=0.5, labels="sampled"),
    "fraction": Fraction(fraction=0.4),
    "ball": Ball(radius=0.2),
    "algorithm-1-sign": AlgorithmOne(metric="sign"),
    "algorithm-1-mixed": AlgorithmOne(threshold=0.0, related=0.3, anchor="initial"),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_stacked_learners_are_what_each_is_alone(train, name):
    outcome, traces = train(make_cohort(), STRATEGIES[name], "vmap")
    for position, seed in enumerate(SEEDS):
        alone, own = train(make_cohort((seed,)), STRATEGIES[name], "loop")
        for trace, single in zip(traces, own, strict=True):
            for key in ("solution", "memory"):
                torch.testing.assert_close(of_seed(trace[key], position), single[key], **EXACT)
        for key in ("correct", "correct_untrained", "finite"):
            assert_identical(of_seed(getattr(outcome, key), position), getattr(alone, key))
        for plan, single in zip(outcome.plans, alone.plans, strict=True):
            assert_identical(of_seed(plan.share, position), single.share)
            assert_identical(of_seed(plan.restart, position), single.restart)
        for key in ("update_norms", "solution_norms", "drift_norms"):
            torch.testing.assert_close(
                of_seed(getattr(outcome, key), position), getattr(alone, key), **EXACT
            )
        assert outcome.memory_bytes == alone.memory_bytes
    assert all(one.all() for one in outcome.finite)


def test_the_mixed_case_has_learners_with_different_plans(train):
    outcome, _ = train(make_cohort(), STRATEGIES["algorithm-1-mixed"])
    assert len(torch.unique(outcome.plans[1].share, dim=0)) == 2


def naive_sgd(cohort, learning_rate):
    """Train the first seed by a plain loop over torch's own optimiser and layers."""
    training = cohort.training
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, UNITS)
    ).double()
    with torch.no_grad():
        for value, first in zip(model.parameters(), cohort.initial.values(), strict=True):
            value.copy_(first[0])
    solutions, correct = [], []
    for task, data in enumerate(cohort.train):
        images = (data.images[0].double() / 255 - float(torch.tensor(0.5))) / float(
            torch.tensor(0.29)
        )
        others = [unit for unit in range(UNITS) if not cohort.classes[task][0, unit]]
        optimiser = torch.optim.SGD(
            model.parameters(), lr=learning_rate, momentum=training.momentum
        )
        count, size = data.count, training.batch_size
        random = cohort.batch_orders(task, count)[0]
        steps, wanted = 0, max(training.epochs * (count // size), training.minimum_steps)
        while steps < wanted:
            order = random.permutation(count)
            for start in range(0, count - size + 1, size):
                if steps == wanted:
                    break
                batch = torch.from_numpy(order[start : start + size])
                optimiser.zero_grad()
                logits = model(images[batch])
                logits[:, others] = -torch.inf
                F.cross_entropy(logits, data.labels[0][batch]).backward()
                optimiser.step()
                steps += 1
        solutions.append([value.detach().clone()[None] for value in model.parameters()])
        row = []
        for test in cohort.test:
            own = test.active[0, 0].nonzero()[:, 0]
            images = (test.images[0].double() / 255 - float(torch.tensor(0.5))) / float(
                torch.tensor(0.29)
            )
            answers = own[model(images)[:, own].argmax(dim=1)]
            row.append(int((answers == test.labels[0]).sum()))
        correct.append(row)
    return solutions, correct


@pytest.mark.parametrize("mode", MODES)
def test_sgd_is_the_plain_loop_over_torchs_optimiser(train, mode):
    cohort = make_cohort((1,))
    solutions, correct = naive_sgd(cohort, TRAINING.learning_rate)
    outcome, traces = train(cohort, Sgd(), mode)
    for trace, expected in zip(traces, solutions, strict=True):
        torch.testing.assert_close(
            list(trace["solution"].values()), expected, rtol=1e-10, atol=1e-10
        )
    assert [row[0].tolist() for row in outcome.correct] == correct


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_constant_share_is_sgd_at_a_share_of_the_learning_rate(train, share):
    @dataclass(frozen=True)
    class Share(Strategy):
        name = "share"

        def begin(self, task, parameters, memory):
            plan = task.everything()
            return UpdatePlan(share * plan.share, plan.restart), memory

    cohort = make_cohort()
    rate = float(torch.tensor(share)) * TRAINING.learning_rate  # shares are in single precision
    slower = replace(cohort, training=replace(TRAINING, learning_rate=rate))
    outcome, traces = train(cohort, Share())
    expected, own = train(slower, Sgd())
    for trace, single in zip(traces, own, strict=True):
        torch.testing.assert_close(trace["solution"], single["solution"], **EXACT)
    assert_identical(outcome.correct, expected.correct)


def test_every_block_moves_by_its_own_share_of_a_step(train):

    @dataclass(frozen=True)
    class Shares(Strategy):
        name = "shares"

        def begin(self, task, parameters, memory):
            plan = task.everything()
            return UpdatePlan(torch.tensor([0.25, 0.0, 0.75]), plan.restart), memory

    cohort = make_cohort(training=ONE_STEP, tasks=1)
    (full,), (part,) = (train(cohort, strategy)[1] for strategy in (Sgd(), Shares()))
    for share, block in zip((0.25, 0.0, 0.75), cohort.network.blocks, strict=True):
        for name in block.parameters:
            step = full["solution"][name] - full["before"][name]
            moved = part["solution"][name] - part["before"][name]
            torch.testing.assert_close(moved, share * step, **EXACT)
            assert step.any()


@pytest.mark.parametrize(
    "strategy", [Ewc(strength=0.0), Constrained(share=1.0)], ids=["ewc", "constrained"]
)
def test_a_strategy_at_its_neutral_setting_is_exactly_sgd(train, strategy):
    expected, own = train(make_cohort(), Sgd())
    outcome, traces = train(make_cohort(), strategy)
    for trace, single in zip(traces, own, strict=True):
        assert_identical(trace["solution"], single["solution"])
    assert_identical(outcome.correct, expected.correct)
    assert_identical(outcome.update_norms, expected.update_norms)


@pytest.mark.parametrize("mode", MODES)
def test_the_plain_loss_written_out_again_trains_like_sgd(train, mode):
    @dataclass(frozen=True)
    class Again(Strategy):
        name = "again"

        def loss(self, task, examples, parameters, memory):
            logits = task.network.logits(parameters, examples.images)
            allowed = logits.masked_fill(~examples.allowed, -torch.inf)
            right = allowed.log_softmax(dim=1).gather(1, examples.labels[:, None])
            return -right.mean()

    cohort = make_cohort((1,) if mode == "loop" else SEEDS)
    expected, own = train(cohort, Sgd(), mode)
    outcome, traces = train(cohort, Again(), mode)
    for trace, single in zip(traces, own, strict=True):
        torch.testing.assert_close(trace["solution"], single["solution"], **EXACT)
    assert_identical(outcome.correct, expected.correct)


@pytest.mark.parametrize("mode", MODES)
def test_frozen_blocks_do_not_move_by_one_bit(train, mode):
    cohort = make_cohort((1,) if mode == "loop" else SEEDS)
    outcome, traces = train(cohort, BUILTIN["frozen"], mode)
    for trace in traces[1:]:
        for name, value in trace["solution"].items():
            same = torch.equal(value, trace["before"][name])
            assert same == name.startswith("hidden1.")  # of three blocks, two train
    for norms in outcome.update_norms[1:]:
        assert (norms[:, 0] == 0).all()
        assert (norms[:, 1:] > 0).all()


@dataclass(frozen=True)
class Mixed(Strategy):
    """Freezes all but the head for the learners whose initial head has a negative sum."""

    name = "mixed"

    def begin(self, task, parameters, memory):
        free = task.initial["head.bias"].sum() > 0.0
        share = torch.where(free | task.last_blocks(1), 1.0, 0.0)
        return UpdatePlan(share, torch.zeros_like(share, dtype=torch.bool)), memory


@dataclass(frozen=True)
class MixedClipped(Mixed):
    """Scales the gradient to norm 1, all unfrozen blocks taken together."""

    def correct(self, task, gradient, parameters, memory):
        norm = sum(value.square().sum() for value in gradient.values()).sqrt()
        return {name: value / norm for name, value in gradient.items()}


@dataclass(frozen=True)
class MixedShrunk(Mixed):
    """Shrinks all parameters after every step."""

    def constrain(self, task, parameters, memory):
        return {name: 0.9 * value for name, value in parameters.items()}


MIXED = ("plain", "correct", "constrain")


def free_learners(cohort):
    return cohort.initial["head.bias"].sum(dim=1) > 0


@pytest.mark.parametrize("strategy", [Mixed(), MixedClipped(), MixedShrunk()], ids=MIXED)
def test_a_block_is_frozen_for_the_learners_that_freeze_it_and_for_no_other(train, strategy):
    cohort = make_cohort()
    free = free_learners(cohort)
    assert 0 < free.sum() < len(SEEDS)
    _, traces = train(cohort, strategy)
    for trace in traces:
        for name, value in trace["solution"].items():
            moved = (value != trace["before"][name]).flatten(1).any(dim=1)
            assert moved.tolist() == (free | is_head(name)).tolist()


@pytest.mark.parametrize("strategy", [Mixed(), MixedClipped(), MixedShrunk()], ids=MIXED)
def test_what_one_learner_freezes_changes_nothing_for_it_in_company(train, strategy):
    _, traces = train(make_cohort(), strategy, "vmap")
    for position, seed in enumerate(SEEDS):
        _, own = train(make_cohort((seed,)), strategy, "loop")
        for trace, single in zip(traces, own, strict=True):
            solution = of_seed(trace["solution"], position)
            torch.testing.assert_close(solution, single["solution"], **EXACT)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "restarting"),
    [("initialized", ("hidden2", "head")), ("scratch", ("hidden1", "hidden2", "head"))],
)
def test_restarted_blocks_start_from_the_seeded_initialisation(train, mode, name, restarting):
    cohort = make_cohort((1,) if mode == "loop" else SEEDS)
    _, traces = train(cohort, BUILTIN[name], mode)
    for task, trace in enumerate(traces):
        start = trace["steps"][0][1]
        for parameter, value in start.items():
            before, initial = trace["before"][parameter], cohort.initial[parameter]
            if task == 0 or parameter.split(".")[0] not in restarting:
                expected = before
            elif is_head(parameter):
                # only the rows of the task's own classes
                expected = before.clone()
                for seed, own in enumerate(cohort.classes[task]):
                    expected[seed, own] = initial[seed, own]
            else:
                expected = initial
            assert_identical(value, expected)
    # and the other rows had moved, so that restarting all of the head would be seen
    last = traces[-1]["before"]["head.weight"]
    assert (last != cohort.initial["head.weight"]).flatten(2).any(dim=2).sum(dim=1).min() >= 4


def test_restarting_and_freezing_together_leaves_the_seeded_initialisation(train):
    @dataclass(frozen=True)
    class Back(Strategy):
        name = "back"

        def begin(self, task, parameters, memory):
            plan = task.everything()
            if task.index == 0:
                return plan, memory
            return UpdatePlan(torch.zeros_like(plan.share), ~plan.restart), memory

    cohort = make_cohort()
    outcome, traces = train(cohort, Back())
    for name in ("hidden1.weight", "hidden2.bias"):
        assert_identical(traces[1]["solution"][name], cohort.initial[name])
    for seed, own in enumerate(cohort.classes[0]):
        assert_identical(
            traces[2]["solution"]["head.weight"][seed, own],
            traces[0]["solution"]["head.weight"][seed, own],
        )
    assert (outcome.update_norms[2][:, :2] == 0).all()


def test_restart_and_share_may_differ_between_learners(train):
    @dataclass(frozen=True)
    class Some(Strategy):
        name = "some"

        def begin(self, task, parameters, memory):
            plan = task.everything()
            again = (task.initial["head.bias"].sum() > 0.0) & (task.index > 0)
            return UpdatePlan(plan.share, plan.restart | again), memory

    cohort = make_cohort()
    again = free_learners(cohort)
    _, traces = train(cohort, Some())
    start = traces[1]["steps"][0][1]["hidden1.weight"]
    for seed in range(len(SEEDS)):
        source = cohort.initial if again[seed] else traces[1]["before"]
        assert_identical(start[seed], source["hidden1.weight"][seed])


@pytest.mark.parametrize("mode", MODES)
def test_noop_forgets_nothing_and_learns_nothing_after_the_first_task(train, mode):
    outcome, traces = train(make_cohort((1,) if mode == "loop" else SEEDS), BUILTIN["noop"], mode)
    for row, norms in zip(outcome.correct[1:], outcome.update_norms[1:], strict=True):
        assert_identical(row, outcome.correct[0])
        assert (norms == 0).all()
    assert_identical(traces[2]["solution"], traces[0]["solution"])
    assert (outcome.correct[0][:, 0] != outcome.correct_untrained[:, 0]).all()


@pytest.mark.parametrize("mode", MODES)
def test_joint_sees_the_union_of_all_tasks_so_far_and_others_one_task(train, mode):
    seeds = (1,) if mode == "loop" else SEEDS
    cohort = make_cohort(seeds)
    for name, strategy in BUILTIN.items():
        if name not in ("joint", "sgd", "ewc"):
            continue
        _, traces = train(cohort, strategy, mode)
        for task, trace in enumerate(traces):
            first = 0 if name == "joint" else task * COUNT
            expected = list(range(first, (task + 1) * COUNT))
            seen = trace["task"]
            assert numbers(seen).tolist() == [expected] * len(seeds)
            parts = cohort.train[: task + 1] if name == "joint" else [cohort.train[task]]
            assert_identical(seen.labels, torch.cat([part.labels for part in parts], dim=1))
            assert_identical(seen.allowed, torch.cat([part.active for part in parts], dim=1))
            assert seen.noise.shape == (len(seeds), len(expected))
            # batches come from everywhere
            trained = torch.cat([numbers(batch) for batch, _ in trace["steps"]], dim=1)
            assert trained.min() < first + COUNT
            assert trained.max() >= task * COUNT
            # every image of a batch still has its own label and its own task's units
            for batch, _ in trace["steps"]:
                rows = numbers(batch).long() - first
                assert_identical(batch.labels, seen.labels.gather(1, rows))
                assert batch.allowed.sum() == 2 * batch.labels.numel()
                assert batch.allowed.gather(2, batch.labels[..., None]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["hybrid", "ewc"])
def test_the_same_call_twice_gives_identical_results(train, mode, name):
    cohort = make_cohort((1,) if mode == "loop" else SEEDS, dtype=torch.float32)
    (one, first), (other, second) = (train(cohort, BUILTIN[name], mode) for _ in range(2))
    for key in (
        "correct_untrained",
        "correct",
        "update_norms",
        "solution_norms",
        "drift_norms",
        "finite",
    ):
        assert_identical(getattr(one, key), getattr(other, key))
    for trace, again in zip(first, second, strict=True):
        assert_identical(trace["solution"], again["solution"])


def test_a_run_changes_nothing_of_the_cohort(train):
    cohort, untouched = make_cohort(), make_cohort()
    train(cohort, BUILTIN["initialized"])
    assert_identical(cohort.initial, untouched.initial)
    for part in ("train", "test"):
        for one, other in zip(getattr(cohort, part), getattr(untouched, part), strict=True):
            assert_identical(vars(one), vars(other))


@pytest.mark.parametrize("mode", MODES)
def test_tensors_that_a_strategy_keeps_are_never_changed(train, mode):
    @dataclass(frozen=True)
    class Keeps(Strategy):
        name = "keeps"
        stores = "examples"
        capacity = COUNT

        def begin(self, task, parameters, memory):
            return task.everything(), memory | {f"begin-{task.index}": parameters}

        def finish(self, task, parameters, memory):
            own = {"images": task.examples.images, "initial": task.initial}
            return parameters, memory | {f"finish-{task.index}": parameters, **own}

    cohort = make_cohort((1,) if mode == "loop" else SEEDS)
    _, traces = train(cohort, Keeps(), mode)
    kept = traces[-1]["memory"]
    for task, trace in enumerate(traces):
        assert_identical(kept[f"begin-{task}"], trace["before"])
        assert_identical(kept[f"finish-{task}"], trace["solution"])
    assert_identical(kept["initial"], cohort.initial)
    assert_identical(kept["images"], cohort.scaling(cohort.train[-1].images, torch.float64))


@pytest.mark.parametrize("batch_size", [COUNT, 5])
def test_a_strategy_reaches_no_more_than_the_current_tasks_training_images(batch_size):
    """In the mode "loop" it holds plain tensors, which know the memory that they are views of."""
    seen = []

    @dataclass(frozen=True)
    class Spy(Strategy):
        name = "spy"

        def begin(self, task, parameters, memory):
            self.look(task)
            return task.everything(), memory

        def loss(self, task, examples, parameters, memory):
            self.look(task)
            self.check(examples, batch_size)
            return task.loss(parameters, examples)

        def finish(self, task, parameters, memory):
            self.look(task)
            return parameters, memory

        def look(self, task):
            seen.append(task.index)
            own = numbers(task.examples).tolist()
            assert own == list(range(task.index * COUNT, (task.index + 1) * COUNT))
            self.check(task.examples, COUNT)
            self.check_tensor(task.noise, COUNT)
            assert task.units.tolist() == task.classes.nonzero()[:, 0].tolist()
            assert set(task.examples.labels.tolist()) <= set(task.units.tolist())
            assert task.answers.tolist() == task.units.tolist()
            names = {"index", "network", "examples", "classes", "units", "answers", "initial"}
            own = {"noise", "regression", "rate", "step", "scaling", "key", "moment"}
            assert set(vars(task)) == names | own
            assert task.rate == TRAINING.learning_rate

        def check(self, examples, count):
            for value in vars(examples).values():
                self.check_tensor(value, count)

        @staticmethod
        def check_tensor(value, count):
            """Neither a slice of something larger, nor a view of it, nor storage behind it."""
            assert len(value) == count
            bytes_of_one = value[0].numel() * value.element_size()
            assert value.untyped_storage().nbytes() == count * bytes_of_one
            assert value._base is None or value._base.numel() == value.numel()
            assert value.grad_fn is None

    training = replace(TRAINING, batch_size=batch_size)
    engine.run(make_cohort((1,), training=training), Spy(), "loop")
    assert set(seen) == {0, 1, 2}
    assert len(seen) == TASKS * (2 + max(2 * (COUNT // batch_size), TRAINING.minimum_steps))


def test_the_noise_of_a_task_is_the_seeds_own_stream(train):
    cohort = make_cohort()
    _, traces = train(cohort, Sgd())
    for task, trace in enumerate(traces):
        for seed, noise in zip(SEEDS, trace["task"].noise, strict=True):
            expected = np.random.default_rng([seed, task, 78]).random(COUNT)
            np.testing.assert_array_equal(noise.numpy(), expected)


@pytest.mark.parametrize(
    ("count", "epochs", "batch_size", "minimum", "steps"),
    [
        (23, 3, 5, 1, 12),
        (23, 3, 5, 12, 12),
        (23, 3, 5, 14, 14),
        (23, 1, 5, 9, 9),
        (20, 2, 5, 0, 8),
        (7, 2, 50, 0, 2),  # fewer images than a batch
        (7, 2, 50, 5, 5),
        (9, 1, 5, 4, 4),  # one batch an epoch, four images left out
        (6, 2, 1, 0, 12),
    ],
)
def test_batches_are_full_and_show_no_image_twice_in_an_epoch(
    train, count, epochs, batch_size, minimum, steps
):
    training = Training(epochs, batch_size, 0.01, minimum_steps=minimum)
    cohort = make_cohort(tasks=2, count=count, training=training)
    _, traces = train(cohort, Sgd())
    size = min(batch_size, count)
    per_epoch = count // size
    for task, trace in enumerate(traces):
        assert len(trace["steps"]) == steps
        shown = torch.stack([numbers(batch) for batch, _ in trace["steps"]]) - task * count
        assert shown.shape == (steps, len(SEEDS), size)
        for position, seed in enumerate(SEEDS):
            random = np.random.default_rng([seed, task, count, 77])
            for start in range(0, steps, per_epoch):
                epoch = shown[start : start + per_epoch, position].flatten().tolist()
                assert len(set(epoch)) == len(epoch)
                assert epoch == random.permutation(count)[: len(epoch)].tolist()
        assert not torch.equal(shown[:, 0], shown[:, 1])  # every seed has its own order


def test_every_image_is_trained_in_every_epoch_where_batches_divide_the_task(train):
    cohort = make_cohort(count=20, training=Training(2, 5, 0.01, minimum_steps=0))
    _, traces = train(cohort, Sgd())
    shown = torch.stack([numbers(batch) for batch, _ in traces[0]["steps"]])
    for epoch in shown.split(4):
        assert epoch.transpose(0, 1).flatten(1).sort().values.tolist() == [list(range(20))] * 3


def test_one_pass_shows_no_image_twice_and_leaves_out_what_fills_no_batch(train):
    cohort = make_cohort(training=Training(1, 5, 0.01, minimum_steps=0))
    _, traces = train(cohort, Sgd())
    for trace in traces:
        shown = torch.stack([numbers(batch) for batch, _ in trace["steps"]])
        for one in shown.transpose(0, 1).flatten(1).tolist():
            assert len(one) == len(set(one)) == COUNT - COUNT % 5 == 20


def test_the_momentum_starts_at_zero_with_every_task(train):
    cohort = make_cohort(training=ONE_STEP)
    _, traces = train(cohort, Sgd())
    for trace in traces:
        task = trace["task"]
        for seed in range(len(SEEDS)):
            own = {name: value[seed] for name, value in trace["before"].items()}
            view = task.view(pytree.tree_map(lambda value: value[seed], task.tensors(0)))  # noqa: B023
            for name, slope in view.gradient(own).items():
                expected = own[name] - 0.1 * slope
                torch.testing.assert_close(trace["solution"][name][seed], expected, **EXACT)


def answers(cohort, parameters, data, seed):
    """Answer one image at a time, in plain NumPy."""
    values = {name: tensor[seed].numpy() for name, tensor in parameters.items()}
    right = 0
    for image, label, active in zip(
        data.images[seed].numpy(), data.labels[seed].tolist(), data.active[seed], strict=True
    ):
        if label == -1:
            continue
        hidden = (image.ravel() / 255 - 0.5) / 0.29
        for layer in ("hidden1", "hidden2"):
            hidden = np.maximum(values[f"{layer}.weight"] @ hidden + values[f"{layer}.bias"], 0)
        logits = values["head.weight"] @ hidden + values["head.bias"]
        own = np.flatnonzero(active.numpy())
        right += int(own[np.argmax(logits[own])] == label)
    return right


@pytest.mark.parametrize("mode", MODES)
def test_counts_are_those_of_right_answers_among_a_tasks_own_units(train, mode):
    seeds = (2,) if mode == "loop" else SEEDS
    cohort = make_cohort(seeds)
    assert cohort.test[0].count > evaluation.TESTED_AT_ONCE
    outcome, traces = train(cohort, Sgd(), mode)
    counts = [outcome.correct_untrained, *outcome.correct]
    solutions = [cohort.initial, *(trace["solution"] for trace in traces)]
    for count, parameters in zip(counts, solutions, strict=True):
        assert count.dtype == torch.int64
        for seed in range(len(seeds)):
            expected = [answers(cohort, parameters, data, seed) for data in cohort.test]
            assert count[seed].tolist() == expected


def test_padded_test_images_never_count(train):
    cohort = make_cohort()
    padded = [
        TaskData(
            torch.cat([data.images, data.images], dim=1),  # images that would be answered rightly
            torch.cat([data.labels, torch.full_like(data.labels, -1)], dim=1),
            torch.cat([data.active, data.active], dim=1),
        )
        for data in cohort.test
    ]
    expected, _ = train(cohort, Sgd())
    outcome, _ = train(replace(cohort, test=padded), Sgd())
    assert_identical(outcome.correct, expected.correct)
    assert_identical(outcome.correct_untrained, expected.correct_untrained)
    sizes = torch.tensor([300 - 20 * seed for seed in SEEDS])
    assert (torch.stack(expected.correct) <= sizes[:, None]).all()


@pytest.mark.parametrize("size", [17, 300, 1000])
def test_how_many_images_are_tested_at_once_changes_no_count(train, monkeypatch, size):
    cohort = make_cohort(training=ONE_STEP)
    expected, _ = train(cohort, Sgd())
    monkeypatch.setattr(evaluation, "TESTED_AT_ONCE", size)
    outcome, _ = train(cohort, Sgd())
    assert_identical(outcome.correct, expected.correct)


def test_norms_are_those_of_every_blocks_update_and_solution(train):
    cohort = make_cohort()
    outcome, traces = train(cohort, BUILTIN["initialized"])
    last = cohort.initial
    first = traces[0]["solution"]
    for trace, update, solution, drift in zip(
        traces, outcome.update_norms, outcome.solution_norms, outcome.drift_norms, strict=True
    ):
        now = trace["solution"]
        for position, block in enumerate(cohort.network.blocks):
            for seed in range(len(SEEDS)):

                def norm(values, block=block, seed=seed):
                    flat = [values[name][seed].numpy().ravel() for name in block.parameters]
                    return np.linalg.norm(np.concatenate(flat))

                # from the last task's solution, not from where a restarted block began
                change = {name: now[name] - last[name] for name in now}
                assert float(update[seed, position]) == pytest.approx(norm(change), rel=1e-12)
                assert float(solution[seed, position]) == pytest.approx(norm(now), rel=1e-12)
                gone = {name: now[name] - first[name] for name in now}
                assert float(drift[seed, position]) == pytest.approx(norm(gone), rel=1e-12)
        last = now


def test_memory_bytes_are_those_of_one_learner(train):
    for seeds, mode in ((SEEDS, "vmap"), ((1,), "loop")):
        outcome, _ = train(make_cohort(seeds), Ewc(strength=1.0, separate=True), mode)
        parameters = 12 * 8 + 8 + 8 * 8 + 8 + 8 * UNITS + UNITS
        assert outcome.memory_bytes == [8 * 2 * parameters * task for task in (1, 2, 3)]
    assert train(make_cohort(), Sgd())[0].memory_bytes == [0, 0, 0]


def test_progress_is_told_after_every_task():
    told = []
    engine.run(make_cohort(), Sgd(), "vmap", told.append)
    assert told == [1, 2, 3]


@dataclass(frozen=True)
class Explodes(Strategy):
    """Multiplies the second task's gradients of chosen learners by infinity."""

    everyone: bool = False

    name = "explodes"

    def correct(self, task, gradient, parameters, memory):
        chosen = (task.initial["head.bias"].sum() > 0.0) | self.everyone
        factor = torch.where(chosen & (task.index == 1), torch.inf, 1.0)
        return {name: factor * value for name, value in gradient.items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_diverging_learner_is_told_from_its_task_on(train, mode):
    cohort = make_cohort((1,) if mode == "loop" else SEEDS)
    outcome, _ = train(cohort, Explodes(everyone=True), mode)
    assert [one.tolist() for one in outcome.finite] == [
        [fine] * cohort.size for fine in (True, False, False)
    ]


def test_a_diverging_learner_changes_no_other_one(train):
    cohort = make_cohort()
    exploding = free_learners(cohort)
    assert 0 < exploding.sum() < len(SEEDS)
    outcome, traces = train(cohort, Explodes())
    expected, own = train(cohort, Sgd())
    assert outcome.finite[0].all()
    for finite in outcome.finite[1:]:
        assert_identical(finite, ~exploding)
    for seed in (~exploding).nonzero()[:, 0].tolist():
        for trace, single in zip(traces, own, strict=True):
            for name, value in trace["solution"].items():
                assert_identical(value[seed], single["solution"][name][seed])
        assert_identical(
            [row[seed] for row in outcome.correct], [row[seed] for row in expected.correct]
        )


@pytest.mark.parametrize("mode", MODES)
def test_a_learning_rate_of_1e30_diverges_in_the_first_task(train, mode):
    cohort = make_cohort(
        (1,) if mode == "loop" else SEEDS,
        training=replace(TRAINING, learning_rate=1e30),
        dtype=torch.float32,
    )
    outcome, _ = train(cohort, Sgd(), mode)
    assert not any(one.any() for one in outcome.finite)
    assert all(one.shape == (cohort.size, TASKS) for one in outcome.correct)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_solution_that_is_not_finite_is_told_even_if_all_losses_were(train, value):
    @dataclass(frozen=True)
    class Spoils(Strategy):
        name = "spoils"

        def finish(self, task, parameters, memory):
            chosen = task.initial["head.bias"].sum() > 0.0
            spoilt = torch.where(chosen & (task.index == 2), value, 1.0)
            return parameters | {"head.bias": spoilt * parameters["head.bias"]}, memory

    cohort = make_cohort()
    outcome, _ = train(cohort, Spoils())
    assert outcome.finite[1].all()
    assert_identical(outcome.finite[2], ~free_learners(cohort))


def test_a_loss_that_is_not_finite_is_told_even_if_the_solution_is(train):
    @dataclass(frozen=True)
    class Odd(Strategy):
        name = "odd"

        def loss(self, task, examples, parameters, memory):
            return task.loss(parameters, examples) + torch.where(
                torch.as_tensor(task.index == 1), torch.inf, 0.0
            )

    outcome, traces = train(make_cohort(), Odd())
    assert [bool(one.all()) for one in outcome.finite] == [True, False, False]
    assert all(value.isfinite().all() for value in traces[-1]["solution"].values())


def test_hooks_are_called_in_their_order_and_correct_holds_unfrozen_blocks_only():
    called = []

    @dataclass(frozen=True)
    class Calls(Strategy):
        name = "calls"

        def begin(self, task, parameters, memory):
            called.append("begin")
            share = task.last_blocks(1).double()
            return UpdatePlan(share, torch.zeros_like(share, dtype=torch.bool)), memory

        def loss(self, task, examples, parameters, memory):
            called.append("loss")
            assert len(parameters) == 6
            return task.loss(parameters, examples)

        def correct(self, task, gradient, parameters, memory):
            called.append("correct")
            assert list(gradient) == ["head.weight", "head.bias"]
            assert len(parameters) == 6
            return gradient

        def constrain(self, task, parameters, memory):
            called.append("constrain")
            assert len(parameters) == 6
            return parameters

        def observe(self, task, gradient, step, parameters, memory):
            called.append("observe")
            assert list(gradient) == list(step) == ["head.weight", "head.bias"]
            assert len(parameters) == 6
            return memory

        def finish(self, task, parameters, memory):
            called.append("finish")
            assert len(parameters) == 6
            return parameters, memory

    training = Training(1, COUNT, 0.1, minimum_steps=2)
    for mode, seeds in (("loop", (1,)), ("vmap", SEEDS)):
        called.clear()
        engine.run(make_cohort(seeds, training=training, tasks=2), Calls(), mode)
        step = ["loss", "correct", "constrain", "observe"]
        before = ["loss", "correct"]  # to tell what passes
        assert called == 2 * ["begin", *before, *step, *step, "finish"]


def test_memory_goes_from_hook_to_hook_and_task_to_task(train):
    @dataclass(frozen=True)
    class Counts(Strategy):
        name = "counts"

        def begin(self, task, parameters, memory):
            if not memory:
                memory = {"deep": {"count": torch.zeros((), dtype=torch.int64)}}
            return task.everything(), {"deep": {"count": memory["deep"]["count"] + 1}}

        def constrain(self, task, parameters, memory):
            # the head's bias holds what the memory says
            count = memory["deep"]["count"].to(torch.float64)
            return parameters | {"head.bias": count.expand(UNITS)}

        def finish(self, task, parameters, memory):
            return parameters, {"deep": {"count": memory["deep"]["count"] + 10}}

    _, traces = train(make_cohort(), Counts())
    assert [trace["memory"]["deep"]["count"].tolist() for trace in traces] == [
        [11] * 3,
        [22] * 3,
        [33] * 3,
    ]
    assert [trace["solution"]["head.bias"].unique().item() for trace in traces] == [1, 12, 23]


def everything(task):
    return task.everything()


def plan(task, share=None, restart=None):
    full = task.everything()
    return UpdatePlan(
        full.share if share is None else share, full.restart if restart is None else restart
    )


def less(parameters):
    return {name: value for name, value in parameters.items() if name != "head.bias"}


def misshapen(parameters):
    return parameters | {"head.bias": parameters["head.bias"][:-1]}


def listed(parameters):
    return parameters | {"head.bias": [0.0] * UNITS}


def raising(*_):
    raise ZeroDivisionError("first line\nsecond line")


def silent(*_):
    raise RuntimeError


WRONG = {
    # hook: {what is wrong: (the hook's body, what the message says)}
    "begin": {
        "nothing": (lambda s, t, p, m: None, "must return two things, UpdatePlan and memory"),
        "plan alone": (lambda s, t, p, m: everything(t), "UpdatePlan and memory"),
        "swapped": (lambda s, t, p, m: (m, everything(t)), "UpdatePlan and memory"),
        "short share": (
            lambda s, t, p, m: (plan(t, share=torch.ones(2)), m),
            r"share and restart of shape \(3,\)",
        ),
        "scalar share": (
            lambda s, t, p, m: (plan(t, share=torch.tensor(0.5)), m),
            r"share and restart of shape \(3,\)",
        ),
        "short restart": (
            lambda s, t, p, m: (plan(t, restart=torch.zeros(4, dtype=torch.bool)), m),
            r"share and restart of shape \(3,\)",
        ),
        "share above 1": (
            lambda s, t, p, m: (plan(t, share=torch.tensor([1.0, 1.0, 1.1])), m),
            "shares between 0 and 1",
        ),
        "share below 0": (
            lambda s, t, p, m: (plan(t, share=torch.tensor([-0.1, 1.0, 1.0])), m),
            "shares between 0 and 1",
        ),
        "share nan": (
            lambda s, t, p, m: (plan(t, share=torch.tensor([torch.nan, 1.0, 1.0])), m),
            "shares between 0 and 1",
        ),
        "float share": (lambda s, t, p, m: (plan(t, share=1.0), m), ""),
        "list share": (lambda s, t, p, m: (plan(t, share=[1.0, 1.0, 1.0]), m), ""),
        "list restart": (lambda s, t, p, m: (plan(t, restart=[False] * 3), m), ""),
        "restart of floats": (
            lambda s, t, p, m: (plan(t, restart=torch.zeros(3)), m),
            "restart is of type bool",
        ),
        "memory of floats": (lambda s, t, p, m: (everything(t), {"a": 1.0}), "dict of tensors"),
        "memory of none": (lambda s, t, p, m: (everything(t), None), "dict of tensors"),
        "memory of nones": (lambda s, t, p, m: (everything(t), {"a": None}), "dict of tensors"),
        "memory a list": (
            lambda s, t, p, m: (everything(t), [torch.zeros(1)]),
            "dict of tensors",
        ),
        "memory an array": (
            lambda s, t, p, m: (everything(t), {"a": np.zeros(2)}),
            "dict of tensors",
        ),
    },
    "loss": {
        "nothing": (lambda s, t, e, p, m: None, "scalar tensor"),
        "float": (lambda s, t, e, p, m: 1.0, "scalar tensor"),
        "vector": (lambda s, t, e, p, m: t.logits(p, e).sum(dim=0), "scalar tensor"),
        "one number in a vector": (
            lambda s, t, e, p, m: t.loss(p, e)[None],
            "scalar tensor",
        ),
        "no gradient": (lambda s, t, e, p, m: t.loss(p, e).detach(), ""),
        "constant": (lambda s, t, e, p, m: torch.zeros(()), ""),
        "integer": (lambda s, t, e, p, m: t.loss(p, e).long(), ""),
    },
    "correct": {
        "nothing": (lambda s, t, g, p, m: None, "dict of the same parameters"),
        "missing": (lambda s, t, g, p, m: less(g), "dict of the same parameters"),
        "more": (lambda s, t, g, p, m: g | {"x": g["head.bias"]}, "dict of the same parameters"),
        "list": (lambda s, t, g, p, m: list(g.values()), "dict of the same parameters"),
        "shape": (lambda s, t, g, p, m: misshapen(g), r"'head.bias' as a tensor of shape \(6,\)"),
        "no tensor": (lambda s, t, g, p, m: listed(g), "'head.bias' as a tensor of shape"),
    },
    "constrain": {
        "nothing": (lambda s, t, p, m: None, "dict of the same parameters"),
        "missing": (lambda s, t, p, m: less(p), "dict of the same parameters"),
        "shape": (lambda s, t, p, m: misshapen(p), r"'head.bias' as a tensor of shape \(6,\)"),
        "no tensor": (lambda s, t, p, m: listed(p), "'head.bias' as a tensor of shape"),
    },
    "finish": {
        "nothing": (lambda s, t, p, m: None, "must return two things, dict and memory"),
        "parameters alone": (lambda s, t, p, m: p, "must return two things, dict and memory"),
        "missing": (lambda s, t, p, m: (less(p), m), "dict of the same parameters"),
        "shape": (lambda s, t, p, m: (misshapen(p), m), r"'head.bias' as a tensor of shape"),
        "no tensor": (lambda s, t, p, m: (listed(p), m), r"'head.bias' as a tensor of shape"),
        "memory of floats": (lambda s, t, p, m: (p, {"a": {"b": 1.0}}), "dict of tensors"),
        "memory a tensor": (lambda s, t, p, m: (p, torch.zeros(2)), "dict of tensors"),
    },
}
for wrong in WRONG.values():
    wrong["raises"] = (raising, "raised ZeroDivisionError: first line")
    wrong["raises without a word"] = (silent, r"raised RuntimeError \(task")

CASES = [
    pytest.param(mode, hook, *case, id=f"{hook}-{what}-{mode}".replace(" ", "-"))
    for hook, wrong in WRONG.items()
    for what, case in wrong.items()
    for mode in MODES
]


def breaking(hook, body, task=1):
    """A strategy whose named hook goes wrong in one task and is the base's in all others."""

    def method(self, current, *rest):
        if current.index == task:
            return body(self, current, *rest)
        return getattr(Strategy, hook)(self, current, *rest)

    return type("Breaking", (Strategy,), {"name": "breaking", hook: method})()


def assert_told(error, hook, message):
    text = str(error.value)
    assert text.startswith(f"strategy 'breaking': {hook}() ")
    said, _, place = text.partition(" (task 2)")
    assert said + " (task 2)" + place == text
    # What is returned is wrong in no line of its own.
    assert place.startswith("; test_engine.py, line ") or error.value.__cause__ is None
    assert "\n" not in text
    error.match(message)


@pytest.mark.parametrize(("mode", "hook", "body", "message"), CASES)
def test_what_a_hook_does_wrong_is_told_in_one_line(mode, hook, body, message):
    cohort = make_cohort((1,) if mode == "loop" else SEEDS, tasks=2, training=ONE_STEP)
    with pytest.raises(StrategyError) as error:
        engine.run(cohort, breaking(hook, body), mode)
    assert_told(error, hook, message)


def drawn(like):
    return torch.rand(like.shape)


RANDOM = {
    "begin": lambda s, t, p, m: (plan(t, share=drawn(torch.ones(3))), m),
    "loss": lambda s, t, e, p, m: t.loss(p, e) * torch.rand(()),
    "correct": lambda s, t, g, p, m: {k: v + torch.randn_like(v) for k, v in g.items()},
    "constrain": lambda s, t, p, m: {k: v + torch.randn_like(v) for k, v in p.items()},
    "finish": lambda s, t, p, m: ({k: F.dropout(v) for k, v in p.items()}, m),
}


@pytest.mark.parametrize("hook", RANDOM)
def test_random_numbers_of_a_hooks_own_are_an_error_under_vmap(hook):
    with pytest.raises(StrategyError) as error:
        engine.run(make_cohort(tasks=2, training=ONE_STEP), breaking(hook, RANDOM[hook]), "vmap")
    assert_told(error, hook, "raised RuntimeError: .*random")


@pytest.mark.parametrize("hook", ["begin", "loss", "finish"])
def test_an_if_on_a_tensor_is_an_error_under_vmap(hook):
    def body(self, task, *rest):
        if task.noise.sum() > 0:
            pass
        return getattr(Strategy, hook)(self, task, *rest)

    with pytest.raises(StrategyError) as error:
        engine.run(make_cohort(tasks=2, training=ONE_STEP), breaking(hook, body), "vmap")
    assert_told(error, hook, "raised RuntimeError: vmap")


def test_running_out_of_memory_is_no_fault_of_the_strategy():
    def body(*_):
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        engine.run(make_cohort((1,), tasks=2), breaking("loss", body), "loop")


def test_hooks_that_a_strategy_does_not_override_are_not_called(monkeypatch):
    for hook in ("correct", "constrain"):
        monkeypatch.setattr(Hooks, hook, partial(pytest.fail, "called"))
    engine.run(make_cohort(tasks=1), Sgd(), "vmap")


def test_images_and_noise_have_the_type_of_the_parameters(train):
    cohort = make_cohort(dtype=torch.float32)
    _, traces = train(cohort, Sgd())
    assert cohort.dtype == torch.float32
    task = traces[0]["task"]
    assert {task.images.dtype, task.noise.dtype} == {torch.float32}
    assert {value.dtype for value in traces[-1]["solution"].values()} == {torch.float32}

"""Recorded steps, replayed as a CUDA graph does it: the same kernels on the same memory.

These tests need no GPU. A tape takes the place of the graph: it records every operation of a step
with the tensors that it reads and writes, and repeats the operations on the same tensors. What a
CUDA graph would get wrong, such as a tensor that a step replaces instead of changing it in place,
the tape gets wrong as well.
"""

import warnings
import weakref
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from driftboard.strategies.base import Strategy, UpdatePlan
from driftboard.strategies.catalogue import BUILTIN
from driftboard.strategies.ewc import Ewc
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training import engine
from driftboard.suite.training.cuda_graph import WARM_UP, GraphRunner, graph_runner_on, run_steps

TO_THE_HOST = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class Tape(TorchDispatchMode):
    """Writes operations down, like a stream that captures; a value for the host is refused."""

    def __init__(self):
        super().__init__()
        self.entries = []
        self.before = []  # what has been changed in place, and what it was

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in TO_THE_HOST:
            raise RuntimeError("operation not permitted when stream is capturing")
        if func._schema.is_mutable:
            self.before += [(value, value.clone()) for value in tensors(args)]
        result = func(*args, **kwargs)
        self.entries.append((func, args, kwargs, result))
        return result


def tensors(tree):
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


as_unseen = torch.autograd._unsafe_preserve_version_counter
"""Changes in this block are not counted in ``_version``, as those of a replayed graph are not."""


def on_tape(step, place):
    """Record a step as the tape does, undo it, and return what replays it."""
    with Tape() as tape:
        step(place)
    changed = tuple(value for value, _ in tape.before)
    with as_unseen(changed):
        for value, was in reversed(tape.before):
            value.detach().copy_(was)

    def replay():
        with torch.no_grad(), as_unseen(changed):
            for func, args, kwargs, result in tape.entries:
                again = func(*args, **kwargs)
                for old, new in zip(tensors(result), tensors(again), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)

    return replay


@pytest.fixture
def record_steps(monkeypatch):
    """Return a function that lets the engine record its steps on tape, and notes that it does."""

    def begin():
        calls = []

        def record(step, place):
            calls.append("tried")
            replay = on_tape(step, place)
            calls.append("recorded")
            return replay

        monkeypatch.setattr(engine, "graph_runner_on", lambda device: GraphRunner(record))
        return calls

    return begin


@dataclass(frozen=True)
class Mixed(Strategy):
    """Freezes other blocks for every learner, so that none of them is frozen for all."""

    name: ClassVar[str] = "mixed"

    def begin(self, task, parameters, memory):
        blocks = len(task.network.blocks)
        odd = task.noise[0] > 0.5
        share = torch.where(torch.arange(blocks) % 2 == odd, 1.0, 0.0).to(task.noise)
        return UpdatePlan(share, torch.zeros(blocks, dtype=torch.bool)), memory

    def constrain(self, task, parameters, memory):
        return {name: value.clamp(-0.3, 0.3) for name, value in parameters.items()}


@dataclass(frozen=True)
class Swapping(Strategy):
    """Remembers with its tensors changing places at every step, and in another order."""

    name: ClassVar[str] = "swapping"

    def begin(self, task, parameters, memory):
        head = task.network.blocks[-1].parameters[-1]
        return task.everything(), {"old": parameters[head] * 0, "new": parameters[head]}

    def correct(self, task, gradient, parameters, memory):
        pull = 0.1 * (memory["new"] - memory["old"])
        head = task.network.blocks[-1].parameters[-1]
        return gradient | {head: gradient[head] + pull}

    def observe(self, task, gradient, step, parameters, memory):
        head = task.network.blocks[-1].parameters[-1]
        return {"new": memory["old"] + step[head], "old": memory["new"]}


STRATEGIES = [*BUILTIN.values(), Mixed(), Swapping()]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_replayed_steps_do_what_written_ones_do(
    record_steps, strategy, mode, nine_steps, outcome_of
):
    cohort = nine_steps("MLP", (3, 4) if mode == "vmap" else (3,))
    plain = outcome_of(cohort, strategy, mode)
    calls = record_steps()
    assert_equal(outcome_of(cohort, strategy, mode), plain)
    trained = [bool(share.max() > 0) for share, _ in plain["plans"]]
    assert calls == ["tried", "recorded"] * sum(trained)
    assert trained[0]


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("strategy", [Strategy(), Ewc(), Swapping()], ids=lambda each: each.name)
def test_convolutions_are_replayed_too(record_steps, strategy, nine_steps, outcome_of):
    cohort = nine_steps("convolutions", (3, 4))
    plain = outcome_of(cohort, strategy, "vmap")
    calls = record_steps()
    assert_equal(outcome_of(cohort, strategy, "vmap"), plain)
    assert calls.count("recorded") == len(cohort.train)


@dataclass(frozen=True)
class Late(Strategy):
    """Has a loss that is infinite at one step, with the gradient that it would have else."""

    name: ClassVar[str] = "late"
    at: int = 6

    def begin(self, task, parameters, memory):
        return task.everything(), {"steps": torch.zeros(())}

    def loss(self, task, batch, parameters, memory):
        plain = super().loss(task, batch, parameters, memory)
        return plain + torch.where(memory["steps"] == self.at, torch.inf, 0.0)

    def observe(self, task, gradient, step, parameters, memory):
        return {"steps": memory["steps"] + 1}


@pytest.mark.parametrize(("at", "finite"), [(6, False), (9, True)])
def test_divergence_is_seen_in_replayed_steps(record_steps, at, finite, nine_steps, outcome_of):
    record_steps()
    found = torch.stack(outcome_of(nine_steps("MLP", (3, 4)), Late(at=at), "vmap")["finite"])
    assert found.tolist() == [[finite, finite]] * 2


@dataclass(frozen=True)
class Turning(Strategy):
    """Passes its tensors on from name to name, which come in another order every time."""

    name: ClassVar[str] = "turning"

    def begin(self, task, parameters, memory):
        return task.everything(), {name: torch.tensor(float(ord(name))) for name in "abc"}

    def observe(self, task, gradient, step, parameters, memory):
        return {"c": memory["b"], "a": memory["c"], "b": memory["a"]}


@pytest.mark.parametrize(("steps", "expected"), [(9, "abc"), (10, "cab"), (11, "bca")])
@pytest.mark.parametrize("replayed", [False, True])
def test_memory_may_change_places(steps, expected, replayed):
    cohort = tiny_cohort("MLP", (3,))
    cohort = replace(cohort, training=replace(cohort.training, minimum_steps=steps))
    runner = GraphRunner(on_tape) if replayed else None
    memory = engine.train_task(cohort, Turning(), 0, cohort.initial, {}, "loop", runner).memory
    assert "".join(chr(int(memory[name])) for name in "abc") == expected


@dataclass(frozen=True)
class Asking(Strategy):
    """Wants to know a value on the host, which a captured stream does not tell."""

    name: ClassVar[str] = "asking"
    raises: bool = False

    def correct(self, task, gradient, parameters, memory):
        if self.raises:
            raise RuntimeError("always")
        largest = max(float(value.abs().max()) for value in gradient.values())
        return {name: value / max(1.0, largest) for name, value in gradient.items()}


def test_step_that_cannot_be_recorded_is_taken_as_it_is_written(
    record_steps, nine_steps, outcome_of
):
    cohort = nine_steps("MLP", (3,))
    plain = outcome_of(cohort, Asking(), "loop")
    calls = record_steps()
    assert_equal(outcome_of(cohort, Asking(), "loop"), plain)
    assert calls == ["tried"]  # and not again at the second task


def test_nothing_of_a_step_that_could_not_be_recorded_stays():
    left = []

    def record(step, place):
        held = torch.zeros(3)
        left.append(weakref.ref(held))
        raise RuntimeError("operation not permitted when stream is capturing")

    alive = []
    orders = torch.arange(WARM_UP + 3)
    runner = GraphRunner(record)
    run_steps(lambda order: alive.append([one() is not None for one in left]), orders, runner)
    assert alive == [[]] * WARM_UP + [[False]] * 3


def test_error_of_a_strategy_is_told_also_where_steps_are_recorded(
    record_steps, nine_steps, outcome_of
):
    record_steps()
    with pytest.raises(StrategyError, match=r"'asking': correct\(\) raised RuntimeError: always"):
        outcome_of(nine_steps("MLP", (3,)), Asking(raises=True), "loop")


@pytest.mark.parametrize("count", [1, WARM_UP, WARM_UP + 1, WARM_UP + 2, 20])
def test_every_row_is_taken_once_and_in_turn(count):
    orders = torch.arange(count * 6).reshape(count, 2, 3)
    total = torch.zeros(2, 3, dtype=torch.int64)
    written = []

    def step(order):
        written.append(order.clone())
        total.mul_(31).add_(order)

    run_steps(step, orders, GraphRunner(on_tape))
    expected = torch.zeros(2, 3, dtype=torch.int64)
    for order in orders:
        expected = expected * 31 + order
    assert total.equal(expected)
    assert len(written) == (count if count <= WARM_UP + 1 else WARM_UP + 1)


def test_only_a_gpu_records():
    assert graph_runner_on(torch.device("cpu")) is None
    assert graph_runner_on(torch.device("cuda")) is not None


def test_a_step_that_waits_is_not_recorded_and_none_is_lost():
    calls = []

    def synchronizes(step, order):
        step(order)
        calls.append("probed")
        return True

    runner = GraphRunner(lambda *_: calls.append("recorded"), synchronizes)
    orders = torch.arange(WARM_UP + 3)
    for _ in range(2):
        taken = []
        run_steps(lambda order, taken=taken: taken.append(int(order)), orders, runner)
        assert taken == orders.tolist()
    assert calls == ["probed"]


@pytest.mark.parametrize("waits", [False, True])
def test_what_makes_the_host_wait_is_seen_by_torchs_warning(monkeypatch, waits):
    """The mode and the text are torch's; on a GPU ``test_cuda.py`` shows that they are right."""
    modes, taken = ["default"], []

    def set_mode(mode):
        warnings.warn("a prototype that does not see all synchronizing operations", stacklevel=1)
        modes.append(mode)

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)

    def step(order):
        taken.append((int(order), modes[-1]))
        if waits:
            warnings.warn("called a synchronizing CUDA operation (x.cpp:66)", stacklevel=1)

    synchronizes = graph_runner_on(torch.device("cuda")).synchronizes
    assert synchronizes(step, torch.tensor(5)) == waits
    assert taken == [(5, "warn")]
    assert modes == ["default", "warn", "default"]

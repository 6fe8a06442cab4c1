"""The hook that remembers at every step: Synaptic Intelligence by value, in both modes."""

import inspect
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from driftboard.strategies.base import Memory, Parameters, Strategy, Task, UpdatePlan
from driftboard.suite.checks import check_strategy
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import TASKS, TRAINING, tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training import engine


@dataclass(frozen=True)
class SynapticIntelligence(Strategy):
    """Zenke, Poole and Ganguli 2017 (ICML): a pull by what each parameter gained on its way.

    Parameters:
        strength: of the pull, ``c`` there.
        damping: ``xi`` there, so that a parameter that hardly moved does not divide by zero.
    """

    strength: float = 0.5
    damping: float = 0.01

    name: ClassVar[str] = "synaptic-intelligence"
    summary: ClassVar[str] = "Every block trains, pulled back by its path integral."
    literature: ClassVar[str] = "Zenke et al. 2017"

    def begin(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[UpdatePlan, Memory]:
        """Start the path integral at zero, here."""
        zeros = {name: torch.zeros_like(value) for name, value in parameters.items()}
        return task.everything(), {
            "path": zeros,
            "start": parameters,
            "importance": memory.get("importance", zeros),
        }

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Add the gradient of ``strength * sum(importance * (theta - start)^2)``."""
        return {
            name: value
            + 2
            * self.strength
            * memory["importance"][name]
            * (parameters[name] - memory["start"][name])
            for name, value in gradient.items()
        }

    def observe(
        self,
        task: Task,
        gradient: Parameters,
        step: Parameters,
        parameters: Parameters,
        memory: Memory,
    ) -> Memory:
        """Sum up what every parameter's steps took from the task's own loss."""
        gained = {name: -gradient[name] * step[name] for name in gradient}
        path = {name: value + gained.get(name, 0.0) for name, value in memory["path"].items()}
        return memory | {"path": path}

    def finish(
        self, task: Task, parameters: Parameters, memory: Memory
    ) -> tuple[Parameters, Memory]:
        """Turn the path integral into importance, and forget the path."""
        importance = {
            name: old
            + memory["path"][name]
            / ((parameters[name] - memory["start"][name]).square() + self.damping)
            for name, old in memory["importance"].items()
        }
        return parameters, {"importance": importance}


def naive(network, seed, strength, damping, tasks):
    """Return the solutions by task, and the importance: one learner, written as in the paper."""
    cohort = tiny_cohort(network, (seed,))
    theta = {name: value[0].clone() for name, value in cohort.initial.items()}
    omega = {name: torch.zeros_like(value) for name, value in theta.items()}
    solutions = []
    for index in range(tasks):
        data = cohort.train[index]
        images = cohort.scaling(data.images[0], cohort.dtype)
        order = cohort.batch_orders(index, data.count)[0]
        batches, size = [], TRAINING.batch_size
        while len(batches) < TRAINING.minimum_steps:
            drawn = order.permutation(data.count)
            batches += [drawn[at : at + size] for at in range(0, data.count - size + 1, size)]
        start = {name: value.clone() for name, value in theta.items()}
        path = {name: torch.zeros_like(value) for name, value in theta.items()}
        speed = {name: torch.zeros_like(value) for name, value in theta.items()}
        for rows in batches[: max(TRAINING.minimum_steps, data.count // size)]:
            leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
            logits = cohort.network.logits(leaves, images[rows])
            logits = logits.masked_fill(~data.active[0][rows], -1e300)
            loss = torch.nn.functional.cross_entropy(logits, data.labels[0][rows])
            slopes = dict(
                zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)
            )
            for name in theta:
                pull = 2 * strength * omega[name] * (theta[name] - start[name])
                speed[name] = TRAINING.momentum * speed[name] + slopes[name] + pull
                moved = theta[name] - TRAINING.learning_rate * speed[name]
                path[name] -= slopes[name] * (moved - theta[name])
                theta[name] = moved
        omega = {
            name: omega[name] + path[name] / ((theta[name] - start[name]) ** 2 + damping)
            for name in theta
        }
        solutions.append({name: value.clone() for name, value in theta.items()})
    return solutions, omega


@pytest.mark.parametrize("network", ["MLP", "convolutions"])
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_synaptic_intelligence_by_value(network, mode):
    seeds = (3, 4) if mode == "vmap" else (3,)
    ends = learn(tiny_cohort(network, seeds), SynapticIntelligence(), mode)
    solutions, omega = naive(network, 3, 0.5, 0.01, TASKS)
    for end, expected in zip(ends, solutions, strict=True):
        own = {name: value[0] for name, value in end.parameters.items()}
        torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-12)
    importance = {name: value[0] for name, value in ends[-1].memory["importance"].items()}
    torch.testing.assert_close(importance, omega, rtol=1e-8, atol=1e-12)
    assert max(float(value.max()) for value in omega.values()) > 0.01


def test_strength_zero_is_plain_training():
    ends = learn(tiny_cohort("MLP", (0,)), SynapticIntelligence(strength=0.0), "loop")
    plain = learn(tiny_cohort("MLP", (0,)), Strategy(), "loop")
    for one, other in zip(ends, plain, strict=True):
        torch.testing.assert_close(one.parameters, other.parameters, rtol=0, atol=0)


def test_only_what_is_left_at_the_end_of_a_task_counts_as_memory():
    outcome = engine.run(tiny_cohort("MLP", (0, 1)), SynapticIntelligence(), "vmap")
    cohort = tiny_cohort("MLP", (0, 1))
    size = sum(value.numel() * value.element_size() for value in cohort.initial.values())
    assert outcome.memory_bytes == [size // 2] * TASKS


@dataclass(frozen=True)
class Sums(Strategy):
    """Sums the steps of a task where the head alone is trained, and keeps what it was shown."""

    name: ClassVar[str] = "sums"

    def begin(self, task, parameters, memory):
        share = task.last_blocks(1).double()
        zeros = {name: torch.zeros_like(value) for name, value in parameters.items()}
        plan = UpdatePlan(share, torch.zeros_like(share, dtype=torch.bool))
        return plan, {"sum": zeros, "start": parameters, "last": parameters}

    def observe(self, task, gradient, step, parameters, memory):
        assert gradient.keys() == step.keys() == {"head.weight", "head.bias"}
        total = {n: v + step[n] if n in step else v for n, v in memory["sum"].items()}
        return memory | {"sum": total, "last": parameters}


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_steps_add_up_to_the_update_and_parameters_are_those_after_the_step(mode):
    (end, *_) = learn(tiny_cohort("MLP", (0,)), Sums(), mode)
    moved = {name: value - end.memory["start"][name] for name, value in end.parameters.items()}
    torch.testing.assert_close(end.memory["sum"], moved, rtol=0, atol=1e-14)
    torch.testing.assert_close(end.memory["last"], end.parameters, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (lambda m: {}, "same names, shapes and dtypes"),
        (lambda m: {"n": m["n"].expand(2)}, "same names, shapes and dtypes"),
        (lambda m: {"n": m["n"].float()}, "same names, shapes and dtypes"),
        (lambda m: {"n": 1}, "a memory that is a dict of tensors"),
        (lambda m: m["n"], "a memory that is a dict of tensors"),
    ],
)
@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_another_memory_is_refused(mode, memory, message):
    class Broken(Strategy):
        name = "broken"

        def begin(self, task, parameters, _):
            return task.everything(), {"n": torch.zeros((), dtype=torch.float64)}

        def observe(self, task, gradient, step, parameters, m):
            return memory(m)

    with pytest.raises(StrategyError, match=rf"'broken': observe\(\) .*{message}"):
        engine.run(tiny_cohort("MLP", (0,)), Broken(), mode)


HEAD = """from dataclasses import dataclass
from typing import ClassVar

import torch

from driftboard.strategies import Memory, Parameters, Strategy, Task, UpdatePlan


"""


def test_check_accepts_it(tmp_path):
    path = tmp_path / "si.py"
    path.write_text(HEAD + inspect.getsource(SynapticIntelligence))
    found = {result.name: result for result in check_strategy(str(path))}
    assert {result.status for result in found.values()} == {"ok"}
    assert found["observe"].message.startswith("returns a memory of the names")
    assert "1.00 times the parameters" in found["memory"].message


@pytest.mark.parametrize(
    ("wrong", "check", "message"),
    [
        ("memory['path'].update(path)\n        return memory", "arguments", "memory in place"),
        ("return {'path': path}", "observe", "same names, shapes and dtypes"),
        ("return memory | {'path': {n: p / 0 for n, p in path.items()}}", "observe", "NaN or inf"),
    ],
)
def test_check_finds_the_usual_mistakes(tmp_path, wrong, check, message):
    path = tmp_path / "si.py"
    source = inspect.getsource(SynapticIntelligence)
    right = 'return memory | {"path": path}'
    assert right in source
    path.write_text(HEAD + source.replace(right, wrong))
    failed = [result for result in check_strategy(str(path)) if result.status == "FAILED"]
    assert [result.name for result in failed] == [check]
    assert message in failed[0].message

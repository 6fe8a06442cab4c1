"""``driftboard check``: sound strategies pass, and each kind of mistake is found and named."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from driftboard.strategies import Examples, UpdatePlan, template
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.checks import Result, check_strategy, example_task, learners
from driftboard.suite.checks.target import copied, same, tensors
from driftboard.suite.checks.tiny import LONG, NETWORKS, SHAPE, TRAINING, UNITS, tiny_cohort
from driftboard.suite.sequences.scenarios import has_own_units

HEADER = """
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from driftboard.strategies import Range, Strategy, UpdatePlan

KEPT = []
FIRST = {}

@dataclass(frozen=True)
class Mine(Strategy):
    \"\"\"What it does.\"\"\"

    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "Words."
    literature: ClassVar[str] = "Ours"
"""

BEGIN = "def begin(self, task, parameters, memory):"
LOSS = "def loss(self, task, examples, parameters, memory):"
CORRECT = "def correct(self, task, gradient, parameters, memory):"
CONSTRAIN = "def constrain(self, task, parameters, memory):"
FINISH = "def finish(self, task, parameters, memory):"

STRENGTH = "strength: float = 0.5"
PLAN = "plan = task.everything()"

# What is wrong -> the body of the class, the check that fails, and words of its message.
BROKEN = {
    "no name": ('name: ClassVar[str] = ""', "declaration", "give Mine a name of its own"),
    "a name that is taken": (
        'name: ClassVar[str] = "ewc"',
        "declaration",
        "give Mine a name of its own, 'ewc' is taken",
    ),
    "an unknown role": (
        'role: ClassVar[str] = "winner"',
        "declaration",
        "the role is 'ranked' or 'bound'",
    ),
    "no default": ("strength: float", "declaration", "give every field a sound default"),
    "a default outside its range": (
        f'{STRENGTH}\nsearch: ClassVar = {{"strength": Range(1.0, 2.0)}}',
        "search",
        "the default strength=0.5 is outside of its search range [1, 2]",
    ),
    "a range of nothing": (
        f'{STRENGTH}\nsearch: ClassVar = {{"power": Range(1.0, 2.0)}}',
        "search",
        "search names 'power', which is no field",
    ),
    "a range upside down": (
        f'{STRENGTH}\nsearch: ClassVar = {{"strength": Range(2.0, 0.0)}}',
        "search",
        "low must be below high",
    ),
    "a range of words": (
        f'{STRENGTH}\nsearch: ClassVar = {{"strength": Range("low", "high")}}',
        "search",
        "search of 'strength': low and high must be finite numbers",
    ),
    "no ranges but a list": (
        f"{STRENGTH}\nsearch: ClassVar = ['strength']",
        "search",
        "search is no dict of ranges; write {name: Range(low, high)}",
    ),
    "a logarithm of zero": (
        f'{STRENGTH}\nsearch: ClassVar = {{"strength": Range(0.0, 1.0, True)}}',
        "search",
        "a logarithmic range begins above 0",
    ),
    "a range that the class refuses": (
        f"""{STRENGTH}
search: ClassVar = {{"strength": Range(0.0, 2.0)}}
def __post_init__(self):
    if self.strength > 1:
        raise ValueError("at most 1")""",
        "search",
        "search goes to strength=2, which Mine refuses: ValueError: at most 1; mine.py, line 25: "
        'raise ValueError("at most 1")',
    ),
    "a plan of the wrong shape": (
        f"{BEGIN}\n    return UpdatePlan(torch.ones(2), torch.zeros(2).bool()), memory",
        "begin",
        "share and restart of shape (3,)",
    ),
    "a share above 1": (
        f"{BEGIN}\n    {PLAN}\n    return UpdatePlan(1.5 * plan.share, plan.restart), memory",
        "begin",
        "shares between 0 and 1",
    ),
    "a share that is no number": (
        f"{BEGIN}\n    {PLAN}\n    return UpdatePlan(plan.share * torch.nan, plan.restart), memory",
        "begin",
        "returns NaN or infinity",
    ),
    "shares of type bool": (
        f"{BEGIN}\n    return UpdatePlan(task.last_blocks(2), task.last_blocks(0)), memory",
        "begin",
        "shares of a float type, not torch.bool",
    ),
    "the plan alone": (
        f"{BEGIN}\n    return task.everything()",
        "begin",
        "must return two things, UpdatePlan and memory",
    ),
    "a hook that raises": (
        f"""{CORRECT}
    scale = {{}}
    return {{name: scale[name] * value for name, value in gradient.items()}}""",
        "correct",
        "correct() raised KeyError: 'hidden1.weight' (task 1); mine.py, line 23: "
        "return {name: scale[name] * value for name, value in gradient.items()} [MLP]",
    ),
    "a hook that fits one network": (
        f"{FINISH}\n    return parameters, {{'first': parameters['hidden1.weight']}}",
        "finish",
        "KeyError: 'hidden1.weight' (task 1); mine.py, line 22: "
        "return parameters, {'first': parameters['hidden1.weight']} [convolutions]",
    ),
    "a loss of NaN": (
        f"{LOSS}\n    return task.loss(parameters, examples) / 0 * 0",
        "loss",
        "loss() returns NaN or infinity for finite arguments (task 1)",
    ),
    "a loss without a gradient": (
        f"{LOSS}\n    return task.loss(parameters, examples).detach()",
        "loss",
        "a loss that depends on the parameters",
    ),
    "a loss that changes the grad mode": (
        f"{LOSS}\n    value = task.loss(parameters, examples)\n"
        "    torch.set_grad_enabled(False)\n    return value",
        "global state",
        "loss() changes torch's grad mode",
    ),
    "a gradient of another dtype": (
        f"{CORRECT}\n    return {{name: value.float() for name, value in gradient.items()}}",
        "correct",
        "must return hidden1.weight as torch.float64, like the parameters, not torch.float32",
    ),
    "whole numbers as a solution": (
        f"{FINISH}\n    return {{k: v.long() for k, v in parameters.items()}}, memory",
        "finish",
        "not torch.int64",
    ),
    "parameters left out": (
        f"{CONSTRAIN}\n    return {{'head.bias': parameters['head.bias']}}",
        "constrain",
        "a dict of the same parameters",
    ),
    "a memory of numbers": (
        f"{FINISH}\n    return parameters, {{'tasks': task.index}}",
        "finish",
        "a memory that is a dict of tensors",
    ),
    "arguments changed in place": (
        f"{CORRECT}\n    [value.mul_(0.5) for value in gradient.values()]\n    return gradient",
        "arguments",
        "correct() changes gradient in place; return new tensors",
    ),
    "memory changed in place": (
        f"{FINISH}\n    memory['solution'] = parameters\n    return parameters, memory",
        "arguments",
        "finish() changes memory in place; return new tensors and new dicts",
    ),
    "the task changed in place": (
        f"{BEGIN}\n    task.initial['head.bias'] += 1\n    return task.everything(), memory",
        "arguments",
        "begin() changes task in place",
    ),
    "torch's random numbers": (
        f"{BEGIN}\n    {PLAN}\n"
        "    return UpdatePlan(torch.rand_like(plan.share), plan.restart), memory",
        "global state",
        "begin() changes torch's random state; draw random numbers from task.uniform",
    ),
    "Python's random numbers": (
        f"{CORRECT}\n    return {{k: random.random() * v for k, v in gradient.items()}}",
        "global state",
        "correct() changes Python's random state",
    ),
    "NumPy's random numbers": (
        f"{LOSS}\n    return np.random.uniform() * task.loss(parameters, examples)",
        "global state",
        "loss() changes NumPy's random state",
    ),
    "another default dtype": (
        f"{BEGIN}\n    torch.set_default_dtype(torch.float64)\n"
        "    return task.everything(), memory",
        "global state",
        "begin() changes torch's default dtype",
    ),
    "another function of torch": (
        f"{BEGIN}\n    torch.nn.functional.relu = torch.abs\n    return task.everything(), memory",
        "global state",
        "begin() changes torch.nn.functional.relu",
    ),
    "random numbers without a seed": (
        f"{CORRECT}\n    scale = np.random.default_rng().uniform()\n"
        "    return {k: scale * v for k, v in gradient.items()}",
        "repeatable",
        "correct() returns something else for equal arguments",
    ),
    "a count of calls that is used": (
        f"{CORRECT}\n    KEPT.append(1)\n"
        "    return {k: v / len(KEPT) for k, v in gradient.items()}",
        "repeatable",
        "correct() returns something else for equal arguments",
    ),
    "a value of the first learner": (
        f"{BEGIN}\n    first = FIRST.setdefault(len(parameters), task.noise.mean().item())\n"
        f"    {PLAN}\n    return UpdatePlan(first * plan.share, plan.restart), memory",
        ["learners", "hidden memory"],
        "a learner ends elsewhere when others were trained before it",
    ),
    "a list in the module": (
        f"{FINISH}\n    KEPT.append(parameters)\n    return parameters, memory",
        "hidden memory",
        "the module's KEPT changed while learners were trained",
    ),
    "an attribute of the object": (
        f"{FINISH}\n    object.__setattr__(self, 'last', parameters)\n"
        "    return parameters, memory",
        "hidden memory",
        "self.last changed",
    ),
    "a class variable": (
        f"tasks: ClassVar[int] = 0\n{FINISH}\n    Mine.tasks += 1\n    return parameters, memory",
        "hidden memory",
        "Mine.tasks changed",
    ),
    "a default argument": (
        "def finish(self, task, parameters, memory, seen=[]):\n"
        "    seen.append(task.index)\n    return parameters, memory",
        "hidden memory",
        "Mine.finish changed",
    ),
    "a memory that forgets a name": (
        f"{FINISH}\n    return parameters, {{f'task-{{task.index}}': parameters}}",
        "memory",
        "task 2 leaves no memory['task-0']",
    ),
    "a memory that changes its dtype": (
        f"{FINISH}\n    noise = task.noise.float() if task.index == 2 else task.noise\n"
        "    return parameters, {'noise': noise}",
        "memory",
        "task 3 leaves memory['noise'] as float32 of 1 dimension, which was float64",
    ),
    "NumPy in a hook": (
        f"{FINISH}\n    mean = torch.tensor(task.noise.numpy().mean())\n"
        "    return parameters, {'mean': mean}",
        "lanes",
        "mine.py, line 22: mean = torch.tensor(task.noise.numpy().mean()) [MLP]; decide with",
    ),
    "an if on a tensor": (
        f"{BEGIN}\n    {PLAN}\n    if task.noise.mean() > 0.5:\n"
        "        plan = UpdatePlan(0.5 * plan.share, plan.restart)\n    return plan, memory",
        "lanes",
        "mine.py, line 23: if task.noise.mean() > 0.5:",
    ),
    "a way around the lanes": (
        f"{BEGIN}\n    {PLAN}\n    try:\n        share = task.noise[0].item()\n"
        "    except RuntimeError:\n        share = 1.0\n"
        "    return UpdatePlan(share * plan.share, plan.restart), memory",
        "lanes",
        "learners trained together end task 1 elsewhere than each alone [MLP]",
    ),
    "a tensor left on the CPU": (
        f"{CORRECT}\n    half = torch.tensor([0.5], dtype=task.noise.dtype)\n"
        "    return {k: v * half for k, v in gradient.items()}",
        "gpu",
        "correct() raised MixedDevicesError: tensors of the CPU and of the GPU meet in "
        "aten::mul.Tensor (task 1); mine.py, line 23: "
        "return {k: v * half for k, v in gradient.items()} [MLP]; make tensors",
    ),
    "a memory left on the CPU": (
        f"{BEGIN}\n    {PLAN}\n    return plan, {{'steps': torch.zeros(())}}\n"
        "def observe(self, task, gradient, step, parameters, memory):\n"
        "    return {'steps': memory['steps'] + 1}",
        "gpu",
        "strategy 'mine': begin() must return a memory on the task's device; make new "
        "tensors with zeros_like, new_zeros or device=task.noise.device (task 1) [MLP]",
    ),
    "a plan left on the CPU": (
        f"{BEGIN}\n    {PLAN}\n    share = torch.ones(len(task.network.blocks))\n"
        "    return UpdatePlan(share, plan.restart), memory",
        "gpu",
        "strategy 'mine': begin() must return a plan on the task's device; make new",
    ),
    "an operation without a deterministic form": (
        f"{LOSS}\n    weight = parameters['head.weight'][None, None]\n"
        "    pooled = torch.nn.functional.adaptive_avg_pool2d(weight, 2)\n"
        "    return task.loss(parameters, examples) + 0.01 * pooled.sum()",
        "gpu",
        "aten::_adaptive_avg_pool2d_backward has no deterministic form on a GPU, and is refused",
    ),
    "a setting that breaks in its range": (
        f"""{STRENGTH}
search: ClassVar = {{"strength": Range(0.0, 1.0)}}
{CORRECT}
    return {{k: v * (1 / self.strength) for k, v in gradient.items()}}""",
        "settings",
        "at an end of the search range of strength, strategy 'mine': correct() raised "
        "ZeroDivisionError",
    ),
}


INCREMENTAL = {
    "as many answers as classes": (
        f"{FINISH}\n    logits = task.logits(parameters, task.examples)[:, task.answers]"
        "\n    return parameters, {'mean': logits.mean(dim=0) + parameters['head.bias'][:2]}",
        "The size of tensor a (4) must match the size of tensor b (2)",
    ),
    "state that only many answers leave": (
        f"{FINISH}\n    if task.answers.shape[0] > task.units.shape[0]:"
        "\n        KEPT.append(1)"
        "\n        return {k: v * len(KEPT) for k, v in parameters.items()}, memory"
        "\n    return parameters, memory",
        "finish() returns something else for equal arguments",
    ),
    "a change in place": (
        f"{LOSS}\n    if task.answers.shape[0] > task.units.shape[0]:"
        "\n        examples.allowed.copy_(task.classes.expand_as(examples.allowed))"
        "\n    return task.loss(parameters, examples)",
        "loss() changes examples in place",
    ),
}


@pytest.fixture(autouse=True)
def _short_tasks(monkeypatch):
    """Most tests do without the long tasks of the command, which take seconds."""
    monkeypatch.setitem(learners.STEPS, "MLP", TRAINING.minimum_steps)


@pytest.fixture
def check(tmp_path):
    """Return a function that checks a class body; the header's names are there to be used."""

    def checked(body):
        file = tmp_path / "mine.py"
        file.write_text(HEADER + "".join(f"    {line}\n" for line in body.splitlines()))
        return check_strategy(str(file))

    return checked


def messages(results, status):
    return {result.name: result.message for result in results if result.status == status}


@pytest.mark.parametrize(("body", "name", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_mistake_is_found_where_it_is_and_nowhere_else(check, body, name, words):
    found = messages(check(body), "FAILED")
    names = [name] if isinstance(name, str) else name
    assert list(found) == names
    assert words in found[names[0]]


@pytest.mark.parametrize(("body", "words"), INCREMENTAL.values(), ids=INCREMENTAL.keys())
def test_what_fails_only_where_more_classes_answer_is_found_there(check, body, words):
    found = messages(check(body), "FAILED")
    assert list(found) == ["incremental"]
    assert words in found["incremental"]
    assert found["incremental"].startswith("where an answer is chosen from the classes of")


def test_a_class_that_is_no_dataclass_has_no_fields(tmp_path):
    file = tmp_path / "mine.py"
    text = HEADER.replace("@dataclass(frozen=True)\n", "")
    file.write_text(f"{text}    strength: float = 0.5\n")
    assert messages(check_strategy(str(file)), "FAILED") == {
        "fields": "strength of Mine cannot be set; write @dataclass(frozen=True) above the class"
    }


def test_a_file_that_does_not_load_is_one_failure(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def :")
    (result,) = check_strategy(str(file))
    assert (result.name, result.status) == ("declaration", "FAILED")
    assert f"{file} does not import: SyntaxError" in result.message
    (result,) = check_strategy("ewk")
    assert result.message == "there is no strategy 'ewk'; did you mean ewc, er?"


HELD_UP = {
    "a loss that gathers": (
        f"{LOSS}\n    logits = task.logits(parameters, examples)\n"
        "    return torch.nn.functional.cross_entropy(logits, examples.labels)",
        "aten::scatter_add in a step waits for the host, or copies from it [MLP]; on a GPU",
    ),
    "a constant of every step": (
        f"{CORRECT}\n    like = task.noise\n"
        "    half = torch.tensor(0.5, dtype=like.dtype, device=like.device)\n"
        "    return {k: v * half for k, v in gradient.items()}",
        "aten::_to_copy in a step waits for the host, or copies from it [MLP]; on a GPU",
    ),
    "an error that only the pretended GPU brings": (
        f"{CORRECT}\n    if task.noise.device.type != 'cpu':\n"
        "        raise ValueError('not here')\n    return gradient",
        "could not be tried on a pretended GPU: strategy 'mine': correct() raised ValueError: "
        "not here (task 1); mine.py, line 23: raise ValueError('not here') [MLP]",
    ),
}


@pytest.mark.parametrize(("body", "words"), HELD_UP.values(), ids=HELD_UP.keys())
def test_what_a_gpu_may_not_do_is_a_warning(check, body, words):
    results = check(body)
    assert messages(results, "FAILED") == {}
    assert messages(results, "warning")["gpu"].startswith(words)


@pytest.mark.parametrize(
    "half",
    [
        "torch.full((), 0.5, dtype=task.noise.dtype, device=task.noise.device)",
        "torch.full_like(task.noise[0], 0.5)",
        "0.5",
    ],
)
def test_constants_that_a_gpu_makes_for_itself_hold_nothing_up(check, half):
    body = f"{CORRECT}\n    half = {half}\n    return {{k: v * half for k, v in gradient.items()}}"
    assert "gpu" in messages(check(body), "ok")


@pytest.mark.parametrize(
    "made",
    [
        "torch.tensor([0.5, 1.0], dtype=task.noise.dtype, device=task.noise.device)",
        "torch.as_tensor([0.5, 1.0], dtype=task.noise.dtype, device=task.noise.device)",
        "task.noise.new_tensor([0.5, 1.0])",
        "torch.tensor([0.5, 1.0], dtype=task.noise.dtype).to(task.noise.device)",
    ],
)
def test_at_the_begin_of_a_task_numbers_may_be_brought_to_a_gpu(check, made):
    body = f"{BEGIN}\n    half = {made}[0]\n    plan = task.everything()\n"
    results = check(f"{body}    return UpdatePlan(half * plan.share, plan.restart), memory")
    assert "gpu" in messages(results, "ok"), results


# What a strategy does late in a task.


@pytest.fixture
def long_tasks(monkeypatch):
    """Train as long as the command does, which most tests here do without."""
    monkeypatch.setitem(learners.STEPS, "MLP", LONG)


def test_tasks_are_as_long_as_those_of_the_quick_suite(monkeypatch):
    from driftboard.suite.sequences.registry import registered

    monkeypatch.undo()
    quick = [one for one in registered().values() if one.tier == "quick"]
    steps = []
    for one in quick:
        training, classes = one.training_under(), 10
        if has_own_units(one.scenario):
            classes = getattr(one.scenario, "classes", 10 // one.scenario.tasks)
        a_pass = one.train_per_class * classes // training.batch_size
        steps.append(max(training.epochs * a_pass, training.minimum_steps))
    assert max(steps) == LONG == learners.STEPS["MLP"]


@pytest.mark.usefixtures("long_tasks")
def test_a_mistake_at_a_late_step_is_found(check):
    late = "{n: v[:1] for n, v in gradient.items()}"
    results = check(
        f"vectorized: ClassVar = False\n{CORRECT}\n"
        f"    return {late} if task.step.number >= 40 else gradient"
    )
    failed = messages(results, "FAILED")
    assert list(failed) == ["lanes"]
    assert failed["lanes"].startswith("in tasks of 120 steps, strategy 'mine': correct() must")


@pytest.mark.usefixtures("long_tasks")
def test_training_that_diverges_is_told(check):
    factor = "torch.where(task.step.number >= 40, 1e30, 1.0)"
    results = check(
        f"{CORRECT}\n    if task.step is None:\n        return gradient\n"
        f"    return {{n: {factor} * v for n, v in gradient.items()}}"
    )
    assert messages(results, "warning")["lanes"].startswith("training diverges at these settings")


@pytest.mark.usefixtures("long_tasks")
def test_training_that_rounding_alone_drives_apart_is_said_to_be_unstable(check):
    results = check(f"{CORRECT}\n    return {{n: 1e6 * v for n, v in gradient.items()}}")
    warned = messages(results, "warning")
    assert warned["lanes"].startswith("training is unstable at these settings")
    assert messages(results, "FAILED") == {}


# Strategies that pass.


ONE_OF_EACH_CLASS = {type(value): name for name, value in (FURTHER | BUILTIN).items()}.values()


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_built_in_strategies_pass(name):
    results = check_strategy(name)
    assert messages(results, "FAILED") == messages(results, "warning") == {}
    assert results[-1].name == "time"


def test_the_template_passes_and_its_memory_is_one_copy_of_the_parameters():
    found = messages(check_strategy(template.__file__), "ok")
    own = ["begin", "correct", "finish"]
    assert list(found)[4:7] == own
    parameters = sum(8 * value.numel() for value in example_task().initial.values())
    assert found["memory"].startswith(f"{parameters:,} bytes here, 1.00 times the parameters;")
    assert found["memory"].endswith("does not grow with the tasks")
    assert found["settings"] == "strength: another value gives another solution"


def test_a_memory_that_grows_is_told():
    found = messages(check_strategy("ewc,separate=true"), "ok")
    parameters = sum(8 * value.numel() for value in example_task().initial.values())
    sizes = ", ".join(f"{2 * tasks * parameters:,}" for tasks in (1, 2, 3))
    assert found["memory"].endswith(f"6.00 times the parameters; GROWS with every task: {sizes}")


def test_what_is_not_said_or_not_used_is_a_warning(check):
    results = check(f"__doc__ = None\n{STRENGTH}\nlabels: str = 'exact'\nsummary: ClassVar = ''")
    assert messages(results, "FAILED") == {}
    assert messages(results, "warning") == {
        "description": "Mine lacks a docstring and a summary: say what it does, "
        "and what is taken from where",
        "settings": "another value of strength changes nothing here; does a hook use it?",
    }


def test_settings_are_those_of_the_specification(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEADER}    {STRENGTH}\n")
    first = check_strategy(f"{file}:Mine,strength=0.25")[0]
    assert first == Result("declaration", "ok", "'mine-strength-0.25', ranked, strength=0.25")


@pytest.fixture
def three_threads():
    """Let torch use three threads, as it may on a larger machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_checking_leaves_the_process_as_it_was(check, three_threads):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    check(
        f"{CORRECT}\n    torch.manual_seed(3)\n    np.random.rand()\n    random.random()\n"
        "    torch.set_default_dtype(torch.float64)\n    return gradient"
    )
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == 3
    assert torch.get_default_dtype() == torch.float32


# How results are compared.

ONE, NAN = torch.ones(2), torch.full((2,), torch.nan)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (ONE, torch.ones(2), True),
        (ONE, ONE.double(), False),
        (ONE, torch.ones(1), False),
        (ONE, ONE + 1e-7, False),
        (NAN, NAN.clone(), True),
        (NAN, ONE, False),
        ({"a": ONE}, {"a": torch.ones(2)}, True),
        ({"a": ONE}, {"b": ONE}, False),
        ({"a": ONE}, {"a": ONE, "b": ONE}, False),
        ((UpdatePlan(ONE, ONE > 0), {}), (UpdatePlan(ONE, ONE > 0), {}), True),
        ((UpdatePlan(ONE, ONE > 0), {}), (UpdatePlan(ONE, ONE > 1), {}), False),
        (Examples(ONE, ONE, ONE), Examples(ONE, NAN, ONE), False),
    ],
)
def test_values_are_the_same_bit_by_bit(one, other, equal):
    assert same(one, other) is equal


def test_a_copied_task_shares_nothing_and_is_the_same():
    task = example_task()
    other = copied(task)
    assert same(task, other)
    for one, two in zip(tensors(task), tensors(other), strict=True):
        assert one.data_ptr() != two.data_ptr()
    other.initial["head.bias"] += 1
    assert not same(task, other)


# What strategies are tried on.


@pytest.mark.parametrize("network", NETWORKS)
def test_a_learner_of_the_tiny_sequence_is_the_same_alone_and_beside_others(network):
    both, alone = tiny_cohort(network, (0, 1)), tiny_cohort(network, (1,))
    for name, value in both.initial.items():
        assert torch.equal(value[1:], alone.initial[name])
        assert value.dtype == torch.float64
        if name.endswith("weight") and value.ndim > 2:
            assert not torch.equal(value[0], value[1])
    for together, single in zip(both.train, alone.train, strict=True):
        assert torch.equal(together.images[1:], single.images)
        assert torch.equal(together.labels[1:], single.labels)
        assert not torch.equal(together.labels[0], together.labels[1])


def test_the_tasks_of_a_learner_have_classes_of_their_own():
    tasks = [example_task(index, seed=3) for index in range(3)]
    assert sorted(unit for task in tasks for unit in task.units.tolist()) == [*range(UNITS)]
    for task in tasks:
        assert task.examples.images.shape[1:] == SHAPE
        assert set(task.examples.labels.tolist()) == set(task.units.tolist())
        assert torch.equal(task.classes.nonzero().flatten(), task.units.sort().values)
        assert task.logits(task.initial, task.examples).shape == (24, UNITS)


def test_the_convolutions_have_group_norms():
    module = tiny_cohort("convolutions", (0,)).network.module
    kinds = {type(layer) for layer in module.modules()}
    assert {torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.Linear} <= kinds


# The command.


def test_the_command_prints_a_line_per_check_and_ends_with_0(call, tmp_path):
    code, out, errors = call("check", Path(template.__file__))
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 18
    assert all(line.startswith("ok          ") for line in lines)
    assert lines[9] == "ok          repeatable     equal arguments give equal results"


def test_the_command_ends_with_1_and_without_a_traceback(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEADER}    {FINISH}\n        raise ValueError('\\x1b[2J one\\ntwo')\n")
    code, out, errors = call("check", file)
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert line.startswith(
        "FAILED      finish         strategy 'mine': finish() raised ValueError: \\x1b[2J one "
        "(task 1)"
    )
    assert "mine.py, line 22: raise ValueError" in line
    assert errors == (
        "driftboard: 1 of 16 checks failed, 11 were not reached; mend what failed and check again\n"
    )


def test_a_traceback_is_shown_where_it_is_asked_for(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(f"{HEADER}    {FINISH}\n        return 1 / 0\n")
    code, out, errors = call("check", file, "--traceback")
    assert code == 1
    assert out.count("FAILED") == 1
    assert f'File "{file}", line 22, in finish' in errors
    assert errors.splitlines()[-1].endswith("checks failed, 11 were not reached; mend what failed "
                                            "and check again")  # fmt: skip


# What was not exercised is not called ok.

LATER = ["learners", "hidden memory", "memory", "lanes", "incremental"]
LATER += ["gpu", "settings", "time"]
PURE = ["arguments", "global state", "repeatable"]
HOOKS = f"""{BEGIN}
    {{begin}}
{LOSS}
    return task.loss(parameters, examples)
{CORRECT}
    {{correct}}
{CONSTRAIN}
    return parameters
def observe(self, task, gradient, step, parameters, memory):
    return memory
{FINISH}
    {{finish}}"""
SOUND = {
    "begin": "return task.everything(), memory",
    "correct": "return gradient",
    "finish": "return parameters, memory",
}
STOPPED = {
    "a plan that is raised": ({"begin": "raise ValueError('no')"}, "begin"),
    "a plan that is refused": ({"begin": "return None, memory"}, "begin"),
    "a memory that is refused": ({"begin": "return task.everything(), {'a': 1}"}, "begin"),
    "a gradient that is refused": ({"correct": "return {}"}, "correct"),
    "a hook that leaves": ({"begin": "raise SystemExit(3)"}, "begin"),
    "a step that is raised": ({"correct": "return gradient['no']"}, "correct"),
    "an end that is refused": ({"finish": "return parameters"}, "finish"),
}
ORDER = ["begin", "loss", "correct", "constrain", "observe", "finish"]


@pytest.mark.parametrize(("changes", "failed"), STOPPED.values(), ids=STOPPED.keys())
def test_what_comes_after_a_failure_is_not_reached(check, changes, failed):
    results = check(HOOKS.format(**SOUND | changes))
    place = ORDER.index(failed)
    assert list(messages(results, "FAILED")) == [failed]
    assert [one.name for one in results if one.status == "ok"][4:] == ORDER[:place]
    left = messages(results, "not reached")
    assert list(left) == [*ORDER[place + 1 :], *PURE, *LATER]
    assert all(left[hook] == "training stopped before it was called" for hook in ORDER[place + 1 :])
    assert {left[name] for name in PURE} == {"training stopped before all hooks were called"}
    assert {left[name] for name in LATER} == {"left out until what failed is mended"}


def test_hooks_of_blocks_that_never_move_are_not_reached(check):
    frozen = "return UpdatePlan(task.last_blocks(0).double(), task.last_blocks(0)), memory"
    results = check(HOOKS.format(**SOUND | {"begin": frozen}))
    assert messages(results, "FAILED") == {}
    left = messages(results, "not reached")
    assert left == dict.fromkeys(ORDER[1:5], "no block moves, so none calls it")


def test_what_fails_before_the_hooks_leaves_them_out(check):
    results = check(f'{FINISH}\n    return parameters, memory\nsearch: ClassVar = {{"no": 1}}')
    assert list(messages(results, "FAILED")) == ["search"]
    assert list(messages(results, "not reached")) == ["hooks", *LATER]


def test_memory_is_not_called_sound_where_training_stopped(check):
    """The hooks are called for learner 0; here it is another learner that stops."""
    body = (
        f"{FINISH}\n    if len(KEPT) > 12:\n        raise ValueError('late')\n    KEPT.append(1)\n"
    )
    results = check(f"{body}    return parameters, memory")
    assert list(messages(results, "FAILED")) == ["learners", "hidden memory"]
    assert "not reached" in {one.status for one in results if one.name == "memory"} | {
        one.status for one in results if one.name == "lanes"
    }


def test_a_file_that_is_named_relatively_has_its_line_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"{HEADER}    {FINISH}\n        return 1 / 0\n")
    found = messages(check_strategy("mine.py"), "FAILED")["finish"]
    assert "ZeroDivisionError: division by zero (task 1); mine.py, line 22: return 1 / 0 [" in found


# A strategy of several files.


@pytest.fixture
def write_two(tmp_path):
    """Return a function that writes a strategy whose only hook does something with a helper."""

    def write(act):
        (tmp_path / "helpers.py").write_text("KEPT = []\n")
        body = f"{FINISH}\n    {act}\n    return parameters, memory"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (tmp_path / "mine.py").write_text(f"import helpers\n{HEADER}\n{lines}")
        return str(tmp_path / "mine.py")

    return write


def test_state_in_another_file_is_found_as_well(write_two):
    assert failed(check_strategy(write_two("pass"))) == {}
    found = failed(check_strategy(write_two("helpers.KEPT.append(task.index)")))
    assert found["hidden memory"].startswith("KEPT of helpers changed while learners were trained")


def test_a_hook_that_imports_what_is_no_part_of_the_source_fails(write_two, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beside.py").write_text("")
    assert failed(check_strategy(write_two("__import__('beside')"))) == {}
    for act in ("__import__('be' + 'side')", "from importlib import *; import_module('beside')"):
        found = failed(check_strategy(write_two(act.replace("*", "import_module"))))
        start = f"beside of {tmp_path / 'beside.py'} is imported by other means"
        assert found["imports"].startswith(start)


def failed(results):
    return {one.name: one.message for one in results if one.status == "FAILED"}

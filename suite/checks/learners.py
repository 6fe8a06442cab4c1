"""Checks that train whole learners: one after another, together, with other settings, for time."""

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import pairwise
from types import FunctionType, ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory, Parameters, Strategy
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.target import (
    Result,
    Target,
    TaskEnd,
    all_finite,
    learn,
    same,
    tensors,
)
from driftboard.suite.checks.tiny import LONG, NETWORKS, TRAINING, tiny_cohort
from driftboard.suite.errors import StrategyError, counted
from driftboard.suite.training.cohort import Cohort
from driftboard.suite.training.evaluation import Evaluation

TWO_SEEDS = (0, 1)

TOLERANCE = 1e-9
"""How far both modes may differ in float64, relative and absolute; as in the engine's tests."""


STEPS = {"MLP": LONG, "convolutions": TRAINING.minimum_steps}
"""How many steps of a task learners take when both modes are compared."""


def _learn_alone(
    strategy: Strategy, network: str, seed: int = 0, steps: int = TRAINING.minimum_steps
) -> list[TaskEnd]:
    return learn(tiny_cohort(network, (seed,), steps=steps), strategy, "loop")


# One learner after another: does one leave something behind, and what does each carry over?


def learner_results(target: Target) -> list[Result]:
    """Check that learners are independent and hide no state, and describe the memory."""
    target = target.fresh()
    before = hidden_state(target.strategy, target.modules)
    independent, ends = _independent(target)
    hidden = changed_names(before, hidden_state(target.strategy, target.modules))
    memory = _memory(ends) if ends else Result("memory", "not reached", _STOPPED)
    return [independent, _hidden(hidden, stopped=independent.error is not None), memory]


_STOPPED = "training stopped before"


def _independent(target: Target) -> tuple[Result, list[TaskEnd]]:
    """Train learner 0, then 1, then 0 again; return the result and the tasks of the first."""
    first: list[TaskEnd] = []
    for network in NETWORKS:
        try:
            one, other, again = (_learn_alone(target.strategy, network, seed) for seed in (0, 1, 0))
            alone = _learn_alone(target.fresh().strategy, network, 1)
        except StrategyError as error:
            line = f"one learner after another: {error} [{network}]"
            return Result("learners", "FAILED", line, error), first
        first = first or one
        if not _equal(one, again) or not _equal(other, alone):
            return Result(
                "learners",
                "FAILED",
                f"a learner ends elsewhere when others were trained before it [{network}]; "
                "keep what a hook needs later in the memory that it returns",
            ), first
    return Result("learners", "ok", "none leaves anything behind for the next"), first


def _equal(one: list[TaskEnd], other: list[TaskEnd]) -> bool:
    return all(same(a.of_seed(0), b.of_seed(0)) for a, b in zip(one, other, strict=True))


def _hidden(names: list[str], stopped: bool) -> Result:
    if names:
        return Result(
            "hidden memory",
            "FAILED",
            f"{', '.join(names)} changed while learners were trained; what is carried over "
            "belongs into the memory, which is counted and is each learner's own",
        )
    if stopped:
        return Result("hidden memory", "not reached", _STOPPED)
    return Result("hidden memory", "ok", "nothing is kept on the object, its class or its module")


def _memory(ends: list[TaskEnd]) -> Result:
    for number, (earlier, later) in enumerate(pairwise(end.memory for end in ends), start=2):
        if problem := _lost(earlier, later):
            return Result(
                "memory",
                "FAILED",
                f"task {number} leaves {problem}; "
                "what is carried over keeps its names, dtypes and dimensions",
            )
    sizes = [_bytes(end.memory) for end in ends]
    if not sizes[-1]:
        return Result("memory", "ok", "carries nothing over")
    ratio = sizes[-1] / _bytes(ends[-1].parameters)
    growth = (
        f"GROWS with every task: {', '.join(f'{size:,}' for size in sizes)}"
        if sizes[-1] > sizes[-2]
        else "does not grow with the tasks"
    )
    line = f"{sizes[-1]:,} bytes here, {ratio:.2f} times the parameters; {growth}"
    return Result("memory", "ok", line)


def _lost(earlier: Memory, later: Memory) -> str | None:
    """Describe a tensor that is gone or of another kind, if there is one.

    New names and a longer first dimension are fine: a rule with one penalty per task adds those.
    """
    now = dict(pytree.tree_flatten_with_path(later)[0])
    for path, old in pytree.tree_flatten_with_path(earlier)[0]:
        name = "memory" + pytree.keystr(path)
        if path not in now:
            return f"no {name} any more"
        if _kind(now[path]) != _kind(old):
            return f"{name} as {_kind(now[path])}, which was {_kind(old)}"
    return None


def _kind(value: Tensor) -> str:
    """Return dtype and dimensions in words; the leading dimension of the seeds does not count."""
    return f"{str(value.dtype).removeprefix('torch.')} of {counted(value.ndim - 1, 'dimension')}"


def _bytes(tree: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors(tree))


# Hidden state is what lies on the strategy's object, in its class or in the modules of its source:
# nothing counts it as memory, and all learners share it.

DEPTH = 6
"""How many levels of nested containers are inspected."""


def hidden_state(strategy: Strategy, modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return what is stored outside of the memory: a name for messages -> comparable content.

    Covers tensors, arrays, numbers, texts, containers of them, the modules' classes and their
    instances, and the default arguments of functions.
    """
    own = {f"self.{name}": value for name, value in vars(strategy).items()}
    homes = {module.__name__: module for module in modules}
    for home, module in homes.items():
        is_its_own, relative = home == type(strategy).__module__, home.partition(".")[2]
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ == home:
                own |= {
                    f"{name}.{key}": content
                    for key, content in vars(value).items()
                    if not key.startswith("__dataclass")  # made anew where a class is read anew
                }
            elif not name.startswith("__") and not isinstance(value, ModuleType):
                own[f"the module's {name}" if is_its_own else f"{name} of {relative}"] = value
    return {name: _content(value, homes, DEPTH) for name, value in own.items()}


def changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names whose content is new or has changed.

    >>> changed_names({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    ['b', 'c']
    """
    absent = object()
    return [name for name, content in after.items() if before.get(name, absent) != content]


def _content(value: Any, homes: Container[str], depth: int) -> Any:
    """Return plain data that is equal for equal content; other objects by their identity.

    ``homes`` are the names of the modules whose classes' instances are inspected.
    """
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), repr(value.tolist())
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, repr(value.tolist())
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, set | frozenset):
        return sorted(repr(item) for item in value)
    if isinstance(value, FunctionType):
        value = [value.__defaults__, value.__kwdefaults__, vars(value)]
    elif type(value).__module__ in homes:
        value = vars(value)
    if depth > 0 and isinstance(value, Mapping):
        return [(repr(key), _content(item, homes, depth - 1)) for key, item in value.items()]
    if depth > 0 and isinstance(value, list | tuple):
        return [_content(item, homes, depth - 1) for item in value]
    return id(value)


# Both modes: learners that are trained together must end where each ends alone.


def mode_results(target: Target) -> list[Result]:
    """Compare both modes: plans, parameters and memory at the end of every task.

    On the MLP tasks are as long as the quick suite's, so that what a strategy does at a later step
    is reached: pruning, a switch of phases, a reset.
    """
    problem = next(filter(None, (_difference(target, network) for network in NETWORKS)), None)
    fine = f"two learners trained together are what each is alone, after up to {LONG} steps a task"
    if not target.strategy.vectorized:
        fine = f"vectorized is False: one learner is trained after another, up to {LONG} steps"
    return [problem or Result("lanes", "ok", fine)]


def _difference(target: Target, network: str) -> Result | None:
    steps = STEPS[network]
    try:
        alone = [_learn_alone(target.fresh().strategy, network, seed, steps) for seed in TWO_SEEDS]
    except StrategyError as error:
        line = f"in tasks of {steps} steps, {error} [{network}]"
        return Result("lanes", "FAILED", line, error)
    if not all_finite([end.parameters for ends in alone for end in ends]):
        return Result("lanes", "warning", f"{_DIVERGES} [{network}]")
    if not target.strategy.vectorized:
        return None
    cohort = tiny_cohort(network, TWO_SEEDS, steps=steps)
    try:
        together = learn(cohort, target.fresh().strategy, "vmap")
    except StrategyError as error:
        line = (
            f"with learners trained together, {error} [{network}]; "
            "decide with torch.where, without if, .item(), NumPy or boolean indexing"
        )
        return Result("lanes", "FAILED", line, error)
    if number := first_apart(together, alone, parts=4):
        if is_unstable(target, tiny_cohort(network, TWO_SEEDS[:1], steps=steps), alone[0]):
            return Result("lanes", "warning", f"{UNSTABLE} [{network}]")
        line = (
            f"learners trained together end task {number} elsewhere than each alone "
            f"[{network}]; no value may depend on the other learners"
        )
        return Result("lanes", "FAILED", line)
    return None


_DIVERGES = (
    "training diverges at these settings: parameters are not finite at the end of a task; try a "
    "smaller rate or strength"
)
UNSTABLE = (
    "training is unstable at these settings: it ends elsewhere after a change of the start in the "
    "twelfth digit, so learners trained together cannot be compared with each alone; try a smaller "
    "rate or strength"
)


def is_unstable(target: Target, cohort: Cohort, alone: list[TaskEnd]) -> bool:
    """Tell whether the learner of a cohort ends elsewhere if it starts almost where it did.

    ``alone`` is how it ends.
    """
    nearly = {name: value * (1 + 1e-12) for name, value in cohort.initial.items()}
    ends = learn(dataclasses.replace(cohort, initial=nearly), target.fresh().strategy, "loop")
    return first_apart(ends, [alone], parts=3) is not None


def first_apart(together: list[TaskEnd], alone: Iterable[list[TaskEnd]], parts: int) -> int | None:
    """Return at the end of which task, from 1, a learner is not what it is alone; None at none.

    ``parts`` says how many are compared of shares, restarts, parameters and memory.
    """
    for position, ends in enumerate(alone):
        for number, (both, single) in enumerate(zip(together, ends, strict=True), start=1):
            one, other = both.of_seed(position)[:parts], single.of_seed(0)[:parts]
            try:
                torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)
            except AssertionError:
                return number
    return None


# Settings: does another value of a hyper-parameter give another solution?

Effect = Literal["used", "unused", "not tried"]

_Case = tuple[str, bool]
"""A network of ``NETWORKS``, and whether its sequence is class-incremental."""

_CASES: tuple[_Case, ...] = (*((network, False) for network in NETWORKS), ("MLP", True))


def setting_results(target: Target) -> list[Result]:
    """Train with one field changed at a time; a field without any effect is a warning."""
    strategy = target.strategy
    usual = {case: _result_of(strategy, case) for case in _CASES}
    effects: dict[str, Effect] = {}
    for field in dataclasses.fields(strategy):
        try:
            effects[field.name] = _effect(strategy, field.name, usual)
        except StrategyError as error:
            where = f"at an end of the search range of {field.name}"
            return [Result("settings", "FAILED", f"{where}, {error}", error)]
    return [_summary(effects)]


def _summary(effects: dict[str, Effect]) -> Result:
    names: dict[Effect, str] = {
        effect: ", ".join(name for name, found in effects.items() if found == effect)
        for effect in ("used", "unused", "not tried")
    }
    if names["unused"]:
        line = f"another value of {names['unused']} changes nothing here; does a hook use it?"
        return Result("settings", "warning", line)
    said = [f"{names['used']}: another value gives another solution"] if names["used"] else []
    said += [f"not tried: {names['not tried']}"] if names["not tried"] else []
    return Result("settings", "ok", "; ".join(said) or "there are none")


def _effect(strategy: Strategy, name: str, usual: dict[_Case, Any]) -> Effect:
    """Tell whether another value of a field changes solutions or answers in some case.

    Raises:
        StrategyError: a hook raised at a value from the strategy's own search range.
    """
    effect: Effect = "not tried"
    for value in _other_values(strategy, name):
        changed = _changed(strategy, name, value)
        if changed is None:
            continue
        try:
            if any(not same(_result_of(changed, case), usual[case]) for case in _CASES):
                return "used"
        except StrategyError:
            if name in strategy.search:
                raise
        else:
            effect = "unused"
    return effect


def _changed(strategy: Strategy, name: str, value: bool | int | float) -> Strategy | None:
    """Return the strategy with one field changed, or None if it rejects the value."""
    try:
        return dataclasses.replace(strategy, **{name: value})
    except Exception:  # the __post_init__ of a user's class may raise anything
        return None


def _other_values(strategy: Strategy, name: str) -> Iterator[bool | int | float]:
    """Yield other values: the ends of the search range, or guesses; none for a text."""
    value = getattr(strategy, name)
    if name in strategy.search:
        limits = strategy.search[name]
        candidates = [float(limits.low), float(limits.high)]
    elif isinstance(value, bool):
        candidates = [not value]
    elif isinstance(value, int):
        # 1 for a number of directions to keep, of which tiny networks have fewer than most values.
        candidates = [value + 1, value - 1, 2 * value, 1]
    elif isinstance(value, float):
        candidates = [value / 100, 2 * value, value + 0.5, value - 0.5]
    else:
        candidates = []
    yield from (other for other in candidates if other != value)


def _result_of(strategy: Strategy, case: _Case) -> tuple[Parameters, Tensor]:
    """Return the last solution, and the logits of the first task's test images."""
    network, class_incremental = case
    cohort = tiny_cohort(network, (0,), class_incremental)
    end = learn(cohort, strategy, "loop")[-1]
    evaluation = Evaluation(cohort, strategy, "loop")
    return end.parameters, evaluation.logits(end.parameters, end.memory, 0)


# Time.


def time_results(target: Target) -> list[Result]:
    """Measure the time of a task, as a multiple of sgd's; this check cannot fail.

    On networks this small most of the time is overhead.
    """
    ratios = []
    for network in NETWORKS:
        own, plain = (_seconds(strategy, network) for strategy in (target.strategy, Sgd()))
        ratios.append(f"{own / plain:.1f} times sgd [{network}]")
    return [Result("time", "ok", f"of a task: {', '.join(ratios)}")]


def _seconds(strategy: Strategy, network: str) -> float:
    """Return the time of all tasks in the faster of two runs."""
    runs = [_learn_alone(strategy, network) for _ in range(2)]
    return min(sum(end.seconds for end in ends) for ends in runs)

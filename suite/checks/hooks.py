"""Checks of every hook through three tasks on both networks: what it returns, and is it pure?"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from driftboard.strategies.base import HOOKS, Parameters, Strategy, Task, UpdatePlan, overrides
from driftboard.suite.checks.target import (
    Result,
    Target,
    all_finite,
    copied,
    learn,
    same,
)
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training.attributes import kept_attributes
from driftboard.suite.training.global_state import kept_global_state
from driftboard.suite.training.stored import capacity_of

# Hook -> what it must return; the order is that in which the engine calls them.
_RETURNS = {
    "begin": "returns a plan, one share in [0, 1] for every block, and a memory",
    "batch": "returns images, labels and allowed units of the right shapes and dtypes",
    "loss": "returns a finite scalar with a gradient",
    "correct": "returns a gradient of the right names, shapes and dtype",
    "update": "returns moves of the right names, shapes and dtype, and a memory like that it was "
    "given",
    "constrain": "returns parameters of the right names, shapes and dtype",
    "observe": "returns a memory of the names, shapes and dtypes that it was given",
    "finish": "returns parameters of the right names, shapes and dtype, and a memory",
    "answer": "returns finite logits of the right shape and dtype",
}

# Name of a check -> its message when nothing was found, and the advice when something was.
_PURE = {
    "arguments": ("no hook changes them in place", "return new tensors and new dicts instead"),
    "global state": (
        "random states, torch's settings and the process stay as they are",
        "draw random numbers from task.uniform, and leave torch's settings alone",
    ),
    "repeatable": (
        "equal arguments give equal results",
        "draw random numbers from task.uniform, and keep nothing between calls",
    ),
}


def hook_results(target: Target) -> list[Result]:
    """Return one result per overridden hook, then one per property of a pure function."""
    trainings = [_train(target.fresh(), network) for network in NETWORKS]
    hooks = [_of_hook(hook, trainings) for hook in _overridden(target.strategy)]
    if not hooks:
        line = f"none is overridden, so it does what sgd does; there are {', '.join(HOOKS)}"
        hooks = [Result("hooks", "ok", line)]
    return hooks + [_of_property(name, trainings) for name in _PURE]


@dataclass(frozen=True)
class _Training:
    """A training on one network under a probe, and what stopped it."""

    network: str
    probe: "Probe"
    error: StrategyError | None = None


def _train(target: Target, network: str) -> _Training:
    probe = Probe(target.strategy)
    try:
        learn(tiny_cohort(network, (0,)), probe.strategy(), "loop")
    except StrategyError as error:
        return _Training(network, probe, error)
    return _Training(network, probe)


def _of_hook(hook: str, trainings: list[_Training]) -> Result:
    for one in trainings:
        if one.error and hook == one.probe.hook:
            return Result(hook, "FAILED", f"{one.error} [{one.network}]", one.error)
    if any(hook in one.probe.called for one in trainings):
        return Result(hook, "ok", _RETURNS[hook])
    stopped = any(one.error for one in trainings)
    why = "training stopped before it was called" if stopped else "no block moves, so none calls it"
    return Result(hook, "not reached", why)


def _of_property(name: str, trainings: list[_Training]) -> Result:
    fine, advice = _PURE[name]
    for one in trainings:
        if name in one.probe.findings:
            return Result(name, "FAILED", f"{one.probe.findings[name]}; {advice}")
    if any(one.error for one in trainings):
        return Result(name, "not reached", "training stopped before all hooks were called")
    return Result(name, "ok", fine)


class Probe:
    """Sits between the engine and a strategy, and calls every hook twice, on copies.

    ``findings`` maps "arguments", "global state" or "repeatable" to the first thing that a pure
    function would not do. ``called`` are the hooks that were called, ``hook`` is the last of them;
    before any was called, it is the first that would be.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.findings: dict[str, str] = {}
        self.called: set[str] = set()
        self.hook = next(iter(_overridden(strategy)), "")
        self._strategy = strategy

    def strategy(self) -> Strategy:
        """Return a strategy that does the same under the probe; only for the mode "loop".

        Its hooks raise StrategyError when they return something that no hook may return.
        """
        # The engine skips hooks that a class inherits, so the class must define exactly those
        # that the original overrides.
        members: dict[str, Any] = {
            "name": self._strategy.name,
            "trains_on_all_tasks": self._strategy.trains_on_all_tasks,
            "stores": self._strategy.stores,
            "capacity": capacity_of(self._strategy),
        }
        members |= {hook: self._probed(hook) for hook in _overridden(self._strategy)}
        probed: Strategy = type("Probed", (Strategy,), members)()
        return probed

    def _probed(self, hook: str) -> Callable[..., Any]:
        def probed(_: Strategy, *given: Any) -> Any:
            self.hook = hook
            self.called.add(hook)
            result = self._call_and_compare_arguments(hook, given)
            again = self._call(hook, copied(given))
            if not same(result, again):
                self._note("repeatable", f"{hook}() returns something else for equal arguments")
            if problem := _problem(hook, given, result):
                where = f" (task {given[0].index + 1})" if isinstance(given[0], Task) else ""
                raise StrategyError(f"{hook}() {problem}{where}")
            return result

        return probed

    def _call_and_compare_arguments(self, hook: str, given: tuple[Any, ...]) -> Any:
        own = copied(given)
        result = self._call(hook, own)
        names = [*inspect.signature(getattr(Strategy, hook)).parameters][1:]
        changed = [name for name, a, b in zip(names, own, given, strict=True) if not same(a, b)]
        if changed:
            self._note("arguments", f"{hook}() changes {' and '.join(changed)} in place")
        return result

    def _call(self, hook: str, arguments: tuple[Any, ...]) -> Any:
        changed: list[str] = []
        replaced: list[str] = []
        try:
            with kept_global_state() as changed, kept_attributes() as replaced:
                return getattr(self._strategy, hook)(*arguments)
        finally:
            if found := changed + replaced:
                self._note("global state", f"{hook}() changes {' and '.join(found)}")

    def _note(self, kind: str, line: str) -> None:
        self.findings.setdefault(kind, line)


def _overridden(strategy: Strategy) -> list[str]:
    return [hook for hook in _RETURNS if overrides(strategy, hook)]


def _problem(hook: str, given: tuple[Any, ...], result: Any) -> str | None:
    """Return what is wrong with a result beyond what the engine itself rejects."""
    if hook == "begin":
        plan = result[0] if isinstance(result, tuple) and result else None
        share = plan.share if isinstance(plan, UpdatePlan) else None
        if isinstance(share, Tensor) and not share.is_floating_point():
            return f"must return shares of a float type, not {share.dtype}"
    elif hook not in ("observe", "batch"):  # a memory may hold tensors of any dtype
        first = result[0] if isinstance(result, tuple) and result else result
        like = given[0].images if hook == "answer" else given[0].noise
        if wrong := _other_dtype(first, like.dtype, "the loss" if hook == "loss" else "logits"):
            return wrong
    if all_finite(given) and not all_finite(result):
        return "returns NaN or infinity for finite arguments"
    return None


def _other_dtype(values: Any, expected: torch.dtype, otherwise: str) -> str | None:
    """Describe the first tensor whose dtype is not that of the network's parameters.

    ``otherwise`` is what to call a single tensor.
    """
    named: Parameters = values if isinstance(values, dict) else {otherwise: values}
    for name, value in named.items():
        if isinstance(value, Tensor) and value.dtype != expected:
            return f"must return {name} as {expected}, like the parameters, not {value.dtype}"
    return None

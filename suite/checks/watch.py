"""A watch between the engine and a strategy's hooks: looks at every call of one learner."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from driftboard.strategies.base import Parameters, Strategy, Task, UpdatePlan, overrides
from driftboard.suite.checks.surroundings import surroundings
from driftboard.suite.checks.trees import all_finite, copied, same
from driftboard.suite.errors import StrategyError

HOOKS = ("begin", "loss", "correct", "constrain", "observe", "finish")


class Watch:
    """Calls a strategy's hooks twice, on copies, and notes what a pure function would not do.

    ``findings`` has one line for each kind of impurity that was seen, the first of its kind:
    ``arguments``, ``global state`` and ``repeatable``. ``hook`` is the one that was called last.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.findings: dict[str, str] = {}
        self.hook = ""
        self._strategy = strategy

    def strategy(self) -> Strategy:
        """Return a strategy that does the same, and is watched; for the mode "loop" only.

        It raises StrategyError where a hook returns what no hook may return.
        """
        members: dict[str, Any] = {
            "name": self._strategy.name,
            "trains_on_all_tasks": self._strategy.trains_on_all_tasks,
        }
        members |= {hook: self._watched(hook) for hook in overridden(self._strategy)}
        watched: Strategy = type("Watched", (Strategy,), members)()
        return watched

    def _watched(self, hook: str) -> Callable[..., Any]:
        def watched(_: Strategy, *given: Any) -> Any:
            self.hook = hook
            result = self._compared(hook, given)
            again = self._called(hook, copied(given))
            if not same(result, again):
                self._note("repeatable", f"{hook}() returns something else for equal arguments")
            if problem := _problem(hook, given, result):
                task: Task = given[0]
                raise StrategyError(f"{hook}() {problem} (task {task.index + 1})")
            return result

        return watched

    def _compared(self, hook: str, given: tuple[Any, ...]) -> Any:
        """Call a hook on copies of what it is given, and compare these afterwards."""
        own = copied(given)
        result = self._called(hook, own)
        names = [*inspect.signature(getattr(Strategy, hook)).parameters][1:]
        changed = [name for name, a, b in zip(names, own, given, strict=True) if not same(a, b)]
        if changed:
            self._note("arguments", f"{hook}() changes {' and '.join(changed)} in place")
        return result

    def _called(self, hook: str, arguments: tuple[Any, ...]) -> Any:
        before = surroundings()
        try:
            return getattr(self._strategy, hook)(*arguments)
        finally:
            if changed := surroundings().changed(before):
                self._note("global state", f"{hook}() changes {' and '.join(changed)}")
            before.restore()

    def _note(self, kind: str, line: str) -> None:
        self.findings.setdefault(kind, line)


def overridden(strategy: Strategy) -> list[str]:
    """Return the names of the hooks that a strategy does not leave to the base class."""
    return [hook for hook in HOOKS if overrides(strategy, hook)]


def _problem(hook: str, given: tuple[Any, ...], result: Any) -> str | None:
    """Return what is wrong with a hook's result besides what the engine itself refuses."""
    if hook == "begin":
        plan = result[0] if isinstance(result, tuple) and result else None
        share = plan.share if isinstance(plan, UpdatePlan) else None
        if isinstance(share, Tensor) and not share.is_floating_point():
            return f"must return shares of a float type, not {share.dtype}"
    elif hook != "observe":  # of a memory's types nothing is asked
        first = result[0] if isinstance(result, tuple) and result else result
        if wrong := _other_dtype(first, task=given[0]):
            return wrong
    if all_finite(given) and not all_finite(result):
        return "returns NaN or infinity for finite arguments"
    return None


def _other_dtype(values: Any, task: Task) -> str | None:
    """Tell of the first tensor whose type is not that of the network's parameters."""
    expected: torch.dtype = task.noise.dtype
    named: Parameters = values if isinstance(values, dict) else {"the loss": values}
    for name, value in named.items():
        if isinstance(value, Tensor) and value.dtype != expected:
            return f"must return {name} as {expected}, like the parameters, not {value.dtype}"
    return None

"""Checking a strategy: finds common mistakes in seconds, on two tiny networks.

``driftboard check`` prints what ``check_strategy`` returns. In the tests of a strategy,
``example_task`` gives a task that a hook can be called with.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from driftboard.suite.checks.declaration import declaration_results
from driftboard.suite.checks.gpu import gpu_results
from driftboard.suite.checks.hooks import hook_results
from driftboard.suite.checks.incremental import CHECK as INCREMENTAL
from driftboard.suite.checks.incremental import incremental_results
from driftboard.suite.checks.learners import (
    learner_results,
    mode_results,
    setting_results,
    time_results,
)
from driftboard.suite.checks.target import Result, load_target
from driftboard.suite.checks.tiny import example_task
from driftboard.suite.errors import StrategyError
from driftboard.suite.source.loaders import only_own_imports

__all__ = ["Result", "check_strategy", "example_task"]

_STAGES = {
    declaration_results: ("declaration", "fields", "search", "description"),
    hook_results: ("hooks",),
    learner_results: ("learners", "hidden memory", "memory"),
    mode_results: ("lanes",),
    incremental_results: (INCREMENTAL,),
    gpu_results: ("gpu",),
    setting_results: ("settings",),
    time_results: ("time",),
}
"""Every stage with the checks that are not reached if an earlier stage fails."""


def check_strategy(specification: str) -> list[Result]:
    """Check a strategy on a tiny sequence, which takes seconds.

    Args:
        specification: as for ``driftboard run --strategy``: the name of a built-in strategy,
            ``FILE.py``, ``FOLDER``, or one of these two with ``:CLASS``, each optionally followed
            by ``,parameter=value``.

    Returns:
        One result per check, in order. When a check fails, those of later stages are not reached,
        because they would fail for the same reason.

    >>> check_strategy("gpn")[0].message
    "there is no strategy 'gpn'; did you mean gpm, packnet?"
    """
    try:
        target = load_target(specification)
    except StrategyError as error:
        return [Result("declaration", "FAILED", str(error), error)]
    results: list[Result] = []
    try:
        with _one_thread(), only_own_imports():
            for stage, names in _STAGES.items():
                if any(result.status == "FAILED" for result in results):
                    why = "left out until what failed is mended"
                    results += [Result(name, "not reached", why) for name in names]
                else:
                    results += stage(target)
    except StrategyError as error:
        results.append(Result("imports", "FAILED", str(error), error))
    return results


@contextmanager
def _one_thread() -> Iterator[None]:
    """Restrict torch to one thread; on networks this small, more threads only cost time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

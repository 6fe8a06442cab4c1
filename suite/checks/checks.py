"""All checks of a strategy, in stages: what rests on a failed stage is not tried."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from driftboard.suite.checks.declaration import declaration_results
from driftboard.suite.checks.gpu_checks import gpu_results
from driftboard.suite.checks.hook_checks import hook_results
from driftboard.suite.checks.lane_checks import lane_results
from driftboard.suite.checks.learner_checks import learner_results
from driftboard.suite.checks.result import Result, any_failed
from driftboard.suite.checks.setting_checks import setting_results
from driftboard.suite.checks.subject import load_subject
from driftboard.suite.checks.time_checks import time_results
from driftboard.suite.errors import StrategyError

STAGES = (
    declaration_results,
    hook_results,
    learner_results,
    lane_results,
    gpu_results,
    setting_results,
    time_results,
)


def check_strategy(specification: str) -> list[Result]:
    """Check a strategy on a tiny sequence; a matter of seconds.

    Args:
        specification: as for ``driftboard run --strategy``: a built-in strategy's name, or
            ``FILE.py``, or ``FILE.py:CLASS``, each also with ``,parameter=value``.

    Returns:
        One result per check, in order. After a stage that failed the later ones are left out:
        they would only fail for the same reason.
    """
    try:
        subject = load_subject(specification)
    except StrategyError as error:
        return [Result("declaration", "FAILED", str(error))]
    results: list[Result] = []
    with _one_thread():
        for stage in STAGES:
            results += stage(subject)
            if any_failed(results):
                break
    return results


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: on networks this small, more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

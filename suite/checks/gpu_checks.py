"""On a GPU, pretended: what was written on a CPU must not fail there, and has steps to record."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import Tensor

from driftboard.suite.checks.pretended_gpu import (
    ELSEWHERE,
    REFUSED,
    MixedDevicesError,
    pretended_gpu,
)
from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, TRAINING, tiny_cohort
from driftboard.suite.checks.training import learn, told
from driftboard.suite.errors import StrategyError
from driftboard.suite.training.cuda_graph import WARM_UP, GraphRunner, StepFunction

SEEDS = (0, 1)

LONGER = replace(TRAINING, minimum_steps=WARM_UP + 2)
"""Long enough that steps are recorded."""


def gpu_results(subject: Subject) -> list[Result]:
    """Train on the pretended GPU; a step that is held up there is slow, and so a warning."""
    warning = None
    for network in NETWORKS:
        result = _result(subject, network)
        if result is not None and result.status == "FAILED":
            return [result]
        warning = warning or result
    return [warning or Result("gpu", "ok", "tensors are where they are needed; steps are recorded")]


def _result(subject: Subject, network: str) -> Result | None:
    """Return what is wrong with one network."""
    holding: set[str] = set()

    def record(step: StepFunction, place: Tensor) -> Callable[[], None]:
        def replay() -> None:
            began = len(operations)
            step(place)
            holding.update(each.name for each in operations[began:] if each.holds_up)

        return replay

    try:
        with pretended_gpu() as operations:
            cohort = replace(tiny_cohort(network, SEEDS).on(ELSEWHERE), training=LONGER)
            learn(cohort, subject.fresh().strategy, "vmap", GraphRunner(record))
    except StrategyError as error:
        return _of_error(error, subject, network)
    if refused := {each.name for each in operations} & REFUSED:
        found = f"{_named(refused)} has no deterministic form on a GPU, and is refused there"
        return Result("gpu", "FAILED", f"{found} [{network}]; use another operation")
    if holding:
        found = f"{_named(holding)} in a step waits for the host, or copies from it"
        advice = "on a GPU every step is slow then; take task.loss, make constants with torch.full"
        return Result("gpu", "warning", f"{found} [{network}]; {advice}")
    return None


def _of_error(error: StrategyError, subject: Subject, network: str) -> Result:
    what = told(error, subject.file)
    if error.__cause__ is None:  # nothing was raised: what came back is in the wrong place
        return Result("gpu", "FAILED", f"{what} [{network}]")
    if isinstance(error.__cause__, MixedDevicesError):
        advice = "make tensors with zeros_like, new_zeros or device=task.noise.device"
        return Result("gpu", "FAILED", f"{what} [{network}]; {advice}")
    return Result("gpu", "warning", f"could not be tried on a pretended GPU: {what} [{network}]")


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

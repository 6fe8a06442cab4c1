"""Both lanes: learners that are trained together must end where each ends alone."""

import torch

from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.checks.training import learn, told
from driftboard.suite.errors import StrategyError

SEEDS = (0, 1)

TOLERANCE = 1e-9
"""How far the lanes may be apart in float64, relative and absolute; as in the engine's tests."""


def lane_results(subject: Subject) -> list[Result]:
    """Compare the lanes: plans, parameters and memory at the end of every task."""
    problem = next(filter(None, (_problem(subject, network) for network in NETWORKS)), None)
    if problem:
        return [Result("lanes", "FAILED", problem)]
    return [Result("lanes", "ok", "two learners trained together are what each is alone")]


def _problem(subject: Subject, network: str) -> str | None:
    try:
        together = learn(tiny_cohort(network, SEEDS), subject.fresh().strategy, "vmap")
        alone = [
            learn(tiny_cohort(network, (seed,)), subject.fresh().strategy, "loop") for seed in SEEDS
        ]
    except StrategyError as error:
        return (
            f"with learners trained together, {told(error, subject.file)} [{network}]; "
            "decide with torch.where, without if, .item(), NumPy or boolean indexing"
        )
    for place, ends in enumerate(alone):
        for number, (both, single) in enumerate(zip(together, ends, strict=True), start=1):
            try:
                torch.testing.assert_close(
                    both.of_seed(place), single.of_seed(0), rtol=TOLERANCE, atol=TOLERANCE
                )
            except AssertionError:
                return (
                    f"learners trained together end task {number} elsewhere than each alone "
                    f"[{network}]; no value may depend on the other learners"
                )
    return None

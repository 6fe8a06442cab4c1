"""The check on a class-incremental sequence, where more units may answer than are the task's own.

Everywhere else ``task.answers`` are ``task.units``, so a hook that takes one for the other, or
counts on as many answers at every task, works there and fails here.
"""

from driftboard.suite.checks.hooks import Probe
from driftboard.suite.checks.learners import TWO_SEEDS, UNSTABLE, first_apart, is_unstable
from driftboard.suite.checks.target import Result, Target, learn
from driftboard.suite.checks.tiny import tiny_cohort
from driftboard.suite.errors import StrategyError

CHECK = "incremental"
NETWORK = "MLP"

_WHERE = "where an answer is chosen from the classes of all tasks so far"
_ADVICE = (
    "task.answers has these classes and task.units the task's own, and query.task is None there"
)


def incremental_results(target: Target) -> list[Result]:
    """Train where answers are not units: do hooks stay pure, and are learners what each is alone?

    Checks before this one have found what is wrong elsewhere, too.
    """
    probe = Probe(target.strategy)
    try:
        learn(tiny_cohort(NETWORK, (0,), True), probe.strategy(), "loop")
        if not target.strategy.vectorized:
            return [_of_probe(probe) or Result(CHECK, "ok", f"works {_WHERE}")]
        cohort = tiny_cohort(NETWORK, TWO_SEEDS, True)
        together = learn(cohort, target.fresh().strategy, "vmap")
        alone = [
            learn(tiny_cohort(NETWORK, (seed,), True), target.fresh().strategy, "loop")
            for seed in TWO_SEEDS
        ]
    except StrategyError as error:
        return [Result(CHECK, "FAILED", f"{_WHERE}, {error}; {_ADVICE}", error)]
    if found := _of_probe(probe):
        return [found]
    # Memories are not compared: the more classes answer, the more eigenvalues are equal, and any
    # basis of their eigenvectors is right. What a memory does shows in the next task's parameters.
    if number := first_apart(together, alone, parts=3):
        if is_unstable(target, tiny_cohort(NETWORK, TWO_SEEDS[:1], True), alone[0]):
            return [Result(CHECK, "warning", f"{_WHERE}, {UNSTABLE}")]
        apart = f"{_WHERE}, learners trained together end task {number} elsewhere than each alone"
        return [Result(CHECK, "FAILED", f"{apart}; {_ADVICE}")]
    return [Result(CHECK, "ok", f"works {_WHERE}")]


def _of_probe(probe: Probe) -> Result | None:
    """Return what a pure function would not do, if the probe has found anything."""
    if not probe.findings:
        return None
    found = next(iter(probe.findings.values()))
    return Result(CHECK, "FAILED", f"{_WHERE}, {found}; {_ADVICE}")

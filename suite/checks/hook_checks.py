"""Every hook, watched through three tasks on both networks: what it returns, and is it pure?"""

from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.checks.training import learn, told
from driftboard.suite.checks.watch import Watch, overridden
from driftboard.suite.errors import StrategyError

RETURNS = {
    "begin": "returns a plan, one share in [0, 1] for every block, and a memory",
    "loss": "returns a finite scalar with a gradient",
    "correct": "returns a gradient of the right names, shapes and dtype",
    "constrain": "returns parameters of the right names, shapes and dtype",
    "observe": "returns a memory of the names, shapes and dtypes that it was given",
    "finish": "returns parameters of the right names, shapes and dtype, and a memory",
}
PURE = {
    "arguments": ("no hook changes them in place", "return new tensors and new dicts instead"),
    "global state": (
        "random states, default dtype and grad mode stay as they are",
        "draw random numbers from task.noise, and leave torch's settings alone",
    ),
    "repeatable": (
        "equal arguments give equal results",
        "draw random numbers from task.noise, and keep nothing between calls",
    ),
}
"""Kind of a watch's finding -> what is said without one, and what to do about one."""


def hook_results(subject: Subject) -> list[Result]:
    """Return one result per overridden hook, then one per way not to be a pure function."""
    failures: dict[str, str] = {}
    for network in NETWORKS:
        failures = _failures(subject.fresh(), network) | failures
    hooks = [
        Result(hook, "FAILED", failures[hook])
        if hook in failures
        else Result(hook, "ok", RETURNS[hook])
        for hook in overridden(subject.strategy)
    ]
    if not hooks:
        hooks = [Result("hooks", "ok", "none is overridden, so it does what sgd does")]
    purity = [
        Result(kind, "FAILED", f"{failures[kind]}; {advice}")
        if kind in failures
        else Result(kind, "ok", fine)
        for kind, (fine, advice) in PURE.items()
    ]
    return hooks + purity


def _failures(subject: Subject, network: str) -> dict[str, str]:
    """Return hook or kind of impurity -> what went wrong with it on one network."""
    watch = Watch(subject.strategy)
    try:
        learn(tiny_cohort(network, (0,)), watch.strategy(), "loop")
    except StrategyError as error:
        return watch.findings | {watch.hook: f"{told(error, subject.file)} [{network}]"}
    return watch.findings

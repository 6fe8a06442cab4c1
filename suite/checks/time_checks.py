"""What a task costs, beside what it costs sgd."""

from driftboard.strategies.base import Strategy
from driftboard.strategies.sgd import Sgd
from driftboard.suite.checks.result import Result
from driftboard.suite.checks.subject import Subject
from driftboard.suite.checks.tiny import NETWORKS, tiny_cohort
from driftboard.suite.checks.training import learn


def time_results(subject: Subject) -> list[Result]:
    """Measure; nothing can fail here. On networks this small it is mostly overhead."""
    ratios = []
    for network in NETWORKS:
        own, plain = (_seconds(strategy, network) for strategy in (subject.strategy, Sgd()))
        ratios.append(f"{own / plain:.1f} times sgd [{network}]")
    return [Result("time", "ok", f"of a task: {', '.join(ratios)}")]


def _seconds(strategy: Strategy, network: str) -> float:
    """Return the time of all tasks: of two trainings that of the faster one."""
    runs = [learn(tiny_cohort(network, (0,)), strategy, "loop") for _ in range(2)]
    return min(sum(end.seconds for end in ends) for ends in runs)

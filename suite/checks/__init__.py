"""Checking a strategy: the usual mistakes, found in seconds on two tiny networks."""

from driftboard.suite.checks.checks import check_strategy
from driftboard.suite.checks.result import Result
from driftboard.suite.checks.tiny import example_task

__all__ = ["Result", "check_strategy", "example_task"]

"""Checking a strategy: the usual mistakes, found in seconds on two tiny networks."""

from driftboard.suite.checking.checks import check_strategy
from driftboard.suite.checking.result import Result
from driftboard.suite.checking.tiny import example_task

__all__ = ["Result", "check_strategy", "example_task"]

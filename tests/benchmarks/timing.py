"""Timing several things in turn, here or in several processes at once, and the spread of ratios."""

import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import torch

from driftboard.suite.runs.worker import prepare_process

Key = TypeVar("Key", bound=Hashable)

Setup = Callable[[str], None]
"""Sets a process up for a device: ``as_a_worker`` or ``as_a_script``."""

as_a_worker: Setup = prepare_process


def as_a_script(device: str) -> None:
    """Set a process up as one would by hand: one thread on a CPU, and nothing else.

    On a GPU the kernels are the deterministic ones here too, for the sake of the same work.
    """
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        prepare_process(device)


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of several values."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        """Return the median with the range in brackets."""
        return f"{self.median:.2f} [{self.least:.2f}, {self.greatest:.2f}]"


def spread(values: list[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(over: list[float], under: list[float]) -> Spread:
    """Return the spread of quotients of the same repeat: what slows both down drops out."""
    return spread([one / other for one, other in zip(over, under, strict=True)])


def in_turn(things: Mapping[Key, Callable[[], float]], repeats: int) -> dict[Key, list[float]]:
    """Do each thing once to warm up, then all in turn, so many times; return what they returned.

    In turn (A B C A B C ...) they meet the same other work on the machine.
    """
    found: dict[Key, list[float]] = {key: [] for key in things}
    for repeat in range(repeats + 1):
        for number, (key, thing) in enumerate(things.items(), start=1):
            show(f"{repeat} of {repeats} ({number} of {len(things)})")
            value = thing()
            if repeat:
                found[key].append(value)
    show("")
    return found


def show(line: str) -> None:
    """Show on a terminal what is being done, in place of the line before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


class Processes:
    """Sequence processes that do the same at the same time, one thread each on a CPU."""

    def __init__(self, executor: ProcessPoolExecutor, count: int) -> None:
        self._executor = executor
        self.count = count

    def seconds(self, function: Callable[[Any], float], argument: Any) -> float:
        """Let all do it at the same time and return the longest of the times they return."""
        waiting = [self._executor.submit(_together, function, argument) for _ in range(self.count)]
        return max(each.result() for each in waiting)


Places = Mapping[tuple[Setup, int], Processes]
"""Where something is measured: how the processes are set up, and how many they are."""


@contextmanager
def places(counts: Iterable[int], device: str) -> Iterator[Places]:
    """Start processes of both kinds, so many at a time; one is used while the others wait."""
    with ExitStack() as stack:
        yield {
            (setup, count): stack.enter_context(_processes(count, device, setup))
            for setup in (as_a_worker, as_a_script)
            for count in counts
        }


@contextmanager
def _processes(count: int, device: str, setup: Setup) -> Iterator[Processes]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _begin, (barrier, setup, device)) as executor:
        yield Processes(executor, count)


# What follows runs in those processes. A pool hands an initializer's result to no one, so the
# barrier lies at module level; it is set once.

_barriers: list[Barrier] = []


def _begin(barrier: Barrier, setup: Setup, device: str) -> None:
    setup(device)
    _barriers.append(barrier)


def _together(function: Callable[[Any], float], argument: Any) -> float:
    """Do it when all processes are there; so each of them gets one turn, and no one two."""
    _barriers[0].wait()
    return function(argument)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""What strategies cost beside plain training: time, operations and memory.

    python tests/benchmarks/strategy_cost.py hybrid ewc gpm

Every strategy trains the protocol's networks through five tasks on random images, as in a run,
with as many images and steps as a task of the suites has. Everything is done once to warm up and
then in turn; a ratio is of the same repeat, and the median is shown with the least and the
greatest value. Memory is what one learner carries over, in multiples of its parameters.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from functools import partial

import torch
from machine import circumstances
from timing import in_turn, ratios
from workloads import Workload, cohort_of, workload

from driftboard.leaderboard.render.markdown import markdown_table
from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.errors import DriftboardError, counted
from driftboard.suite.loading import load_strategy
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training import engine
from driftboard.suite.training.memory_plan import resolve_device
from driftboard.suite.training.networks import choose_mode

REFERENCE = "sgd"


@dataclass(frozen=True)
class Place:
    """A network with its images, and how many seeds are trained at once."""

    work: Workload
    seeds: int


def places(*, small: bool) -> dict[str, Place]:
    """Return what is trained, by the name of a suite's data."""
    if small:
        tiny = replace(workload("tiny", "mlp-128x2", (1, 8, 8), 2, 1), tasks=2)
        return {"tiny": Place(tiny, 2)}
    digits = workload("digits", "mlp-128x2", (1, 8, 8), 24, 5)
    fashion = workload("Fashion-MNIST", "mlp-256x2", (1, 28, 28), 30, 3)
    cifar10 = workload("CIFAR-10", "resnet9-w16", (3, 32, 32), 20, 4)
    return {
        "digits": Place(replace(digits, tasks=5), 5),
        "fashion": Place(replace(fashion, tasks=5), 5),
        "cifar10": Place(replace(cifar10, tasks=2), 1),
    }


def table(place: Place, strategies: dict[str, Strategy], repeats: int, device: str) -> str:
    """Return a Markdown table of one network."""
    ends: dict[str, engine.Outcome] = {}

    def train(one: str) -> float:
        cohort = cohort_of(place.work, place.seeds, device)
        mode = choose_mode(cohort.network, cohort.device)
        ends[one] = engine.run(cohort, strategies[one], mode)
        return sum(ends[one].seconds)

    seconds = in_turn({one: partial(train, one) for one in strategies}, repeats)
    plain = sum(sum(row) for row in ends[REFERENCE].operations)
    values = cohort_of(place.work, place.seeds, device).initial.values()
    parameters = sum(value[0].numel() * value.element_size() for value in values)
    rows = [
        {
            "strategy": f"`{one}`",
            f"time, {REFERENCE} = 1": str(ratios(seconds[one], seconds[REFERENCE])),
            "operations": f"{sum(sum(row) for row in ends[one].operations) / plain:.2f}",
            "memory": f"{ends[one].memory_bytes[-1] / parameters:.2f}",
        }
        for one in strategies
    ]
    work, seeds = place.work, counted(place.seeds, "seed")
    title = f"## {work.title}, {work.network}, {seeds}, {work.tasks} tasks"
    return f"{title}\n\n{markdown_table(rows, {'strategy'})}"


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("strategy", nargs="*", help="names or files; by default all of the board")
    parser.add_argument("--place", action="append", help="digits, fashion, cifar10; default all")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny shapes, to try the script")
    given = parser.parse_args()
    device = resolve_device(given.device)
    prepare_process(device)
    wanted = dict.fromkeys([REFERENCE, *(given.strategy or BUILTIN)])
    strategies = {one: load_strategy(one).strategy for one in wanted}
    print(f"# {' '.join(['python tests/benchmarks/strategy_cost.py', *sys.argv[1:]])}\n")
    described = circumstances(torch.get_num_threads(), given.repeats)
    print("\n".join(f"- {name}: {value}" for name, value in described.items()))
    for name, place in places(small=given.small).items():
        if not given.place or name in given.place:
            print("\n" + table(place, strategies, given.repeats, device), flush=True)


if __name__ == "__main__":
    try:
        main()
    except DriftboardError as error:
        sys.exit(f"error: {error}")

"""How many per-sample gradients to hold at once, for the exact Fisher of convolutions to be fast.

    python tests/benchmarks/fisher_ways.py

On a GPU few at a time leave it waiting for the host; many at a time need memory, which
``memory_plan.py`` counts. The task has two classes, as those of the core suite. Every number is
tried once to warm up and then in turn.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch
from ceilings import timed
from machine import circumstances
from scale import CIFAR10, SMALL, Scale, workloads
from timing import in_turn, ratios, spread
from workloads import Workload, cohort_of

from driftboard.strategies import fisher
from driftboard.strategies.base import Parameters
from driftboard.strategies.ewc import Ewc
from driftboard.suite.errors import DriftboardError
from driftboard.suite.jobs.grid import resolve_device
from driftboard.suite.jobs.worker import prepare_process
from driftboard.suite.training.engine import Cohort
from driftboard.suite.training.hooks import CohortTask, Hooks
from driftboard.suite.wording import counted


def fishers(cohort: Cohort, at_once: int) -> Parameters:
    """Return the Fisher of every learner at its initial weights, (S, ...), as EWC has it made."""
    data = cohort.train[0]
    task = CohortTask(
        index=0,
        network=cohort.network,
        images=cohort.scaling(data.images, cohort.dtype),
        labels=data.labels,
        allowed=data.active,
        classes=cohort.classes[0],
        units=cohort.classes[0].nonzero()[:, 1].reshape(cohort.size, -1),
        initial=cohort.initial,
        noise=torch.zeros_like(data.labels, dtype=cohort.dtype),
    )
    with torch.no_grad(), mock.patch.object(fisher, "SAMPLES_AT_ONCE", at_once):
        _, memory = Hooks(Ewc(), task, "stacked").finish(cohort.initial, {})
    found: Parameters = memory["all-tasks"]["fisher"]
    return found


def table(work: Workload, seeds: int, device: str, numbers: list[int], repeats: int) -> list[str]:
    """Return the times of one number of seeds as lines of Markdown."""
    cohort = cohort_of(replace(work, units=2), seeds, device)
    found = in_turn(
        {
            number: lambda number=number: timed(lambda: fishers(cohort, number), device, 1)
            for number in numbers
        },
        repeats,
    )
    first, images = numbers[0], work.images * seeds
    return [
        f"### `{work.network}`, {counted(seeds, 'seed')}, {work.images} images each",
        "",
        f"| gradients of a learner at once | ms an image | times as fast as {first} |",
        "| ---: | ---: | ---: |",
        *(
            f"| {number} | {1e3 * spread(seconds).median / images:.3f} "
            f"| {ratios(found[first], seconds)} |"
            for number, seconds in found.items()
        ),
        "",
    ]


def main() -> None:
    """Measure and print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--at-once", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--out", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    if min(options.repeats, *options.seeds, *options.at_once) < 1:
        parser.error("--seeds, --at-once and --repeats must be at least 1")
    try:
        device = resolve_device(options.device)
    except DriftboardError as error:
        sys.exit(f"error: {error}")
    prepare_process(device)
    (base,) = workloads(SMALL if options.small else Scale(), [CIFAR10])
    work = base if options.small else replace(base, images=1000)  # as many as a core task has
    lines = [f"# {' '.join(['python tests/benchmarks/fisher_ways.py', *sys.argv[1:]])}", ""]
    around = circumstances(torch.get_num_threads(), options.repeats)
    lines += [*(f"- {name}: {value}" for name, value in around.items()), ""]
    for seeds in options.seeds:
        lines += table(work, seeds, device, options.at_once, options.repeats)
        cohort_of.cache_clear()
    page = "\n".join(lines)
    print(page)
    if options.out:
        options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

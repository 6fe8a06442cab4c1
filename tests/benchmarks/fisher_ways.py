"""Which exact Fisher of convolutions is the fastest, and of how many gradients at once.

    python tests/benchmarks/fisher_ways.py

Forms of the same sum are compared: one backward pass less than there are labels, as the project
computes it; a pass for every label; and convolutions as matrix products of unfolded images. Few
gradients at a time leave a GPU waiting for the host; many need memory, which ``memory_plan.py``
counts. The task has two classes, as those of the core suite. Everything is done once to warm up
and then in turn.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from ceilings import timed
from gpu_ways import with_products
from machine import circumstances
from scale import CIFAR10, SMALL, Scale, workloads
from timing import in_turn, ratios, spread
from torch import Tensor
from workloads import Workload, cohort_of

from driftboard.strategies import fisher
from driftboard.strategies.base import Parameters, Task
from driftboard.strategies.ewc import Ewc
from driftboard.suite.errors import DriftboardError, counted
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.training.cohort import Cohort
from driftboard.suite.training.hooks import CohortTask, Hooks
from driftboard.suite.training.memory_plan import resolve_device

CHOSEN, EVERY_LABEL, PRODUCTS = "a pass less than labels", "a pass for every label", "as products"
FORMS = (CHOSEN, EVERY_LABEL, PRODUCTS)


def fishers(cohort: Cohort, form: str, at_once: int) -> Parameters:
    """Return the Fisher of every learner at its initial weights, (S, ...), as EWC has it made."""
    data, network = cohort.train[0], cohort.network
    if form == PRODUCTS:
        network = replace(network, module=with_products(network.module))
    units = cohort.classes[0].nonzero()[:, 1].reshape(cohort.size, -1)
    task = CohortTask(
        index=0,
        network=network,
        images=cohort.scaling(data.images, cohort.dtype),
        labels=data.labels,
        allowed=data.active,
        classes=cohort.classes[0],
        units=units,
        answers=units,
        initial=cohort.initial,
        noise=torch.zeros_like(data.labels, dtype=cohort.dtype),
        keys=torch.zeros_like(data.labels[:, 0]),
    )
    factors = every_label if form == EVERY_LABEL else fisher._factors
    with (
        torch.no_grad(),
        mock.patch.object(fisher, "SAMPLES_AT_ONCE", at_once),
        mock.patch.object(fisher, "_factors", factors),
    ):
        _, memory = Hooks(Ewc(), task, "vmap").finish(cohort.initial, {})
    found: Parameters = memory["all-tasks"]["fisher"]
    return found


def every_label(probabilities: Tensor, task: Task) -> Iterator[Tensor]:
    """Yield ``sqrt(p_y) (e_y - p)`` of every label y: what the Fisher's definition says."""
    units = torch.arange(probabilities.shape[-1], device=probabilities.device)
    for unit in task.answers:
        own = (units == unit).to(probabilities.dtype)
        yield (probabilities @ own).sqrt()[:, None] * (own - probabilities)


def table(work: Workload, seeds: int, device: str, numbers: list[int], repeats: int) -> list[str]:
    """Return the times of one number of seeds as lines of Markdown."""
    cohort = cohort_of(replace(work, units=2), seeds, device)
    cases = [(CHOSEN, number) for number in numbers]
    cases += [(form, numbers[0]) for form in FORMS[1:]]

    def once(form: str, at_once: int) -> float:
        return timed(lambda: fishers(cohort, form, at_once), device, 1)

    found = in_turn({case: partial(once, *case) for case in cases}, repeats)
    first, images = found[cases[0]], work.images * seeds
    return [
        f"### `{work.network}`, {counted(seeds, 'seed')}, {work.images} images each",
        "",
        "| form | gradients of a learner at once | ms an image | times as fast as the first |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {form} | {number} | {1e3 * spread(seconds).median / images:.3f} "
            f"| {ratios(first, seconds)} |"
            for (form, number), seconds in found.items()
        ),
        "",
    ]


def main() -> None:
    """Measure and print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--at-once", type=int, nargs="+", default=[64, 32, 128, 512])
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

"""Why plain training forgets less here than in van de Ven 2025 (arXiv 2502.11756).

    python tests/benchmarks/literature_gap.py --data DIR --seeds 3

trains ``mnist-split-van-de-ven`` by a plain loop in four ways: as here, with Adam's averages kept
from task to task, with pixels between 0 and 1 in place of standardised ones, and with both.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch
from plain_loop import initial_module, masked, solo_tasks
from timing import show
from torch.nn import functional as F

from driftboard.leaderboard.analysis.statistics import paired_test
from driftboard.leaderboard.formatting import NOTHING, p_text
from driftboard.strategies.base import Scaling
from driftboard.suite.data import convert_originals
from driftboard.suite.errors import DriftboardError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.runs.worker import prepare_process
from driftboard.suite.sequences.registry import registered
from driftboard.suite.training.cohort import Cohort, Setting, prepare

SEQUENCE = "mnist-split-van-de-ven"
WAYS = {
    "as here": (False, False),
    "Adam's averages kept": (True, False),
    "pixels between 0 and 1": (False, True),
    "both": (True, True),
}


def final_accuracy(cohort: Cohort, keeps: bool) -> float:
    """Train the cohort's only seed on all tasks and return Avg.Acc in percent.

    Args:
        cohort: of one seed.
        keeps: Adam's averages go on from task to task.
    """
    tasks, module, settings = solo_tasks(cohort), initial_module(cohort), cohort.training
    optimiser = torch.optim.Adam(module.parameters(), settings.learning_rate)
    for index, task in enumerate(tasks):
        if not keeps:
            optimiser = torch.optim.Adam(module.parameters(), settings.learning_rate)
        for rows in _batches(cohort, index, len(task.labels)):
            optimiser.zero_grad()
            logits = masked(module(task.images[rows]), task.mask)
            F.cross_entropy(logits, task.labels[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        return statistics.fmean(
            100 * (masked(module(t.test_images), t.mask).argmax(1) == t.test_labels).float().mean()
            for t in tasks
        )


def _batches(cohort: Cohort, index: int, count: int) -> list[torch.Tensor]:
    """Return the images of every step of a task, those that the engine takes."""
    settings, random = cohort.training, cohort.batch_orders(index, count)[0]
    batches: list[torch.Tensor] = []
    while len(batches) < settings.minimum_steps:
        epoch = torch.from_numpy(random.permutation(count))
        batches += epoch[: count - count % settings.batch_size].split(settings.batch_size)
    return batches[: settings.minimum_steps]


def accuracies(data: Path | None, seeds: int) -> dict[str, list[float]]:
    """Return the accuracy of every seed by the way of training.

    Raises:
        DataError: MNIST is missing or broken.
    """
    sequence = registered()[SEQUENCE]
    numbers = PROTOCOL.seeds_of(sequence.tier)
    unscaled = Scaling(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    convert_originals(sequence.source, data)
    for seed in numbers[:seeds]:
        cohort = prepare(Setting(sequence, (seed,), "test", data, "cpu")).cohort
        for way, (keeps, raw) in WAYS.items():
            show(f"seed {seed}: {way}")
            chosen = replace(cohort, scaling=unscaled) if raw else cohort
            found[way].append(final_accuracy(chosen, keeps))
    show("")
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    """Return the lines of a table, with the p-value of a paired t test against the first way."""
    first = dict(enumerate(next(iter(found.values()))))
    lines = ["| training | Avg.Acc, mean | of each seed | p |", "| --- | ---: | --- | ---: |"]
    for way, values in found.items():
        each = ", ".join(f"{value:.2f}" for value in values)
        _, p = paired_test(dict(enumerate(values)), first)
        text = NOTHING if way == next(iter(found)) else p_text(p)
        lines.append(f"| {way} | {statistics.fmean(values):.2f} | {each} | {text} |")
    return lines


def main() -> None:
    """Train and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="the data folder (default: Driftboard's own)")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    prepare_process("cpu")
    try:
        found = accuracies(options.data, options.seeds)
    except DriftboardError as error:
        sys.exit(f"error: {error}")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()

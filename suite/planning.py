"""What there is to do for a run: the jobs whose records are missing."""

import sys

import torch

from driftboard.suite.crew import Planned
from driftboard.suite.data import Pool, load_pool
from driftboard.suite.grid import Request, is_complete, jobs_for, linear_jobs_for
from driftboard.suite.lanes import choose_lane
from driftboard.suite.linear.setting import LinearSetting
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import Sequence
from driftboard.suite.splits import cached_splits
from driftboard.suite.worker import Job

CONVOLUTION_COST = 30.0
"""Roughly how much longer an image takes in a small ResNet than in an MLP; for estimates only."""

LINEAR_WORK = 3000.0
"""The same for a seed of a linear sequence."""


def plan(request: Request) -> list[Planned]:
    """Return the jobs of all sequences, in order; makes the splits that are not cached yet.

    Raises:
        DataError: a data set is missing or broken.
        RecordError: a record in the results folder does not belong to this run.
    """
    planned = []
    pools: dict[str, Pool] = {}
    for sequence in request.sequences:
        if is_complete(request, sequence):
            continue  # neither its data nor its splits are needed
        if isinstance(sequence.scenario, LinearSetting):
            planned += [
                Planned(job, LINEAR_WORK * len(job.seeds), len(job.seeds))
                for job in linear_jobs_for(request, sequence, sequence.scenario)
            ]
            continue
        if sequence.source not in pools:
            pools = {sequence.source: load_pool(sequence.source, request.data)}
        pool = pools[sequence.source]
        seeds = request.seeds(sequence)
        recipes = cached_splits(sequence, pool, PROTOCOL, seeds, request.purpose)[0]
        jobs = jobs_for(request, sequence, pool, recipes)
        if note := _note_on_split(sequence, request.device, seeds, jobs):
            print(note, file=sys.stderr)
        for job in jobs:
            images = sum(len(recipe.train) for recipe in recipes) * len(job.seeds)
            planned.append(Planned(job, work_on(sequence.network, images), len(job.seeds)))
    return planned


def _note_on_split(
    sequence: Sequence, device: str, seeds: tuple[int, ...], jobs: list[Job]
) -> str | None:
    """Return the line that says that seeds which could be stacked do not fit all at once."""
    together = max((len(job.seeds) for job in jobs), default=len(seeds))
    if together == len(seeds) or choose_lane(sequence.network, torch.device(device)) == "solo":
        return None
    return (
        f"{sequence.name}: {len(seeds)} seeds do not fit into memory at once, "
        f"trained {together} at a time"
    )


def work_on(network: str, images: int) -> float:
    """Return the estimated work of training on so many images."""
    return images * (1.0 if network.startswith("mlp") else CONVOLUTION_COST)

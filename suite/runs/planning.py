"""What there is to do for a run: the jobs whose records are missing."""

import sys

from driftboard.suite.data import Pool, convert_originals, load_pool
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.runs.crew import Planned
from driftboard.suite.runs.grid import Request, is_complete, jobs_for, linear_jobs_for, stacking_for
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.splits import cached_splits

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
            convert_originals(sequence.source, request.data)
            pools = {sequence.source: load_pool(sequence.source, request.data)}
        pool = pools[sequence.source]
        seeds = request.seeds(sequence)
        recipes = cached_splits(sequence, pool, PROTOCOL, seeds, request.purpose)[0]
        stacking = stacking_for(sequence, pool, recipes, request.device)
        if note := stacking.note(sequence.name, len(seeds), "seeds"):
            print(note, file=sys.stderr)
        for job in jobs_for(request, sequence, stacking.at_once):
            images = sum(len(recipe.train) for recipe in recipes) * len(job.seeds)
            planned.append(Planned(job, work_on(sequence.network, images), len(job.seeds)))
    return planned


def work_on(network: str, images: int) -> float:
    """Return the estimated work of training on so many images."""
    return images * (1.0 if network.startswith("mlp") else CONVOLUTION_COST)

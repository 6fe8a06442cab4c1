"""Grading: train on every part of every task alone and keep the inner products of the solutions.

Each solution starts at the seed's initialisation, so what it adds to that is comparable between
tasks; see ``distance.py`` for what is made of it.

A task's training images are dealt out to several trainings that share none. Which part an image
belongs to is a property of the image, the same for every task that shows it: were the parts crossed
between tasks, two trainings on the same images would be compared as if they were independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from driftboard.strategies.base import Parameters
from driftboard.strategies.sgd import Sgd
from driftboard.suite.data import Pool, load_pool
from driftboard.suite.distance.grades import (
    GradeRecord,
    SeedProducts,
    grade_path,
    grading_in,
    merged,
    read_grade,
    seed_path,
    write_record,
)
from driftboard.suite.errors import DataError, DriftboardError
from driftboard.suite.loading import LoadedStrategy
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.rng import stream
from driftboard.suite.runs.job import Job
from driftboard.suite.runs.request import Planner, Request, Row
from driftboard.suite.runs.results_folder import Outdated, Parts
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.scenarios import FewShot, Indices, Recipe
from driftboard.suite.sequences.splits import cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.cohort import (
    Cohort,
    Setting,
    build_cohort,
    initial_network,
    names_of,
    pretrained_of,
    streams,
)
from driftboard.suite.training.cuda_graph import graph_runner_on
from driftboard.suite.training.engine import train_task
from driftboard.suite.training.memory_plan import in_groups
from driftboard.suite.training.networks import ModuleNetwork, choose_mode
from driftboard.suite.training.record_builder import environment

REFUSAL_LENGTH = 200

SEEDS_AT_ONCE = 5
"""Seeds of one job, where they fit; fewer would stack less, more would leave cores idle."""


@dataclass(frozen=True)
class Distances:
    """The distances between the tasks of a sequence, as work and as payload.

    Args:
        parts: how many separate parts of each task are trained on, at least 2.
    """

    parts: int = 2

    def rows(self, request: Request, sequence: TaskSequence, outdated: Outdated) -> list[Row]:
        """Return the seeds that lack a record; see ``Work``.

        Raises:
            DriftboardError: the sequence is linear.
        """
        if isinstance(sequence.scenario, LinearSetting):
            raise DriftboardError(
                f"{sequence.name}: the distance of a linear sequence's tasks is given and needs no "
                "measuring; see 'driftboard linear'"
            )
        grading, protocol = grading_in(self.parts).stamp(), PROTOCOL.stamp()
        version = sequence.hash()
        outdated.asked.add(grade_path(request.results, sequence.name))  # made of the seeds'

        def parts(record: GradeRecord, seed: int) -> Parts:
            held = tuple(one.seed for one in record.seeds) or (seed,)  # a refusal holds for all
            return (
                ("number of parts", record.parts, self.parts),
                ("grading", record.grading, grading),
                ("protocol", record.protocol, protocol),
                (f"version of the sequence {sequence.name}", record.sequence.hash, version),
                ("seed", held, (seed,)),
            )

        paths = {
            seed: seed_path(request.results, sequence.name, seed)
            for seed in request.seeds(sequence)
        }
        missing = outdated.lacking(paths, read_grade, parts)
        there = [path for seed, path in paths.items() if seed not in missing]
        if not missing or any(read_grade(path).refusal is not None for path in there):
            return []  # neither data nor splits are needed
        return [Row(f"grading {sequence.name}", missing)]

    def jobs(self, planner: Planner, sequence: TaskSequence, rows: Sequence[Row]) -> list[Job]:
        """Return the jobs that measure the missing seeds of a sequence; see ``Work``."""
        tested = measured_sequence(sequence)
        recipes = planner.recipes(tested)
        stacking = planner.stacking(tested, recipes, parts=self.parts, tested=False)
        return planner.jobs(
            sequence,
            rows,
            self,
            recipes=recipes,
            stacking=stacking,
            learners=self.parts,
            seeds_at_once=SEEDS_AT_ONCE,
        )

    def measure(
        self,
        setting: Setting,
        loaded: LoadedStrategy | None,
        at_once: int,
        on_step: Callable[[], None],
    ) -> list[GradeRecord]:
        """Return one record per seed, or one that says why nothing can be measured."""
        return measure(setting, self.parts, at_once, on_step)

    def keep(self, results: Path, records: list[GradeRecord], seeds: tuple[int, ...]) -> None:
        """Write one file per seed; that of a refusal, which holds for all, bears seed 0."""
        for record in records:
            seed = record.seeds[0].seed if record.seeds else 0
            if seed in seeds or not record.seeds:
                write_record(seed_path(results, record.sequence.name, seed), record)


def grade_records(request: Request) -> list[GradeRecord]:
    """Write the record of every sequence whose seeds are all measured, and return these."""
    records = []
    for sequence in request.sequences:
        name, seeds = sequence.name, request.seeds(sequence)
        paths = [seed_path(request.results, name, seed) for seed in seeds]
        found = [read_grade(path) for path in paths if path.exists()]
        if found and (len(found) == len(paths) or found[0].refusal is not None):
            records.append(merged(found))
            write_record(grade_path(request.results, name), records[-1])
    return records


def measured_sequence(sequence: TaskSequence) -> TaskSequence:
    """Return the sequence whose tasks are measured.

    How far apart tasks are does not depend on how many samples later ones have, and too few
    cannot be measured: few-shot sequences are measured with all of their base's images. Each task
    is trained on alone, so no classes but its own have been seen: class-incremental sequences are
    measured with answers from the task's classes.
    """
    scenario = sequence.scenario
    base = scenario.base if isinstance(scenario, FewShot) else scenario
    return replace(sequence, scenario=base, class_incremental=False)


def training_on_parts(training: Training, parts: int) -> Training:
    """Return the training that takes as many steps on a part as the protocol on the whole task."""
    return replace(training, epochs=training.epochs * parts)


def measure(
    setting: Setting, parts: int, at_once: int, on_step: Callable[[], None] = lambda: None
) -> list[GradeRecord]:
    """Return one record per seed; where nothing can be measured, one that says why.

    Args:
        setting: names what is graded.
        parts: how many separate parts of each task are trained on, at least 2.
        at_once: how many of the learners, one for every part of every seed, are trained together;
            1 in the mode "loop".
        on_step: called whenever a cohort of learners has been trained on a task.
    """
    sequence = setting.sequence
    setting = replace(setting, sequence=measured_sequence(sequence))
    pool = load_pool(sequence.source, setting.data)
    splits = cached_splits(setting.sequence, pool, PROTOCOL, setting.seeds, setting.purpose)
    recipes = dict(zip(setting.seeds, splits, strict=True))
    units, pretrained = len(splits[0][0].active), pretrained_of(sequence, setting.data)
    network, _ = initial_network(setting, pool, units, setting.seeds[0], pretrained)
    ran = environment(torch.device(setting.device), "vmap", setting.seeds)

    def record(images: int, seeds: tuple[SeedProducts, ...], refusal: str | None) -> GradeRecord:
        return GradeRecord(
            schema=2,
            grading=grading_in(parts).stamp(),
            protocol=PROTOCOL.stamp(),
            sequence=sequence.stamp(pool.title, pool.fingerprint, network.blocks),
            tasks=sequence.scenario.tasks,
            parts=parts,
            images=images,
            seeds=seeds,
            refusal=None if refusal is None else refusal[:REFUSAL_LENGTH],
            python=ran.python,
            torch=ran.torch,
            device=ran.device,
        )

    if sequence.scenario.tasks < 2:
        return [record(0, (), "one task has no distance to another")]
    try:
        dealt = {seed: _dealt(setting, pool, recipes[seed], parts, seed) for seed in setting.seeds}
    except DataError as error:
        return [record(0, (), str(error))]
    images = {seed: len(dealt[seed][0][0].train) for seed in setting.seeds}
    found: list[Parameters] = []  # per group of learners, name -> (learners, tasks, size)
    order: list[int] = []  # the seeds of the learners in ``found``, all parts of one in a row
    finite = True
    # What is left over when a seed's images do not come out even differs from seed to seed.
    for count in dict.fromkeys(images.values()):
        alike = [(s, part) for s in setting.seeds if images[s] == count for part in range(parts)]
        order += [seed for seed, _ in alike[::parts]]
        for group in in_groups(alike, at_once):
            cohort = _cohort(setting, pool, dealt, group)
            solutions, stayed_finite = _solutions(cohort, on_step)
            found.append(solutions)
            finite = finite and stayed_finite
    if not finite:
        refusal = "a training on a part of a task diverged"
        return [record(images[setting.seeds[0]], (), refusal)]
    moved = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    return [
        record(
            images[seed],
            (SeedProducts(seed, _products(network, moved, parts, order.index(seed))),),
            None,
        )
        for seed in setting.seeds
    ]


def _dealt(
    setting: Setting, pool: Pool, recipes: list[Recipe], parts: int, seed: int
) -> list[list[Recipe]]:
    """Return the recipes of every part of every task, [part][task]."""
    random = stream(*names_of(setting, seed), "grading", "parts")
    dealt = deal(recipes, pool.train_labels, parts, random)
    return [
        [replace(recipe, train=rows[part]) for recipe, rows in zip(recipes, dealt, strict=True)]
        for part in range(parts)
    ]


def _cohort(
    setting: Setting,
    pool: Pool,
    dealt: dict[int, list[list[Recipe]]],
    learners: Sequence[tuple[int, int]],
) -> Cohort:
    """Return learners, each a seed and a part of its tasks."""
    own = replace(setting, seeds=tuple(seed for seed, _ in learners))
    recipes = [dealt[seed][part] for seed, part in learners]
    cohort = build_cohort(own, pool, recipes, tested=False)

    def orders(task: int, count: int) -> list[np.random.Generator]:
        return [
            stream(*names_of(setting, seed), "grading", "batch order", part, task)
            for seed, part in learners
        ]

    return replace(
        cohort,
        training=training_on_parts(cohort.training, len(dealt[own.seeds[0]])),
        batch_orders=orders,
        strategy_noise=lambda task: streams(own, "grading", "noise", task),
    )


def _solutions(cohort: Cohort, on_step: Callable[[], None]) -> tuple[Parameters, bool]:
    """Return how far each learner's solutions lie from its start, and whether all are finite.

    The tensors have shape (learners, tasks, size of the parameter).
    """
    mode = choose_mode(cohort.network, cohort.device)
    moved: dict[str, list[Tensor]] = {name: [] for name in cohort.initial}
    finite = True
    runner = graph_runner_on(cohort.device)
    for task in range(len(cohort.train)):
        trained = train_task(cohort, Sgd(), task, cohort.initial, {}, mode, runner)
        finite = finite and bool(trained.finite.all())
        for name, value in trained.parameters.items():
            moved[name].append((value - cohort.initial[name]).flatten(1).cpu())
        on_step()
    return {name: torch.stack(values, dim=1) for name, values in moved.items()}, finite


def _products(
    network: ModuleNetwork, moved: Parameters, parts: int, position: int
) -> tuple[tuple[float, ...], ...]:
    """Return per block the upper triangle of the inner products of one seed's solutions."""
    own = slice(position * parts, (position + 1) * parts)
    triangles = []
    for block in network.blocks:
        # (parts, tasks, size) -> rows that run over (task, part), the part fastest
        values = torch.cat([moved[name][own] for name in block.parameters], dim=2).double()
        rows = values.transpose(0, 1).flatten(0, 1)
        matrix = (rows @ rows.T).numpy()
        upper = matrix[np.triu_indices(len(matrix))]
        triangles.append(tuple(float(f"{value:.9g}") for value in upper))
    return tuple(triangles)


def deal(
    recipes: Sequence[Recipe], labels: Indices, parts: int, random: np.random.Generator
) -> list[list[Indices]]:
    """Return positions by task and part; all parts of all tasks have equally many images.

    Classes are dealt out evenly. What is left over when the numbers do not come out even is
    dropped from the part, at random.

    Args:
        recipes: the tasks of one seed, whose ``train`` points into a pool.
        labels: (N,), the classes of the pool's images.
        parts: how many, at least 2.
        random: decides which image goes where.

    Raises:
        DataError: a task has a class with fewer images than parts, or a part would have none.
    """
    owners = np.zeros((len(recipes), len(labels)), dtype=bool)
    for task, recipe in enumerate(recipes):
        owners[task, recipe.train] = True
        counts = np.bincount(labels[recipe.train])
        if counts[counts > 0].min(initial=len(labels)) < parts:
            raise DataError(
                f"task {task + 1} has a class with fewer than {parts} training images, too few "
                f"to be trained on in {parts} separate parts"
            )
    rank = random.permutation(len(labels))
    part_of = _parts_of_images(owners, labels, rank, parts)
    dealt = [
        [recipe.train[part_of[recipe.train] == part] for part in range(parts)] for recipe in recipes
    ]
    size = min(len(rows) for task in dealt for rows in task)
    if size == 0:
        raise DataError(
            f"too few training images to deal every task's out to {parts} separate parts"
        )
    return [[np.sort(rows[np.argsort(rank[rows])][:size]) for rows in task] for task in dealt]


def _parts_of_images(
    owners: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    labels: Indices,
    rank: Indices,
    parts: int,
) -> Indices:
    """Return the part of every image, -1 if no task shows it.

    Class by class, each group of images that the same tasks show is dealt out evenly.
    """
    used = np.flatnonzero(owners.any(axis=0))
    _, groups = np.unique(np.vstack([labels[used], owners[:, used]]), axis=1, return_inverse=True)
    groups = groups.reshape(-1)
    order = np.lexsort((rank[used], groups))
    starts = np.searchsorted(groups[order], groups[order])
    part_of = np.full(len(labels), -1)
    # A group begins where its number says, so that odd ones do not all favour the first part.
    part_of[used[order]] = (np.arange(len(used)) - starts + groups[order]) % parts
    return part_of

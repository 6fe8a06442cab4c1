"""Grading: train on every part of every task alone and keep the inner products of the solutions.

Each solution starts at the seed's initialisation, so what it adds to that is comparable between
tasks; see ``distance.py`` for what is made of it.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
    grading_in,
    seed_path,
    write_record,
)
from driftboard.suite.distance.parts import deal
from driftboard.suite.errors import DataError
from driftboard.suite.loading import load_sequences
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import FewShot, Indices, Recipe
from driftboard.suite.sequences.splits import cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.cuda_graph import graph_runner_on
from driftboard.suite.training.device import device_name
from driftboard.suite.training.engine import Cohort, train_task
from driftboard.suite.training.memory_plan import half_of, in_groups
from driftboard.suite.training.networks import ModuleNetwork, choose_mode
from driftboard.suite.training.preparation import Setting, initial_network, names_of, streams
from driftboard.suite.training.task_data import build_task, scaling_of

REFUSAL_LENGTH = 200


@dataclass(frozen=True)
class GradeJob:
    """The measurements of some seeds of one sequence; writes one file per seed."""

    sequence: str
    sequence_files: tuple[Path, ...]
    seeds: tuple[int, ...]
    parts: int
    data: Path | None
    results: Path
    device: str
    at_once: int  # learners, which are parts of seeds, that are trained together
    steps: int  # tasks x parts x seeds: how often ``execute`` reports

    @property
    def label(self) -> str:
        """What a progress bar and a failure call it."""
        return f"grading {self.sequence}"

    @property
    def together(self) -> int:
        """How many learners it trains together, at the most."""
        return min(self.at_once, len(self.seeds) * self.parts)

    def smaller(self) -> list["GradeJob"]:
        """Return the job that trains half as many together; none where one is alone."""
        if self.together == 1:
            return []
        return [replace(self, at_once=half_of(self.together))]

    @property
    def files(self) -> tuple[Path, ...]:
        """The users' files that it names."""
        return self.sequence_files

    def moved(self, places: Mapping[Path, Path]) -> "GradeJob":
        """Return the same job where each of its files lies in another place."""
        return replace(self, sequence_files=tuple(places[path] for path in self.sequence_files))

    def execute(self, on_step: Callable[[], None]) -> None:
        """Measure and write."""
        self.keep(self.measure(on_step))

    def measure(self, on_step: Callable[[], None]) -> list[GradeRecord]:
        """Measure and return the record of every seed; see the function of that name."""
        sequence = load_sequences(self.sequence_files)[self.sequence]
        setting = Setting(measured_sequence(sequence), self.seeds, "test", self.data, self.device)
        pool = load_pool(setting.sequence.source, self.data)
        return measure(sequence, setting, pool, self.parts, self.at_once, on_step)

    def keep(self, records: list[GradeRecord]) -> None:
        """Write one file per seed."""
        for record in records:
            write_record(seed_path(self.results, record), record)


def measured_sequence(sequence: TaskSequence) -> TaskSequence:
    """Return the sequence whose tasks are measured.

    How far apart tasks are does not depend on how many samples later ones have, and too few
    cannot be measured: few-shot sequences are measured with all of their base's images.
    """
    scenario = sequence.scenario
    return replace(sequence, scenario=scenario.base) if isinstance(scenario, FewShot) else sequence


def measure(
    sequence: TaskSequence,
    setting: Setting,
    pool: Pool,
    parts: int,
    at_once: int,
    on_step: Callable[[], None],
) -> list[GradeRecord]:
    """Return one record per seed; where nothing can be measured, one that says why.

    Args:
        sequence: what is graded.
        setting: names what is measured for it, see ``measured_sequence``.
        pool: the images.
        parts: how many separate parts of each task are trained on, at least 2.
        at_once: how many of the learners, one for every part of every seed, are trained together;
            1 in the mode "loop".
        on_step: called whenever a part of a task has been trained on.
    """
    every_seed = cached_splits(setting.sequence, pool, PROTOCOL, setting.seeds, "test")
    recipes = dict(zip(setting.seeds, every_seed, strict=True))
    units = len(next(iter(recipes.values()))[0].active)
    network = initial_network(setting, pool, units, setting.seeds[0])[0]
    record = partial(_record, sequence, pool, network, parts, setting.device)
    if sequence.scenario.tasks < 2:
        return [record((), 0, "one task has no distance to another")]
    try:
        dealt = {seed: _dealt(setting, pool, recipes[seed], parts, seed) for seed in setting.seeds}
    except DataError as error:
        return [record((), 0, str(error))]
    learners = [(seed, part) for seed in setting.seeds for part in range(parts)]
    found: list[Parameters] = []  # per group of learners, name -> (learners, tasks, size)
    finite = True
    for group in in_groups(learners, at_once):
        solutions, stayed_finite = _solutions(setting, pool, recipes, dealt, group, on_step)
        found.append(solutions)
        finite = finite and stayed_finite
    images = len(dealt[setting.seeds[0]][0][0])
    if not finite:
        return [record((), images, "a training on a part of a task diverged")]
    moved = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    return [
        record((SeedProducts(seed, _products(network, moved, parts, position)),), images, None)
        for position, seed in enumerate(setting.seeds)
    ]


def _record(
    sequence: TaskSequence,
    pool: Pool,
    network: ModuleNetwork,
    parts: int,
    device: str,
    seeds: tuple[SeedProducts, ...],
    images: int,
    refusal: str | None,
) -> GradeRecord:
    return GradeRecord(
        schema=1,
        grading=grading_in(parts).stamp(),
        protocol=PROTOCOL.stamp(),
        sequence=sequence.stamp(pool.title, pool.fingerprint, network.blocks),
        tasks=sequence.scenario.tasks,
        parts=parts,
        images=images,
        seeds=seeds,
        refusal=None if refusal is None else refusal[:REFUSAL_LENGTH],
        python=platform.python_version(),
        torch=str(torch.__version__),
        device=device_name(torch.device(device)),
    )


def _dealt(
    setting: Setting, pool: Pool, recipes: list[Recipe], parts: int, seed: int
) -> list[list[Indices]]:
    random = stream(*names_of(setting, seed), "grading", "parts")
    return deal(recipes, pool.train_labels, parts, random)


def _solutions(
    setting: Setting,
    pool: Pool,
    recipes: dict[int, list[Recipe]],
    dealt: dict[int, list[list[Indices]]],
    learners: Sequence[tuple[int, int]],
    on_step: Callable[[], None],
) -> tuple[Parameters, bool]:
    """Return how far each learner's solutions lie from its start, and whether all are finite.

    The tensors have shape (learners, tasks, size of the parameter).
    """
    cohort = _cohort(setting, pool, recipes, dealt, learners)
    mode = choose_mode(setting.sequence.network, cohort.device)
    moved: dict[str, list[Tensor]] = {name: [] for name in cohort.initial}
    finite = True
    runner = graph_runner_on(cohort.device)
    for task in range(len(cohort.train)):
        solution, _, _, stayed_finite = train_task(
            cohort, Sgd(), task, cohort.initial, {}, mode, runner
        )
        finite = finite and bool(stayed_finite.all())
        for name, value in solution.items():
            moved[name].append((value - cohort.initial[name]).flatten(1).cpu())
        for _ in learners:
            on_step()
    return {name: torch.stack(values, dim=1) for name, values in moved.items()}, finite


def _cohort(
    setting: Setting,
    pool: Pool,
    recipes: dict[int, list[Recipe]],
    dealt: dict[int, list[list[Indices]]],
    learners: Sequence[tuple[int, int]],
) -> Cohort:
    device = torch.device(setting.device)
    one_per_learner = replace(setting, seeds=tuple(seed for seed, _ in learners))
    units = len(recipes[learners[0][0]][0].active)
    started = {seed: initial_network(setting, pool, units, seed) for seed, _ in learners}
    networks: list[tuple[ModuleNetwork, Parameters]] = [started[seed] for seed, _ in learners]
    names = [(*names_of(setting, seed), "image noise", "train") for seed, _ in learners]
    rows = range(setting.sequence.scenario.tasks)
    training = setting.sequence.training_under(PROTOCOL)
    parts = len(dealt[learners[0][0]][0])

    def orders(task: int, count: int) -> list[np.random.Generator]:
        return [
            stream(*names_of(setting, seed), "grading", "batch order", part, task)
            for seed, part in learners
        ]

    return Cohort(
        network=networks[0][0],
        initial={
            name: torch.stack([values[name] for _, values in networks]).to(device)
            for name in networks[0][1]
        },
        train=[
            build_task(
                pool.train_images,
                pool.train_labels,
                [recipes[seed][task] for seed, _ in learners],
                [dealt[seed][task][part] for seed, part in learners],
                names,
                device,
            )
            for task in rows
        ],
        test=[],
        classes=[
            torch.from_numpy(np.stack([recipes[seed][task].active for seed, _ in learners])).to(
                device
            )
            for task in rows
        ],
        scaling=scaling_of(pool, device),
        training=training_on_parts(training, parts),
        batch_orders=orders,
        strategy_noise=lambda task: streams(one_per_learner, "grading", "noise", task),
    )


def training_on_parts(training: Training, parts: int) -> Training:
    """Return the training that takes as many steps on a part as the protocol on the whole task."""
    return replace(training, epochs=training.epochs * parts)


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

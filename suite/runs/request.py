"""A request: what is to be measured, what of it is missing in which folder, and its jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from driftboard.suite.data import Pool, convert_originals, load_pool
from driftboard.suite.errors import DataError, counted
from driftboard.suite.loading import LoadedStrategy, read_source
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.runs.job import Job, Payload
from driftboard.suite.runs.results_folder import OVERWRITE, Outdated, measured
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.sequences.splits import Purpose, cached_splits, unused_note
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sequences.transformed import transformations_of
from driftboard.suite.source import Source
from driftboard.suite.training.cohort import pretrained_of
from driftboard.suite.training.memory_plan import Stacking, in_groups, stacking_of
from driftboard.suite.training.networks import build_network
from driftboard.suite.training.transformations import check_transformations

CONVOLUTION_COST = 30.0
"""Roughly how much longer an image takes in a small ResNet than in an MLP; for estimates only."""

Recipes = dict[int, list[Recipe]]
"""By seed, one for every task."""


class Work(Protocol):
    """What is measured of a sequence."""

    def rows(self, request: "Request", sequence: TaskSequence, outdated: Outdated) -> "list[Row]":
        """Return what the results folder of a request lacks, as ``outdated`` tells it.

        Raises:
            DriftboardError: this cannot be measured of the sequence.
        """

    def jobs(self, planner: "Planner", sequence: TaskSequence, rows: "Sequence[Row]") -> list[Job]:
        """Return the jobs that measure these rows, at least one.

        Raises:
            DataError: the data set is missing or broken.
        """


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be measured.

    Args:
        sequences: what is trained on.
        sequence_files: the users' files that define some of them.
        strategies: what is trained; a measurement that brings its own strategy needs none.
        seed_count: how many of each tier's seeds, from the first on; None takes all.
        purpose: ``test``, or ``validation`` for the tuning seeds and a part of the training images.
        results: the folder for what is measured.
        data: the data folder, if it is not Driftboard's own.
        device: ``cpu``, ``cuda`` or ``auto``.
        work: what is measured; None trains every strategy on every sequence and seed.
        overwrite: measure again what the folder holds of another version.
    """

    sequences: tuple[TaskSequence, ...]
    results: Path
    sequence_files: tuple[Path, ...] = ()
    strategies: tuple[LoadedStrategy, ...] = ()
    seed_count: int | None = None
    purpose: Purpose = "test"
    data: Path | None = None
    device: str = "auto"
    work: Work | None = None
    overwrite: bool = False

    def seeds(self, sequence: TaskSequence) -> tuple[int, ...]:
        """Return the seeds that a sequence is measured with."""
        seeds = PROTOCOL.seeds_of(sequence.tier, tuning=self.purpose == "validation")
        return seeds[: self.seed_count]

    def described(self) -> str:
        """Return in words how many sequences and strategies there are."""
        strategies = counted(len(self.strategies), "strategy", "strategies")
        return f"{counted(len(self.sequences), 'sequence')} x {strategies}"

    def cell_count(self) -> int:
        """Return the number of records asked for, done or not."""
        return max(1, len(self.strategies)) * sum(len(self.seeds(s)) for s in self.sequences)


@dataclass(frozen=True)
class Row:
    """What is missing of one strategy on one sequence."""

    label: str  # what a progress bar and a failure call it
    seeds: tuple[int, ...]
    strategy: str = ""  # a specification for ``load_strategy``
    source: Source | None = None  # of the same


@dataclass
class Planner:
    """Makes the jobs of a request, one sequence after the other; ``log`` is given lines on them."""

    request: Request
    log: Callable[[str], None]
    _pools: dict[str, Pool] = field(default_factory=dict, init=False)
    _sequence_sources: tuple[Source, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._sequence_sources = tuple(map(read_source, self.request.sequence_files))

    def pool(self, source: str) -> Pool:
        """Return a data set, read once for all sequences that follow each other.

        Raises:
            DataError: it is missing or broken.
        """
        if source not in self._pools:
            data = self.request.data
            self._pools = {source: convert_originals(source, data) or load_pool(source, data)}
        return self._pools[source]

    def recipes(self, sequence: TaskSequence) -> Recipes:
        """Return the recipes of every seed; makes the splits of all that are not cached yet.

        Images that are not used though the sequence asks for all are logged. A user's own
        transformations are tried on a few images, so that what is wrong is said once.
        """
        pool, seeds = self.pool(sequence.source), self.request.seeds(sequence)
        splits = cached_splits(sequence, pool, PROTOCOL, seeds, self.request.purpose)
        if note := unused_note(sequence, pool, PROTOCOL, self.request.purpose):
            self.log(note)
        check_transformations(transformations_of(sequence.scenario), pool.train_images)
        return dict(zip(seeds, splits, strict=True))

    def stacking(
        self, sequence: TaskSequence, recipes: Recipes, *, parts: int = 1, tested: bool = True
    ) -> Stacking:
        """Return how many learners of a sequence are trained together.

        Args:
            sequence: names network and training.
            recipes: of every seed; the one with most training images counts.
            parts: into how many parts the images of a task are dealt out, one for each learner,
                which then takes as many steps as on the whole task.
            tested: whether the learners are tested.
        """
        most = max(recipes.values(), key=lambda tasks: sum(len(task.train) for task in tasks))
        training = sequence.training_under(PROTOCOL)
        image_shape = self.pool(sequence.source).train_images.shape[1:]
        pretrained = pretrained_of(sequence, self.request.data)
        return stacking_of(
            build_network(sequence.network, image_shape, len(most[0].active), pretrained),
            image_shape,
            [len(task.train) // parts for task in most],
            [len(task.test) for task in most] if tested else (),
            replace(training, epochs=training.epochs * parts),
            self.request.device,
        )

    def jobs(
        self,
        sequence: TaskSequence,
        rows: Sequence[Row],
        payload: Payload,
        *,
        recipes: Recipes,
        stacking: Stacking,
        seeds: Sequence[int] | None = None,
        learners: int = 1,
        seeds_at_once: int | None = None,
    ) -> list[Job]:
        """Return the jobs that make what the rows lack, and say if not all learners fit at once.

        All rows of a group of seeds come in turn, so that a process prepares its data once. Only
        seeds whose tasks have equally many training images and classes are trained together.

        Args:
            sequence: whose seeds are grouped.
            rows: what is missing.
            payload: what is measured.
            recipes: of every seed.
            stacking: how many learners fit.
            seeds: what is grouped; None means all that are asked for, so that which seeds are
                trained together does not depend on what is done.
            learners: of every seed.
            seeds_at_once: of one job at the most; None means all.
        """
        seeds = self.request.seeds(sequence) if seeds is None else seeds
        most = min(seeds_at_once or len(seeds), len(seeds))
        noun = "seeds" if learners == 1 else "learners"
        if note := stacking.note(sequence.name, most * learners, noun):
            self.log(note)
        sizes = {seed: tuple(len(recipe.train) for recipe in recipes[seed]) for seed in seeds}
        shapes = {
            seed: (sizes[seed], _classes(recipes[seed], seen=sequence.class_incremental))
            for seed in seeds
        }
        alike = [
            [seed for seed in seeds if shapes[seed] == shape]
            for shape in dict.fromkeys(shapes.values())
        ]
        cost = 1.0 if sequence.network_name.startswith("mlp") else CONVOLUTION_COST
        return [
            self.job(
                sequence,
                row,
                group,
                payload,
                learners=learners,
                at_once=stacking.at_once,
                effort=sum(sizes[group[0]]) * learners * cost * len(group),
            )
            for together in alike
            for group in in_groups(together, max(1, min(most, stacking.at_once // learners)))
            for row in rows
            if set(row.seeds).intersection(group)
        ]

    def job(
        self,
        sequence: TaskSequence,
        row: Row,
        seeds: tuple[int, ...],
        payload: Payload,
        *,
        learners: int,
        at_once: int,
        effort: float,
    ) -> Job:
        """Return one job of this request; see ``Job`` for the arguments."""
        request = self.request
        return Job(
            label=row.label,
            payload=payload,
            sequence=sequence.name,
            sequence_sources=self._sequence_sources,
            strategy=row.strategy,
            source=row.source,
            seeds=seeds,
            wanted=row.seeds,
            purpose=request.purpose,
            data=request.data,
            results=request.results,
            device=request.device,
            learners=learners,
            at_once=at_once,
            tasks=sequence.scenario.tasks,
            effort=effort,
        )


def _classes(recipes: Sequence[Recipe], *, seen: bool) -> tuple[int, ...]:
    """Return the number of classes of every task, and with ``seen`` of all tasks up to each."""
    active = np.stack([recipe.active for recipe in recipes])
    upto = np.logical_or.accumulate(active) if seen else active[:0]
    return (*active.sum(axis=1).tolist(), *upto.sum(axis=1).tolist())


def changed_images(request: Request) -> tuple[dict[Path, str], list[str]]:
    """Compare what a results folder has with the images that a request's sequences have now.

    That holds for results of the same sequences, and of others on data of the same title.

    Returns:
        What was measured on other images, each with a line that says so, and a line for every data
        set of which there are no images to compare.
    """
    stamps = measured(request.results)
    names: dict[str, set[str]] = {}
    for sequence in request.sequences:
        if stamps and not isinstance(sequence.scenario, LinearSetting):
            names.setdefault(sequence.source, set()).add(sequence.name)
    changed: dict[Path, str] = {}
    unread = []
    for source, own in names.items():
        try:
            pool = convert_originals(source, request.data) or load_pool(source, request.data)
        except DataError as error:
            unread.append(f"results on {source} are not compared with its images: {error}")
            continue
        for path, stamp in stamps.items():
            of_these = stamp.name in own or stamp.data == pool.title
            if of_these and stamp.data_hash != pool.fingerprint:
                changed[path] = (
                    f"{path} was measured on other images than {source} has now: "
                    f"{stamp.data} ({stamp.data_hash[:12]}), and now {pool.title} "
                    f"({pool.fingerprint[:12]})"
                )
    return changed, unread


def check_data(request: Request) -> list[str]:
    """Check that what the results folder has is of the images that a request's sequences have now.

    Returns:
        A line for every data set of which there are no images to compare.

    Raises:
        DataError: images have changed since something was measured on them.
    """
    changed, unread = changed_images(request)
    if changed:
        others = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"{next(iter(changed.values()))}{others}; add {OVERWRITE}, choose another --out, or "
            "the --data of before"
        )
    return unread

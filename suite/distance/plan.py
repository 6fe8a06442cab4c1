"""What a grading asks for, what of it is done, and the jobs that measure the rest."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from driftboard.suite.data import Pool, convert_originals, load_pool
from driftboard.suite.distance.grades import (
    GradeRecord,
    grade_path,
    grading_in,
    merged,
    read_grade,
    write_record,
)
from driftboard.suite.distance.measurement import GradeJob, measured_sequence, training_on_parts
from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.runs.crew import Planned
from driftboard.suite.runs.planning import work_on
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.sequences.splits import cached_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training.memory_plan import Stacking, in_groups, stacking_of

SEEDS_AT_ONCE = 5
"""Seeds of one job, where they fit; fewer would stack less, more would leave cores idle."""


@dataclass(frozen=True)
class GradeRequest:
    """What a grading was asked for."""

    sequences: tuple[TaskSequence, ...]
    sequence_files: tuple[Path, ...]
    seed_count: int | None  # the first so many of each tier's seeds; None takes all
    parts: int  # separate parts of each task that are trained on
    data: Path | None
    results: Path
    device: str

    def seeds(self, sequence: TaskSequence) -> tuple[int, ...]:
        """Return the seeds that a sequence is measured with."""
        return PROTOCOL.seeds_of(sequence.tier)[: self.seed_count]

    def cell_count(self) -> int:
        """Return the number of measurements asked for, done or not."""
        return sum(len(self.seeds(sequence)) for sequence in self.sequences)


def plan_grading(request: GradeRequest) -> list[Planned]:
    """Return the jobs that measure what is missing.

    Raises:
        DriftboardError: a sequence is linear.
        DataError: a data set is missing or broken.
        RecordError: a measurement in the results folder does not belong to this grading.
    """
    planned = []
    pools: dict[str, Pool] = {}
    for sequence in request.sequences:
        if isinstance(sequence.scenario, LinearSetting):
            raise DriftboardError(
                f"{sequence.name}: the distance of a linear sequence's tasks is given and needs no "
                "measuring; see 'driftboard linear'"
            )
        done = {seed for seed in request.seeds(sequence) if _is_done(request, sequence, seed)}
        if done.issuperset(request.seeds(sequence)):
            continue  # neither its data nor its splits are needed
        if sequence.source not in pools:
            convert_originals(sequence.source, request.data)
            pools = {sequence.source: load_pool(sequence.source, request.data)}
        planned += _planned(request, sequence, pools[sequence.source], done)
    return planned


def _planned(
    request: GradeRequest, sequence: TaskSequence, pool: Pool, done: set[int]
) -> list[Planned]:
    """Return the jobs that measure what is missing of one sequence."""
    tested, wanted = measured_sequence(sequence), request.seeds(sequence)
    recipes = cached_splits(tested, pool, PROTOCOL, wanted, "test")[0]
    images = sum(len(recipe.train) for recipe in recipes)
    stacking = _stacking(request, tested, pool, recipes)
    learners = min(SEEDS_AT_ONCE, len(wanted)) * request.parts
    if note := stacking.note(sequence.name, learners, "learners"):
        print(note, file=sys.stderr)
    together = min(SEEDS_AT_ONCE, max(1, stacking.at_once // request.parts))
    return [
        Planned(
            GradeJob(
                sequence=sequence.name,
                sequence_files=request.sequence_files,
                seeds=group,
                parts=request.parts,
                data=request.data,
                results=request.results,
                device=request.device,
                at_once=stacking.at_once,
                steps=sequence.scenario.tasks * request.parts * len(group),
            ),
            work_on(sequence.network, images * len(group) * request.parts),
            len(group),
        )
        for group in in_groups(wanted, together)
        if not done.issuperset(group)
    ]


def _stacking(
    request: GradeRequest, tested: TaskSequence, pool: Pool, recipes: Sequence[Recipe]
) -> Stacking:
    """Return how many learners, each on one part of every task, are trained together."""
    return stacking_of(
        tested.network,
        pool.train_images.shape[1:],
        len(recipes[0].active),
        [len(recipe.train) // request.parts for recipe in recipes],
        (),
        training_on_parts(tested.training_under(PROTOCOL), request.parts),
        request.device,
    )


def grade_records(request: GradeRequest) -> list[GradeRecord]:
    """Write the record of every sequence whose seeds are all measured, and return these."""
    records = []
    for sequence in request.sequences:
        paths = [_seed_file(request, sequence, seed) for seed in request.seeds(sequence)]
        found = [read_grade(path) for path in paths if path.exists()]
        if found and (len(found) == len(paths) or found[0].refusal is not None):
            records.append(merged(found))
            write_record(grade_path(request.results, sequence.name), records[-1])
    return records


def _seed_file(request: GradeRequest, sequence: TaskSequence, seed: int) -> Path:
    return request.results / "grades" / sequence.name / f"seed-{seed:04d}.json"


def _is_done(request: GradeRequest, sequence: TaskSequence, seed: int) -> bool:
    path = _seed_file(request, sequence, seed)
    if not path.exists():
        return False
    record = read_grade(path)
    for what, found, wanted in (
        ("number of parts", record.parts, request.parts),
        ("grading", record.grading, grading_in(request.parts).stamp()),
        ("protocol", record.protocol, PROTOCOL.stamp()),
        ("version of the sequence", record.sequence.hash, sequence.hash()),
    ):
        if found != wanted:
            raise RecordError(
                f"{path} belongs to another {what}; delete it, or choose another --out"
            )
    return True

"""Classes of unequal size that are kept: every task of every seed has all of its images."""

import numpy as np
import pytest

from driftboard.suite.data import Pool
from driftboard.suite.distance.grades import grade_path, read_grade
from driftboard.suite.distance.measurement import Distances, grade_records
from driftboard.suite.loading import load_strategy
from driftboard.suite.records import cell_path, read_record
from driftboard.suite.runs.backend import Backend
from driftboard.suite.sweeps import Sweep, sweep_records

TRAIN, TEST = np.array([30, 12, 8, 20]), np.array([6, 5, 4, 3])
FILE = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Overlap, Split, TaskSequence
quick = Training(2, 10, 0.05, minimum_steps=5)
split = TaskSequence("own-split", "", "folder:uneven", Split(2), "mlp-4x1", training=quick,
                     balance=False)
"""


@pytest.fixture
def request_of(requests_on):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8) for n in (70, 18)]
    labels = [np.repeat(np.arange(4), counts) for counts in (TRAIN, TEST)]
    uneven = Pool("uneven (PNG)", images[0], labels[0], images[1], labels[1])
    return requests_on(FILE, "own-split", "uneven", uneven, seed_count=4)


def run(request):
    assert Backend(workers=1).run_jobs(request, "a test") == []


def test_seeds_are_trained_with_those_of_equally_many_images(request_of):
    strategies = tuple(map(load_strategy, ("sgd", "ewc", "joint")))
    request = request_of(strategies=strategies)
    run(request)
    cohorts = set()
    for strategy in strategies:
        for seed in range(4):
            path = cell_path(request.results, "own-split", strategy.stamp.name, seed)
            record = read_record(path)
            assert sum(record.test_sizes) == TEST.sum()
            assert record.status == "finished"
            cohorts.add(record.environment.cohort)
    assert len(cohorts) > 1
    assert sorted(seed for cohort in cohorts for seed in cohort) == [0, 1, 2, 3]


def test_a_seed_alone_gives_what_it_gives_among_others(request_of, tmp_path):
    for count, name in ((4, "all"), (1, "one")):
        run(request_of(strategies=(load_strategy("sgd"),), seed_count=count,
                       results=tmp_path / name))  # fmt: skip
    one, other = (
        read_record(cell_path(tmp_path / name, "own-split", "sgd", 0)) for name in ("all", "one")
    )
    assert (one.correct, one.test_sizes) == (other.correct, other.test_sizes)


def test_sweeps_and_grades_take_them_too(request_of):
    sweep = request_of(work=Sweep("fraction", (0.0, 0.5, 1.0)))
    run(sweep)
    assert [record.seed for record in sweep_records(sweep, "fraction")] == [0, 1, 2, 3]
    grading = request_of(work=Distances(2))
    run(grading)
    grade_records(grading)
    record = read_grade(grade_path(grading.results, "own-split"))
    assert [seed.seed for seed in record.seeds] == [0, 1, 2, 3]
    assert record.refusal is None


def test_validation_keeps_the_classes_as_they_are(request_of):
    request = request_of(strategies=(load_strategy("sgd"),), purpose="validation", seed_count=2)
    run(request)
    record = read_record(cell_path(request.results, "own-split", "sgd", 1000))
    assert sum(record.test_sizes) == sum(round(0.2 * count) for count in TRAIN)


# Groups of classes, which are of unequal size and come in another order with every seed

GROUPED = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import ByGroup, TaskSequence
quick = Training(2, 10, 0.05, minimum_steps=5)
groups = TaskSequence("own-groups", "", "folder:grouped", ByGroup(2, shuffled=True), "mlp-4x1",
                      training=quick, class_incremental=True)
"""
NAMES = ("p/1", "q/1", "q/2", "p/2", "q/3")


def test_tasks_are_groups_whose_order_is_of_the_seed(requests_on):
    random = np.random.default_rng(0)
    labels = [np.repeat(np.arange(5), count) for count in (8, 3)]
    images = [random.integers(0, 256, (len(own), 1, 4, 4), dtype=np.uint8) for own in labels]
    grouped = Pool("grouped (PNG)", images[0], labels[0], images[1], labels[1], NAMES)
    strategies = tuple(map(load_strategy, ("sgd", "ewc", "joint")))
    request = requests_on(GROUPED, "own-groups", "grouped", grouped, seed_count=5)(
        strategies=strategies
    )
    run(request)
    records = [
        read_record(cell_path(request.results, "own-groups", "sgd", seed)) for seed in range(5)
    ]
    assert {record.classes for record in records} == {(2, 3), (3, 2)}
    for record in records:
        assert record.test_sizes == tuple(3 * count for count in record.classes)
        assert record.seen == (record.classes[0], 5)

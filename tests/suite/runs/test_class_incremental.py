"""Class-incremental sequences from a user's file to records, sweeps and grades."""

import json
from dataclasses import replace
from itertools import chain

import pytest

from driftboard.suite.distance.measurement import measure
from driftboard.suite.errors import DriftboardError
from driftboard.suite.loading import load_sequences, load_strategy
from driftboard.suite.records import cell_path, read_record
from driftboard.suite.runs.backend import Backend
from driftboard.suite.runs.request import Request
from driftboard.suite.sweeps import Sweep, sweep_records
from driftboard.suite.training.cohort import Setting

FILE = """
from dataclasses import dataclass, replace
import numpy as np
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Overlap, Recipe, Rotated, Split, TaskSequence

def own(name, scenario, class_incremental=True, rate=0.05):
    return TaskSequence(
        name, "", "digits", scenario, "mlp-4x1", train_per_class=10, test_per_class=6,
        training=Training(1, 10, rate, minimum_steps=5), class_incremental=class_incremental,
    )

@dataclass(frozen=True)
class Drawn:
    tasks: int
    fresh_sets = 1

    def recipes(self, view):
        random = view.stream("own classes")
        return [self.recipe(view, random.permutation(view.classes)[:4]) for _ in range(self.tasks)]

    def recipe(self, view, classes):
        units = np.arange(view.classes)
        return Recipe(
            np.flatnonzero(np.isin(view.train_labels, classes)),
            np.flatnonzero(np.isin(view.test_labels, classes)), units, np.isin(units, classes),
        )

@dataclass(frozen=True)
class WithMoreUnits(Drawn):
    def recipes(self, view):
        more = np.arange(view.classes) < 5 * view.stream("more units").integers(2)
        return [replace(r, active=r.active | more) for r in super().recipes(view)]

split = own("own-split", Split(5))
twin = own("own-twin", Split(5), False)
wild = own("own-wild", Split(5), rate=1e30)
overlap = own("own-overlap", Overlap(5, 4, 2))
drawn = own("own-drawn", Drawn(3))
wider = own("own-wider", WithMoreUnits(3), False)
rotated = own("own-rotated", Rotated(3, 10))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def run(file, tmp_path):
    """Return a function that makes what is missing and returns the request."""

    def made(sequence, *strategies, **changes):
        common = {
            "sequences": (load_sequences((file,))[sequence],),
            "sequence_files": (file,),
            "strategies": tuple(map(load_strategy, strategies)),
            "seed_count": 3,
            "results": tmp_path / "results",
            "device": "cpu",
        }
        request = Request(**(common | changes))
        assert Backend(workers=1).run_jobs(request, "a test") == []
        return request

    return made


GUESSES = (
    (6, 0, 0, 0, 0),
    (3, 3, 0, 0, 0),
    (2, 2, 2, 0, 0),
    (2, 2, 2, 2, 0),  # 12 images among 8 classes are 1.5, which is rounded to the even number
    (1, 1, 1, 1, 1),
)


def records_of(request, sequence, strategy):
    seeds = range(request.seed_count)
    return [read_record(cell_path(request.results, sequence, strategy, seed)) for seed in seeds]


def test_records_say_how_many_classes_were_seen(run):
    request = run("own-split", "sgd", "joint")
    own = [records_of(request, "own-split", name) for name in ("sgd", "joint")]
    for record in chain(*own):
        assert record.classes == (2, 2, 2, 2, 2)
        assert record.seen == record.choices == (2, 4, 6, 8, 10)
        assert record.test_sizes == (12,) * 5
        assert record.correct_untrained == (0,) * 5
        for task, row in enumerate(record.correct):
            assert not any(row[task + 1 :])


def test_records_of_other_sequences_do_not_have_that_field(run):
    request = run("own-twin", "sgd")
    record = records_of(request, "own-twin", "sgd")[0]
    assert record.choices == record.classes == (2, 2, 2, 2, 2)
    path = cell_path(request.results, "own-twin", "sgd", 0)
    assert "seen" not in json.loads(path.read_text())


def test_who_diverges_counts_as_a_guess_among_the_classes_seen(run):
    record = records_of(run("own-wild", "sgd"), "own-wild", "sgd")[0]
    assert record.diverged_at == 0
    assert record.correct == GUESSES


def test_windows_that_overlap_are_counted_once(run):
    for record in records_of(run("own-overlap", "ewc"), "own-overlap", "ewc"):
        assert (record.classes, record.seen) == ((4,) * 5, (4, 6, 8, 10, 10))


def test_seeds_that_have_seen_unequally_many_classes_are_not_trained_together(run):
    records = records_of(run("own-drawn", "ewc", seed_count=5), "own-drawn", "ewc")
    assert len({record.seen for record in records}) > 1
    for record in records:
        assert record.status == "finished"
        alike = {one.seed for one in records if one.seen == record.seen}
        assert set(record.environment.cohort) == alike


def test_seeds_whose_tasks_have_unequally_many_classes_are_not_trained_together(run):
    records = records_of(run("own-wider", "ewc", seed_count=5), "own-wider", "ewc")
    assert len({record.classes for record in records}) > 1
    for record in records:
        assert record.status == "finished"
        alike = {one.seed for one in records if one.classes == record.classes}
        assert set(record.environment.cohort) == alike


def test_a_sweep_guesses_among_the_classes_seen(run):
    request = run("own-wild", work=Sweep("fraction", (0.0, 1.0)), seed_count=2)
    for record in sweep_records(request, "fraction"):
        assert record.diverged == (True, True)
        assert record.correct == (GUESSES, GUESSES)


def test_a_grade_is_that_of_the_tasks_alone(file):
    sequence = load_sequences((file,))["own-split"]
    plain = replace(sequence, class_incremental=False)
    one, other = (
        measure(Setting(each, (0, 1), "test", None, "cpu"), 2, 4) for each in (sequence, plain)
    )
    assert [record.seeds for record in one] == [record.seeds for record in other]
    assert {record.sequence.hash for record in one} == {sequence.hash()}


def test_where_all_tasks_have_the_same_classes_it_is_refused(run):
    with pytest.raises(
        DriftboardError,
        match="own-rotated: all its tasks have the same classes, so class_incremental changes "
        "nothing; leave it out",
    ):
        run("own-rotated", "sgd")

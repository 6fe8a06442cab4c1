"""A user's file with transformations, from the file to records, grades and tuning."""

import json

import numpy as np
import pytest

from driftboard.suite.distance.grades import read_grade, seed_path
from driftboard.suite.loading import load_sequences, load_strategy
from driftboard.suite.records import cell_path, read_record
from driftboard.suite.runs.backend import Backend
from driftboard.suite.runs.cells import plan
from driftboard.suite.runs.request import Request
from driftboard.suite.sequences import Relabelled
from driftboard.suite.training import cohort

FILE = """
from dataclasses import dataclass
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Corrupted, Overlap, Relabelled, TaskSequence, Transformed
import helper

@dataclass(frozen=True)
class Inverted:
    most: int = 240

    def __call__(self, images):
        return helper.inverted(images, self.most)

@dataclass(frozen=True)
class Own:
    tasks: int = 2
    fresh_sets: int = 1

    def recipes(self, view):
        return Relabelled(2, 5).recipes(view)

def own(name, scenario):
    return TaskSequence(
        name, "", "digits", scenario, "mlp-4x1", train_per_class=10, test_per_class=6,
        training=Training(1, 10, 0.05, minimum_steps=5),
    )

plain = own("own-plain", Relabelled(2, 5))
inverted = own("own-inverted", Transformed(Relabelled(2, 5), (None, Inverted())))
wrapped = own("own-wrapped", Corrupted(Own(), 1))
"""
HELPER = "def inverted(images, most):\n    return most - images\n"


@pytest.fixture
def write(tmp_path):
    def written(helper=HELPER, file=FILE):
        (tmp_path / "helper.py").write_text(helper)
        (tmp_path / "own.py").write_text(file)
        return tmp_path / "own.py"

    return written


@pytest.fixture
def ask(tmp_path):
    def made(file, sequence, results="results", **changes):
        return Request(
            sequences=(load_sequences((file,))[sequence],),
            sequence_files=(file,),
            strategies=(load_strategy("sgd"),),
            seed_count=2,
            results=tmp_path / results,
            device="cpu",
            **changes,
        )

    return made


def test_a_worker_makes_what_this_process_makes(write, ask):
    request = ask(write(), "own-inverted")
    cohort.prepare.cache_clear()
    here = [record for job in plan(request) for record in job.measure()]
    assert Backend(workers=1).run_jobs(request, "a test") == []
    for record in here:
        there = read_record(cell_path(request.results, "own-inverted", "sgd", record.seed))
        assert record.correct == there.correct
        assert record.sequence == there.sequence
        assert np.array(record.drift_norms) == pytest.approx(np.array(there.drift_norms), rel=1e-5)


def test_the_second_task_shows_inverted_images(write, ask):
    request = ask(write(), "own-inverted")
    plain = ask(write(), "own-plain")
    for one in (request, plain):
        assert one.sequences[0].scenario.tasks == 2
    setting = cohort.Setting(request.sequences[0], (0, 1), "test", None, "cpu")
    made = cohort.prepare(setting).cohort
    base = cohort.prepare(
        cohort.replace(
            setting, sequence=cohort.replace(setting.sequence, scenario=Relabelled(2, 5))
        )
    ).cohort
    for part in ("train", "test"):
        (first, second), (one, other) = getattr(made, part), getattr(base, part)
        assert first.images.equal(one.images)
        assert second.images.equal(240 - other.images)
        assert second.labels.equal(other.labels)
    assert made.scaling.mean.equal(base.scaling.mean)  # that of the images as they come


def hash_of(file, name="own-inverted"):
    return load_sequences((file,))[name].hash()


def test_the_hash_covers_the_code_and_what_it_imports_but_no_remarks(write):
    first = hash_of(write())
    assert hash_of(write(file="# A remark.\n" + FILE)) == first
    other = {
        hash_of(write(HELPER.replace("most -", "most ^"))),
        hash_of(write(file=FILE.replace("self.most)", "self.most + 1)"))),
        hash_of(write(file=FILE.replace("Inverted()", "Inverted(255)"))),
    }
    assert len(other | {first}) == 4
    assert hash_of(write()) == first


def test_the_hash_covers_a_scenario_of_the_users_below_one_of_ours(write):
    first = hash_of(write(), "own-wrapped")
    file = FILE.replace("Relabelled(2, 5).recipes(view)", "Overlap(2, 4, 2).recipes(view)")
    assert hash_of(write(file=file), "own-wrapped") != first


WRONG = {
    "import numpy\ndef inverted(images, most):\n    return most / (images + numpy.float32(1))\n": (
        "the transformation Inverted returns float32 of shape (6, 1, 8, 8) (own.py, line "
    ),
    "def inverted(images, most):\n    images[:] = most - images\n    return images\n": (
        "the transformation Inverted fails: ValueError: assignment destination is read-only; "
        "helper.py, line 2: images[:] = most - images"
    ),
}


@pytest.mark.parametrize("helper", WRONG)
def test_what_is_wrong_is_said_once_before_anything_is_trained(write, call, tmp_path, helper):
    run = ["run", "--sequence-file", write(helper), "--sequence", "own-inverted"]
    code, out, errors = call(
        *run, "--strategy", "sgd", "--strategy", "ewc", "--out", tmp_path / "o"
    )
    assert code == 1
    assert WRONG[helper] in errors
    assert errors.count("the transformation Inverted") == 1
    assert "Traceback" not in errors + out
    assert not (tmp_path / "o" / "records").exists()


def test_grades_and_tuning_use_it(write, call, one_thread, tmp_path):
    chosen = ["--sequence-file", write()]
    code, _, errors = call(
        "grade", "own-inverted", "own-plain", *chosen, "--seeds", 1, "--out", tmp_path / "g"
    )
    assert code == 0, errors
    products = {
        name: read_grade(seed_path(tmp_path / "g", name, 0)).seeds[0]
        for name in ("own-inverted", "own-plain")
    }
    assert products["own-inverted"] != products["own-plain"]
    code, _, errors = call(
        "tune", "sgd", *chosen, "--sequence", "own-inverted", "--out", tmp_path / "t"
    )
    assert code == 0, errors
    (path,) = (tmp_path / "t").rglob("sgd.json")
    assert len(json.loads(path.read_text())["trials"]) == 8

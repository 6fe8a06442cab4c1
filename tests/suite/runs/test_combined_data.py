"""Sequences over several data sets, from a user's file to records; and what is missing."""

import numpy as np
import pytest

from driftboard.suite.data import Pool, load_pool
from driftboard.suite.loading import load_strategy
from driftboard.suite.records import cell_path, read_record
from driftboard.suite.runs.backend import Backend
from driftboard.suite.training.cohort import Setting, prepare

FILE = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import ByGroup, TaskSequence

both = TaskSequence(
    "both", "", "digits+folder:dots", ByGroup(2, shuffled=True), "mlp-8x1", train_per_class=30,
    test_per_class=4, balance=False, class_incremental=True,
    training=Training(1, 10, 0.05, minimum_steps=30),
)
"""


@pytest.fixture
def ask(requests_on):
    """Dots of three colours, 5 by 6 pixels: 7, 8 and 9 images to train on."""
    labels = np.repeat(np.arange(3), (7, 8, 9))
    images = np.zeros((24, 3, 5, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label, 1:4, 1:5] = 200
    pool = Pool("Dots", images, labels, images[::2], labels[::2])
    return requests_on(FILE, "both", "dots", pool, strategies=(load_strategy("sgd"),), seed_count=4)


def test_tasks_of_unequal_data_sets_are_trained_and_recorded(ask, one_thread):
    request = ask()
    assert Backend(workers=1).run_jobs(request, "a test") == []
    records = [read_record(cell_path(request.results, "both", "sgd", s)) for s in range(4)]
    assert {record.classes for record in records} == {(10, 3), (3, 10)}
    for record in records:
        assert record.sequence.data == "Digits + Dots"
        assert record.test_sizes == ((40, 12) if record.classes == (10, 3) else (12, 40))
        assert record.seen == (record.classes[0], 13)
        alike = {one.seed for one in records if one.classes == record.classes}
        assert set(record.environment.cohort) == alike


def test_a_task_shows_the_images_of_its_data_set(ask):
    request = ask()
    prepare.cache_clear()
    pool = load_pool("digits+folder:dots", request.data)
    cohort = prepare(Setting(request.sequences[0], (0,), "test", request.data, "cpu")).cohort
    assert cohort.initial["hidden1.weight"].shape == (1, 8, 64)
    for task, active in zip(cohort.train, cohort.classes, strict=True):
        digits = int(active.sum()) == 10
        assert task.count == (300 if digits else 24)
        own = pool.train_images[pool.train_labels < 10 if digits else pool.train_labels >= 10]
        known = {image.tobytes() for image in own}
        assert {image.numpy().tobytes() for image in task.images[0]} <= known
    mean = pool.train_images.mean() / 255
    assert cohort.scaling.mean.item() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("command", ["run", "grade"])
def test_a_missing_part_is_named_with_its_remedy(call, tmp_path, command):
    (tmp_path / "data").mkdir()
    words = ["--sequence"] if command == "run" else []
    code, out, errors = call(
        command, *words, "mnist-then-fashion", "--data", tmp_path / "data", "--out", tmp_path / "o"
    )
    assert (code, out) == (1, "")
    *_, line = errors.splitlines()  # those before say what was asked for
    assert line.startswith("driftboard: MNIST is not in ")
    assert "driftboard data fetch mnist" in line

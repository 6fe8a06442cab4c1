"""Preparation: what is the same for all strategies, and belongs to a seed and to no cohort."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from driftboard.suite.data import Pool, load_pool
from driftboard.suite.errors import DataError
from driftboard.suite.protocol import PROTOCOL, Training
from driftboard.suite.rng import stream
from driftboard.suite.sequences import splits
from driftboard.suite.sequences.scenarios import Corrupted, Overlap, Relabelled
from driftboard.suite.sequences.splits import make_splits
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.training import cohort as cohorts
from driftboard.suite.training.cohort import Setting
from driftboard.suite.training.networks import initial_parameters

TASKS = 3
SEQUENCE = TaskSequence(
    name="made-up",
    description="Four classes a task, half of them shared with the task before.",
    source="digits",
    scenario=Overlap(TASKS, 4, 2),
    network="mlp-16x1",
    train_per_class=20,
    test_per_class=6,
)
NOISY = replace(SEQUENCE, name="made-up-noisy", scenario=Corrupted(Overlap(TASKS, 4, 2), 3))
SEQUENCES = pytest.mark.parametrize("sequence", [SEQUENCE, NOISY], ids=["clean", "noisy"])
PURPOSES = pytest.mark.parametrize("purpose", ["test", "validation"])


@pytest.fixture(scope="module")
def digits():
    return load_pool("digits", None)


@pytest.fixture
def prepare(digits, tmp_path, monkeypatch):
    """Return a function that prepares a cohort, on a pool and with a cache of the test's own."""
    monkeypatch.setattr(splits, "cache_folder", lambda: tmp_path)

    def make(sequence=SEQUENCE, seeds=(0, 1), *, purpose="test", pool=digits):
        monkeypatch.setattr(cohorts, "load_pool", lambda *_: pool)
        setting = Setting(sequence, seeds, purpose, None, "cpu")
        cohorts.prepare.cache_clear()
        return setting, cohorts.prepare(setting)

    yield make
    cohorts.prepare.cache_clear()


def drawn(generators):
    return [generator.random(5).tolist() for generator in generators]


def of_seed(cohort, position):
    """All that a cohort holds for one seed; paddings left out."""
    parts = {}
    for part in ("train", "test"):
        for task, data in enumerate(getattr(cohort, part)):
            real = data.labels[position] >= 0
            for name, value in vars(data).items():
                parts[f"{part} {task} {name}"] = value[position][real]
    for task in range(TASKS):
        parts[f"classes {task}"] = cohort.classes[task][position]
        for name in ("batch_orders", "strategy_noise"):
            arguments = (task, 50) if name == "batch_orders" else (task,)
            generators = getattr(cohort, name)(*arguments)
            parts[f"{name} {task}"] = torch.from_numpy(generators[position].random(9))
    return parts | {name: value[position] for name, value in cohort.initial.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_strategies_share_weights_data_and_batch_orders(prepare):
    setting, prepared = prepare(NOISY)
    one, other = (prepared.for_strategy(setting, name) for name in ("sgd", "ewc"))
    for position in range(2):
        first, second = of_seed(one, position), of_seed(other, position)
        own = {name for name in first if name.startswith("strategy_noise")}
        assert len(own) == TASKS
        assert all(not torch.equal(first.pop(name), second.pop(name)) for name in own)
        assert_same(first, second)
    assert one.training == other.training
    assert one.network is other.network
    assert one.scaling is other.scaling


def test_a_strategys_numbers_follow_from_its_name_the_task_and_the_seed_alone(prepare):
    setting, prepared = prepare()
    cohort = prepared.for_strategy(setting, "ewc")
    seen = set()
    for task in range(TASKS):
        expected = [
            stream("driftboard", PROTOCOL.version, "made-up", seed, "strategy", "ewc", task)
            for seed in (0, 1)
        ]
        values = drawn(cohort.strategy_noise(task))
        assert values == drawn(expected)
        assert values == drawn(prepared.for_strategy(setting, "ewc").strategy_noise(task))
        seen |= {tuple(row) for row in values}
    assert len(seen) == 2 * TASKS


def test_batch_orders_follow_from_task_count_and_seed_alone(prepare):
    _, prepared = prepare()
    seen = set()
    for task in range(TASKS):
        for count in (80, 160):
            names = ("driftboard", PROTOCOL.version, "made-up")
            expected = [stream(*names, seed, "batch order", task, count) for seed in (0, 1)]
            values = drawn(prepared.cohort.batch_orders(task, count))
            assert values == drawn(expected)
            # asked again, they begin anew
            assert values == drawn(prepared.cohort.batch_orders(task, count))
            seen |= {tuple(row) for row in values}
    assert len(seen) == 2 * 2 * TASKS


def test_initial_weights_follow_from_the_seed_alone(prepare):
    _, prepared = prepare()
    for position, seed in enumerate((0, 1)):
        random = stream("driftboard", PROTOCOL.version, "made-up", seed, "initial weights")
        number = int(random.integers(2**63))
        _, expected = initial_parameters("mlp-16x1", (1, 8, 8), 10, number)
        assert list(prepared.cohort.initial) == list(expected)
        for name, value in expected.items():
            assert torch.equal(prepared.cohort.initial[name][position], value)


@PURPOSES
@SEQUENCES
def test_a_seeds_learner_is_the_same_in_every_cohort(prepare, sequence, purpose):
    _, alone = prepare(sequence, (1,), purpose=purpose)
    expected = of_seed(alone.cohort, 0)
    for seeds in ((0, 1), (1, 2, 0), (1, 1)):  # the last has the seed in two learners
        _, prepared = prepare(sequence, seeds, purpose=purpose)
        assert prepared.cohort.size == len(seeds)
        assert_same(of_seed(prepared.cohort, seeds.index(1)), expected)


def test_seeds_differ_in_weights_images_orders_and_noise(prepare):
    _, prepared = prepare(NOISY)
    one, other = (of_seed(prepared.cohort, position) for position in range(2))
    same = {name for name in one if torch.equal(one[name], other[name])}
    assert all(name.endswith(("labels", "active")) or "classes" in name for name in same)
    # the units of a task are numbered in the seed's own class order
    assert {name for name in one if "classes" in name or "active" in name} <= same


@PURPOSES
def test_tasks_hold_the_images_of_their_recipes(prepare, digits, purpose):
    _, prepared = prepare(purpose=purpose)
    for position, seed in enumerate((0, 1)):
        recipes = make_splits(SEQUENCE, digits, PROTOCOL, seed, purpose)
        for task, recipe in enumerate(recipes):
            for part in ("train", "test"):
                pool = "train" if purpose == "validation" else part
                images, labels = (
                    getattr(digits, f"{pool}_{kind}") for kind in ("images", "labels")
                )
                rows = getattr(recipe, part)
                data = getattr(prepared.cohort, part)[task]
                count = len(rows)
                assert count == {"train": 80, "test": 24}[part]
                np.testing.assert_array_equal(data.images[position, :count], images[rows])
                units = recipe.units[labels[rows]]
                np.testing.assert_array_equal(data.labels[position, :count], units)
                assert (data.labels[position, count:] == -1).all()
            own = prepared.cohort.classes[task][position]
            np.testing.assert_array_equal(own, recipe.active)
            assert own.sum() == 4


def test_training_images_are_scaled_to_mean_0_and_variance_1(prepare, digits):
    _, prepared = prepare()
    scaled = prepared.cohort.scaling(torch.from_numpy(digits.train_images), torch.float64)
    assert float(scaled.mean()) == pytest.approx(0, abs=1e-6)
    assert float(scaled.var(correction=0)) == pytest.approx(1, abs=1e-6)


def with_test_images(pool, value):
    changed = np.full_like(pool.test_images, value)
    return Pool(pool.title, pool.train_images, pool.train_labels, changed, pool.test_labels)


def test_validation_uses_no_test_image(prepare, digits):
    """No digit is white all over, so a white test image would be seen."""
    _, prepared = prepare(pool=with_test_images(digits, 255), purpose="validation")
    for data in (*prepared.cohort.train, *prepared.cohort.test):
        assert not (data.images == 255).flatten(2).all(dim=2).any()
    _, other = prepare(pool=with_test_images(digits, 0), purpose="validation")
    for position in range(2):
        assert_same(of_seed(prepared.cohort, position), of_seed(other.cohort, position))
    assert torch.equal(prepared.cohort.scaling.mean, other.cohort.scaling.mean)


def test_testing_uses_test_images_and_only_those(prepare, digits):
    _, prepared = prepare(pool=with_test_images(digits, 255))
    for train, test in zip(prepared.cohort.train, prepared.cohort.test, strict=True):
        assert not (train.images == 255).flatten(2).all(dim=2).any()
        assert (test.images[test.labels >= 0] == 255).all()


def grey(pool):
    """The same labels, but images of one medium grey, on which noise is all that is seen."""
    images = (np.full_like(part, 128) for part in (pool.train_images, pool.test_images))
    train, test = images
    return Pool("grey", train, pool.train_labels, test, pool.test_labels)


@PURPOSES
def test_an_images_noise_is_that_of_its_pool_and_row(prepare, digits, purpose):
    pool = grey(digits)
    _, prepared = prepare(NOISY, pool=pool, purpose=purpose)
    for position, seed in enumerate((0, 1)):
        recipe = make_splits(NOISY, pool, PROTOCOL, seed, purpose)[TASKS - 1]
        for part in ("train", "test"):
            name = "train" if purpose == "validation" else part
            rows = getattr(recipe, part)
            images = getattr(prepared.cohort, part)[TASKS - 1].images[position]
            for row, image in zip(rows[:5], images, strict=False):
                random = stream(
                    "driftboard", PROTOCOL.version, NOISY.name, seed, "image noise", name, int(row)
                )
                noise = 255 * 0.35 * random.standard_normal(64, dtype=np.float32)
                expected = np.clip(128 + noise, 0, 255).reshape(1, 8, 8)
                assert np.abs(image.numpy() - expected).max() <= 0.5 + 1e-3


def test_noise_grows_from_nothing_task_by_task(prepare, digits):
    _, prepared = prepare(NOISY, pool=grey(digits))
    for part in (prepared.cohort.train, prepared.cohort.test):
        levels = [float(data.images.double().std()) / 255 for data in part]
        # near black and white some of it is cut off
        assert levels == pytest.approx([0.0, 0.175, 0.31], abs=0.02)


def test_a_label_permutation_reaches_training_and_testing_alike(prepare, digits):
    sequence = replace(SEQUENCE, scenario=Relabelled(2, 5))
    _, prepared = prepare(sequence)
    for position, seed in enumerate((0, 1)):
        recipes = make_splits(sequence, digits, PROTOCOL, seed, "test")
        for part in ("train", "test"):
            first, second = getattr(prepared.cohort, part)
            assert torch.equal(first.images, second.images)
            changes = dict(
                zip(first.labels[position].tolist(), second.labels[position].tolist(), strict=True)
            )
            assert changes == dict(enumerate(recipes[1].units.tolist()))
            assert sum(old != new for old, new in changes.items()) == 5


def test_training_is_the_protocols_or_the_sequences_own(prepare):
    _, prepared = prepare()
    assert prepared.cohort.training == PROTOCOL.other_training
    own = Training(epochs=1, batch_size=7, learning_rate=0.3)
    _, prepared = prepare(replace(SEQUENCE, training=own))
    assert prepared.cohort.training == own


def test_the_data_are_named_by_title_and_fingerprint(prepare, digits):
    _, prepared = prepare()
    assert prepared.stamp.data == digits.title
    assert prepared.stamp.data_hash == digits.fingerprint


def test_too_few_images_are_a_data_error(prepare):
    with pytest.raises(DataError, match="made-up needs 1000 training images of every class"):
        prepare(replace(SEQUENCE, train_per_class=1000))


def test_learners_of_unequal_numbers_of_images_are_not_trained_together(digits):
    """They would be padded, and trained on the padding."""
    recipes = make_splits(SEQUENCE, digits, PROTOCOL, 0, "test")
    short = [replace(recipe, train=recipe.train[1:]) for recipe in recipes]
    setting = Setting(SEQUENCE, (0, 0), "test", None, "cpu")
    cohorts.build_cohort(setting, digits, [short, short])
    with pytest.raises(ValueError, match="equally many training images"):
        cohorts.build_cohort(setting, digits, [short, recipes])

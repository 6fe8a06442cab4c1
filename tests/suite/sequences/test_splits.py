"""Splits by value: who gets which images, and a cache that can be trusted or else is rebuilt."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pytest

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError
from driftboard.suite.protocol import Protocol
from driftboard.suite.rng import stream
from driftboard.suite.sequences import splits
from driftboard.suite.sequences.groups import ByGroup
from driftboard.suite.sequences.scenarios import (
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Relabelled,
    Repeat,
    Split,
)
from driftboard.suite.sequences.splits import cached_splits, make_splits
from driftboard.suite.sequences.task_sequence import TaskSequence

PROTOCOL = Protocol()
CLASSES = 6
TRAIN = (20, 23, 31, 20, 25, 22)  # images of each class
TEST = (9, 12, 10, 9, 14, 11)


def make_pool(train=TRAIN, test=TEST, seed=0):
    random = np.random.default_rng(seed)

    def labels(counts):
        return random.permutation(np.repeat(np.arange(len(counts)), counts))

    def images(count):
        return random.integers(0, 256, (count, 1, 3, 4), dtype=np.uint8)

    return Pool(
        title="made up",
        train_images=images(sum(train)),
        train_labels=labels(train),
        test_images=images(sum(test)),
        test_labels=labels(test),
    )


@dataclass(frozen=True)
class Turned(Overlap):
    """Overlap whose tasks are turned; unlike Rotated it does not import continuum."""

    def recipes(self, view):
        return [
            replace(recipe, degrees=12.5 * task)
            for task, recipe in enumerate(super().recipes(view))
        ]


@dataclass(frozen=True)
class Flat:
    """Repeat without continuum: an equal part of every class to each task."""

    tasks: int

    @property
    def fresh_sets(self):
        return self.tasks

    def recipes(self, view):
        (everything,) = Overlap(1, view.classes, 0).recipes(view)
        dealt = np.zeros(len(view.train_labels), dtype=np.int64)
        for label in range(view.classes):
            rows = np.flatnonzero(view.train_labels == label)
            dealt[rows] = np.arange(len(rows)) % self.tasks
        return [
            replace(everything, train=np.flatnonzero(dealt == task)) for task in range(self.tasks)
        ]


def make_sequence(scenario=Overlap(4, 3, 1), name="made-up", **changes):  # noqa: B008
    return TaskSequence(name, "Made up.", "made-up", scenario, "mlp-8x1", **changes)


def assert_equal(one, other):
    """The same recipes for the same seeds, and of the same types."""
    assert [len(row) for row in one] == [len(row) for row in other]
    for recipe, twin in zip(chain(*one), chain(*other), strict=True):
        for name, value in vars(recipe).items():
            second = getattr(twin, name)
            assert type(second) is type(value)
            if isinstance(value, np.ndarray):
                assert second.dtype == value.dtype
                np.testing.assert_array_equal(second, value)
            else:
                assert second == value


def counts(recipes, part, labels):
    """Images of each class, one row per task."""
    return [np.bincount(labels[getattr(r, part)], minlength=CLASSES).tolist() for r in recipes]


def shown(recipe):
    """The classes of a task."""
    return recipe.active[recipe.units]


@pytest.fixture(scope="module")
def pool():
    return make_pool()


@pytest.mark.parametrize("purpose", ["test", "validation"])
def test_the_same_seed_gives_the_same_split(pool, purpose):
    one, other = (
        make_splits(make_sequence(), made, PROTOCOL, 3, purpose) for made in (pool, make_pool())
    )
    assert_equal([one], [other])


def test_seeds_draw_different_images(pool):
    sequence = make_sequence(Relabelled(2, 3), train_per_class=10, test_per_class=5)
    first, second = (make_splits(sequence, pool, PROTOCOL, seed, "test") for seed in (0, 1))
    for part in ("train", "test"):
        assert not np.array_equal(getattr(first[0], part), getattr(second[0], part))


@pytest.mark.parametrize("change", ["name", "protocol"])
def test_sequences_and_protocols_draw_different_images(pool, change):
    one = make_splits(
        make_sequence(Relabelled(2, 3), train_per_class=10), pool, PROTOCOL, 0, "test"
    )
    sequence = make_sequence(
        Relabelled(2, 3), train_per_class=10, **({"name": "other"} if change == "name" else {})
    )
    protocol = Protocol(version=1) if change == "protocol" else PROTOCOL
    other = make_splits(sequence, pool, protocol, 0, "test")
    assert not np.array_equal(one[0].train, other[0].train)


def test_the_images_of_a_class_are_the_first_of_the_seeds_order(pool):
    sequence = make_sequence(Relabelled(2, 3), train_per_class=7, test_per_class=4)
    recipe = make_splits(sequence, pool, PROTOCOL, 5, "test")[0]
    for part, quota in (("train", 7), ("test", 4)):
        labels = getattr(pool, f"{part}_labels")
        random = stream("driftboard", PROTOCOL.version, "made-up", 5, "subset", part)
        expected = set()
        for label in range(CLASSES):
            rows = [row for row, own in enumerate(labels) if own == label]
            expected |= set(random.permutation(rows)[:quota].tolist())
        rows = getattr(recipe, part).tolist()
        assert len(rows) == len(expected)
        assert set(rows) == expected


@pytest.mark.parametrize(("quota", "each"), [(1, 1), (10, 10), (20, 20), (None, 20)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_class_of_a_task_has_exactly_its_quota_of_training_images(pool, quota, each, seed):
    sequence = make_sequence(train_per_class=quota)
    recipes = make_splits(sequence, pool, PROTOCOL, seed, "test")
    expected = [(shown(recipe) * each).tolist() for recipe in recipes]
    assert counts(recipes, "train", pool.train_labels) == expected


@pytest.mark.parametrize("quota", [1, 9, None])
def test_every_class_of_a_task_has_its_quota_of_test_images_or_all_that_there_are(pool, quota):
    recipes = make_splits(make_sequence(test_per_class=quota), pool, PROTOCOL, 0, "test")
    each = np.minimum(TEST, TEST if quota is None else quota)
    expected = [(shown(recipe) * each).tolist() for recipe in recipes]
    assert counts(recipes, "test", pool.test_labels) == expected


@pytest.mark.parametrize(("quota", "each"), [(4, 4), (5, 5), (None, 5)])
def test_repeat_draws_its_quota_afresh_for_every_task(pool, quota, each):
    sequence = make_sequence(Repeat(4), train_per_class=quota)
    recipes = make_splits(sequence, pool, PROTOCOL, 0, "test")
    assert counts(recipes, "train", pool.train_labels) == [[each] * CLASSES] * 4
    together = np.concatenate([recipe.train for recipe in recipes])
    assert len(np.unique(together)) == len(together)


@pytest.mark.parametrize("tasks", [1, 3, 4, 5])
@pytest.mark.parametrize("quota", [None, 7])
def test_repeat_shares_out_equally_what_validation_leaves(tasks, quota):
    pool = make_pool(train=(19, 20, 21, 22, 23, 24))  # of the smallest class 15 are left
    sequence = make_sequence(Flat(tasks), train_per_class=quota)
    recipes = make_splits(sequence, pool, PROTOCOL, 0, "validation")
    each = min(15, 100 if quota is None else quota * tasks) // tasks
    assert counts(recipes, "train", pool.train_labels) == [[each] * CLASSES] * tasks


@pytest.mark.parametrize("purpose", ["test", "validation"])
@pytest.mark.parametrize(
    ("scenario", "quota"), [(Overlap(4, 3, 1), 21), (Repeat(4), 6)], ids=["overlap", "repeat"]
)
def test_too_few_training_images_are_a_data_error_that_says_how_many(scenario, quota, purpose):
    pool = make_pool()
    sequence = make_sequence(scenario, train_per_class=quota)
    if purpose == "validation":  # which makes do with what is left
        make_splits(sequence, pool, PROTOCOL, 0, purpose)
        return
    needed = quota * scenario.fresh_sets
    with pytest.raises(DataError, match=rf"made-up needs {needed} .* class 0 has 20\b"):
        make_splits(sequence, pool, PROTOCOL, 0, purpose)


def test_too_few_test_images_are_a_data_error_that_says_how_many(pool):
    sequence = make_sequence(test_per_class=10)
    with pytest.raises(DataError, match=r"made-up needs 10 test images .* class 0 has 9; lower"):
        make_splits(sequence, pool, PROTOCOL, 0, "test")
    make_splits(sequence, pool, PROTOCOL, 0, "validation")  # which makes do with what is left


def test_few_shot_of_more_images_than_there_are_is_a_data_error(pool):
    sequence = make_sequence(FewShot(Overlap(4, 3, 1), 8), train_per_class=7)
    with pytest.raises(DataError, match="made-up: 8 training images of a class are asked for"):
        make_splits(sequence, pool, PROTOCOL, 0, "test")
    make_splits(sequence, pool, PROTOCOL, 0, "validation")


ALL = [Split(1), Overlap(3, 1, 0), Permuted(3, 0.5), Relabelled(3, 2), Repeat(3)]


@pytest.mark.parametrize(
    "scenario", [*ALL, Corrupted(Repeat(3), 3), FewShot(Repeat(3), 1)], ids=str
)
def test_data_of_one_class_have_nothing_to_tell_apart(scenario):
    pool = make_pool((20,), (9,))
    with pytest.raises(DataError, match="made-up: ") as caught:
        make_splits(make_sequence(scenario), pool, PROTOCOL, 0, "test")
    assert "class" in str(caught.value) or "label" in str(caught.value)


@pytest.mark.parametrize("purpose", ["test", "validation"])
def test_fewer_images_than_sets_are_a_data_error(purpose):
    pool = make_pool(train=(3,) * CLASSES)
    with pytest.raises(DataError, match="made-up"):
        make_splits(make_sequence(Repeat(4)), pool, PROTOCOL, 0, purpose)


@pytest.mark.parametrize("train", [1, 2, 3])
def test_validation_of_tiny_classes_tests_every_class_or_is_a_data_error(train):
    pool = make_pool(train=(train,) * CLASSES)
    try:
        recipes = make_splits(make_sequence(), pool, PROTOCOL, 0, "validation")
    except DataError:
        return
    for recipe, row in zip(recipes, counts(recipes, "test", pool.train_labels), strict=True):
        np.testing.assert_array_equal(np.array(row) > 0, shown(recipe))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("quota", [None, 20, 12])
def test_validation_splits_the_training_images_and_no_image_is_on_both_sides(pool, seed, quota):
    sequence = make_sequence(train_per_class=quota)
    recipes = make_splits(sequence, pool, PROTOCOL, seed, "validation")
    trained = set(np.concatenate([recipe.train for recipe in recipes]).tolist())
    tested = set(np.concatenate([recipe.test for recipe in recipes]).tolist())
    assert not trained & tested  # over all tasks: what one trains on, none tests on
    # both are positions of training images: a fifth of every class is set aside
    aside = [round(0.2 * count) for count in TRAIN]
    each = min(12 if quota == 12 else 100, min(np.subtract(TRAIN, aside)))
    for recipe, train, test in zip(
        recipes,
        counts(recipes, "train", pool.train_labels),
        counts(recipes, "test", pool.train_labels),
        strict=True,
    ):
        assert train == (shown(recipe) * each).tolist()
        assert test == (shown(recipe) * aside).tolist()


def test_validation_sets_the_same_images_aside_whatever_the_quota(pool):
    one, other = (
        make_splits(make_sequence(train_per_class=q), pool, PROTOCOL, 0, "validation")
        for q in (5, 12)
    )
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(first.test, second.test)
        assert set(first.train) < set(second.train)


def test_validation_never_reads_the_test_set(pool):
    other = Pool("made up", pool.train_images, pool.train_labels, *_any_test_set())
    one, two = (
        make_splits(make_sequence(), made, PROTOCOL, 0, "validation") for made in (pool, other)
    )
    assert_equal([one], [two])


def _any_test_set():
    return np.zeros((CLASSES, 1, 3, 4), dtype=np.uint8), np.arange(CLASSES)


def test_an_image_of_the_test_purpose_is_in_the_test_set(pool):
    recipes = make_splits(make_sequence(), pool, PROTOCOL, 0, "test")
    tested = np.concatenate([recipe.test for recipe in recipes])
    # the window goes once and a half round, so every class comes
    assert set(tested.tolist()) == set(range(len(pool.test_labels)))


SCENARIOS = {
    "overlap": Overlap(4, 3, 1),
    "permuted": Permuted(3, 0.5),
    "turned": Turned(4, 3, 1),
    "relabelled": Relabelled(3, 4),
    "corrupted": Corrupted(Overlap(4, 3, 1), 3),
    "few-shot": FewShot(Overlap(4, 3, 1), 2),
}


@pytest.mark.parametrize("purpose", ["test", "validation"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_cache_gives_back_what_was_made(pool, tmp_path, monkeypatch, scenario, purpose):
    sequence = make_sequence(scenario)
    made = [make_splits(sequence, pool, PROTOCOL, seed, purpose) for seed in (4, 0)]
    first = cached_splits(sequence, pool, PROTOCOL, (4, 0), purpose, tmp_path)
    assert_equal(first, made)
    monkeypatch.setattr(splits, "_recipes", None)  # from here on it can only be read
    assert_equal(cached_splits(sequence, pool, PROTOCOL, (4, 0), purpose, tmp_path), made)


def test_whatever_decides_a_split_has_a_cache_file_of_its_own(pool, tmp_path):
    sequence = make_sequence(train_per_class=5)
    variants = [
        (sequence, pool, PROTOCOL, 0, "test"),
        (sequence, pool, PROTOCOL, 0, "validation"),
        (sequence, pool, PROTOCOL, 1, "test"),
        (sequence, pool, Protocol(version=1), 0, "test"),
        (sequence, make_pool(seed=1), PROTOCOL, 0, "test"),
        (make_sequence(train_per_class=6), pool, PROTOCOL, 0, "test"),
        (make_sequence(Overlap(4, 3, 2), train_per_class=5), pool, PROTOCOL, 0, "test"),
    ]
    for _ in range(2):
        for sequence, made, protocol, seed, purpose in variants:
            expected = [make_splits(sequence, made, protocol, seed, purpose)]
            given = cached_splits(sequence, made, protocol, (seed,), purpose, tmp_path)
            assert_equal(given, expected)
    assert len(list(tmp_path.iterdir())) == len(variants)


def test_seeds_are_read_whichever_were_asked_for_together(pool, tmp_path, monkeypatch):
    sequence = make_sequence()
    made = {seed: make_splits(sequence, pool, PROTOCOL, seed, "test") for seed in (0, 1, 2)}
    cached_splits(sequence, pool, PROTOCOL, (0, 2), "test", tmp_path)
    given = cached_splits(sequence, pool, PROTOCOL, (2, 1, 0), "test", tmp_path)
    assert_equal(given, [made[2], made[1], made[0]])
    monkeypatch.setattr(splits, "_recipes", None)
    assert_equal(cached_splits(sequence, pool, PROTOCOL, (1,), "test", tmp_path), [made[1]])
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_names_its_sequence_purpose_and_seed(pool, tmp_path):
    """A file of the time when one held all seeds was called made-up-KEY.npz."""
    cached_splits(make_sequence(), pool, PROTOCOL, (7,), "validation", tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("made-up-validation-7-")


@pytest.fixture
def cache_file(pool, tmp_path):
    """Return the cache file of a split, and a function that reads it and checks what it gives."""
    sequence = make_sequence(Permuted(3, 0.5), train_per_class=2, test_per_class=1)
    expected = [make_splits(sequence, pool, PROTOCOL, 0, "test")]

    def check():
        assert_equal(cached_splits(sequence, pool, PROTOCOL, (0,), "test", tmp_path), expected)

    check()
    (path,) = tmp_path.iterdir()
    return path, check


def rewritten(path, change):
    """Change the recipes of a cache file and give it the right digest again."""
    size = hashlib.sha256().digest_size
    content = splits._encode(change(splits._decode(path.read_bytes()[size:])))
    path.write_bytes(splits._digest(path, content) + content)


def with_first(change):
    return lambda recipes: [replace(recipes[0], **change(recipes[0])), *recipes[1:]]


WRONG = {
    "an image out of range": with_first(lambda r: {"train": r.train + 10_000}),
    "a negative image": with_first(lambda r: {"test": r.test - 1}),
    "an image twice": with_first(lambda r: {"train": np.repeat(r.train[::2], 2)}),
    "no images": with_first(lambda r: {"train": r.train[:0]}),
    "half of the images": with_first(lambda r: {"train": r.train[::2]}),
    "a test image fewer": with_first(lambda r: {"test": r.test[1:]}),
    "train for test": with_first(lambda r: {"train": r.test, "test": r.train}),
    "images as floats": with_first(lambda r: {"train": r.train.astype(float)}),
    "images in rows": with_first(lambda r: {"train": r.train.reshape(2, -1)}),
    "units that are not there": with_first(lambda r: {"units": r.units + 1}),
    "units of fewer classes": with_first(lambda r: {"units": r.units[1:]}),
    "units as floats": with_first(lambda r: {"units": r.units.astype(float)}),
    "a unit that is not active": with_first(lambda r: {"active": ~r.active}),
    "one unit": with_first(lambda r: {"units": r.units * 0}),
    "a larger head": with_first(lambda r: {"active": np.append(r.active, True)}),
    "active as numbers": with_first(lambda r: {"active": r.active.astype(np.int64)}),
    "a pixel twice": with_first(lambda r: {"pixel_order": np.zeros(12, dtype=np.int64)}),
    "pixels of another size": with_first(lambda r: {"pixel_order": np.arange(16)}),
    "noise that is no number": with_first(lambda r: {"noise": float("nan")}),
    "negative noise": with_first(lambda r: {"noise": -0.5}),
    "noise in words": with_first(lambda r: {"noise": "much"}),
    "endless turning": with_first(lambda r: {"degrees": float("inf")}),
    "a task fewer": lambda recipes: recipes[:-1],
    "a task more": lambda recipes: [*recipes, recipes[0]],
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_cache_file_of_right_digest_and_wrong_content_is_rebuilt(cache_file, change):
    path, check = cache_file
    whole = path.read_bytes()
    rewritten(path, change)
    assert path.read_bytes() != whole
    check()
    assert path.read_bytes() == whole


def test_a_cache_file_of_another_seed_under_this_ones_name_is_rebuilt(pool, tmp_path):
    sequence = make_sequence(Permuted(3, 0.5), train_per_class=2, test_per_class=1)
    cached_splits(sequence, pool, PROTOCOL, (0, 1), "test", tmp_path)
    (one,), (other,) = (list(tmp_path.glob(f"made-up-test-{seed}-*")) for seed in (0, 1))
    one.write_bytes(other.read_bytes())
    given = cached_splits(sequence, pool, PROTOCOL, (0,), "test", tmp_path)
    assert_equal(given, [make_splits(sequence, pool, PROTOCOL, 0, "test")])


def test_tasks_with_fresh_images_that_share_some_are_rebuilt(pool, tmp_path):
    sequence = make_sequence(Flat(3))
    expected = cached_splits(sequence, pool, PROTOCOL, (0,), "test", tmp_path)
    (path,) = tmp_path.iterdir()
    rewritten(
        path, lambda recipes: [recipes[0], replace(recipes[1], train=recipes[0].train), recipes[2]]
    )
    assert_equal(cached_splits(sequence, pool, PROTOCOL, (0,), "test", tmp_path), expected)


@dataclass(frozen=True)
class Own:
    """A scenario of a user's, whose recipes a test sets."""

    tasks: int = 2
    fresh_sets: int = 1
    change: str = ""

    def recipes(self, view):
        recipes = Overlap(2, 4, 2).recipes(view)
        if self.change == "raise":
            raise KeyError("no such\nthing")
        return WRONG[self.change](recipes) if self.change else recipes


@pytest.mark.parametrize(
    "change", [name for name in WRONG if name not in ("half of the images", "a test image fewer")]
)
def test_recipes_of_a_users_scenario_that_cannot_be_are_a_data_error(pool, change):
    make_splits(make_sequence(Own()), pool, PROTOCOL, 0, "test")
    with pytest.raises(DataError, match=r"^made-up: ") as caught:
        make_splits(make_sequence(Own(change=change)), pool, PROTOCOL, 0, "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "made", [None, 5, [None, None], iter(())], ids=["None", "5", "[None]", "none"]
)
def test_recipes_of_another_type_are_a_data_error(pool, made, monkeypatch):
    monkeypatch.setattr(Own, "recipes", lambda _, __: made)
    with pytest.raises(DataError, match="made-up: "):
        make_splits(make_sequence(Own()), pool, PROTOCOL, 0, "test")


def test_recipes_may_come_one_by_one(pool, monkeypatch):
    expected = make_splits(make_sequence(Own()), pool, PROTOCOL, 0, "test")
    recipes = Own.recipes
    monkeypatch.setattr(Own, "recipes", lambda own, view: iter(recipes(own, view)))
    assert_equal([make_splits(make_sequence(Own()), pool, PROTOCOL, 0, "test")], [expected])


def test_a_users_scenario_that_raises_is_a_data_error(pool):
    with pytest.raises(DataError) as caught:
        make_splits(make_sequence(Own(change="raise")), pool, PROTOCOL, 0, "test")
    message = str(caught.value)
    assert message.startswith("made-up: its scenario makes no recipes, KeyError: ")
    assert "; test_splits.py, line " in message
    assert "\n" not in message


def test_splits_by_group_are_kept_for_the_names_that_they_are_of(pool, tmp_path):
    """The fingerprint of the images does not cover names, which decide the tasks here."""
    sequence = make_sequence(ByGroup(2))
    for names in (
        ("p/0", "p/1", "p/2", "q/3", "q/4", "q/5"),
        ("p/0", "q/1", "p/2", "q/3", "p/4", "q/5"),
    ):
        named = replace(pool, class_names=names)
        for _ in range(2):
            (recipes,) = cached_splits(sequence, named, PROTOCOL, (0,), "test", tmp_path)
            for recipe in recipes:
                own = {names[label][0] for label in named.train_labels[recipe.train]}
                assert len(own) == 1
    assert len(list(tmp_path.iterdir())) == 2


# Classes of unequal size


@pytest.mark.parametrize("seed", [0, 1])
def test_without_balance_every_class_keeps_all_its_images(pool, seed):
    recipes = make_splits(make_sequence(balance=False), pool, PROTOCOL, seed, "test")
    assert counts(recipes, "train", pool.train_labels) == [
        (shown(recipe) * np.array(TRAIN)).tolist() for recipe in recipes
    ]
    assert counts(recipes, "test", pool.test_labels) == [
        (shown(recipe) * np.array(TEST)).tolist() for recipe in recipes
    ]


def test_without_balance_the_quotas_are_the_most_that_a_class_has(pool):
    sequence = make_sequence(balance=False, train_per_class=22, test_per_class=10)
    recipes = make_splits(sequence, pool, PROTOCOL, 0, "test")
    for part, labels, most in (("train", TRAIN, 22), ("test", TEST, 10)):
        expected = [(shown(recipe) * np.minimum(labels, most)).tolist() for recipe in recipes]
        assert counts(recipes, part, getattr(pool, f"{part}_labels")) == expected


def test_without_balance_fresh_images_are_shared_out_class_by_class(pool):
    recipes = make_splits(make_sequence(Repeat(3), balance=False), pool, PROTOCOL, 0, "test")
    assert counts(recipes, "train", pool.train_labels) == [[n // 3 for n in TRAIN]] * 3
    together = np.concatenate([recipe.train for recipe in recipes])
    assert len(np.unique(together)) == len(together)
    few = make_pool(train=(2, *TRAIN[1:]))
    with pytest.raises(DataError, match="class 0 has 2 training images, too few for 3 tasks"):
        make_splits(make_sequence(Repeat(3), balance=False), few, PROTOCOL, 0, "test")


def test_without_balance_few_shots_are_the_most_that_a_class_has(pool):
    sequence = make_sequence(FewShot(Overlap(4, 3, 1), 22), balance=False)
    recipes = make_splits(sequence, pool, PROTOCOL, 0, "test")
    expected = [(shown(recipe) * np.minimum(TRAIN, 22)).tolist() for recipe in recipes[1:]]
    assert counts(recipes[1:], "train", pool.train_labels) == expected


def test_validation_without_balance_sets_a_fifth_of_every_class_aside(pool):
    recipes = make_splits(make_sequence(balance=False), pool, PROTOCOL, 0, "validation")
    aside = np.array([round(0.2 * count) for count in TRAIN])
    for part, each in (("train", np.array(TRAIN) - aside), ("test", aside)):
        expected = [(shown(recipe) * each).tolist() for recipe in recipes]
        assert counts(recipes, part, pool.train_labels) == expected


@pytest.mark.parametrize("scenario", [Overlap(4, 2, 1), Relabelled(2, 3), Repeat(2)], ids=str)
@pytest.mark.parametrize("purpose", ["test", "validation"])
def test_balance_changes_nothing_where_all_classes_have_equally_many(scenario, purpose):
    pool = make_pool((20,) * 4, (10,) * 4)
    one, other = (
        make_splits(make_sequence(scenario, balance=balance), pool, PROTOCOL, 0, purpose)
        for balance in (True, False)
    )
    assert_equal([one], [other])


def test_the_cache_gives_back_unbalanced_splits(pool, tmp_path, monkeypatch):
    sequence = make_sequence(balance=False)
    made = [make_splits(sequence, pool, PROTOCOL, seed, "test") for seed in (0, 1)]
    assert_equal(cached_splits(sequence, pool, PROTOCOL, (0, 1), "test", tmp_path), made)
    monkeypatch.setattr(splits, "_recipes", None)
    assert_equal(cached_splits(sequence, pool, PROTOCOL, (0, 1), "test", tmp_path), made)


@pytest.mark.parametrize(
    ("changes", "purpose", "line"),
    [
        ({}, "test", "made-up: 20 of 31 training images a class are used because class 0 has 20"),
        (
            {},
            "validation",
            "made-up: 16 of 25 training images a class are used because class 0 has 16",
        ),
        ({"balance": False}, "test", None),
        ({"train_per_class": 20}, "test", None),
    ],
)
def test_how_many_images_are_not_used_is_said(pool, changes, purpose, line):
    found = splits.unused_note(make_sequence(**changes), pool, PROTOCOL, purpose)
    assert found is None if line is None else found.startswith(line)
    if line:
        assert found.endswith("balance=False keeps all")


def test_a_class_is_called_by_its_name_and_what_does_not_come_out_even_is_said(pool):
    named = replace(pool, class_names=tuple("uvwxyz"))
    found = splits.unused_note(make_sequence(), named, PROTOCOL, "test")
    assert "because class u has 20" in found
    even = make_pool((20,) * 3, (9,) * 3)
    assert splits.unused_note(make_sequence(), even, PROTOCOL, "test") is None
    assert splits.unused_note(make_sequence(Flat(3)), even, PROTOCOL, "test") == (
        "made-up: 18 of 20 training images a class are used because 3 tasks take equally many"
    )


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_cache_file_is_rebuilt(cache_file, kept):
    path, check = cache_file
    whole = path.read_bytes()
    path.write_bytes(whole[: round(kept * len(whole))])
    check()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", [b"not a cache file", b"\x00" * 5000])
def test_a_cache_file_of_something_else_is_rebuilt(cache_file, content):
    path, check = cache_file
    whole = path.read_bytes()
    path.write_bytes(content)
    check()
    assert path.read_bytes() == whole


def test_a_cache_file_with_a_damaged_byte_never_stops_a_run_or_gives_another_split(cache_file):
    path, check = cache_file
    whole = path.read_bytes()
    # everywhere: compressed data, checksums, sizes; and the names of the arrays at the end
    name = whole.rindex(b"1/pixel_order")
    problems = {}
    for place in [*range(0, len(whole), len(whole) // 60), name, name + 8]:
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        try:
            check()
        except Exception as error:
            problems[place] = f"{type(error).__module__}.{type(error).__name__}"
    assert not problems


def test_a_cache_that_cannot_be_written_costs_no_result(pool, tmp_path):
    (tmp_path / "file").write_text("no folder")
    sequence = make_sequence()
    given = cached_splits(sequence, pool, PROTOCOL, (0,), "test", tmp_path / "file" / "splits")
    assert_equal(given, [make_splits(sequence, pool, PROTOCOL, 0, "test")])


READ = """
import sys
from pathlib import Path
import numpy as np
from driftboard.suite.data import Pool
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import Split, TaskSequence
from driftboard.suite.sequences.splits import cached_splits

pool = Pool("made up", *np.load(sys.argv[2]).values())
sequence = TaskSequence("made-up", "Made up.", "made-up", Split(3), "mlp-8x1")
((*recipes,),) = cached_splits(sequence, pool, PROTOCOL, (0,), "test", Path(sys.argv[1]))
print(len(recipes), "continuum" in sys.modules)
"""


def test_reading_the_cache_does_not_import_continuum(pool, tmp_path, monkeypatch):
    np.savez(
        tmp_path / "pool.npz",
        train_images=pool.train_images,
        train_labels=pool.train_labels,
        test_images=pool.test_images,
        test_labels=pool.test_labels,
    )
    # The same recipes without continuum, see test_scenarios.py.
    monkeypatch.setattr(Split, "recipes", lambda _, view: Overlap(3, 2, 0).recipes(view))
    cached_splits(make_sequence(Split(3)), pool, PROTOCOL, (0,), "test", tmp_path / "cache")
    output = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "cache"), str(tmp_path / "pool.npz")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output.split() == ["3", "False"]

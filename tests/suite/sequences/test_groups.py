"""Tasks by groups of classes: which classes, which images, in which order, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import ByGroup, FewShot, TaskSequence
from driftboard.suite.sequences.splits import make_splits
from driftboard.suite.sequences.validation import problem_of

GROUPS = ("p",) * 3 + ("q",) * 2 + ("r",) * 4
EACH = 6


def pool_of(groups):
    labels = np.arange(EACH * len(groups)) % len(groups)
    images = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    names = tuple(f"{group}/{place}" for place, group in enumerate(groups))
    return Pool("made up", images, labels, images, labels, names)


def split(scenario, groups=GROUPS, seed=0, **changes):
    sequence = TaskSequence("made-up", "Words.", "digits", scenario, "mlp-8x1", **changes)
    return make_splits(sequence, pool_of(groups), PROTOCOL, seed, "test")


def classes_of(recipes):
    return [np.flatnonzero(recipe.active).tolist() for recipe in recipes]


def test_a_task_has_all_classes_and_images_of_its_group():
    recipes = split(ByGroup(3))
    assert classes_of(recipes) == [[0, 1, 2], [3, 4], [5, 6, 7, 8]]
    labels = pool_of(GROUPS).train_labels
    for recipe, classes in zip(recipes, classes_of(recipes), strict=True):
        assert recipe.units.tolist() == list(range(9))
        for rows in (recipe.train, recipe.test):
            assert np.bincount(labels[rows]).tolist() == np.bincount(classes * EACH).tolist()


def test_the_first_classes_of_the_first_groups():
    assert classes_of(split(ByGroup(2, classes=2))) == [[0, 1], [3, 4]]


def test_groups_need_not_stand_together():
    assert classes_of(split(ByGroup(2), ("q", "p", "q", "p", "p"))) == [[0, 2], [1, 3, 4]]


def test_the_order_is_drawn_per_seed_where_asked_for():
    plain = {str(classes_of(split(ByGroup(3), seed=seed))) for seed in range(6)}
    drawn = {str(classes_of(split(ByGroup(3, shuffled=True), seed=seed))) for seed in range(30)}
    assert (len(plain), len(drawn)) == (1, 6)
    some = {tuple(classes_of(split(ByGroup(2, 2, True), seed=seed))[0]) for seed in range(20)}
    assert some == {(0, 1), (3, 4), (5, 6)}


def test_images_of_a_class_are_limited_as_elsewhere():
    recipes = split(FewShot(ByGroup(3), 2), train_per_class=5, test_per_class=1)
    assert [len(recipe.train) for recipe in recipes] == [15, 4, 8]
    assert [len(recipe.test) for recipe in recipes] == [3, 2, 4]


@given(st.lists(st.integers(2, 4), min_size=2, max_size=5), st.booleans(), st.integers(0, 5))
def test_tasks_share_nothing_and_together_are_everything(sizes, shuffled, seed):
    groups = tuple(np.repeat([*"pqrst"][: len(sizes)], sizes).tolist())
    recipes = split(ByGroup(len(sizes), shuffled=shuffled), groups, seed)
    together = np.concatenate([recipe.train for recipe in recipes])
    assert sorted(together.tolist()) == list(range(EACH * len(groups)))
    assert np.sum([recipe.active for recipe in recipes], axis=0).tolist() == [1] * len(groups)


@pytest.mark.parametrize(
    ("scenario", "groups", "words"),
    [
        (ByGroup(4), GROUPS, "made-up: 4 tasks need as many groups of classes, and every class in"),
        (ByGroup(2), (), "made-up: 2 tasks need as many groups of classes, and every class in one"),
        (ByGroup(3, classes=3), GROUPS, "made-up: group 'q' has 2 classes, and 3 are needed"),
        (ByGroup(2), ("p", "p", "q"), "made-up: group 'q' has 1 class, and at least 2 are needed"),
    ],
)
def test_what_the_data_cannot_give_is_refused_in_a_line(scenario, groups, words):
    pool = pool_of(groups or GROUPS)
    pool = pool if groups else Pool("made up", *(part for _, *p in pool.parts for part in p))
    sequence = TaskSequence("made-up", "Words.", "digits", scenario, "mlp-8x1")
    with pytest.raises(DataError) as error:
        make_splits(sequence, pool, PROTOCOL, 0, "test")
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (ByGroup(1), "tasks of ByGroup is 1; expected int of at least 2"),
        (ByGroup(2, 1), "classes of ByGroup is 1; expected int of at least 2"),
        (ByGroup(2, shuffled=1), "shuffled of ByGroup is 1; expected bool"),
        (ByGroup(2, None, True), None),
    ],
)
def test_fields_are_checked(scenario, words):
    message = problem_of(TaskSequence("own", "Words.", "mnist+digits", scenario, "mlp-8x1"))
    assert (message is None) if words is None else message.startswith(words)


def test_it_is_task_incremental_unless_asked_otherwise():
    one = TaskSequence("own", "Words.", "mnist+digits", ByGroup(2), "mlp-8x1")
    assert one.setting == "task"

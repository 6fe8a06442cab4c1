"""Dealing out images: no image in two parts, the same part in every task, equally many in each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.suite.distance.measurement import deal
from driftboard.suite.errors import DataError
from driftboard.suite.sequences.scenarios import Recipe


def task(rows):
    rows = np.asarray(rows)
    return Recipe(rows, rows, np.arange(3), np.ones(3, dtype=bool))


def generator(seed=0):
    return np.random.Generator(np.random.Philox(key=seed))


@st.composite
def tasks_of_classes(draw):
    """Labels, and tasks that take whole classes, random subsets of them, or fresh images."""
    per_class = draw(st.integers(6, 20))
    labels = np.random.default_rng(draw(st.integers(0, 99))).permutation(
        np.repeat(np.arange(3), per_class)
    )
    rows = [np.flatnonzero(labels == label) for label in range(3)]
    choices = st.lists(st.sampled_from(range(3)), min_size=1, max_size=3, unique=True)
    recipes = []
    for _ in range(draw(st.integers(2, 4))):
        classes = draw(choices)
        first = draw(st.integers(0, per_class - 6))
        recipes.append(task(np.sort(np.concatenate([rows[c][first:] for c in classes]))))
    return labels, recipes


@given(tasks_of_classes(), st.integers(2, 3), st.integers(0, 9))
def test_parts_are_disjoint_equal_and_the_same_for_every_task(made, parts, seed):
    labels, recipes = made
    dealt = deal(recipes, labels, parts, generator(seed))
    assert len({len(rows) for one in dealt for rows in one}) == 1
    part_of = {}
    for recipe, own in zip(recipes, dealt, strict=True):
        assert len(own) == parts
        for part, rows in enumerate(own):
            assert np.isin(rows, recipe.train).all()
            assert (np.diff(rows) > 0).all()
            for row in rows.tolist():
                assert part_of.setdefault(row, part) == part


def test_equal_tasks_lose_nothing_and_keep_classes_balanced():
    labels = np.repeat(np.arange(3), 40)
    dealt = deal([task(np.arange(120))] * 2, labels, 2, generator())
    for own in dealt:
        assert np.array_equal(np.sort(np.concatenate(own)), np.arange(120))
        for rows in own:
            assert np.bincount(labels[rows]).tolist() == [20, 20, 20]


def test_odd_numbers_lose_few_images():
    labels = np.repeat(np.arange(3), 41)
    (one, other), _ = deal([task(np.arange(123))] * 2, labels, 2, generator())
    assert len(one) == len(other) == 61


def test_few_images_of_a_later_task_lie_in_the_same_parts():
    labels = np.repeat(np.arange(3), 40)
    few = np.concatenate([np.arange(start, start + 10) for start in (0, 40, 80)])
    whole, small = deal([task(np.arange(120)), task(few)], labels, 2, generator())
    assert len(small[0]) == len(whole[0]) == 15
    for part in range(2):
        assert not np.isin(small[part], whole[1 - part]).any()


def test_every_seed_deals_anew_and_the_same_seed_alike():
    labels = np.repeat(np.arange(3), 40)
    first, again, other = (deal([task(np.arange(120))], labels, 2, generator(s)) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_images_of_a_class_are_one_line():
    labels = np.array([0, 0, 0, 1, 1, 2])
    with pytest.raises(DataError, match="task 2 has a class with fewer than 2 training images"):
        deal([task([0, 1, 3, 4]), task(np.arange(6))], labels, 2, generator())


@pytest.mark.parametrize("parts", [2, 3])
def test_a_task_that_leaves_a_part_without_images_is_one_line(parts):
    """Every image is shown by tasks of its own, so that none can be dealt out evenly."""
    tasks = [task([0, 1, 2]), task([0, 3, 4]), task([1, 3, 5])]
    with pytest.raises(DataError, match=f"too few training images .* {parts} separate parts"):
        deal(tasks, np.zeros(6, dtype=int), parts, generator())

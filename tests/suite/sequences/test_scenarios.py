"""Scenarios against continuum's own task sets, naive second implementations and invariants."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.suite.errors import DataError
from driftboard.suite.rng import stream
from driftboard.suite.sequences.groups import ByGroup
from driftboard.suite.sequences.scenarios import (
    NOISE_AT_SEVERITY,
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Relabelled,
    Repeat,
    Rotated,
    RotatedTo,
    Split,
    Unequal,
    View,
    has_own_units,
)

CLASSES = 6
TRAIN = 12  # of a class
TEST = 5
SIDE = 4


def make_view(seed=0, classes=CLASSES, train=TRAIN, test=TEST, pixels=SIDE * SIDE):
    random = np.random.default_rng(seed)
    return View(
        train_labels=random.permutation(np.repeat(np.arange(classes), train)),
        test_labels=random.permutation(np.repeat(np.arange(classes), test)),
        classes=classes,
        pixels=pixels,
        stream=partial(stream, "test", seed),
        groups=tuple("pqqpqr"[label % 6] for label in range(classes)),
    )


@pytest.fixture(params=[0, 1, 2])
def view(request):
    return make_view(request.param)


def equal(one, other):
    """Tell whether two recipes are the same in every field."""
    return all(
        np.array_equal(value, getattr(other, name))
        if isinstance(value, np.ndarray)
        else value == getattr(other, name)
        for name, value in vars(one).items()
    )


def assert_shows_everything(recipe, view):
    """All images and classes, one shared head whose units are the classes."""
    np.testing.assert_array_equal(recipe.train, np.arange(len(view.train_labels)))
    np.testing.assert_array_equal(recipe.test, np.arange(len(view.test_labels)))
    np.testing.assert_array_equal(recipe.units, np.arange(view.classes))
    assert recipe.active.all()
    assert recipe.active.shape == (view.classes,)


def assert_is_an_order(values, count):
    np.testing.assert_array_equal(np.sort(values), np.arange(count))


# One scenario of each kind; those that continuum makes cost its import once.
ALL = {
    "split": Split(3),
    "overlap": Overlap(4, 3, 1),
    "permuted": Permuted(3),
    "permuted-part": Permuted(3, 0.5),
    "rotated": Rotated(4, 15),
    "rotated-to": RotatedTo((0, 5, 65)),
    "relabelled": Relabelled(4, 3),
    "repeat": Repeat(3),
    "corrupted": Corrupted(Repeat(3), 3),
    "few-shot": FewShot(Overlap(4, 3, 1), 2),
    "by-group": ByGroup(2),
}


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
def test_recipes_are_deterministic_and_consistent(scenario, view):
    recipes = scenario.recipes(view)
    assert len(recipes) == scenario.tasks
    again = scenario.recipes(view)
    assert all(equal(one, other) for one, other in zip(recipes, again, strict=True))
    for recipe in recipes:
        assert_is_an_order(recipe.units, view.classes)
        for rows, labels in ((recipe.train, view.train_labels), (recipe.test, view.test_labels)):
            assert len(np.unique(rows)) == len(rows) > 0
            # each of the active units has images, and no image has any other
            units = np.unique(recipe.units[labels[rows]])
            np.testing.assert_array_equal(units, np.flatnonzero(recipe.active))


@pytest.mark.parametrize("name", ["split", "overlap", "permuted", "permuted-part", "relabelled"])
def test_another_seed_draws_other_recipes(name):
    one, other = (ALL[name].recipes(make_view(seed))[-1] for seed in (0, 1))
    if name.startswith("permuted"):
        assert not np.array_equal(one.pixel_order, other.pixel_order)
    else:
        assert not np.array_equal(one.units, other.units)


@pytest.mark.parametrize("name", ALL)
def test_only_repeat_and_what_is_built_on_it_need_fresh_images(name):
    assert ALL[name].fresh_sets == (3 if name in ("repeat", "corrupted") else 1)


def test_split_deals_out_the_class_order_in_equal_disjoint_parts(view):
    order = view.stream("class order").permutation(CLASSES)
    for task, recipe in enumerate(Split(3).recipes(view)):
        own = order[2 * task : 2 * task + 2]
        for rows, labels in ((recipe.train, view.train_labels), (recipe.test, view.test_labels)):
            expected = [row for row, label in enumerate(labels) if label in own]
            assert rows.tolist() == expected
        # the unit of a class is its position in the class order
        assert [recipe.units[label] for label in order] == list(range(CLASSES))
        assert np.flatnonzero(recipe.active).tolist() == [2 * task, 2 * task + 1]


def test_split_is_continuums_class_incremental_scenario(view):
    from continuum.datasets import InMemoryDataset
    from continuum.scenarios import ClassIncremental

    order = view.stream("class order").permutation(CLASSES).tolist()
    for part in ("train", "test"):
        labels = getattr(view, f"{part}_labels")
        images = np.zeros((len(labels), 1, 1, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(len(labels))  # an image carries its own position
        scenario = ClassIncremental(InMemoryDataset(images, labels), nb_tasks=3, class_order=order)
        for recipe, tasks in zip(Split(3).recipes(view), scenario, strict=True):
            shown, units, _ = tasks.get_raw_samples()
            rows = getattr(recipe, part)
            np.testing.assert_array_equal(rows, shown[:, 0, 0, 0])
            np.testing.assert_array_equal(recipe.units[labels[rows]], units)


@pytest.mark.parametrize("shared", [0, 1, 2, 3])
def test_overlap_shares_exactly_so_many_classes_with_the_task_before(view, shared):
    recipes = Overlap(tasks=3, classes=4, shared=shared).recipes(make_view(0, classes=12))
    shown = [set(np.flatnonzero(recipe.active).tolist()) for recipe in recipes]
    assert all(len(one) == 4 for one in shown)
    assert all(len(one & other) == shared for one, other in pairwise(shown))


@given(
    seed=st.integers(0, 5),
    tasks=st.integers(1, 7),
    classes=st.integers(2, CLASSES),
    shared=st.integers(0, CLASSES - 1),
)
def test_overlap_is_a_window_that_moves_round_the_class_order(seed, tasks, classes, shared):
    shared = max(2 * classes - CLASSES, min(shared, classes - 1))
    tasks = 1 if shared == classes else tasks
    shared = min(shared, classes - 1)
    view = make_view(seed)
    order = view.stream("class order").permutation(CLASSES).tolist()
    at = 0
    for recipe in Overlap(tasks, classes, shared).recipes(view):
        own = [order[(at + step) % CLASSES] for step in range(classes)]
        at += classes - shared
        assert recipe.train.tolist() == [i for i, y in enumerate(view.train_labels) if y in own]
        assert recipe.test.tolist() == [i for i, y in enumerate(view.test_labels) if y in own]
        # a class keeps its unit, and with it its images, whenever it comes again
        assert [recipe.units[label] for label in order] == list(range(CLASSES))
        assert {order[unit] for unit in np.flatnonzero(recipe.active)} == set(own)


def test_overlap_without_shared_classes_is_split(view):
    pairs = zip(Overlap(3, 2, 0).recipes(view), Split(3).recipes(view), strict=True)
    assert all(equal(one, other) for one, other in pairs)


def test_permuted_moves_pixels_as_continuum_does(view):
    import torch
    from continuum.datasets import InMemoryDataset
    from continuum.scenarios import Permutations

    seeds = view.stream("permutation").integers(2**31, size=3).tolist()
    images = np.zeros((8, SIDE, SIDE, 3), dtype=np.uint8)
    scenario = Permutations(InMemoryDataset(images, np.zeros(8, dtype=np.int64)), seed=seeds)
    grey = torch.from_numpy(np.random.default_rng(0).random((1, SIDE, SIDE)))
    recipes = Permuted(4).recipes(view)
    for recipe, change in zip(recipes, scenario.inc_trsf, strict=True):
        order = recipe.pixel_order
        mine = grey if order is None else grey.flatten()[torch.from_numpy(order)].view_as(grey)
        assert torch.equal(mine, change(grey))
        assert_shows_everything(recipe, view)
    assert recipes[0].pixel_order is None
    for recipe in recipes[1:]:
        assert_is_an_order(recipe.pixel_order, SIDE * SIDE)
    assert len({tuple(recipe.pixel_order) for recipe in recipes[1:]}) == 3


@given(seed=st.integers(0, 20), pixels=st.integers(20, 60), share=st.floats(0.5, 0.99))
def test_a_partial_permutation_moves_at_most_its_share_of_the_pixels(seed, pixels, share):
    first, *later = Permuted(3, share).recipes(make_view(seed, pixels=pixels))
    assert first.pixel_order is None
    for recipe in later:
        assert_is_an_order(recipe.pixel_order, pixels)
        moved = np.count_nonzero(recipe.pixel_order != np.arange(pixels))
        assert moved <= round(share * pixels)
        assert moved != 1


def test_a_partial_permutation_moves_a_uniform_choice_of_its_share_of_the_pixels():
    pixels, share, seeds = 60, 0.5, 400
    moved = np.zeros(pixels)
    for seed in range(seeds):
        recipe = Permuted(2, share).recipes(make_view(seed, pixels=pixels))[1]
        moved += recipe.pixel_order != np.arange(pixels)
    # 30 pixels are chosen, and a random permutation leaves one of them on average in its place
    assert abs(moved.sum() / seeds - 29) < 5 / np.sqrt(seeds)
    each = 29 / 60
    assert np.abs(moved / seeds - each).max() < 5 * np.sqrt(each * (1 - each) / seeds)


def test_partial_permutations_of_later_tasks_are_drawn_anew(view):
    _, one, other = Permuted(3, 0.5).recipes(view)
    assert not np.array_equal(one.pixel_order, other.pixel_order)


@pytest.mark.parametrize("step", [5, 15, 60])
def test_rotated_turns_by_one_more_step_with_every_task(view, step):
    recipes = Rotated(5, step).recipes(view)
    assert [recipe.degrees for recipe in recipes] == [step * task for task in range(5)]
    for recipe in recipes:
        assert_shows_everything(recipe, view)


def test_no_other_scenario_than_rotated_turns_images(view):
    turned = {name for name, s in ALL.items() if any(r.degrees for r in s.recipes(view))}
    assert turned == {"rotated", "rotated-to"}


@given(seed=st.integers(0, 30), tasks=st.integers(2, 5), classes=st.integers(2, CLASSES))
def test_relabelled_moves_exactly_so_many_labels_among_themselves(seed, tasks, classes):
    view = make_view(seed)
    first, *later = Relabelled(tasks, classes).recipes(view)
    assert_shows_everything(first, view)
    for recipe in later:
        changed = np.flatnonzero(recipe.units != np.arange(CLASSES))
        assert len(changed) == classes
        np.testing.assert_array_equal(np.sort(recipe.units[changed]), changed)
        np.testing.assert_array_equal(recipe.train, first.train)
        np.testing.assert_array_equal(recipe.test, first.test)
        assert recipe.active.all()


def test_relabelled_chooses_every_class_equally_often_and_anew_for_every_task():
    seeds, chosen = 300, 3
    counts, repeated = np.zeros(CLASSES), 0
    for seed in range(seeds):
        _, one, other = Relabelled(3, chosen).recipes(make_view(seed))
        counts += one.units != np.arange(CLASSES)
        repeated += np.array_equal(one.units, other.units)
    assert np.abs(counts / seeds - 0.5).max() < 5 * 0.5 / np.sqrt(seeds)
    # 20 choices of 3 classes, each in 2 cyclic orders
    assert abs(repeated / seeds - 1 / 40) < 5 * np.sqrt(1 / 40 / seeds)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_repeat_deals_out_fresh_images_of_every_class_in_equal_numbers(view, tasks):
    recipes = Repeat(tasks).recipes(view)
    together = np.concatenate([recipe.train for recipe in recipes])
    assert_is_an_order(together, len(view.train_labels))  # disjoint, and nothing is left
    for recipe in recipes:
        counts = np.bincount(view.train_labels[recipe.train], minlength=CLASSES)
        assert counts.tolist() == [TRAIN // tasks] * CLASSES
        np.testing.assert_array_equal(recipe.test, np.arange(len(view.test_labels)))
        np.testing.assert_array_equal(recipe.units, np.arange(CLASSES))
        assert recipe.active.all()


def test_repeat_is_continuums_instance_incremental_scenario(view):
    from continuum.datasets import InMemoryDataset
    from continuum.scenarios import InstanceIncremental

    images = np.zeros((len(view.train_labels), 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(view.train_labels))
    scenario = InstanceIncremental(InMemoryDataset(images, view.train_labels), nb_tasks=3)
    for recipe, tasks in zip(Repeat(3).recipes(view), scenario, strict=True):
        np.testing.assert_array_equal(recipe.train, tasks.get_raw_samples()[0][:, 0, 0, 0])


@pytest.mark.parametrize("severity", NOISE_AT_SEVERITY)
def test_corrupted_adds_noise_that_grows_evenly_to_its_severity(view, severity):
    base = Relabelled(5, 3)
    recipes = Corrupted(base, severity).recipes(view)
    most = {1: 0.1, 2: 0.2, 3: 0.35, 4: 0.5, 5: 0.8}[severity]
    levels = [recipe.noise for recipe in recipes]
    assert levels == pytest.approx([0, most / 4, most / 2, 3 * most / 4, most], abs=1e-15)
    assert levels[0] == 0.0
    for recipe, plain in zip(recipes, base.recipes(view), strict=True):
        assert equal(replace(recipe, noise=plain.noise), plain)


@pytest.mark.parametrize("base", [Overlap(4, 3, 1), Rotated(4, 15)], ids=["overlap", "rotated"])
@pytest.mark.parametrize("per_class", [1, 3, TRAIN])
def test_few_shot_keeps_few_training_images_of_a_class_after_the_first_task(view, base, per_class):
    plain = base.recipes(view)
    recipes = FewShot(base, per_class).recipes(view)
    assert equal(recipes[0], plain[0])
    for recipe, full in zip(recipes[1:], plain[1:], strict=True):
        assert set(recipe.train) <= set(full.train)
        assert recipe.train.tolist() == sorted(recipe.train)
        kept = np.bincount(view.train_labels[recipe.train], minlength=CLASSES)
        shown = np.bincount(view.train_labels[full.train], minlength=CLASSES)
        np.testing.assert_array_equal(kept, np.minimum(shown, per_class))
        # all else, the test images among it, is as it was
        assert equal(replace(recipe, train=full.train), full)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (Split(4), "6 classes cannot be split into 4 equal tasks"),
        (Split(6), "6 classes make 6 tasks of one class, which has nothing to tell apart"),
        (Overlap(3, CLASSES + 1, 1), "7 classes and share 1"),
        (Overlap(3, 4, 4), "4 classes and share 4"),
        (Overlap(3, 1, 0), "a task of 1 class has nothing to tell apart"),
        (Overlap(3, 4, 1), "two tasks of 4 classes that share 1 need 7 classes, there are 6"),
        (Overlap(3, CLASSES, 5), "two tasks of 6 classes that share 5 need 7 classes"),
        (Permuted(3, 0.05), "a share of 0.05 of 16 pixels is 1, too few to change places"),
        (Relabelled(3, CLASSES + 1), "7 labels cannot change places where there are 6"),
        (Relabelled(3, 1), "1 label cannot change places"),
        (Relabelled(3, -1), "-1 labels cannot change places"),
        (Rotated(3, 0), "a step of 0 degrees turns nothing"),
        (Rotated(3, -360), "a step of -360 degrees turns nothing"),
        (RotatedTo((10, 370, 10)), "task 2 is turned by 370 degrees, which is the angle of the"),
        (RotatedTo((0, 15, 0, -360)), "task 4 is turned by -360 degrees, which is the angle of"),
        (FewShot(Rotated(3, 15), TRAIN + 1), "13 training images of a class are asked for, .* 12"),
        (Corrupted(FewShot(Corrupted(Repeat(3), 1), 2), 3), "have noise already"),
        (FewShot(Repeat(3), 5), "5 training images of a class are asked for, .* 4"),
    ],
    ids=str,
)
def test_a_scenario_that_the_data_cannot_fill_is_a_data_error(scenario, words):
    with pytest.raises(DataError, match=words):
        scenario.recipes(make_view())


def test_a_permutation_that_moves_nothing_is_a_data_error():
    """Of two pixels that may change places every second drawing leaves both where they are."""
    refused = 0
    for seed in range(20):
        view = make_view(seed, pixels=8)
        try:
            (recipe,) = Permuted(2, 0.25).recipes(view)[1:]
        except DataError as error:
            refused += "task 2 moves none of 8 pixels; take a larger share" in str(error)
        else:
            assert np.count_nonzero(recipe.pixel_order != np.arange(8)) == 2
    assert 0 < refused < 20


def test_few_shot_makes_do_with_fewer_images_where_that_is_asked_for():
    """As in validation, which sets some of them aside."""
    recipes = FewShot(Repeat(3), 5).recipes(replace(make_view(), exact=False))
    kept = [np.bincount(make_view().train_labels[recipe.train]).tolist() for recipe in recipes]
    assert kept == [[4] * CLASSES] * 3


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(0, 3))
def test_unequal_tasks_have_their_numbers_of_classes_in_the_seeds_order(sizes, seed):
    view = make_view(seed)
    scenario = Unequal(tuple(sizes))
    if sum(sizes) > CLASSES:
        with pytest.raises(DataError, match=f"need {sum(sizes)}, there are {CLASSES}"):
            scenario.recipes(view)
        return
    order = view.stream("class order").permutation(CLASSES).tolist()
    recipes = scenario.recipes(view)
    assert len(recipes) == scenario.tasks == len(sizes)
    for recipe, size in zip(recipes, sizes, strict=True):
        own, order = order[:size], order[size:]
        assert set(view.train_labels[recipe.train]) == set(own)
        assert len(recipe.train) == size * TRAIN
        assert len(recipe.test) == size * TEST
        assert np.array_equal(np.flatnonzero(recipe.active), np.sort(recipe.units[own]))


@pytest.mark.parametrize("tasks", [2, 3])
def test_unequal_tasks_of_equal_size_are_those_of_a_split(view, tasks):
    equal_sizes = Unequal((CLASSES // tasks,) * tasks).recipes(view)
    for one, other in zip(equal_sizes, Split(tasks).recipes(view), strict=True):
        assert equal(one, other)


def test_by_group_draws_every_order_and_leaves_out_every_group():
    drawn = [
        tuple(
            view.groups[view.train_labels[recipe.train[0]]]
            for recipe in ByGroup(2, shuffled=True).recipes(view)
        )
        for view in (replace(make_view(seed), groups=tuple("pqrpqr")) for seed in range(120))
    ]
    counts = [drawn.count((a, b)) for a in "pqr" for b in "pqr" if a != b]
    assert sum(counts) == 120
    assert min(counts) >= 8  # of 20 that are expected, with a deviation of 4


@pytest.mark.parametrize("groups", [(), ("",) * CLASSES, ("p", "q", "p", "q", "p", "")])
def test_by_group_needs_every_class_in_a_group(groups):
    with pytest.raises(DataError, match="every class in one, as 'Greek/alpha'"):
        ByGroup(2).recipes(replace(make_view(), groups=groups))


def test_which_scenarios_have_units_of_their_own():
    own = (
        *(Split(2), Unequal((1, 2)), Overlap(2, 3, 1), ByGroup(2)),
        FewShot(Corrupted(Split(2), 1), 2),
    )
    shared = (Permuted(2), Rotated(2, 5), Repeat(2), Relabelled(2, 3), Corrupted(Repeat(2), 1))
    assert all(map(has_own_units, own))
    assert not any(map(has_own_units, shared))

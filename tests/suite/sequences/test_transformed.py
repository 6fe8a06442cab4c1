"""Sequences with transformations of a user's own: recipes, cache, hashes, what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import (
    Corrupted,
    FewShot,
    Overlap,
    Relabelled,
    TaskSequence,
    Transformed,
    splits,
)
from driftboard.suite.sequences.splits import cached_splits, make_splits
from driftboard.suite.sequences.task_sequence import describe, own_classes
from driftboard.suite.sequences.transformed import transformations_of
from driftboard.suite.sequences.validation import problem_of

BASE = Overlap(3, 3, 1)
LABELS = np.arange(60) % 5
POOL = Pool("made up", *(np.zeros((60, 1, 3, 3), dtype=np.uint8), LABELS) * 2)


@dataclass(frozen=True)
class Brighter:
    by: object = 10

    def __call__(self, images):
        return np.minimum(images, 255 - self.by) + np.uint8(self.by)


@dataclass(frozen=True)
class Drawn:
    """A scenario of a user's that draws the order of its transformations for every seed."""

    transformations: object = (Brighter(1), Brighter(2))
    tasks: int = 2
    fresh_sets: int = 1

    def recipes(self, view):
        order = view.stream("own order").permutation(2).tolist()
        return [
            replace(recipe, transformation=place)
            for recipe, place in zip(Relabelled(2, 2).recipes(view), order, strict=True)
        ]


ONE = Transformed(BASE, (None, Brighter(), Brighter(20)))


def sequence(scenario=ONE, name="made-up", **changes):
    return TaskSequence(name, "Words.", "digits", scenario, "mlp-8x1", **changes)


def places(scenario, seed=0):
    recipes = make_splits(sequence(scenario), POOL, PROTOCOL, seed, "test")
    return [recipe.transformation for recipe in recipes]


def test_every_task_names_its_own_and_is_else_what_the_base_makes_of_it():
    plain = make_splits(sequence(BASE), POOL, PROTOCOL, 0, "test")
    recipes = make_splits(sequence(ONE), POOL, PROTOCOL, 0, "test")
    assert [recipe.transformation for recipe in recipes] == [None, 1, 2]
    for one, other in zip(recipes, plain, strict=True):
        np.testing.assert_array_equal(one.train, other.train)
        np.testing.assert_array_equal(one.active, other.active)
    assert sequence(ONE).setting == sequence(BASE).setting == "task"


def test_what_alters_it_keeps_the_transformations():
    altered = FewShot(ONE, 2)
    assert places(altered) == [None, 1, 2]
    assert transformations_of(altered) == ONE.transformations
    assert transformations_of(BASE) == ()


def test_a_scenario_of_a_user_may_draw_which_for_every_seed():
    drawn = [tuple(places(Drawn(), seed)) for seed in range(8)]
    assert set(drawn) == {(0, 1), (1, 0)}


def test_the_cache_keeps_places_only(tmp_path, monkeypatch):
    made = cached_splits(sequence(), POOL, PROTOCOL, (0, 3), "test", tmp_path)
    monkeypatch.setattr(splits, "_recipes", None)  # from here on it can only be read
    read = cached_splits(sequence(), POOL, PROTOCOL, (0, 3), "test", tmp_path)
    for row in (*made, *read):
        found = [recipe.transformation for recipe in row]
        assert found == [None, 1, 2]
        assert {type(one) for one in found[1:]} == {int}


@pytest.mark.parametrize("place", [-1, 2, True, "1", 1.0])
def test_a_place_that_is_none_is_refused(place, monkeypatch):
    recipes = Relabelled(2, 2).recipes
    monkeypatch.setattr(
        Drawn,
        "recipes",
        lambda _, view: [replace(one, transformation=place) for one in recipes(view)],
    )
    with pytest.raises(DataError, match=r"made-up: task 1 has .* for transformation, which is no"):
        make_splits(sequence(Drawn()), POOL, PROTOCOL, 0, "test")


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (Transformed(BASE, (None,)), "made-up: Transformed has 1 transformation for 3 tasks"),
        (Transformed(ONE, (None,) * 3), "transformed already; do both in one transformation"),
        (Corrupted(ONE, 3), r"write Transformed\(Corrupted"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(scenario, words):
    with pytest.raises(DataError, match=words):
        make_splits(sequence(scenario), POOL, PROTOCOL, 0, "test")


def test_noise_may_lie_below():
    assert places(Transformed(Corrupted(BASE, 3), (None, None, Brighter()))) == [None, None, 2]


@dataclass(frozen=True)
class Uncallable:
    by: int = 1


@dataclass
class Thawed(Brighter.__base__):
    def __call__(self, images):
        return images


def test_sound_ones_have_no_problem():
    for scenario in (ONE, FewShot(ONE, 1), Drawn(), Drawn(transformations=())):
        assert problem_of(sequence(scenario)) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([None, Brighter()], "is [None, Brighter(by=10)]; expected a tuple"),
        (None, "is None; expected a tuple"),
        ((None, len), "has <built-in function len>; expected None, or an object of a frozen"),
        ((None, Brighter), "expected None, or an object of a frozen dataclass"),
        ((None, Uncallable()), "has Uncallable(by=1); expected None, or an object of a frozen"),
        ((None, Thawed()), "can be hashed"),
        ((None, Brighter(by=[1])), "can be hashed"),
        ((None, Brighter(by=len)), "plain data"),
    ],
    ids=str,
)
def test_what_is_no_transformation_is_refused(value, words):
    for scenario in (Transformed(BASE, value), Drawn(transformations=value)):
        message = problem_of(sequence(scenario))
        assert words in message
        assert "\n" not in message


def test_the_hash_covers_class_and_fields():
    scenarios = [
        ONE,
        BASE,
        Transformed(BASE, (None, Brighter(), None)),
        Transformed(BASE, (None, Brighter(20), Brighter())),
        Transformed(BASE, (Brighter(), None, Brighter(20))),
        Transformed(BASE, (None, Brighter(), type("Darker", (Brighter,), {})(20))),
    ]
    assert len({sequence(one).hash() for one in scenarios}) == len(scenarios)
    assert describe(sequence())["scenario"]["transformations"] == [
        None,
        {"class": "Brighter", "by": 10},
        {"class": "Brighter", "by": 20},
    ]


def test_own_classes_are_found_however_deep():
    assert own_classes(sequence(FewShot(ONE, 2))) == [Brighter]
    assert set(own_classes(sequence(FewShot(Drawn(), 2)))) == {Brighter, Drawn}
    assert own_classes(sequence(FewShot(BASE, 2))) == []

"""What recipes have to be, whoever made them: a scenario, a user's class or a file."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from driftboard.suite.sequences.scenarios import FewShot, Recipe, Scenario, View
from driftboard.suite.sequences.transformed import transformations_of

OURS = Scenario.__module__.rpartition(".")[0]
"""The package of our own scenarios."""


def fault_of(scenario: Scenario, view: View, recipes: Sequence[Any]) -> str | None:
    """Return what is wrong with a scenario's recipes for a view, in a line, or None.

    Positions and units exist and stand once, a task has two classes or more and only images of
    them, and tasks that need fresh images share none. Of a scenario of ours every class has as
    many images as the scenario gives it.
    """
    if len(recipes) != scenario.tasks:
        return f"there are recipes of {len(recipes)} tasks instead of {scenario.tasks}"
    for number, recipe in enumerate(recipes, start=1):
        if not isinstance(recipe, Recipe):
            return f"task {number} is no Recipe but {type(recipe).__name__}"
        if fault := _fault(recipe, view) or _fault_in_transformation(recipe, scenario):
            return f"task {number} {fault}"
    if len({len(recipe.active) for recipe in recipes}) > 1:
        return "the heads of its tasks differ in size"
    if scenario.fresh_sets > 1:
        rows = np.concatenate([recipe.train for recipe in recipes])
        if not _are_places(rows, len(view.train_labels)):
            return "its tasks share training images, and each needs its own"
    return _fault_in_counts(scenario, view, recipes)


def _fault(recipe: Recipe, view: View) -> str | None:
    """Return what is wrong with one recipe, as the rest of a sentence."""
    units, active = recipe.units, recipe.active
    if not _is_array(active, np.bool_) or len(active) == 0:
        return "has something else than an array of bool in 'active'"
    if not _is_array(units, np.int64) or len(units) != view.classes:
        return f"does not have {view.classes} units in an array of int64, one for every class"
    if units.min() < 0 or units.max() >= len(active):
        return f"has a unit that its head of {len(active)} does not have"
    for part, rows, labels in (
        ("training", recipe.train, view.train_labels),
        ("test", recipe.test, view.test_labels),
    ):
        if not _are_places(rows, len(labels)):
            return f"does not have {part} images of the data, each once, in an array of int64"
        shown = np.flatnonzero(np.bincount(units[labels[rows]]))
        if not active[shown].all():
            return f"has {part} images of classes that are not active"
        if part == "training" and len(shown) < 2:
            return "has images of one class only, so there is nothing to tell apart"
    order = recipe.pixel_order
    if order is not None and not (_are_places(order, view.pixels) and len(order) == view.pixels):
        return f"has a 'pixel_order' that is no order of {view.pixels} pixels"
    for name, value, least in (("degrees", recipe.degrees, -math.inf), ("noise", recipe.noise, 0)):
        if not isinstance(value, int | float) or not math.isfinite(value) or value < least:
            return f"has {value!r} for {name}, from which no image can be made"
    return None


def _fault_in_transformation(recipe: Recipe, scenario: Scenario) -> str | None:
    place, count = recipe.transformation, len(transformations_of(scenario))
    if place is None or (type(place) is int and 0 <= place < count):
        return None
    return f"has {place!r} for transformation, which is no place in the scenario's {count}"


def _is_array(value: Any, kind: type[np.generic]) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == kind


def _are_places(rows: Any, count: int) -> bool:
    """Tell whether there are some positions in a list of ``count``, none of them twice."""
    if not _is_array(rows, np.int64) or len(rows) == 0:
        return False
    inside = rows.min() >= 0 and rows.max() < count
    return bool(inside and np.bincount(rows).max() == 1)


def _fault_in_counts(scenario: Scenario, view: View, recipes: Sequence[Recipe]) -> str | None:
    """Return which task of a scenario of ours has too many or too few images of a class."""
    chain = list(_chain(scenario))
    if not all(type(one).__module__.rpartition(".")[0] == OURS for one in chain):
        return None
    each = np.bincount(view.train_labels, minlength=view.classes) // scenario.fresh_sets
    tested = np.bincount(view.test_labels, minlength=view.classes)
    few = min((one.per_class for one in chain if isinstance(one, FewShot)), default=None)
    for task, recipe in enumerate(recipes):
        shown = recipe.active[recipe.units]
        trained = np.minimum(each, few) if few is not None and task > 0 else each
        for rows, labels, expected in (
            (recipe.train, view.train_labels, trained),
            (recipe.test, view.test_labels, tested),
        ):
            counts = np.bincount(labels[rows], minlength=view.classes)
            if not np.array_equal(counts, expected * shown):
                return f"task {task + 1} does not have the number of images that it should have"
    return None


def _chain(scenario: Scenario) -> Iterator[Scenario]:
    """Yield a scenario and what it alters."""
    while True:
        yield scenario
        if not hasattr(scenario, "base"):
            return
        scenario = scenario.base

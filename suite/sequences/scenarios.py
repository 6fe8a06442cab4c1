"""Scenarios: how one data set becomes a sequence of tasks, as plain arrays.

continuum makes the class-incremental, instance-incremental, permuted and rotated ones; the
others stand beside it in the same style. A scenario never touches an image: it returns recipes
(which images, which labels, which transformation), which ``splits.py`` keeps in a cache.
continuum takes seconds to import, so it is imported where it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from driftboard.suite.errors import DataError, counted

Indices = NDArray[np.int64]

Several = Annotated[int, Meta(ge=2, le=10_000)]
"""A number of tasks, or of classes of a task. ``validation.py`` checks such limits of fields."""
Angle = Annotated[int, Meta(ge=-720, le=720)]


@dataclass(frozen=True)
class View:
    """The images of one seed that a scenario may deal out to its tasks."""

    train_labels: Indices
    test_labels: Indices
    classes: int  # number of classes of the data set
    pixels: int  # height times width
    stream: Callable[..., np.random.Generator]  # name(s) -> the seed's stream of that name
    exact: bool = True  # every class has as many images as asked for; else fewer make do
    groups: tuple[str, ...] = ()  # (classes,): the group of every class, empty where it has none


@dataclass(frozen=True)
class Recipe:
    """One task of one seed: positions of its images in the view, and what is done to them."""

    train: Indices
    test: Indices
    units: Indices  # (classes,): the head unit of every class of the data set
    active: NDArray[np.bool_]  # (head units,): the units that belong to the task
    pixel_order: Indices | None = None  # new image[i] = image[pixel_order[i]], for all channels
    degrees: float = 0.0  # counter-clockwise
    noise: float = 0.0  # standard deviation of Gaussian noise, where 1 is the full range
    transformation: int | None = None  # after all that: its place in ``transformations_of``


class Scenario(Protocol):
    """A rule that deals a data set out to tasks."""

    @property
    def tasks(self) -> int:
        """The number of tasks."""

    @property
    def fresh_sets(self) -> int:
        """How many disjoint sets of training images the scenario needs: 1, or one per task."""

    def recipes(self, view: View) -> list[Recipe]:
        """Return one recipe per task."""


def has_own_units(scenario: Scenario) -> bool:
    """Tell whether tasks have different classes, and so different units of the head.

    A scenario says so by an attribute ``own_units``; without one it does not.
    """
    return bool(getattr(scenario, "own_units", False))


def _labelled_positions(labels: Indices) -> Any:
    """Wrap labels as a continuum data set; images stay away, only positions matter."""
    from continuum.datasets import InMemoryDataset

    return InMemoryDataset(np.zeros((len(labels), 1, 1, 3), dtype=np.uint8), labels)


def _one_class(count: int) -> Any:
    """Return a continuum data set just large enough to ask a scenario for its transformations."""
    return _labelled_positions(np.zeros(2 * count, dtype=np.int64))


def _all_images(view: View, tasks: int) -> list[Recipe]:
    """Return recipes in which every task has all images, all classes and one shared head."""
    same = Recipe(
        train=np.arange(len(view.train_labels)),
        test=np.arange(len(view.test_labels)),
        units=np.arange(view.classes),
        active=np.ones(view.classes, dtype=bool),
    )
    return [same] * tasks


@dataclass(frozen=True)
class Split:
    """Disjoint classes, in an order drawn per seed; task-incremental (class-incremental data)."""

    tasks: Several
    fresh_sets: ClassVar[int] = 1
    own_units: ClassVar[bool] = True

    def recipes(self, view: View) -> list[Recipe]:
        if view.classes % self.tasks:
            raise DataError(f"{view.classes} classes cannot be split into {self.tasks} equal tasks")
        if view.classes == self.tasks:
            raise DataError(
                f"{view.classes} classes make {self.tasks} tasks of one class, which has nothing "
                "to tell apart; take fewer tasks"
            )
        from continuum.scenarios import ClassIncremental

        order = view.stream("class order").permutation(view.classes)
        task_ids = []
        for labels in (view.train_labels, view.test_labels):
            scenario = ClassIncremental(
                _labelled_positions(labels), nb_tasks=self.tasks, class_order=order.tolist()
            )
            task_ids.append(np.asarray(scenario.dataset[2]))
        size = view.classes // self.tasks
        units = np.argsort(order)
        return [
            Recipe(
                train=np.flatnonzero(task_ids[0] == task),
                test=np.flatnonzero(task_ids[1] == task),
                units=units,
                active=np.arange(view.classes) // size == task,
            )
            for task in range(self.tasks)
        ]


@dataclass(frozen=True)
class Unequal:
    """Disjoint classes, of which tasks have different numbers, in an order drawn per seed.

    ``sizes`` are the numbers of classes; those of the data set that are left over are not used.
    """

    sizes: Annotated[tuple[Annotated[int, Meta(ge=1, le=10_000)], ...], Meta(min_length=2)]
    fresh_sets: ClassVar[int] = 1
    own_units: ClassVar[bool] = True

    @property
    def tasks(self) -> int:
        """One per size."""
        return len(self.sizes)

    def recipes(self, view: View) -> list[Recipe]:
        if sum(self.sizes) > view.classes:
            raise DataError(
                f"tasks of {', '.join(map(str, self.sizes))} classes need {sum(self.sizes)}, there "
                f"are {view.classes}; take fewer"
            )
        ends = np.cumsum(self.sizes)
        return _of_windows(view, [np.arange(*one) for one in pairwise((0, *ends))])


def _of_windows(view: View, windows: list[Indices]) -> list[Recipe]:
    """Return a task for every window of positions in the seed's class order, as head units."""
    units = np.argsort(view.stream("class order").permutation(view.classes))
    return [
        Recipe(
            train=np.flatnonzero(np.isin(units[view.train_labels], window)),
            test=np.flatnonzero(np.isin(units[view.test_labels], window)),
            units=units,
            active=np.isin(np.arange(view.classes), window),
        )
        for window in windows
    ]


@dataclass(frozen=True)
class Overlap:
    """Tasks of ``classes`` classes; each shares ``shared`` of them with the task before it.

    A window moves over the seed's class order, round and round; task-incremental, and a class
    keeps its head unit and its images when it comes again. With ``shared = 0`` the same windows
    do not overlap from one task to the next.
    """

    tasks: Several
    classes: Several
    shared: Annotated[int, Meta(ge=0)]
    fresh_sets: ClassVar[int] = 1
    own_units: ClassVar[bool] = True

    def recipes(self, view: View) -> list[Recipe]:
        self._check(view.classes)
        step = self.classes - self.shared
        return _of_windows(
            view,
            [(task * step + np.arange(self.classes)) % view.classes for task in range(self.tasks)],
        )

    def _check(self, there: int) -> None:
        if not 0 <= self.shared < self.classes <= there:
            raise DataError(
                f"a task cannot have {self.classes} classes and share {self.shared} of them "
                f"where the data set has {there}"
            )
        if self.classes == 1:
            raise DataError("a task of 1 class has nothing to tell apart; give it more classes")
        needed = 2 * self.classes - self.shared
        if self.tasks > 1 and needed > there:
            raise DataError(
                f"two tasks of {self.classes} classes that share {self.shared} need {needed} "
                f"classes, there are {there}; take fewer classes, or share more"
            )


@dataclass(frozen=True)
class Permuted:
    """The same images with their pixels in a new order for every task but the first.

    ``share`` is the share of the pixels that change places among themselves; all of them by
    continuum's permutations, a part of them by our own.
    """

    tasks: Several
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    fresh_sets: ClassVar[int] = 1

    def recipes(self, view: View) -> list[Recipe]:
        moved = round(self.share * view.pixels)
        if moved < 2:
            raise DataError(
                f"a share of {self.share:g} of {view.pixels} pixels is {moved}, too few to change "
                "places; take a larger one"
            )
        random = view.stream("permutation")
        orders = (
            _continuum_orders(view.pixels, random.integers(2**31, size=self.tasks - 1).tolist())
            if self.share == 1.0
            else [_partial_order(view.pixels, self.share, random) for _ in range(self.tasks - 1)]
        )
        for task, order in enumerate(orders, start=2):
            if np.array_equal(order, np.arange(view.pixels)):
                raise DataError(
                    f"the order drawn for task {task} moves none of {view.pixels} pixels; take a "
                    "larger share"
                )
        first, *later = _all_images(view, self.tasks)
        return [
            first,
            *(replace(task, pixel_order=o) for task, o in zip(later, orders, strict=True)),
        ]


def _continuum_orders(pixels: int, seeds: list[int]) -> list[Indices]:
    import torch
    from continuum.scenarios import Permutations

    scenario = Permutations(_one_class(len(seeds) + 1), seed=seeds)
    positions = torch.arange(pixels)
    return [change(positions).numpy() for change in scenario.inc_trsf[1:]]


def _partial_order(pixels: int, share: float, random: np.random.Generator) -> Indices:
    order = np.arange(pixels)
    moved = random.choice(pixels, size=round(share * pixels), replace=False)
    order[moved] = random.permutation(moved)
    return order


@dataclass(frozen=True)
class RotatedTo:
    """The same images, turned by the given degrees, one entry per task."""

    degrees: Annotated[tuple[Angle, ...], Meta(min_length=2)]
    fresh_sets: ClassVar[int] = 1

    @property
    def tasks(self) -> int:
        """One per angle."""
        return len(self.degrees)

    def recipes(self, view: View) -> list[Recipe]:
        for task, (before, angle) in enumerate(pairwise(self.degrees), start=2):
            if (angle - before) % 360 == 0:
                raise DataError(
                    f"task {task} is turned by {angle} degrees, which is the angle of the task "
                    "before it; take another"
                )
        from continuum.scenarios import Rotations

        scenario = Rotations(_one_class(self.tasks), list_degrees=list(self.degrees))
        return [
            replace(task, degrees=float(change[0].degrees[0]))
            for task, change in zip(_all_images(view, self.tasks), scenario.inc_trsf, strict=True)
        ]


@dataclass(frozen=True)
class Rotated:
    """The same images, turned by ``step`` degrees more with every task."""

    tasks: Several
    step: Annotated[int, Meta(ge=-360, le=360)]
    fresh_sets: ClassVar[int] = 1

    def recipes(self, view: View) -> list[Recipe]:
        if self.step % 360 == 0:
            raise DataError(f"a step of {self.step} degrees turns nothing; take another")
        return RotatedTo(tuple(task * self.step for task in range(self.tasks))).recipes(view)


@dataclass(frozen=True)
class Relabelled:
    """The same images; for every task but the first, ``classes`` labels change places.

    Which classes, and how, is drawn for each task anew, relative to the first task; none of the
    chosen classes keeps its label.
    """

    tasks: Several
    classes: Several
    fresh_sets: ClassVar[int] = 1

    def recipes(self, view: View) -> list[Recipe]:
        if not 2 <= self.classes <= view.classes:
            raise DataError(
                f"{counted(self.classes, 'label')} cannot change places where there are "
                f"{view.classes}; take from 2 to {view.classes}"
            )
        random = view.stream("labels")
        first, *later = _all_images(view, self.tasks)
        recipes = [first]
        for task in later:
            units = np.arange(view.classes)
            chosen = random.permutation(view.classes)[: self.classes]
            units[chosen] = np.roll(chosen, 1)
            recipes.append(replace(task, units=units))
        return recipes


@dataclass(frozen=True)
class Repeat:
    """The same task with fresh training images every time (instance-incremental).

    The distance between its tasks is zero by construction.
    """

    tasks: Several

    @property
    def fresh_sets(self) -> int:
        """One set of training images per task."""
        return self.tasks

    def recipes(self, view: View) -> list[Recipe]:
        from continuum.scenarios import InstanceIncremental

        scenario = InstanceIncremental(_labelled_positions(view.train_labels), nb_tasks=self.tasks)
        task_ids = np.asarray(scenario.dataset[2])
        return [
            replace(recipe, train=np.flatnonzero(task_ids == task))
            for task, recipe in enumerate(_all_images(view, self.tasks))
        ]


NOISE_AT_SEVERITY = {1: 0.1, 2: 0.2, 3: 0.35, 4: 0.5, 5: 0.8}
"""Standard deviation of the last task's noise, where 1 is the full range of a pixel."""


@dataclass(frozen=True)
class Altered:
    """Another scenario's tasks, changed."""

    base: Scenario

    @property
    def tasks(self) -> int:
        """As many as the base has."""
        return self.base.tasks

    @property
    def fresh_sets(self) -> int:
        """As many as the base needs."""
        return self.base.fresh_sets

    @property
    def own_units(self) -> bool:
        """Whether the base's tasks have units of their own."""
        return has_own_units(self.base)


@dataclass(frozen=True)
class Corrupted(Altered):
    """Another scenario's tasks under Gaussian image noise that grows evenly, task by task.

    The first task is clean, the last has the noise of ``NOISE_AT_SEVERITY``. An image has the
    same noise whenever it is shown.
    """

    severity: Annotated[int, Meta(ge=1, le=5)]

    def recipes(self, view: View) -> list[Recipe]:
        levels = np.linspace(0.0, NOISE_AT_SEVERITY[self.severity], self.tasks)
        recipes = self.base.recipes(view)
        if any(recipe.noise for recipe in recipes):
            raise DataError("the tasks of Corrupted have noise already; corrupt them once")
        if any(recipe.transformation is not None for recipe in recipes):
            raise DataError(
                "noise comes before transformations of your own; write Transformed(Corrupted(...), "
                "...) instead"
            )
        return [
            replace(recipe, noise=float(level))
            for recipe, level in zip(recipes, levels, strict=True)
        ]


@dataclass(frozen=True)
class FewShot(Altered):
    """Another scenario's tasks, of which all but the first keep few training images a class."""

    per_class: Annotated[int, Meta(ge=1)]

    def recipes(self, view: View) -> list[Recipe]:
        first, *later = self.base.recipes(view)
        return [first, *(replace(task, train=self._few(task, view)) for task in later)]

    def _few(self, recipe: Recipe, view: View) -> Indices:
        labels = view.train_labels[recipe.train]
        least = np.unique(labels, return_counts=True)[1].min()
        if view.exact and self.per_class > least:
            raise DataError(
                f"{self.per_class} training images of a class are asked for, a class has {least}; "
                "lower per_class of FewShot"
            )
        kept = [recipe.train[labels == label][: self.per_class] for label in np.unique(labels)]
        return np.sort(np.concatenate(kept))

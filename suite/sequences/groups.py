"""Tasks that are groups of classes which the data have anyway: alphabets, one of several sets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from driftboard.suite.errors import DataError, counted
from driftboard.suite.sequences.scenarios import Indices, Recipe, Several, View


@dataclass(frozen=True)
class ByGroup:
    """One group of classes a task: an alphabet, or of combined data sets the classes of one.

    A group is what the name of a class has before its first slash.

    Args:
        tasks: how many of the groups; the others are not used.
        classes: how many classes of each group, the first ones; None takes all, and tasks may then
            differ in size.
        shuffled: whether the groups come in an order drawn per seed, which also draws those that
            are not used, and not in the data's.
    """

    tasks: Several
    classes: Several | None = None
    shuffled: bool = False
    fresh_sets: ClassVar[int] = 1
    own_units: ClassVar[bool] = True

    def recipes(self, view: View) -> list[Recipe]:
        names = list(dict.fromkeys(view.groups))
        if "" in (names or [""]) or self.tasks > len(names):
            found = counted(len([name for name in names if name]), "group")
            raise DataError(
                f"{self.tasks} tasks need as many groups of classes, and every class in one, as "
                f"'Greek/alpha' is or the data sets of 'mnist+fashion-mnist' are; there are {found}"
            )
        if self.shuffled:
            order = view.stream("group order").permutation(len(names))
            names = [names[place] for place in order]
        groups = np.array(view.groups)
        return [
            self._task(view, np.flatnonzero(groups == name), name) for name in names[: self.tasks]
        ]

    def _task(self, view: View, members: Indices, name: str) -> Recipe:
        classes = members[: self.classes]
        if len(classes) < (self.classes or 2):
            raise DataError(
                f"group '{name}' has {counted(len(classes), 'class', 'classes')}, and "
                f"{self.classes or 'at least 2'} are needed"
            )
        units = np.arange(view.classes)
        return Recipe(
            train=np.flatnonzero(np.isin(view.train_labels, classes)),
            test=np.flatnonzero(np.isin(view.test_labels, classes)),
            units=units,
            active=np.isin(units, classes),
        )

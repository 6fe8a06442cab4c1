"""Tasks that are groups of classes which the data have anyway, such as one data set of several."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from driftboard.suite.errors import DataError, counted
from driftboard.suite.sequences.scenarios import Recipe, Several, View


@dataclass(frozen=True)
class ByGroup:
    """One group of classes a task: of data sets that are combined, the classes of one.

    Args:
        tasks: how many of the groups; the others are not used.
        classes: how many classes of each group, the first ones; None takes all, and tasks may then
            differ in size.
        shuffled: whether the groups come in an order drawn per seed, and not in the data's.
    """

    tasks: Several
    classes: Several | None = None
    shuffled: bool = False
    fresh_sets: ClassVar[int] = 1
    own_units: ClassVar[bool] = True

    def recipes(self, view: View) -> list[Recipe]:
        groups = np.array(view.groups, dtype=np.int64)
        order = np.unique(groups)
        if self.tasks > len(order):
            raise DataError(
                f"{counted(len(order), 'group')} of classes cannot make {self.tasks} tasks; take "
                "fewer, or name more data sets, as in 'mnist+fashion-mnist'"
            )
        if self.shuffled:
            order = view.stream("group order").permutation(order)
        return [self._task(view, groups == group, int(group)) for group in order[: self.tasks]]

    def _task(self, view: View, own: np.ndarray, group: int) -> Recipe:
        units = np.arange(view.classes)
        classes = units[own][: self.classes]
        if len(classes) < (self.classes or 2):
            raise DataError(
                f"group {group + 1} has {counted(len(classes), 'class', 'classes')}, and "
                f"{self.classes or 'at least 2'} are needed"
            )
        return Recipe(
            train=np.flatnonzero(np.isin(view.train_labels, classes)),
            test=np.flatnonzero(np.isin(view.test_labels, classes)),
            units=units,
            active=np.isin(units, classes),
        )

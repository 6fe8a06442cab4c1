"""Tasks whose images are changed by transformations of a user's own."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.errors import DataError, counted
from driftboard.suite.sequences.scenarios import Altered, Recipe, View


class Transformation(Protocol):
    """A change of images: an object of a frozen dataclass, called with all images of a task.

    Class, fields and code are part of the sequence's hash. Each image has to be changed for itself
    and always in the same way, because training and test images are passed apart.

    >>> @dataclass(frozen=True)
    ... class Inverted:
    ...     def __call__(self, images):
    ...         return 255 - images
    >>> Inverted()(np.array([[[[0, 100]]]], dtype=np.uint8)).tolist()
    [[[[255, 155]]]]
    """

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Return changed images.

        Args:
            images: (n, channels, height, width), in [0, 255]; they cannot be written to.

        Returns:
            As many of the same shape and type.
        """


Transformations = tuple[Transformation | None, ...]


@dataclass(frozen=True)
class Transformed(Altered):
    """Another scenario's tasks, each with its images changed by a transformation of the user's.

    ``transformations`` has one for every task; None leaves the images as they are. A
    transformation comes last, after noise and rotation.

    >>> @dataclass(frozen=True)
    ... class Inverted:
    ...     def __call__(self, images):
    ...         return 255 - images
    >>> from driftboard.suite.sequences import Repeat
    >>> Transformed(Repeat(2), (None, Inverted())).tasks
    2
    """

    transformations: Transformations

    def recipes(self, view: View) -> list[Recipe]:
        if len(self.transformations) != self.tasks:
            raise DataError(
                f"Transformed has {counted(len(self.transformations), 'transformation')} for "
                f"{self.tasks} tasks; give one for every task, None for none"
            )
        recipes = self.base.recipes(view)
        if any(recipe.transformation is not None for recipe in recipes):
            raise DataError(
                "the tasks of Transformed are transformed already; do both in one transformation"
            )
        return [
            recipe if one is None else replace(recipe, transformation=place)
            for place, (recipe, one) in enumerate(zip(recipes, self.transformations, strict=True))
        ]


def transformations_of(scenario: Any) -> Any:
    """Return the transformations that a scenario's recipes name by their places.

    These are the scenario's attribute ``transformations``, or that of what it alters; a scenario
    without has none.
    """
    if hasattr(scenario, "transformations"):
        return scenario.transformations
    return transformations_of(scenario.base) if hasattr(scenario, "base") else ()

"""Parts: a task's training images dealt out to several trainings that share none.

Which part an image belongs to is a property of the image, the same for every task that shows it:
were the parts crossed between tasks, two trainings on the same images would be compared as if
they were independent.
"""

from collections.abc import Sequence

import numpy as np

from driftboard.suite.errors import DataError
from driftboard.suite.sequences.scenarios import Indices, Recipe


def deal(
    recipes: Sequence[Recipe], labels: Indices, parts: int, random: np.random.Generator
) -> list[list[Indices]]:
    """Return positions by task and part; all parts of all tasks have equally many images.

    Classes are dealt out evenly. What is left over when the numbers do not come out even is
    dropped from the part, at random.

    Args:
        recipes: the tasks of one seed, whose ``train`` points into a pool.
        labels: (N,), the classes of the pool's images.
        parts: how many, at least 2.
        random: decides which image goes where.

    Raises:
        DataError: a task has a class with fewer images than parts, or a part would have none.
    """
    owners = np.zeros((len(recipes), len(labels)), dtype=bool)
    for task, recipe in enumerate(recipes):
        owners[task, recipe.train] = True
        counts = np.bincount(labels[recipe.train])
        if counts[counts > 0].min(initial=len(labels)) < parts:
            raise DataError(
                f"task {task + 1} has a class with fewer than {parts} training images, too few "
                f"to be trained on in {parts} separate parts"
            )
    rank = random.permutation(len(labels))
    part_of = _parts_of_images(owners, labels, rank, parts)
    dealt = [
        [recipe.train[part_of[recipe.train] == part] for part in range(parts)] for recipe in recipes
    ]
    size = min(len(rows) for task in dealt for rows in task)
    if size == 0:
        raise DataError(
            f"too few training images to deal every task's out to {parts} separate parts"
        )
    return [[np.sort(rows[np.argsort(rank[rows])][:size]) for rows in task] for task in dealt]


def _parts_of_images(
    owners: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    labels: Indices,
    rank: Indices,
    parts: int,
) -> Indices:
    """Deal out, class by class, each group of images that the same tasks show."""
    used = np.flatnonzero(owners.any(axis=0))
    _, groups = np.unique(np.vstack([labels[used], owners[:, used]]), axis=1, return_inverse=True)
    groups = groups.reshape(-1)
    order = np.lexsort((rank[used], groups))
    starts = np.searchsorted(groups[order], groups[order])
    part_of = np.full(len(labels), -1)
    # A group begins where its number says, so that odd ones do not all favour the first part.
    part_of[used[order]] = (np.arange(len(used)) - starts + groups[order]) % parts
    return part_of

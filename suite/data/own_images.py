"""A user's own images: their names, and one npz file or image folder for each."""

from pathlib import Path

import numpy as np

from driftboard.suite.data.files import read_unpacked, remedy
from driftboard.suite.data.image_tree import folder_image_paths, read_image_tree
from driftboard.suite.data.pool import Pool, read_npz
from driftboard.suite.errors import DataError
from driftboard.suite.records import NAME

FOLDER_PREFIX = "folder:"


def check_own_name(name: str) -> None:
    """Check the name of a user's own images.

    Raises:
        DataError: it is not a plain lower-case name.
    """
    if NAME.fullmatch(name) is None:
        raise DataError(
            f"{name!r} cannot name a data set; use up to 64 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )


def import_command(name: str) -> str:
    """Return the command that brings a user's own images into the data folder."""
    return f"driftboard data import {name} FILE"


def load_own_images(name: str, folder: Path) -> Pool:
    """Read the images in ``name``.npz in the data folder, or below ``name``/train and /test.

    Raises:
        DataError: the name is not plain, or the images are missing or broken.
    """
    check_own_name(name)
    what_to_do = remedy([import_command(name)])
    npz = folder / f"{name}.npz"
    if npz.is_file():
        pool = read_npz(npz, what_to_do)
        _check(pool, npz)
        return pool
    tree = folder / name
    if not tree.is_dir():
        raise DataError(
            f"{FOLDER_PREFIX}{name}: neither {npz} nor the folder {tree} is there; {what_to_do}"
        )
    paths = folder_image_paths(tree)
    images = ((image_name, read_unpacked(path)) for image_name, path in paths.items())
    return read_image_tree(images, name, tree)


def _check(pool: Pool, origin: Path) -> None:
    for part, images, labels in pool.parts:
        found = np.unique(labels)
        whole = len(images) == len(labels) > 0 and images.shape[1:] == pool.train_images.shape[1:]
        # Sorted and different, so these are 0, 1, ... without a gap if first and last are right.
        if not whole or found[0] != 0 or not found[-1] == len(found) - 1 == pool.classes - 1:
            raise DataError(
                f"{origin} has {part} images and labels that do not belong together; import the "
                "images again with 'driftboard data import'"
            )

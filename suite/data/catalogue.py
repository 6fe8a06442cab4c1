"""The catalogue: every data set by its name."""

import difflib
import os
from pathlib import Path

import platformdirs

from driftboard.suite.data.cifar import CIFAR10, CIFAR100
from driftboard.suite.data.cub200 import CUB200
from driftboard.suite.data.digits import DIGITS
from driftboard.suite.data.idx import FASHION_MNIST, MNIST
from driftboard.suite.data.own_images import FOLDER_PREFIX, load_own_images
from driftboard.suite.data.pool import Pool
from driftboard.suite.data.source import Source
from driftboard.suite.errors import DataError

SOURCES: dict[str, Source] = {
    source.name: source for source in (DIGITS, FASHION_MNIST, MNIST, CIFAR10, CIFAR100, CUB200)
}


def default_data_folder() -> Path:
    """Return the folder named by DRIFTBOARD_DATA, else the user's own data folder."""
    named = os.environ.get("DRIFTBOARD_DATA")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_data_path("driftboard")


def find_source(name: str) -> Source:
    """Return the data set called ``name``.

    Raises:
        DataError: there is none; the message offers the nearest names.
    """
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=2, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SOURCES)}"
    raise DataError(
        f"no data set is called {name!r}; {offer} (images of your own are {FOLDER_PREFIX}NAME)"
    )


def load_pool(name: str, data_folder: Path | None) -> Pool:
    """Read the data set ``name`` from ``data_folder`` (None: :func:`default_data_folder`).

    ``name`` is a key of ``SOURCES``, or ``folder:NAME`` for the images in NAME.npz or below
    NAME/train and NAME/test.

    Raises:
        DataError: no such data set, or it is missing, truncated or broken.
    """
    folder = default_data_folder() if data_folder is None else data_folder
    if name.startswith(FOLDER_PREFIX):
        return load_own_images(name.removeprefix(FOLDER_PREFIX), folder)
    return find_source(name).load(folder)

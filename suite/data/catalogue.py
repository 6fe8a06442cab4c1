"""The catalogue: every data set by its name, as plain data.

To add a data set, add one entry to ``_ENTRIES`` and, if none in ``readers`` fits its files, a
reader there.
"""

import difflib
from pathlib import Path

from driftboard.suite.data.image_folder import read_image_folder
from driftboard.suite.data.readers.arrays import read_cifar, read_digits, read_mnist
from driftboard.suite.data.readers.cub200 import CUB_LISTS, CUB_SIDE, read_cub200
from driftboard.suite.data.readers.omniglot import DRAWERS, SIDE, TRAINED_DRAWERS, read_omniglot
from driftboard.suite.data.readers.tiny_imagenet import (
    ANNOTATIONS,
    CLASSES,
    WORDS,
    read_tiny_imagenet,
)
from driftboard.suite.data.source import FOLDER_PREFIX, Source
from driftboard.suite.data.store import Pool
from driftboard.suite.errors import DataError
from driftboard.suite.records import NAME

_IDX_FILES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}

_ENTRIES = (
    Source(
        name="digits",
        title="Digits",
        origin="scikit-learn's copy of UCI's Optical Recognition of Handwritten Digits (test "
        "part), CC BY 4.0",
        read=read_digits,
        image_shape=(1, 8, 8),
        classes=10,
        train_count=1297,
        test_count=500,
    ),
    Source(
        name="fashion-mnist",
        title="Fashion-MNIST",
        origin="Zalando Research, MIT licence",
        read=read_mnist,
        store="fashion-mnist.npz",
        subfolder="FashionMNIST/raw",
        files=_IDX_FILES,
        torchvision="FashionMNIST",
        image_shape=(1, 28, 28),
        classes=10,
        train_count=60_000,
        test_count=10_000,
    ),
    Source(
        name="mnist",
        title="MNIST",
        origin="LeCun, Cortes and Burges, after NIST's special databases; no licence stated",
        read=read_mnist,
        store="mnist.npz",
        subfolder="MNIST/raw",
        files=_IDX_FILES,
        torchvision="MNIST",
        digests={
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
        # From PNG files, whose contrast was stretched: one image in ten differs by a grey level.
        variants={"0a5b8280e3ac2a799f295a0aafa206cc": "PNG test images"},
        image_shape=(1, 28, 28),
        classes=10,
        train_count=60_000,
        test_count=10_000,
    ),
    Source(
        name="cifar10",
        title="CIFAR-10",
        origin="Krizhevsky, University of Toronto; no licence stated",
        read=read_cifar,
        store="cifar10.npz",
        subfolder="cifar-10-batches-py",
        files={
            **{f"data_batch_{number}": 30_720_000 for number in range(1, 6)},
            "test_batch": 30_720_000,
            "batches.meta": 100,
        },
        torchvision="CIFAR10",
        takes_images=True,
        # In the order of their labels, which is that of the alphabet.
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        image_shape=(3, 32, 32),
        classes=10,
        train_count=50_000,
        test_count=10_000,
    ),
    Source(
        name="cifar100",
        title="CIFAR-100",
        origin="Krizhevsky, University of Toronto; no licence stated",
        read=read_cifar,
        store="cifar100.npz",
        subfolder="cifar-100-python",
        files={"train": 153_600_000, "test": 30_720_000, "meta": 1000},
        torchvision="CIFAR100",
        image_shape=(3, 32, 32),
        classes=100,
        train_count=50_000,
        test_count=10_000,
    ),
    Source(
        name="cub200",
        title="CUB-200-2011 (64x64)",
        origin="Wah and others, California Institute of Technology; for research, not commercial "
        "use",
        read=read_cub200,
        store="cub200-64.npz",
        subfolder="CUB_200_2011",
        files=dict.fromkeys(CUB_LISTS, 5_994),
        image_shape=(3, CUB_SIDE, CUB_SIDE),
        classes=200,
        train_count=5_994,
        test_count=5_794,
    ),
    Source(
        name="tiny-imagenet",
        title="Tiny ImageNet",
        origin="Stanford University, cs231n.stanford.edu, from ImageNet; for research, not "
        "commercial use",
        read=read_tiny_imagenet,
        store="tiny-imagenet.npz",
        subfolder="tiny-imagenet-200",
        files={CLASSES: 1_999, WORDS: 2_000, ANNOTATIONS: 200_000},
        takes_archive=True,
        classes=200,
        train_count=100_000,
        test_count=10_000,
    ),
    Source(
        name="omniglot",
        title=f"Omniglot, small sets ({SIDE}x{SIDE})",
        origin="Lake, Salakhutdinov and Tenenbaum, github.com/brendenlake/omniglot, MIT licence",
        read=read_omniglot,
        store="omniglot.npz",
        subfolder="omniglot",
        files=dict.fromkeys(
            ("images_background_small1.zip", "images_background_small2.zip"), 1_000_000
        ),
        image_shape=(1, SIDE, SIDE),
        classes=242,
        train_count=242 * TRAINED_DRAWERS,
        test_count=242 * (DRAWERS - TRAINED_DRAWERS),
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ENTRIES}


JOINED = "+"
"""Stands between the names of data sets that are combined."""


def own_images(name: str) -> Source:
    """Return the data set of a user's own images, ``NAME.npz`` or the image folder ``NAME``.

    Raises:
        DataError: ``name`` is not a plain lower-case name.
    """
    if NAME.fullmatch(name) is None:
        raise DataError(
            f"{name!r} cannot name a data set; use up to 64 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return Source(
        name=f"{FOLDER_PREFIX}{name}",
        title=name,
        origin="your own images",
        read=_read_own_images,
        store=f"{name}.npz",
        subfolder=name,
        takes_images=True,
    )


def _read_own_images(source: Source, holder: Path) -> Pool:
    return read_image_folder(holder, source.title)


def find_source(name: str) -> Source:
    """Return the data set called ``name``: a key of ``SOURCES``, or ``folder:NAME``.

    >>> find_source("fashion-mnist").train_count
    60000
    >>> find_source("folder:leaves").store
    'leaves.npz'

    Raises:
        DataError: there is none; the message offers the nearest names.
    """
    if name.startswith(FOLDER_PREFIX):
        return own_images(name.removeprefix(FOLDER_PREFIX))
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, n=2, cutoff=0.5)
    offer = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SOURCES)}"
    raise DataError(
        f"no data set is called {name!r}; {offer} (images of your own are {FOLDER_PREFIX}NAME)"
    )


def find_sources(names: str) -> tuple[Source, ...]:
    """Return the data sets that a sequence's source names: one, or several joined by ``+``.

    >>> [source.title for source in find_sources("mnist+fashion-mnist")]
    ['MNIST', 'Fashion-MNIST']

    Raises:
        DataError: as :func:`find_source`; or one is named twice.
    """
    each = names.split(JOINED)
    twice = next((name for name in each if each.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{names!r} names {twice!r} twice; name each data set once")
    return tuple(map(find_source, each))

"""Data sets that are distributed as arrays: scikit-learn's digits, idx files, CIFAR's pickles."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Images, Pool, staging
from driftboard.suite.errors import DataError

DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""Within scikit-learn: a line per image, 64 values 0..16 and the class. It is read without
importing scikit-learn, which takes seconds in every worker process."""
DIGITS_TEST_PER_CLASS = 50


def read_digits(source: Source, _: Path) -> Pool:
    """Read scikit-learn's digits; the last 50 of each class in file order are the test set.

    Their values 0..16 are multiplied by 15, so that the brightest pixel is 240 and every value
    stays a whole number below 255.
    """
    try:
        path = distribution("scikit-learn").locate_file(DIGITS_FILE)
        rows = np.loadtxt(str(path), delimiter=",")
    except (PackageNotFoundError, OSError, ValueError) as error:
        raise DataError(
            f"the digits that come with scikit-learn cannot be read ({error}); "
            "install it again: pip install --force-reinstall scikit-learn"
        ) from error
    images = (rows[:, :-1] * 15).astype(np.uint8).reshape(-1, *source.image_shape)
    labels = rows[:, -1].astype(np.int64)
    tested = np.zeros(len(labels), dtype=bool)
    for label in range(source.classes):
        tested[np.flatnonzero(labels == label)[-DIGITS_TEST_PER_CLASS:]] = True
    return Pool(source.title, images[~tested], labels[~tested], images[tested], labels[tested])


def read_mnist(source: Source, holder: Path) -> Pool:
    """Read the four idx files of MNIST or of a data set in its format.

    The title says so where they are not the authors' own, as far as their checksums are known.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file

    with _unpacked_copies(source, holder) as copies:
        train_images, train_labels, test_images, test_labels = (
            _read_idx(source, holder, copies / name, read)
            for name, read in zip(source.files, (read_image_file, read_label_file) * 2, strict=True)
        )
        title = _title(source, copies)
    return Pool(
        title,
        train_images[:, np.newaxis],
        train_labels,
        test_images[:, np.newaxis],
        test_labels,
    )


def _title(source: Source, copies: Path) -> str:
    """Return the title of the files in a folder, which tells other ones than the authors'."""
    found = {
        name: hashlib.md5((copies / name).read_bytes(), usedforsecurity=False).hexdigest()
        for name in source.digests
    }
    others = [name for name, digest in found.items() if digest != source.digests[name]]
    said = dict.fromkeys(source.variants.get(found[name], "other files") for name in others)
    return f"{source.title} ({', '.join(said)})" if said else source.title


def _read_idx(source: Source, holder: Path, copy: Path, read: Callable[[str], Any]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = read(str(copy)).numpy()
    # What torchvision raises on a wrong header or size, RuntimeError being torch's.
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise source.broken(holder / copy.name, "is truncated or not an idx file") from error
    return array


def read_cifar(source: Source, holder: Path) -> Pool:
    """Read the pickles of CIFAR-10 or CIFAR-100, all of which must be the authors' own.

    Loading a pickle can run any code. So each file's MD5 checksum is compared before the first is
    loaded, and what is loaded are private copies, which nobody can exchange in between.
    """
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    kind = getattr(datasets, source.torchvision)
    expected = dict([*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
    with _unpacked_copies(source, holder) as copies:
        for name, md5 in expected.items():
            if not check_integrity(copies / name, md5):
                why = f"is not the original file: its MD5 checksum is not {md5}"
                raise source.broken(holder / name, why)
        train, test = (kind(copies.parent, train=part) for part in (True, False))
    return Pool(
        source.title,
        _channels_first(train.data),
        np.array(train.targets, dtype=np.int64),
        _channels_first(test.data),
        np.array(test.targets, dtype=np.int64),
    )


def _channels_first(images: Images) -> Images:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@contextmanager
def _unpacked_copies(source: Source, holder: Path) -> Iterator[Path]:
    """Yield a temporary folder, named as torchvision expects, with copies of the original files."""
    with staging(Path(tempfile.gettempdir())) as stage:
        copies = stage / source.subfolder
        copies.mkdir(parents=True)
        for name in source.files:
            (copies / name).write_bytes(source.content(holder, name))
        yield copies

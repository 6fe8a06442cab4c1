"""Pools: all images of one data set, in memory and as one npz file."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data.files import broken, one_line, staging

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

MAX_TITLE = 200  # what a record holds


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of one data set, as they are drawn from by the sequences.

    Images are uint8 in [0, 255], shape (N, C, H, W) with C = 1 (grey) or 3 (RGB); labels are
    int64 in [0, classes), shape (N,). The order is that of the files and never changes.
    """

    title: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels

    @property
    def classes(self) -> int:
        """Number of classes; every one has training and test images."""
        return int(self.train_labels.max()) + 1

    @property
    def parts(self) -> tuple[tuple[str, Images, Labels], tuple[str, Images, Labels]]:
        """What messages call the part, its images and its labels: of training, then of test."""
        return (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) over shapes and bytes of the four arrays, not the title."""
        digest = hashlib.sha256()
        for images in (self.train_images, self.test_images):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(images).data)
        for labels in (self.train_labels, self.test_labels):
            digest.update(repr(labels.shape).encode())
            digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
        return digest.hexdigest()


def write_npz(path: Path, pool: Pool) -> None:
    """Write ``pool`` to ``path``, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    with staging(path.parent) as stage:
        np.savez(
            stage / path.name,
            title=np.array(pool.title),
            train_images=pool.train_images,
            train_labels=pool.train_labels,
            test_images=pool.test_images,
            test_labels=pool.test_labels,
        )
        (stage / path.name).replace(path)


def read_npz(path: Path, remedy: str) -> Pool:
    """Read a pool written by :func:`write_npz`; counts and labels are not checked.

    Raises:
        DataError: the file is truncated or not of this format; the message ends in ``remedy``.
    """
    names = ("title", "train_images", "train_labels", "test_images", "test_labels")
    title, *arrays = _arrays(path, names, remedy)
    for images in arrays[::2]:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise broken(path, "does not hold uint8 images (N, C, H, W)", remedy)
    for labels in arrays[1::2]:
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise broken(path, "does not hold int64 labels", remedy)
    return Pool(_checked_title(title, path, remedy), *arrays)


def read_npz_summary(path: Path, remedy: str) -> tuple[str, int, int]:
    """Return title, number of training and number of test images without reading the images.

    Raises:
        DataError: as :func:`read_npz`.
    """
    title, train, test = _arrays(path, ("title", "train_labels", "test_labels"), remedy)
    return _checked_title(title, path, remedy), train.size, test.size


def _arrays(path: Path, names: tuple[str, ...], remedy: str) -> list[NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    # RuntimeError: an encrypted member or an unknown compression; TypeError: a plain .npy file,
    # whose array cannot be used in a with statement.
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        why = f"is truncated or not an image file written by Driftboard ({one_line(error)})"
        raise broken(path, why, remedy) from error


def _checked_title(title: NDArray[Any], path: Path, remedy: str) -> str:
    text = str(title)
    if title.dtype.kind != "U" or title.ndim or len(text) > MAX_TITLE or not text.isprintable():
        raise broken(path, "does not hold a title", remedy)
    return text

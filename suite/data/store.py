"""Stores: all images of one data set, in memory as a pool and on disk as one npz file.

Whatever form a data set comes in, it is converted into a store once; training reads stores only.
"""

import gzip
import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.errors import DataError, refusal_of

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

MAX_TITLE = 200  # what a record holds


@dataclass(frozen=True, eq=False)
class Pool:
    """All images of one data set, from which sequences draw their tasks.

    Images are uint8 in [0, 255], shape (N, C, H, W) with C = 1 (grey) or 3 (RGB); labels are
    int64 in [0, classes), shape (N,). The order is that of the files and never changes.

    >>> images, labels = np.zeros((2, 1, 8, 8), dtype=np.uint8), np.array([0, 1])
    >>> pool = Pool("Two black squares", images, labels, images, labels)
    >>> pool.classes
    2
    >>> pool.fingerprint[:12]
    '6ae449d902a6'
    """

    title: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...] = ()  # in the order of the labels; empty where none are known
    notes: tuple[str, ...] = ()  # lines on how the files were read; not kept in a store

    @property
    def classes(self) -> int:
        """Number of classes; every one has training and test images."""
        return int(self.train_labels.max()) + 1

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of every class: its name up to the first slash, empty where it has none.

        >>> pixel, labels = np.zeros((2, 1, 1, 1), dtype=np.uint8), np.array([0, 1])
        >>> Pool("", pixel, labels, pixel, labels, ("Greek/alpha", "Latin/a")).groups
        ('Greek', 'Latin')
        """
        names = map(self.class_name, range(self.classes))
        return tuple(name.partition("/")[0] if "/" in name else "" for name in names)

    def class_name(self, label: int) -> str:
        """Return the name of a class, its number where no names are known."""
        return self.class_names[label] if self.class_names else str(label)

    @property
    def parts(self) -> tuple[tuple[str, Images, Labels], tuple[str, Images, Labels]]:
        """The word for messages, the images and the labels: of training, then of test."""
        return (
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) over shapes and bytes of the four arrays, not the names."""
        digest = hashlib.sha256()
        for images in (self.train_images, self.test_images):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(images).data)
        for labels in (self.train_labels, self.test_labels):
            digest.update(repr(labels.shape).encode())
            digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
        return digest.hexdigest()


def write_store(path: Path, pool: Pool) -> None:
    """Write ``pool`` to ``path``, whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    with staging(path.parent) as stage:
        np.savez(
            stage / path.name,
            title=np.array(pool.title),
            class_names=np.array(pool.class_names, dtype=str),
            train_images=pool.train_images,
            train_labels=pool.train_labels,
            test_images=pool.test_images,
            test_labels=pool.test_labels,
        )
        (stage / path.name).replace(path)


def read_store(path: Path, remedy: str) -> Pool:
    """Read a pool written by :func:`write_store`; counts and labels are not checked.

    Raises:
        DataError: the file is truncated or not of this format; the message ends in ``remedy``.
    """
    names = ("title", "train_images", "train_labels", "test_images", "test_labels", "class_names")
    title, *arrays, class_names = _arrays(path, names, remedy)
    train_images, train_labels, test_images, test_labels = arrays
    for images in arrays[::2]:
        pixels = images.dtype == np.uint8 and images.ndim == 4 and 0 not in images.shape[2:]
        if not pixels or images.shape[1] not in (1, 3):
            raise DataError(f"{path} does not hold uint8 images (N, C, H, W); {remedy}")
    for labels in arrays[1::2]:
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise DataError(f"{path} does not hold int64 labels; {remedy}")
    if class_names.dtype.kind != "U" or class_names.ndim != 1:
        raise DataError(f"{path} does not hold names of classes; {remedy}")
    return Pool(
        _checked_title(title, path, remedy),
        train_images,
        train_labels,
        test_images,
        test_labels,
        tuple(class_names.tolist()),
    )


def read_store_summary(path: Path, remedy: str) -> tuple[str, int, int, int]:
    """Return title and numbers of classes, of training and of test images, reading no image.

    Raises:
        DataError: as :func:`read_store`.
    """
    title, train, test = _arrays(path, ("title", "train_labels", "test_labels"), remedy)
    classes = np.unique(train).size
    return _checked_title(title, path, remedy), classes, train.size, test.size


def _arrays(path: Path, names: tuple[str, ...], remedy: str) -> list[NDArray[Any]]:
    """Return arrays of a store, an empty one for names of classes, which older stores lack."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # Otherwise the arrays are no larger than the file.
            if any(info.compress_type != zipfile.ZIP_STORED for info in arrays.zip.infolist()):
                raise ValueError("it is compressed")
            absent = {"class_names"} - {*arrays.files}
            return [np.array((), dtype=str) if name in absent else arrays[name] for name in names]
    # RuntimeError: an encrypted member; TypeError: a plain .npy file, whose array cannot be used
    # in a with statement.
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
        raise DataError(
            f"{path} is truncated or not an image file written by Driftboard "
            f"({short_reason(error)}); {remedy}"
        ) from error


def _checked_title(title: NDArray[Any], path: Path, remedy: str) -> str:
    text = str(title)
    if title.dtype.kind != "U" or title.ndim or len(text) > MAX_TITLE or not text.isprintable():
        raise DataError(f"{path} does not hold a title; {remedy}")
    return text


def short_reason(error: BaseException) -> str:
    """Return an error's message as one short line, or its kind if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def find_file(path: Path) -> Path | None:
    """Return ``path`` if it is a file, else ``path`` with .gz if that is one, else None."""
    packed = path.with_name(f"{path.name}.gz")
    return next((candidate for candidate in (path, packed) if candidate.is_file()), None)


def read_unpacked(path: Path, most: int) -> bytes:
    """Return the content of ``path``, unpacked if its name ends in .gz: at most ``most`` bytes.

    Raises:
        DataError: the file cannot be read or unpacked, or holds more.
    """
    try:
        with path.open("rb") as file:
            unpacked = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            content = unpacked.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {short_reason(error)}; replace it with a complete copy"
        ) from error
    if len(content) > most:
        raise DataError(f"{path} holds more than {most} bytes; replace it with the original file")
    return content


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside ``folder`` that is gone afterwards, whatever happens.

    What is complete is moved out of it by ``Path.replace``, so that ``folder`` never shows half
    a file. Any OSError within becomes a DataError that says ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".driftboard-") as stage:
            yield Path(stage)
    except OSError as error:
        raise DataError(f"cannot write in {folder}: {refusal_of(error)}") from error

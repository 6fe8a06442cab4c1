"""Readers: what makes a pool of the files in which a data set is distributed.

torchvision takes seconds to import, so it is imported only where original files are converted.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data.image_folder import leaves_folder, open_image, read_image_folder
from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Images, Pool, find_file, read_unpacked, staging
from driftboard.suite.errors import DataError

DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""Within scikit-learn: a line per image, 64 values 0..16 and the class. It is read without
importing scikit-learn, which takes seconds in every worker process."""
DIGITS_TEST_PER_CLASS = 50

CUB_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
CUB_SIDE = 64


def download(source: Source, folder: Path) -> None:
    """Download a data set's original files into ``folder``, with a progress bar on stderr.

    torchvision compares their MD5 checksums with those of the authors' files.
    """
    from torchvision import datasets

    with redirect_stdout(sys.stderr):  # stdout is for results; torchvision reports failures there
        getattr(datasets, source.torchvision)(folder, download=True)


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
    """Read the four idx files of MNIST or of a data set in its format."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    with _unpacked_copies(source, holder) as copies:
        train_images, train_labels, test_images, test_labels = (
            _read_idx(source, holder, copies / file.name, read)
            for file, read in zip(source.files, (read_image_file, read_label_file) * 2, strict=True)
        )
    return Pool(
        source.title,
        train_images[:, np.newaxis],
        train_labels,
        test_images[:, np.newaxis],
        test_labels,
    )


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
        for file in source.files:
            path = holder / file.name
            (copies / file.name).write_bytes(read_unpacked(find_file(path) or path))
        yield copies


def read_cub200(source: Source, holder: Path) -> Pool:
    """Read CUB-200-2011's photographs, each cut to a square of 64x64 pixels."""
    names, classes, splits = (_read_list(source, holder / name) for name in CUB_LISTS)
    if not names.keys() == classes.keys() == splits.keys():
        raise source.broken(holder, "has lists that do not number the same images")
    if set(splits.values()) - {"0", "1"}:
        raise source.broken(holder / CUB_LISTS[2], "has entries other than 0 and 1")
    train = [key for key in names if splits[key] == "1"]
    test = [key for key in names if splits[key] == "0"]
    expected = (source.train_count, source.test_count)
    if (len(train), len(test)) != expected:  # checked before minutes of decoding
        raise source.broken(
            holder,
            f"has {len(train)} + {len(test)} images instead of {expected[0]} + {expected[1]}",
        )
    numbers = {str(label + 1): label for label in range(source.classes)}
    wrong = next((text for text in classes.values() if text not in numbers), None)
    if wrong is not None:
        raise source.broken(
            holder / CUB_LISTS[1], f"has the class {wrong!r}, which is not in 1..{source.classes}"
        )
    return Pool(
        source.title,
        _read_photographs(source, holder, [names[key] for key in train]),
        np.array([numbers[classes[key]] for key in train], dtype=np.int64),
        _read_photographs(source, holder, [names[key] for key in test]),
        np.array([numbers[classes[key]] for key in test], dtype=np.int64),
    )


def _read_list(source: Source, path: Path) -> dict[str, str]:
    entries: dict[str, str] = {}
    try:
        lines = read_unpacked(find_file(path) or path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise source.broken(path, "is not text") from error
    for line in lines:
        number, _, entry = line.strip().partition(" ")
        if not number.isdecimal() or not entry or number in entries:
            raise source.broken(path, f"has the line {line!r} instead of 'NUMBER ENTRY'")
        entries[number] = entry
    return entries


def _read_photographs(source: Source, holder: Path, names: list[str]) -> Images:
    """Scale each photograph's shorter side to 64 pixels and cut out the middle."""
    from PIL import Image

    pixels = np.empty((len(names), *source.image_shape), dtype=np.uint8)
    for index, name in enumerate(names):
        if leaves_folder(name):
            raise source.broken(holder / CUB_LISTS[0], f"has the path {name!r} outside 'images'")
        path = holder / "images" / name
        photograph = open_image(read_unpacked(path), str(path)).convert("RGB")
        scale = CUB_SIDE / min(photograph.size)
        width, height = (max(CUB_SIDE, round(side * scale)) for side in photograph.size)
        photograph = photograph.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - CUB_SIDE) // 2, (height - CUB_SIDE) // 2
        square = photograph.crop((left, top, left + CUB_SIDE, top + CUB_SIDE))
        pixels[index] = np.asarray(square).transpose(2, 0, 1)
    return pixels


def read_own_images(source: Source, holder: Path) -> Pool:
    """Read a user's image folder."""
    return read_image_folder(holder, source.title)

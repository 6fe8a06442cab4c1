"""A data set: what it must hold, which files its authors distribute, and what reads them.

torchvision takes seconds to import, so it is imported only where original files are converted.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftboard.suite.data.archives import MAX_FILE_BYTES
from driftboard.suite.data.image_folder import (
    folder_image_paths,
    leaves_folder,
    read_image_folder,
)
from driftboard.suite.data.images import open_image
from driftboard.suite.data.store import (
    Images,
    Labels,
    Pool,
    find_file,
    read_unpacked,
    staging,
)
from driftboard.suite.errors import DataError

FOLDER_PREFIX = "folder:"
NAME_THE_FOLDER = "name the folder that has it with --data or DRIFTBOARD_DATA"

DIGITS_FILE = "sklearn/datasets/data/digits.csv.gz"
"""Within scikit-learn: a line per image, 64 values 0..16 and the class. It is read without
importing scikit-learn, which takes seconds in every worker process."""
DIGITS_TEST_PER_CLASS = 50

CUB_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
CUB_SIDE = 64

SPARE_BYTES = 4 * 2**20
"""By how much an original file may exceed twice the least size of a complete one, unpacked."""


@dataclass(frozen=True)
class Source:
    """One data set, as an entry of the catalogue.

    Its store lies in the data folder. Where there is no store, the originals may lie in
    ``subfolder`` of the data folder: the files named in ``files`` or, if it names none, an image
    folder. ``read`` makes a pool of them, which is kept as a store.

    Args:
        name: what commands call it; ``folder:NAME`` for a user's own images.
        title: what records and boards call it.
        origin: its authors and its licence.
        read: reads the original files in the given folder, or what comes with a dependency.
        store: the name of its store; empty if it comes with a dependency and needs none.
        subfolder: the folder of the original files, as their archive unpacks.
        files: the original files, and how many bytes a complete one has at least, unpacked.
        torchvision: the class of ``torchvision.datasets`` that downloads it, if one does.
        takes_images: it can be imported from train/<class>/* and test/<class>/*.
        class_names: the classes such images must have; empty: any.
        image_shape: (channels, height, width); empty where any is right.
        classes: the number of classes, ``train_count`` and ``test_count`` those of images; 0
            where any is right.
    """

    name: str
    title: str
    origin: str
    read: Callable[["Source", Path], Pool]
    store: str = ""
    subfolder: str = ""
    files: Mapping[str, int] = field(default_factory=dict)
    torchvision: str = ""
    takes_images: bool = False
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    classes: int = 0
    train_count: int = 0
    test_count: int = 0

    @property
    def commands(self) -> list[str]:
        """The commands that bring this data set into the data folder, the easiest first."""
        commands = []
        if self.torchvision:
            commands.append(f"driftboard data fetch {self.name}")
        if self.store:
            what = "FILE" if self.takes_images else "FOLDER"
            commands.append(
                f"driftboard data import {self.name.removeprefix(FOLDER_PREFIX)} {what}"
            )
        return commands

    @property
    def remedy(self) -> str:
        """What a user can do when this data set is missing or broken."""
        return ", or ".join([*(f"run '{command}'" for command in self.commands), NAME_THE_FOLDER])

    def broken(self, path: Path, why: str) -> DataError:
        """Return the error that says why ``path`` is not usable and what to do."""
        return DataError(f"{path} {why}; replace it: {self.remedy}")

    def missing_files(self, holder: Path) -> list[str]:
        """Return the names of the files that the folder ``holder`` lacks, packed or unpacked."""
        return [name for name in self.files if find_file(holder / name) is None]

    def has_originals(self, holder: Path) -> bool:
        """Tell whether the folder ``holder`` has the original files, complete or not inside."""
        return not self.missing_files(holder) if self.files else holder.is_dir()

    def original_paths(self, holder: Path) -> list[Path]:
        """Return the original files in the folder ``holder``, in a fixed order."""
        if self.files:
            found = (find_file(holder / name) for name in self.files)
            return [path for path in found if path is not None]
        return list(folder_image_paths(holder).values())

    def check(self, pool: Pool, origin: Path) -> None:
        """Check that ``pool``, read from ``origin``, has the size and classes of this data set.

        Raises:
            DataError: with the first difference found.
        """
        counts = (self.train_count, self.test_count)
        for (part, images, labels), count in zip(pool.parts, counts, strict=True):
            fault = self._fault(part, images, labels, count) if self.classes else None
            if fault is None and not _belong_together(images, labels, pool):
                fault = f"has {part} images and labels that do not belong together"
            if fault is not None:
                raise self.broken(origin, fault)
        if pool.class_names and len(pool.class_names) != pool.classes:
            names = f"has names of {len(pool.class_names)} classes instead of {pool.classes}"
            raise self.broken(origin, names)

    def _fault(self, part: str, images: Images, labels: Labels, count: int) -> str | None:
        if len(images) != count:
            return f"has {len(images)} {part} images instead of {count}"
        if len(labels) != count:
            return f"has {len(labels)} {part} labels instead of {count}"
        if images.shape[1:] != self.image_shape:
            return (
                f"has {part} images of shape {images.shape[1:]} (channels, height, width) "
                f"instead of {self.image_shape}"
            )
        found = np.unique(labels)
        extreme = found[0] if found[0] < 0 else found[-1]
        if not 0 <= extreme < self.classes:
            return f"has the {part} label {extreme}, which is not in 0..{self.classes - 1}"
        if len(found) != self.classes:
            absent = min(set(range(self.classes)) - set(found.tolist()))
            return f"has no {part} images of class {absent}"
        return None


def _belong_together(images: Images, labels: Labels, pool: Pool) -> bool:
    """Tell whether every image has a label, and labels and shapes are the same in both parts."""
    found = np.unique(labels)
    whole = len(images) == len(labels) > 0 and images.shape[1:] == pool.train_images.shape[1:]
    # Sorted and different, so these are 0, 1, ... without a gap if first and last are right.
    return whole and found[0] == 0 and bool(found[-1] == len(found) - 1 == pool.classes - 1)


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
            _read_idx(source, holder, copies / name, read)
            for name, read in zip(source.files, (read_image_file, read_label_file) * 2, strict=True)
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
        for name in source.files:
            (copies / name).write_bytes(_read_file(source, holder / name))
        yield copies


def _read_file(source: Source, path: Path) -> bytes:
    """Return the content of an original file, packed or not."""
    most = 2 * source.files[path.name] + SPARE_BYTES
    return read_unpacked(find_file(path) or path, most)


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
        lines = _read_file(source, path).decode("utf-8").splitlines()
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
        photograph = open_image(read_unpacked(path, MAX_FILE_BYTES), str(path)).convert("RGB")
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

"""The data sets: where each lies on disk, how it is read and checked, and what it is called.

Every data set becomes a :class:`Pool` of uint8 images. What is read from disk is treated as
untrusted: pickles are read without running anything of theirs, archives without pickles, and
counts, shapes and labels are checked before a pool leaves this module. Importing this module
imports neither torch nor torchvision.
"""

import difflib
import gzip
import hashlib
import io
import math
import os
import pickle
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import platformdirs
from numpy.typing import NDArray

from driftboard.suite.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

FOLDER_PREFIX = "folder:"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
CUB_SIDE = 64
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


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, with what a complete one weighs at least, unpacked."""

    name: str
    split: Literal["train", "test"]
    bytes_per_image: float


@dataclass(frozen=True)
class Source:
    """One data set that Driftboard knows by name.

    ``files`` lie in ``subfolder`` of the data folder. ``npz`` is a single file in the data
    folder that can take their place: a cache of what was decoded, read first, where
    ``npz_is_cache``; otherwise another variant of the data, read if the files are not there.
    A data set without ``files`` comes with a dependency and is always there.
    """

    name: str
    title: str
    description: str
    layout: str
    origin: str
    image_shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    train_count: int
    test_count: int
    read_files: "Callable[[Source, Path], Pool]"  # the Path is the folder that holds ``files``
    fetch: Callable[[Path], None] | None = None  # downloads into the given data folder
    subfolder: str = ""
    files: tuple[DataFile, ...] = ()
    npz: str | None = None
    npz_is_cache: bool = False
    image_folder: bool = False  # importable from train/<class>/*, test/<class>/*
    class_names: tuple[str, ...] = ()  # which an imported image folder must have

    @property
    def commands(self) -> list[str]:
        """The commands that bring this data set into the data folder, the easiest first."""
        commands = []
        if self.fetch is not None:
            commands.append(f"driftboard data fetch {self.name}")
        if self.files:
            what = "FILE" if self.image_folder else "FOLDER"
            commands.append(f"driftboard data import {self.name} {what}")
        return commands

    @property
    def remedy(self) -> str:
        """What a user can do when this data set is missing or broken."""
        ways = [f"run '{command}'" for command in self.commands]
        return ", or ".join([*ways, "name the folder that has it with --data or DRIFTBOARD_DATA"])

    def least_bytes(self, file: DataFile) -> int:
        """Return the bytes that ``file`` has at least when complete and unpacked."""
        count = self.train_count if file.split == "train" else self.test_count
        return int(file.bytes_per_image * count)

    def missing_files(self, holder: Path) -> list[str]:
        """Return the names of the files that the folder ``holder`` lacks, packed or unpacked."""
        return [file.name for file in self.files if present_file(holder / file.name) is None]

    def npz_in_use(self, folder: Path) -> Path | None:
        """Return the npz file in the data folder if :meth:`load` would read that."""
        if self.npz is None or not (folder / self.npz).is_file():
            return None
        if self.npz_is_cache or self.missing_files(folder / self.subfolder):
            return folder / self.npz
        return None

    def load(self, folder: Path) -> Pool:
        """Read the data set from the data folder ``folder`` and check it.

        Raises:
            DataError: it is missing, truncated, of another format, or counts, shapes or labels
                are not those of this data set.
        """
        npz = self.npz_in_use(folder)
        if npz is not None:
            pool = read_npz(npz, self.remedy)
            self.check(pool, npz)
            return pool
        holder = folder / self.subfolder
        missing = self.missing_files(holder)
        if missing:
            raise DataError(
                f"{self.title} is not in {folder}: {holder / missing[0]} is missing; {self.remedy}"
            )
        pool = self.load_files(holder)
        if self.npz is not None and self.npz_is_cache:
            # The data folder may be read-only; then the files are decoded every time.
            with suppress(DataError):
                write_npz(folder / self.npz, pool)
        return pool

    def load_files(self, holder: Path) -> Pool:
        """Read the data set from its original files in the folder ``holder`` and check it.

        Raises:
            DataError: as :meth:`load`.
        """
        pool = self.read_files(self, holder)
        self.check(pool, holder)
        return pool

    def check(self, pool: Pool, origin: Path) -> None:
        """Check that ``pool``, read from ``origin``, has the size and classes of this data set.

        Raises:
            DataError: with the first difference found.
        """
        parts = (
            ("training", pool.train_images, pool.train_labels, self.train_count),
            ("test", pool.test_images, pool.test_labels, self.test_count),
        )
        for part, images, labels, count in parts:
            if len(images) != count:
                raise self.broken(origin, f"has {len(images)} {part} images instead of {count}")
            if len(labels) != count:
                raise self.broken(origin, f"has {len(labels)} {part} labels instead of {count}")
            if images.shape[1:] != self.image_shape:
                raise self.broken(
                    origin,
                    f"has {part} images of shape {images.shape[1:]} (channels, height, width) "
                    f"instead of {self.image_shape}",
                )
            found = np.unique(labels)
            if found[0] < 0 or found[-1] >= self.classes:
                wrong = found[0] if found[0] < 0 else found[-1]
                raise self.broken(
                    origin, f"has the {part} label {wrong}, which is not in 0..{self.classes - 1}"
                )
            if len(found) != self.classes:
                absent = min(set(range(self.classes)) - set(found.tolist()))
                raise self.broken(origin, f"has no {part} images of class {absent}")

    def broken(self, path: Path, why: str) -> DataError:
        """Return the error that says why ``path`` is not usable and what to do."""
        return DataError(f"{path} {why}; replace it: {self.remedy}")


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
        return _load_own_images(name.removeprefix(FOLDER_PREFIX), folder)
    return find_source(name).load(folder)


def check_own_name(name: str) -> None:
    """Check the name of a user's own images.

    Raises:
        DataError: it is not a plain lower-case name.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        raise DataError(
            f"{name!r} cannot name a data set; use up to 64 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )


def _load_own_images(name: str, folder: Path) -> Pool:
    check_own_name(name)
    remedy = (
        f"run 'driftboard data import {name} FILE', or name the folder that has it with --data "
        "or DRIFTBOARD_DATA"
    )
    npz = folder / f"{name}.npz"
    if npz.is_file():
        pool = read_npz(npz, remedy)
        _check_own(pool, npz)
        return pool
    tree = folder / name
    if not tree.is_dir():
        raise DataError(
            f"{FOLDER_PREFIX}{name}: neither {npz} nor the folder {tree} is there; {remedy}"
        )
    return read_image_tree(folder_images(tree), name, tree)


def _check_own(pool: Pool, origin: Path) -> None:
    for part, images, labels in (
        ("training", pool.train_images, pool.train_labels),
        ("test", pool.test_images, pool.test_labels),
    ):
        found = np.unique(labels)
        whole = len(images) == len(labels) > 0 and images.shape[1:] == pool.train_images.shape[1:]
        # Sorted and different, so these are 0, 1, ... without a gap if first and last are right.
        if not whole or found[0] != 0 or not found[-1] == len(found) - 1 == pool.classes - 1:
            raise DataError(
                f"{origin} has {part} images and labels that do not belong together; import the "
                "images again with 'driftboard data import'"
            )


# One file that holds a pool.


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
    title, train_images, train_labels, test_images, test_labels = _npz_arrays(path, names, remedy)
    for images in (train_images, test_images):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DataError(f"{path} does not hold uint8 images (N, C, H, W); replace it: {remedy}")
    for labels in (train_labels, test_labels):
        if labels.dtype != np.int64 or labels.ndim != 1:
            raise DataError(f"{path} does not hold int64 labels; replace it: {remedy}")
    return Pool(
        _npz_title(title, path, remedy), train_images, train_labels, test_images, test_labels
    )


def read_npz_summary(path: Path, remedy: str) -> tuple[str, int, int]:
    """Return title, number of training and number of test images without reading the images.

    Raises:
        DataError: as :func:`read_npz`.
    """
    title, train, test = _npz_arrays(path, ("title", "train_labels", "test_labels"), remedy)
    return _npz_title(title, path, remedy), train.size, test.size


def _npz_arrays(path: Path, names: tuple[str, ...], remedy: str) -> list[NDArray[Any]]:
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
        raise DataError(
            f"{path} is truncated or not an image file written by Driftboard "
            f"({one_line(error)}); replace it: {remedy}"
        ) from error


def _npz_title(title: NDArray[Any], path: Path, remedy: str) -> str:
    text = str(title)
    if title.dtype.kind != "U" or title.ndim or len(text) > MAX_TITLE or not text.isprintable():
        raise DataError(f"{path} does not hold a title; replace it: {remedy}")
    return text


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
        raise DataError(
            f"cannot write in {folder}: {error.strerror or error}; free some space, or choose a "
            "folder you can write to with --data or DRIFTBOARD_DATA"
        ) from error


def one_line(error: BaseException) -> str:
    """Return an error's message as one short line, or its kind if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


# Files that may be packed.


def present_file(path: Path) -> Path | None:
    """Return ``path`` if it is a file, else ``path`` with .gz if that is one, else None."""
    packed = path.with_name(f"{path.name}.gz")
    return next((candidate for candidate in (path, packed) if candidate.is_file()), None)


def read_unpacked(path: Path) -> bytes:
    """Return the content of ``path``, unpacked if its name ends in .gz.

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {one_line(error)}; replace it with a complete copy"
        ) from error


def _existing(path: Path) -> Path:
    return present_file(path) or path


# MNIST and Fashion-MNIST: idx files.

IDX_IMAGES = 2051  # magic numbers: unsigned bytes in three dimensions, and in one
IDX_LABELS = 2049


def _idx_files(image_bytes: int) -> tuple[DataFile, ...]:
    return (
        DataFile("train-images-idx3-ubyte", "train", image_bytes),
        DataFile("train-labels-idx1-ubyte", "train", 1),
        DataFile("t10k-images-idx3-ubyte", "test", image_bytes),
        DataFile("t10k-labels-idx1-ubyte", "test", 1),
    )


def _read_idx_files(source: Source, holder: Path) -> Pool:
    train_images, train_labels, test_images, test_labels = (
        _read_idx(source, _existing(holder / file.name), magic)
        for file, magic in zip(source.files, (IDX_IMAGES, IDX_LABELS) * 2, strict=True)
    )
    return Pool(
        source.title,
        train_images[:, np.newaxis],
        train_labels.astype(np.int64),
        test_images[:, np.newaxis],
        test_labels.astype(np.int64),
    )


def _read_idx(source: Source, path: Path, magic: int) -> Images:
    content = read_unpacked(path)
    dimensions = magic % 256
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise source.broken(path, f"is truncated: {len(content)} bytes")
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise source.broken(path, f"is not an idx file: magic number {found} instead of {magic}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = header + math.prod(shape)
    if len(content) != size:
        raise source.broken(
            path, f"is truncated or damaged: {len(content)} bytes instead of {size}"
        )
    # A copy, because arrays that look into bytes are read-only, which torch warns about.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


# CIFAR-10 and CIFAR-100: pickles of Python 2.


class _PickledType:
    """Stands in for numpy.dtype while a pickle is read."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, _: object) -> None:
        """Byte order means nothing for the only type taken, single bytes."""


class _PickledArray:
    """Stands in for numpy.ndarray, which trusts what a pickle tells it."""

    values: Images

    def __setstate__(
        self, state: tuple[int, tuple[int, ...], _PickledType, bool, bytes | str]
    ) -> None:
        _, shape, kind, is_fortran, raw = state
        if kind.code != "u1":
            raise pickle.UnpicklingError(f"an array of type {kind.code!r} instead of bytes")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(content, np.uint8)
        self.values = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(*_: object) -> _PickledArray:
    return _PickledArray()


def _encode(text: str, _: str) -> bytes:
    """Stand in for _codecs.encode, by which Python 3 keeps bytes in pickles of protocol 2."""
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
}


class _BatchUnpickler(pickle.Unpickler):
    """Reads containers, numbers, strings and arrays of bytes, and runs nothing of the file's."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name of the pickle; refuse every other name."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module!r} {name!r}")
        return _STAND_INS[module, name]


def _read_cifar10(source: Source, holder: Path) -> Pool:
    batches = [_read_batch(source, holder / file.name, "labels") for file in source.files]
    train = batches[:-1]
    test_images, test_labels = batches[-1]
    return Pool(
        source.title,
        np.concatenate([images for images, _ in train]),
        np.concatenate([labels for _, labels in train]),
        test_images,
        test_labels,
    )


def _read_cifar100(source: Source, holder: Path) -> Pool:
    train, test = (_read_batch(source, holder / file.name, "fine_labels") for file in source.files)
    return Pool(source.title, *train, *test)


def _read_batch(source: Source, path: Path, label_key: str) -> tuple[Images, Labels]:
    path = _existing(path)
    content = read_unpacked(path)
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="latin1").load()
    # What pickle documents it may raise on damaged input, and what the stand-ins do.
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:
        raise source.broken(
            path, f"is truncated or not a plain CIFAR pickle ({one_line(error)})"
        ) from error
    if not isinstance(batch, dict):
        raise source.broken(path, "is not a CIFAR batch: it holds no dictionary")
    data, labels = batch.get("data"), batch.get(label_key)
    values = getattr(data, "values", None) if isinstance(data, _PickledArray) else None
    if values is None or not isinstance(labels, list):
        raise source.broken(path, f"is not a CIFAR batch: 'data' or {label_key!r} is missing")
    if values.ndim != 2 or values.shape[1] != 3 * 32 * 32:
        raise source.broken(path, f"has data of shape {values.shape} instead of (N, 3072)")
    if len(labels) != len(values) or not all(type(label) is int for label in labels):
        raise source.broken(path, f"does not have one whole number in {label_key!r} per image")
    # Checked here, because a pickle's numbers may be too large for the array below.
    if any(not 0 <= label < source.classes for label in labels):
        raise source.broken(path, f"has labels that are not in 0..{source.classes - 1}")
    return values.reshape(-1, 3, 32, 32).copy(), np.array(labels, dtype=np.int64)


# CUB-200-2011: photographs and lists.


def _read_cub200(source: Source, holder: Path) -> Pool:
    names = _read_list(source, holder / "images.txt")
    classes = _read_list(source, holder / "image_class_labels.txt")
    splits = _read_list(source, holder / "train_test_split.txt")
    if not names.keys() == classes.keys() == splits.keys():
        raise source.broken(holder, "has lists that do not number the same images")
    if set(splits.values()) - {"0", "1"}:
        raise source.broken(holder / "train_test_split.txt", "has entries other than 0 and 1")
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
            holder / "image_class_labels.txt",
            f"has the class {wrong!r}, which is not in 1..{source.classes}",
        )
    labels = {key: numbers[text] for key, text in classes.items()}
    return Pool(
        source.title,
        _read_photographs(source, holder, [names[key] for key in train]),
        np.array([labels[key] for key in train], dtype=np.int64),
        _read_photographs(source, holder, [names[key] for key in test]),
        np.array([labels[key] for key in test], dtype=np.int64),
    )


def _read_list(source: Source, path: Path) -> dict[str, str]:
    entries: dict[str, str] = {}
    try:
        lines = read_unpacked(_existing(path)).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise source.broken(path, "is not text") from error
    for line in lines:
        number, _, entry = line.strip().partition(" ")
        if not number.isdecimal() or not entry or number in entries:
            raise source.broken(path, f"has the line {line!r} instead of 'NUMBER ENTRY'")
        entries[number] = entry
    return entries


def _read_photographs(source: Source, holder: Path, names: list[str]) -> Images:
    from PIL import Image

    pixels = np.empty((len(names), *source.image_shape), dtype=np.uint8)
    for index, name in enumerate(names):
        if _leaves_folder(name):
            raise source.broken(holder / "images.txt", f"has the path {name!r} outside 'images'")
        path = holder / "images" / name
        photograph = open_image(read_unpacked(path), str(path)).convert("RGB")
        scale = CUB_SIDE / min(photograph.size)
        width, height = (max(CUB_SIDE, round(side * scale)) for side in photograph.size)
        photograph = photograph.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - CUB_SIDE) // 2, (height - CUB_SIDE) // 2
        square = photograph.crop((left, top, left + CUB_SIDE, top + CUB_SIDE))
        pixels[index] = np.asarray(square).transpose(2, 0, 1)
    return pixels


# Image folders: train/<class>/<image>, test/<class>/<image>.


@dataclass(frozen=True)
class _Place:
    """Where an image stands in an image folder; sorts by class, then by file name."""

    root: str  # a top-level folder around train and test, or ""
    split: str
    class_name: str
    file_name: str


def is_image_name(name: str) -> bool:
    """Tell whether a file is looked at: an image by its suffix, and not hidden."""
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def folder_image_paths(root: Path) -> dict[str, Path]:
    """Return the image files in ``root``, by names such as train/cat/1.png, in sorted order.

    They lie below train and test in ``root`` or in one folder inside it. Images one level too
    high or too low are listed as well, for :func:`read_image_tree` to complain about.
    """
    found = {}
    for top in ("", "*/"):
        for split in ("train", "test"):
            for below in ("*", "*/*", "*/*/*"):
                for path in root.glob(f"{top}{split}/{below}"):
                    name = path.relative_to(root).as_posix()
                    if is_image_name(name) and path.is_file():
                        found[name] = path
    return dict(sorted(found.items()))


def folder_images(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the image files in ``root``; see :func:`folder_image_paths`."""
    for name, path in folder_image_paths(root).items():
        yield name, read_unpacked(path)


def read_image_tree(
    images: Iterable[tuple[str, bytes]],
    title: str,
    origin: Path,
    class_names: tuple[str, ...] = (),
) -> Pool:
    """Make a pool of image files, ordered by class and file name whatever order they come in.

    Args:
        images: pairs of name and content. Names are train/<class>/<file> or
            test/<class>/<file>, perhaps all below one more folder; images elsewhere are passed
            over.
        title: the title of the data; the format of the files is added, as in "flowers (PNG)".
        origin: where the images come from, for messages.
        class_names: the classes there must be, in sorted order; none: any.

    The images are grey only if all are; otherwise all become RGB.

    Raises:
        DataError: a file is no image or out of place, sizes differ, or the classes of train
            and test are not the same.
    """
    decoded: dict[_Place, NDArray[np.uint8]] = {}
    formats = set()
    for name, content in images:
        place = _place(name, origin)
        if place is None:
            continue
        if place in decoded:
            raise DataError(f"{origin} has {name!r} twice; remove one and import it again")
        image = open_image(content, f"{name!r} in {origin}")
        formats.add(image.format or "unknown")
        decoded[place] = _image_pixels(image, name, origin)
    classes = _common_classes(decoded, origin, class_names)
    ordered = sorted(
        decoded, key=lambda place: (place.split != "train", place.class_name, place.file_name)
    )
    stacked = _stack_pixels(ordered, decoded, origin)
    labels = np.array([classes.index(place.class_name) for place in ordered], dtype=np.int64)
    trained = sum(place.split == "train" for place in ordered)
    return Pool(
        f"{title} ({', '.join(sorted(formats))})",
        stacked[:trained],
        labels[:trained],
        stacked[trained:],
        labels[trained:],
    )


def _leaves_folder(name: str) -> bool:
    return name.startswith("/") or ".." in PurePosixPath(name).parts


def _place(name: str, origin: Path) -> _Place | None:
    if _leaves_folder(name):
        raise DataError(
            f"{origin} has the path {name!r}, which leads out of it; do not trust this file"
        )
    parts = PurePosixPath(name).parts
    depth = next((i for i, part in enumerate(parts[:2]) if part in ("train", "test")), None)
    if depth is None:
        return None
    if len(parts) != depth + 3:
        raise DataError(
            f"{origin} has {name!r} where train/<class>/<image> or test/<class>/<image> is "
            "expected; move or remove that file"
        )
    return _Place("/".join(parts[:depth]), *parts[depth:])


def open_image(content: bytes, where: str) -> "Image.Image":
    """Decode the bytes of one image file.

    Raises:
        DataError: it is no image, truncated, or too large to be safe; the message begins with
            ``where``.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        # Pillow names the in-memory file in its own message; of no use to the reader.
        raise DataError(
            f"{where} cannot be decoded as an image; replace it with a complete copy"
        ) from error
    return image


def _image_pixels(image: "Image.Image", name: str, origin: Path) -> NDArray[np.uint8]:
    """Return (H, W) of a grey image, (H, W, 3) of any other."""
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{origin} has {name!r} with more than 8 bits per pixel; convert it to 8 bits"
        )
    grey = image.mode in ("1", "L", "LA")
    return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)


def _common_classes(
    places: Iterable[_Place], origin: Path, class_names: tuple[str, ...]
) -> list[str]:
    classes: dict[str, set[str]] = {"train": set(), "test": set()}
    roots = set()
    for place in places:
        classes[place.split].add(place.class_name)
        roots.add(place.root)
    for split, names in classes.items():
        if not names:
            raise DataError(f"{origin} has no images in {split}/<class>/; add them")
    if len(roots) > 1:
        raise DataError(
            f"{origin} has train and test in more than one folder: "
            f"{', '.join(repr(root or '.') for root in sorted(roots))}; keep one"
        )
    odd = sorted(classes["train"] ^ classes["test"])
    if odd:
        split = "train" if odd[0] in classes["train"] else "test"
        raise DataError(
            f"{origin} has the class {odd[0]!r} in {split} only; train and test need the same "
            "classes"
        )
    found = sorted(classes["train"])
    if class_names and tuple(found) != class_names:
        raise DataError(
            f"{origin} has the classes {', '.join(found[:20])!r} instead of "
            f"{', '.join(class_names)!r}; rename its folders"
        )
    return found


def _stack_pixels(
    ordered: list[_Place], decoded: dict[_Place, NDArray[np.uint8]], origin: Path
) -> Images:
    height, width = decoded[ordered[0]].shape[:2]
    for place in ordered:
        other = decoded[place].shape[:2]
        if other != (height, width):
            odd = f"{place.split}/{place.class_name}/{place.file_name}"
            raise DataError(
                f"{origin} has images of different sizes: {odd!r} is {other[1]}x{other[0]}, "
                f"the first image {width}x{height}; bring all to one size"
            )
    channels = 3 if any(pixels.ndim == 3 for pixels in decoded.values()) else 1
    stacked = np.empty((len(ordered), channels, height, width), dtype=np.uint8)
    for index, place in enumerate(ordered):
        pixels = decoded[place]
        # A grey image fills all channels by broadcasting.
        stacked[index] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    return stacked


# Digits: a part of scikit-learn.

DIGITS_TEST_PER_CLASS = 50


def _read_digits(source: Source, _: Path) -> Pool:
    """Read scikit-learn's digits; the last 50 of each class in file order are the test set.

    Their values 0..16 are multiplied by 15, so that the brightest pixel is 240 and every value
    stays a whole number below 255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    tested = np.zeros(len(labels), dtype=bool)
    for label in range(source.classes):
        tested[np.flatnonzero(labels == label)[-DIGITS_TEST_PER_CLASS:]] = True
    return Pool(source.title, images[~tested], labels[~tested], images[tested], labels[tested])


# Downloads; torchvision is imported only here.


def _fetch_fashion_mnist(folder: Path) -> None:
    from torchvision.datasets import FashionMNIST

    FashionMNIST(folder, download=True)


def _fetch_mnist(folder: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(folder, download=True)


def _fetch_cifar10(folder: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(folder, download=True)


def _fetch_cifar100(folder: Path) -> None:
    from torchvision.datasets import CIFAR100

    CIFAR100(folder, download=True)


_IDX_LAYOUT = (
    "{}/raw/train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and "
    "t10k-labels-idx1-ubyte, unpacked or .gz"
)
_CIFAR_PIXELS = 3 * 32 * 32

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="digits",
            title="Digits",
            description="handwritten digits, 8x8 grey, 10 classes",
            layout="nothing on disk: comes with scikit-learn",
            origin="scikit-learn's copy of UCI's Optical Recognition of Handwritten Digits (test "
            "part), CC BY 4.0",
            image_shape=(1, 8, 8),
            classes=10,
            train_count=1297,
            test_count=500,
            read_files=_read_digits,
        ),
        Source(
            name="fashion-mnist",
            title="Fashion-MNIST",
            description="articles of clothing, 28x28 grey, 10 classes",
            layout=_IDX_LAYOUT.format("FashionMNIST"),
            origin="Zalando Research, MIT licence",
            image_shape=(1, 28, 28),
            classes=10,
            train_count=60_000,
            test_count=10_000,
            read_files=_read_idx_files,
            fetch=_fetch_fashion_mnist,
            subfolder="FashionMNIST/raw",
            files=_idx_files(28 * 28),
        ),
        Source(
            name="mnist",
            title="MNIST",
            description="handwritten digits, 28x28 grey, 10 classes",
            layout=_IDX_LAYOUT.format("MNIST"),
            origin="LeCun, Cortes and Burges, after NIST's special databases; no licence stated",
            image_shape=(1, 28, 28),
            classes=10,
            train_count=60_000,
            test_count=10_000,
            read_files=_read_idx_files,
            fetch=_fetch_mnist,
            subfolder="MNIST/raw",
            files=_idx_files(28 * 28),
        ),
        Source(
            name="cifar10",
            title="CIFAR-10",
            description="small photographs, 32x32 colour, 10 classes",
            layout="cifar-10-batches-py/data_batch_1 ... data_batch_5 and test_batch; without "
            "them cifar10.npz, written by 'driftboard data import cifar10 FILE' from an image "
            "folder, which is another variant: CIFAR-10 (JPEG), CIFAR-10 (PNG)",
            origin="Krizhevsky, University of Toronto; no licence stated",
            image_shape=(3, 32, 32),
            classes=10,
            train_count=50_000,
            test_count=10_000,
            read_files=_read_cifar10,
            fetch=_fetch_cifar10,
            subfolder="cifar-10-batches-py",
            files=(
                *(DataFile(f"data_batch_{i}", "train", _CIFAR_PIXELS / 5) for i in range(1, 6)),
                DataFile("test_batch", "test", _CIFAR_PIXELS),
            ),
            npz="cifar10.npz",
            image_folder=True,
            # In the order of their labels, which is that of the alphabet.
            class_names=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
        ),
        Source(
            name="cifar100",
            title="CIFAR-100",
            description="small photographs, 32x32 colour, 100 classes (fine labels)",
            layout="cifar-100-python/train and test",
            origin="Krizhevsky, University of Toronto; no licence stated",
            image_shape=(3, 32, 32),
            classes=100,
            train_count=50_000,
            test_count=10_000,
            read_files=_read_cifar100,
            fetch=_fetch_cifar100,
            subfolder="cifar-100-python",
            files=(
                DataFile("train", "train", _CIFAR_PIXELS),
                DataFile("test", "test", _CIFAR_PIXELS),
            ),
        ),
        Source(
            name="cub200",
            title="CUB-200-2011 (64x64)",
            description="photographs of birds, cut to 64x64 colour, 200 classes",
            layout="CUB_200_2011/images.txt, image_class_labels.txt, train_test_split.txt and "
            "images/<class>/*.jpg; decoded once into cub200-64.npz, which is enough by itself",
            origin="Wah and others, California Institute of Technology; for research, not "
            "commercial use",
            image_shape=(3, CUB_SIDE, CUB_SIDE),
            classes=200,
            train_count=5_994,
            test_count=5_794,
            read_files=_read_cub200,
            subfolder="CUB_200_2011",
            files=(
                DataFile("images.txt", "train", 1),
                DataFile("image_class_labels.txt", "train", 1),
                DataFile("train_test_split.txt", "train", 1),
            ),
            npz="cub200-64.npz",
            npz_is_cache=True,
        ),
    )
}

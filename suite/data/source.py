"""Sources: a data set that Driftboard knows by name, where it lies and what it must hold."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from driftboard.suite.data.files import broken, present_file, remedy
from driftboard.suite.data.pool import Images, Labels, Pool, read_npz, write_npz
from driftboard.suite.errors import DataError


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
        return remedy(self.commands)

    def broken(self, path: Path, why: str) -> DataError:
        """Return the error that says why ``path`` is not usable and what to do."""
        return broken(path, why, self.remedy)

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
        counts = (self.train_count, self.test_count)
        for (part, images, labels), count in zip(pool.parts, counts, strict=True):
            fault = self._fault(part, images, labels, count)
            if fault is not None:
                raise self.broken(origin, fault)

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

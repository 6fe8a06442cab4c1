"""A data set: what it must hold, and which files its authors distribute.

What reads these files stands in ``readers``. torchvision takes seconds to import, so it is imported
only where something is downloaded.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from driftboard.suite.data.image_folder import folder_image_paths
from driftboard.suite.data.store import Images, Labels, Pool, find_file, read_unpacked
from driftboard.suite.errors import DataError

FOLDER_PREFIX = "folder:"
NAME_THE_FOLDER = "name the folder that has it with --data or DRIFTBOARD_DATA"

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
        takes_archive: ``read`` also takes an archive of the folder with the original files.
        digests: the MD5 checksum of each original file, unpacked, where data with others can be
            read, but are not called the same.
        variants: what is said in the title of files with such other checksums that are known.
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
    takes_archive: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
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
            what = "FILE" if self.takes_images or self.takes_archive else "FOLDER"
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

    def content(self, holder: Path, name: str) -> bytes:
        """Return the content of an original file in the folder ``holder``, packed there or not.

        Raises:
            DataError: it cannot be read, or holds more than an original file can.
        """
        path = holder / name
        return read_unpacked(find_file(path) or path, 2 * self.files[name] + SPARE_BYTES)

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
        if self.image_shape and images.shape[1:] != self.image_shape:
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

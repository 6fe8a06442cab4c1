"""The files of a folder, a tar or a zip: their names, their sizes, and their bounded contents.

What is hidden, or put beside the files by an operating system, is left out.
"""

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from driftboard.suite.data.store import read_unpacked, short_reason
from driftboard.suite.errors import DataError

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_FILE_BYTES = 64 * 2**20  # of one file in a folder or an archive, unpacked
MAX_HEADER_BYTES = 2**20  # of a tar, where each says of a file what it is called and the like
MAX_MEMBERS = 1_000_000  # of a tar: packed, their headers take no room

LITTER = frozenset(
    {
        *("__macosx", "@eadir", "$recycle.bin", "system volume information"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
    }
)
"""Files and folders, in lower case, that operating systems put beside those of the user."""


@dataclass(frozen=True)
class Member:
    """A file of a folder or an archive, not yet read."""

    name: str
    size: int
    is_regular: bool  # neither a link nor a special file
    read: Callable[[], bytes]


@contextmanager
def members_at(path: Path) -> Iterator[list[Member]]:
    """Yield the files of the folder or archive ``path``, which can be read inside the context.

    They stand in the order of the archive: going back in a packed one means unpacking it anew.

    Raises:
        DataError: it is neither, or damaged; the latter also while its files are read.
    """
    packed = not path.is_dir()
    if packed and not path.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise DataError(
            f"{path} is neither a folder nor an archive; expected {', '.join(ARCHIVE_SUFFIXES)}"
        )
    try:
        if not packed:
            yield [_of_folder(name, file) for name, file in files_below(path).items()]
        elif path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as zip_file:
                yield [*_of_zip(zip_file)]
        else:
            with _unpacked(path) as content, tarfile.open(fileobj=content, mode="r:") as tar_file:
                members = [*_of_tar(tar_file, path)]
                content.most = MAX_FILE_BYTES
                yield members
    # RuntimeError: an encrypted member; NotImplementedError, of it: an unknown compression.
    except (
        OSError,
        EOFError,
        RuntimeError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"cannot read the {'archive' if packed else 'folder'} {path}: {short_reason(error)}; "
            "replace it with a complete copy"
        ) from error


def files_below(root: Path) -> dict[str, Path]:
    """Return what is in the folder ``root``, folders apart, by names such as train/cat/1.png.

    Links are followed, but not in a circle.

    Raises:
        OSError: a folder cannot be read.
    """
    return {path.relative_to(root).as_posix(): path for path in _walk(root, ())}


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in sorted(folder.iterdir()):
        if is_litter(path.name):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, here))
        else:
            yield path


def is_litter(name: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden or of an operating system.

    >>> is_litter("train/.thumbs/1.png"), is_litter("__MACOSX/train/a/1.png"), is_litter("../1")
    (True, True, False)
    """
    return any(
        (part.startswith(".") and part != "..") or part.casefold() in LITTER
        for part in PurePosixPath(name).parts
    )


def leaves_folder(name: str) -> bool:
    """Tell whether a name inside a folder or an archive leads out of it."""
    return name.startswith("/") or ".." in PurePosixPath(name).parts


def check_member(member: Member, origin: Path) -> None:
    """Check that a file of ``origin`` that is going to be read is one, of sound size and place.

    Raises:
        DataError: it is a link or a special file, too large, or has a name that leads elsewhere.
    """
    name = member.name
    if not member.is_regular:
        raise DataError(
            f"{origin} has {name!r} as a link or special file instead of a plain file; put the "
            "file itself there"
        )
    if member.size > MAX_FILE_BYTES:
        raise DataError(
            f"{origin} has {name!r} of {member.size} bytes; a file in it may have {MAX_FILE_BYTES}"
        )
    if leaves_folder(name):
        raise DataError(
            f"{origin} has the path {name!r}, which leads out of it; do not trust this file"
        )


def _of_folder(name: str, path: Path) -> Member:
    regular = path.is_file()
    size = path.stat().st_size if regular else 0
    return Member(name, size, regular, partial(read_unpacked, path, MAX_FILE_BYTES))


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if not info.is_dir() and not is_litter(info.filename):
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where made without Unix modes
            is_regular = kind in (0, stat.S_IFREG)
            yield Member(
                info.filename, info.file_size, is_regular, partial(_read_zip, archive, info)
            )


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # Of the others zipfile cannot unpack a part: a member may hold more than its header says.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{info.filename!r} is neither stored nor deflated")
    with archive.open(info) as file:
        return file.read(info.file_size + 1)


def _of_tar(archive: tarfile.TarFile, path: Path) -> Iterator[Member]:
    for number, info in enumerate(archive):
        if number == MAX_MEMBERS:
            raise DataError(f"{path} has more than {MAX_MEMBERS:,} members; pack fewer")
        if not info.isdir() and not is_litter(info.name):
            yield Member(info.name, info.size, info.isreg(), partial(_read_tar, archive, info))


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(info)
    assert content is not None  # as for every regular file
    return content.read()


class _Bounded(io.BufferedReader):
    """Reads no more than ``most`` bytes at a time: tarfile reads headers and files whole."""

    most = MAX_HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self.most:
            raise tarfile.ReadError(f"a header or a file of more than {self.most} bytes")
        return super().read(size)


@contextmanager
def _unpacked(path: Path) -> Iterator[_Bounded]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with _Bounded(gzip.GzipFile(fileobj=file) if packed else file) as content:
            yield content

"""Images in folders and archives, as pairs of name and content.

Archives are read as streams: no member of theirs is ever unpacked to disk.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from driftboard.suite.data.files import one_line, read_unpacked
from driftboard.suite.data.image_file import is_image_name
from driftboard.suite.data.image_tree import folder_image_paths
from driftboard.suite.errors import DataError

Progress = Callable[[int, int], None]  # called with how many of how many files are read

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_IMAGE_BYTES = 64 * 1024 * 1024  # of one packed image file; more is a mistake or an attack


@dataclass(frozen=True)
class _Member:
    """An image of a folder or an archive, not yet read."""

    name: str
    size: int
    is_regular: bool  # neither a link nor a special file
    read: Callable[[], bytes]


def images_at(path: Path, progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the images in the folder or archive ``path``.

    Raises:
        DataError: ``path`` is neither, an archive is damaged, or an image is a link or too large.
    """
    if path.is_dir():
        yield from _contents(_folder_members(path), path, progress)
        return
    if not path.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise DataError(
            f"{path} is neither a folder nor an archive; expected {', '.join(ARCHIVE_SUFFIXES)}"
        )
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as zip_file:
                yield from _contents(_zip_members(zip_file), path, progress)
        else:
            with tarfile.open(path, "r:*") as tar_file:
                yield from _contents(_tar_members(tar_file), path, progress)
    # RuntimeError: an encrypted member, or a compression that this Python does not know.
    except (
        OSError,
        EOFError,
        RuntimeError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"cannot read the archive {path}: {one_line(error)}; replace it with a complete copy"
        ) from error


def _contents(
    candidates: Iterable[_Member], origin: Path, progress: Progress | None
) -> Iterator[tuple[str, bytes]]:
    # In the order of the archive: going back in a packed one means unpacking it anew.
    members = [member for member in candidates if is_image_name(member.name)]
    for done, member in enumerate(members, start=1):
        if not member.is_regular:
            raise DataError(
                f"{origin} has {member.name!r} as a link or special file instead of an image; "
                "pack it again with the files themselves"
            )
        if member.size > MAX_IMAGE_BYTES:
            raise DataError(
                f"{origin} has {member.name!r} of {member.size} bytes; an image file may have "
                f"{MAX_IMAGE_BYTES}"
            )
        yield member.name, member.read()
        if progress is not None:
            progress(done, len(members))


def _folder_members(root: Path) -> Iterator[_Member]:
    for name, path in folder_image_paths(root).items():
        yield _Member(name, path.stat().st_size, True, partial(read_unpacked, path))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        if not info.is_dir():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where made without Unix modes
            is_regular = kind in (0, stat.S_IFREG)
            yield _Member(info.filename, info.file_size, is_regular, partial(archive.read, info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive.getmembers():
        if not info.isdir():
            yield _Member(info.name, info.size, info.isreg(), partial(_read_tar, archive, info))


def _read_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(info)
    assert content is not None  # as for every regular file
    return content.read()

"""Images in train/<class>/<image> and test/<class>/<image>: a folder or an archive made a pool.

Archives are read member by member, in memory: nothing is ever unpacked to disk.
"""

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from driftboard.suite.data.store import Images, Pool, read_unpacked, short_reason
from driftboard.suite.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Progress = Callable[[int, int], None]  # called with how many of how many files are read

ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_IMAGE_BYTES = 64 * 1024 * 1024  # of one packed image file; more is a mistake or an attack


def read_image_folder(
    path: Path,
    title: str,
    class_names: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Pool:
    """Make a pool of an image folder, ordered by class and file name.

    Args:
        path: a folder, or an archive (.tar, .tar.gz, .tgz, .zip), whose images are
            train/<class>/<file> and test/<class>/<file>, perhaps all below one more folder;
            images elsewhere are ignored.
        title: the title of the data; the format of the files is added, as in "flowers (PNG)".
        class_names: the classes there must be, in sorted order; none: any.
        progress: called after each image with how many of how many are read.

    The images are grey only if all are; otherwise all become RGB.

    Raises:
        DataError: the archive is damaged, a file is no image, a link, too large or out of place,
            sizes differ, or the classes of train and test are not the same.
    """
    decoded: dict[_Place, Images] = {}
    formats = set()
    for name, content in _images_at(path, progress):
        place = _place(name, path)
        if place is None:
            continue
        if place in decoded:
            raise DataError(f"{path} has {name!r} twice; remove one and import it again")
        image = open_image(content, f"{name!r} in {path}")
        formats.add(image.format or "unknown")
        decoded[place] = _image_pixels(image, name, path)
    classes = _common_classes(decoded, path, class_names)
    ordered = sorted(decoded, key=lambda place: place.rank)
    stacked = _stack_pixels(ordered, decoded, path)
    labels = np.array([classes.index(place.class_name) for place in ordered], dtype=np.int64)
    trained = sum(place.split == "train" for place in ordered)
    return Pool(
        f"{title} ({', '.join(sorted(formats))})",
        stacked[:trained],
        labels[:trained],
        stacked[trained:],
        labels[trained:],
    )


def folder_image_paths(root: Path) -> dict[str, Path]:
    """Return the image files in ``root``, by names such as train/cat/1.png, in sorted order.

    They lie below train and test in ``root`` or in one folder inside it. Images one level too
    high or too low are listed as well, for :func:`read_image_folder` to complain about.
    """
    patterns = [
        f"{top}{split}/{below}"
        for top in ("", "*/")
        for split in ("train", "test")
        for below in ("*", "*/*", "*/*/*")
    ]
    found = {
        path.relative_to(root).as_posix(): path
        for pattern in patterns
        for path in root.glob(pattern)
        if _is_image_name(path.name) and path.is_file()
    }
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Member:
    """An image of a folder or an archive, not yet read."""

    name: str
    size: int
    is_regular: bool  # neither a link nor a special file
    read: Callable[[], bytes]


def _images_at(path: Path, progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the images in the folder or archive ``path``."""
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
            f"cannot read the archive {path}: {short_reason(error)}; replace it with a complete "
            "copy"
        ) from error


def _contents(
    candidates: Iterable[_Member], origin: Path, progress: Progress | None
) -> Iterator[tuple[str, bytes]]:
    # In the order of the archive: going back in a packed one means unpacking it anew.
    members = [member for member in candidates if _is_image_name(member.name)]
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


def _is_image_name(name: str) -> bool:
    """Tell whether a file is looked at: an image by its suffix, and not hidden."""
    path = PurePosixPath(name)
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def leaves_folder(name: str) -> bool:
    """Tell whether a name inside a folder or an archive leads out of it."""
    return name.startswith("/") or ".." in PurePosixPath(name).parts


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


def _image_pixels(image: "Image.Image", name: str, origin: Path) -> Images:
    """Return the pixels, (H, W) of a grey image and (H, W, 3) of any other.

    Raises:
        DataError: they have more than 8 bits; the message calls the image ``name``.
    """
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{origin} has {name!r} with more than 8 bits per pixel; convert it to 8 bits"
        )
    grey = image.mode in ("1", "L", "LA")
    return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8)


@dataclass(frozen=True)
class _Place:
    """Where an image stands in an image folder."""

    root: str  # a top-level folder around train and test, or ""
    split: str
    class_name: str
    file_name: str

    @property
    def rank(self) -> tuple[bool, str, str]:
        """What images are sorted by: training first, then by class, then by file name."""
        return (self.split != "train", self.class_name, self.file_name)


def _place(name: str, origin: Path) -> _Place | None:
    if leaves_folder(name):
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


def _stack_pixels(ordered: list[_Place], decoded: dict[_Place, Images], origin: Path) -> Images:
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

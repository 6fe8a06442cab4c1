"""Images in train/<class>/<image> and test/<class>/<image>: a folder or an archive made a pool.

What is not an image of a class by its place and its name is counted, and the pool says so.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
import psutil

from driftboard.suite.data.archives import Member, check_member, files_below, members_at
from driftboard.suite.data.images import Picture, read_picture
from driftboard.suite.data.store import Images, Pool, short_reason
from driftboard.suite.errors import DataError, counted, one_line

Progress = Callable[[int, int], None]  # called with how many of how many files are read

SPLITS = ("train", "test")
LISTED = 10  # names of classes in a line
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


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

    The images are grey only if all are; otherwise all become RGB. They are read as they are seen,
    see :func:`read_picture`. The pool's notes tell what was passed over or is not as it should be.

    Raises:
        DataError: the archive is damaged, a file is no image, a link, too large or out of place,
            sizes differ, the classes of train and test are not the same, or there is only one.
    """
    with members_at(path) as members:
        layout = _layout(members, path)
        classes = _classes(layout, path, class_names)
        pictures = _pictures(layout.images, path, progress)
    ordered = sorted(pictures, key=lambda place: place.rank)
    stacked = _stack_pixels([pictures[place].pixels for place in ordered])
    labels = np.array([classes.index(place.class_name) for place in ordered], dtype=np.int64)
    trained = sum(place.split == "train" for place in ordered)
    formats = sorted({picture.format for picture in pictures.values()})
    pool = Pool(
        f"{title} ({', '.join(formats)})",
        stacked[:trained],
        labels[:trained],
        stacked[trained:],
        labels[trained:],
        tuple(classes),
    )
    notes = [
        size_note(pool),
        *layout.passed_over(),
        *layout.without_images(),
        *_picture_notes(pictures),
        *_twin_notes(ordered, pool),
    ]
    return replace(pool, notes=tuple(notes))


def folder_image_paths(root: Path) -> dict[str, Path]:
    """Return the image files of an image folder, by names such as train/cat/1.png, in order.

    Images one level too high or too low are among them, for :func:`read_image_folder` to complain
    about.

    Raises:
        DataError: a folder in it cannot be read.
    """
    try:
        found = files_below(root)
    except OSError as error:
        raise DataError(f"cannot read the folder {root}: {short_reason(error)}") from error
    return {
        name: path for name, path in found.items() if is_image(name) and _depth(name) is not None
    }


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

    def __str__(self) -> str:
        return repr(f"{self.split}/{self.class_name}/{self.file_name}")


@dataclass(frozen=True)
class _Layout:
    """What lies where in an image folder; nothing is read yet."""

    images: dict[_Place, Member]
    outside: list[str]  # images that are not below train or test
    others: list[str]  # files that are no images by their names

    def passed_over(self) -> list[str]:
        """Return lines on how many files are not read: by suffix, and by place."""
        lines = []
        if self.others:
            suffixes = Counter(PurePosixPath(name).suffix.lower() for name in self.others)
            bare = suffixes.pop("", 0)
            listed = [f"{count} {one_line(suffix)}" for suffix, count in sorted(suffixes.items())]
            listed += [f"{bare} without a suffix"] if bare else []
            lines.append(f"passed over: {', '.join(listed)}")
        if self.outside:
            images = counted(len(self.outside), "image")
            first = min(self.outside)
            lines.append(f"passed over: {images} outside of train and test, such as {first!r}")
        return lines

    def without_images(self) -> list[str]:
        """Return a line on folders of classes in which no file is an image, if there are any."""
        read = {(place.split, place.class_name) for place in self.images}
        empty = set()
        for name in self.others:
            depth, parts = _depth(name), PurePosixPath(name).parts
            if depth is not None and len(parts) == depth + 3 and parts[depth:-1] not in read:
                empty.add("/".join(parts[depth:-1]))
        return [f"no image was found in {', '.join(map(repr, sorted(empty)))}"] if empty else []


def _layout(members: Iterable[Member], origin: Path) -> _Layout:
    """Sort files by their names.

    Raises:
        DataError: an image is a link, too large, out of place, or there twice.
    """
    layout = _Layout({}, [], [])
    for member in members:
        name = member.name
        if not is_image(name):
            layout.others.append(name)
            continue
        check_member(member, origin)
        place = _place(name, origin)
        if place is None:
            layout.outside.append(name)
        elif place in layout.images:
            raise DataError(f"{origin} has {name!r} twice; remove one and import it again")
        else:
            layout.images[place] = member
    return layout


def is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _depth(name: str) -> int | None:
    """Return below how many folders train or test stands in a name: 0, 1, or None for neither."""
    parts = PurePosixPath(name).parts[:2]
    return next((depth for depth, part in enumerate(parts) if part in SPLITS), None)


def _place(name: str, origin: Path) -> _Place | None:
    parts, depth = PurePosixPath(name).parts, _depth(name)
    misplaced = depth is None or len(parts) != depth + 3
    if misplaced and "\\" in name and _depth(name.replace("\\", "/")) is not None:
        raise DataError(
            f"{origin} has the path {name!r}, with backslashes where '/' is expected; pack it "
            "again with another program"
        )
    if depth is None:
        return None
    if len(parts) != depth + 3:
        raise DataError(
            f"{origin} has {name!r} where train/<class>/<image> or test/<class>/<image> is "
            "expected; move or remove that file"
        )
    return _Place("/".join(parts[:depth]), *parts[depth:])


def _classes(layout: _Layout, origin: Path, class_names: tuple[str, ...]) -> list[str]:
    """Return the names of the classes in order.

    Raises:
        DataError: train and test are not in one place, or do not have the same two classes or
            more, each of a name that cannot be taken for another's.
    """
    classes: dict[str, set[str]] = {split: set() for split in SPLITS}
    for place in layout.images:
        classes[place.split].add(place.class_name)
    passed_over = "".join(f"; {line}" for line in layout.passed_over())
    for split, names in classes.items():
        if not names:
            parts = {part for name in layout.outside for part in PurePosixPath(name).parts[:2]}
            alike = sorted(part for part in parts if part.casefold() == split)
            if alike:
                raise DataError(f"{origin} has {alike[0]!r} where {split!r} is expected; rename it")
            raise DataError(f"{origin} has no images in {split}/<class>/; add them{passed_over}")
    roots = sorted({place.root for place in layout.images})
    if len(roots) > 1:
        raise DataError(
            f"{origin} has train and test in more than one folder: "
            f"{', '.join(repr(root or '.') for root in roots)}; keep one"
        )
    _check_names(classes["train"] | classes["test"], origin)
    odd = sorted(classes["train"] ^ classes["test"])
    if odd:
        split = "train" if odd[0] in classes["train"] else "test"
        raise DataError(
            f"{origin} has the class {odd[0]!r} in {split} only; train and test need the same "
            f"classes{passed_over}"
        )
    found = sorted(classes["train"])
    if class_names and tuple(found) != class_names:
        raise DataError(
            f"{origin} has the classes {', '.join(found[:20])!r} instead of "
            f"{', '.join(class_names)!r}; rename its folders"
        )
    if len(found) == 1:
        raise DataError(
            f"{origin} has only the class {found[0]!r}, so there is nothing to tell apart; put the "
            "images of each class into a folder of its own"
        )
    return found


def _check_names(names: Iterable[str], origin: Path) -> None:
    """Refuse classes whose names look alike, one of which is probably a slip."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        plain = unicodedata.normalize("NFKC", name).casefold().strip()
        if plain in seen:
            raise DataError(
                f"{origin} has the classes {seen[plain]!a} and {name!a}, which differ in case, "
                "spaces or the encoding of accents only; give them one name"
            )
        seen[plain] = name


def _pictures(
    images: dict[_Place, Member], origin: Path, progress: Progress | None
) -> dict[_Place, Picture]:
    """Read all images.

    Raises:
        DataError: one cannot be read, they differ in size, or do not fit into memory.
    """
    pictures: dict[_Place, Picture] = {}
    for done, (place, member) in enumerate(images.items(), start=1):
        picture = read_picture(member.read(), f"{member.name!r} in {origin}")
        height, width = picture.pixels.shape[:2]
        if not pictures:
            first, size = place, (height, width)
            check_memory(origin, len(images), size, 2 * len(images) * picture.pixels.nbytes)
        if (height, width) != size:
            raise DataError(
                f"{origin} has images of different sizes: {place} is {width}x{height}, "
                f"{first} {size[1]}x{size[0]}; bring all to one size"
            )
        pictures[place] = picture
        if progress is not None:
            progress(done, len(images))
    return pictures


def check_memory(origin: Path, count: int, size: tuple[int, int], needed: int) -> None:
    """Check that images of a height and width, which need so many bytes, fit into memory.

    Raises:
        DataError: they do not.
    """
    free = _free_memory()
    if needed > free:
        height, width = size
        raise DataError(
            f"{origin}: {count} images of {width}x{height} pixels need {needed / 2**30:.1f} GiB "
            f"of memory, {free / 2**30:.1f} are free; make them smaller, or fewer"
        )


def _free_memory() -> int:
    return int(psutil.virtual_memory().available)


def _stack_pixels(images: list[Images]) -> Images:
    height, width = images[0].shape[:2]
    channels = 3 if any(pixels.ndim == 3 for pixels in images) else 1
    stacked = np.empty((len(images), channels, height, width), dtype=np.uint8)
    for index, pixels in enumerate(images):
        # A grey image fills all channels by broadcasting.
        stacked[index] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
    return stacked


def size_note(pool: Pool) -> str:
    """Return a line on which classes there are, and the fewest and the most images of one."""
    sizes = []
    for part, _, labels in pool.parts:
        counts = np.bincount(labels)
        least, most = int(counts.argmin()), int(counts.argmax())
        if counts[least] == counts[most]:
            sizes.append(counted(int(counts[most]), f"{part} image"))
        else:
            names = [one_line(pool.class_name(label)) for label in (least, most)]
            sizes.append(
                f"{counts[least]} ({names[0]}) to {counts[most]} ({names[1]}) {part} images"
            )
    listed = [one_line(name) for name in pool.class_names[:LISTED]]
    more = ["..."] if pool.classes > LISTED else []
    return f"{pool.classes} classes ({', '.join(listed + more)}) of {' and '.join(sizes)} each"


def _picture_notes(pictures: dict[_Place, Picture]) -> list[str]:
    notes = []
    if clear := sorted((p for p, one in pictures.items() if one.transparent), key=str):
        verb = (
            "is transparent in part and was"
            if len(clear) == 1
            else "are transparent in part and were"
        )
        notes.append(f"{counted(len(clear), 'image')} {verb} put on white, such as {clear[0]}")
    if moving := sorted((p for p, one in pictures.items() if one.frames), key=str):
        notes.append(
            f"of {counted(len(moving), 'image')} with several frames the first was read, such as "
            f"{moving[0]}"
        )
    return notes


def _twin_notes(ordered: Sequence[_Place], pool: Pool) -> list[str]:
    """Return lines on images of the same pixels: in both parts, in two classes, or twice in one."""
    alike: dict[bytes, list[_Place]] = {}
    for place, image in zip(ordered, chain(pool.train_images, pool.test_images), strict=True):
        alike.setdefault(_digest(image), []).append(place)
    leaked, mixed, copies = list[_Pair](), list[_Pair](), list[_Pair]()
    for group in alike.values():
        first: dict[tuple[str, str], _Place] = {}
        trained = next((place for place in group if place.split == "train"), None)
        for place in group:
            other = next((one for one in group if one.class_name != place.class_name), None)
            known = first.setdefault((place.split, place.class_name), place)
            leaked += [(place, trained)] if trained and place.split == "test" else []
            mixed += [(place, other)] if other else []
            copies += [(place, known)] if known is not place else []
    return [
        f"{len(pairs)} of {of_all} are equal to {what}, such as {one} to {other}"
        for pairs, of_all, what in (
            (leaked, f"{len(pool.test_images)} test images", "a training image"),
            (mixed, f"{len(ordered)} images", "one of another class"),
            (copies, f"{len(ordered)} images", "one before it in its class"),
        )
        if pairs
        for one, other in [min(pairs, key=lambda pair: pair[0].rank)]
    ]


_Pair = tuple[_Place, _Place]
"""An image, and one of the same pixels."""


def _digest(image: Images) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()

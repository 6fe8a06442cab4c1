"""Image folders: train/<class>/<image> and test/<class>/<image>, made into a pool."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from driftboard.suite.data.image_file import (
    image_pixels,
    is_image_name,
    leaves_folder,
    open_image,
)
from driftboard.suite.data.pool import Images, Pool
from driftboard.suite.errors import DataError


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


def folder_image_paths(root: Path) -> dict[str, Path]:
    """Return the image files in ``root``, by names such as train/cat/1.png, in sorted order.

    They lie below train and test in ``root`` or in one folder inside it. Images one level too
    high or too low are listed as well, for :func:`read_image_tree` to complain about.
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
        if is_image_name(path.name) and path.is_file()
    }
    return dict(sorted(found.items()))


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
    decoded: dict[_Place, Images] = {}
    formats = set()
    for name, content in images:
        place = _place(name, origin)
        if place is None:
            continue
        if place in decoded:
            raise DataError(f"{origin} has {name!r} twice; remove one and import it again")
        image = open_image(content, f"{name!r} in {origin}")
        formats.add(image.format or "unknown")
        decoded[place] = image_pixels(image, name, origin)
    classes = _common_classes(decoded, origin, class_names)
    ordered = sorted(decoded, key=lambda place: place.rank)
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

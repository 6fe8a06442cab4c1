"""Tiny ImageNet: 200 classes of ImageNet in the layout that it is distributed in.

Its test images have no labels, so the validation images are for testing, as elsewhere in the field.
The size is that of the images there are: 64x64 as distributed, or any other that all have.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from driftboard.suite.data.archives import Member, check_member, members_at
from driftboard.suite.data.image_folder import check_memory, is_image, size_note
from driftboard.suite.data.images import read_picture
from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Images, Pool
from driftboard.suite.errors import counted

CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"

_NUMBER = re.compile(r"n\d{8}")

_Broken = Callable[[str, str], Exception]
"""(name of a file, what is wrong with it) -> the error to raise."""


@dataclass
class _Layout:
    """What lies where; nothing is read yet. ``train`` is keyed by <class>/<file>."""

    lists: dict[str, Member] = field(default_factory=dict)
    train: dict[str, Member] = field(default_factory=dict)
    test: dict[str, Member] = field(default_factory=dict)
    unlabelled: int = 0  # images of ``test``
    others: int = 0


def read_tiny_imagenet(source: Source, origin: Path) -> Pool:
    """Read ``train/<class>/images/*`` and ``val/images/*`` of a folder or an archive.

    Classes are in the order of their WordNet numbers, images in that of class and file name. A
    class is called by the first of its words, and by its number too where others are called so.

    Raises:
        DataError: a list or an image is missing, damaged, out of place, too many, a link, or not
            of the size of the others.
    """

    def broken(name: str, why: str) -> Exception:
        return source.broken(origin / name, why)

    with members_at(origin) as members:
        layout = _layout(members, origin, broken)
        numbers = sorted(_numbers(_lines(layout, CLASSES, broken), source.classes, broken))
        names = _names(_lines(layout, WORDS, broken), numbers, broken)
        labels = {number: label for label, number in enumerate(numbers)}
        tested = _annotated(_lines(layout, ANNOTATIONS, broken), labels, layout.test, broken)
        _check_counts(source, layout, labels, tested, broken)
        train = sorted(layout.train)
        test = sorted(layout.test, key=lambda name: (labels[tested[name]], name))
        ordered = [*(layout.train[place] for place in train), *(layout.test[one] for one in test)]
        ranks = {member.name: rank for rank, member in enumerate(ordered)}
        images = _images([one for one in members if one.name in ranks], ranks, origin, broken)
    height, width = images.shape[2:]
    pool = Pool(
        f"{source.title} ({width}x{height})",
        images[: len(train)],
        np.array([labels[_class_of(place)] for place in train], dtype=np.int64),
        images[len(train) :],
        np.array([labels[tested[name]] for name in test], dtype=np.int64),
        names,
    )
    return replace(pool, notes=(size_note(pool), *_passed_over(layout)))


def _layout(members: Sequence[Member], origin: Path, broken: _Broken) -> _Layout:
    """Sort files by their names, below the folder that has the list of classes."""
    layout = _Layout()
    root = _root(members, broken)
    for member in members:
        parts = PurePosixPath(member.name).parts
        name = "/".join(parts[len(root) :]) if parts[: len(root)] == root else ""
        top, *below = name.split("/")
        is_list = name in (CLASSES, WORDS, ANNOTATIONS)
        if not is_list and not (top in ("train", "val") and is_image(name)):
            unlabelled = top == "test" and is_image(name)
            layout.unlabelled += unlabelled
            layout.others += not unlabelled
            continue
        check_member(member, origin)
        if is_list:
            known, key = layout.lists, name
        elif top == "train" and len(below) == 3 and below[1] == "images":
            known, key = layout.train, f"{below[0]}/{below[2]}"
        elif top == "val" and len(below) == 2 and below[0] == "images":
            known, key = layout.test, below[1]
        else:
            raise broken(
                member.name,
                "is neither in train/<class>/images nor in val/images, where images are expected",
            )
        if key in known:
            raise broken(member.name, "is there twice")
        known[key] = member
    return layout


def _root(members: Iterable[Member], broken: _Broken) -> tuple[str, ...]:
    """Return the folder that has the list of classes: the whole, or one folder in it."""
    places = [PurePosixPath(member.name).parts for member in members]
    found = {parts[:-1] for parts in places if parts[-1:] == (CLASSES,) and len(parts) <= 2}
    if len(found) != 1:
        raise broken(CLASSES, "is missing" if not found else "is in more than one folder")
    return found.pop()


def _lines(layout: _Layout, name: str, broken: _Broken) -> list[str]:
    if name not in layout.lists:
        raise broken(name, "is missing")
    try:
        return layout.lists[name].read().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise broken(name, "is not text") from error


def _numbers(lines: Sequence[str], expected: int, broken: _Broken) -> set[str]:
    """Return the WordNet numbers of the classes."""
    for line in lines:
        if _NUMBER.fullmatch(line) is None:
            raise broken(CLASSES, f"has the line {line!r} instead of a number such as n01443537")
    if len(set(lines)) != len(lines) or len(lines) != expected:
        found = f"{len(set(lines))} different classes in {counted(len(lines), 'line')}"
        raise broken(CLASSES, f"has {found} instead of {expected}")
    return set(lines)


def _names(lines: Iterable[str], numbers: Sequence[str], broken: _Broken) -> tuple[str, ...]:
    """Return what the classes are called."""
    words: dict[str, str] = {}
    for line in lines:
        number, tab, text = line.partition("\t")
        if not tab or not text.strip() or _NUMBER.fullmatch(number) is None:
            raise broken(WORDS, f"has the line {line!r} instead of 'NUMBER<tab>WORDS'")
        words[number] = text.split(",")[0].strip()
    for number in numbers:
        if number not in words:
            raise broken(WORDS, f"has no words for the class {number}")
    said = [words[number] for number in numbers]
    return tuple(
        word if said.count(word) == 1 else f"{word} ({number})"
        for number, word in zip(numbers, said, strict=True)
    )


def _annotated(
    lines: Iterable[str],
    labels: Mapping[str, int],
    images: Mapping[str, Member],
    broken: _Broken,
) -> dict[str, str]:
    """Return the class of every validation image."""
    classes: dict[str, str] = {}
    for line in lines:
        name, _, rest = line.partition("\t")
        number = rest.partition("\t")[0]
        if number not in labels:
            raise broken(
                ANNOTATIONS, f"has the line {line!r} instead of 'FILE<tab>CLASS' of a known class"
            )
        if name in classes:
            raise broken(ANNOTATIONS, f"names {name!r} twice")
        if name not in images:
            raise broken(ANNOTATIONS, f"names {name!r}, which is not in val/images")
        classes[name] = number
    for name in images:
        if name not in classes:
            raise broken(ANNOTATIONS, f"does not say of which class {name!r} is")
    return classes


def _check_counts(
    source: Source,
    layout: _Layout,
    labels: Mapping[str, int],
    tested: Mapping[str, str],
    broken: _Broken,
) -> None:
    """Check the number of images of every class, before minutes of decoding."""
    trained = dict.fromkeys(labels, 0)
    for place, member in layout.train.items():
        if _class_of(place) not in trained:
            raise broken(member.name, f"is of no class of {CLASSES}")
        trained[_class_of(place)] += 1
    validated = dict.fromkeys(labels, 0)
    for number in tested.values():
        validated[number] += 1
    for where, counts, total in (
        ("train", trained, source.train_count),
        ("val", validated, source.test_count),
    ):
        for number, count in counts.items():
            if count != total // source.classes:
                raise broken(
                    where,
                    f"has {counted(count, 'image')} of the class {number} instead of "
                    f"{total // source.classes}",
                )


def _class_of(place: str) -> str:
    return place.partition("/")[0]


def _images(
    members: Sequence[Member], ranks: Mapping[str, int], origin: Path, broken: _Broken
) -> Images:
    """Read images in the order of the archive, each to its rank; grey ones become RGB."""
    pixels = np.empty((0, 3, 0, 0), dtype=np.uint8)
    for member in members:
        picture = read_picture(member.read(), f"{member.name!r} in {origin}").pixels
        size = picture.shape[:2]
        if not len(pixels):
            shape = (len(ranks), 3, *size)
            check_memory(origin, len(ranks), size, int(np.prod(shape)))
            pixels, first = np.empty(shape, dtype=np.uint8), member.name
        if size != pixels.shape[2:]:
            raise broken(
                member.name,
                f"is {size[1]}x{size[0]} where {first!r} is {pixels.shape[3]}x{pixels.shape[2]}",
            )
        # A grey image fills all channels by broadcasting.
        pixels[ranks[member.name]] = picture.transpose(2, 0, 1) if picture.ndim == 3 else picture
    return pixels


def _passed_over(layout: _Layout) -> list[str]:
    """Return lines on how many files are not read."""
    lines = []
    if layout.unlabelled:
        lines.append(f"passed over: {counted(layout.unlabelled, 'image')} in test without labels")
    if layout.others:
        lines.append(f"passed over: {counted(layout.others, 'other file')}")
    return lines

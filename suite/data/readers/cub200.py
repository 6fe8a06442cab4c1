"""CUB-200-2011: photographs of birds, which three lists number, name and divide."""

from pathlib import Path

import numpy as np

from driftboard.suite.data.archives import MAX_FILE_BYTES, leaves_folder
from driftboard.suite.data.images import open_image
from driftboard.suite.data.source import Source
from driftboard.suite.data.store import Images, Pool, read_unpacked

CUB_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
CUB_SIDE = 64


def read_cub200(source: Source, holder: Path) -> Pool:
    """Read CUB-200-2011's photographs, each cut to a square of 64x64 pixels."""
    names, classes, splits = (_read_list(source, holder, name) for name in CUB_LISTS)
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


def _read_list(source: Source, holder: Path, name: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    path = holder / name
    try:
        lines = source.content(holder, name).decode("utf-8").splitlines()
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

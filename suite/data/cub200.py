"""CUB-200-2011: photographs and lists."""

from pathlib import Path

import numpy as np

from driftboard.suite.data.files import present_file, read_unpacked
from driftboard.suite.data.image_file import leaves_folder, open_image
from driftboard.suite.data.pool import Images, Pool
from driftboard.suite.data.source import DataFile, Source

SIDE = 64

IMAGES = "images.txt"
CLASSES = "image_class_labels.txt"
SPLITS = "train_test_split.txt"


def _read(source: Source, holder: Path) -> Pool:
    names, classes, splits = (
        _read_list(source, holder / name) for name in (IMAGES, CLASSES, SPLITS)
    )
    if not names.keys() == classes.keys() == splits.keys():
        raise source.broken(holder, "has lists that do not number the same images")
    if set(splits.values()) - {"0", "1"}:
        raise source.broken(holder / SPLITS, "has entries other than 0 and 1")
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
            holder / CLASSES, f"has the class {wrong!r}, which is not in 1..{source.classes}"
        )
    return Pool(
        source.title,
        _read_photographs(source, holder, [names[key] for key in train]),
        np.array([numbers[classes[key]] for key in train], dtype=np.int64),
        _read_photographs(source, holder, [names[key] for key in test]),
        np.array([numbers[classes[key]] for key in test], dtype=np.int64),
    )


def _read_list(source: Source, path: Path) -> dict[str, str]:
    entries: dict[str, str] = {}
    try:
        lines = read_unpacked(present_file(path) or path).decode("utf-8").splitlines()
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
            raise source.broken(holder / IMAGES, f"has the path {name!r} outside 'images'")
        path = holder / "images" / name
        photograph = open_image(read_unpacked(path), str(path)).convert("RGB")
        scale = SIDE / min(photograph.size)
        width, height = (max(SIDE, round(side * scale)) for side in photograph.size)
        photograph = photograph.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - SIDE) // 2, (height - SIDE) // 2
        square = photograph.crop((left, top, left + SIDE, top + SIDE))
        pixels[index] = np.asarray(square).transpose(2, 0, 1)
    return pixels


CUB200 = Source(
    name="cub200",
    title="CUB-200-2011 (64x64)",
    description="photographs of birds, cut to 64x64 colour, 200 classes",
    layout="CUB_200_2011/images.txt, image_class_labels.txt, train_test_split.txt and "
    "images/<class>/*.jpg; decoded once into cub200-64.npz, which is enough by itself",
    origin="Wah and others, California Institute of Technology; for research, not commercial use",
    image_shape=(3, SIDE, SIDE),
    classes=200,
    train_count=5_994,
    test_count=5_794,
    read_files=_read,
    subfolder="CUB_200_2011",
    files=tuple(DataFile(name, "train", 1) for name in (IMAGES, CLASSES, SPLITS)),
    npz="cub200-64.npz",
    npz_is_cache=True,
)

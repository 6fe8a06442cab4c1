"""MNIST and Fashion-MNIST: idx files."""

import math
import struct
from functools import partial
from pathlib import Path

import numpy as np

from driftboard.suite.data.downloads import download
from driftboard.suite.data.files import present_file, read_unpacked
from driftboard.suite.data.pool import Images, Pool
from driftboard.suite.data.source import DataFile, Source

IMAGES_MAGIC = 2051  # unsigned bytes in three dimensions
LABELS_MAGIC = 2049  # unsigned bytes in one dimension
SIDE = 28


def _read(source: Source, holder: Path) -> Pool:
    train_images, train_labels, test_images, test_labels = (
        _read_array(source, holder / file.name, magic)
        for file, magic in zip(source.files, (IMAGES_MAGIC, LABELS_MAGIC) * 2, strict=True)
    )
    return Pool(
        source.title,
        train_images[:, np.newaxis],
        train_labels.astype(np.int64),
        test_images[:, np.newaxis],
        test_labels.astype(np.int64),
    )


def _read_array(source: Source, path: Path, magic: int) -> Images:
    path = present_file(path) or path
    content = read_unpacked(path)
    dimensions = magic % 256
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise source.broken(path, f"is truncated: {len(content)} bytes")
    found = int.from_bytes(content[:4], "big")
    if found != magic:
        raise source.broken(path, f"is not an idx file: magic number {found} instead of {magic}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = header + math.prod(shape)
    if len(content) != size:
        raise source.broken(
            path, f"is truncated or damaged: {len(content)} bytes instead of {size}"
        )
    # A copy, because arrays that look into bytes are read-only, which torch warns about.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _source(name: str, title: str, torchvision_class: str, contents: str, origin: str) -> Source:
    """Return the source of a data set of MNIST's size and files."""
    return Source(
        name=name,
        title=title,
        description=f"{contents}, {SIDE}x{SIDE} grey, 10 classes",
        layout=f"{torchvision_class}/raw/train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, unpacked or .gz",
        origin=origin,
        image_shape=(1, SIDE, SIDE),
        classes=10,
        train_count=60_000,
        test_count=10_000,
        read_files=_read,
        fetch=partial(download, torchvision_class),
        subfolder=f"{torchvision_class}/raw",
        files=(
            DataFile("train-images-idx3-ubyte", "train", SIDE * SIDE),
            DataFile("train-labels-idx1-ubyte", "train", 1),
            DataFile("t10k-images-idx3-ubyte", "test", SIDE * SIDE),
            DataFile("t10k-labels-idx1-ubyte", "test", 1),
        ),
    )


FASHION_MNIST = _source(
    "fashion-mnist",
    "Fashion-MNIST",
    "FashionMNIST",
    contents="articles of clothing",
    origin="Zalando Research, MIT licence",
)

MNIST = _source(
    "mnist",
    "MNIST",
    "MNIST",
    contents="handwritten digits",
    origin="LeCun, Cortes and Burges, after NIST's special databases; no licence stated",
)

"""CIFAR-10 and CIFAR-100: pickles of Python 2."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np

from driftboard.suite.data.downloads import download
from driftboard.suite.data.files import present_file, read_unpacked
from driftboard.suite.data.plain_pickle import ByteArray, load_plain
from driftboard.suite.data.pool import Images, Labels, Pool
from driftboard.suite.data.source import DataFile, Source

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


def _read_cifar10(source: Source, holder: Path) -> Pool:
    batches = [_read_batch(source, holder / file.name, "labels") for file in source.files]
    train = batches[:-1]
    test_images, test_labels = batches[-1]
    return Pool(
        source.title,
        np.concatenate([images for images, _ in train]),
        np.concatenate([labels for _, labels in train]),
        test_images,
        test_labels,
    )


def _read_cifar100(source: Source, holder: Path) -> Pool:
    train, test = (_read_batch(source, holder / file.name, "fine_labels") for file in source.files)
    return Pool(source.title, *train, *test)


def _read_batch(source: Source, path: Path, label_key: str) -> tuple[Images, Labels]:
    path = present_file(path) or path
    content = read_unpacked(path)
    try:
        batch = load_plain(content)
    except pickle.UnpicklingError as error:
        raise source.broken(path, f"is truncated or not a plain CIFAR pickle ({error})") from error
    if not isinstance(batch, dict):
        raise source.broken(path, "is not a CIFAR batch: it holds no dictionary")
    data, labels = batch.get("data"), batch.get(label_key)
    values = data.values if isinstance(data, ByteArray) else None
    if values is None or not isinstance(labels, list):
        raise source.broken(path, f"is not a CIFAR batch: 'data' or {label_key!r} is missing")
    if values.ndim != 2 or values.shape[1] != PIXELS:
        raise source.broken(path, f"has data of shape {values.shape} instead of (N, {PIXELS})")
    if len(labels) != len(values) or not all(type(label) is int for label in labels):
        raise source.broken(path, f"does not have one whole number in {label_key!r} per image")
    # Checked here, because a pickle's numbers may be too large for the array below.
    if any(not 0 <= label < source.classes for label in labels):
        raise source.broken(path, f"has labels that are not in 0..{source.classes - 1}")
    return values.reshape(-1, *SHAPE).copy(), np.array(labels, dtype=np.int64)


CIFAR10 = Source(
    name="cifar10",
    title="CIFAR-10",
    description="small photographs, 32x32 colour, 10 classes",
    layout="cifar-10-batches-py/data_batch_1 ... data_batch_5 and test_batch; without "
    "them cifar10.npz, written by 'driftboard data import cifar10 FILE' from an image "
    "folder, which is another variant: CIFAR-10 (JPEG), CIFAR-10 (PNG)",
    origin="Krizhevsky, University of Toronto; no licence stated",
    image_shape=SHAPE,
    classes=10,
    train_count=50_000,
    test_count=10_000,
    read_files=_read_cifar10,
    fetch=partial(download, "CIFAR10"),
    subfolder="cifar-10-batches-py",
    files=(
        *(DataFile(f"data_batch_{i}", "train", PIXELS / 5) for i in range(1, 6)),
        DataFile("test_batch", "test", PIXELS),
    ),
    npz="cifar10.npz",
    image_folder=True,
    # In the order of their labels, which is that of the alphabet.
    class_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)

CIFAR100 = Source(
    name="cifar100",
    title="CIFAR-100",
    description="small photographs, 32x32 colour, 100 classes (fine labels)",
    layout="cifar-100-python/train and test",
    origin="Krizhevsky, University of Toronto; no licence stated",
    image_shape=SHAPE,
    classes=100,
    train_count=50_000,
    test_count=10_000,
    read_files=_read_cifar100,
    fetch=partial(download, "CIFAR100"),
    subfolder="cifar-100-python",
    files=(DataFile("train", "train", PIXELS), DataFile("test", "test", PIXELS)),
)

"""Small data sets in the forms of the real ones, for all tests of this room."""

import io
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
from PIL import Image

from driftboard.suite.data import SOURCES, Pool
from driftboard.suite.data.folder import status

CIFAR10_CLASSES = SOURCES["cifar10"].class_names


def png(seed, shape=(4, 6, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def tree(classes=("a", "b"), train=2, test=1, **options):
    """Return names and contents of a small image folder."""
    names = [f"train/{name}/{i}.png" for name in classes for i in range(train)]
    names += [f"test/{name}/{i}.png" for name in classes for i in range(test)]
    return {name: png(seed, **options) for seed, name in enumerate(names)}


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def backwards(files):
    return dict(reversed(files.items()))


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def cifar10_tree(classes=CIFAR10_CLASSES, **options):
    return tree(classes, **({"shape": (32, 32, 3)} | options))


def write_idx(holder, count=10):
    """Write the four files of MNIST with ``count`` images in each split."""
    holder.mkdir(parents=True)
    for split in ("train", "t10k"):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = bytes(i % 10 for i in range(count))
        header = struct.pack(">4I", 2051, count, 28, 28)
        (holder / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (holder / f"{split}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, count) + labels
        )


SMALL_MNIST = replace(
    SOURCES["mnist"],
    train_count=10,
    test_count=10,
    files={name: 7840 if "images" in name else 10 for name in SOURCES["mnist"].files},
    digests={},
)


def state_of(folder, name):
    return next(entry for entry in status(folder) if entry.name == name)


def make_pool(train_labels, test_labels, shape=(1, 2, 2), title="made up"):
    random = np.random.default_rng(0)
    parts = []
    for labels in (train_labels, test_labels):
        parts.append(random.integers(0, 256, (len(labels), *shape), dtype=np.uint8))
        parts.append(np.array(labels, dtype=np.int64))
    return Pool(title, *parts)

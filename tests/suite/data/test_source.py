"""Readers: values from small files in the formats of the real ones, and every refusal."""

import gzip
import hashlib
import os
import pickle
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from driftboard.suite.data import SOURCES, load_pool
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def small(name, train, test, **changes):
    return replace(SOURCES[name], train_count=train, test_count=test, **changes)


def read(source, folder):
    """Read and check original files as a command does before it writes the store."""
    holder = folder / source.subfolder
    pool = source.read(source, holder)
    source.check(pool, holder)
    return pool


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def write_idx(holder, train=20, test=10):
    """Write the four files and return the four arrays."""
    holder.mkdir(parents=True)
    arrays = (
        random_images(train, 28, 28, seed=1),
        (np.arange(train) % 10).astype(np.uint8),
        random_images(test, 28, 28, seed=2),
        (np.arange(test)[::-1] % 10).astype(np.uint8),
    )
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        (holder / name).write_bytes(idx_bytes(array))
    return arrays


def short_id(value):
    """Name a case by its text; bytes and functions, some with a time in them, by their kind."""
    return value if isinstance(value, str) else type(value).__name__


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert "Traceback" not in message
    for part in parts:
        assert part in message


# Digits


def test_digits_split_and_scale(tmp_path):
    from sklearn.datasets import load_digits

    pool = load_pool("digits", tmp_path)
    original = load_digits()
    assert pool.title == "Digits"
    assert pool.train_images.shape == (1297, 1, 8, 8)
    assert pool.test_images.shape == (500, 1, 8, 8)
    assert pool.train_images.dtype == np.uint8
    assert pool.train_images.max() == 240
    assert np.bincount(pool.test_labels).tolist() == [50] * 10
    for label in range(10):
        images = original.images[original.target == label] * 15
        assert np.array_equal(pool.test_images[pool.test_labels == label, 0], images[-50:])
        assert np.array_equal(pool.train_images[pool.train_labels == label, 0], images[:-50])


# idx files


@pytest.mark.parametrize(
    ("name", "folder", "title"),
    [
        ("mnist", "MNIST", "MNIST (other files)"),
        ("fashion-mnist", "FashionMNIST", "Fashion-MNIST"),
    ],
)
def test_idx_values(name, folder, title, tmp_path):
    train_images, train_labels, test_images, test_labels = write_idx(tmp_path / folder / "raw")
    pool = read(small(name, 20, 10), tmp_path)
    assert pool.title == title
    assert np.array_equal(pool.train_images[:, 0], train_images)
    assert pool.train_images.shape == (20, 1, 28, 28)
    assert np.array_equal(pool.test_images[:, 0], test_images)
    assert pool.train_labels.dtype == np.int64
    assert np.array_equal(pool.train_labels, train_labels)
    assert np.array_equal(pool.test_labels, test_labels)
    assert pool.classes == 10


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_title_tells_files_that_are_not_the_original_ones(tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    digests = {name: md5(holder / name) for name in IDX_NAMES}
    own = small("mnist", 20, 10, digests=digests, variants={})
    assert read(own, tmp_path).title == "MNIST"
    replaced(IDX_NAMES[2], lambda b: b[:-1] + bytes([b[-1] ^ 1]))(holder)
    assert read(own, tmp_path).title == "MNIST (other files)"
    known = replace(own, variants={md5(holder / IDX_NAMES[2]): "PNG test images"})
    assert read(known, tmp_path).title == "MNIST (PNG test images)"
    replaced(IDX_NAMES[0], lambda b: b[:-1] + bytes([b[-1] ^ 1]))(holder)
    assert read(known, tmp_path).title == "MNIST (other files, PNG test images)"


def test_packed_idx_gives_the_same_pool(tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    plain = read(small("mnist", 20, 10), tmp_path)
    for name in IDX_NAMES:
        (holder / f"{name}.gz").write_bytes(gzip.compress((holder / name).read_bytes()))
        (holder / name).unlink()
    assert read(small("mnist", 20, 10), tmp_path).fingerprint == plain.fingerprint


def test_idx_agrees_with_torchvision(tmp_path):
    from torchvision.datasets import FashionMNIST

    write_idx(tmp_path / "FashionMNIST/raw")
    pool = read(small("fashion-mnist", 20, 10), tmp_path)
    train, test = FashionMNIST(tmp_path), FashionMNIST(tmp_path, train=False)
    assert np.array_equal(pool.train_images[:, 0], train.data.numpy())
    assert np.array_equal(pool.train_labels, train.targets.numpy())
    assert np.array_equal(pool.test_images[:, 0], test.data.numpy())
    assert np.array_equal(pool.test_labels, test.targets.numpy())


def replaced(name, change):
    def damage(holder):
        path = holder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


NOT_IDX = "is truncated or not an idx file"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (replaced(IDX_NAMES[0], lambda b: b[:-1]), NOT_IDX),
        (replaced(IDX_NAMES[0], lambda b: b + b"x"), NOT_IDX),
        (replaced(IDX_NAMES[0], lambda b: b[:7]), NOT_IDX),
        (replaced(IDX_NAMES[1], lambda b: b""), NOT_IDX),
        (
            replaced(IDX_NAMES[2], lambda b: b"\0\0\x08\x01" + b[4:]),
            NOT_IDX,
        ),
        (replaced(IDX_NAMES[3], lambda b: b"<htm" + b[4:]), NOT_IDX),
        (replaced(IDX_NAMES[1], lambda b: b[:-1] + b"\x0a"), "training label 10"),
        (replaced(IDX_NAMES[3], lambda b: b[:8] + bytes(10)), "has no test images of class 1"),
        (
            replaced(IDX_NAMES[0], lambda _: idx_bytes(random_images(19, 28, 28))),
            "has 19 training images instead of 20",
        ),
        (
            replaced(IDX_NAMES[3], lambda _: idx_bytes(np.zeros(9, dtype=np.uint8))),
            "has 9 test labels instead of 10",
        ),
        (
            replaced(IDX_NAMES[0], lambda _: idx_bytes(random_images(20, 8, 8))),
            "(1, 8, 8) (channels, height, width) instead of (1, 28, 28)",
        ),
        (
            # 2**32 - 1 images are announced and none is there.
            replaced(IDX_NAMES[0], lambda b: b[:4] + b"\xff" * 4 + b[8:16]),
            NOT_IDX,
        ),
    ],
    ids=short_id,
)
def test_damaged_idx_is_refused(damage, says, tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    damage(holder)
    with pytest.raises(DataError) as error:
        read(small("mnist", 20, 10), tmp_path)
    assert_one_line(error, says, str(holder), "driftboard data fetch mnist")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(bytes(100))[:-9]], ids=["words", "half"]
)
def test_damaged_gz_is_refused(content, tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    (holder / IDX_NAMES[0]).unlink()
    (holder / f"{IDX_NAMES[0]}.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot read") as error:
        read(small("mnist", 20, 10), tmp_path)
    assert_one_line(error, f"{IDX_NAMES[0]}.gz")


# CIFAR pickles


def python2_batch(data, labels, key=b"labels"):
    """Return the opcodes that Python 2 wrote: 8-bit strings, and numpy.core for arrays."""
    rows, columns = data.shape
    raw = data.tobytes()
    return b"".join(
        [
            b"\x80\x02}(U\x04data",
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01" + struct.pack("<cici", b"J", rows, b"J", columns) + b"\x86",
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb",
            b"U" + bytes([len(key)]) + key + b"](",
            *(b"K" + bytes([label]) for label in labels),
            b"eu.",
        ]
    )


def python3_batch(data, labels, key=b"labels"):
    return pickle.dumps({"data": data, key.decode(): [int(n) for n in labels]}, protocol=2)


def write_cifar10(folder, batch=python2_batch):
    """Write five training batches of 4 images and 10 test images; return images and labels."""
    holder = folder / "cifar-10-batches-py"
    holder.mkdir(parents=True)
    rows = random_images(30, 3072)
    labels = np.arange(30) % 10
    for i in range(5):
        part = slice(4 * i, 4 * i + 4)
        (holder / f"data_batch_{i + 1}").write_bytes(batch(rows[part], labels[part]))
    (holder / "test_batch").write_bytes(batch(rows[20:], labels[20:]))
    (holder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return rows.reshape(-1, 3, 32, 32), labels


@pytest.fixture
def declare_original(monkeypatch):
    """Return a function that makes torchvision take the files in a folder for the authors' own."""
    from torchvision import datasets

    def declare(kind, holder):
        def entry(name):
            return [name, hashlib.md5((holder / name).read_bytes()).hexdigest()]

        kind = getattr(datasets, kind)
        for part in ("train_list", "test_list"):
            entries = [entry(name) for name, _ in getattr(kind, part)]
            monkeypatch.setattr(kind, part, entries)
        name, md5 = entry(kind.meta["filename"])
        monkeypatch.setattr(kind, "meta", kind.meta | {"filename": name, "md5": md5})

    return declare


@pytest.mark.parametrize("batch", [python2_batch, python3_batch])
def test_cifar10_values(batch, declare_original, tmp_path):
    images, labels = write_cifar10(tmp_path, batch)
    declare_original("CIFAR10", tmp_path / "cifar-10-batches-py")
    pool = read(small("cifar10", 20, 10), tmp_path)
    assert pool.title == "CIFAR-10"
    assert np.array_equal(pool.train_images, images[:20])
    assert np.array_equal(pool.test_images, images[20:])
    assert pool.train_labels.dtype == np.int64
    assert np.array_equal(pool.train_labels, labels[:20])
    assert np.array_equal(pool.test_labels, labels[20:])
    assert pool.train_images.flags.c_contiguous


def test_cifar100_takes_the_fine_labels(declare_original, tmp_path):
    holder = tmp_path / "cifar-100-python"
    holder.mkdir()
    rows, labels = random_images(200, 3072), np.arange(200) % 100
    content = {"data": rows, "coarse_labels": [0] * 200, "fine_labels": labels.tolist()}
    (holder / "train").write_bytes(pickle.dumps(content, protocol=2))
    (holder / "test").write_bytes(python2_batch(rows[:100], labels[:100], b"fine_labels"))
    (holder / "meta").write_bytes(pickle.dumps({"fine_label_names": ["any"] * 100}))
    declare_original("CIFAR100", holder)
    pool = read(small("cifar100", 200, 100), tmp_path)
    assert np.array_equal(pool.train_images, rows.reshape(-1, 3, 32, 32))
    assert np.array_equal(pool.train_labels, labels)
    assert np.array_equal(pool.test_labels, labels[:100])
    assert pool.classes == 100


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, subprocess.Popen, np.load])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_pickle_runs_nothing(function, protocol, name, declare_original, tmp_path):
    """Its checksum is not that of the authors' file, so it is never loaded."""
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / name
    declare_original("CIFAR10", path.parent)
    trace = tmp_path / "trace"
    command = f"__import__('os').mkdir({str(trace)!r})" if function is eval else str(trace)
    path.write_bytes(pickle.dumps({"data": Attack(function, command)}, protocol=protocol))
    with pytest.raises(DataError) as error:
        read(small("cifar10", 20, 10), tmp_path)
    assert_one_line(error, str(path), "MD5 checksum", "driftboard data fetch cifar10")
    assert not trace.exists()


def test_no_pickle_is_loaded_before_all_checksums_are_compared(
    declare_original, tmp_path, monkeypatch
):
    write_cifar10(tmp_path)
    holder = tmp_path / "cifar-10-batches-py"
    declare_original("CIFAR10", holder)
    read(small("cifar10", 20, 10), tmp_path)
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("a pickle was loaded"))
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        whole = (holder / name).read_bytes()
        (holder / name).write_bytes(whole[:-1])
        with pytest.raises(DataError, match="MD5 checksum") as error:
            read(small("cifar10", 20, 10), tmp_path)
        assert_one_line(error, str(holder / name))
        (holder / name).write_bytes(whole)


def test_files_that_are_exchanged_after_the_check_are_not_loaded(
    declare_original, tmp_path, monkeypatch
):
    from torchvision import datasets

    images, _ = write_cifar10(tmp_path)
    holder = tmp_path / "cifar-10-batches-py"
    declare_original("CIFAR10", holder)
    check = datasets.CIFAR10._check_integrity

    def exchange(dataset):
        (holder / "test_batch").write_bytes(b"something else")
        return check(dataset)

    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", exchange)
    pool = read(small("cifar10", 20, 10), tmp_path)
    assert np.array_equal(pool.test_images, images[20:])


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", python2_batch(random_images(4, 3072), range(4))]
)
def test_damaged_cifar10_is_refused(content, tmp_path):
    """Made by the test, so none of the files has the checksum of the authors' own."""
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py/data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(small("cifar10", 20, 10), tmp_path)
    assert_one_line(error, str(path), "is not the original file", "driftboard data fetch cifar10")


# CUB-200-2011


def write_cub(folder):
    """Write four images of two classes in the layout of CUB-200-2011; return their names."""
    holder = folder / "CUB_200_2011"
    names = ["001.A/a_1.jpg", "001.A/a_2.jpg", "002.B/b_1.jpg", "002.B/b_2.jpg"]
    thirds = np.repeat(np.array([10, 120, 230], dtype=np.uint8), 64)  # the middle one is kept
    wide = np.stack([np.tile(thirds, (64, 1))] * 3, axis=-1)
    wide[..., 2] = 7
    images = [
        Image.fromarray(wide),
        Image.fromarray(np.ascontiguousarray(wide.transpose(1, 0, 2))),
        Image.new("L", (500, 375), 99),
        Image.new("RGB", (30, 40), (1, 2, 3)),
    ]
    for name, image in zip(names, images, strict=True):
        (holder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(holder / "images" / name, format="PNG")  # PNG keeps the values exact
    (holder / "images.txt").write_text("".join(f"{i} {n}\n" for i, n in enumerate(names, 1)))
    (holder / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n4 2\n")
    (holder / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n4 1\n")
    return holder


def small_cub():
    return small("cub200", 2, 2, classes=2)


def test_cub_values(tmp_path):
    write_cub(tmp_path)
    pool = read(small_cub(), tmp_path)
    assert pool.train_labels.tolist() == [0, 1]
    assert pool.test_labels.tolist() == [0, 1]
    assert pool.train_images.shape == pool.test_images.shape == (2, 3, 64, 64)
    assert np.all(pool.train_images[0, :2] == 120)
    assert np.all(pool.train_images[0, 2] == 7)
    assert np.array_equal(pool.test_images[0], pool.train_images[0])
    assert np.all(pool.test_images[1] == 99)
    assert np.all(pool.train_images[1] == np.array([1, 2, 3]).reshape(3, 1, 1))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("images.txt", "1 001.A/a_1.jpg\n", "do not number the same images"),
        ("images.txt", "1\n", "instead of 'NUMBER ENTRY'"),
        ("images.txt", "1 ../../../x\n2 a\n3 b\n4 c\n", "outside 'images'"),
        ("images.txt", "1 /x\n2 a\n3 b\n4 c\n", "outside 'images'"),
        ("images.txt", "1 gone.jpg\n2 a\n3 b\n4 c\n", "gone.jpg"),
        ("images.txt", b"\xff\xfe", "is not text"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n4 3\n", "'3', which is not in 1..2"),
        ("image_class_labels.txt", "1 1\n2 1\n3 1\n4 1\n", "no training images of class 1"),
        ("train_test_split.txt", "1 1\n2 0\n3 0\n4 2\n", "other than 0 and 1"),
        ("train_test_split.txt", "1 1\n2 0\n3 0\n4 0\n", "has 1 + 3 images instead of 2 + 2"),
        ("images/002.B/b_2.jpg", "no image", "cannot be decoded"),
    ],
)
def test_damaged_cub_is_refused(name, content, says, tmp_path):
    holder = write_cub(tmp_path)
    (holder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        read(small_cub(), tmp_path)
    assert_one_line(error, says, str(holder))


# Real data


@pytest.mark.skipif(not REAL_DATA, reason="DRIFTBOARD_DATA is not set")
def test_real_fashion_mnist_is_what_torchvision_reads():
    from torchvision.datasets import FashionMNIST

    pool = read(SOURCES["fashion-mnist"], Path(REAL_DATA))
    assert np.bincount(pool.train_labels).tolist() == [6000] * 10
    assert np.bincount(pool.test_labels).tolist() == [1000] * 10
    train, test = FashionMNIST(REAL_DATA), FashionMNIST(REAL_DATA, train=False)
    assert np.array_equal(pool.train_images[:, 0], train.data.numpy())
    assert np.array_equal(pool.train_labels, train.targets.numpy())
    assert np.array_equal(pool.test_images[:, 0], test.data.numpy())
    assert np.array_equal(pool.test_labels, test.targets.numpy())
    # as every published record says
    assert pool.fingerprint[:16] == "e6e6b79f906766d0"

"""Stores: the fingerprint of a pool, and files that are read as written or refused in one line."""

import hashlib
import io
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from driftboard.suite.data import Pool
from driftboard.suite.data.store import read_store, read_store_summary, write_store
from driftboard.suite.errors import DataError


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def short_id(value):
    """Name a case by its text; bytes and functions, some with a time in them, by their kind."""
    return value if isinstance(value, str) else type(value).__name__


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert "Traceback" not in message
    for part in parts:
        assert part in message


def pool_of(train_images, train_labels, test_images, test_labels, title="t"):
    return Pool(
        title,
        train_images,
        np.asarray(train_labels, dtype=np.int64),
        test_images,
        np.asarray(test_labels, dtype=np.int64),
    )


def test_fingerprint_is_sha256_over_shapes_and_bytes():
    train, test = random_images(3, 1, 2, 2), random_images(2, 1, 2, 2, seed=5)
    pool = pool_of(train, [0, 1, 1], test, [1, 0])
    expected = hashlib.sha256(
        b"(3, 1, 2, 2)" + train.tobytes() + b"(2, 1, 2, 2)" + test.tobytes()
        + b"(3,)" + struct.pack("<3q", 0, 1, 1) + b"(2,)" + struct.pack("<2q", 1, 0)
    )  # fmt: skip
    assert pool.fingerprint == expected.hexdigest()
    assert pool.classes == 2


def test_fingerprint_tells_pixels_and_labels_apart_but_not_titles():
    train, test = random_images(3, 1, 2, 2), random_images(2, 1, 2, 2, seed=5)
    changed = train.copy()
    changed[2, 0, 1, 1] ^= 1
    first = pool_of(train, [0, 1, 1], test, [1, 0]).fingerprint
    assert pool_of(train, [0, 1, 1], test, [1, 0], title="other").fingerprint == first
    assert pool_of(changed, [0, 1, 1], test, [1, 0]).fingerprint != first
    assert pool_of(train, [0, 0, 1], test, [1, 0]).fingerprint != first
    assert pool_of(train, [0, 1, 1], test, [0, 1]).fingerprint != first


def test_fingerprint_of_a_strided_view_is_that_of_its_copy():
    images = random_images(6, 1, 2, 2)
    view = pool_of(images[::2], [0, 1, 1], images[1::2], [1, 0, 0])
    copy = pool_of(images[::2].copy(), [0, 1, 1], images[1::2].copy(), [1, 0, 0])
    assert view.fingerprint == copy.fingerprint


# Files


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def cifar10_variant():
    labels = np.arange(20) % 10
    return pool_of(
        random_images(20, 3, 32, 32), labels, random_images(10, 3, 32, 32, seed=3), labels[:10],
        title="CIFAR-10 (JPEG)",
    )  # fmt: skip


def test_a_store_gives_back_what_was_written(tmp_path):
    pool = cifar10_variant()
    write_store(tmp_path / "x.npz", pool)
    found = read_store(tmp_path / "x.npz", "do this")
    assert found.title == "CIFAR-10 (JPEG)"
    assert found.fingerprint == pool.fingerprint
    assert found.train_images.flags.writeable  # torch warns about arrays that are not
    assert read_store_summary(tmp_path / "x.npz", "do this") == ("CIFAR-10 (JPEG)", 10, 20, 10)


def test_names_of_classes_are_kept_and_not_needed(tmp_path):
    """Stores of before have none."""
    pool = replace(cifar10_variant(), class_names=("a", "b c", "é", *"defghij"))
    write_store(tmp_path / "x.npz", pool)
    assert read_store(tmp_path / "x.npz", "").class_names == pool.class_names
    (tmp_path / "x.npz").write_bytes(npz_arrays())
    found = read_store(tmp_path / "x.npz", "")
    assert found.class_names == ()
    assert found.class_name(3) == "3"


def saved(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npz_arrays(**changes):
    pool = cifar10_variant()
    arrays = {
        "title": np.array(pool.title),
        "train_images": pool.train_images,
        "train_labels": pool.train_labels,
        "test_images": pool.test_images,
        "test_labels": pool.test_labels,
    }
    return saved(**(arrays | changes))


def plain_npy():
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is truncated or not"),
        (b"no archive", "is truncated or not"),
        (npz_arrays()[:-100], "is truncated or not"),
        (plain_npy(), "is truncated or not"),
        (pickle.dumps(Attack(os.mkdir, "trace")), "is truncated or not"),
        (saved(title=np.array("t")), "is truncated or not"),
        (npz_arrays(train_images=np.array([{}], dtype=object)), "is truncated or not"),
        (npz_arrays(train_images=np.zeros((20, 3, 32, 32))), "uint8 images"),
        (npz_arrays(test_images=np.zeros((10, 2, 32, 32), dtype=np.uint8)), "uint8 images"),
        (npz_arrays(test_images=np.zeros((10, 3, 32, 0), dtype=np.uint8)), "uint8 images"),
        (npz_arrays(test_labels=np.zeros(10)), "int64 labels"),
        (npz_arrays(class_names=np.arange(10)), "names of classes"),
        (npz_arrays(class_names=np.array("ten")), "names of classes"),
        (npz_arrays(title=np.array(3)), "a title"),
        (npz_arrays(title=np.array("two\nlines")), "a title"),
    ],
    ids=short_id,
)
def test_a_damaged_store_is_refused(content, says, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_store(path, "do this")
    assert_one_line(error, str(path), says, "do this")


def test_a_store_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(file, **arrays):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="No space left on device") as error:
        write_store(tmp_path / "x.npz", cifar10_variant())
    assert_one_line(error, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_readable_by_whoever_may_read_other_new_files(tmp_path):
    (tmp_path / "other").touch()
    write_store(tmp_path / "x.npz", cifar10_variant())
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "other").stat().st_mode

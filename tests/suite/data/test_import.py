"""Imports: what becomes of images and original files, and that they leave all or nothing."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_data import (
    assert_one_line,
    cifar10_tree,
    png,
    tree,
    write_folder,
    write_idx,
    write_tar,
    write_zip,
)

from driftboard.suite.data import SOURCES, convert_originals, load_pool
from driftboard.suite.data.folder import import_images
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")
CIFAR10_CLASSES = SOURCES["cifar10"].class_names


# Import of images


def test_cifar10_from_images(folder, tmp_path, small_cifar10):
    source_path = write_tar(tmp_path / "c.tar.gz", cifar10_tree())
    entry = import_images("cifar10", source_path, folder)
    pool = load_pool("cifar10", folder)
    assert entry.title == pool.title == "CIFAR-10 (PNG)"
    assert pool.train_labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert pool.train_images.shape == (20, 3, 32, 32)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (cifar10_tree(train=1), "has 10 training images instead of 20"),
        (cifar10_tree(test=2), "has 20 test images instead of 10"),
        (cifar10_tree(("0", *CIFAR10_CLASSES[1:])), "instead of 'airplane, automobile"),
        (cifar10_tree(CIFAR10_CLASSES[1:]), "instead of 'airplane, automobile"),
        (cifar10_tree(shape=(28, 28, 3)), "(3, 28, 28) (channels, height, width)"),
        (cifar10_tree(shape=(32, 32)), "(1, 32, 32) (channels, height, width)"),
    ],
)
def test_images_that_are_not_cifar10_are_refused(files, says, folder, tmp_path, small_cifar10):
    with pytest.raises(DataError) as error:
        import_images("cifar10", write_zip(tmp_path / "c.zip", files), folder)
    assert_one_line(error, says)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Own", "cannot name a data set"),
        ("../own", "cannot name a data set"),
        ("digits", "needs no import"),
        ("cub200-64", "is kept for a known data set"),
    ],
)
def test_names_that_cannot_be_imported(name, says, folder, tmp_path):
    with pytest.raises(DataError) as error:
        import_images(name, write_zip(tmp_path / "x.zip", tree()), folder)
    assert_one_line(error, says)


def test_missing_path(folder, tmp_path):
    with pytest.raises(DataError) as error:
        import_images("own", tmp_path / "gone.zip", folder)
    assert_one_line(error, "gone.zip does not exist")


def test_a_second_import_replaces_the_first(folder, tmp_path):
    import_images("own", write_zip(tmp_path / "x.zip", tree()), folder)
    first = load_pool("folder:own", folder).fingerprint
    import_images("own", write_zip(tmp_path / "y.zip", tree(("a", "b", "c"))), folder)
    assert load_pool("folder:own", folder).classes == 3
    assert load_pool("folder:own", folder).fingerprint != first


def test_a_failed_import_keeps_the_first(folder, tmp_path):
    import_images("own", write_zip(tmp_path / "x.zip", tree()), folder)
    first = (folder / "own.npz").read_bytes()
    with pytest.raises(DataError):
        import_images("own", write_zip(tmp_path / "y.zip", {"train/a/1.png": b"x"}), folder)
    assert (folder / "own.npz").read_bytes() == first


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "data").write_text("a file where a folder is expected")
    with pytest.raises(DataError) as error:
        import_images("own", write_zip(tmp_path / "x.zip", tree()), tmp_path / "data")
    assert_one_line(
        error,
        f"cannot write in {tmp_path / 'data'}",
        "a file is where a folder is needed; move it away or choose another folder",
    )


# Import of original files


@pytest.mark.parametrize("inner", ["", "MNIST/raw"])
def test_original_files_become_a_store(inner, folder, tmp_path, small_mnist):
    write_idx(tmp_path / "in" / "MNIST/raw")
    entry = import_images("mnist", tmp_path / "in" / inner, folder)
    assert (entry.state, entry.train_count) == ("present", 10)
    assert entry.path == str(folder / "mnist.npz")
    convert_originals("mnist", tmp_path / "in")
    expected = load_pool("mnist", tmp_path / "in")
    assert load_pool("mnist", folder).fingerprint == expected.fingerprint
    assert [path.name for path in folder.iterdir()] == ["mnist.npz"]


def test_damaged_original_files_are_not_imported(folder, tmp_path, small_mnist):
    write_idx(tmp_path / "in")
    path = tmp_path / "in/t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        import_images("mnist", tmp_path / "in", folder)
    assert list(folder.iterdir()) == []


def test_a_folder_without_the_files_says_what_is_expected(folder, tmp_path):
    with pytest.raises(DataError) as error:
        import_images("mnist", tmp_path, folder)
    assert_one_line(error, "MNIST/raw/train-images-idx3-ubyte")


def test_cub_is_imported_as_decoded(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(
        SOURCES, "cub200", replace(SOURCES["cub200"], train_count=1, test_count=1, classes=1)
    )
    lists = {
        "images.txt": b"1 a/1.jpg\n2 a/2.jpg\n",
        "image_class_labels.txt": b"1 1\n2 1\n",
        "train_test_split.txt": b"1 1\n2 0\n",
    }
    images = {"images/a/1.jpg": png(1, (64, 64, 3)), "images/a/2.jpg": png(2, (64, 64, 3))}
    holder = write_folder(tmp_path / "CUB_200_2011", lists | images)
    import_images("cub200", holder, folder)
    assert [path.name for path in folder.iterdir()] == ["cub200-64.npz"]
    expected = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(load_pool("cub200", folder).train_images[0], expected.transpose(2, 0, 1))


# Real data


@pytest.mark.skipif(
    not REAL_DATA or not (Path(REAL_DATA) / "cifar10-jpeg.tar.gz").is_file(),
    reason="DRIFTBOARD_DATA has no cifar10-jpeg.tar.gz",
)
def test_real_cifar10_from_jpeg(folder):
    entry = import_images("cifar10", Path(REAL_DATA) / "cifar10-jpeg.tar.gz", folder)
    assert (entry.title, entry.state) == ("CIFAR-10 (JPEG)", "present")
    pool = load_pool("cifar10", folder)
    assert pool.title == "CIFAR-10 (JPEG)"
    assert np.bincount(pool.train_labels).tolist() == [5000] * 10
    assert np.bincount(pool.test_labels).tolist() == [1000] * 10
    assert pool.train_images.shape == (50_000, 3, 32, 32)
    # Means of the original pictures, known to three digits; JPEG hardly moves them.
    means = pool.train_images.mean(axis=(0, 2, 3)) / 255
    assert np.allclose(means, [0.4914, 0.4822, 0.4465], atol=2e-3)
    # as every published record says
    assert pool.fingerprint[:16] == "7aa2946edb047e3a"

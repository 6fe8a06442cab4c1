"""Reading data sets: values from small files in the formats of the real ones, and every refusal."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from driftboard.suite.data import SOURCES, Pool, default_data_folder, find_source, load_pool
from driftboard.suite.data.pool import read_npz, write_npz
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")
needs_real_data = pytest.mark.skipif(not REAL_DATA, reason="DRIFTBOARD_DATA is not set")

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def small(name, train, test, **changes):
    return replace(SOURCES[name], train_count=train, test_count=test, **changes)


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


# Pool


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


# Names and folders


def test_unknown_name_offers_the_nearest():
    with pytest.raises(DataError) as error:
        load_pool("fashion_mnist", Path("/nowhere"))
    assert_one_line(error, "'fashion_mnist'", "did you mean fashion-mnist")


def test_name_like_no_other_lists_all():
    with pytest.raises(DataError) as error:
        find_source("zzz")
    assert_one_line(error, *SOURCES)


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "A", "-x", "a\n", "x" * 65])
def test_own_images_need_a_plain_name(name, tmp_path):
    with pytest.raises(DataError, match="cannot name a data set") as error:
        load_pool(f"folder:{name}", tmp_path)
    assert_one_line(error)


def test_data_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(tmp_path))
    assert default_data_folder() == tmp_path
    monkeypatch.setenv("DRIFTBOARD_DATA", "")
    assert default_data_folder().name == "driftboard"


def test_load_pool_without_a_folder_looks_in_the_default_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(tmp_path))
    with pytest.raises(DataError, match="MNIST is not in") as error:
        load_pool("mnist", None)
    assert_one_line(error, str(tmp_path))


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "digits"])
def test_missing_data_says_where_and_what_to_do(name, tmp_path):
    source = SOURCES[name]
    with pytest.raises(DataError) as error:
        load_pool(name, tmp_path)
    first = tmp_path / source.subfolder / source.files[0].name
    assert_one_line(error, str(first), "is missing", "--data", "DRIFTBOARD_DATA")
    if name == "cub200":
        assert_one_line(error, "driftboard data import cub200 FOLDER")
    else:
        assert_one_line(error, f"driftboard data fetch {name}")


def test_importing_the_module_loads_neither_torch_nor_other_heavy_packages():
    code = (
        "import sys, driftboard.suite.data, driftboard.suite.data.folder, "
        "driftboard.suite.cli.data\n"
        "heavy = ('torch', 'torchvision', 'sklearn', 'PIL', 'pandas')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    [("mnist", "MNIST", "MNIST"), ("fashion-mnist", "FashionMNIST", "Fashion-MNIST")],
)
def test_idx_values(name, folder, title, tmp_path):
    train_images, train_labels, test_images, test_labels = write_idx(tmp_path / folder / "raw")
    pool = small(name, 20, 10).load(tmp_path)
    assert pool.title == title
    assert np.array_equal(pool.train_images[:, 0], train_images)
    assert pool.train_images.shape == (20, 1, 28, 28)
    assert np.array_equal(pool.test_images[:, 0], test_images)
    assert pool.train_labels.dtype == np.int64
    assert np.array_equal(pool.train_labels, train_labels)
    assert np.array_equal(pool.test_labels, test_labels)
    assert pool.classes == 10
    assert pool.train_images.flags.writeable


def test_packed_idx_gives_the_same_pool(tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    plain = small("mnist", 20, 10).load(tmp_path)
    for name in IDX_NAMES:
        (holder / f"{name}.gz").write_bytes(gzip.compress((holder / name).read_bytes()))
        (holder / name).unlink()
    assert small("mnist", 20, 10).load(tmp_path).fingerprint == plain.fingerprint


def test_idx_agrees_with_torchvision(tmp_path):
    from torchvision.datasets import FashionMNIST

    write_idx(tmp_path / "FashionMNIST/raw")
    pool = small("fashion-mnist", 20, 10).load(tmp_path)
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


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (replaced(IDX_NAMES[0], lambda b: b[:-1]), "is truncated or damaged"),
        (replaced(IDX_NAMES[0], lambda b: b + b"x"), "is truncated or damaged"),
        (replaced(IDX_NAMES[0], lambda b: b[:7]), "is truncated: 7 bytes"),
        (replaced(IDX_NAMES[1], lambda b: b""), "is truncated: 0 bytes"),
        (replaced(IDX_NAMES[2], lambda b: b"\0\0\x08\x01" + b[4:]), "2049 instead of 2051"),
        (replaced(IDX_NAMES[3], lambda b: b"<htm" + b[4:]), "instead of 2049"),
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
            "is truncated or damaged: 16 bytes",
        ),
    ],
    ids=short_id,
)
def test_damaged_idx_is_refused(damage, says, tmp_path):
    holder = tmp_path / "MNIST/raw"
    write_idx(holder)
    damage(holder)
    with pytest.raises(DataError) as error:
        small("mnist", 20, 10).load(tmp_path)
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
        small("mnist", 20, 10).load(tmp_path)
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
    return rows.reshape(-1, 3, 32, 32), labels


@pytest.mark.parametrize(
    "batch",
    [
        python2_batch,
        python3_batch,
        # Some writers keep arrays column by column.
        lambda data, labels: python3_batch(np.asfortranarray(data), labels),
        lambda data, labels: pickle.dumps({"data": data, "labels": labels.tolist()}, protocol=4),
    ],
)
def test_cifar10_values(batch, tmp_path):
    images, labels = write_cifar10(tmp_path, batch)
    pool = small("cifar10", 20, 10).load(tmp_path)
    assert pool.title == "CIFAR-10"
    assert np.array_equal(pool.train_images, images[:20])
    assert np.array_equal(pool.test_images, images[20:])
    assert np.array_equal(pool.train_labels, labels[:20])
    assert np.array_equal(pool.test_labels, labels[20:])
    assert pool.train_images.flags.c_contiguous
    assert pool.test_images.flags.writeable


def test_cifar100_takes_the_fine_labels(tmp_path):
    holder = tmp_path / "cifar-100-python"
    holder.mkdir()
    rows, labels = random_images(200, 3072), np.arange(200) % 100
    content = {"data": rows, "coarse_labels": [0] * 200, "fine_labels": labels.tolist()}
    (holder / "train").write_bytes(pickle.dumps(content, protocol=2))
    (holder / "test").write_bytes(python2_batch(rows[:100], labels[:100], b"fine_labels"))
    pool = small("cifar100", 200, 100).load(tmp_path)
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
def test_a_pickle_runs_nothing(function, protocol, tmp_path):
    write_cifar10(tmp_path)
    trace = tmp_path / "trace"
    command = f"__import__('os').mkdir({str(trace)!r})" if function is eval else str(trace)
    path = tmp_path / "cifar-10-batches-py/data_batch_3"
    path.write_bytes(pickle.dumps({"data": Attack(function, command)}, protocol=protocol))
    with pytest.raises(DataError) as error:
        small("cifar10", 20, 10).load(tmp_path)
    assert_one_line(error, str(path), "it asks for")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (python2_batch(random_images(4, 3072), range(4))[:-5000], "is truncated"),
        (b"", "is truncated"),
        (b"<html>not found</html>", "is truncated or not a plain CIFAR pickle"),
        (pickle.dumps([1, 2]), "holds no dictionary"),
        (pickle.dumps({"labels": [0, 1, 2, 3]}), "'data' or 'labels' is missing"),
        (python2_batch(random_images(4, 3072), range(4), b"other"), "'labels' is missing"),
        (python2_batch(random_images(4, 3071), range(4)), "(4, 3071) instead of (N, 3072)"),
        (python2_batch(random_images(4, 3072), range(3)), "one whole number in 'labels' per image"),
        (python2_batch(random_images(4, 3072), [0, 1, 2, 10]), "not in 0..9"),
        (python2_batch(random_images(3, 3072), range(3)), "19 training images instead of 20"),
        (
            pickle.dumps({"data": np.zeros((4, 3072), dtype=np.float32), "labels": [0] * 4}, 4),
            "an array of type 'f4' instead of bytes",
        ),
        (
            pickle.dumps({"data": random_images(4, 3072), "labels": [0, 1, 2, 2**70]}, protocol=2),
            "not in 0..9",
        ),
        (
            pickle.dumps({"data": random_images(4, 3072), "labels": list("0123")}, protocol=2),
            "one whole number",
        ),
    ],
    ids=short_id,
)
def test_damaged_cifar10_is_refused(content, says, tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_2").write_bytes(content)
    with pytest.raises(DataError) as error:
        small("cifar10", 20, 10).load(tmp_path)
    assert_one_line(error, says, "cifar-10-batches-py", "driftboard data fetch cifar10")


# One npz file


def cifar10_variant():
    labels = np.arange(20) % 10
    return pool_of(
        random_images(20, 3, 32, 32), labels, random_images(10, 3, 32, 32, seed=3), labels[:10],
        title="CIFAR-10 (JPEG)",
    )  # fmt: skip


def test_npz_takes_the_place_of_missing_cifar10_files_only(tmp_path):
    variant = cifar10_variant()
    write_npz(tmp_path / "cifar10.npz", variant)
    source = small("cifar10", 20, 10)
    pool = source.load(tmp_path)
    assert pool.title == "CIFAR-10 (JPEG)"
    assert pool.fingerprint == variant.fingerprint
    write_cifar10(tmp_path)
    assert source.load(tmp_path).title == "CIFAR-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cifar-10-batches-py",
        "cifar10.npz",
    ]


def test_npz_of_wrong_counts_is_refused(tmp_path):
    write_npz(tmp_path / "cifar10.npz", cifar10_variant())
    with pytest.raises(DataError) as error:
        load_pool("cifar10", tmp_path)
    assert_one_line(error, "has 20 training images instead of 50000")


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
        (npz_arrays(test_labels=np.zeros(10)), "int64 labels"),
        (npz_arrays(title=np.array(3)), "a title"),
        (npz_arrays(title=np.array("two\nlines")), "a title"),
    ],
    ids=short_id,
)
def test_damaged_npz_is_refused(content, says, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_npz(path, "do this")
    assert_one_line(error, str(path), says, "do this")


def test_npz_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(file, **arrays):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="No space left on device") as error:
        write_npz(tmp_path / "x.npz", cifar10_variant())
    assert_one_line(error, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_npz_is_readable_by_whoever_may_read_other_new_files(tmp_path):
    (tmp_path / "other").touch()
    write_npz(tmp_path / "x.npz", cifar10_variant())
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


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
    pool = small_cub().load(tmp_path)
    assert pool.train_labels.tolist() == [0, 1]
    assert pool.test_labels.tolist() == [0, 1]
    assert pool.train_images.shape == pool.test_images.shape == (2, 3, 64, 64)
    assert np.all(pool.train_images[0, :2] == 120)
    assert np.all(pool.train_images[0, 2] == 7)
    assert np.array_equal(pool.test_images[0], pool.train_images[0])
    assert np.all(pool.test_images[1] == 99)
    assert np.all(pool.train_images[1] == np.array([1, 2, 3]).reshape(3, 1, 1))


def test_cub_is_decoded_once(tmp_path):
    holder = write_cub(tmp_path)
    first = small_cub().load(tmp_path)
    (holder / "images.txt").unlink()
    second = small_cub().load(tmp_path)
    assert (tmp_path / "cub200-64.npz").is_file()
    assert second.fingerprint == first.fingerprint
    assert second.title == "CUB-200-2011 (64x64)"


def test_cub_needs_no_writable_folder(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    write_cub(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert small_cub().load(tmp_path).test_labels.tolist() == [0, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["CUB_200_2011"]


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
        small_cub().load(tmp_path)
    assert_one_line(error, says, str(holder))
    assert not (tmp_path / "cub200-64.npz").exists()


# Image folders


def write_image(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def write_tree(root, shape=(5, 7, 3)):
    """Write two classes with two training images and one test image each; return the pixels."""
    pixels = {}
    for seed, name in enumerate(
        ["train/b/2.png", "train/b/10.png", "train/a/1.png", "train/a/2.png",
         "test/a/1.png", "test/b/1.png"],
    ):  # fmt: skip
        pixels[name] = random_images(*shape, seed=seed)
        write_image(root / name, pixels[name])
    return pixels


def test_image_folder_values_and_order(tmp_path):
    pixels = write_tree(tmp_path / "own")
    (tmp_path / "own/train/a/.hidden.png").write_bytes(b"junk")
    (tmp_path / "own/train/README.txt").write_text("no image")
    pool = load_pool("folder:own", tmp_path)
    assert pool.title == "own (PNG)"
    assert pool.train_labels.tolist() == [0, 0, 1, 1]
    assert pool.test_labels.tolist() == [0, 1]
    assert pool.train_images.shape == (4, 3, 5, 7)
    order = ["train/a/1.png", "train/a/2.png", "train/b/10.png", "train/b/2.png"]
    expected = np.stack([pixels[name].transpose(2, 0, 1) for name in order])
    assert np.array_equal(pool.train_images, expected)


def test_grey_stays_grey_unless_there_is_colour(tmp_path):
    pixels = write_tree(tmp_path / "own", shape=(5, 7))
    grey = load_pool("folder:own", tmp_path)
    assert grey.train_images.shape == (4, 1, 5, 7)
    write_image(tmp_path / "own/test/b/1.png", random_images(5, 7, 3))
    mixed = load_pool("folder:own", tmp_path)
    assert mixed.train_images.shape == (4, 3, 5, 7)
    for channel in range(3):
        assert np.array_equal(mixed.train_images[0, channel], pixels["train/a/1.png"])
    assert np.array_equal(mixed.test_images[1], random_images(5, 7, 3).transpose(2, 0, 1))


def test_formats_are_named(tmp_path):
    write_tree(tmp_path / "own")
    write_image(tmp_path / "own/train/a/3.jpg", random_images(5, 7, 3))
    assert load_pool("folder:own", tmp_path).title == "own (JPEG, PNG)"


def test_npz_goes_before_the_folder(tmp_path):
    write_tree(tmp_path / "own")
    write_npz(tmp_path / "own.npz", cifar10_variant())
    pool = load_pool("folder:own", tmp_path)
    assert pool.fingerprint == cifar10_variant().fingerprint


def test_missing_own_images(tmp_path):
    with pytest.raises(DataError) as error:
        load_pool("folder:own", tmp_path)
    assert_one_line(error, str(tmp_path / "own.npz"), "driftboard data import own FILE")


def add_large(root):
    write_image(root / "train/b/2.png", random_images(8, 7, 3))


def add_deep(root):
    write_image(root / "train/b/deep/2.png", random_images(5, 7, 3))


def add_shallow(root):
    write_image(root / "train/2.png", random_images(5, 7, 3))


def add_class(root):
    write_image(root / "train/c/1.png", random_images(5, 7, 3))


def add_broken(root):
    (root / "train/a/3.png").write_bytes((root / "train/a/2.png").read_bytes()[:60])


def add_deep_colours(root):
    write_image(root / "train/a/3.png", np.zeros((5, 7), dtype=np.uint16))


def drop_test(root):
    for name in ("a", "b"):
        (root / "test" / name / "1.png").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (add_large, "'train/b/2.png' is 7x8, the first image 7x5"),
        (add_deep, "'train/b/deep/2.png'"),
        (add_shallow, "'train/2.png'"),
        (add_class, "the class 'c' in train only"),
        (add_broken, "'train/a/3.png'"),
        (add_deep_colours, "more than 8 bits"),
        (drop_test, "no images in test/<class>/"),
    ],
)
def test_bad_image_folder_is_refused(damage, says, tmp_path):
    write_tree(tmp_path / "own")
    damage(tmp_path / "own")
    with pytest.raises(DataError) as error:
        load_pool("folder:own", tmp_path)
    assert_one_line(error, says, str(tmp_path / "own"))


@pytest.mark.parametrize(
    "labels", [[0, 1, 2, -1], [0, 1, 3, 3], [0, 1, 1], [0, 0, 1, 1], [0, 1, 2, 2**62]]
)
def test_own_npz_with_wrong_labels_is_refused(labels, tmp_path):
    images = random_images(4, 1, 2, 2)
    write_npz(tmp_path / "own.npz", pool_of(images, labels, images, [0, 1, 2, 2]))
    with pytest.raises(DataError, match="do not belong together") as error:
        load_pool("folder:own", tmp_path)
    assert_one_line(error, str(tmp_path / "own.npz"))


def test_empty_own_npz_is_refused(tmp_path):
    images = random_images(0, 1, 2, 2)
    write_npz(tmp_path / "own.npz", pool_of(images, [], images, []))
    with pytest.raises(DataError, match="do not belong together"):
        load_pool("folder:own", tmp_path)


# Real data


@needs_real_data
def test_real_fashion_mnist_is_what_torchvision_reads():
    from torchvision.datasets import FashionMNIST

    pool = load_pool("fashion-mnist", Path(REAL_DATA))
    assert np.bincount(pool.train_labels).tolist() == [6000] * 10
    assert np.bincount(pool.test_labels).tolist() == [1000] * 10
    train, test = FashionMNIST(REAL_DATA), FashionMNIST(REAL_DATA, train=False)
    assert np.array_equal(pool.train_images[:, 0], train.data.numpy())
    assert np.array_equal(pool.train_labels, train.targets.numpy())
    assert np.array_equal(pool.test_images[:, 0], test.data.numpy())
    assert np.array_equal(pool.test_labels, test.targets.numpy())

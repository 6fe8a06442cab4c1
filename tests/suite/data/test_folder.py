"""The data folder: its status, downloads that fail, and imports that leave all or nothing."""

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from driftboard.suite.cli.data import app
from driftboard.suite.data import SOURCES, Pool, convert_originals, load_pool
from driftboard.suite.data import folder as data_folder
from driftboard.suite.data.folder import fetch, import_images, status
from driftboard.suite.data.store import write_store
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")
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


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/driftboard/data"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def small_cifar10(monkeypatch):
    """CIFAR-10 with two training images and one test image per class."""
    monkeypatch.setitem(
        SOURCES, "cifar10", replace(SOURCES["cifar10"], train_count=20, test_count=10)
    )


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
)


@pytest.fixture
def small_mnist(monkeypatch):
    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)


def state_of(folder, name):
    return next(entry for entry in status(folder) if entry.name == name)


# Loading


def make_pool(train_labels, test_labels, shape=(1, 2, 2), title="made up"):
    random = np.random.default_rng(0)
    parts = []
    for labels in (train_labels, test_labels):
        parts.append(random.integers(0, 256, (len(labels), *shape), dtype=np.uint8))
        parts.append(np.array(labels, dtype=np.int64))
    return Pool(title, *parts)


def test_original_files_are_converted_once_and_then_read_from_the_cache(
    folder, cache, small_mnist, capsys, monkeypatch
):
    holder = folder / "MNIST/raw"
    write_idx(holder)
    holder.chmod(0o555)  # as a data folder that many share
    convert_originals("mnist", folder)
    (store,) = cache.iterdir()
    assert capsys.readouterr().err == f"mnist: converting {holder} once, into {store}\n"
    pool = load_pool("mnist", folder)
    assert (pool.title, pool.train_images.shape) == ("MNIST", (10, 1, 28, 28))
    monkeypatch.setitem(SOURCES, "mnist", replace(SMALL_MNIST, read=None))
    convert_originals("mnist", folder)
    assert load_pool("mnist", folder).fingerprint == pool.fingerprint
    assert capsys.readouterr().err == ""
    assert [path.name for path in folder.iterdir()] == ["MNIST"]


def test_original_files_that_changed_are_converted_again(folder, cache, small_mnist):
    holder = folder / "MNIST/raw"
    write_idx(holder)
    convert_originals("mnist", folder)
    first = load_pool("mnist", folder)
    path = holder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:8] + bytes(range(10))[::-1])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(DataError, match="has not been prepared"):
        load_pool("mnist", folder)
    convert_originals("mnist", folder)
    second = load_pool("mnist", folder)
    assert second.test_labels.tolist() == first.test_labels.tolist()[::-1]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("name", ["mnist", "folder:plain"])
def test_without_a_store_loading_says_in_one_line_what_to_run(name, folder, small_mnist):
    """As on a machine of a cluster where no command was run."""
    write_idx(folder / "MNIST/raw")
    write_folder(folder / "plain", tree())
    with pytest.raises(DataError) as error:
        load_pool(name, folder)
    assert_one_line(error, f"run 'driftboard data fetch {name} --data {folder}'")
    assert fetch(name, folder).state == "present"
    assert load_pool(name, folder).classes > 1


def test_damaged_original_files_are_not_converted(folder, cache, small_mnist):
    write_idx(folder / "MNIST/raw")
    path = folder / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError) as error:
        convert_originals("mnist", folder)
    assert_one_line(error, str(path), "driftboard data fetch mnist")
    assert not cache.exists()


def test_conversion_leaves_what_is_missing_to_loading(folder, cache):
    for name in ("mnist", "digits", "folder:own"):
        convert_originals(name, folder)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_one_line(folder, cache, small_mnist):
    write_idx(folder / "MNIST/raw")
    cache.parent.parent.write_text("a file where a folder is expected")
    with pytest.raises(DataError) as error:
        convert_originals("mnist", folder)
    command = f"driftboard data import mnist {folder / 'MNIST/raw'} --data DIR"
    assert_one_line(error, str(cache), f"run '{command}'")


def test_a_damaged_store_in_the_cache_says_to_delete_it(folder, cache, small_mnist):
    write_idx(folder / "MNIST/raw")
    convert_originals("mnist", folder)
    (store,) = cache.iterdir()
    store.write_bytes(store.read_bytes()[:-100])
    with pytest.raises(DataError) as error:
        load_pool("mnist", folder)
    assert_one_line(error, str(store), "delete it")


LOAD = """
import sys
from pathlib import Path
from driftboard.suite.data import SOURCES, load_pool
heavy = ("torch", "torchvision", "sklearn", "PIL", "pandas")
pool = load_pool("folder:own", Path(sys.argv[1]))
pool = load_pool("digits", None)
print(len(pool.train_images), [module for module in heavy if module in sys.modules])
"""


def test_loading_imports_neither_torchvision_nor_other_heavy_packages(folder):
    write_store(folder / "own.npz", make_pool([0, 1], [0, 1]))
    output = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=True
    ).stdout
    assert output.split(maxsplit=1) == ["1297", "[]\n"]


def test_the_store_goes_before_original_files_and_image_folders(folder, small_mnist):
    variant = make_pool(range(10), range(10), (1, 28, 28), title="a variant")
    write_store(folder / "mnist.npz", variant)
    write_store(folder / "own.npz", variant)
    write_idx(folder / "MNIST/raw")
    write_folder(folder / "own", tree())
    for name in ("mnist", "folder:own"):
        convert_originals(name, folder)
        assert load_pool(name, folder).fingerprint == variant.fingerprint
    assert state_of(folder, "mnist").title == "a variant"


def test_a_store_of_wrong_counts_is_refused(folder):
    write_store(folder / "cifar10.npz", make_pool(range(10), range(10), (3, 32, 32)))
    with pytest.raises(DataError) as error:
        load_pool("cifar10", folder)
    assert_one_line(error, "has 10 training images instead of 50000")


@pytest.mark.parametrize("labels", [[0, 1, 2, -1], [0, 1, 3, 3], [0, 0, 1, 1], [0, 1, 2, 2**62]])
def test_an_own_store_with_wrong_labels_is_refused(labels, folder):
    write_store(folder / "own.npz", make_pool(labels, [0, 1, 2, 2]))
    with pytest.raises(DataError, match="do not belong together") as error:
        load_pool("folder:own", folder)
    assert_one_line(error, str(folder / "own.npz"))


def test_an_own_store_with_fewer_labels_than_images_is_refused(folder):
    pool = make_pool([0, 1, 2, 2], [0, 1, 2, 2])
    write_store(folder / "own.npz", replace(pool, train_labels=np.array([0, 1, 2])))
    with pytest.raises(DataError, match="do not belong together"):
        load_pool("folder:own", folder)


def test_an_empty_own_store_is_refused(folder):
    write_store(folder / "own.npz", make_pool([], []))
    with pytest.raises(DataError, match="do not belong together"):
        load_pool("folder:own", folder)


def test_missing_own_images(folder):
    with pytest.raises(DataError) as error:
        load_pool("folder:own", folder)
    assert_one_line(error, str(folder / "own.npz"), "driftboard data import own FILE")


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
    assert_one_line(error, f"cannot write in {tmp_path / 'data'}", "--data")


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


# Status


def test_status_of_an_empty_or_absent_folder(folder):
    for place in (folder, folder / "absent"):
        states = {entry.name: entry.state for entry in status(place)}
        assert states.pop("digits") == "present"
        assert set(states.values()) == {"missing"}
    assert state_of(folder, "mnist").next_step == "driftboard data fetch mnist"
    assert state_of(folder, "cub200").next_step == "driftboard data import cub200 FOLDER"


def test_status_of_whole_partial_and_truncated_files(folder, small_mnist):
    holder = folder / "MNIST/raw"
    write_idx(holder)
    assert (state_of(folder, "mnist").state, state_of(folder, "mnist").reason) == ("present", "")
    images = holder / "train-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:1000])
    entry = state_of(folder, "mnist")
    assert entry.state == "broken"
    assert entry.reason == f"{images.name} is truncated: 1000 of at least 7840 bytes"
    images.unlink()
    entry = state_of(folder, "mnist")
    assert (entry.state, entry.reason) == ("broken", f"{images.name} is missing")


def test_status_of_imported_files(folder, tmp_path, small_cifar10):
    import_images("cifar10", write_zip(tmp_path / "c.zip", cifar10_tree()), folder)
    import_images("own", write_zip(tmp_path / "x.zip", tree()), folder)
    write_folder(folder / "plain", tree())
    (folder / "bad.npz").write_bytes((folder / "own.npz").read_bytes()[:50])
    (folder / "Not A Name.npz").write_bytes(b"")
    entries = {entry.name: entry for entry in status(folder)}
    cifar10 = entries["cifar10"]
    assert (cifar10.title, cifar10.state, cifar10.train_count) == ("CIFAR-10 (PNG)", "present", 20)
    assert (entries["folder:own"].train_count, entries["folder:own"].test_count) == (4, 2)
    assert (entries["folder:plain"].state, entries["folder:plain"].train_count) == ("present", None)
    assert entries["folder:bad"].state == "broken"
    assert entries["folder:bad"].next_step == "driftboard data import bad FILE"
    assert [name for name in entries if name.startswith("folder:")] == [
        "folder:bad",
        "folder:own",
        "folder:plain",
    ]


# Fetch


def set_fetch(monkeypatch, function):
    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
    monkeypatch.setattr(data_folder, "download", lambda _, place: function(place))


def test_fetched_files_are_checked_and_become_a_store(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw"))
    entry = fetch("mnist", folder)
    assert (entry.state, entry.path) == ("present", str(folder / "mnist.npz"))
    assert load_pool("mnist", folder).classes == 10
    assert [path.name for path in folder.iterdir()] == ["mnist.npz"]
    set_fetch(monkeypatch, lambda place: pytest.fail("fetched"))
    assert fetch("mnist", folder) == entry


def test_what_is_there_is_not_fetched_again(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: pytest.fail("fetched"))
    write_idx(folder / "MNIST/raw")
    assert fetch("mnist", folder).state == "present"
    assert fetch("digits", folder).state == "present"


@pytest.mark.parametrize(
    "failure",
    [
        URLError(OSError(101, "Network is unreachable")),
        RuntimeError("Error downloading\ntrain-images"),
        TimeoutError("timed out"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(failure, folder, monkeypatch):
    def fail(place):
        (place / "MNIST").mkdir()
        (place / "MNIST/half").write_bytes(b"half")
        raise failure

    set_fetch(monkeypatch, fail)
    with pytest.raises(DataError) as error:
        fetch("mnist", folder)
    assert_one_line(
        error,
        "cannot download MNIST",
        "train-images-idx3-ubyte",
        f"into {folder / 'MNIST/raw'} by hand",
    )
    assert list(folder.iterdir()) == []


def test_an_incomplete_download_is_refused(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw", count=9))
    with pytest.raises(DataError, match="9 training images instead of 10"):
        fetch("mnist", folder)
    assert list(folder.iterdir()) == []


def test_a_download_that_brings_nothing_is_refused(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: None)
    with pytest.raises(DataError) as error:
        fetch("mnist", folder)
    assert_one_line(error, "train-images-idx3-ubyte")
    assert list(folder.iterdir()) == []


def test_a_variant_is_not_taken_for_the_original(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw"))
    variant = make_pool(range(10), range(10), (1, 28, 28), title="MNIST (PNG)")
    write_store(folder / "mnist.npz", variant)
    assert fetch("mnist", folder).title == "MNIST"
    assert load_pool("mnist", folder).fingerprint != variant.fingerprint


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def test_a_download_shows_its_progress_on_stderr(folder, tmp_path, monkeypatch, capsys):
    from torchvision import datasets

    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
    site = tmp_path / "site"
    write_idx(site)
    resources = []
    for path in sorted(site.iterdir()):
        content = gzip.compress(path.read_bytes(), mtime=0)
        path.with_name(f"{path.name}.gz").write_bytes(content)
        resources.append((f"{path.name}.gz", hashlib.md5(content).hexdigest()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        assert fetch("mnist", folder).state == "present"
        server.shutdown()
    written = capsys.readouterr()
    assert "100%" in written.err
    assert written.out == ""
    assert load_pool("mnist", folder).title == "MNIST"


def test_what_cannot_be_fetched_says_what_to_do(folder):
    with pytest.raises(DataError) as error:
        fetch("cub200", folder)
    assert_one_line(error, "cannot be downloaded", "driftboard data import cub200 FOLDER")
    with pytest.raises(DataError, match="did you mean mnist"):
        fetch("mnits", folder)


# Command line


def test_list_as_json(folder, tmp_path):
    import_images("own", write_zip(tmp_path / "x.zip", tree()), folder)
    result = CliRunner().invoke(app, ["list", "--json", "--data", str(folder)])
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["folder"] == str(folder)
    assert content["sources"][-1] == {
        "name": "folder:own",
        "title": "own (PNG)",
        "state": "present",
        "reason": "",
        "train_count": 4,
        "test_count": 2,
        "path": str(folder / "own.npz"),
        "next_step": "",
    }
    assert len(content["sources"]) == len(SOURCES) + 1


def test_no_command_lists(folder, monkeypatch):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(folder))
    monkeypatch.setenv("COLUMNS", "120")
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert f"data folder: {folder}" in result.stdout
    assert "driftboard data fetch fashion-mnist" in result.stdout
    assert "1,297" in result.stdout


def test_import_command_says_what_came(folder, tmp_path):
    source_path = write_zip(tmp_path / "x.zip", tree())
    result = CliRunner().invoke(app, ["import", "own", str(source_path), "--data", str(folder)])
    assert result.exit_code == 0
    assert result.stdout == (
        f"folder:own: own (PNG), 4 training and 2 test images in {folder / 'own.npz'}\n"
    )


def test_commands_leave_errors_to_the_caller(folder):
    result = CliRunner().invoke(app, ["import", "own", str(folder / "gone"), "--data", str(folder)])
    assert isinstance(result.exception, DataError)
    result = CliRunner().invoke(app, ["fetch", "cub200", "--data", str(folder)])
    assert isinstance(result.exception, DataError)


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

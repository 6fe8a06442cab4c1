"""The data folder: what is loaded from it, and its status."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from made_up_data import (
    SMALL_MNIST,
    assert_one_line,
    cifar10_tree,
    make_pool,
    state_of,
    tree,
    write_folder,
    write_idx,
    write_zip,
)

from driftboard.suite.data import SOURCES, convert_originals, load_pool
from driftboard.suite.data.folder import fetch, import_images, status
from driftboard.suite.data.store import write_store
from driftboard.suite.errors import DataError

# Loading


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
    assert_one_line(error, f"run `driftboard data fetch {name} --data {folder}`")
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
    assert_one_line(error, str(cache), f"run `{command}`", "a file is where a folder is needed")


def test_a_damaged_store_in_the_cache_says_to_delete_it(folder, cache, small_mnist):
    write_idx(folder / "MNIST/raw")
    convert_originals("mnist", folder)
    (store,) = cache.iterdir()
    store.write_bytes(store.read_bytes()[:-100])
    with pytest.raises(DataError) as error:
        load_pool("mnist", folder)
    assert_one_line(error, str(store), "delete it")


def other_labels(pool):
    return replace(pool, train_labels=pool.train_labels * 0)


def exchanged(pool):
    changed = {"train_labels": pool.train_labels[::-1].copy()} if pool.class_names else {}
    return replace(pool, title="another", **changed)


def renamed(pool):
    names = tuple(reversed(pool.class_names))
    return replace(pool, class_names=names) if names else replace(pool, title="another")


def fewer_images(pool):
    return replace(pool, test_images=pool.test_images[1:], test_labels=pool.test_labels[1:])


def half_as_many(pool):
    parts = {name: getattr(pool, name)[::2] for name in ("train_images", "train_labels")}
    return replace(pool, **parts)


BAD = {
    "truncated": lambda store, pool: store.write_bytes(store.read_bytes()[:-100]),
    "no store": lambda store, pool: store.write_bytes(b"words"),
    "a flipped bit": lambda store, pool: flip(store),
    "labels of one class": lambda store, pool: write_store(store, other_labels(pool)),
    "labels of others": lambda store, pool: write_store(store, exchanged(pool)),
    "names of others": lambda store, pool: write_store(store, renamed(pool)),
    "an image fewer": lambda store, pool: write_store(store, fewer_images(pool)),
    "half of the images": lambda store, pool: write_store(store, half_as_many(pool)),
    "other shapes": lambda store, pool: write_store(store, other_shapes(pool)),
}


def flip(store):
    content = bytearray(store.read_bytes())
    content[content.index(b"train_images.npy") + 300] ^= 1
    store.write_bytes(content)


def other_shapes(pool):
    return replace(pool, test_images=pool.test_images[:, :, 1:])


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["mnist", "folder:plain"])
def test_a_bad_store_in_the_cache_is_made_anew(name, spoil, folder, cache, small_mnist, capsys):
    write_idx(folder / "MNIST/raw")
    write_folder(folder / "plain", tree())
    convert_originals(name, folder)
    pool = load_pool(name, folder)
    (store,) = cache.iterdir()
    spoil(store, pool)
    capsys.readouterr()
    convert_originals(name, folder)
    assert f"{name}: {store} is not as it was written and is made anew" in capsys.readouterr().err
    again = load_pool(name, folder)
    assert (again.fingerprint, again.title) == (pool.fingerprint, pool.title)
    convert_originals(name, folder)
    assert capsys.readouterr().err == ""


def test_files_exchanged_for_others_of_the_same_size_and_time_are_converted_again(folder):
    """As files of a fixed size from an archive whose times are all the same."""
    header = b"P5 6 4 255\n"
    write_folder(
        folder / "own",
        {
            f"{split}/{name}/0.pgm": header + bytes([place] * 24)
            for place, (split, name) in enumerate(product(("train", "test"), ("a", "b")))
        },
    )
    paths = sorted((folder / "own").rglob("*.pgm"))
    for path in paths:
        os.utime(path, ns=(0, 0))
    convert_originals("folder:own", folder)
    first = load_pool("folder:own", folder)
    one, other = paths[0], paths[1]
    assert one.stat().st_size == other.stat().st_size
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for path in (one, other):
        os.utime(path, ns=(0, 0))
    convert_originals("folder:own", folder)
    assert load_pool("folder:own", folder).fingerprint != first.fingerprint


def test_conversion_gives_back_what_it_has_read(folder, small_mnist):
    write_idx(folder / "MNIST/raw")
    for _ in range(2):
        pool = convert_originals("mnist", folder)
        assert pool.fingerprint == load_pool("mnist", folder).fingerprint
    assert convert_originals("digits", folder) is None
    write_store(folder / "mnist.npz", pool)
    assert convert_originals("mnist", folder) is None


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


def test_an_own_store_with_names_of_more_classes_is_refused(folder):
    pool = replace(make_pool([0, 1], [0, 1]), class_names=("a", "b", "c"))
    write_store(folder / "own.npz", pool)
    with pytest.raises(DataError, match="names of 3 classes instead of 2"):
        load_pool("folder:own", folder)


def test_an_empty_own_store_is_refused(folder):
    write_store(folder / "own.npz", make_pool([], []))
    with pytest.raises(DataError, match="do not belong together"):
        load_pool("folder:own", folder)


def test_missing_own_images(folder):
    with pytest.raises(DataError) as error:
        load_pool("folder:own", folder)
    assert_one_line(error, str(folder / "own.npz"), "driftboard data import own FILE")


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

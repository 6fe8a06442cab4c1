"""Files that hold more than they say: refused while little of them is in memory or on disk."""

import gzip
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from made_up_data import assert_one_line, png, state_of, tree, write_idx, write_tar, write_zip
from PIL import Image

from driftboard.suite.data import convert_originals, load_pool
from driftboard.suite.data.archives import MAX_HEADER_BYTES
from driftboard.suite.data.folder import import_images
from driftboard.suite.data.store import read_unpacked
from driftboard.suite.errors import DataError

LARGE = 60 * 2**20  # bytes
SMALL = 16 * 2**20


@contextmanager
def little_memory():
    """Fail if ever more than a few megabytes are held within, also where that is refused."""
    tracemalloc.start()
    try:
        yield
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < SMALL


def lie_about(path, name, size):
    """Change the size that a zip states of a member, in both of its headers."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, info.header_offset + 22, size)
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    struct.pack_into("<I", content, entry + 24, size)
    path.write_bytes(content)


def refused(path, folder):
    with pytest.raises(DataError) as error, little_memory():
        import_images("own", path, folder)
    assert_one_line(error, str(path))
    assert list(folder.iterdir()) == []
    return str(error.value)


def test_a_zip_that_holds_more_than_it_says(folder, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tree().items():
            archive.writestr(name, content)
        with archive.open("train/a/big.png", "w") as member:
            for _ in range(LARGE // 2**20):
                member.write(bytes(2**20))
    lie_about(path, "train/a/big.png", 1000)
    assert "cannot read the archive" in refused(path, folder)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_cannot_be_unpacked_in_parts(kind, folder, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in tree().items():
            archive.writestr(name, content)
    assert "'train/a/0.png' is neither stored nor deflated" in refused(path, folder)


def test_a_tar_whose_header_is_large(folder, tmp_path):
    """tarfile reads headers whole; packed they take no room."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, LARGE
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(LARGE // 2**20):
            file.write(bytes(2**20))
    assert "cannot read the archive" in refused(path, folder)


def test_an_image_of_a_tar_may_be_larger_than_a_header(folder, tmp_path):
    files = tree(shape=(640, 640, 3))
    assert min(map(len, files.values())) > MAX_HEADER_BYTES
    import_images("own", write_tar(tmp_path / "x.tar", files), folder)
    assert load_pool("folder:own", folder).train_images.shape == (4, 3, 640, 640)


def test_images_of_different_sizes_are_refused_at_the_second(folder, tmp_path, monkeypatch):
    files = tree(shape=(4, 6, 3))
    files["train/a/0.png"] = png(0, (9, 9, 3))
    decoded = []
    opened = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: decoded.append(1) or opened(*a, **k))
    message = refused(write_zip(tmp_path / "x.zip", files), folder)
    assert "'train/a/1.png' is 6x4, 'train/a/0.png' 9x9" in message
    assert len(decoded) == 2


def test_more_images_than_fit_into_memory_are_refused_at_the_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("driftboard.suite.data.image_folder._free_memory", lambda: 500)
    message = refused(write_zip(tmp_path / "x.zip", tree()), folder)
    assert "6 images of 6x4 pixels need" in message


@pytest.mark.parametrize("packed", [True, False])
def test_an_idx_file_that_is_larger_than_it_can_be(folder, tmp_path, small_mnist, packed):
    import torchvision.datasets  # noqa: F401  # what conversions import is not what is measured

    write_idx(folder / "MNIST/raw")
    path = folder / "MNIST/raw/train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.unlink()
    target = path.with_name(path.name + ".gz") if packed else path
    opened = gzip.open if packed else open
    with opened(target, "wb") as file:
        file.write(whole)
        for _ in range(LARGE // 2**20):
            file.write(bytes(2**20))
    with pytest.raises(DataError) as error, little_memory():
        convert_originals("mnist", folder)
    assert_one_line(error, str(target), "more than")
    assert state_of(folder, "mnist").state in ("present", "broken")


def test_reading_ends_at_the_limit(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"12345"))
    assert read_unpacked(path, 5) == b"12345"
    with pytest.raises(DataError, match="more than 4 bytes"):
        read_unpacked(path, 4)


def test_a_store_that_is_compressed_is_refused(folder):
    """What Driftboard writes is not, so its arrays are never larger than the file."""
    images = np.zeros((2, 3, 2**12, LARGE // 2**12 // 6), dtype=np.uint8)
    parts = {"title": np.array("t"), "train_labels": np.arange(2), "test_labels": np.arange(2)}
    np.savez_compressed(folder / "own.npz", train_images=images, test_images=images, **parts)
    with pytest.raises(DataError) as error, little_memory():
        load_pool("folder:own", folder)
    assert_one_line(error, "it is compressed", str(folder / "own.npz"))
    assert state_of(folder, "folder:own").state == "broken"

"""Image folders and archives: values, order, and every refusal."""

import io
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from made_up_data import (
    assert_one_line,
    backwards,
    png,
    tree,
    write_folder,
    write_tar,
    write_zip,
)
from PIL import Image

from driftboard.suite.data import convert_originals, load_pool
from driftboard.suite.data.folder import import_images
from driftboard.suite.errors import DataError


def load(folder, name="own"):
    """Load images as a command does: convert them once, then read the store."""
    convert_originals(f"folder:{name}", folder)
    return load_pool(f"folder:{name}", folder)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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
    pool = load(tmp_path)
    assert pool.title == "own (PNG)"
    assert pool.train_labels.tolist() == [0, 0, 1, 1]
    assert pool.test_labels.tolist() == [0, 1]
    assert pool.train_images.shape == (4, 3, 5, 7)
    order = ["train/a/1.png", "train/a/2.png", "train/b/10.png", "train/b/2.png"]
    expected = np.stack([pixels[name].transpose(2, 0, 1) for name in order])
    assert np.array_equal(pool.train_images, expected)


def test_grey_stays_grey_unless_there_is_colour(tmp_path):
    pixels = write_tree(tmp_path / "own", shape=(5, 7))
    grey = load(tmp_path)
    assert grey.train_images.shape == (4, 1, 5, 7)
    write_image(tmp_path / "own/test/b/1.png", random_images(5, 7, 3))
    mixed = load(tmp_path)
    assert mixed.train_images.shape == (4, 3, 5, 7)
    for channel in range(3):
        assert np.array_equal(mixed.train_images[0, channel], pixels["train/a/1.png"])
    assert np.array_equal(mixed.test_images[1], random_images(5, 7, 3).transpose(2, 0, 1))


def test_formats_are_named(tmp_path):
    write_tree(tmp_path / "own")
    write_image(tmp_path / "own/train/a/3.jpg", random_images(5, 7, 3))
    assert load(tmp_path).title == "own (JPEG, PNG)"


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
        (add_large, "'train/b/2.png' is 7x8, 'test/a/1.png' 7x5"),
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
        load(tmp_path)
    assert_one_line(error, says, str(tmp_path / "own"))


# Import of images


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("own", write_folder),
        ("own.tar", write_tar),
        ("own.tar.gz", write_tar),
        ("own.tgz", write_tar),
        ("own.zip", write_zip),
    ],
)
@pytest.mark.parametrize("top", ["", "flowers-1.0/"])
@pytest.mark.parametrize("order", [dict, backwards])
def test_every_container_gives_the_pool_of_the_folder(name, write, top, order, folder, tmp_path):
    files = tree()
    write_folder(folder / "plain", files)
    (tmp_path / "in").mkdir()
    packed = order({top + name: content for name, content in files.items()})
    source_path = write(tmp_path / "in" / name, packed | {f"{top}README.txt": b"hello"})
    entry = import_images("flowers", source_path, folder)
    pool = load_pool("folder:flowers", folder)
    assert pool.fingerprint == load(folder, "plain").fingerprint
    assert pool.title == "flowers (PNG)"
    assert (entry.name, entry.state) == ("folder:flowers", "present")
    assert (entry.train_count, entry.test_count) == (4, 2)
    assert entry.path == str(folder / "flowers.npz")
    assert sorted(path.name for path in folder.iterdir()) == ["flowers.npz", "plain"]


@pytest.mark.parametrize("pack", [write_tar, write_zip])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train/b/1.png": png(0, (9, 9, 3))}, "'train/b/1.png' is 9x9"),
        ({"train/b/1.png": b"no image"}, "'train/b/1.png'"),
        ({"train/c/1.png": png(1)}, "the class 'c' in train only"),
        ({"../train/b/1.png": png(1)}, "'../train/b/1.png', which leads out of it"),
        ({"train/../../b/1.png": png(1)}, "which leads out of it"),
        ({"/train/b/1.png": png(1)}, "'/train/b/1.png', which leads out of it"),
        ({"train/b/c/1.png": png(1)}, "'train/b/c/1.png' where"),
        ({"other/train/b/1.png": png(1)}, "more than one folder: '.', 'other'"),
    ],
)
def test_bad_archives_are_refused_and_leave_nothing(pack, change, says, folder, tmp_path):
    source_path = pack(tmp_path / f"x.{'tar' if pack is write_tar else 'zip'}", tree() | change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as error:
        import_images("own", source_path, folder)
    assert_one_line(error, says, str(source_path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_split_is_refused(split, folder, tmp_path):
    files = {name: content for name, content in tree().items() if not name.startswith(split)}
    with pytest.raises(DataError) as error:
        import_images("own", write_tar(tmp_path / "x.tar", files), folder)
    assert_one_line(error, f"has no images in {split}/<class>/")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_a_tar_are_refused(kind, folder, tmp_path):
    source_path = write_tar(tmp_path / "x.tar", tree())
    with tarfile.open(source_path, "a") as archive:
        member = tarfile.TarInfo("train/a/link.png")
        member.type, member.linkname = kind, "train/a/0.png"
        archive.addfile(member)
    with pytest.raises(DataError) as error:
        import_images("own", source_path, folder)
    assert_one_line(error, "'train/a/link.png' as a link or special file")
    assert list(folder.iterdir()) == []


def test_links_in_a_zip_are_refused(folder, tmp_path):
    source_path = write_zip(tmp_path / "x.zip", tree())
    with zipfile.ZipFile(source_path, "a") as archive:
        member = zipfile.ZipInfo("train/a/link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="as a link or special file"):
        import_images("own", source_path, folder)
    assert list(folder.iterdir()) == []


def test_an_image_twice_is_refused(folder, tmp_path):
    source_path = write_tar(tmp_path / "x.tar", tree())
    with tarfile.open(source_path, "a") as archive:
        member = tarfile.TarInfo("./train/a/0.png")
        member.size = len(png(3))
        archive.addfile(member, io.BytesIO(png(3)))
    with pytest.raises(DataError, match="twice"):
        import_images("own", source_path, folder)


def test_a_huge_member_is_not_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("driftboard.suite.data.archives.MAX_FILE_BYTES", 1000)
    source_path = write_zip(tmp_path / "x.zip", tree() | {"train/a/big.png": bytes(1001)})
    with pytest.raises(DataError) as error:
        import_images("own", source_path, folder)
    assert_one_line(error, "'train/a/big.png' of 1001 bytes")


@pytest.mark.parametrize(
    ("name", "write"), [("x.tar.gz", write_tar), ("x.tar", write_tar), ("x.zip", write_zip)]
)
def test_a_truncated_archive_is_refused(name, write, folder, tmp_path):
    source_path = write(tmp_path / name, tree(shape=(40, 40, 3)))
    source_path.write_bytes(source_path.read_bytes()[:9000])
    with pytest.raises(DataError) as error:
        import_images("own", source_path, folder)
    assert_one_line(error, "cannot read the archive", str(source_path))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tar", "x.zip", "x.txt"])
def test_a_file_that_is_no_archive_is_refused(name, folder, tmp_path):
    (tmp_path / name).write_bytes(b"just words")
    with pytest.raises(DataError) as error:
        import_images("own", tmp_path / name, folder)
    assert_one_line(error, str(tmp_path / name), "archive")


def test_progress_counts_the_images(folder, tmp_path):
    for path in (
        write_folder(tmp_path / "x", tree()),
        write_tar(tmp_path / "x.tar", tree()),
        write_zip(tmp_path / "x.zip", tree()),
    ):
        calls = []
        import_images(
            "own", path, folder, lambda done, total, calls=calls: calls.append((done, total))
        )
        assert calls == [(done, 6) for done in range(1, 7)]

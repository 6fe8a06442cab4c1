"""Tiny ImageNet: values and refusals, from small files in the layout that it is distributed in."""

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_data import (
    assert_one_line,
    backwards,
    png,
    state_of,
    write_folder,
    write_tar,
    write_zip,
)
from PIL import Image

from driftboard.suite.data import SOURCES, convert_originals, load_pool
from driftboard.suite.data.folder import fetch, import_images
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")

NUMBERS = ("n00000003", "n00000001", "n00000002")  # not in order, as in the real list
WORDS = {"n00000001": "crane, bird", "n00000002": "crane", "n00000003": "ox, oxen", "n1": "x"}
TRAIN, TEST = 3, 2  # images of a class

CONTAINERS = [
    ("tiny-imagenet-200", write_folder),
    ("tiny.tar.gz", write_tar),
    ("tiny.tar", write_tar),
    ("tiny.zip", write_zip),
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiny ImageNet with three classes of three training images and two validation images."""
    changes = {"classes": 3, "train_count": 9, "test_count": 6}
    files = dict.fromkeys(SOURCES["tiny-imagenet"].files, 1)
    monkeypatch.setitem(
        SOURCES, "tiny-imagenet", replace(SOURCES["tiny-imagenet"], files=files, **changes)
    )


def seed_of(number, image, part):
    return 100 * int(number[1:]) + 10 * (part == "val") + image


def tiny(side=8, **changes):
    """Return names and contents; ``changes`` replace lists by their name without its suffix."""
    files = {
        f"train/{number}/images/{number}_{i}.JPEG": png(
            seed_of(number, i, "train"), (side, side, 3)
        )
        for number in NUMBERS
        for i in range(TRAIN)
    }
    # Class by class in turn, so that neither names nor files are in the order of the classes.
    validated = [
        (f"val_{3 * i + c}.JPEG", n, i) for i in range(TEST) for c, n in enumerate(NUMBERS)
    ]
    files |= {
        f"val/images/{name}": png(seed_of(number, i, "val"), (side, side, 3))
        for name, number, i in validated
    }
    lists = {
        "wnids": "".join(f"{number}\n" for number in NUMBERS),
        "words": "n00000009\tnothing\n"
        + "".join(f"{number}\t{words}\n" for number, words in WORDS.items() if number != "n1"),
        "annotations": "".join(f"{name}\t{number}\t0\t0\t7\t7\n" for name, number, _ in validated),
    } | changes
    return {
        **files,
        "val/val_annotations.txt": lists["annotations"].encode(),
        "wnids.txt": lists["wnids"].encode(),
        "words.txt": lists["words"].encode(),
    }


def pixels(number, image, part, side=8):
    """Return what one of the made-up files shows, (3, side, side)."""
    random = np.random.default_rng(seed_of(number, image, part))
    return random.integers(0, 256, (side, side, 3), dtype=np.uint8).transpose(2, 0, 1)


def read(path, folder):
    """Import; return the pool and the lines that are said."""
    lines = []
    entry = import_images("tiny-imagenet", path, folder, tell=lines.append)
    assert entry.state == "present"
    return load_pool("tiny-imagenet", folder), lines


def refused(files, folder, tmp_path, *parts, write=write_zip):
    with pytest.raises(DataError) as error:
        import_images("tiny-imagenet", write(tmp_path / "in.zip", files), folder)
    assert_one_line(error, *parts, str(tmp_path / "in.zip"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("root", ["", "tiny-imagenet-200/"])
@pytest.mark.parametrize(("name", "write"), CONTAINERS)
def test_every_image_has_its_class(name, write, root, folder, tmp_path):
    files = {root + name: content for name, content in backwards(tiny()).items()}
    (tmp_path / "in").mkdir()
    pool, lines = read(write(tmp_path / "in" / name, files), folder)
    assert pool.title == "Tiny ImageNet (8x8)"
    assert pool.class_names == ("crane (n00000001)", "crane (n00000002)", "ox")
    ordered = sorted(NUMBERS)
    for part, count, images, labels in (
        ("train", TRAIN, pool.train_images, pool.train_labels),
        ("val", TEST, pool.test_images, pool.test_labels),
    ):
        assert labels.tolist() == [label for label in range(3) for _ in range(count)]
        expected = [pixels(number, i, part) for number in ordered for i in range(count)]
        np.testing.assert_array_equal(images, expected)
    assert lines == [
        "3 classes (crane (n00000001), crane (n00000002), ox) of 3 training images and 2 test "
        "images each"
    ]


def test_the_size_of_the_images_is_told(folder, tmp_path):
    small_pool, _ = read(write_zip(tmp_path / "8.zip", tiny()), folder)
    large_pool, _ = read(write_zip(tmp_path / "12.zip", tiny(12)), folder)
    assert large_pool.title == "Tiny ImageNet (12x12)"
    assert large_pool.train_images.shape == (9, 3, 12, 12)
    assert large_pool.fingerprint != small_pool.fingerprint
    entry = state_of(folder, "tiny-imagenet")
    assert (entry.title, entry.classes) == ("Tiny ImageNet (12x12)", 3)
    assert (entry.train_count, entry.test_count) == (9, 6)


def test_original_files_in_the_data_folder_are_converted(folder, tmp_path):
    write_folder(folder / "tiny-imagenet-200", tiny())
    assert state_of(folder, "tiny-imagenet").title == "Tiny ImageNet"
    assert fetch("tiny-imagenet", folder).title == "Tiny ImageNet (8x8)"
    pool = convert_originals("tiny-imagenet", folder)
    imported, _ = read(write_zip(tmp_path / "x.zip", tiny()), tmp_path / "other")
    assert pool.fingerprint == imported.fingerprint
    assert load_pool("tiny-imagenet", folder).class_names == imported.class_names


def test_grey_images_become_rgb_and_other_files_are_counted(folder, tmp_path):
    files = tiny()
    grey = np.random.default_rng(5).integers(0, 256, (8, 8), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(grey).save(content, format="PNG")
    files["train/n00000001/images/n00000001_0.JPEG"] = content.getvalue()
    files |= {"train/n00000001/n00000001_boxes.txt": b"", "test/images/test_0.JPEG": png(1)}
    files |= {"test/images/test_1.JPEG": png(2), "README.md": b"words", "val/._x.txt": b""}
    pool, lines = read(write_tar(tmp_path / "x.tar.gz", files), folder)
    np.testing.assert_array_equal(pool.train_images[0], np.stack([grey] * 3))
    assert lines[1:] == [
        "passed over: 2 images in test without labels",
        "passed over: 2 other files",
    ]


def without(name):
    return {key: content for key, content in tiny().items() if key != name}


VALIDATED = tiny()["val/val_annotations.txt"].decode()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (without("wnids.txt"), "wnids.txt is missing"),
        (without("words.txt"), "words.txt is missing"),
        (without("val/val_annotations.txt"), "val_annotations.txt is missing"),
        (tiny() | {"a/wnids.txt": b""}, "wnids.txt is in more than one folder"),
        (tiny(wnids="n00000001\nox\n"), "has the line 'ox' instead of a number such as"),
        (tiny(wnids="n00000001\n" * 3), "has 1 different classes in 3 lines instead of 3"),
        (tiny(wnids="n00000001\nn00000002\n"), "has 2 different classes in 2 lines instead of 3"),
        (tiny() | {"wnids.txt": b"\xff\xfe"}, "wnids.txt is not text"),
        (tiny(words="n00000001 crane\n"), "has the line 'n00000001 crane' instead of"),
        (tiny(words="n00000001\tcrane\n"), "has no words for the class n00000002"),
        (tiny(annotations=VALIDATED + "\n"), "has the line '' instead of 'FILE<tab>CLASS'"),
        (
            tiny(annotations=VALIDATED.replace("\tn00000001\t", "\tn00000008\t", 1)),
            "n00000008\\t0\\t0\\t7\\t7' instead of 'FILE<tab>CLASS' of a known class",
        ),
        (
            tiny(annotations=VALIDATED.replace("\t", " ")),
            "has the line 'val_0.JPEG n00000003 0 0 7 7' instead of",
        ),
        (tiny(annotations=VALIDATED[:-13]), "has the line 'val_5.JPEG\\tn0000' instead of"),
        (
            tiny(annotations=VALIDATED + VALIDATED.splitlines()[0] + "\n"),
            "names 'val_0.JPEG' twice",
        ),
        (
            tiny(annotations=VALIDATED + "val_9.JPEG\tn00000001\n"),
            "names 'val_9.JPEG', which is not in val/images",
        ),
        (
            tiny(annotations="".join(VALIDATED.splitlines(keepends=True)[:-1])),
            "does not say of which class 'val_5.JPEG' is",
        ),
        (
            tiny(annotations=VALIDATED.replace("\tn00000001\t", "\tn00000002\t", 1)),
            "val has 1 image of the class n00000001 instead of 2",
        ),
        (
            without("train/n00000002/images/n00000002_2.JPEG"),
            "train has 2 images of the class n00000002 instead of 3",
        ),
        (
            tiny() | {"train/n00000004/images/x.JPEG": png(1)},
            "train/n00000004/images/x.JPEG is of no class of wnids.txt",
        ),
        (tiny() | {"train/n00000001/x.JPEG": png(1)}, "where images are expected"),
        (tiny() | {"val/x.JPEG": png(1)}, "val/x.JPEG is neither in train/<class>/images nor"),
        (
            tiny() | {"train/n00000001/images/n00000001_1.JPEG": png(1, (8, 9, 3))},
            "n00000001_1.JPEG is 9x8 where 'train/n00000003/images/n00000003_0.JPEG' is 8x8",
        ),
        (
            tiny() | {"val/images/val_3.JPEG": b"GIF89a, but no image"},
            "'val/images/val_3.JPEG' in",
        ),
        (
            tiny() | {"val/images/val_3.JPEG": tiny()["val/images/val_3.JPEG"][:-30]},
            "cannot be decoded as an image",
        ),
    ],
)
def test_what_is_not_tiny_imagenet_is_refused(files, says, folder, tmp_path):
    refused(files, folder, tmp_path, says)


def test_a_path_that_leads_out_is_refused(folder, tmp_path):
    name = "train/../../images/x.JPEG"
    refused(tiny() | {name: png(1)}, folder, tmp_path, repr(name), "leads out of it")


@pytest.mark.parametrize("name", ["wnids.txt", "val/images/val_1.JPEG"])
def test_a_link_in_an_archive_is_refused(name, folder, tmp_path):
    path = write_tar(tmp_path / "x.tar", without(name))
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError) as error:
        import_images("tiny-imagenet", path, folder)
    assert_one_line(error, f"{name!r} as a link or special file")


def test_a_file_that_is_twice_in_an_archive_is_refused(folder, tmp_path):
    path = write_tar(tmp_path / "x.tar", tiny())
    with tarfile.open(path, "a") as archive:
        again = tarfile.TarInfo("val/images/val_1.JPEG")
        archive.addfile(again, io.BytesIO())
    with pytest.raises(DataError) as error:
        import_images("tiny-imagenet", path, folder)
    assert_one_line(error, "val/images/val_1.JPEG is there twice")


def test_a_truncated_archive_is_refused(folder, tmp_path):
    path = write_tar(tmp_path / "x.tar.gz", tiny(40))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(DataError) as error:
        import_images("tiny-imagenet", path, folder)
    assert_one_line(error, "cannot read the archive", str(path))


def test_a_huge_member_and_too_many_pixels_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("driftboard.suite.data.image_folder._free_memory", lambda: 500)
    refused(tiny(), folder, tmp_path, "15 images of 8x8 pixels need")
    monkeypatch.setattr("driftboard.suite.data.archives.MAX_FILE_BYTES", 100)
    refused(tiny(), folder, tmp_path, "a file in it may have 100")


def test_a_folder_without_the_lists_says_what_is_expected(folder, tmp_path):
    with pytest.raises(DataError) as error:
        import_images("tiny-imagenet", tmp_path, folder)
    assert_one_line(error, "is not a folder with the files of Tiny ImageNet", "wnids.txt")


@pytest.mark.skipif(
    not REAL_DATA or not (Path(REAL_DATA) / "tiny-imagenet-32.tar.gz").is_file(),
    reason="DRIFTBOARD_DATA has no tiny-imagenet-32.tar.gz",
)
def test_real_tiny_imagenet(folder, monkeypatch):
    monkeypatch.undo()
    pool, _ = read(Path(REAL_DATA) / "tiny-imagenet-32.tar.gz", folder)
    assert pool.title == "Tiny ImageNet (32x32)"
    assert np.bincount(pool.train_labels).tolist() == [500] * 200
    assert np.bincount(pool.test_labels).tolist() == [50] * 200
    assert pool.class_names[0] == "goldfish"
    assert pool.fingerprint[:16] == "17d9d4917a958330"

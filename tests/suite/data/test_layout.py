"""Image folders as people have them: litter, odd suffixes, uneven classes, names much alike.

What is passed over is said, and what would be read in another way than it is seen is refused.
"""

import io
import os
import unicodedata
import zipfile
from contextlib import redirect_stderr

import numpy as np
import pytest
from made_up_data import assert_one_line, png, tree, write_folder, write_tar, write_zip

from driftboard.suite.data import convert_originals, load_pool
from driftboard.suite.data.folder import import_images
from driftboard.suite.errors import DataError

CONTAINERS = [("own", write_folder), ("own.tar.gz", write_tar), ("own.zip", write_zip)]


@pytest.fixture(params=CONTAINERS, ids=[name for name, _ in CONTAINERS])
def pack(request, tmp_path):
    """Return a function that writes files as a folder or an archive and returns its path."""
    name, write = request.param
    return lambda files: write(tmp_path / "in" / name, files)


@pytest.fixture(autouse=True)
def inside(tmp_path):
    (tmp_path / "in").mkdir()


def read(path, folder, name="own"):
    """Import images; return the pool and the lines that are said."""
    lines = []
    import_images(name, path, folder, tell=lines.append)
    return load_pool(f"folder:{name}", folder), lines


def refused(path, folder):
    with pytest.raises(DataError) as error:
        import_images("own", path, folder)
    assert_one_line(error, str(path))
    assert list(folder.iterdir()) == []
    return str(error.value)


LITTER = [
    ".ipynb_checkpoints/1.png",
    "__MACOSX/1.png",
    ".DS_Store/1.png",
    "@eaDir/1.png",
    "a/.thumbs/1.png",
    "a/._0.png",
    "a/__MACOSX/1.png",
    "a/Thumbs.db",
    "b/desktop.ini",
]


@pytest.mark.parametrize("litter", LITTER)
@pytest.mark.parametrize("split", ["train", "test"])
def test_hidden_files_and_those_of_systems_are_no_part_of_the_data(litter, split, folder, pack):
    clean, _ = read(pack(tree()), folder, "clean")
    pool, lines = read(pack(tree() | {f"{split}/{litter}": png(99)}), folder)
    assert pool.fingerprint == clean.fingerprint
    assert pool.class_names == ("a", "b")
    assert not any("passed over" in line for line in lines)


@pytest.mark.parametrize("top", ["__MACOSX/train/a/._0.png", ".cache/train/c/1.png"])
def test_hidden_folders_around_train_and_test_are_no_part_of_the_data(top, folder, pack):
    pool, _ = read(pack(tree() | {top: png(99)}), folder)
    assert pool.classes == 2


def test_files_with_other_suffixes_are_counted_by_suffix(folder, pack):
    others = {
        "train/a/7.jfif": png(7),
        "train/a/8.JFIF": png(8),
        "train/b/9": png(9),
        "test/labels.csv": b"1,2",
    }
    pool, lines = read(pack(tree() | others), folder)
    assert len(pool.train_images) == 4
    assert "passed over: 1 .csv, 2 .jfif, 1 without a suffix" in lines


def test_a_class_of_which_no_file_is_an_image_is_named(folder, pack):
    _, lines = read(pack(tree() | {"train/c/1.jfif": png(7), "test/c/2.jfif": png(8)}), folder)
    assert "no image was found in 'test/c', 'train/c'" in lines


def test_images_outside_of_train_and_test_are_counted(folder, pack):
    others = {"val/a/1.png": png(7), "val/b/1.png": png(8), "cover.png": png(9)}
    pool, lines = read(pack(tree() | others), folder)
    assert len(pool.train_images) + len(pool.test_images) == 6
    assert "passed over: 3 images outside of train and test, such as 'cover.png'" in lines


def test_nothing_but_unknown_suffixes_is_refused_with_their_counts(folder, pack):
    message = refused(pack({"train/a/1.jfif": png(1), "test/a/1.jfif": png(2)}), folder)
    assert "has no images in train/<class>/" in message
    assert "passed over: 2 .jfif" in message


def test_images_that_lie_too_deep_are_named(folder, pack):
    message = refused(pack({f"x/y/{name}": content for name, content in tree().items()}), folder)
    assert "has no images in train/<class>/" in message
    assert "6 images outside of train and test, such as 'x/y/test/a/0.png'" in message


def test_names_that_are_no_text_are_names_like_others(folder, tmp_path):
    files = tree((os.fsdecode(b"caf\xe9"), "tea"))
    write_folder(folder / "own", files)
    write_folder(folder / "own", {os.fsdecode(b"train/tea/\xff.png"): png(99)})
    pool = convert_originals("folder:own", folder)
    assert pool.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert load_pool("folder:own", folder).fingerprint == pool.fingerprint
    assert load_pool("folder:own", folder).class_name(0) == os.fsdecode(b"caf\xe9")


def test_train_in_capitals_is_named(folder, pack):
    files = {name.replace("train", "Train"): content for name, content in tree().items()}
    assert "has 'Train' where 'train' is expected" in refused(pack(files), folder)


UNEVEN = {"a": (5, 2), "b": (3, 1), "c": (2, 4)}


def uneven():
    return {
        f"{split}/{name}/{i}.png": png(abs(hash((split, name, i))) % 2**32)
        for name, counts in UNEVEN.items()
        for split, count in zip(("train", "test"), counts, strict=True)
        for i in range(count)
    }


def test_classes_and_their_sizes_are_said(folder, pack, tmp_path):
    _, lines = read(pack(uneven()), folder)
    assert lines[0] == (
        "3 classes (a, b, c) of 2 (c) to 5 (a) training images and 1 (b) to 4 (c) test images each"
    )
    _, lines = read(write_folder(tmp_path / "in/even", tree()), folder)
    assert lines == ["2 classes (a, b) of 2 training images and 1 test image each"]


def test_of_many_classes_some_are_named(folder, tmp_path):
    files = tree([f"c{number:02}" for number in range(12)])
    _, lines = read(write_folder(tmp_path / "in/own", files), folder)
    assert lines[0].startswith("12 classes (c00, c01, c02, c03, c04, c05, c06, c07, c08, c09, ...)")


def test_names_of_classes_come_back_from_the_store(folder, pack):
    pool, _ = read(pack(uneven()), folder)
    assert pool.class_names == ("a", "b", "c")
    assert [pool.class_name(label) for label in range(3)] == ["a", "b", "c"]


def test_a_plain_folder_says_the_same_when_it_is_converted(folder):
    write_folder(folder / "own", uneven() | {"train/a/7.jfif": png(7)})
    output = io.StringIO()
    with redirect_stderr(output):
        convert_originals("folder:own", folder)
    assert "folder:own: 3 classes (a, b, c) of 2 (c) to 5 (a) training images" in output.getvalue()
    assert "folder:own: passed over: 1 .jfif\n" in output.getvalue()


# Names that differ little


@pytest.mark.parametrize(
    "other",
    ["A", unicodedata.normalize("NFD", "é"), "a "],
    ids=["case", "accents", "space"],
)
def test_classes_whose_names_look_alike_are_refused(other, folder, pack):
    first = "é" if other not in ("A", "a ") else "a"
    classes = (first, other)
    message = refused(pack(tree(classes)), folder)
    assert f"the classes {min(classes)!a} and {max(classes)!a}" in message
    assert "give them one name" in message
    halves = {f"train/{first}/1.png": png(1), f"test/{other}/1.png": png(2)}
    message = refused(pack(halves | {"train/z/1.png": png(3), "test/z/1.png": png(4)}), folder)
    assert "give them one name" in message


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: f"flowers\\{name}".replace("/", "\\"),
        lambda name: "\\".join(name.rsplit("/", 1)),
    ],
    ids=["all", "a folder above", "the last"],
)
def test_a_zip_with_backslashes_is_refused(change, folder, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tree().items():
            archive.writestr(change(name), content)
    message = refused(path, folder)
    assert repr(change("train/a/0.png")) in message
    assert "backslashes" in message


def test_a_file_whose_name_has_a_backslash_is_an_image_like_others(folder, pack):
    pool, _ = read(pack(tree() | {"train/a/x\\y.png": png(9)}), folder)
    assert pool.train_labels.tolist() == [0, 0, 0, 1, 1]


def test_one_class_is_refused(folder, pack):
    assert "only the class 'a'" in refused(pack(tree(("a",))), folder)


# Links


def test_a_link_to_a_folder_of_images_is_followed_and_a_circle_ends(folder, tmp_path):
    files = tree()
    write_folder(tmp_path / "in/own", files)
    (tmp_path / "in/own/train/a").rename(tmp_path / "elsewhere")
    (tmp_path / "in/own/train/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/own/train/b/again").symlink_to(tmp_path / "in/own")
    pool, _ = read(tmp_path / "in/own", folder)
    assert pool.train_labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("kind", ["pipe", "broken link"])
def test_what_is_no_file_in_a_folder_is_refused(kind, folder, tmp_path):
    write_folder(tmp_path / "in/own", tree())
    odd = tmp_path / "in/own/train/a/odd.png"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(tmp_path / "gone.png")
    assert "'train/a/odd.png' as a link or special file" in refused(tmp_path / "in/own", folder)


# Images that are in both parts


def test_test_images_that_are_equal_to_training_images_are_counted(folder, pack):
    files = tree(train=3, test=2)
    files["test/a/1.png"] = files["train/a/2.png"]
    files["test/b/0.png"] = files["train/a/0.png"]
    _, lines = read(pack(files), folder)
    assert (
        "2 of 4 test images are equal to a training image, such as 'test/a/1.png' to "
        "'train/a/2.png'" in lines
    )


def test_images_that_are_twice_in_a_class_or_in_two_classes_are_counted(folder, pack):
    files = tree(("a", "b", "c"), train=4, test=2)
    files["train/a/2.png"] = files["train/a/3.png"] = files["train/a/1.png"]
    files["test/c/1.png"] = files["test/c/0.png"]
    files["train/b/3.png"] = files["train/c/0.png"]
    _, lines = read(pack(files), folder)
    assert [line for line in lines if "equal" in line] == [
        "2 of 18 images are equal to one of another class, such as 'train/b/3.png' to "
        "'train/c/0.png'",
        "3 of 18 images are equal to one before it in its class, such as 'train/a/2.png' to "
        "'train/a/1.png'",
    ]


def test_an_image_of_both_parts_and_two_classes_is_told_as_both(folder, pack):
    files = tree(train=3, test=2)
    files["test/b/0.png"] = files["train/a/0.png"]
    _, lines = read(pack(files), folder)
    assert [line for line in lines if "equal" in line] == [
        "1 of 4 test images are equal to a training image, such as 'test/b/0.png' to "
        "'train/a/0.png'",
        "2 of 10 images are equal to one of another class, such as 'train/a/0.png' to "
        "'test/b/0.png'",
    ]


def test_equal_pixels_count_whatever_the_files(folder, tmp_path):
    files = tree(shape=(4, 6))
    from PIL import Image

    pixels = Image.open(io.BytesIO(files["train/a/0.png"]))
    other = io.BytesIO()
    pixels.save(other, format="BMP")
    files["test/a/9.bmp"] = other.getvalue()
    _, lines = read(write_folder(tmp_path / "in/own", files), folder)
    assert any("1 of 3 test images are equal" in line for line in lines)
    assert not any("equal" in line for line in read(pack_of(tmp_path, tree()), folder, "two")[1])


def pack_of(tmp_path, files):
    return write_zip(tmp_path / "in/two.zip", files)


def test_a_grey_and_a_colour_image_of_the_same_pixels_are_equal(folder, tmp_path):
    files = tree()
    grey = np.random.default_rng(5).integers(0, 256, (4, 6), dtype=np.uint8)
    files["train/a/0.png"] = png_of(grey)
    files["test/a/0.png"] = png_of(np.stack([grey] * 3, axis=2))
    _, lines = read(write_zip(tmp_path / "in/x.zip", files), folder)
    assert any("1 of 2 test images are equal" in line for line in lines)


def png_of(pixels):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()

"""Omniglot: values and refusals, from small zip files in the layout of the distributed ones."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_data import assert_one_line, state_of, write_zip
from PIL import Image

from driftboard.suite.data import SOURCES, convert_originals, load_pool
from driftboard.suite.data.folder import import_images
from driftboard.suite.errors import DataError

REAL_DATA = os.environ.get("DRIFTBOARD_DATA")
FIRST, SECOND = SOURCES["omniglot"].files

# The alphabets of each file, and how many characters they have; Greek is in both.
ALPHABETS = {FIRST: {"Latin": 2, "Greek": 1}, SECOND: {"Greek": 1, "Aramaic": 3}}
NAMES = (
    *("Aramaic/character01", "Aramaic/character02", "Aramaic/character03"),
    *("Greek/character01", "Latin/character01", "Latin/character02"),
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    changes = {"classes": 6, "train_count": 6 * 15, "test_count": 6 * 5}
    files = dict.fromkeys(ALPHABETS, 1)
    monkeypatch.setitem(SOURCES, "omniglot", replace(SOURCES["omniglot"], files=files, **changes))


def strokes(name, drawer):
    """Return a drawing of black on white, 105x105 as the real ones, True where it is white."""
    seed = 100 * NAMES.index(name) + drawer
    blocks = np.random.default_rng(seed).integers(0, 2, (21, 21)).astype(bool)
    return np.repeat(np.repeat(blocks, 5, axis=0), 5, axis=1)


def drawing(name, drawer):
    file = io.BytesIO()
    Image.fromarray(strokes(name, drawer)).save(file, format="PNG")
    return file.getvalue()


def files_of(zip_name):
    """Return names and contents of one of the zip files."""
    names = [
        f"{alphabet}/character{number + 1:02}"
        for alphabet, count in ALPHABETS[zip_name].items()
        for number in range(count)
    ]
    return {
        f"{Path(zip_name).stem}/{name}/{NAMES.index(name):04}_{drawer:02}.png": drawing(
            name, drawer
        )
        for name in names
        for drawer in range(20, 0, -1)
    }


def write(holder, **changes):
    """Write both zip files; ``first`` and ``second`` replace what is in one."""
    holder.mkdir(parents=True, exist_ok=True)
    for key, name in (("first", FIRST), ("second", SECOND)):
        write_zip(holder / name, changes.get(key, files_of(name)))
    return holder


def scaled(name, drawer):
    """Return a drawing at 28x28, each pixel the mean of those whose centres are in its square."""
    centres, ends = np.arange(105) + 0.5, np.arange(28)[:, np.newaxis] * 3.75
    inside = (ends < centres) & (centres <= ends + 3.75)
    weights = inside / inside.sum(axis=1, keepdims=True)
    return weights @ (strokes(name, drawer) * 255.0) @ weights.T


def test_characters_drawers_and_pixels(folder):
    write(folder / "omniglot")
    pool = convert_originals("omniglot", folder)
    assert pool.title == "Omniglot, small sets (28x28)"
    assert pool.class_names == NAMES
    assert pool.groups == ("Aramaic",) * 3 + ("Greek",) + ("Latin",) * 2
    for images, labels, drawers in (
        (pool.train_images, pool.train_labels, range(1, 16)),
        (pool.test_images, pool.test_labels, range(16, 21)),
    ):
        places = [(name, drawer) for name in NAMES for drawer in drawers]
        assert labels.tolist() == [NAMES.index(name) for name, _ in places]
        assert images.shape == (len(places), 1, 28, 28)
        expected = np.array([scaled(*place) for place in places])
        assert np.abs(images[:, 0] - expected).max() <= 1  # Pillow rounds after each direction
    assert load_pool("omniglot", folder).fingerprint == pool.fingerprint
    assert load_pool("omniglot", folder).groups == pool.groups


@pytest.mark.parametrize("inner", ["", "omniglot"])
def test_import_from_a_folder(inner, folder, tmp_path):
    lines = []
    write(tmp_path / "in/omniglot", first=files_of(FIRST) | {"images/README.md": b"words"})
    entry = import_images("omniglot", tmp_path / "in" / inner, folder, tell=lines.append)
    assert (entry.state, entry.classes, entry.train_count, entry.test_count) == (
        *("present", 6),
        *(90, 30),
    )
    assert lines == [
        "6 classes (Aramaic/character01, Aramaic/character02, Aramaic/character03, "
        "Greek/character01, Latin/character01, Latin/character02) of 15 training images and 5 "
        "test images each",
        "passed over: 1 other file",
    ]


def changed(zip_name, change):
    """Return the files of one zip under other names; a name of '' is left out."""
    files = {change(name): content for name, content in files_of(zip_name).items()}
    files.pop("", None)
    return files


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"first": changed(FIRST, lambda n: "" if n.endswith("_20.png") else n)},
            "has 19 drawings of 'Latin/character01' instead of those of the drawers 1 to 20",
        ),
        (
            {"first": changed(FIRST, lambda n: n.replace("_20.png", "_21.png"))},
            "of 'Greek/character01' instead of those of the drawers 1 to 20",
        ),
        (
            {"first": changed(FIRST, lambda n: n.replace("Latin/", ""))},
            "where <set>/<alphabet>/<character>/<number>_<drawer>.png is expected",
        ),
        (
            {"first": changed(FIRST, lambda n: n.replace("_03.png", "-3.png"))},
            "where <set>/<alphabet>/<character>/<number>_<drawer>.png is expected",
        ),
        (
            {"first": files_of(FIRST) | {"x/Latin/character01/9999_01.png": b""}},
            "has Latin/character01 by drawer 1 twice",
        ),
        (
            {
                "second": {
                    name: drawing("Latin/character01", 9) if "Greek" in name else content
                    for name, content in files_of(SECOND).items()
                }
            },
            "has another Greek/character01 by drawer",
        ),
        (
            {"second": changed(SECOND, lambda n: "" if "character03" in n else n)},
            "has 75 training images instead of 90",
        ),
        (
            {"first": files_of(FIRST) | {"s/../../x/Latin/0001_01.png": b""}},
            "which leads out of it",
        ),
        (
            {"first": dict.fromkeys(files_of(FIRST), b"no image")},
            "cannot be decoded as an image",
        ),
        (
            {"first": {name: data[:60] for name, data in files_of(FIRST).items()}},
            "cannot be decoded as an image",
        ),
    ],
)
def test_what_is_not_omniglot_is_refused(changes, says, folder, tmp_path):
    write(tmp_path / "in", **changes)
    with pytest.raises(DataError) as error:
        import_images("omniglot", tmp_path / "in", folder)
    assert_one_line(error, says, str(tmp_path / "in"))
    assert list(folder.iterdir()) == []


def test_a_link_is_refused(folder, tmp_path):
    write(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in" / FIRST, "a") as archive:
        link = zipfile.ZipInfo("s/Latin/character01/0001_01.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError) as error:
        import_images("omniglot", tmp_path / "in", folder)
    assert_one_line(error, "as a link or special file")


def test_a_truncated_file_and_a_missing_one(folder, tmp_path):
    holder = write(folder / "omniglot")
    content = (holder / SECOND).read_bytes()
    (holder / SECOND).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as error:
        convert_originals("omniglot", folder)
    assert_one_line(error, "cannot read the archive", SECOND)
    (holder / SECOND).unlink()
    with pytest.raises(DataError) as error:
        import_images("omniglot", holder, tmp_path / "other")
    assert_one_line(error, "is not a folder with the files of Omniglot", SECOND)
    assert state_of(folder, "omniglot").reason == f"{SECOND} is missing"


@pytest.mark.skipif(
    not REAL_DATA or not (Path(REAL_DATA) / "omniglot" / FIRST).is_file(),
    reason="DRIFTBOARD_DATA has no omniglot",
)
def test_real_omniglot(monkeypatch):
    monkeypatch.undo()
    source = SOURCES["omniglot"]
    pool = source.read(source, Path(REAL_DATA) / "omniglot")
    source.check(pool, Path(REAL_DATA))
    names, counts = np.unique(pool.groups, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        **{"Balinese": 24, "Early_Aramaic": 22, "Greek": 24, "Japanese_(katakana)": 47},
        **{"Korean": 40, "Latin": 26, "Sanskrit": 42, "Tagalog": 17},
    }
    assert pool.fingerprint[:16] == "ddd90b19dfd52b07"

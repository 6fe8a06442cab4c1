"""Several data sets as one: pixels against naive formulas, labels, groups, and what is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_data import SMALL_MNIST, assert_one_line, make_pool, write_idx

from driftboard.suite.data import SOURCES, convert_originals, find_sources, load_pool
from driftboard.suite.data.combination import combined, fitted
from driftboard.suite.data.store import write_store
from driftboard.suite.errors import DataError

RANDOM = np.random.default_rng(0)


def random_images(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def test_images_of_the_wanted_shape_are_left_as_they_are():
    images = random_images(3, 1, 5, 4)
    assert fitted(images, (1, 5, 4)) is images


def test_colours_become_luma_in_whole_numbers():
    images = random_images(4, 3, 3, 5)
    red, green, blue = images.astype(np.int64).transpose(1, 0, 2, 3)
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    np.testing.assert_array_equal(fitted(images, (1, 3, 5))[:, 0], luma)


def test_grey_becomes_three_equal_channels():
    images = random_images(4, 1, 3, 5)
    np.testing.assert_array_equal(fitted(images, (3, 3, 5)), np.repeat(images, 3, axis=1))


@pytest.mark.parametrize("value", [0, 1, 127, 255])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 3, 50)])
def test_an_even_image_stays_even(value, shape):
    images = np.full((2, 1, 9, 13), value, dtype=np.uint8)
    assert np.unique(fitted(images, shape)).tolist() == [value]


def weights(old, new):
    """The triangle filter, wide enough to reach all pixels where there are fewer afterwards."""
    scale = max(1.0, old / new)
    middle = (np.arange(new) + 0.5) * old / new
    distance = np.abs(np.arange(old) + 0.5 - middle[:, None]) / scale
    each = np.maximum(0.0, 1.0 - distance)
    return each / each.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (16, 8), (5, 30), (3, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_are_changed_by_the_triangle_filter(size, channels):
    images = random_images(3, channels, 8, 8)
    rows, columns = weights(8, size[0]), weights(8, size[1])
    expected = np.einsum("ih,jw,nchw->ncij", rows, columns, images.astype(float))
    found = fitted(images, (channels, *size))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1.5  # Pillow rounds twice, after each direction


def test_rows_and_columns_are_not_exchanged():
    image = np.zeros((1, 1, 4, 2), dtype=np.uint8)
    image[0, 0, :2] = 200
    assert fitted(image, (1, 2, 2))[0, 0].tolist() == [
        [171, 171],
        [29, 29],
    ]  # 200 * 6/7 and 200 * 1/7


def pools():
    grey = make_pool([0, 1, 2, 1], [2, 1, 0], (1, 4, 4), "Grey")
    colour = make_pool([1, 0, 1], [0, 1], (3, 6, 5), "Colour")
    return grey, colour


def test_classes_follow_each_other_and_groups_tell_whose_they_are():
    both = combined(("grey", "folder:colour"), iter(pools()))
    assert both.title == "Grey + Colour"
    assert both.train_labels.tolist() == [0, 1, 2, 1, 4, 3, 4]
    assert both.test_labels.tolist() == [2, 1, 0, 3, 4]
    assert both.train_labels.dtype == np.int64
    assert both.groups == ("grey",) * 3 + ("folder:colour",) * 2
    assert both.classes == 5
    assert both.class_names == ("grey/0", "grey/1", "grey/2", "folder:colour/0", "folder:colour/1")
    assert make_pool([0, 1], [0, 1]).groups == ("", "")


@pytest.mark.parametrize("order", [1, -1])
def test_all_images_have_the_shape_of_the_first(order):
    parts = pools()[::order]
    both = combined(("one", "other"), iter(parts))
    shape = parts[0].train_images.shape[1:]
    for name in ("train_images", "test_images"):
        one, other = (getattr(part, name) for part in parts)
        expected = np.concatenate([one, fitted(other, shape)])
        np.testing.assert_array_equal(getattr(both, name), expected)


def test_the_fingerprint_follows_from_the_parts():
    grey, colour = pools()
    found = {
        combined(("one", "other"), parts).fingerprint
        for parts in (
            (grey, colour),
            (colour, grey),
            (grey, make_pool([1, 0, 0], [0, 1], (3, 6, 5))),
            (make_pool([0, 1, 2, 2], [2, 1, 0], (1, 4, 4)), colour),
        )
    }
    assert len(found) == 4
    again = combined(("a", "b"), pools()).fingerprint
    assert again in found


def test_a_title_that_no_record_holds_is_refused():
    long = make_pool([0, 1], [0, 1], title="x" * 150)
    with pytest.raises(DataError, match="titles of one and other together have more than 200") as e:
        combined(("one", "other"), (long, long))
    assert_one_line(e)


# By name


@pytest.fixture
def stores(folder):
    grey, colour = pools()
    write_store(folder / "grey.npz", grey)
    write_store(folder / "colour.npz", colour)
    return folder


def test_names_joined_by_plus_are_loaded_as_one(stores):
    pool = load_pool("folder:colour+digits+folder:grey", stores)
    assert pool.title == "Colour + Digits + Grey"
    assert pool.train_images.shape == (3 + 1297 + 4, 3, 6, 5)
    assert pool.groups == ("folder:colour",) * 2 + ("digits",) * 10 + ("folder:grey",) * 3
    assert convert_originals("folder:colour+folder:grey", stores) is None


def test_original_files_of_every_part_are_converted(stores, monkeypatch, capsys):
    made = make_pool([*range(10)], [*range(10)], (1, 28, 28))
    monkeypatch.setitem(SOURCES, "mnist", replace(SMALL_MNIST, read=lambda *_: made))
    write_idx(stores / "MNIST/raw")
    name = "folder:grey+mnist"
    with pytest.raises(DataError, match="driftboard data fetch mnist --data"):
        load_pool(name, stores)
    assert convert_originals(name, stores) is None
    assert "mnist: converting" in capsys.readouterr().err
    pool = load_pool(name, stores)
    expected = fitted(made.train_images, (1, 4, 4))
    np.testing.assert_array_equal(pool.train_images[4:], expected)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits+mnist", ("MNIST is not in", "driftboard data fetch mnist")),
        ("digits+folder:none", ("folder:none: neither", "driftboard data import none")),
        ("digits+fashion", ("no data set is called 'fashion'", "fashion-mnist")),
        ("digits+digits", ("'digits+digits' names 'digits' twice; name each data set once",)),
        ("digits+", ("no data set is called ''",)),
        ("+", ("no data set is called ''", "twice")[1:]),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(folder, name, words):
    with pytest.raises(DataError) as error:
        load_pool(name, folder)
    assert_one_line(error, *words)


def test_one_name_is_one_source():
    assert [source.name for source in find_sources("cifar10")] == ["cifar10"]
    names = [source.name for source in find_sources("mnist+folder:x+digits")]
    assert names == ["mnist", "folder:x", "digits"]
    assert load_pool("digits", Path("/nowhere")).groups == ("",) * 10

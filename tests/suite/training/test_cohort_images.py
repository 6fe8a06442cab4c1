"""Task data against torchvision and naive NumPy: pixels, labels, noise and scaling."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from driftboard.suite.data import Pool
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.training.cohort import build_task, joined, scaling_of
from driftboard.suite.training.transformations import rotated

CPU = torch.device("cpu")
CLASSES = 4


def make_images(count=6, channels=2, height=5, width=7, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def make_recipe(active=(True,) * CLASSES, units=range(CLASSES), **changes):
    none = np.arange(0)
    return Recipe(none, none, np.array(units), np.array(active), **changes)


@pytest.fixture
def build():
    """Return a function that builds the task of one or more seeds from given rows."""
    images = make_images(20)
    labels = np.random.default_rng(1).integers(0, CLASSES, 20)

    def make(*rows, recipes=None, names=None, **changes):
        recipes = recipes or [make_recipe(**changes)] * len(rows)
        names = names or [("noise", seed) for seed in range(len(rows))]
        return build_task(images, labels, recipes, [np.array(r) for r in rows], names, CPU)

    make.images, make.labels = images, labels
    return make


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (6, 9), (11, 4)])
@pytest.mark.parametrize("degrees", [5, 15, 45, 60, 90, 135, 180, 240, -30, 360])
def test_rotated_is_torchvisions_bilinear_rotation(shape, degrees):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import rotate

    images = torch.from_numpy(make_images(4, 3, *shape))
    expected = rotate(images, degrees, InterpolationMode.BILINEAR)
    difference = rotated(images, degrees).int() - expected.int()
    assert difference.abs().max() <= 1
    assert difference.float().abs().mean() < 0.02  # rounding, not a shift


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_go_counter_clockwise(turns):
    images = torch.from_numpy(make_images(2, 1, 6, 6))
    expected = torch.from_numpy(np.rot90(images.numpy(), turns, axes=(2, 3)).copy())
    assert torch.equal(rotated(images, 90.0 * turns), expected)


def test_rotated_samples_bilinearly_in_pixels_also_where_images_are_not_square():
    images = make_images(2, 1, 6, 9)
    angle, (height, width) = np.deg2rad(20.0), (6, 9)
    y, x = np.meshgrid(np.arange(height) - 2.5, np.arange(width) - 4.0, indexing="ij")
    # where a pixel comes from: turned back, clockwise (y points down)
    source_x = np.cos(angle) * x - np.sin(angle) * y + 4.0
    source_y = np.sin(angle) * x + np.cos(angle) * y + 2.5
    for image, turned in zip(images, rotated(torch.from_numpy(images), 20.0), strict=True):
        expected = ndimage.map_coordinates(
            image[0].astype(float), [source_y, source_x], order=1, mode="grid-constant", cval=0.0
        )
        assert np.abs(turned[0].numpy() - expected).max() <= 0.5 + 1e-3


def test_rotating_more_images_than_fit_at_once_changes_none(monkeypatch):
    images = torch.from_numpy(make_images(11, 1))
    expected = torch.cat([rotated(image[None], 30.0) for image in images])
    monkeypatch.setattr("driftboard.suite.training.transformations.ROTATED_AT_ONCE", 4)
    assert torch.equal(rotated(images, 30.0), expected)


def test_without_any_transformation_the_images_are_the_pools(build):
    rows = [3, 0, 19, 7]
    data = build(rows)
    assert data.images.dtype == torch.uint8
    np.testing.assert_array_equal(data.images[0], build.images[rows])
    np.testing.assert_array_equal(data.labels[0], build.labels[rows])
    assert data.labels.dtype == torch.int64
    assert data.active.all()
    assert data.count == 4


def test_labels_are_the_units_of_the_classes(build):
    data = build([3, 0, 19, 7], units=[2, 0, 3, 1])
    expected = [[2, 0, 3, 1][build.labels[row]] for row in (3, 0, 19, 7)]
    assert data.labels[0].tolist() == expected


def test_every_image_carries_the_active_units_of_its_seed(build):
    masks = [[True, False, True, False], [False, True, False, False]]
    data = build([1, 2], [3], recipes=[make_recipe(active=mask) for mask in masks])
    assert data.active.tolist() == [[masks[0]] * 2, [masks[1]] * 2]


def test_seeds_with_fewer_images_are_padded_with_labels_that_no_answer_equals(build):
    data = build([1, 2, 3], [4], [5, 6])
    np.testing.assert_array_equal(data.labels[0], build.labels[[1, 2, 3]])
    assert data.labels[1].tolist() == [build.labels[4], -1, -1]
    assert data.labels[2].tolist() == [*build.labels[[5, 6]], -1]
    assert data.images.shape == (3, 3, 2, 5, 7)
    np.testing.assert_array_equal(data.images[1, 0], build.images[4])
    np.testing.assert_array_equal(data.images[2, :2], build.images[[5, 6]])
    assert not data.images[1, 1:].any()
    assert not data.images[2, 2].any()


def test_a_seed_has_the_same_data_whoever_else_is_in_the_cohort(build):
    rows, name = [4, 9, 1], ("noise", 8)
    recipe = make_recipe(noise=0.3, degrees=20.0)
    alone = build(rows, recipes=[recipe], names=[name])
    other = make_recipe(noise=0.5)
    together = build([1, 4], rows, recipes=[other, recipe], names=[("noise", 1), name])
    assert torch.equal(together.images[1], alone.images[0])
    assert torch.equal(together.labels[1], alone.labels[0])


def test_pixels_change_places_alike_in_every_channel_of_every_image(build):
    order = np.random.default_rng(3).permutation(5 * 7)
    data = build([2, 5], pixel_order=order)
    for image, row in zip(data.images[0].numpy(), (2, 5), strict=True):
        for channel in range(2):
            old, new = build.images[row, channel].ravel(), image[channel].ravel()
            assert new.tolist() == [old[order[place]] for place in range(5 * 7)]


def test_a_pixel_order_of_the_identity_changes_nothing(build):
    assert torch.equal(build([2, 5], pixel_order=np.arange(35)).images, build([2, 5]).images)


def test_pixels_change_places_before_images_turn(build):
    order = np.random.default_rng(3).permutation(5 * 7)
    both = build([2, 5], pixel_order=order, degrees=90.0)
    permuted = build([2, 5], pixel_order=order)
    assert torch.equal(both.images[0], rotated(permuted.images[0], 90.0))


def test_noise_of_deviation_zero_is_the_identity(build):
    assert torch.equal(build([2, 5], noise=0.0).images, build([2, 5]).images)


def test_noise_is_that_of_the_images_own_stream(build):
    rows = [7, 2]
    data = build(rows, names=[("a", 1)], noise=0.2)
    for image, row in zip(data.images[0].numpy(), rows, strict=True):
        drawn = stream("a", 1, row).standard_normal(70, dtype=np.float32).reshape(2, 5, 7)
        exact = build.images[row] + 255 * 0.2 * drawn.astype(np.float64)
        # rounded, and cut off at black and white
        assert np.abs(image - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-3


@given(st.permutations(range(20)), st.integers(1, 20))
def test_noise_belongs_to_the_image_in_any_order_and_company(order, count):
    images = make_images(20, 1, 3, 3)
    labels = np.zeros(20, dtype=np.int64)

    def noisy(rows, deviation=0.4):
        recipe = make_recipe(noise=deviation)
        return build_task(images, labels, [recipe], [np.array(rows)], [("n", 0)], CPU).images[0]

    whole = noisy(range(20))
    assert torch.equal(noisy(order[:count]), whole[torch.tensor(order[:count])])


def test_noise_of_a_higher_level_goes_further_the_same_way(build):
    grey = np.full((5, 1, 4, 4), 128, dtype=np.uint8)
    labels = np.zeros(5, dtype=np.int64)

    def shift(deviation):
        recipe = make_recipe(noise=deviation)
        data = build_task(grey, labels, [recipe], [np.arange(5)], [("n", 0)], CPU)
        return data.images[0].numpy().astype(float) - 128

    weak, strong = shift(0.05), shift(0.1)
    inside = np.abs(strong) < 127
    assert np.abs(strong - 2 * weak)[inside].max() <= 1.5  # two roundings


def test_noise_differs_between_images_and_seeds(build):
    data = build([2, 2], [2, 3], names=[("n", 0), ("n", 1)], noise=0.5)
    assert torch.equal(data.images[0, 0], data.images[0, 1])  # the same image twice
    assert not torch.equal(data.images[0, 0], data.images[1, 0])  # another seed
    black = np.zeros((2, 1, 9, 9), dtype=np.uint8)
    recipe = make_recipe(noise=0.5)
    labels = np.zeros(2, dtype=np.int64)
    one, other = build_task(black, labels, [recipe], [np.arange(2)], [("n", 0)], CPU).images[0]
    assert not torch.equal(one, other)


def test_joined_tasks_keep_their_images_labels_and_active_units(build):
    first = build([1, 2], [3, 4], active=(True, True, False, False))
    second = build([5], [6], active=(False, False, True, True))
    both = joined([first, second])
    assert both.count == 3
    for name in ("images", "labels", "active"):
        value = getattr(both, name)
        assert torch.equal(value[:, :2], getattr(first, name))
        assert torch.equal(value[:, 2:], getattr(second, name))


def make_pool(images):
    labels = np.zeros(len(images), dtype=np.int64)
    return Pool("made up", images, labels, 255 - images, labels)


@pytest.mark.parametrize("count", [3, 9000])  # 9000: more than are squared at once
def test_scaling_gives_training_images_mean_0_and_variance_1_per_channel(count):
    images = make_images(count, 3, 2, 3)
    images[:, 1] //= 4
    images[:, 2, 0] = 7
    scaling = scaling_of(make_pool(images), CPU)
    values = images.astype(np.float64) / 255
    mean, std = values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3))
    np.testing.assert_allclose(scaling.mean.flatten(), mean, rtol=1e-6)
    np.testing.assert_allclose(scaling.std.flatten(), std, rtol=1e-6)
    scaled = scaling(torch.from_numpy(images), torch.float64).numpy()
    expected = (values - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    np.testing.assert_allclose(scaled.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.var(axis=(0, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaling_treats_any_number_of_leading_dimensions_and_keeps_the_bytes(dtype):
    images = make_images(6)
    scaling = scaling_of(make_pool(images), CPU)
    stacked = torch.from_numpy(images).reshape(2, 3, 2, 5, 7)
    before = stacked.clone()
    scaled = scaling(stacked, dtype)
    assert scaled.dtype == dtype
    assert torch.equal(stacked, before)
    assert torch.equal(scaled.flatten(0, 1), scaling(torch.from_numpy(images), dtype))


def test_scaling_of_images_of_one_colour_is_finite():
    images = np.full((4, 1, 3, 3), 200, dtype=np.uint8)
    scaled = scaling_of(make_pool(images), CPU)(torch.from_numpy(images))
    np.testing.assert_allclose(scaled, 0, atol=1e-4)


def test_scaling_does_not_look_at_the_test_images():
    images = make_images(6)
    labels = np.zeros(6, dtype=np.int64)
    one, other = (
        scaling_of(Pool("made up", images, labels, test, labels), CPU)
        for test in (images, 0 * images)
    )
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.std, other.std)

"""Transformations of a user's own: what they make by value, and what of it is refused."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from driftboard.suite.errors import DataError
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.training.cohort import build_task
from driftboard.suite.training.transformations import (
    COMPARED,
    changed_by,
    check_transformations,
    rotated,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 5), dtype=np.uint8)
LABELS = np.arange(9) % 3


@dataclass(frozen=True)
class Inverted:
    def __call__(self, images):
        return 255 - images


@dataclass(frozen=True)
class Swapped:
    """Red and blue change places; the result is a view with negative strides."""

    def __call__(self, images):
        return images[:, ::-1]


@dataclass(frozen=True)
class Unchanged:
    def __call__(self, images):
        return images


def task(rows, own, **changes):
    none = np.arange(0)
    recipe = Recipe(none, none, np.arange(3), np.ones(3, dtype=bool), transformation=1, **changes)
    built = build_task(
        IMAGES, LABELS, [recipe], [np.array(rows)], [("n", 0)], torch.device("cpu"), (None, own)
    )
    return built.images[0].numpy()


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (Inverted(), [[[[255 - p for p in r] for r in c] for c in i] for i in IMAGES.tolist()]),
        (Swapped(), [[image[2], image[1], image[0]] for image in IMAGES.tolist()]),
        (Unchanged(), IMAGES.tolist()),
    ],
    ids=["inverted", "swapped", "unchanged"],
)
def test_the_images_of_a_task_are_changed_and_those_of_the_pool_are_not(own, expected):
    before = IMAGES.copy()
    rows = [4, 0, 7, 2, 8]
    assert task(rows, own).tolist() == [expected[row] for row in rows]
    np.testing.assert_array_equal(IMAGES, before)


def test_a_transformation_comes_after_rotation():
    turned = rotated(torch.from_numpy(IMAGES), 30.0).numpy()
    assert (turned != IMAGES).mean() > 0.5
    np.testing.assert_array_equal(task(range(9), Inverted(), degrees=30.0), 255 - turned)


def test_a_transformation_comes_after_noise():
    rows = range(9)
    noisy = task(rows, Unchanged(), noise=0.5)
    assert (noisy != IMAGES).mean() > 0.5
    np.testing.assert_array_equal(task(rows, Inverted(), noise=0.5), 255 - noisy)


def test_a_recipe_without_a_transformation_leaves_the_images():
    none = np.arange(0)
    recipe = Recipe(none, none, np.arange(3), np.ones(3, dtype=bool))
    built = build_task(
        IMAGES,
        LABELS,
        [recipe],
        [np.arange(9)],
        [("n", 0)],
        torch.device("cpu"),
        (Inverted(), None),
    )
    np.testing.assert_array_equal(built.images[0].numpy(), IMAGES)


def dimmer(images):
    images //= 2  # the line that is named
    return images


WRONG = {
    "another type": (lambda images: images / 2, r"returns float64 of shape \(9, 3, 4, 5\)"),
    "signed": (lambda images: images.astype(np.int8), "returns int8 of shape"),
    "another shape": (lambda images: images[:, :1], r"returns uint8 of shape \(9, 1, 4, 5\)"),
    "fewer images": (lambda images: images[:-1], r"returns uint8 of shape \(8, 3, 4, 5\)"),
    "a tensor": (lambda images: torch.tensor(images), r"returns torch\.Tensor"),
    "a list": (lambda images: images.tolist(), r"returns builtins\.list"),
    "nothing": (lambda images: None, r"returns builtins\.NoneType"),
    "an error": (lambda images: images[99], r"fails: IndexError: .*; test_transformations\.py, l"),
    "an exit": (lambda images: exit(3), "fails: SystemExit: 3"),
    "in place": (dimmer, r"fails: ValueError: .*read-only; test_transformations\.py, line \d+: i"),
    "chance": (
        lambda images: images ^ np.random.default_rng().integers(256, dtype=np.uint8),
        "makes something else of the same image",
    ),
    "chance of NumPy": (
        lambda images: images ^ np.uint8(np.random.randint(256)),
        "makes something else of the same image",
    ),
    "chance of torch": (
        lambda images: images ^ torch.randint(256, (5,), dtype=torch.uint8).numpy(),
        "makes something else of the same image",
    ),
    "the place": (
        lambda images: images + np.arange(len(images), dtype=np.uint8).reshape(-1, 1, 1, 1),
        "makes something else of the same image",
    ),
    "a seeded generator": (
        lambda images: images ^ np.frombuffer(np.random.default_rng(0).bytes(images.size), "u1")
        .reshape(images.shape),
        "makes something else of the same image",
    ),
    "the others": (
        lambda images: images - np.uint8(images.mean()),
        "makes something else of the same image",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Wrong:
    fault: str

    def __call__(self, images):
        return WRONG[self.fault][0](images)


@pytest.mark.parametrize("fault", WRONG)
def test_what_cannot_be_trained_on_is_refused_in_a_line(fault):
    torch.manual_seed(0)
    np.random.seed(0)
    with pytest.raises(DataError, match=r"^the transformation Wrong ") as caught:
        changed_by(Wrong(fault), IMAGES)
    assert "\n" not in str(caught.value)
    assert re.search(WRONG[fault][1], str(caught.value))
    with pytest.raises(DataError, match=r"^the transformation Wrong "):
        check_transformations((None, Inverted(), Wrong(fault)), IMAGES)


def test_a_result_of_another_kind_names_the_users_method():
    first = Wrong.__call__.__code__.co_firstlineno
    with pytest.raises(DataError, match=rf"\(test_transformations\.py, line {first}\); return a"):
        changed_by(Wrong("a list"), IMAGES)


@pytest.mark.parametrize("count", [1, COMPARED, COMPARED + 1])
def test_few_images_are_compared_as_far_as_there_are_any(count):
    some = IMAGES[:count]
    np.testing.assert_array_equal(changed_by(Inverted(), some), 255 - some)


def test_the_state_of_the_process_is_as_before():
    @dataclass(frozen=True)
    class Seeds:
        def __call__(self, images):
            np.random.seed(5)
            torch.manual_seed(5)
            return images

    np.random.seed(1)
    torch.manual_seed(1)
    expected = (np.random.random(), torch.rand(1).item())
    np.random.seed(1)
    torch.manual_seed(1)
    changed_by(Seeds(), IMAGES)
    assert (np.random.random(), torch.rand(1).item()) == expected

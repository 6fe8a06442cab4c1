"""What is done to the images of a task: pixels in another order, rotation, noise, a user's own."""

import inspect
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from driftboard.suite.errors import DataError, cause_of, place_of
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Indices, Recipe
from driftboard.suite.sequences.transformed import Transformation, Transformations
from driftboard.suite.training.global_state import kept_global_state

ROTATED_AT_ONCE = 2000

COMPARED = 3
"""How many of the images are transformed a second time, by themselves."""


def transformed(
    images: Tensor,
    rows: Indices,
    recipe: Recipe,
    names: tuple[str | int, ...],
    transformations: Transformations = (),
) -> Tensor:
    """Return the byte images of a task, shape (n, c, h, w), as its recipe has them changed.

    Args:
        images: as they stand in the pool.
        rows: (n,), where.
        recipe: what is done, in the order of its fields.
        names: the name of the random stream of the noise.
        transformations: what the recipe's ``transformation`` counts.

    Raises:
        DataError: a transformation fails, or what it returns cannot be trained on.
    """
    if recipe.pixel_order is not None:
        order = torch.from_numpy(recipe.pixel_order)
        images = images.flatten(2)[:, :, order].reshape(images.shape)
    if recipe.degrees != 0.0:
        images = rotated(images, recipe.degrees)
    if recipe.noise > 0.0:
        images = _noisy(images, rows, recipe.noise, names)
    if recipe.transformation is not None:
        own = transformations[recipe.transformation]
        if own is not None:
            images = torch.from_numpy(changed_by(own, images.numpy()))
    return images


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Return byte images, shape (n, c, h, w), rotated counter-clockwise; bilinear, black outside.

    >>> image = torch.tensor([[[[0, 255], [0, 0]]]], dtype=torch.uint8)
    >>> rotated(image, 90).tolist()
    [[[[255, 0], [0, 0]]]]
    """
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    cos, sin = torch.cos(angle).item(), torch.sin(angle).item()
    height, width = images.shape[-2:]
    # affine_grid uses coordinates from -1 to 1 along each side, so a rotation of an image that is
    # not square must scale with the sides.
    matrix = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    parts = []
    for part in torch.split(images, ROTATED_AT_ONCE):
        grid = F.affine_grid(matrix.expand(len(part), 2, 3), list(part.shape), align_corners=False)
        turned = F.grid_sample(part.float(), grid, align_corners=False)
        parts.append(turned.round_().clamp_(0, 255).to(torch.uint8))
    return torch.cat(parts)


def _noisy(images: Tensor, rows: Indices, deviation: float, names: tuple[str | int, ...]) -> Tensor:
    """Add Gaussian noise that depends on the row only: an image has the same noise in all tasks."""
    noise = np.stack(
        [
            stream(*names, int(row)).standard_normal(images[0].numel(), dtype=np.float32)
            for row in rows
        ]
    )
    added = images.float() + 255.0 * deviation * torch.from_numpy(noise).reshape(images.shape)
    return added.round_().clamp_(0, 255).to(torch.uint8)


def changed_by(transformation: Transformation, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a user's transformation makes of byte images, shape (n, c, h, w).

    The last few images are transformed a second time, by themselves, and have to come out the
    same: an image must not depend on chance, on its place, or on the others.

    Raises:
        DataError: it raises, writes to the images, or returns something else than as many byte
            images of the same shape; or images come out otherwise the second time.
    """
    with kept_global_state():  # of which both calls find another, if the first leaves another
        changed = _called(transformation, images)
        few = _called(transformation, images[-COMPARED:])
    if not np.array_equal(few, changed[-COMPARED:]):
        raise DataError(
            f"{_name(transformation)} makes something else of the same image when it is called "
            f"with fewer images{_place(transformation)}; change each image for itself, without "
            "chance"
        )
    return changed


def check_transformations(transformations: Transformations, images: NDArray[np.uint8]) -> None:
    """Check a user's transformations on a few images, before anything is trained.

    Raises:
        DataError: as :func:`changed_by`.
    """
    for one in dict.fromkeys(transformations):
        if one is not None:
            changed_by(one, images[: 2 * COMPARED])


def _called(transformation: Transformation, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shown = images.copy()
    shown.flags.writeable = False
    try:
        result: Any = transformation(shown)
    except (Exception, SystemExit) as error:  # a user's class may raise anything
        raise DataError(
            f"{_name(transformation)} fails: {cause_of(error)}{place_of(error)}"
        ) from error
    if not isinstance(result, np.ndarray):
        found = f"{type(result).__module__}.{type(result).__name__}"
    elif result.dtype != np.uint8 or result.shape != images.shape:
        found = f"{result.dtype} of shape {result.shape}"
    else:
        return np.array(result, order="C", subok=False)  # it may be what was shown
    raise DataError(
        f"{_name(transformation)} returns {found}{_place(transformation)}; return a NumPy array of "
        f"uint8 of shape {images.shape}"
    )


def _name(transformation: Transformation) -> str:
    return f"the transformation {type(transformation).__name__}"


def _place(transformation: Transformation) -> str:
    """Return in which file and line a transformation's method begins, or nothing."""
    call = inspect.getattr_static(type(transformation), "__call__", None)
    if not isinstance(call, FunctionType):
        return ""
    code = call.__code__
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"

"""The images of one task for a cohort of seeds, as stacked tensors on a device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from driftboard.suite.data import Pool
from driftboard.suite.rng import stream
from driftboard.suite.sequences.scenarios import Indices, Recipe

ROTATED_AT_ONCE = 2000


@dataclass(frozen=True)
class TaskData:
    """Images and labels of one task for S seeds; images stay bytes until a pass uses them."""

    images: Tensor  # uint8, (S, n, channels, height, width)
    labels: Tensor  # int64, (S, n); -1 for the padding of a seed with fewer images than another
    active: Tensor  # bool, (S, n, head units): the units an answer is chosen from

    @property
    def count(self) -> int:
        """The number of images of a seed."""
        return self.labels.shape[1]

    def on(self, device: torch.device) -> "TaskData":
        """Return the same on a device."""
        return TaskData(self.images.to(device), self.labels.to(device), self.active.to(device))


@dataclass(frozen=True)
class Scaling:
    """Channel means and standard deviations of a data set's training images, in [0, 1]."""

    mean: Tensor  # (channels, 1, 1)
    std: Tensor

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standardised floats, shape (..., channels, height, width), of byte images."""
        scaled = images.to(dtype).div_(255.0)
        return scaled.sub_(self.mean.to(dtype)).div_(self.std.to(dtype))

    def on(self, device: torch.device) -> "Scaling":
        """Return the same on a device."""
        return Scaling(self.mean.to(device), self.std.to(device))


def scaling_of(pool: Pool, device: torch.device) -> Scaling:
    """Return the scaling that gives a pool's training images mean 0 and variance 1."""
    images = pool.train_images
    count = images.size // images.shape[1]
    # Sums of squares of bytes are exact in 64 bits, whatever the order of summation.
    total = images.sum(axis=(0, 2, 3), dtype=np.uint64).astype(np.float64)
    squares = sum(
        (part.astype(np.uint32) ** 2).sum(axis=(0, 2, 3), dtype=np.uint64)
        for part in np.array_split(images, max(1, len(images) // 4096))
    )
    mean = total / count
    std = np.sqrt(np.maximum(np.asarray(squares, dtype=np.float64) / count - mean**2, 1.0))
    shape = (-1, 1, 1)
    return Scaling(
        torch.tensor(mean / 255.0, dtype=torch.float32, device=device).reshape(shape),
        torch.tensor(std / 255.0, dtype=torch.float32, device=device).reshape(shape),
    )


def build_task(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    labels: Indices,
    recipes: Sequence[Recipe],
    positions: Sequence[Indices],
    noise_names: Sequence[tuple[str | int, ...]],
    device: torch.device,
) -> TaskData:
    """Stack one task of several seeds.

    Args:
        images: (N, channels, height, width), the pool that ``positions`` point into.
        labels: (N,), the classes of the data set.
        recipes: one per seed.
        positions: one array of rows of ``images`` per seed; shorter ones are padded.
        noise_names: the name of the random stream of each seed's image noise.
        device: where the tensors go.
    """
    longest = max(len(rows) for rows in positions)
    all_images, all_labels, all_active = [], [], []
    for recipe, rows, names in zip(recipes, positions, noise_names, strict=True):
        padding = longest - len(rows)
        chosen = torch.from_numpy(images[rows])
        chosen = _transformed(chosen, rows, recipe, names)
        units = torch.from_numpy(recipe.units[labels[rows]])
        all_images.append(F.pad(chosen, (0, 0) * 3 + (0, padding)))
        all_labels.append(F.pad(units, (0, padding), value=-1))
        all_active.append(torch.from_numpy(recipe.active).expand(longest, -1))
    return TaskData(
        torch.stack(all_images).to(device),
        torch.stack(all_labels).to(device),
        torch.stack(all_active).to(device),
    )


def joined(tasks: Sequence[TaskData]) -> TaskData:
    """Return the images of several tasks as one; each keeps the active units of its task."""
    return TaskData(
        torch.cat([task.images for task in tasks], dim=1),
        torch.cat([task.labels for task in tasks], dim=1),
        torch.cat([task.active for task in tasks], dim=1),
    )


def _transformed(
    images: Tensor, rows: Indices, recipe: Recipe, names: tuple[str | int, ...]
) -> Tensor:
    if recipe.pixel_order is not None:
        order = torch.from_numpy(recipe.pixel_order)
        images = images.flatten(2)[:, :, order].reshape(images.shape)
    if recipe.degrees != 0.0:
        images = rotated(images, recipe.degrees)
    if recipe.noise > 0.0:
        images = _noisy(images, rows, recipe.noise, names)
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

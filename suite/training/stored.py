"""What a strategy carries over, held against what it says that it stores."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory, Strategy
from driftboard.suite.errors import StrategyError, counted

SAME = 1e-3
"""How far the pixels of two images of mean 0 and deviation 1 may differ that count as the same."""


def bytes_of(memory: Memory) -> int:
    """Return the number of bytes of all tensors in a memory."""
    leaves = pytree.tree_leaves(memory)
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves)


def shaped_as_images(memory: Memory, image_shape: Sequence[int]) -> int:
    """Return how many things of the shape of an image the memory of each learner holds.

    Args:
        memory: tensors of shape (S, ...).
        image_shape: channels, height, width.

    >>> memory = {"kept": torch.zeros(2, 5, 1, 8, 8), "mean": torch.zeros(2, 64)}
    >>> shaped_as_images(memory, (1, 8, 8))
    5
    """
    shape, dims = tuple(image_shape), len(image_shape)
    shapes = [tuple(leaf.shape[1:]) for leaf in pytree.tree_leaves(memory)]
    return sum(math.prod(own[:-dims]) for own in shapes if own[-dims:] == shape)


def images_in(memory: Memory, images: Tensor) -> int:
    """Return how many of some images the memory of the first learner holds, in whatever shape.

    Found are images that lie in one piece or one to a column, as bytes or floats, also brighter or
    with more contrast. What is encrypted, compressed or cut up is not found.

    Args:
        memory: tensors of shape (S, ...).
        images: of the first learner, (n, channels, height, width).

    >>> images = torch.arange(8.0).reshape(2, 1, 2, 2).square()
    >>> images_in({"flat": 3 * images.flatten(1)[None] + 1}, images)
    2
    """
    wanted = _standardised(images.flatten(1))
    # One number for each image, by which those that may be the same are found.
    probe = torch.linspace(-1, 1, wanted.shape[1], dtype=wanted.dtype, device=wanted.device) ** 3
    marks = (wanted @ probe).sort()
    found = 0
    for rows in _rows(memory, wanted.shape[1]):
        own = _standardised(rows)
        place = torch.searchsorted(marks.values, own @ probe)
        near = torch.zeros(len(own), dtype=torch.bool, device=own.device)
        for step in (-1, 0):
            other = marks.indices[(place + step).clamp(0, len(wanted) - 1)]
            near |= (own - wanted[other]).abs().amax(1) < SAME
        found += int((near & (own.abs().amax(1) > 0)).sum())
    return found


def _standardised(rows: Tensor) -> Tensor:
    """Return rows of mean 0 and deviation 1, float64; those that are constant are zeros."""
    rows = rows.double()
    rows = rows - rows.mean(1, keepdim=True)
    deviation = rows.square().mean(1, keepdim=True).sqrt()
    return torch.where(deviation > 1e-9, rows / deviation.clamp_min(1e-9), 0.0)


def _rows(memory: Memory, pixels: int) -> Iterator[Tensor]:
    """Yield what may be images in the first learner's memory, each as rows of pixels."""
    for leaf in pytree.tree_leaves(memory):
        own = leaf[0]
        tails = [math.prod(own.shape[place:]) for place in range(own.ndim)]
        heads = [math.prod(own.shape[:place]) for place in range(1, own.ndim)]
        if own.dtype == torch.bool or own.numel() < pixels:
            continue
        if pixels in tails or (own.ndim == 1 and own.numel() % pixels == 0):
            yield own.reshape(-1, pixels)
        if pixels in heads:
            yield own.reshape(pixels, -1).mT


def check_stored(strategy: Strategy, memory: Memory, images: Tensor) -> None:
    """Check that a memory holds no more than its strategy says.

    Args:
        strategy: its ``stores``, and its ``capacity`` where it stores examples.
        memory: of all learners, tensors of shape (S, ...).
        images: of the task that ends, (S, n, channels, height, width).

    Raises:
        StrategyError: it holds something though it says "nothing"; images though it does not say
            "examples"; or more of them than ``capacity``.
    """
    if not pytree.tree_leaves(memory):
        return
    held = bytes_of(memory) // images.shape[0]
    stored = max(shaped_as_images(memory, images.shape[2:]), images_in(memory, images[0]))
    problem = None
    if strategy.stores == "nothing" and held:
        problem = (
            f"its memory holds {counted(held, 'byte')}, but stores says 'nothing'; "
            "say 'parameters' or 'examples'"
        )
    elif strategy.stores != "examples" and stored:
        problem = (
            f"its memory holds {counted(stored, 'image')}, or tensors of the shape of one; say "
            "stores = 'examples' and give it an int field capacity"
        )
    elif strategy.stores == "examples" and stored > capacity_of(strategy):
        problem = (
            f"its memory holds {counted(stored, 'image')}, more than its "
            f"capacity={capacity_of(strategy)}"
        )
    if problem:
        raise StrategyError(f"strategy '{strategy.name}': {problem}")


def capacity_of(strategy: Strategy) -> int:
    """Return how many images a strategy may keep: its field ``capacity``, 0 without examples."""
    return int(getattr(strategy, "capacity", 0)) if strategy.stores == "examples" else 0

"""What a strategy carries over, held against what it says that it stores."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from driftboard.strategies.base import EXAMPLES_AT_ONCE, Memory, Scaling, Strategy
from driftboard.suite.errors import StrategyError, counted

SAME = 1e-5
"""How far the pixels of two images may differ, in parts of the largest, that count as the same."""


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


def images_in(memory: Memory, images: Tensor, scaling: Scaling) -> int:
    """Return how many of some images the memory of the first learner holds, in whatever shape.

    Found are images that lie in one piece or one to a column, as bytes, as floats from 0 to 1 or
    as a strategy sees them. What is scaled otherwise, compressed or cut up is not found: gradients
    of a first layer hold multiples of single images, and are none.

    Args:
        memory: tensors of shape (S, ...).
        images: of the first learner, bytes, (n, channels, height, width).
        scaling: what makes of them what a strategy sees.

    >>> images = torch.arange(8, dtype=torch.uint8).reshape(2, 1, 2, 2)
    >>> one = torch.ones(1, 1, 1)
    >>> images_in({"flat": images.flatten(1)[None] / 255}, images, Scaling(0 * one, 0.5 * one))
    2
    """
    forms: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda part: part.double(),
        lambda part: part.double() / 255,
        lambda part: scaling(part, torch.float64),
    )
    rows = list(_rows(memory, images[0].numel()))
    if not rows:
        return 0
    parts = images.split(EXAMPLES_AT_ONCE)  # in double precision all of them take much memory
    return max(sum(_held(own, parts, form) for own in rows) for form in forms)


def _held(rows: Tensor, parts: Sequence[Tensor], form: Callable[[Tensor], Tensor]) -> int:
    """Return how many of the rows are among images in some form."""
    found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for part in parts:
        found |= _among(rows, form(part).flatten(1))
    return int(found.sum())


def _among(rows: Tensor, wanted: Tensor) -> Tensor:
    """Return which of the rows are among those wanted, but for rounding; both are float64."""
    # One number for each row, by which those that may be the same are found.
    pixels = torch.arange(wanted.shape[1], dtype=wanted.dtype, device=wanted.device)
    probe = torch.cos(pixels.square() + 1)  # weights without a pattern that images might have
    marks = (wanted @ probe).sort()
    place = torch.searchsorted(marks.values, rows @ probe)
    near = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for step in (-1, 0):
        other = wanted[marks.indices[(place + step).clamp(0, len(wanted) - 1)]]
        near |= (rows - other).abs().amax(1) <= SAME * other.abs().amax(1)
    is_blank = rows.amax(1) == rows.amin(1)
    return near & ~is_blank


def _rows(memory: Memory, pixels: int) -> Iterator[Tensor]:
    """Yield what may be images in the first learner's memory, each as rows of pixels."""
    for leaf in pytree.tree_leaves(memory):
        own = leaf[0]
        tails = [math.prod(own.shape[place:]) for place in range(own.ndim)]
        heads = [math.prod(own.shape[:place]) for place in range(1, own.ndim)]
        if own.dtype == torch.bool or own.numel() < pixels:
            continue
        if pixels in tails or (own.ndim == 1 and own.numel() % pixels == 0):
            yield own.reshape(-1, pixels).double()
        if pixels in heads:
            yield own.reshape(pixels, -1).mT.double()


def check_stored(strategy: Strategy, memory: Memory, images: Tensor, scaling: Scaling) -> None:
    """Check that a memory holds no more than its strategy says.

    Args:
        strategy: its ``stores``, and its ``capacity`` where it stores examples.
        memory: of all learners, tensors of shape (S, ...).
        images: of the task that ends, bytes, (S, n, channels, height, width).
        scaling: what makes of them what the strategy sees.

    Raises:
        StrategyError: it holds something though it says "nothing"; images though it does not say
            "examples"; or more of them than ``capacity``.
    """
    if not pytree.tree_leaves(memory):
        return
    held = bytes_of(memory) // images.shape[0]
    stored = max(shaped_as_images(memory, images.shape[2:]), images_in(memory, images[0], scaling))
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

"""What a strategy carries over, held against what it says that it stores."""

import math
from collections.abc import Sequence

from torch.utils import _pytree as pytree

from driftboard.strategies.base import Memory, Strategy
from driftboard.suite.errors import StrategyError, counted


def bytes_of(memory: Memory) -> int:
    """Return the number of bytes of all tensors in a memory."""
    leaves = pytree.tree_leaves(memory)
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves)


def images_in(memory: Memory, image_shape: Sequence[int]) -> int:
    """Return how many things of the shape of an image the memory of each learner holds.

    Args:
        memory: tensors of shape (S, ...).
        image_shape: channels, height, width.

    >>> import torch
    >>> images_in({"kept": torch.zeros(2, 5, 1, 8, 8), "mean": torch.zeros(2, 64)}, (1, 8, 8))
    5
    """
    shape, dims = tuple(image_shape), len(image_shape)
    shapes = [tuple(leaf.shape[1:]) for leaf in pytree.tree_leaves(memory)]
    return sum(math.prod(own[:-dims]) for own in shapes if own[-dims:] == shape)


def check_stored(
    strategy: Strategy, memory: Memory, image_shape: Sequence[int], learners: int
) -> None:
    """Check that a memory holds no more than its strategy says.

    Args:
        strategy: its ``stores``, and its ``capacity`` where it stores examples.
        memory: of all learners, tensors of shape (S, ...).
        image_shape: channels, height, width.
        learners: S.

    Raises:
        StrategyError: it holds something though it says "nothing"; images though it does not say
            "examples"; or more of them than ``capacity``.
    """
    held, images = bytes_of(memory) // learners, images_in(memory, image_shape)
    problem = None
    if strategy.stores == "nothing" and held:
        problem = (
            f"its memory holds {counted(held, 'byte')}, but stores says 'nothing'; "
            "say 'parameters' or 'examples'"
        )
    elif strategy.stores != "examples" and images:
        problem = (
            f"its memory holds {counted(images, 'tensor')} of the shape of an image; say "
            "stores = 'examples' and give it an int field capacity"
        )
    elif strategy.stores == "examples" and images > capacity_of(strategy):
        problem = (
            f"its memory holds {counted(images, 'image')}, more than its "
            f"capacity={capacity_of(strategy)}"
        )
    if problem:
        raise StrategyError(f"strategy '{strategy.name}': {problem}")


def capacity_of(strategy: Strategy) -> int:
    """Return how many images a strategy may keep: its field ``capacity``, 0 without examples."""
    return int(getattr(strategy, "capacity", 0)) if strategy.stores == "examples" else 0

"""Fixtures that several test files share. torch is imported where it is used: it costs seconds."""

from dataclasses import dataclass, replace
from typing import Any

import pytest


@pytest.fixture
def make_task():
    """Return a function that makes a random task in float64 for a small network of layers."""
    import torch
    from torch.func import functional_call

    from driftboard.strategies import Block, Examples, Task

    @dataclass(frozen=True)
    class Layers:
        module: torch.nn.Module

        @property
        def blocks(self):
            named = {
                name: tuple(f"{name}.{own}" for own, _ in layer.named_parameters())
                for name, layer in self.module.named_children()
            }
            return tuple(Block(name, owned) for name, owned in named.items() if owned)

        def logits(self, parameters, images):
            return functional_call(self.module, parameters, (images,))

    def make(module, *, shape, units, classes=None, count=12, index=0, seed=0):
        random = torch.Generator().manual_seed(seed)

        def normal(*size):
            return torch.randn(*size, generator=random, dtype=torch.float64)

        own = torch.tensor(range(units) if classes is None else classes)
        labels = own[torch.randint(len(own), (count,), generator=random)]
        belongs = torch.isin(torch.arange(units), own)
        return Task(
            index=index,
            network=Layers(module),
            examples=Examples(normal(count, *shape), labels, belongs.repeat(count, 1)),
            classes=belongs,
            initial={k: 0.5 * normal(*v.shape) for k, v in module.named_parameters()},
            noise=torch.rand(count, generator=random, dtype=torch.float64),
        )

    return make


@pytest.fixture
def map_learners():
    """Return a function that maps ``function(task, *trees)`` over learners with ``vmap``."""
    import torch
    from torch.func import vmap
    from torch.utils._pytree import tree_map

    def tensors(task) -> tuple[Any, ...]:
        part = task.examples
        return (part.images, part.labels, part.allowed, task.classes, task.initial, task.noise)

    def mapped(function, tasks, *trees):
        """Tasks and trees are lists, one entry per learner."""
        from driftboard.strategies import Examples

        def one(parts, *trees):
            images, labels, allowed, classes, initial, noise = parts
            examples = Examples(images, labels, allowed)
            task = replace(
                tasks[0], examples=examples, classes=classes, initial=initial, noise=noise
            )
            return function(task, *trees)

        stacked = [
            tree_map(lambda *values: torch.stack(values), *each)
            for each in ([tensors(task) for task in tasks], *trees)
        ]
        return vmap(one)(*stacked)

    return mapped

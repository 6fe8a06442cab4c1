"""Sharpness-aware minimisation: the gradient where the loss is worst nearby."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.func import grad

from driftboard.strategies.base import Examples, Memory, Parameters, Range, Strategy, Task


@dataclass(frozen=True)
class Sam(Strategy):
    """Step along the gradient at the point that lies ``radius`` up the gradient.

    The paper's (Foret et al. 2021, arXiv 2010.01412, algorithm 1): ``theta + rho g / |g|`` with g
    the batch's gradient and the norm over all parameters that move; its default rho is 0.05. That
    flat minima forget less in sequences of tasks is found by Mirzadeh et al. 2020 and Mehta et al.
    2023. It costs two gradients, the second one without a network's closed form. Where a task is
    solved, not trained, it is plain training.

    Parameters:
        radius: rho, at least 0; 0 is plain training.
    """

    radius: float = 0.05

    name: ClassVar[str] = "sam"
    summary: ClassVar[str] = "Every block trains along the gradient at the worst point nearby."
    search: ClassVar[Mapping[str, Range]] = {"radius": Range(0.005, 1.0, logarithmic=True)}
    literature: ClassVar[str] = "Foret et al. 2021, arXiv 2010.01412"
    stores: ClassVar[Literal["nothing", "parameters", "examples"] | None] = "nothing"

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if not 0 <= self.radius < math.inf:
            raise ValueError(f"radius must be at least 0 and finite, not {self.radius}")

    def correct(
        self, task: Task, gradient: Parameters, parameters: Parameters, memory: Memory
    ) -> Parameters:
        """Return the gradient of the same batch at the perturbed point."""
        if task.step is None:
            return gradient
        # The batch is part of the task's own images, because no hook changes it.
        own, rows = task.examples, task.step.positions
        batch = Examples(own.images[rows], own.labels[rows], own.allowed[rows])
        norm = torch.stack([value.square().sum() for value in gradient.values()]).sum().sqrt()
        # Where the norm is 0 so is the gradient, and any scale does.
        scale = self.radius / torch.where(norm > 0, norm, 1.0)
        perturbed = {n: parameters[n] + scale * value for n, value in gradient.items()}

        def loss(moved: Parameters) -> Tensor:
            return task.loss({**parameters, **moved}, batch)

        result: Parameters = grad(loss)(perturbed)
        return result

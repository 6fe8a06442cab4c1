"""The data of linear sequences, drawn for many learners at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from driftboard.suite.sequences.linear import LinearSetting

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearData:
    """The truths and training data of L learners, float64, on the CPU."""

    truths: Tensor  # (L, tasks, parameters), the shared ones first
    inputs: tuple[Tensor, ...]  # per task (L, samples, parameters)
    targets: tuple[Tensor, ...]  # per task (L, samples)


def draw(setting: LinearSetting, generators: Sequence[np.random.Generator]) -> LinearData:
    """Draw the data of ``setting.draws`` learners from every seed's generator.

    The learners of one seed follow one another. Every learner has truths of its own in random
    directions. For a strategy that treats all directions alike, fixed ones would give the same
    distribution of errors, because the inputs look the same from all directions; one that looks
    at single coordinates, such as EWC, must not meet truths that lie along them.

    Settings that differ only in norms, noise and distance share the random numbers.
    """
    seeds = [_draw_of_one_seed(setting, generator) for generator in generators]
    truths, inputs, targets = zip(*seeds, strict=True)
    return LinearData(
        _joined(truths),
        tuple(_joined(task) for task in zip(*inputs, strict=True)),
        tuple(_joined(task) for task in zip(*targets, strict=True)),
    )


def _draw_of_one_seed(
    setting: LinearSetting, random: np.random.Generator
) -> tuple[Array, list[Array], list[Array]]:
    truths = _truths(setting, random)
    inputs, targets = [], []
    for task in range(setting.tasks):
        size = (setting.draws, setting.samples_of(task))
        features = random.standard_normal((*size, setting.parameters))
        noise = setting.noise * random.standard_normal(size)
        inputs.append(features)
        targets.append(np.einsum("lnp,lp->ln", features, truths[:, task]) + noise)
    return truths, inputs, targets


def _truths(setting: LinearSetting, random: np.random.Generator) -> Array:
    """Return truths, shape (draws, tasks, parameters).

    ``q*_k = own_norm (sqrt(1 - rho) a + sqrt(rho) b_k)`` with a, b_1, b_2, ... orthonormal has
    the squared distances ``2 rho own_norm^2``.
    """
    shared = random.standard_normal((setting.draws, setting.shared))
    shared = setting.shared_norm * shared / np.linalg.norm(shared, axis=1, keepdims=True)
    frame = _orthonormal(random.standard_normal((setting.draws, setting.own, setting.tasks + 1)))
    common, private = frame[:, :, 0], frame[:, :, 1:].swapaxes(1, 2)
    rho = min(1.0, setting.distance**2 / (2 * setting.own_norm**2))
    own = setting.own_norm * (np.sqrt(1 - rho) * common[:, None] + np.sqrt(rho) * private)
    repeated = np.broadcast_to(shared[:, None], (*own.shape[:2], setting.shared))
    return np.concatenate([repeated, own], axis=2)


def _orthonormal(columns: Array) -> Array:
    """Return orthonormal columns in uniformly random directions, from normal ones."""
    basis, triangle = np.linalg.qr(columns)
    # Without the signs the directions would follow the routine's convention, and not be uniform.
    signs: Array = np.sign(np.diagonal(triangle, axis1=-2, axis2=-1))
    return np.asarray(basis * signs[:, None, :])


def _joined(parts: tuple[Array, ...]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))

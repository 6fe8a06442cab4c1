"""How much is measured, and the networks that are."""

from collections.abc import Sequence
from dataclasses import dataclass

from workloads import Workload, workload

DIGITS, FASHION, CIFAR10 = "digits", "fashion", "cifar10"
NETWORKS = (DIGITS, FASHION, CIFAR10)


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    seeds: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    convolution_seeds: int = 5  # more are not stacked where convolutions are not meant to be
    at_least: float = 0.5
    batches: tuple[int, int, int] = (10, 10, 4)  # of a task, by network
    epochs: tuple[int, int, int] = (5, 3, 4)
    side: int = 32  # of CIFAR-10's images
    product_side: int | None = None
    copied: int | None = None
    calls: int = 5  # of every product of a layer
    tasks: tuple[int, ...] = (2, 5, 10, 20, 50)
    classes: tuple[int, ...] = (2, 10, 50, 200)
    records: tuple[int, ...] = (1000, 3000, 10_000)


SMALL = Scale(
    (1, 2), 2, 0.0, (2, 2, 1), (1, 1, 1), 16, 64, 2**16, 1, (2, 3), (2, 5), (26,)
)  # fmt: skip


def workloads(scale: Scale, names: Sequence[str]) -> list[Workload]:
    """Return the chosen networks with their images."""
    known = {
        DIGITS: ("MLP on digits", "mlp-128x2", (1, 8, 8)),
        FASHION: ("MLP on Fashion-MNIST", "mlp-256x2", (1, 28, 28)),
        CIFAR10: ("ResNet of 9 blocks on CIFAR-10", "resnet9-w16", (3, scale.side, scale.side)),
    }
    return [
        workload(*known[name], scale.batches[index], scale.epochs[index])
        for index, name in enumerate(NETWORKS)
        if name in names
    ]

"""The protocol: every choice that is the same for all strategies, versioned and hashed.

A record carries the hash, so results under different choices are never mixed. Whoever changes a
number here has to raise ``version`` as well.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from driftboard.suite.errors import DriftboardError
from driftboard.suite.records import ProtocolStamp

FromOne = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0, le=1e300)]  # finite
Momentum = Annotated[float, Meta(ge=0, lt=1)]
"""``sequences/validation.py`` checks such limits of what a user writes."""


@dataclass(frozen=True)
class Training:
    """How every strategy trains on one task: stochastic gradient descent with momentum.

    Training on a task takes ``epochs`` passes over its images, but at least ``minimum_steps``
    steps, so that tasks with few images are learned too. All batches are full: each epoch draws a
    new order and leaves out the images that do not fill a batch. So with one epoch and no minimum
    of steps every image is seen once at the most. The momentum starts at zero with every task.

    >>> Training(epochs=3, batch_size=100, learning_rate=0.05).momentum
    0.9
    """

    epochs: FromOne
    batch_size: FromOne
    learning_rate: Rate
    momentum: Momentum = 0.9
    minimum_steps: Annotated[int, Meta(ge=0)] = 60


@dataclass(frozen=True)
class AdamTraining(Training):
    """The same with Adam (Kingma and Ba 2015), whose averages start at zero with every task.

    ``momentum`` is its beta_1, ``second_momentum`` beta_2.
    """

    second_momentum: Momentum = 0.999
    epsilon: Annotated[float, Meta(gt=0, le=1)] = 1e-8


@dataclass(frozen=True)
class _Versioned:
    """Choices that have a name and a version, which are hashed with them."""

    name: str
    version: int

    def stamp(self) -> ProtocolStamp:
        """Return name, version and hash, as records carry them."""
        return ProtocolStamp(self.name, self.version, digest(dataclasses.asdict(self)))


@dataclass(frozen=True)
class Protocol(_Versioned):
    """The fixed choices of one version of the benchmark.

    >>> PROTOCOL.training_of("mlp-256x2").epochs, PROTOCOL.seeds_of("quick")
    (3, (0, 1, 2, 3, 4))
    """

    name: str = "driftboard"
    version: int = 2
    seeds: dict[str, int] = field(
        default_factory=lambda: {"quick": 5, "linear": 10, "core": 10, "full": 10, "own": 5}
    )
    tuning_seeds: tuple[int, ...] = (1000, 1001, 1002, 1003, 1004)
    validation_share: float = 0.2  # of the training images of each class, held out for tuning
    training: dict[str, Training] = field(
        default_factory=lambda: {
            "mlp-128x2": Training(epochs=5, batch_size=50, learning_rate=0.05),
            "mlp-256x2": Training(epochs=3, batch_size=100, learning_rate=0.05),
            "resnet9-w16": Training(epochs=4, batch_size=50, learning_rate=0.05),
            "resnet9-w64": Training(epochs=10, batch_size=50, learning_rate=0.05),
        }
    )
    other_training: Training = Training(epochs=5, batch_size=50, learning_rate=0.02)

    def training_of(self, network: str) -> Training:
        """Return the training settings of a network; one that is not listed gets the default."""
        return self.training.get(network, self.other_training)

    def seeds_of(self, tier: str, *, tuning: bool = False) -> tuple[int, ...]:
        """Return the seeds of a tier, or the tuning seeds, which no tier shares."""
        return self.tuning_seeds if tuning else tuple(range(self.seeds[tier]))

    def check_seed_count(
        self, count: int | None, tiers: Iterable[str], *, tuning: bool = False
    ) -> None:
        """Check that --seeds does not exceed the number of seeds of the largest of the tiers.

        Raises:
            DriftboardError: it does.
        """
        most = max(len(self.seeds_of(tier, tuning=tuning)) for tier in tiers)
        if count is not None and count > most:
            raise DriftboardError(
                f"--seeds {count} is more than the {most} that the protocol has for these "
                "sequences; leave it out to take all"
            )


@dataclass(frozen=True)
class Grading(_Versioned):
    """The fixed choices of measuring how far apart the tasks of a sequence are.

    It has a version of its own, because records of runs do not depend on it. The images of a task
    are divided into ``parts``; the network trains on each part alone, for as many steps as the
    protocol takes on the whole task. docs/results/distances.md gives reasons for the cut-offs.
    """

    name: str = "driftboard-grading"
    version: int = 1
    parts: int = 2
    near_below: float = 0.5
    far_from: float = 1.2
    reliable_from: float = 0.5
    refused_below: float = 0.3


@dataclass(frozen=True)
class Tuning(_Versioned):
    """The fixed choices of tuning: how many trials, and which learning rates.

    ``lowest_rate`` and ``highest_rate`` are factors of the protocol's learning rate.
    """

    name: str = "driftboard-tuning"
    version: int = 1
    trials: int = 8
    lowest_rate: float = 0.1
    highest_rate: float = 3.0


def digest(value: Any) -> str:
    """Return the SHA-256 digest, in hexadecimal, of plain data as canonical JSON.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


PROTOCOL = Protocol()
GRADING = Grading()
TUNING = Tuning()

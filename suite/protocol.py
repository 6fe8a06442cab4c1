"""The protocol: every choice that is the same for all strategies, versioned and hashed.

A record carries the hash, so results made under different choices are never mixed. Change a
number here only together with ``version``.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from driftboard.suite.errors import DriftboardError
from driftboard.suite.records import ProtocolStamp


@dataclass(frozen=True)
class Training:
    """How every strategy trains on one task: stochastic gradient descent with momentum.

    A task is trained for ``epochs`` passes over its images, but at least ``minimum_steps``
    steps, so that tasks of a few images are trained too. Batches are full: each epoch draws a
    new order, and what does not fill a batch is left out of that epoch. The momentum starts at
    zero with every task.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    minimum_steps: int = 60


@dataclass(frozen=True)
class AdamTraining(Training):
    """The same by Adam (Kingma and Ba 2015), whose averages start at zero with every task.

    ``momentum`` is its beta_1, ``second_momentum`` beta_2.
    """

    second_momentum: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Protocol:
    """The fixed choices of one version of the benchmark."""

    name: str = "driftboard"
    version: int = 2
    seeds: dict[str, int] = field(
        default_factory=lambda: {"quick": 5, "linear": 10, "core": 10, "full": 10, "own": 5}
    )
    tuning_seeds: tuple[int, ...] = (1000, 1001, 1002, 1003, 1004)
    validation_share: float = 0.2  # of each class's training images, kept apart when tuning
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
        """Return the training settings of a network, those of any other if it is not listed."""
        return self.training.get(network, self.other_training)

    def seeds_of(self, tier: str, *, tuning: bool = False) -> tuple[int, ...]:
        """Return the seeds of a tier; the tuning seeds are never among them."""
        return self.tuning_seeds if tuning else tuple(range(self.seeds[tier]))

    def check_seed_count(
        self, count: int | None, tiers: Iterable[str], *, tuning: bool = False
    ) -> None:
        """See that not more seeds are asked for than one of the tiers has.

        Raises:
            DriftboardError: there are fewer.
        """
        most = max(len(self.seeds_of(tier, tuning=tuning)) for tier in tiers)
        if count is not None and count > most:
            raise DriftboardError(
                f"--seeds {count} is more than the {most} that the protocol has for these "
                "sequences; leave it out to take all"
            )

    def stamp(self) -> ProtocolStamp:
        """Return name, version and hash, as every record carries them."""
        return ProtocolStamp(self.name, self.version, digest(dataclasses.asdict(self)))


@dataclass(frozen=True)
class Grading:
    """The fixed choices of measuring how far apart the tasks of a sequence are.

    Versioned apart from the protocol: records of runs do not depend on it. A task's images are
    dealt out to ``parts``; each part is trained on alone, for as many steps as the protocol
    takes on the whole task. The cut-offs are reasoned in this room's README.
    """

    name: str = "driftboard-grading"
    version: int = 1
    parts: int = 2
    near_below: float = 0.5
    far_from: float = 1.2
    reliable_from: float = 0.5
    refused_below: float = 0.3

    def stamp(self) -> ProtocolStamp:
        """Return name, version and hash, as every grade record carries them."""
        return ProtocolStamp(self.name, self.version, digest(dataclasses.asdict(self)))


@dataclass(frozen=True)
class Tuning:
    """The fixed choices of tuning: how many trials, and which learning rates.

    ``lowest_rate`` and ``highest_rate`` are factors of the protocol's learning rate.
    """

    name: str = "driftboard-tuning"
    version: int = 1
    trials: int = 8
    lowest_rate: float = 0.1
    highest_rate: float = 3.0

    def stamp(self) -> ProtocolStamp:
        """Return name, version and hash, as every tuning record carries them."""
        return ProtocolStamp(self.name, self.version, digest(dataclasses.asdict(self)))


def digest(value: Any) -> str:
    """Return the SHA-256 hex digest of plain data, by way of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


PROTOCOL = Protocol()
GRADING = Grading()
TUNING = Tuning()

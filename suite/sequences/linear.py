"""Linear sequences: sizes, noise, how far apart the tasks' truths are; and those registered."""

import math
from dataclasses import dataclass
from typing import ClassVar

from driftboard.suite.errors import DataError
from driftboard.suite.sequences.scenarios import Recipe, View
from driftboard.suite.sequences.task_sequence import TaskSequence

DRAWS = 10

ROUNDING = 1e-12
"""What is smaller than this, relatively, is rounding: a distance may exceed the largest by it."""


@dataclass(frozen=True)
class LinearSetting:
    """A sequence of linear regressions that share a part of their true parameters.

    Task k has the truth ``theta*_k = (u*, q*_k)``: ``u*`` is the same for all tasks, and the
    ``q*_k`` have equal norms and equal distances. Its data are fresh: inputs with independent
    standard normal entries, and ``y = x . theta*_k + noise * e`` with e standard normal. The
    learner has the parameters ``theta = (u, q)``, one q for all tasks, and starts at 0. Its
    excess loss on task k is ``|theta - theta*_k|^2``, the expected squared error on a fresh
    input less the noise that nobody can predict.

    Only sizes at which training on one task has a finite expected error are accepted. Where
    samples and parameters differ by 2 or 3 the error has a mean but no variance: that is valid,
    and no number of draws measures it well. The same holds for ``joint`` where the samples of
    several tasks together are about as many as the parameters; it is then no bound at all.

    Args:
        tasks: number of tasks, at least 2.
        shared: number of shared parameters u, at least 0.
        own: number of task-specific parameters q, at least ``tasks + 1``.
        samples: training samples of a task, at least 1.
        first_samples: those of the first task, if it has another number.
        noise: standard deviation of the noise, at least 0.
        distance: ``|q*_j - q*_k|`` of any two tasks, from 0 to ``sqrt(2) * own_norm``.
        shared_norm: ``|u*|``, at least 0; 0 if there are no shared parameters.
        own_norm: ``|q*_k|``, greater than 0.
        draws: independent repetitions that one seed averages over, at least 1.

    Raises:
        ValueError: a value is outside its range, or the expected error of training all
            parameters, or only the task-specific ones, is infinite.
    """

    tasks: int
    shared: int
    own: int
    samples: int
    first_samples: int | None = None
    noise: float = 0.0
    distance: float = 0.0
    shared_norm: float = math.sqrt(0.5)
    own_norm: float = math.sqrt(0.5)
    draws: int = 50

    fresh_sets: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse values outside their range, and sizes at which an expected error is infinite."""
        self._check_ranges()
        self._check_finite_expectations()

    @property
    def parameters(self) -> int:
        """The number of all parameters, u and q."""
        return self.shared + self.own

    def samples_of(self, task: int) -> int:
        """Return the number of training samples of a task, 0 for the first."""
        first = self.samples if self.first_samples is None else self.first_samples
        return first if task == 0 else self.samples

    def recipes(self, view: View) -> list[Recipe]:
        """Refuse: the tasks are drawn, not dealt out from a data set.

        Raises:
            DataError: always.
        """
        raise DataError("the tasks of a linear sequence are drawn, no data set can be dealt out")

    def _check_ranges(self) -> None:
        least = {
            "tasks": (self.tasks, 2),
            "shared": (self.shared, 0),
            "own": (self.own, self.tasks + 1),  # the truths take that many directions
            "samples": (self.samples, 1),
            "first_samples": (self.samples_of(0), 1),
            "draws": (self.draws, 1),
        }
        for name, (number, smallest) in least.items():
            if number < smallest:
                raise ValueError(f"{name} must be at least {smallest}, not {number}")
        for name in ("noise", "shared_norm"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, not {value}")
        if not 0 < self.own_norm < math.inf:
            raise ValueError(f"own_norm must be greater than 0, not {self.own_norm}")
        if self.shared == 0 and self.shared_norm > 0:
            raise ValueError("shared_norm must be 0 where there are no shared parameters")
        largest = math.sqrt(2) * self.own_norm
        if not 0 <= self.distance <= largest * (1 + ROUNDING):
            raise ValueError(f"distance must be from 0 to {largest:.6g}, not {self.distance}")

    def _check_finite_expectations(self) -> None:
        """Refuse sizes at which a least-squares solution amplifies an error without bound.

        The expected square of the pseudo-inverse of a Gaussian matrix is infinite where its
        numbers of rows and columns differ by less than 2. That only matters where something is
        amplified: noise, or the error of the shared part that ``frozen`` cannot mend.
        """
        for name, count in (
            ("samples", self.samples),
            ("first_samples", self.samples_of(0)),
        ):
            if self.noise > 0 and abs(count - self.parameters) < 2:
                raise ValueError(
                    f"{name} must differ by 2 or more from the {self.parameters} parameters, not "
                    f"be {count}: with noise the expected error is infinite there"
                )
        shared_is_known = self.shared == 0 or self.samples_of(0) >= self.parameters
        if abs(self.samples - self.own) < 2 and not (self.noise == 0 and shared_is_known):
            raise ValueError(
                f"samples must differ by 2 or more from the {self.own} own parameters, not be "
                f"{self.samples}: the expected error of 'frozen' is infinite there"
            )


def linear_sequence(name: str, description: str, setting: LinearSetting) -> TaskSequence:
    """Return a sequence of linear regressions under a name."""
    return TaskSequence(
        name=name,
        description=description,
        source="linear",
        scenario=setting,
        network="linear",
        tier="linear",
    )


def linear_entries() -> list[TaskSequence]:
    """Return a ladder of distances, and sequences of five tasks with few and many samples."""

    def setting(tasks: int, samples: int, first: int | None, distance: float) -> LinearSetting:
        return LinearSetting(
            tasks, 30, 20, samples, first, noise=0.3, distance=distance, draws=DRAWS
        )

    few = "A large first task, then few samples"
    return [
        *(
            linear_sequence(
                f"linear-fewshot-{round(100 * distance)}",
                f"{few}; two tasks at distance {distance:g}.",
                setting(2, 10, 150, distance),
            )
            for distance in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        linear_sequence(
            "linear-fewshot-five-50",
            f"{few}; five tasks at distance 0.5.",
            setting(5, 10, 150, 0.5),
        ),
        linear_sequence(
            "linear-few-50",
            "Fewer samples than parameters in every one of four tasks, at distance 0.5.",
            setting(4, 16, None, 0.5),
        ),
        linear_sequence(
            "linear-many-50",
            "More samples than parameters in every one of five tasks, at distance 0.5.",
            setting(5, 80, None, 0.5),
        ),
    ]

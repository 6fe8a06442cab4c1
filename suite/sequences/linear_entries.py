"""The linear sequences of the registry."""

from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.task_sequence import TaskSequence

DRAWS = 10


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

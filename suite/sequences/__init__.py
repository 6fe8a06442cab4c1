"""Task sequences: what they are, how a data set becomes tasks, and which are registered.

What a file with sequences of your own needs is here:

>>> from driftboard.suite.sequences import Rotated, TaskSequence
>>> leaves = TaskSequence(
...     name="leaves-rotated-10",
...     description="Leaves, every task turned by 10 degrees more.",
...     source="folder:leaves",
...     scenario=Rotated(tasks=5, step=10),
...     network="mlp-256x2",
... )
>>> leaves.scenario.tasks
5
"""

from driftboard.suite.sequences.scenarios import (
    ByGroup,
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Recipe,
    Relabelled,
    Repeat,
    Rotated,
    RotatedTo,
    Scenario,
    Split,
    Unequal,
    View,
)
from driftboard.suite.sequences.task_sequence import TaskSequence

__all__ = [
    "ByGroup",
    "Corrupted",
    "FewShot",
    "Overlap",
    "Permuted",
    "Recipe",
    "Relabelled",
    "Repeat",
    "Rotated",
    "RotatedTo",
    "Scenario",
    "Split",
    "TaskSequence",
    "Unequal",
    "View",
]

"""What a strategy is shown and must not change in place, by what messages call it."""

from torch import Tensor

from driftboard.suite.training.cohort import Cohort
from driftboard.suite.training.hooks import CohortTask
from driftboard.suite.training.untouched_module import Untouched, UntouchedModule, named

__all__ = ["Untouched", "UntouchedModule", "named", "tensors_of_cohort", "tensors_of_task"]


def tensors_of_task(task: CohortTask) -> dict[str, Tensor]:
    """Return what a strategy sees of a task, by what messages call it."""
    return {
        "task.examples.images": task.images,
        "task.examples.labels": task.labels,
        "task.examples.allowed": task.allowed,
        "task.classes": task.classes,
        "task.units": task.units,
        "task.answers": task.answers,
        "task.noise": task.noise,
        "task.key": task.keys,
        **named("task.initial", task.initial),
    }


def tensors_of_cohort(cohort: Cohort) -> dict[str, Tensor]:
    """Return the tensors of a cohort, which all strategies share, by what messages call them."""
    found = named("task.initial", cohort.initial)
    for part, tasks in (("", cohort.train), ("test ", cohort.test)):
        for number, data in enumerate(tasks, 1):
            found |= {
                f"the {part}images of task {number}": data.images,
                f"the {part}labels of task {number}": data.labels,
                f"the {part}units of task {number}": data.active,
            }
    numbered = enumerate(cohort.classes, 1)
    return found | {f"the classes of task {number}": classes for number, classes in numbered}

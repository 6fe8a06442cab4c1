"""Metrics of continual learning, as pure functions of the accuracy matrix.

``accuracy[t, k]`` is the test accuracy on task k after training task t, shape (tasks, tasks),
each entry in [0, 1]. Definitions: arXiv 2602.20796 for Avg.Acc, Task.Acc and forgetting;
Lopez-Paz and Ranzato 2017 (arXiv 1706.08840, equations 3 and 4) for the transfers; Chaudhry et al.
2018 (arXiv 1801.10112, equation 3) for forgetting by the maximum; Rebuffi et al. 2017
(arXiv 1611.07725, section 4) for the average incremental accuracy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def accuracy_matrix(correct: object, test_sizes: object) -> Matrix:
    """Return accuracies, shape (tasks, tasks), from counts of correct answers and test sizes.

    >>> accuracy_matrix([[90, 10], [60, 40]], [100, 50]).tolist()
    [[0.9, 0.2], [0.6, 0.8]]
    """
    return np.asarray(correct, dtype=np.float64) / np.asarray(test_sizes, dtype=np.float64)


def average_accuracy(accuracy: Matrix) -> float:
    """Return Avg.Acc, the mean accuracy over all tasks after training the last one.

    >>> average_accuracy(np.array([[0.9, 0.2], [0.6, 0.8]]))
    0.7
    """
    return _mean(accuracy[-1])


def incremental_accuracy(accuracy: Matrix) -> float:
    """Return the average incremental accuracy: that over the tasks so far, mean over all tasks.

    ``1/T sum over t of 1/t sum over k <= t of accuracy[t, k]``, in [0, 1].

    >>> incremental_accuracy(np.array([[0.9, 0.2], [0.6, 0.8]]))
    0.8
    """
    so_far = np.tril(accuracy).sum(axis=1)
    return _mean(so_far / np.arange(1, len(accuracy) + 1))


def task_accuracy(accuracy: Matrix) -> float:
    """Return Task.Acc, the mean over tasks of the accuracy right after training the task.

    >>> round(task_accuracy(np.array([[0.9, 0.2], [0.6, 0.8]])), 6)
    0.85
    """
    return _mean(accuracy.diagonal())


def forgetting(accuracy: Matrix) -> float:
    """Return forgetting: accuracy right after a task minus accuracy at the end.

    The mean over all tasks but the last, in [-1, 1]; negative if later tasks helped.

    >>> round(forgetting(np.array([[0.9, 0.2], [0.6, 0.8]])), 6)
    0.3
    """
    return _mean(accuracy.diagonal()[:-1] - accuracy[-1, :-1])


def max_forgetting(accuracy: Matrix) -> float:
    """Return forgetting by the maximum: the best accuracy ever reached minus that at the end.

    ``max over l = 1..T-1 of accuracy[l, k] - accuracy[T, k]``, the mean over all tasks k but the
    last, in [-1, 1]. As in the equation, the maximum runs over every model before the last one,
    also those before task k was trained, and not from k on as some programs have it: that leaves
    no choice open. It contains ``accuracy[k, k]``, so this is never smaller than ``forgetting``,
    and equal to it where no task was ever better known than right after its training.

    >>> accuracy = np.array([[0.5, 0.2, 0.1], [0.75, 0.5, 0.1], [0.25, 0.5, 0.9]])
    >>> max_forgetting(accuracy), forgetting(accuracy)
    (0.25, 0.125)
    """
    return _mean(accuracy[:-1, :-1].max(axis=0) - accuracy[-1, :-1])


def backward_transfer(accuracy: Matrix) -> float:
    """Return backward transfer, which by these definitions is the negative of forgetting."""
    return -forgetting(accuracy)


def forward_transfer(accuracy: Matrix, untrained: NDArray[np.float64]) -> float:
    """Return forward transfer: accuracy on a task just before training it minus ``untrained``.

    The mean over all tasks but the first, in [-1, 1].

    Args:
        accuracy: shape (tasks, tasks).
        untrained: the accuracies of the seeded initialisation, shape (tasks,).

    >>> round(forward_transfer(np.array([[0.9, 0.2], [0.6, 0.8]]), np.array([0.1, 0.1])), 6)
    0.1
    """
    return _mean(accuracy.diagonal(offset=1) - untrained[1:])


def accuracy_metrics(accuracy: Matrix, untrained: NDArray[np.float64]) -> dict[str, float]:
    """Return every metric above by its name in tables; arguments as in ``forward_transfer``."""
    lost = forgetting(accuracy)
    return {
        "avg_acc": average_accuracy(accuracy),
        "task_acc": task_accuracy(accuracy),
        "forgetting": lost,
        "max_forgetting": max_forgetting(accuracy),
        "backward_transfer": -lost,  # by definition
        "forward_transfer": forward_transfer(accuracy, untrained),
        "incremental_accuracy": incremental_accuracy(accuracy),
    }


def chance_counts(
    test_sizes: Sequence[int], classes: Sequence[int], seen: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return the right answers that a guess gives, [t][k] on task k after task t, whole numbers.

    With them a run counts from where it has diverged.

    Args:
        test_sizes: the number of test images of each task.
        classes: the number of each task's classes, from which a guess is drawn.
        seen: of a class-incremental sequence: the number of classes of the tasks up to each, from
            which a guess is drawn then. On later tasks it counts as wrong, also where they share
            classes with earlier ones.

    >>> chance_counts((100, 250), (10, 3))
    ((10, 83), (10, 83))
    >>> chance_counts((100, 250), (2, 3), (2, 5))
    ((50, 0), (20, 50))
    """
    tasks = range(len(test_sizes))
    if seen is None:
        row = tuple(round(size / count) for size, count in zip(test_sizes, classes, strict=True))
        return tuple(row for _ in tasks)
    return tuple(
        tuple(round(test_sizes[k] / seen[t]) if k <= t else 0 for k in tasks) for t in tasks
    )


# The same of a matrix of losses: ``loss[t, k]`` on task k after training task t, any range.


def average_loss(loss: Matrix) -> float:
    """Return the mean loss over all tasks after the last one."""
    return _mean(loss[-1])


def task_loss(loss: Matrix) -> float:
    """Return the mean over tasks of the loss right after training the task."""
    return _mean(loss.diagonal())


def loss_forgetting(loss: Matrix) -> float:
    """Return forgetting: loss at the end minus loss right after a task.

    The mean over all tasks but the last; negative if later tasks helped.
    """
    return _mean(loss[-1, :-1] - loss.diagonal()[:-1])


def loss_metrics(loss: Matrix) -> dict[str, float]:
    """Return every metric of losses by its name in tables."""
    return {
        "avg_loss": average_loss(loss),
        "task_loss": task_loss(loss),
        "forgetting": loss_forgetting(loss),
    }


def _mean(values: NDArray[np.float64]) -> float:
    # The sum and division of ndarray.mean(), without its overhead: boards call this very often.
    return float(values.sum() / len(values))

"""Metrics of continual learning, as pure functions of the accuracy matrix.

``accuracy[t, k]`` is the test accuracy on task k after training task t, shape (tasks, tasks),
each entry in [0, 1]. Definitions: arXiv 2602.20796 for Avg.Acc, Task.Acc and forgetting;
Lopez-Paz and Ranzato 2017 (arXiv 1706.08840, equations 3 and 4) for the transfers.
"""

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


# The same for a matrix of losses: ``loss[t, k]`` on task k after training task t, any range.


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


def _mean(values: NDArray[np.float64]) -> float:
    # The sum and division of ndarray.mean(), without its overhead: boards call this very often.
    return float(values.sum() / len(values))

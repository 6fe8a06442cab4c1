"""Every metric by hand, against plain loops, and by the properties that define it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftboard.suite import metrics

THREE_TASKS = np.array([[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.6, 0.5, 0.4]])
SHARES = st.floats(0.0, 1.0)


def matrices(elements=SHARES):
    return st.integers(2, 6).flatmap(
        lambda tasks: arrays(np.float64, (tasks, tasks), elements=elements)
    )


def test_accuracy_divides_a_column_by_the_size_of_its_test_set():
    accuracy = metrics.accuracy_matrix(((5, 10), (4, 20)), (10, 40))
    np.testing.assert_array_equal(accuracy, [[0.5, 0.25], [0.4, 0.5]])
    assert accuracy.dtype == np.float64


def test_average_accuracy_by_hand():
    assert metrics.average_accuracy(THREE_TASKS) == pytest.approx((0.6 + 0.5 + 0.4) / 3)


def test_incremental_accuracy_by_hand():
    expected = (0.9 + (0.7 + 0.8) / 2 + (0.6 + 0.5 + 0.4) / 3) / 3
    assert metrics.incremental_accuracy(THREE_TASKS) == pytest.approx(expected)


@given(matrices(), st.data())
def test_incremental_accuracy_does_not_depend_on_tasks_to_come(accuracy, data):
    tasks = range(len(accuracy))
    rows = [sum(accuracy[t][k] for k in range(t + 1)) / (t + 1) for t in tasks]
    found = metrics.incremental_accuracy(accuracy)
    assert found == pytest.approx(sum(rows) / len(rows), abs=1e-12)
    later = np.triu(data.draw(arrays(np.float64, accuracy.shape, elements=SHARES)), 1)
    assert metrics.incremental_accuracy(np.tril(accuracy) + later) == found
    assert 0.0 <= found <= 1.0


def test_task_accuracy_by_hand():
    assert metrics.task_accuracy(THREE_TASKS) == pytest.approx((0.9 + 0.8 + 0.4) / 3)


def test_forgetting_by_hand():
    assert metrics.forgetting(THREE_TASKS) == pytest.approx(((0.9 - 0.6) + (0.8 - 0.5)) / 2)


def test_forgetting_is_relative_to_right_after_the_task_not_to_the_best():
    accuracy = np.array([[0.5, 0.0, 0.0], [0.9, 0.5, 0.0], [0.4, 0.5, 0.5]])
    assert metrics.forgetting(accuracy) == pytest.approx((0.1 + 0.0) / 2)


def test_forgetting_by_the_maximum_by_hand():
    assert metrics.max_forgetting(THREE_TASKS) == pytest.approx(((0.9 - 0.6) + (0.8 - 0.5)) / 2)


@pytest.mark.parametrize(
    ("accuracy", "forgotten"),
    [
        # task 1 is best known after task 2, task 2 after its own training
        ([[0.5, 0.0, 0.0], [0.9, 0.5, 0.0], [0.4, 0.5, 0.5]], (0.5 + 0.0) / 2),
        # task 2 is best known before it was trained
        ([[0.5, 0.8, 0.0], [0.5, 0.6, 0.0], [0.5, 0.2, 0.9]], (0.0 + 0.6) / 2),
        # the last task does not count, nor does the last row in the maximum
        ([[0.2, 0.9], [0.7, 0.1]], 0.2 - 0.7),
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),
        ([[0.0, 0.0], [1.0, 1.0]], -1.0),
    ],
)
def test_the_maximum_runs_over_every_model_before_the_last(accuracy, forgotten):
    assert metrics.max_forgetting(np.array(accuracy)) == pytest.approx(forgotten)


@given(matrices())
def test_forgetting_by_the_maximum_is_never_the_smaller_one(accuracy):
    found, last = metrics.max_forgetting(accuracy), len(accuracy) - 1
    best = [max(accuracy[step][task] for step in range(last)) for task in range(last)]
    expected = sum(best[task] - accuracy[last][task] for task in range(last)) / last
    assert found == pytest.approx(expected, abs=1e-12)
    assert found >= metrics.forgetting(accuracy)
    assert -1.0 <= found <= 1.0


@given(matrices())
def test_both_are_equal_where_no_task_was_better_known_than_after_its_training(accuracy):
    accuracy[:-1] = np.minimum(accuracy[:-1], accuracy.diagonal())
    assert metrics.max_forgetting(accuracy) == metrics.forgetting(accuracy)


def test_backward_transfer_by_hand():
    assert metrics.backward_transfer(THREE_TASKS) == pytest.approx(-0.3)


def test_forward_transfer_by_hand():
    untrained = np.array([0.7, 0.1, 0.05])
    expected = ((0.2 - 0.1) + (0.3 - 0.05)) / 2
    assert metrics.forward_transfer(THREE_TASKS, untrained) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accuracy", "forgotten"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 1.0),
        ([[0.0, 0.0], [1.0, 1.0]], -1.0),
        ([[0.5, 0.0], [0.5, 1.0]], 0.0),
    ],
)
def test_forgetting_at_its_ends(accuracy, forgotten):
    assert metrics.forgetting(np.array(accuracy)) == forgotten
    assert metrics.backward_transfer(np.array(accuracy)) == -forgotten


def test_forward_transfer_at_its_ends():
    accuracy = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert metrics.forward_transfer(accuracy, np.zeros(2)) == 1.0
    assert metrics.forward_transfer(1.0 - accuracy, np.ones(2)) == -1.0


@given(matrices(), st.data())
def test_metrics_equal_plain_loops(accuracy, data):
    tasks = len(accuracy)
    untrained = data.draw(arrays(np.float64, tasks, elements=SHARES))
    last = tasks - 1
    average = own = lost = ahead = 0.0
    for task in range(tasks):
        average += accuracy[last][task] / tasks
        own += accuracy[task][task] / tasks
        if task < last:
            lost += (accuracy[task][task] - accuracy[last][task]) / last
        if task > 0:
            ahead += (accuracy[task - 1][task] - untrained[task]) / last
    assert metrics.average_accuracy(accuracy) == pytest.approx(average, abs=1e-12)
    assert metrics.task_accuracy(accuracy) == pytest.approx(own, abs=1e-12)
    assert metrics.forgetting(accuracy) == pytest.approx(lost, abs=1e-12)
    assert metrics.backward_transfer(accuracy) == pytest.approx(-lost, abs=1e-12)
    assert metrics.forward_transfer(accuracy, untrained) == pytest.approx(ahead, abs=1e-12)


@given(matrices())
def test_metrics_are_plain_numbers_within_their_bounds(accuracy):
    untrained = np.full(len(accuracy), 0.5)
    shares = [metrics.average_accuracy(accuracy), metrics.task_accuracy(accuracy)]
    differences = [
        metrics.forgetting(accuracy),
        metrics.backward_transfer(accuracy),
        metrics.forward_transfer(accuracy, untrained),
    ]
    assert all(type(value) is float for value in shares + differences)
    assert all(0.0 <= value <= 1.0 for value in shares)
    assert all(-1.0 <= value <= 1.0 for value in differences)
    assert metrics.backward_transfer(accuracy) == -metrics.forgetting(accuracy)


@given(matrices())
def test_a_learner_that_never_moves_again_forgets_nothing(accuracy):
    accuracy[:] = accuracy[0]
    assert metrics.forgetting(accuracy) == 0.0
    assert metrics.average_accuracy(accuracy) == pytest.approx(metrics.task_accuracy(accuracy))
    assert metrics.forward_transfer(accuracy, accuracy[0]) == 0.0


@given(matrices(), st.randoms(use_true_random=False))
def test_order_of_the_tasks_before_the_last_makes_no_difference_to_the_means(accuracy, shuffler):
    order = list(range(len(accuracy) - 1))
    shuffler.shuffle(order)
    order.append(len(accuracy) - 1)
    again = accuracy[np.ix_(order, order)]
    for metric in (metrics.average_accuracy, metrics.task_accuracy, metrics.forgetting):
        assert metric(again) == pytest.approx(metric(accuracy), abs=1e-12)


@given(matrices(), SHARES)
def test_only_the_cells_that_a_metric_names_count(accuracy, other):
    """Forgetting and both accuracies look at the diagonal and the last row alone."""
    changed = accuracy.copy()
    changed[np.triu_indices(len(accuracy), 1)] = other
    changed[:-1][np.tril_indices(len(accuracy) - 1, -1)] = other
    for metric in (metrics.average_accuracy, metrics.task_accuracy, metrics.forgetting):
        assert metric(changed) == metric(accuracy)


@given(matrices(st.integers(0, 40).map(float)))
def test_counts_and_shares_tell_the_same(correct):
    accuracy = metrics.accuracy_matrix(correct.astype(int).tolist(), [40] * len(correct))
    assert metrics.average_accuracy(accuracy) == pytest.approx(
        correct[-1].sum() / 40 / len(correct)
    )

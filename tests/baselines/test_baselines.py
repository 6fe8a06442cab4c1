"""The paper's numbers as data: complete, in range, and under names that exist."""

from driftboard.baselines.paper import paper_values
from driftboard.suite.sequences.registry import registered


def test_every_value_stands_under_a_registered_sequence():
    assert {value.sequence for value in paper_values()} <= registered().keys()


def test_values_are_those_of_the_paper():
    known = {
        (value.table, value.sequence, value.strategy, value.metric): (value.mean, value.deviation)
        for value in paper_values()
    }

    assert len(known) == len(paper_values()) == 47
    assert known["I", "cifar100-split-10", "hybrid", "avg_acc"] == (47.19, 0.79)
    assert known["I", "mnist-permuted", "frozen", "forgetting"] == (29.21, None)
    assert known["II", "cub200-split", "hybrid", "task_acc"] == (60.69, 0.46)
    assert known["III", "cifar100-split-20", "frozen", "forgetting"] == (45.88, None)


def test_the_rows_miss_the_identity_of_their_metrics_by_what_the_readme_says():
    """By definition Avg.Acc = Task.Acc - (M - 1) / M * forgetting, for M tasks."""
    tasks = {name: sequence.scenario.tasks for name, sequence in registered().items()}
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for value in paper_values():
        rows.setdefault((value.sequence, value.strategy), {})[value.metric] = value.mean
    gaps = [
        row["avg_acc"] - (row["task_acc"] - (1 - 1 / tasks[sequence]) * row["forgetting"])
        for (sequence, _), row in rows.items()
        if len(row) == 3
    ]

    assert len(gaps) == 9
    assert round(min(gaps), 1) == -3.0
    assert round(max(gaps), 1) == 7.6

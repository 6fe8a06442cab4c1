"""The update magnitude on linear sequences: measured curves beside the exact ones."""

import numpy as np

from driftboard.suite import metrics
from driftboard.suite.linear.cells import measure
from driftboard.suite.linear.exact import best_fractions, expected_excess_of_fraction
from driftboard.suite.loading import load_strategy
from driftboard.suite.sequences.linear import LinearSetting

Curves = dict[str, list[list[float]]]

FUNCTIONS = {
    "avg_loss": metrics.average_loss,
    "forgetting": metrics.loss_forgetting,
    "task_loss": metrics.task_loss,
}


def measured_curves(
    name: str, setting: LinearSetting, fractions: tuple[float, ...], seeds: tuple[int, ...]
) -> Curves:
    """Return per metric, fraction and seed the value that ``fraction`` reaches.

    Every fraction meets the same data; a seed's value is that of the mean over its draws.
    """
    curves: Curves = {metric: [] for metric in FUNCTIONS}
    for fraction in fractions:
        outcome = measure(name, setting, load_strategy(f"fraction,fraction={fraction}"), seeds)
        matrices = outcome.excess.numpy().reshape(
            len(seeds), setting.draws, setting.tasks, setting.tasks
        )
        for metric, function in FUNCTIONS.items():
            curves[metric].append([function(matrix) for matrix in matrices.mean(axis=1)])
    return curves


def exact_curves(setting: LinearSetting, fractions: tuple[float, ...]) -> dict[str, list[float]]:
    """Return per metric and fraction the exact expectation."""
    matrices = [np.asarray(expected_excess_of_fraction(setting, one)) for one in fractions]
    return {name: [function(matrix) for matrix in matrices] for name, function in FUNCTIONS.items()}


def exact_optima(setting: LinearSetting) -> dict[str, float]:
    """Return the exact best fraction for two tasks, by metric; nothing for more tasks."""
    if setting.tasks != 2:
        return {}
    forgetting, errors = best_fractions(setting)
    return {"forgetting": forgetting, "avg_loss": errors}

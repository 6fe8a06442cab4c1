"""Expected errors of linear sequences, in closed form: what a measurement must agree with.

Derived for this project, after the linear models of continual learning of He, Bai, Yang
(arXiv 2602.20796) and Lin et al. (arXiv 2302.05836), whose settings differ from this one.

Training to convergence from ``w`` on n samples leads to ``w + P (theta* - w) + X^+ e``, with P the
projection onto the row space of the inputs X, and e the noise. For Gaussian X with N columns:

- ``E |(1 - P) v|^2 = a |v|^2`` and ``E |P v|^2 = (1 - a) |v|^2``, with ``a = max(0, 1 - n / N)``;
- ``E |X^+ e|^2 = nu``, from the mean of the inverse Wishart distribution: ``n / (N - n - 1)`` for
  n < N - 1 and ``N / (n - N - 1)`` for n > N + 1, times the variance of e;
- the error of the first p coordinates is ``c |v_p|^2 + y p |v|^2 + (p / N) nu``, from
  ``E (1 - P) A (1 - P) = c A + y tr(A) 1`` for symmetric A.

Since inputs are fresh for every task, each expectation follows from the last one's. In a matrix
``[k, i]`` is the expected excess loss on task i after training task k, both counted from 0, for
tasks i that are still to come as well.
"""

from collections.abc import Callable

import numpy as np

from driftboard.suite.metrics import Matrix, loss_forgetting
from driftboard.suite.sequences.linear import ROUNDING, LinearSetting


def expected_untrained(setting: LinearSetting) -> Matrix:
    """Return the excess losses of the untrained learner, shape (tasks,)."""
    return np.full(setting.tasks, setting.shared_norm**2 + setting.own_norm**2)


def expected_excess(setting: LinearSetting, strategy: str) -> Matrix:
    """Return the expected excess losses, shape (tasks, tasks).

    Args:
        setting: the sequence.
        strategy: one of ``STRATEGIES``.

    Raises:
        ValueError: there is no closed form for that strategy.
    """
    return _excess(setting, strategy, setting.distance**2)


def expected_excess_of_fraction(setting: LinearSetting, fraction: float) -> Matrix:
    """Return the same for ``sgd`` that takes a fraction of every later task's finished update.

    With ``fraction`` alpha in [0, 1], ``w_k(alpha) = w_{k-1} + alpha (w_k - w_{k-1})`` and then
    ``E |w_k(alpha) - theta*_i|^2 = L_i + alpha kappa (|theta*_k - theta*_i|^2 - L_i - L_k)
    + alpha^2 (kappa L_k + nu)``, where L are the losses before the task and ``kappa = 1 - a``.
    """
    kept, noise = _kept(setting.samples, setting.parameters), _noise_of_all(setting, 1)
    distances = _squared_distances(setting, setting.distance**2)
    rows = [_first_row(setting, distances)]
    for task in range(1, setting.tasks):
        last = rows[-1]
        slope = (1 - kept) * (distances[task] - last - last[task])
        curvature = (1 - kept) * last[task] + noise
        rows.append(last + fraction * slope + fraction**2 * curvature)
    return np.stack(rows)


def best_fractions(setting: LinearSetting) -> tuple[float, float]:
    """Return the fractions with the least expected forgetting and the least sum of both errors.

    Both are in [0, 1] and hold in expectation over all draws; they are 0 where the second task
    moves nothing. They follow from ``expected_excess_of_fraction``.

    Raises:
        ValueError: the setting has more than two tasks.
    """
    if setting.tasks != 2:
        raise ValueError(f"the best fraction is known for two tasks, not for {setting.tasks}")
    kappa = 1 - _kept(setting.samples, setting.parameters)
    square = setting.distance**2
    old, new = _first_row(setting, _squared_distances(setting, square))
    curvature = kappa * new + _noise_of_all(setting, 1)
    if curvature == 0:
        return 0.0, 0.0
    least_forgetting = kappa * (old + new - square) / (2 * curvature)
    least_sum = kappa * (old + 3 * new - square) / (4 * curvature)
    return float(least_forgetting), float(least_sum)


def crossover_distance(
    setting: LinearSetting,
    one: str = "frozen",
    other: str = "initialized",
    measure: Callable[[Matrix], float] = loss_forgetting,
) -> float | None:
    """Return the distance of the tasks at which two strategies do equally well, if there is one.

    The setting's own distance plays no part. All expectations are affine in the distance's
    square, so their difference has one root at most, unless it is the same at all distances.

    Args:
        setting: all but the distance.
        one: one of ``STRATEGIES``.
        other: one of ``STRATEGIES``.
        measure: what is compared, a linear function of the matrix.
    """
    largest = 2 * setting.own_norm**2

    def lead(square: float) -> float:
        return measure(_excess(setting, one, square)) - measure(_excess(setting, other, square))

    near, far = lead(0.0), lead(largest)
    if abs(near - far) <= ROUNDING * largest or near * far > 0:
        return None
    return float(np.sqrt(largest * near / (near - far)))


def _excess(setting: LinearSetting, strategy: str, square: float) -> Matrix:
    """Return the matrix at a squared distance of the tasks."""
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise ValueError(f"there is no closed form for '{strategy}', only for {known}")
    distances = _squared_distances(setting, square)
    return STRATEGIES[strategy](setting, distances)


def _squared_distances(setting: LinearSetting, square: float) -> Matrix:
    """Return ``|theta*_j - theta*_k|^2``, shape (tasks, tasks)."""
    return np.where(np.eye(setting.tasks), 0.0, square)


def _kept(samples: int, parameters: int) -> float:
    """Return a, the share of a squared error that training on ``samples`` leaves in place."""
    return max(0.0, 1 - samples / parameters)


def _amplification(samples: int, parameters: int) -> float:
    """Return the expected squared norm of a solution fitted to noise of variance 1."""
    if samples < parameters:
        return samples / (parameters - samples - 1)
    return parameters / (samples - parameters - 1)


def _noise_of_all(setting: LinearSetting, task: int) -> float:
    """Return nu for training all parameters on a task; without noise it is 0 at all sizes."""
    if setting.noise == 0:
        return 0.0
    return setting.noise**2 * _amplification(setting.samples_of(task), setting.parameters)


def _first_row(setting: LinearSetting, distances: Matrix) -> Matrix:
    """Return the losses after the first task, which all strategies train in the same way."""
    kept = _kept(setting.samples_of(0), setting.parameters)
    noise = _noise_of_all(setting, 0)
    row: Matrix = kept * expected_untrained(setting) + (1 - kept) * distances[0] + noise
    return row


def _shared_error(setting: LinearSetting, task: int, shared: float, whole: float) -> float:
    """Return ``E |u - u*|^2`` after training everything on a task.

    ``shared`` and ``whole`` are the squared errors of u and of all parameters at its start.
    """
    samples, size = setting.samples_of(task), setting.parameters
    kept = _kept(samples, size)
    y = samples * (size - samples) / (size * (size - 1) * (size + 2)) if kept > 0 else 0.0
    c = kept - y * size
    noise = setting.shared / size * _noise_of_all(setting, task)
    return c * shared + y * setting.shared * whole + noise


def _first_shared_error(setting: LinearSetting) -> float:
    """Return ``E |u - u*|^2`` after the first task."""
    shared = setting.shared_norm**2
    return _shared_error(setting, 0, shared, shared + setting.own_norm**2)


def _sgd(setting: LinearSetting, distances: Matrix) -> Matrix:
    kept, noise = _kept(setting.samples, setting.parameters), _noise_of_all(setting, 1)
    rows = [_first_row(setting, distances)]
    for task in range(1, setting.tasks):
        rows.append(kept * rows[-1] + (1 - kept) * distances[task] + noise)
    return np.stack(rows)


def _scratch(setting: LinearSetting, distances: Matrix) -> Matrix:
    kept, noise = _kept(setting.samples, setting.parameters), _noise_of_all(setting, 1)
    later = kept * expected_untrained(setting) + (1 - kept) * distances[1:] + noise
    return np.concatenate([_first_row(setting, distances)[None], later])


def _noop(setting: LinearSetting, distances: Matrix) -> Matrix:
    return np.tile(_first_row(setting, distances), (setting.tasks, 1))


def _frozen(setting: LinearSetting, distances: Matrix) -> Matrix:
    shared, kept, noise = _with_shared_frozen(setting)
    rows = [_first_row(setting, distances)]
    for task in range(1, setting.tasks):
        own = kept * (rows[-1] - shared) + (1 - kept) * distances[task] + noise
        rows.append(shared + own)
    return np.stack(rows)


def _frozen_reset(setting: LinearSetting, distances: Matrix) -> Matrix:
    shared, kept, noise = _with_shared_frozen(setting)
    later = shared + kept * setting.own_norm**2 + (1 - kept) * distances[1:] + noise
    return np.concatenate([_first_row(setting, distances)[None], later])


def _with_shared_frozen(setting: LinearSetting) -> tuple[float, float, float]:
    """Return the frozen part's squared error, and a and nu of training the own part only.

    The own part meets the shared part's error as further noise, since the inputs of the two
    are independent.
    """
    shared = _first_shared_error(setting)
    kept = _kept(setting.samples, setting.own)
    variance = setting.noise**2 + shared
    noise = variance * _amplification(setting.samples, setting.own) if variance > 0 else 0.0
    return shared, kept, noise


def _initialized(setting: LinearSetting, distances: Matrix) -> Matrix:
    kept, noise = _kept(setting.samples, setting.parameters), _noise_of_all(setting, 1)
    own = setting.own_norm**2
    shared = _first_shared_error(setting)
    rows = [_first_row(setting, distances)]
    for task in range(1, setting.tasks):
        start = shared + own
        rows.append(kept * start + (1 - kept) * distances[task] + noise)
        shared = _shared_error(setting, task, shared, start)
    return np.stack(rows)


STRATEGIES: dict[str, Callable[[LinearSetting, Matrix], Matrix]] = {
    "sgd": _sgd,
    "frozen": _frozen,
    "initialized": _initialized,
    "noop": _noop,
    "scratch": _scratch,
    "frozen-reset": _frozen_reset,
}
"""Name of a strategy with a closed form -> the function of a setting and squared distances."""

"""EWC by value: the right gradient away from theta*, none at it, and both extremes of strength."""

import pytest
import torch
from torch import nn
from torch.func import grad

from driftboard.strategies.ewc import Ewc
from driftboard.strategies.fisher import diagonal_fisher
from driftboard.strategies.sgd import Sgd

EXACT = {"rtol": 1e-10, "atol": 1e-13}


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))


@pytest.fixture
def tasks(make_task):
    """Three tasks with two, three and four classes on one network."""
    module = mlp()
    return [
        make_task(module, shape=(1, 2, 3), units=4, classes=classes, index=index, seed=index)
        for index, classes in enumerate([[0, 1], [1, 2, 3], [0, 1, 2, 3]])
    ]


@pytest.fixture
def points(tasks):
    """The two solutions so far and the parameters of the third task's training."""
    return [task.initial for task in tasks]


def penalty_gradient(parameters, strength, terms):
    """Differentiate ``strength / 2 * sum F (theta - theta*)^2`` summed over ``terms``."""
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    value = sum(
        strength / 2 * (fisher[name] * (leaves[name] - solution[name]) ** 2).sum()
        for fisher, solution in terms
        for name in leaves
    )
    gradients = torch.autograd.grad(value, list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def after_two_tasks(strategy, tasks, points):
    memory = {}
    for task, solution in zip(tasks[:2], points[:2], strict=True):
        returned, memory = strategy.finish(task, solution, memory)
        assert returned is solution
    return memory


@pytest.mark.parametrize("decay", [1.0, 0.5, 0.0])
def test_online_penalty_is_re_centred_with_the_fishers_added(tasks, points, decay):
    strategy = Ewc(strength=3.0, decay=decay)
    first, second = (diagonal_fisher(tasks[k], points[k]) for k in (0, 1))
    fisher = {name: decay * first[name] + second[name] for name in first}
    gradient = grad(tasks[2].loss)(points[2], tasks[2].examples)
    expected = penalty_gradient(points[2], 3.0, [(fisher, points[1])])

    memory = after_two_tasks(strategy, tasks, points)
    corrected = strategy.correct(tasks[2], gradient, points[2], memory)

    added = {name: corrected[name] - gradient[name] for name in gradient}
    torch.testing.assert_close(added, expected, **EXACT)
    assert all(value.any() for value in added.values())


def test_separate_penalties_keep_their_own_centres(tasks, points):
    strategy = Ewc(strength=3.0, separate=True)
    terms = [(diagonal_fisher(tasks[k], points[k]), points[k]) for k in (0, 1)]
    expected = penalty_gradient(points[2], 3.0, terms)
    zero = {name: torch.zeros_like(value) for name, value in points[2].items()}

    memory = after_two_tasks(strategy, tasks, points)

    assert list(memory) == ["task-0", "task-1"]
    added = strategy.correct(tasks[2], zero, points[2], memory)
    torch.testing.assert_close(added, expected, **EXACT)


@pytest.mark.parametrize("labels", ["exact", "sampled", "empirical", "batch"])
def test_fisher_is_taken_over_the_chosen_labels(tasks, points, labels):
    _, memory = Ewc(labels=labels).finish(tasks[0], points[0], {})

    expected = diagonal_fisher(tasks[0], points[0], labels=labels)
    torch.testing.assert_close(memory["all-tasks"]["fisher"], expected, rtol=0, atol=0)


def test_nothing_is_added_at_the_solution(tasks, points):
    strategy = Ewc(strength=1e6)
    memory = after_two_tasks(strategy, tasks, points)
    gradient = grad(tasks[2].loss)(points[1], tasks[2].examples)

    corrected = strategy.correct(tasks[2], gradient, points[1], memory)

    assert all(torch.equal(corrected[name], gradient[name]) for name in gradient)


def test_the_first_task_is_plain_training(tasks, points):
    gradient = grad(tasks[0].loss)(points[0], tasks[0].examples)
    assert Ewc(strength=1e6).correct(tasks[0], gradient, points[0], {}) is gradient


def test_only_the_parameters_of_the_gradient_come_back(tasks, points):
    memory = after_two_tasks(Ewc(), tasks, points)
    gradient = {name: torch.zeros_like(points[2][name]) for name in ("3.weight", "3.bias")}

    assert Ewc().correct(tasks[2], gradient, points[2], memory).keys() == gradient.keys()


def train(strategy, tasks, start, rate, steps):
    """Return all points of plain gradient descent on the second task after the first."""
    parameters, memory = strategy.finish(tasks[0], start, {})
    path = []
    for _ in range(steps):
        gradient = grad(tasks[1].loss)(parameters, tasks[1].examples)
        gradient = strategy.correct(tasks[1], gradient, parameters, memory)
        parameters = {name: value - rate * gradient[name] for name, value in parameters.items()}
        path.append(parameters)
    return path


def test_strength_zero_trains_exactly_as_sgd(tasks, points):
    *_, plain = train(Sgd(), tasks, points[0], rate=0.1, steps=20)
    *_, weak = train(Ewc(strength=0.0), tasks, points[0], rate=0.1, steps=20)

    assert all(torch.equal(weak[name], plain[name]) for name in plain)


def test_huge_strength_holds_what_matters_at_the_solution(tasks, points):
    fisher = diagonal_fisher(tasks[0], points[0])
    name = max(fisher, key=lambda name: fisher[name].max())
    place = fisher[name].argmax()
    largest = fisher[name].flatten()[place]
    strength = 1e3
    rate = 1 / (strength * largest)  # as large as is stable without momentum, halved

    def moved(strategy):
        path = train(strategy, tasks, points[0], rate, steps=300)
        return max((p[name] - points[0][name]).flatten()[place].abs() for p in path)

    plain = moved(Sgd())
    assert plain > 0.02
    assert moved(Ewc(strength=strength)) < plain / 100


def test_mapped_learners_equal_each_alone(make_task, map_learners):
    module = mlp()
    tasks = [
        make_task(module, shape=(1, 2, 3), units=4, classes=classes, seed=seed)
        for seed, classes in enumerate([[0, 1], [2, 3], [1, 3]])
    ]
    strategy = Ewc(decay=0.9)

    def of_one(task):
        moved = {name: 1.1 * value for name, value in task.initial.items()}
        _, memory = strategy.finish(task, task.initial, {})
        _, memory = strategy.finish(task, moved, memory)
        return strategy.correct(task, task.gradient(task.initial), task.initial, memory)

    together = map_learners(of_one, tasks)

    for number, task in enumerate(tasks):
        found = {name: value[number] for name, value in together.items()}
        torch.testing.assert_close(found, of_one(task), **EXACT)


@pytest.mark.parametrize(
    "settings",
    [
        {"strength": -1.0},
        {"strength": float("nan")},
        {"decay": 1.5},
        {"decay": -0.1},
        {"labels": "true"},
        {"decay": 0.5, "separate": True},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Ewc(**settings)

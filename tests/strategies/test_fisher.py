"""The diagonal Fisher by value: closed formulas, naive loops, and every way to run it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from driftboard.strategies import Examples, fisher
from driftboard.strategies.fisher import diagonal_fisher

EXACT = {"rtol": 1e-10, "atol": 1e-13}


def mlp():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(6, 7),
        nn.ReLU(),
        nn.Linear(7, 5, bias=False),
        nn.Tanh(),
        nn.Linear(5, 4),
    )


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 4),
    )


class Repeated(nn.Module):
    """One Linear layer applied twice: its gradient is a sum, so squares don't factorise."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(images.flatten(1))))))


class Tokens(nn.Module):
    """A Linear layer applied to several vectors per example."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, images):
        return self.head(torch.tanh(self.layer(images.flatten(1, 2))).sum(1))


NETWORKS = {
    "mlp": (mlp, (1, 2, 3)),
    "convolutions": (convolutions, (2, 4, 4)),
    "repeated": (Repeated, (1, 2, 3)),
    "tokens": (Tokens, (1, 2, 3)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    """A network's maker and the shape of its images; all have a head of 4 units."""
    return NETWORKS[request.param]


def naive_fisher(task, weights):
    """Squared gradients by a double loop over examples and the units they allow.

    ``weights`` maps an example's number and its probabilities to the weights of its units.
    """
    parameters = {name: value.clone().requires_grad_() for name, value in task.initial.items()}
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    count = len(task.examples.labels)
    for number in range(count):
        logits = task.network.logits(parameters, task.examples.images[number : number + 1])[0]
        units = task.examples.allowed[number].nonzero().flatten()
        log_probabilities = F.log_softmax(logits[units], dim=0)
        each = weights(number, units, log_probabilities.exp().detach())
        for log_probability, weight in zip(log_probabilities, each, strict=True):
            gradients = torch.autograd.grad(
                log_probability, list(parameters.values()), retain_graph=True
            )
            for name, gradient in zip(parameters, gradients, strict=True):
                total[name] += weight * gradient**2 / count
    return total


def exact(number, units, probabilities):
    return probabilities


@pytest.mark.parametrize("classes", [None, [0, 2, 3]])
def test_softmax_regression_has_its_known_fisher(make_task, classes):
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    task = make_task(module, shape=(1, 2, 3), units=4, classes=classes, count=30)
    x = task.examples.images.flatten(1)
    logits = x @ task.initial["1.weight"].T + task.initial["1.bias"]
    p = logits.masked_fill(~task.examples.allowed, -torch.inf).softmax(-1)
    variance = p * (1 - p)

    found = diagonal_fisher(task, task.initial, labels="exact")

    torch.testing.assert_close(found["1.weight"], variance.T @ x**2 / 30, **EXACT)
    torch.testing.assert_close(found["1.bias"], variance.mean(0), **EXACT)


@pytest.mark.parametrize("classes", [None, [1, 3]])
def test_exact_labels_equal_a_naive_double_loop(make_task, network, classes):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, classes=classes)

    found = diagonal_fisher(task, task.initial, labels="exact")

    torch.testing.assert_close(found, naive_fisher(task, exact), **EXACT)


def test_units_of_earlier_tasks_that_may_answer_count_in_the_exact_form(make_task, network):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, classes=[3], earlier=[0, 1])
    assert task.units.tolist() == [3]

    found = diagonal_fisher(task, task.initial, labels="exact")

    torch.testing.assert_close(found, naive_fisher(task, exact), **EXACT)
    *_, bias = found.values()
    assert (bias[[0, 1, 3]] > 0).all()
    assert bias[2] == 0


def covariance(p):
    """Of the one-hot label of distribution p, one matrix for every row.

    On the diagonal p (1 - p), with 1 - p as the sum of the others, which doesn't cancel.
    """
    outside = 1 - torch.eye(p.shape[-1], dtype=p.dtype)
    return torch.diag_embed(p * (p @ outside)) - p[:, :, None] * p[:, None, :] * outside


def assert_covariance_of(p, product, tolerance):
    """Entries are compared as correlations are: each in units of its two labels' deviations."""
    expected = covariance(p)
    deviations = expected.diagonal(dim1=1, dim2=2).sqrt()
    allowed = tolerance * deviations[:, :, None] * deviations[:, None, :]
    assert ((product - expected).abs() <= allowed + torch.finfo(p.dtype).tiny).all()


def factors(p, units):
    """The product of the directions of probabilities p, and how many there are of them."""
    found = list(fisher._factors(p, SimpleNamespace(answers=torch.tensor(units))))
    return sum(v[:, :, None] * v[:, None, :] for v in found), len(found)


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-300, 1e-9, 0.1, 1.0, 3.0]), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_directions_multiply_to_the_covariance_of_the_label(weights, order):
    p = torch.tensor([[*weights, 1.0], [1.0, *weights]], dtype=torch.float64)
    p = p / p.sum(-1, keepdim=True)
    units = list(range(p.shape[-1]))
    order.shuffle(units)

    product, count = factors(p, units)

    assert_covariance_of(p, product, 1e-15)
    assert count == len(weights)  # one less than labels


def test_directions_leave_out_units_of_other_tasks():
    p = torch.tensor([[0.0, 0.2, 0.0, 0.5, 0.3]], dtype=torch.float64)

    product, count = factors(p, [3, 1, 4])

    assert_covariance_of(p, product, 1e-15)
    assert count == 2


@pytest.mark.parametrize("one", [1.0, 1 - 2**-24])
def test_directions_are_right_in_single_precision_where_a_label_is_all_but_sure(one):
    p = torch.tensor([[1e-45, one, 1 - one, 1e-30], [1 - one, 1e-38, 1e-45, one]])
    for units in ([0, 1, 2, 3], [1, 0, 3, 2], [3, 2, 1, 0]):
        product, _ = factors(p, units)
        assert_covariance_of(p, product, 2e-7)


def test_a_task_of_one_class_has_a_fisher_of_zero(make_task, network):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, classes=[2])

    for value in diagonal_fisher(task, task.initial).values():
        assert not value.any()


def test_empirical_labels_equal_a_naive_loop(make_task, network):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, classes=[1, 3])

    def true_label(number, units, probabilities):
        return (units == task.examples.labels[number]).double()

    found = diagonal_fisher(task, task.initial, labels="empirical")

    torch.testing.assert_close(found, naive_fisher(task, true_label), **EXACT)


def test_batch_form_squares_the_mean_gradient_of_32_examples(make_task):
    task = make_task(mlp(), shape=(1, 2, 3), units=4, classes=[1, 3], count=40)
    parameters = {name: value.clone().requires_grad_() for name, value in task.initial.items()}
    expected = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for part in (slice(0, 32), slice(32, 40)):
        logits = task.network.logits(parameters, task.examples.images[part])[:, [1, 3]]
        target = (task.examples.labels[part] == 3).long()
        gradients = torch.autograd.grad(F.cross_entropy(logits, target), list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            expected[name] += gradient**2 / 2

    found = diagonal_fisher(task, task.initial, labels="batch")

    torch.testing.assert_close(found, expected, **EXACT)


def test_only_plain_linear_networks_take_the_closed_form(make_task, network):
    module, shape = network
    task = make_task(module(), shape=shape, units=4)

    layers = fisher.layers_with_closed_form(task, task.initial)

    assert list(layers) == (["1", "3", "5"] if module is mlp else [])


def test_a_linear_layer_may_be_the_whole_network(make_task):
    task = make_task(nn.Linear(6, 4), shape=(6,), units=4)

    found = diagonal_fisher(task, task.initial)

    assert fisher.layers_with_closed_form(task, task.initial)
    torch.testing.assert_close(found, naive_fisher(task, exact), **EXACT)


@pytest.mark.parametrize("labels", ["exact", "sampled", "empirical"])
def test_closed_and_general_form_agree(make_task, monkeypatch, labels):
    task = make_task(mlp(), shape=(1, 2, 3), units=4, classes=[0, 1, 3], count=50)
    closed = diagonal_fisher(task, task.initial, labels=labels)
    monkeypatch.setattr(fisher, "layers_with_closed_form", lambda *_: {})

    general = diagonal_fisher(task, task.initial, labels=labels)

    torch.testing.assert_close(general, closed, **EXACT)


@pytest.mark.parametrize("at_once", [1, 5, 1000])
@pytest.mark.parametrize("labels", ["exact", "sampled", "empirical"])
def test_values_do_not_depend_on_how_many_examples_run_at_once(
    make_task, network, monkeypatch, labels, at_once
):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, count=13)
    expected = diagonal_fisher(task, task.initial, labels=labels)
    monkeypatch.setattr(fisher, "EXAMPLES_AT_ONCE", at_once)
    monkeypatch.setattr(fisher, "SAMPLES_AT_ONCE", at_once)

    found = diagonal_fisher(task, task.initial, labels=labels)

    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("labels", fisher.LABELS)
@pytest.mark.parametrize("earlier", [(), ([2], [1], [0])])
def test_mapped_learners_equal_each_alone(make_task, map_learners, network, labels, earlier):
    module, shape = network
    layers = module()
    tasks = [
        make_task(layers, shape=shape, units=4, classes=classes, earlier=seen, seed=seed)
        for seed, (classes, seen) in enumerate(
            zip([[0, 1], [2, 3], [1, 3]], earlier or [()] * 3, strict=True)
        )
    ]

    def of_one(task):
        return diagonal_fisher(task, task.initial, labels=labels)

    together = map_learners(of_one, tasks)

    for number, task in enumerate(tasks):
        found = {name: value[number] for name, value in together.items()}
        torch.testing.assert_close(found, of_one(task), **EXACT)


@pytest.mark.parametrize("labels", fisher.LABELS)
def test_units_that_are_not_allowed_get_exactly_zero(make_task, network, labels):
    module, shape = network
    task = make_task(module(), shape=shape, units=4, classes=[1, 3])

    found = diagonal_fisher(task, task.initial, labels=labels)

    *_, weight, bias = found.values()
    assert not weight[[0, 2]].any()
    assert not bias[[0, 2]].any()
    assert (bias[[1, 3]] > 0).all()


def test_an_evenly_spread_sample_of_labels_gives_the_exact_fisher(make_task):
    task = make_task(mlp(), shape=(1, 2, 3), units=4, classes=[0, 1, 3], count=1)
    count = 2000
    part = task.examples
    copies = Examples(
        part.images.expand(count, -1, -1, -1),
        part.labels.expand(count),
        part.allowed.expand(count, -1),
    )
    noise = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    many = replace(task, examples=copies, noise=noise)
    largest = naive_fisher(task, lambda *_: torch.ones(3))

    sampled = diagonal_fisher(many, task.initial, labels="sampled")

    for name, value in diagonal_fisher(task, task.initial, labels="exact").items():
        # Every label's frequency is within 1 / count of its probability.
        assert ((sampled[name] - value).abs() <= largest[name] / count + 1e-12).all()


@pytest.mark.parametrize("module", [mlp, Repeated, Tokens])
def test_regression_has_the_mean_squared_gradient_of_the_prediction(make_task, module):
    layers = module()
    task = make_task(nn.Sequential(layers, nn.Linear(4, 1)), shape=(1, 2, 3), units=1)
    targets = replace(task.examples, labels=task.examples.images.flatten(1).sum(1))
    task = replace(task, examples=targets, regression=True)
    parameters = {name: value.clone().requires_grad_() for name, value in task.initial.items()}
    predictions = task.network.logits(parameters, task.examples.images)[:, 0]
    expected = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for prediction in predictions:
        gradients = torch.autograd.grad(prediction, list(parameters.values()), retain_graph=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            expected[name] += gradient**2 / len(predictions)

    found = diagonal_fisher(task, task.initial)

    assert bool(fisher.layers_with_closed_form(task, task.initial)) == (module is mlp)
    torch.testing.assert_close(found, expected, **EXACT)
    for labels in ("sampled", "empirical", "batch"):
        with pytest.raises(ValueError, match=f"must be 'exact' in regression, not '{labels}'"):
            diagonal_fisher(task, task.initial, labels=labels)


def test_sampled_labels_average_to_the_exact_fisher(make_task):
    task = make_task(mlp(), shape=(1, 2, 3), units=4, count=20)
    random = torch.Generator().manual_seed(1)
    draws = [
        diagonal_fisher(
            replace(task, noise=torch.rand(20, generator=random)), task.initial, labels="sampled"
        )
        for _ in range(300)
    ]
    expected = diagonal_fisher(task, task.initial, labels="exact")

    for name, value in expected.items():
        mean = torch.stack([draw[name] for draw in draws]).mean(0)
        assert (mean - value).norm() < 0.1 * value.norm()
        assert (draws[0][name] - value).norm() > 0.1 * value.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampling_never_draws_a_unit_of_probability_zero(dtype):
    last_before_one = 1 - torch.finfo(torch.float32).eps / 2
    probabilities = torch.tensor([[0.0, 0.1, 0.0, 0.9 - 1e-4, 0.0]], dtype=dtype).expand(4, -1)
    noise = torch.tensor([0.0, 0.09, 0.11, last_before_one])

    assert fisher._sample(probabilities, noise).tolist() == [1, 1, 3, 3]


def test_no_hook_stays_on_the_network(make_task):
    module = mlp()
    task = make_task(module, shape=(1, 2, 3), units=4)

    diagonal_fisher(task, task.initial)

    assert not any(layer._forward_hooks for layer in module)


def test_an_unknown_choice_of_labels_is_refused(make_task):
    task = make_task(mlp(), shape=(1, 2, 3), units=4)
    with pytest.raises(ValueError, match="exact, sampled, empirical, batch"):
        diagonal_fisher(task, task.initial, labels="true")

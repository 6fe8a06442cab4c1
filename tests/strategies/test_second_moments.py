"""Second moments of layers by value: naive loops, dense eigenvectors, and both modes."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import jacrev, vmap
from torch.nn import functional as F

from driftboard.strategies import Examples
from driftboard.strategies.layers import layers_applied_once
from driftboard.strategies.second_moments import (
    added_inputs,
    added_outputs,
    centred_directions,
    evenly_spaced,
    input_moments,
    layer_moments,
)

EXACT = {"rtol": 1e-9, "atol": 1e-11}


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 4, bias=False))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2),
        nn.GroupNorm(2, 4),
        nn.Tanh(),
        nn.Conv2d(4, 3, 2, bias=False),
        nn.Flatten(),
        nn.Linear(3, 4),
    )


class Tokens(nn.Module):
    """A Linear layer applied to several vectors per example."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)
        self.head = nn.Linear(5, 4)

    def forward(self, images):
        return self.head(torch.tanh(self.layer(images.flatten(1, 2))).sum(1))


class Twice(nn.Module):
    """One layer that is applied twice, one in groups, and a plain one."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(6, 6)
        self.grouped = nn.Conv2d(2, 2, 1, groups=2)
        self.head = nn.Linear(6, 4)

    def forward(self, images):
        values = self.grouped(images).flatten(1)
        return self.head(self.twice(torch.tanh(self.twice(values))))


NETWORKS = {
    "mlp": (mlp, (1, 2, 3)),
    "convolutions": (convolutions, (2, 4, 4)),
    "tokens": (Tokens, (1, 2, 3)),
}


@pytest.fixture(params=NETWORKS)
def task(request, make_task):
    maker, shape = NETWORKS[request.param]
    return make_task(maker(), shape=shape, units=4, classes=[0, 1, 3], count=9)


def rows_and_taps(task, layer, name, image):
    """Return the rows of one example, and a function of zeros added to the layer's output."""
    seen = {}

    def logits(tap):
        def hook(_, arguments, output):
            seen["input"] = arguments[0]
            return output + tap

        handle = layer.register_forward_hook(hook)
        try:
            return task.network.logits(task.initial, image[None])[0]
        finally:
            handle.remove()

    def shape_of(_, __, output):
        seen["shape"] = output.shape

    handle = layer.register_forward_hook(shape_of)
    task.network.logits(task.initial, image[None])
    handle.remove()
    jacobian = jacrev(logits)(torch.zeros(seen["shape"], dtype=torch.float64))[:, 0]
    if isinstance(layer, nn.Conv2d):
        patches = F.unfold(
            seen["input"], layer.kernel_size, padding=layer.padding, stride=layer.stride
        )[0].T
        jacobian = jacobian.flatten(2).mT  # (units, positions, outputs)
    else:
        patches = seen["input"].reshape(-1, layer.in_features)
        jacobian = jacobian.reshape(4, -1, layer.out_features)
    if layer.bias is not None:
        patches = torch.cat([patches, torch.ones(len(patches), 1, dtype=torch.float64)], dim=1)
    return patches, jacobian


def test_moments_equal_those_of_a_loop_over_examples(task):
    layers = layers_applied_once(task, task.initial)
    found = layer_moments(task, task.initial, layers)
    own = task.classes.to(torch.float64)
    centring = torch.diag(own) - torch.outer(own, own) / own.sum()
    assert len(found) == sum(
        isinstance(m, nn.Linear | nn.Conv2d) for m in task.network.module.modules()
    )
    for name, layer in layers.items():
        a, g, rows = 0.0, 0.0, 0
        for image in task.examples.images:
            patches, jacobian = rows_and_taps(task, layer, name, image)
            a = a + patches.T @ patches
            rows += len(patches)
            for position in range(jacobian.shape[1]):
                slope = jacobian[:, position]
                g = g + slope.T @ centring @ slope
        moments = found[name]
        torch.testing.assert_close(moments.rows.T @ moments.rows, a / rows, **EXACT)
        torch.testing.assert_close(moments.outputs, g / 9, **EXACT)


def test_normalised_moments_have_a_mean_eigenvalue_of_one(task):
    layers = layers_applied_once(task, task.initial)
    inputs = input_moments(task, task.initial, layers)
    for name, moments in layer_moments(task, task.initial, layers).items():
        scaled = moments.normalised()
        size = scaled.rows.shape[1]
        assert torch.linalg.eigvalsh(scaled.rows.T @ scaled.rows).sum() == pytest.approx(size)
        assert torch.linalg.eigvalsh(scaled.outputs).mean() == pytest.approx(1.0)
        torch.testing.assert_close(inputs[name], scaled.rows, **EXACT)


def test_layers_that_have_no_single_matrix_are_left_out(make_task):
    task = make_task(Twice(), shape=(2, 1, 3), units=4)
    assert list(layers_applied_once(task, task.initial)) == ["head"]


@pytest.mark.parametrize(
    "allowed", [row for row in itertools.product([False, True], repeat=5) if any(row)]
)
def test_directions_centre_the_logits_that_are_allowed(make_task, allowed):
    row = torch.tensor(allowed)
    units = row.nonzero()[:, 0]
    task = make_task(nn.Linear(3, 5), shape=(3,), units=5, classes=units.tolist(), count=2)
    directions = list(centred_directions(task, task.examples))
    total = sum(direction[0][:, None] * direction[0] for direction in directions)
    own = row.to(torch.float64)
    torch.testing.assert_close(total, torch.diag(own) - torch.outer(own, own) / own.sum(), **EXACT)
    assert len(directions) == max(1, len(units) - 1)


def test_examples_are_taken_at_equal_distances():
    examples = Examples(torch.zeros(7, 1), torch.arange(7), torch.ones(7, 2).bool())
    assert evenly_spaced(examples, 7).labels.tolist() == list(range(7))
    assert evenly_spaced(examples, 6).labels.tolist() == [0, 2, 4, 6]


def dense(memory):
    """Return the matrix that a memory of eigenvectors stands for."""
    vectors, values, rest = memory["vectors"], memory["values"], memory["rest"]
    eye = torch.eye(vectors.shape[0], dtype=vectors.dtype)
    return rest * eye + (vectors * (values - rest)) @ vectors.T


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [3, 6, 20])
@pytest.mark.parametrize("rank", [6, 100])
def test_all_eigenvectors_stand_for_the_sum_of_all_tasks(count, rank):
    tasks = [normal(count, 6, seed=seed) for seed in range(3)]
    inputs = outputs = None
    for rows in tasks:
        inputs = added_inputs(inputs, rows, rank)
        outputs = added_outputs(outputs, rows.T @ rows, rank)
    wanted = sum(rows.T @ rows for rows in tasks)
    torch.testing.assert_close(dense(inputs), wanted, **EXACT)
    torch.testing.assert_close(dense(outputs), wanted, **EXACT)


@pytest.mark.parametrize("count", [4, 30])  # fewer and more rows than inputs
def test_leading_eigenvectors_are_kept_and_the_rest_is_their_mean(count):
    rows = normal(count, 12)
    exact, vectors = torch.linalg.eigh(rows.T @ rows)
    memory = added_inputs(None, rows, 3)
    torch.testing.assert_close(memory["values"], exact[-3:], **EXACT)
    torch.testing.assert_close(memory["rest"], exact[:-3].mean(), **EXACT)
    overlap = (memory["vectors"].T @ vectors[:, -3:]).abs()
    torch.testing.assert_close(overlap, torch.eye(3, dtype=torch.float64), **EXACT)


@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    rank=st.integers(1, 9),
)
def test_whatever_is_kept_the_trace_is_that_of_all_tasks(seed, counts, rank):
    memory, trace = None, 0.0
    for place, count in enumerate(counts):
        rows = normal(count, 7, seed=seed + place)
        memory = added_inputs(memory, rows, rank)
        trace += rows.square().sum().item()
    present = memory["vectors"].norm(dim=0) > 0.5
    others = 7 - memory["values"].shape[0]
    found = memory["values"].sum() + others * memory["rest"]
    assert found.item() == pytest.approx(trace, rel=1e-9)
    assert bool((memory["values"][present] >= memory["rest"] - 1e-9).all())


def test_a_direction_without_a_moment_is_a_vector_of_zeros():
    rows = normal(9, 4)
    rows[:, 2] = 0.0
    memory = added_inputs(None, rows, 4)
    assert memory["values"][0] == 0
    assert memory["vectors"][:, 0].tolist() == [0.0] * 4
    assert memory["vectors"][2].abs().max() < 1e-12


def test_signs_do_not_depend_on_those_of_the_rows():
    rows = normal(5, 8)
    one, other = added_inputs(None, rows, 3), added_inputs(None, -rows.flip(0), 3)
    torch.testing.assert_close(one["vectors"], other["vectors"], **EXACT)


def test_learners_together_have_the_moments_that_they_have_alone():
    rows = torch.stack([normal(5, 8, seed=seed) for seed in range(3)])
    together = vmap(lambda own: added_inputs(added_inputs(None, own, 3), own.flip(1), 3))(rows)
    for place, own in enumerate(rows):
        alone = added_inputs(added_inputs(None, own, 3), own.flip(1), 3)
        for name, value in alone.items():
            torch.testing.assert_close(together[name][place], value, **EXACT)


def test_a_learner_that_has_diverged_does_not_stop_the_others():
    rows = torch.stack([normal(5, 8), torch.full((5, 8), torch.nan, dtype=torch.float64)])
    together = vmap(lambda own: added_inputs(None, own, 3))(rows)
    torch.testing.assert_close(
        together["values"][0], added_inputs(None, rows[0], 3)["values"], **EXACT
    )

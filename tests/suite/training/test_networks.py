"""Networks: every parameter in one block, in order; pure, deterministic and seeded forwards."""

from math import gcd

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.nn import functional as F

from driftboard.suite.errors import DriftboardError
from driftboard.suite.training.networks import (
    LANES,
    build_network,
    choose_mode,
    initial_parameters,
    is_network_name,
)

UNITS = 7
SMALL = {
    "mlp-16x2": (1, 5, 6),
    "mlp-8x1": (3, 4, 4),
    "resnet9-w4": (3, 12, 10),
    "resnet18-w4": (3, 16, 12),
    "timm:test_resnet": (1, 16, 16),
}
LARGE = {
    "timm:resnet18": (3, 32, 32),
    "timm:vit_tiny_patch16_224": (3, 32, 32),
    "timm:mobilenetv3_small_050": (1, 32, 32),
}
NAMES = [*SMALL, *LARGE]


@pytest.fixture(scope="module")
def made():
    """Return a function that gives a network, its parameters and images, built once each."""
    known = {}

    def make(name):
        if name not in known:
            shape = {**SMALL, **LARGE}[name]
            images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
            known[name] = (*initial_parameters(name, shape, UNITS, 5), images)
        return known[name]

    return make


def in_double(parameters):
    return {name: value.double() for name, value in parameters.items()}


@pytest.mark.parametrize("name", NAMES)
def test_blocks_hold_every_parameter_once_and_in_the_modules_order(made, name):
    network, parameters, _ = made(name)
    together = [parameter for block in network.blocks for parameter in block.parameters]
    assert together == [parameter for parameter, _ in network.module.named_parameters()]
    assert together == list(parameters)
    assert all(block.parameters for block in network.blocks)
    names = [block.name for block in network.blocks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_called_one_after_the_other_from_the_input_to_the_head(made, name):
    network, parameters, images = made(name)
    block_of = {p: index for index, block in enumerate(network.blocks) for p in block.parameters}
    called, handles = [], []
    for path, module in network.module.named_modules():
        own = {block_of[f"{path}.{p}"] for p, _ in module.named_parameters(recurse=False) if path}
        for index in own:
            note = lambda *_, index=index: called.append(index)  # noqa: E731
            handles.append(module.register_forward_hook(note))
    network.logits(parameters, images)
    for handle in handles:
        handle.remove()
    assert called == sorted(called)
    assert set(called) == set(range(len(network.blocks)))


@pytest.mark.parametrize("name", NAMES)
def test_the_head_is_the_last_block_with_one_row_per_unit(made, name):
    network, parameters, images = made(name)
    assert network.head is network.blocks[-1]
    assert network.head.name == "head"
    assert [parameters[p].shape[0] for p in network.head.parameters] == [UNITS, UNITS]
    logits = network.logits(parameters, images)
    assert logits.shape == (3, UNITS)
    # a unit's row moves that unit's logit and no other
    raised = dict(parameters)
    bias = next(p for p in network.head.parameters if parameters[p].ndim == 1)
    raised[bias] = parameters[bias] + 2.0 * (torch.arange(UNITS) == 4)
    expected = logits + 2.0 * (torch.arange(UNITS) == 4)
    torch.testing.assert_close(network.logits(raised, images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_batch_norm_and_no_running_statistics_are_left(made, name):
    network, parameters, images = made(name)
    for module in network.module.modules():
        assert not isinstance(module, nn.modules.batchnorm._NormBase)
        assert getattr(module, "running_mean", None) is None
        assert not module.training
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    network.logits(parameters, 100 * images)
    after = network.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_depends_on_its_image_alone_and_is_always_the_same(made, name):
    network, parameters, images = made(name)
    parameters, images = in_double(parameters), images.double()
    together = network.logits(parameters, images)
    assert torch.equal(network.logits(parameters, images), together)
    alone = torch.cat([network.logits(parameters, image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("name", SMALL)
def test_the_modules_own_weights_are_unused(name):
    network, parameters = initial_parameters(name, SMALL[name], UNITS, 5)
    images = torch.ones(2, *SMALL[name])
    expected = network.logits(parameters, images)
    with torch.no_grad():
        for value in network.module.parameters():
            value.fill_(torch.nan)
    assert torch.equal(network.logits(parameters, images), expected)
    assert expected.isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_mapping_over_learners_gives_what_each_gives_alone(name):
    shape = SMALL[name]
    learners = [initial_parameters(name, shape, UNITS, seed) for seed in range(3)]
    network = learners[0][0]
    images = torch.randn(3, 4, *shape, dtype=torch.float64, generator=torch.Generator())
    alone = [
        network.logits(in_double(parameters), own)
        for (_, parameters), own in zip(learners, images, strict=True)
    ]
    stacked = {
        key: torch.stack([parameters[key] for _, parameters in learners]).double()
        for key in learners[0][1]
    }
    together = vmap(network.logits)(stacked, images)
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-9, atol=1e-9)


def test_an_mlp_is_matrix_products_and_rectifiers(made):
    network, parameters, images = made("mlp-16x2")
    value = images.flatten(1).double().numpy()
    weights = {name: tensor.double().numpy() for name, tensor in parameters.items()}
    for layer in ("hidden1", "hidden2"):
        value = np.maximum(value @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0)
    expected = value @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(network.logits(parameters, images), expected, rtol=1e-4, atol=1e-5)
    assert [block.name for block in network.blocks] == ["hidden1", "hidden2", "head"]
    assert [tuple(value.shape) for value in parameters.values()] == [
        (16, 30),
        (16,),
        (16, 16),
        (16,),
        (UNITS, 16),
        (UNITS,),
    ]


def test_a_resnet9_has_nine_convolution_blocks_of_growing_width(made):
    network, parameters, _ = made("resnet9-w4")
    names = [f"block{index}" for index in range(1, 10)]
    assert [block.name for block in network.blocks] == [*names, "head"]
    widths = []
    for block in network.blocks[:-1]:
        convolutions = [parameters[p] for p in block.parameters if parameters[p].ndim == 4]
        widths.append({value.shape[0] for value in convolutions})
        # the first is one convolution, a residual block two and, where it strides, a shortcut
        strides = block.name in ("block2", "block5", "block8")
        assert len(convolutions) == (1 if block.name == "block1" else 2 + strides)
    assert widths == [{4}, {4}, {4}, {4}, {8}, {8}, {8}, {16}, {16}]
    assert parameters["head.weight"].shape == (UNITS, 16)


def test_a_resnet18_is_that_of_torchvision_but_for_its_first_layer_and_norms(made):
    """Of 64 channels its residual blocks have as many weights, in the same order."""
    from torchvision.models import resnet18

    _, parameters = initial_parameters("resnet18-w64", (3, 32, 32), UNITS, 0)
    ours = [tuple(value.shape) for name, value in parameters.items() if "block1." not in name]
    module = resnet18(num_classes=UNITS)
    theirs = [
        tuple(value.shape)
        for name, value in module.named_parameters()
        if name.startswith(("layer", "fc"))
    ]
    assert sorted(ours) == sorted(theirs)
    network, _, _ = made("resnet18-w4")
    names = [f"block{index}" for index in range(1, 10)]
    assert [block.name for block in network.blocks] == [*names, "head"]


def test_parameters_of_the_reduced_resnet18_counted_by_hand():
    def norm(width):
        return 2 * width

    def residual(before, width, shortcut):
        convolutions = 9 * before * width + 9 * width * width + 2 * norm(width)
        return convolutions + (before * width + norm(width) if shortcut else 0)

    expected = 3 * 20 * 9 + norm(20) + 2 * residual(20, 20, False)
    for width in (40, 80, 160):
        expected += residual(width // 2, width, True) + residual(width, width, False)
    expected += 160 * 10 + 10
    _, parameters = initial_parameters("resnet18-w20", (3, 32, 32), 10, 0)
    assert sum(value.numel() for value in parameters.values()) == expected == 1_094_750


def test_a_resnet9_halves_the_image_three_times(made):
    network, parameters, images = made("resnet9-w4")
    sizes = []
    handle = network.module.pool.register_forward_hook(
        lambda _, given, __: sizes.append(tuple(given[0].shape))
    )
    network.logits(parameters, images)
    handle.remove()
    assert sizes == [(3, 16, 2, 2)]  # 12 x 10 -> 6 x 5 -> 3 x 3 -> 2 x 2


@pytest.mark.parametrize("name", ["timm:mobilenetv3_small_050", "timm:resnet18"])
def test_timm_models_are_unchanged_but_for_group_norms_in_place_of_batch_norms(made, name):
    import timm

    network, parameters, images = made(name)
    model = timm.create_model(
        name.removeprefix("timm:"), num_classes=UNITS, in_chans=images.shape[1]
    ).eval()

    def normalise(module, given):
        value = F.group_norm(
            given, gcd(8, module.num_features), module.weight, module.bias, eps=1e-5
        )
        return module.act(value) if hasattr(module, "act") else value

    with torch.no_grad():
        for value, own in zip(model.parameters(), parameters.values(), strict=True):
            value.copy_(own)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = lambda given, module=module: normalise(module, given)
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(
            network.logits(parameters, images), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", [*SMALL, "timm:vit_tiny_patch16_224"])
def test_initial_parameters_leave_the_global_generators_as_they_were(name):
    shape = {**SMALL, **LARGE}[name]
    before = torch.get_rng_state()
    before_numpy = np.random.get_state()[1].copy()
    initial_parameters(name, shape, UNITS, 3)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)


@pytest.mark.parametrize("name", [*SMALL, "timm:vit_tiny_patch16_224"])
def test_initial_parameters_follow_from_the_seed_alone(name):
    shape = {**SMALL, **LARGE}[name]
    torch.manual_seed(1)
    _, one = initial_parameters(name, shape, UNITS, 2**63 - 1)
    torch.manual_seed(2)
    _, same = initial_parameters(name, shape, UNITS, 2**63 - 1)
    _, other = initial_parameters(name, shape, UNITS, 4)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    for value in one.values():
        assert value.dtype == torch.float32
        assert value.device.type == "cpu"
        assert not value.requires_grad


def test_initial_parameters_of_an_mlp_are_the_layers_own_rule():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        layers = nn.Linear(20, 6), nn.Linear(6, 6), nn.Linear(6, UNITS)
    expected = [value for layer in layers for value in layer.parameters()]
    _, parameters = initial_parameters("mlp-6x2", (1, 4, 5), UNITS, 9)
    for value, own in zip(parameters.values(), expected, strict=True):
        assert torch.equal(value, own)


UNKNOWN = [
    "",
    "mlp",
    "mlp-8",
    "mlp-8x",
    "mlp-8x2x2",
    "mlp--8x2",
    "MLP-8x2",
    "resnet9",
    "resnet9-w",
    "resnet18-w0",
    "resnet8-w4",
    "resnet18",
    "vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_are_an_error_that_names_the_known_forms(name):
    assert not is_network_name(name)
    with pytest.raises(DriftboardError, match=f"no network '{name}'; use mlp-WIDTHxDEPTH"):
        build_network(name, (1, 8, 8), 5)


@pytest.mark.parametrize(
    ("name", "hint"), [("timm:resnet19", "resnet"), ("timm:no_such_model", "no model")]
)
def test_unknown_timm_models_are_an_error_with_the_nearest_names(name, hint):
    with pytest.raises(DriftboardError, match=rf"timm has no model '{name[5:]}'.*") as caught:
        build_network(name, (3, 8, 8), 5)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_known_names_have_a_known_form_and_only_an_mlp_is_mapped_on_a_cpu(made, name):
    assert is_network_name(name)
    network, _, _ = made(name)
    expected = "vmap" if name.startswith("mlp-") else "loop"
    assert choose_mode(network, torch.device("cpu")) == expected
    assert choose_mode(network, torch.device("cuda")) == "vmap"


def test_records_know_the_modes_by_their_lanes():
    assert LANES == {"loop": "solo", "vmap": "stacked"}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp-8x0", (1, 8, 8)),  # no hidden layer
        ("mlp-0x2", (1, 8, 8)),
        ("resnet9-w0", (1, 8, 8)),
        ("timm:deit_tiny_distilled_patch16_224", (3, 32, 32)),  # two heads
        ("timm:test_vit", (3, 8, 8)),  # smaller than a patch
        ("timm:test_vit", (3, 40, 40)),  # not a multiple of the patch
    ],
)
def test_a_network_that_is_not_refused_answers(name, shape):
    try:
        network, parameters = initial_parameters(name, shape, UNITS, 0)
    except DriftboardError:
        return
    assert network.logits(parameters, torch.zeros(2, *shape)).shape == (2, UNITS)

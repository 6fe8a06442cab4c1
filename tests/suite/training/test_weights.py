"""Pretrained weights: read without trust, refused in a line, and all there but for the head."""

import hashlib
import io
import os
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save as safetensors
from torch.func import vmap

from driftboard.suite.data.store import Pool
from driftboard.suite.errors import DataError, DriftboardError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences import Split, TaskSequence, Weights
from driftboard.suite.sequences.splits import make_splits
from driftboard.suite.training.cohort import Setting, build_cohort
from driftboard.suite.training.networks import build_network, initial_parameters, weights
from driftboard.suite.training.networks.weights import read_weights

MODEL, SHAPE, UNITS = "test_resnet", (3, 16, 16), 7
HEAD = ("fc.weight", "fc.bias")


@pytest.fixture(scope="module")
def state():
    """Return the weights of a model of timm's after training: no statistic is what it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = timm.create_model(MODEL, num_classes=11)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value) + 0.01 * ("var" in name))
    return {name: value.clone() for name, value in model.state_dict().items()}


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.fixture
def put(tmp_path):
    """Return a function that writes a file of weights and returns what a sequence says of it."""

    def write(content, name="a.pt"):
        (tmp_path / name).write_bytes(content)
        return Weights(name, hashlib.sha256(content).hexdigest())

    return write


@pytest.mark.parametrize(("name", "save"), [("a.pt", saved), ("a.safetensors", safetensors)])
def test_either_format_gives_the_same_tensors(put, tmp_path, state, name, save):
    found = read_weights(put(save(state), name), tmp_path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_pretrained_network_is_timms_own_model_with_a_new_head(state):
    network, parameters = initial_parameters(f"timm:{MODEL}", SHAPE, UNITS, 3, state)
    model = timm.create_model(MODEL, num_classes=UNITS).eval()
    with torch.no_grad():
        own = {name: parameters[name] for name in HEAD}
        model.load_state_dict({**state, **own})
        images = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(network.logits(parameters, images), model(images))
    for name, value in parameters.items():
        if name not in HEAD:
            assert torch.equal(value, state[name])


def test_only_the_head_depends_on_the_seed(state):
    one, other = (initial_parameters(f"timm:{MODEL}", SHAPE, UNITS, s, state)[1] for s in (1, 2))
    assert {name for name in one if not torch.equal(one[name], other[name])} == set(HEAD)


def test_running_statistics_are_constants_whatever_the_images(state):
    """Also under vmap, and scale and shift of a batch norm are parameters like others."""
    network, parameters = initial_parameters(f"timm:{MODEL}", SHAPE, UNITS, 3, state)
    before = {name: value.clone() for name, value in network.module.named_buffers()}
    assert any("running_mean" in name for name in before)
    images = 100 * torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(0))
    stacked = {name: torch.stack([value, 1.1 * value]) for name, value in parameters.items()}
    together = vmap(network.logits)(stacked, images)
    after = dict(network.module.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    alone = network.logits({name: 1.1 * value for name, value in parameters.items()}, images[1])
    torch.testing.assert_close(together[1], alone, rtol=1e-3, atol=1e-3)
    scales = [name for name in parameters if "bn1" in name]
    assert all(any(name in block.parameters for block in network.blocks) for name in scales)


def test_images_are_scaled_as_the_model_was_pretrained_with_them(put, tmp_path, state):
    sequence = TaskSequence(
        "own", "", "folder:made", Split(2), f"timm:{MODEL}", weights=put(saved(state))
    )
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (24, *SHAPE), dtype=np.uint8)
    labels = np.repeat(np.arange(4), 6)
    pool = Pool("made", images, labels, images, labels, tuple("abcd"))
    recipes = [make_splits(sequence, pool, PROTOCOL, 0, "test")]
    setting = Setting(sequence, (0,), "test", tmp_path, "cpu")
    cohort = build_cohort(setting, pool, recipes)
    settings = timm.get_pretrained_cfg(MODEL)
    assert cohort.scaling.mean.flatten().tolist() == pytest.approx(settings.mean)
    assert cohort.scaling.std.flatten().tolist() == pytest.approx(settings.std)
    setting = replace(setting, sequence=replace(sequence, weights=None))
    unscaled = build_cohort(setting, pool, recipes)
    assert unscaled.scaling.mean.flatten().tolist() != pytest.approx(settings.mean, abs=1e-4)
    stamp = sequence.stamp("made", "0" * 64, cohort.network.blocks)
    assert stamp.weights == sequence.weights.sha256


def test_constants_follow_the_images_to_a_device(state):
    network = build_network(f"timm:{MODEL}", SHAPE, UNITS, state)
    moved = network.on(torch.device("meta"))
    assert {value.device.type for value in moved.module.buffers()} == {"meta"}
    assert {value.device.type for value in network.module.buffers()} == {"cpu"}
    plain = build_network("mlp-4x1", SHAPE, UNITS)
    assert plain.on(torch.device("meta")) is plain


# What does not fit.


def changed(state, **changes):
    found = dict(state)
    for name, value in changes.items():
        found[name.replace("__", ".")] = value
    return {name: value for name, value in found.items() if value is not None}


MISFITS = {
    "a tensor is missing": ({"bn1__weight": None}, "there is no tensor 'bn1.weight'"),
    "another shape": (
        {"bn1__bias": torch.zeros(3)},
        "tensor 'bn1.bias' has the shape (3,), and (32,) in the network",
    ),
    "not finite": ({"bn1__bias": torch.full((32,), torch.inf)}, "'bn1.bias' has values that are"),
    "whole numbers": (
        {"bn1__bias": torch.ones(32, dtype=torch.int64)},
        "tensor 'bn1.bias' is torch.int64, and torch.float32 in the network",
    ),
    "one too many": ({"other": torch.ones(2)}, "the network has no tensor 'other'"),
    "a huge shape in few bytes": (
        {"bn1__bias": torch.zeros(1).expand(2**40)},
        "'bn1.bias' has the shape (1099511627776,)",
    ),
}


@pytest.mark.parametrize(("changes", "words"), MISFITS.values(), ids=MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name(state, changes, words):
    with pytest.raises(
        DriftboardError, match=f"^the weights do not fit timm's '{MODEL}': "
    ) as caught:
        build_network(f"timm:{MODEL}", SHAPE, UNITS, changed(state, **changes))
    assert words in str(caught.value)


def test_a_head_of_another_size_or_none_at_all_does_not_matter(state):
    small = changed(state, fc__weight=None, fc__bias=torch.ones(3))
    one, other = (
        initial_parameters(f"timm:{MODEL}", SHAPE, UNITS, 1, given)[1] for given in (state, small)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_for_colours_are_not_for_grey_images(state):
    with pytest.raises(DriftboardError, match=r"are for images of 3 channels, and these have 1"):
        build_network(f"timm:{MODEL}", (1, 16, 16), UNITS, state)


# What is no file of weights.


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def compressed(content):
    """Return the same archive with members that grow when they are read."""
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    return result.getvalue()


def test_an_attack_is_not_run(put, tmp_path, state):
    target = tmp_path / "made-by-an-attack"
    for number, content in enumerate(
        (saved({"a": Attack(target)}), pickle.dumps(Attack(target)), saved(Attack(target)))
    ):
        with pytest.raises(DataError, match=r"is no file of weights: ") as caught:
            read_weights(put(content, f"{number}.pt"), tmp_path)
        assert "\n" not in str(caught.value)
        assert not target.exists()


BROKEN = {
    "nothing": (lambda _: b"", "is no file of weights"),
    "text": (lambda _: b"weights", "is no file of weights"),
    "half": (lambda state: saved(state)[:5000], "is no file of weights"),
    "members that grow": (lambda state: compressed(saved(state)), "its members are compressed"),
    "a list": (lambda state: saved([*state.values()]), "holds a list; save a state dict"),
    "a checkpoint": (
        lambda state: saved({"epoch": 3, "state_dict": state}),
        "holds 'epoch', a int and no tensor of the CPU; save the state dict of the model alone",
    ),
    "a sparse tensor": (
        lambda _: saved({"a": torch.eye(2).to_sparse()}),
        "holds 'a', a Tensor and no tensor of the CPU",
    ),
}


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize(("make", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_file_of_weights_is_refused_in_a_line(put, tmp_path, state, make, words, name):
    if name == "a.safetensors":
        words = "is no file of weights"
    with pytest.raises(DataError) as caught:
        read_weights(put(make(state), name), tmp_path)
    assert words in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_another_or_too_large_file_is_refused(put, tmp_path, state, monkeypatch):
    known = put(saved(state))
    with pytest.raises(DataError, match=r"there is no file of weights .*/b\.pt; put it there"):
        read_weights(replace(known, file="b.pt"), tmp_path)
    with pytest.raises(DataError, match=f"has the SHA-256 digest {known.sha256}, and the sequence"):
        read_weights(replace(known, sha256="0" * 64), tmp_path)
    monkeypatch.setattr(weights, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match="has more than 1000 bytes"):
        read_weights(known, tmp_path)

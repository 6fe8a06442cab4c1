"""Networks by name, as a sequence writes them."""

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from driftboard.strategies.base import Parameters
from driftboard.suite.errors import DriftboardError
from driftboard.suite.sequences.network import AnyNetwork
from driftboard.suite.training.networks.mlp import mlp
from driftboard.suite.training.networks.module import ModuleNetwork
from driftboard.suite.training.networks.own import own_network
from driftboard.suite.training.networks.resnet import resnet9, resnet18
from driftboard.suite.training.networks.timm_model import timm_model

_FORMS = re.compile(
    r"mlp-(?P<mlp>[1-9]\d*)x(?P<depth>[1-9]\d*)"
    r"|resnet(?P<layers>9|18)-w(?P<width>[1-9]\d*)"
    r"|timm:(?P<model>[\w.\-/]+)"
)


def is_network_name(name: str) -> bool:
    """Tell whether a name has one of the forms that ``build_network`` knows.

    >>> is_network_name("resnet9-w16"), is_network_name("resnet9")
    (True, False)
    """
    return _FORMS.fullmatch(name) is not None


def build_network(
    network: AnyNetwork,
    image_shape: Sequence[int],
    units: int,
    pretrained: Mapping[str, Tensor] | None = None,
) -> ModuleNetwork:
    """Build a network for images (channels, height, width) and a head of ``units`` rows.

    Its initial weights come from torch's global generator; see ``initial_parameters``.

    Args:
        network: a name, or a definition of a user's own.
        image_shape: channels, height, width.
        units: of the head.
        pretrained: the weights of a timm model, by name; its head is initialised all the same.

    Raises:
        DriftboardError: the name has none of the known forms, timm has no such model, the weights
            do not fit it, or a user's own network is not what a network is.

    >>> [block.name for block in build_network("mlp-128x2", (1, 28, 28), 10).blocks]
    ['hidden1', 'hidden2', 'head']
    """
    if not isinstance(network, str):
        return own_network(network, image_shape, units)
    form = _FORMS.fullmatch(network)
    if form is None:
        raise DriftboardError(
            f"there is no network '{network}'; use mlp-WIDTHxDEPTH, resnet9-wWIDTH, "
            "resnet18-wWIDTH or timm:MODEL"
        )
    if form["model"]:
        return timm_model(form["model"], image_shape, units, pretrained)
    if form["depth"]:
        inputs = math.prod(image_shape)
        return mlp(inputs, int(form["mlp"]), int(form["depth"]), units)
    build = resnet9 if form["layers"] == "9" else resnet18
    return build(image_shape[0], int(form["width"]), units)


def initial_parameters(
    network: AnyNetwork,
    image_shape: Sequence[int],
    units: int,
    seed: int,
    pretrained: Mapping[str, Tensor] | None = None,
) -> tuple[ModuleNetwork, Parameters]:
    """Build a network and its initial parameters for one seed, on the CPU, as float32.

    Every layer is initialised by its own rule from torch's CPU generator; the state of the
    generator is restored afterwards. Of a pretrained network that holds for the head alone.

    >>> _, parameters = initial_parameters("mlp-128x2", (1, 28, 28), 10, seed=0)
    >>> parameters["head.weight"].shape
    torch.Size([10, 128])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build_network(network, image_shape, units, pretrained)
    return built, {k: v.detach().clone() for k, v in built.module.named_parameters()}

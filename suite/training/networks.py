"""Networks: layers grouped into ordered blocks, and a pure forward function.

Names: ``mlp-WIDTHxDEPTH`` (one block per hidden layer), ``resnet9-wWIDTH`` (the 9 convolution
blocks of arXiv 2602.20796, whose widths are ours), ``resnet18-wWIDTH`` (the ResNet-18 of small
images, for which WIDTH 20 is the field's reduced one), ``timm:MODEL`` (any timm classifier, one
block per stage). The last block is always the head, one row per class.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from driftboard.strategies.base import Block, Examples, Parameters, masked
from driftboard.suite.errors import DriftboardError

Mode = Literal["loop", "vmap"]
"""How several learners are trained: one after another in a loop, or together in one call that
``torch.func.vmap`` maps over them."""

_FORMS = re.compile(
    r"mlp-(?P<mlp>[1-9]\d*)x(?P<depth>[1-9]\d*)"
    r"|resnet(?P<layers>9|18)-w(?P<width>[1-9]\d*)"
    r"|timm:(?P<model>[\w.\-/]+)"
)

LANES: dict[Mode, Literal["solo", "stacked"]] = {"loop": "solo", "vmap": "stacked"}
"""Mode -> the value of a record's field ``lane``."""


@dataclass(frozen=True)
class StackedMlp:
    """S networks of Linear layers with ReLUs between them; the last layer is the head.

    Loss, gradient and logits are in closed form. ``vmap`` over one network is general, but for
    small MLPs it spends more time on bookkeeping than on arithmetic. Here a step is a handful of
    batched matrix products. The backward pass calls the same kernels as autograd, so that both
    give the same gradients.
    """

    layers: tuple[str, ...]
    """The layers' names, inputs first: parameters are ``NAME.weight`` (S, outputs, inputs) and
    ``NAME.bias`` (S, outputs)."""

    @torch.no_grad()
    def losses_and_gradient(
        self, parameters: Parameters, examples: Examples, wanted: Collection[str]
    ) -> tuple[Tensor, Parameters]:
        """Return the mean cross-entropy of every learner, (S,), and its gradient.

        Args:
            parameters: with a leading dimension S.
            examples: a batch of each learner, with a leading dimension S.
            wanted: the names of the parameters whose gradient is returned.
        """
        *inputs, logits = self._forward(parameters, examples.images)
        scores = masked(logits, examples.allowed).log_softmax(dim=-1)
        losses = -scores.gather(2, examples.labels[..., None]).squeeze(2).mean(dim=1)
        slope = _slope_of_mean_cross_entropy(scores, examples)
        return losses, self._backward(parameters, inputs, slope, wanted)

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return the logits of every learner, (S, n, units), for float images (S, n, ...)."""
        for values in self._forward(parameters, images):
            logits = values  # frees the inputs of a layer as soon as its outputs are there
        return logits

    def _forward(self, parameters: Parameters, images: Tensor) -> Iterator[Tensor]:
        """Yield the inputs of every layer, (S, n, inputs), and then the logits, (S, n, units)."""
        values = images.flatten(2)
        yield values
        for layer in self.layers:
            weight, bias = parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]
            values = torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))
            if layer != self.layers[-1]:
                values.relu_()
            yield values

    def _backward(
        self, parameters: Parameters, inputs: list[Tensor], slope: Tensor, wanted: Collection[str]
    ) -> Parameters:
        """Return the gradient of the wanted parameters, given that of the logits, (S, n, units)."""
        gradient = {}
        left = set(wanted)
        for layer, below in zip(reversed(self.layers), reversed(inputs), strict=True):
            weight, bias = f"{layer}.weight", f"{layer}.bias"
            if weight in left:
                gradient[weight] = self._weight_gradient(layer, below, slope)
            if bias in left:
                gradient[bias] = slope.sum(dim=1)
            left -= {weight, bias}
            if not left:
                break
            slope = torch.ops.aten.threshold_backward(
                torch.bmm(slope, parameters[weight]), below, 0
            )
        return {name: gradient[name] for name in wanted}

    def _weight_gradient(self, layer: str, below: Tensor, slope: Tensor) -> Tensor:
        """Return the gradient of a layer's weight, (S, outputs, inputs).

        Autograd computes the transposed product. For a wide layer both products have the same
        bits, and the update reads this one faster; for the few rows of the head they differ.
        """
        if layer == self.layers[-1]:
            return torch.bmm(below.transpose(1, 2), slope).transpose(1, 2)
        return torch.bmm(slope.transpose(1, 2), below)


def _slope_of_mean_cross_entropy(scores: Tensor, examples: Examples) -> Tensor:
    """Return the gradient of the mean cross-entropy in the logits, given log-probabilities."""
    each = -1.0 / examples.labels.shape[1]
    chosen = torch.zeros_like(scores).scatter_(2, examples.labels[..., None], each)
    slope: Tensor = torch.ops.aten._log_softmax_backward_data(chosen, scores, 2, scores.dtype)
    return slope.masked_fill_(~examples.allowed, 0.0)


@dataclass(frozen=True)
class ModuleNetwork:
    """A network made of a torch module; implements ``driftboard.strategies.Network``."""

    module: nn.Module
    blocks: tuple[Block, ...]
    stacked: StackedMlp | None = None
    """The closed form for S learners, where there is one; it is faster than ``vmap`` and autograd
    over ``logits``."""

    def logits(self, parameters: Parameters, images: Tensor) -> Tensor:
        """Return logits, shape (n, head units), for float images, shape (n, channels, h, w)."""
        result: Tensor = functional_call(self.module, parameters, (images,))
        return result

    @property
    def head(self) -> Block:
        """The last block; the first dimension of its parameters runs over the head's units."""
        return self.blocks[-1]


def choose_mode(name: str, device: torch.device) -> Mode:
    """Return the faster mode for a network, given by name, on a device.

    On a GPU small networks are bound by kernel launches, so learners always train together. On a
    CPU ``vmap`` speeds up matrix products, and slows convolutions down by a factor of about three.

    >>> choose_mode("mlp-128x2", torch.device("cpu"))
    'vmap'
    >>> choose_mode("resnet9-w16", torch.device("cpu"))
    'loop'
    """
    return "vmap" if device.type != "cpu" or name.startswith("mlp-") else "loop"


def is_network_name(name: str) -> bool:
    """Tell whether a name has one of the forms that ``build_network`` knows.

    >>> is_network_name("resnet9-w16"), is_network_name("resnet9")
    (True, False)
    """
    return _FORMS.fullmatch(name) is not None


def build_network(name: str, image_shape: Sequence[int], units: int) -> ModuleNetwork:
    """Build a network by name for images (channels, height, width) and a head of ``units`` rows.

    Its initial weights come from torch's global generator; see ``initial_parameters``.

    Raises:
        DriftboardError: the name has none of the known forms, or timm has no such model.

    >>> [block.name for block in build_network("mlp-128x2", (1, 28, 28), 10).blocks]
    ['hidden1', 'hidden2', 'head']
    """
    form = _FORMS.fullmatch(name)
    if form is None:
        raise DriftboardError(
            f"there is no network '{name}'; use mlp-WIDTHxDEPTH, resnet9-wWIDTH, resnet18-wWIDTH "
            "or timm:MODEL"
        )
    if form["model"]:
        return _timm_model(form["model"], image_shape, units)
    if form["depth"]:
        inputs = math.prod(image_shape)
        return _mlp(inputs, int(form["mlp"]), int(form["depth"]), units)
    build = _resnet9 if form["layers"] == "9" else _resnet18
    return build(image_shape[0], int(form["width"]), units)


def initial_parameters(
    name: str, image_shape: Sequence[int], units: int, seed: int
) -> tuple[ModuleNetwork, Parameters]:
    """Build a network and its initial parameters for one seed, on the CPU, as float32.

    Every layer is initialised by its own rule from torch's CPU generator; the state of the
    generator is restored afterwards.

    >>> _, parameters = initial_parameters("mlp-128x2", (1, 28, 28), 10, seed=0)
    >>> parameters["head.weight"].shape
    torch.Size([10, 128])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(name, image_shape, units)
    return network, {k: v.detach().clone() for k, v in network.module.named_parameters()}


def _mlp(inputs: int, width: int, depth: int, units: int) -> ModuleNetwork:
    layers: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for index in range(depth):
        layers.append((f"hidden{index + 1}", nn.Linear(inputs if index == 0 else width, width)))
        layers.append((f"relu{index + 1}", nn.ReLU()))
    layers.append(("head", nn.Linear(width, units)))
    module = nn.Sequential(OrderedDict(layers))
    names = [f"hidden{index + 1}" for index in range(depth)] + ["head"]
    return ModuleNetwork(module.eval(), _blocks_by_prefix(module, names), StackedMlp(tuple(names)))


def _resnet9(channels: int, width: int, units: int) -> ModuleNetwork:
    """Build a convolution, eight residual blocks at widths w w w 2w 2w 2w 4w 4w, and a head."""

    def shortcut(inputs: int, outputs: int) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 1, 2, bias=False)

    return _resnet(channels, width, units, (1, 1, 1, 2, 2, 2, 4, 4), (2, 5, 8), shortcut)


def _resnet18(channels: int, width: int, units: int) -> ModuleNetwork:
    """Build a convolution, eight residual blocks at widths w w 2w 2w 4w 4w 8w 8w, and a head.

    He et al. 2016 (CVPR) for small images as in Lopez-Paz and Ranzato 2017 (NeurIPS), with group
    norms in place of batch norms.
    """

    def shortcut(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), _group_norm(outputs))

    return _resnet(channels, width, units, (1, 1, 2, 2, 4, 4, 8, 8), (4, 6, 8), shortcut)


def _resnet(
    channels: int,
    width: int,
    units: int,
    factors: Sequence[int],
    halved: Collection[int],
    shortcut: Callable[[int, int], nn.Module],
) -> ModuleNetwork:
    """Build a convolution, residual blocks of timm's, and a head.

    Args:
        channels: of the images.
        width: of the first block.
        units: of the head.
        factors: the widths of the residual blocks 2, 3, ..., as multiples of the first width.
        halved: the numbers of the blocks that halve the side of the image.
        shortcut: makes the shortcut connection of such a block, given the widths before and after.
    """
    from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
    from timm.layers.conv_bn_act import ConvNormAct
    from timm.models.resnet import BasicBlock

    block: Any = BasicBlock  # typed to take a class as norm layer; a function works, too
    layers: list[tuple[str, nn.Module]] = [
        ("block1", ConvNormAct(channels, width, 3, norm_layer=_group_norm))
    ]
    current = width
    for index, factor in enumerate(factors, start=2):
        stride = 2 if index in halved else 1
        around = shortcut(current, factor * width) if stride == 2 else None
        layers.append(
            (
                f"block{index}",
                block(current, factor * width, stride, around, norm_layer=_group_norm),
            )
        )
        current = factor * width
    layers.append(("pool", SelectAdaptivePool2d(pool_type="avg", flatten=True)))
    layers.append(("head", nn.Linear(current, units)))
    module = nn.Sequential(OrderedDict(layers))
    names = [name for name, _ in layers if name != "pool"]
    return ModuleNetwork(module.eval(), _blocks_by_prefix(module, names))


def _timm_model(name: str, image_shape: Sequence[int], units: int) -> ModuleNetwork:
    import timm
    from timm.models import group_parameters

    channels, height, width = image_shape
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:3]
        raise DriftboardError(
            f"timm has no model '{name}'" + (f"; did you mean {', '.join(near)}?" if near else "")
        )
    options: dict[str, Any] = {"num_classes": units, "in_chans": channels}
    module: Any
    try:
        try:
            module = timm.create_model(name, **options, img_size=(height, width))
        except TypeError:  # convolutional models take images of any size and no img_size
            module = timm.create_model(name, **options)
        module.eval()
        with torch.no_grad():
            answer = module(torch.zeros(1, *image_shape))
    except (AssertionError, RuntimeError, ValueError) as error:  # how models refuse a size
        raise DriftboardError(
            f"timm's '{name}' cannot be used for images of {channels}x{height}x{width}: {error}"
        ) from error
    classifier = module.get_classifier()
    if not isinstance(classifier, nn.Module) or answer.shape != (1, units):
        raise DriftboardError(f"timm's '{name}' does not have one head with a row per class")
    _without_running_statistics(module)
    head = {id(value) for value in classifier.parameters()}
    stages = group_parameters(module, module.group_matcher(coarse=True))
    named = dict(module.named_parameters())
    blocks = [
        Block(f"stage{index}", tuple(n for n in names if id(named[n]) not in head))
        for index, names in enumerate(stages.values())
    ]
    last = Block("head", tuple(n for n, value in named.items() if id(value) in head))
    kept = tuple(block for block in blocks if block.parameters)
    return ModuleNetwork(module.eval(), (*kept, last))


def _without_running_statistics(module: nn.Module) -> None:
    """Replace batch norms by group norms, in place.

    Running statistics would change even in a frozen block, and ``vmap`` cannot keep a copy for
    every learner.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # timm's subclass of BatchNorm2d includes the activation that follows it.
            activation = getattr(child, "act", nn.Identity())
            setattr(module, name, nn.Sequential(_group_norm(child.num_features), activation))
        else:
            _without_running_statistics(child)


def _group_norm(channels: int, **_: object) -> nn.GroupNorm:
    """Return a group norm of at most 8 groups; it ignores the options that timm passes to norms."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _blocks_by_prefix(module: nn.Module, names: Sequence[str]) -> tuple[Block, ...]:
    parameters = [name for name, _ in module.named_parameters()]
    return tuple(
        Block(name, tuple(p for p in parameters if p.startswith(f"{name}."))) for name in names
    )

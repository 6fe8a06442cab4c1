"""Any classifier of timm, one block per stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from driftboard.strategies.base import Block, Scaling
from driftboard.suite.errors import DriftboardError
from driftboard.suite.training.networks.module import ModuleNetwork
from driftboard.suite.training.networks.norms import without_running_statistics
from driftboard.suite.training.networks.weights import load_body


def timm_model(
    name: str,
    image_shape: Sequence[int],
    units: int,
    pretrained: Mapping[str, Tensor] | None = None,
) -> ModuleNetwork:
    """Build a classifier of timm's.

    Without weights its batch norms become group norms. With them they stay as they are: in
    evaluation mode their running statistics are constants, their scale and shift are trained.

    Args:
        name: of the model.
        image_shape: channels, height, width.
        units: of the head.
        pretrained: weights by name, of all but the head.

    Raises:
        DriftboardError: timm has no such model, it cannot be used for these images, does not have
            one head, or the weights do not fit it.
    """
    module, answer = _created(name, image_shape, units)
    classifier = module.get_classifier()
    if not isinstance(classifier, nn.Module) or answer.shape != (1, units):
        raise DriftboardError(f"timm's '{name}' does not have one head with a row per class")
    scaling = None
    if pretrained is None:
        without_running_statistics(module)
    else:
        scaling = _scaling_of(module, name, image_shape[0])
        head = {id(value) for value in classifier.parameters()}
        names = [n for n, value in module.named_parameters() if id(value) in head]
        try:
            load_body(module, pretrained, names)
        except ValueError as error:
            raise DriftboardError(f"the weights do not fit timm's '{name}': {error}") from error
    return ModuleNetwork(module.eval(), _stages(module, classifier), scaling=scaling)


def _created(name: str, image_shape: Sequence[int], units: int) -> tuple[Any, Tensor]:
    """Return a model of timm's, and what it answers to one image."""
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:3]
        raise DriftboardError(
            f"timm has no model '{name}'" + (f"; did you mean {', '.join(near)}?" if near else "")
        )
    channels, height, width = image_shape
    options: dict[str, Any] = {"num_classes": units, "in_chans": channels}
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
    return module, answer


def _scaling_of(module: Any, name: str, channels: int) -> Scaling:
    """Return what timm says that images were scaled by in pretraining."""
    settings = module.pretrained_cfg
    mean, std = (torch.tensor(settings[key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    if len(mean) != channels:
        raise DriftboardError(
            f"the weights of timm's '{name}' are for images of {len(mean)} channels, and these "
            f"have {channels}; use it without weights, or colour images"
        )
    return Scaling(mean, std)


def _stages(module: Any, classifier: nn.Module) -> tuple[Block, ...]:
    """Return one block per stage, and the classifier as the head."""
    from timm.models import group_parameters

    head = {id(value) for value in classifier.parameters()}
    stages = group_parameters(module, module.group_matcher(coarse=True))
    named = dict(module.named_parameters())
    blocks = [
        Block(f"stage{index}", tuple(n for n in names if id(named[n]) not in head))
        for index, names in enumerate(stages.values())
    ]
    last = Block("head", tuple(n for n, value in named.items() if id(value) in head))
    kept = tuple(block for block in blocks if block.parameters)
    return (*kept, last)

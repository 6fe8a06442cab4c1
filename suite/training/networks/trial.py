"""Trying a network on a few images: is it a pure function, and can ``vmap`` map it?

What a user's code raises may be anything, so everything is caught where it is called.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import grad, vmap

from driftboard.strategies.base import Parameters
from driftboard.suite.errors import cause_of, place_of
from driftboard.suite.training.networks.module import ModuleNetwork
from driftboard.suite.training.untouched_module import UntouchedModule

ResultT = TypeVar("ResultT")

IMAGES = 3
TOLERANCE = 1e-3
"""How much answers in single precision may differ, relative to the largest."""


def of_user(what: str, call: Callable[[], ResultT]) -> ResultT:
    """Return what a user's code returns.

    Raises:
        ValueError: it raises; ``what`` names it.
    """
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} fails: {cause_of(error)}{place_of(error)}") from error


def check_answers(network: ModuleNetwork, image_shape: Sequence[int], units: int) -> None:
    """Check that a network is a pure function of parameters and images.

    Raises:
        ValueError: it fails, answers in another shape or not in finite numbers, or an answer
            depends on chance, on other images, or on another unit's row of the head; or it changes
            what it is given or itself, or does not use a parameter.
    """
    parameters, images = _parameters(network), _images(image_shape)
    module, before = UntouchedModule(network.module), images.clone()
    logits = _answers(network, parameters, images, units)
    if not torch.equal(images, before):
        raise ValueError("forward changes the images in place")
    again = _answers(network, parameters, images, units)
    if changed := module.changed():
        own = [name.removeprefix("task.network.module").removeprefix("'s ") for name in changed]
        named = " and ".join(name for name in own if name) or "the module's settings"
        raise ValueError(f"forward changes {named}; it has to leave the module as it is")
    if not torch.equal(again, logits):
        raise ValueError("forward gives two answers to one question; leave out what is random")
    alone = torch.cat([_answers(network, parameters, image[None], units) for image in images])
    if not _close(alone, logits):
        raise ValueError("an answer depends on the other images of a batch; it may not")
    _check_rows(network, parameters, images, logits)
    _check_use(network, parameters, images)


def can_be_mapped(network: ModuleNetwork, image_shape: Sequence[int]) -> bool:
    """Tell whether ``vmap`` gives two learners the gradients that each has alone."""
    parameters, images = _parameters(network), _images(image_shape)

    def loss(own: Parameters, seen: Tensor) -> Tensor:
        return network.logits(own, seen).logsumexp(dim=1).mean()

    both = {name: torch.stack([value, 0.9 * value]) for name, value in parameters.items()}
    try:
        together = vmap(grad(loss))(both, torch.stack([images, images.flip(0)]))
    except (Exception, SystemExit):  # such as a value that decides what comes next
        return False
    alone = of_user("the gradient", lambda: grad(loss)(parameters, images))
    return all(_close(together[name][0], value) for name, value in alone.items())


def _parameters(network: ModuleNetwork) -> Parameters:
    return {name: value.detach().clone() for name, value in network.module.named_parameters()}


def _images(image_shape: Sequence[int]) -> Tensor:
    return torch.randn(IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))


def _answers(network: ModuleNetwork, parameters: Parameters, images: Tensor, units: int) -> Tensor:
    what = f"forward of images {tuple(images.shape)}"
    with torch.no_grad():
        logits: object = of_user(what, lambda: network.logits(parameters, images))
    wanted = (len(images), units)
    if not isinstance(logits, Tensor):
        raise ValueError(f"{what} returns a {type(logits).__name__}; expected a tensor {wanted}")
    if tuple(logits.shape) != wanted or logits.dtype != torch.float32:
        raise ValueError(
            f"{what} returns {logits.dtype} {tuple(logits.shape)}; expected torch.float32 {wanted}"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(f"{what} returns numbers that are not finite")
    return logits


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(
        one, other, rtol=0.0, atol=TOLERANCE * max(1e-3, float(other.abs().max()))
    )


def _check_rows(
    network: ModuleNetwork, parameters: Parameters, images: Tensor, logits: Tensor
) -> None:
    """Check that the first row of the head decides the first logit and no other."""
    changed = dict(parameters)
    for name in network.head.parameters:
        changed[name] = parameters[name].clone()
        changed[name][0] += 1.0
    others = _answers(network, changed, images, logits.shape[1])[:, 1:]
    if not _close(others, logits[:, 1:]):
        raise ValueError(
            "a row of the head changes the logits of other units; return logits, without a softmax "
            "or a norm over them"
        )


def _check_use(network: ModuleNetwork, parameters: Parameters, images: Tensor) -> None:
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}

    def slopes() -> tuple[Tensor | None, ...]:
        total = network.logits(leaves, images).square().sum()
        return torch.autograd.grad(total, list(leaves.values()), allow_unused=True)

    for name, slope in zip(leaves, of_user("the gradient", slopes), strict=True):
        if slope is None:
            raise ValueError(f"no answer depends on parameter '{name}'; leave it out")

"""Counting floating-point operations: the multiplications and additions of matrix products,
convolutions and attention, each for one. Nothing else is counted.

Where one learner is trained alone, the numbers are those of ``torch.utils.flop_counter``. That does
not serve for many at once: it leaves out the product of a matrix and a vector, which ``vmap`` makes
one of matrices, and counts the gradient of a grouped convolution, which ``vmap`` makes of those of
many learners, too often.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def _product(one: Tensor, other: Tensor, **_: Any) -> int:
    """Return the operations of (..., n, m) times (..., m, p), (m, p) or (m,)."""
    return 2 * one.numel() * (other.shape[-1] if other.dim() > 1 else 1)


def _added_product(_: Tensor, one: Tensor, other: Tensor, **__: Any) -> int:
    return _product(one, other)


def _sliding(weight: Tensor, places: Tensor) -> int:
    """Return the operations of weights that are applied at every place of every image."""
    return 2 * weight.numel() * places.shape[0] * places.shape[2:].numel()


def _convolution(images: Tensor, weight: Tensor, *others: Any, made: Tensor) -> int:
    _, _, _, _, transposed, *_ = others
    return _sliding(weight, images if transposed else made)


def _convolution_backward(
    slope: Tensor, images: Tensor, weight: Tensor, *others: Any, **_: Any
) -> int:
    _, _, _, _, transposed, _, _, (of_images, of_weight, _) = others
    times: int = of_images + of_weight
    return times * _sliding(weight, images if transposed else slope)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Return the operations of the query times the keys, and of what results times the values."""
    return 2 * query.shape[:-1].numel() * key.shape[-2] * (key.shape[-1] + value.shape[-1])


def _attention_backward(slope: Tensor, *given: Any, **_: Any) -> int:
    return 2 * _attention(*given)


_BY_NAME: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), _product),
    **dict.fromkeys(("addmm", "addbmm", "baddbmm", "addmv"), _added_product),
    **dict.fromkeys(("addmm_", "addbmm_", "baddbmm_", "addmv_"), _added_product),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}
for _kind in (
    "flash_attention",
    "flash_attention_for_cpu",
    "efficient_attention",
    "cudnn_attention",
):
    _BY_NAME[f"_scaled_dot_product_{_kind}"] = _attention
    _BY_NAME[f"_scaled_dot_product_{_kind}_backward"] = _attention_backward

_FORMULAS = {
    getattr(operation, overload): formula
    for name, formula in _BY_NAME.items()
    for operation in [getattr(torch.ops.aten, name)]
    for overload in {"default", "out"}.intersection(operation.overloads())
}


def per_learner(total: int, learners: int) -> int:
    """Return the operations of one of several learners that do the same, rounded up.

    What does not depend on the learner is done once for all of them, which is the only case where
    there is anything to round.
    """
    return -(-total // learners)


class CountedOperations(TorchDispatchMode):
    """Counts the operations of a block.

    >>> with CountedOperations() as counted:
    ...     product = torch.ones(2, 3) @ torch.ones(3, 5)
    >>> counted.total
    60
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        options = kwargs or {}
        formula = _FORMULAS.get(func)
        if formula is None and torch.is_inference_mode_enabled():
            # There a linear layer, for one, comes whole. Elsewhere autograd has taken it apart.
            with self:
                made = func.decompose(*args, **options)
            if made is not NotImplemented:
                return made
        made = func(*args, **options)
        if formula is not None:
            self.total += formula(*args, **options, made=made)
        return made

"""A GPU where there is none: tensors of the CPU that say they are elsewhere, and a watch on them.

With them a strategy takes the way that it takes on a GPU, and what a GPU would refuse is found:
tensors of two devices in one operation, a step that waits for the host or copies from it and so
cannot be recorded, and operations that have no deterministic form there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

ELSEWHERE = torch.device("meta")
"""What the pretended GPU is called: automatic differentiation needs the driver of a real one."""

REFUSED = frozenset(
    {
        # of the list of torch.use_deterministic_algorithms, what strategies for images may use
        "aten::_adaptive_avg_pool2d_backward",
        "aten::adaptive_max_pool2d_backward",
        "aten::avg_pool3d_backward",
        "aten::nll_loss2d_forward",
        "aten::upsample_bilinear2d_backward",
        "aten::reflection_pad2d_backward",
        "aten::grid_sampler_2d_backward",
        "aten::histc",
        "aten::median.dim",
        "aten::put_",
        "aten::scatter_reduce.two",
    }
)
"""Operations that raise an error on a GPU where kernels have to be deterministic."""

WAITING = frozenset(
    {
        "aten::_local_scalar_dense",
        "aten::nonzero",
        "aten::masked_select",
        "aten::_unique2",
        # Where kernels have to be deterministic, these are index_put with accumulation: a sort,
        # before which some versions of torch look at the indices' range on the host.
        "aten::index_put",
        "aten::index_put_",
        "aten::scatter_add",
        "aten::scatter_add_",
        "aten::index_add",
        "aten::index_add_",
    }
)
"""Operations for whose result the host waits, or may."""

_COPIES = frozenset(
    {
        "aten::_to_copy",
        "aten::copy_",
        # Others are passed a number of the CPU with their kernel; this one copies it first.
        "aten::where.self",
    }
)
"""Operations that bring a tensor of the CPU to the GPU, if they are given one."""


class MixedDevicesError(RuntimeError):
    """An operation was given tensors of the CPU and of the pretended GPU."""


class Operation(NamedTuple):
    """What was done, and whether tensors were elsewhere before and after."""

    name: str
    reads: bool  # tensors that were elsewhere
    takes: bool  # tensors that were not
    makes: bool  # tensors elsewhere

    @property
    def holds_up(self) -> bool:
        """Whether a recorded step cannot have it: the host waits, or its memory is read."""
        comes = self.name in _COPIES and self.takes and self.makes
        goes = self.reads and not self.makes
        return self.name in WAITING or comes or goes


class _Elsewhere(Tensor):
    """A tensor that says it is elsewhere, around one of the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "_Elsewhere":
        made: _Elsewhere = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        return made

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it as a static method
        cls, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        raise RuntimeError(f"{func} outside of the pretended GPU")


def _held(value: Any) -> Any:
    """Return the tensor of the CPU behind one that says it is elsewhere; anything else as it is."""
    return value.held if isinstance(value, _Elsewhere) else value


class _Made(TorchFunctionMode):
    """Makes tensors of numbers where they are wanted, by way of the CPU, as for a GPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func is Tensor.new_tensor:
            like, *args = args
            options = {"dtype": like.dtype, "device": like.device} | options
            func = torch.tensor
        if func in (torch.tensor, torch.as_tensor) and options.get("device") is not None:
            return func(*args, **options | {"device": "cpu"}).to(options["device"])
        return func(*args, **options)


def _name(func: Any) -> str:
    """Return an operation's name as torch's own lists have it."""
    schema = func._schema
    return f"{schema.name}.{schema.overload_name}" if schema.overload_name else str(schema.name)


@contextmanager
def pretended_gpu() -> Iterator[list[Operation]]:
    """Do in this block on the CPU what is asked of a GPU, and write it down in the list.

    In it ``tensor.to(ELSEWHERE)`` brings a tensor there. One operation on both raises
    MixedDevicesError.
    """
    operations: list[Operation] = []
    with _Made(), _Done(operations):
        yield operations


class _Done(TorchDispatchMode):
    """Does every operation, and writes it down."""

    def __init__(self, operations: list[Operation]) -> None:
        TorchDispatchMode.__init__(self)
        self._operations = operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        given = [leaf for leaf in pytree.tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        there = [leaf for leaf in given if isinstance(leaf, _Elsewhere)]
        here = [leaf for leaf in given if not isinstance(leaf, _Elsewhere)]
        name = _name(func)
        # A number in a tensor may come from the host; it is passed on with the kernel.
        if there and any(leaf.dim() for leaf in here) and name != "aten::copy_":
            raise MixedDevicesError(f"tensors of the CPU and of the GPU meet in {name}")
        makes = self._goes_elsewhere(name, args, options, bool(there))
        if options.get("device") is not None:
            options["device"] = torch.device("cpu")
        self._operations.append(Operation(name, bool(there), bool(here), makes))
        result = func(*pytree.tree_map(_held, args), **pytree.tree_map(_held, options))
        if torch.Tag.inplace_view in func.tags and there:
            with no_dispatch():  # the tensor around it has to take its shape, too
                func(*args, **options)
        same = {id(tensor.held): tensor for tensor in there}

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor) or not makes:
                return value
            return same[id(value)] if id(value) in same else _Elsewhere(value)

        return pytree.tree_map(placed, result)

    @staticmethod
    def _goes_elsewhere(name: str, args: Any, options: Mapping[str, Any], reads: bool) -> bool:
        """Tell where an operation's results belong."""
        if name == "aten::copy_":
            return isinstance(args[0], _Elsewhere)
        asked = options.get("device")
        return reads if asked is None else torch.device(asked) == ELSEWHERE

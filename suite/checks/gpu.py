"""The check of a strategy on a GPU, without one: CPU tensors that claim to be on another device.

With these tensors a strategy takes the code path that it takes on a GPU. The check finds what a
GPU would reject: operations on tensors of two devices, operations without a deterministic form,
and steps that wait for the host or copy from it, so that no CUDA graph can record them.

This rests on torch's private ``_python_dispatch`` and ``_mode_utils``; the tests of this module
show whether a new version of torch still behaves as described here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from driftboard.suite.checks.target import Result, Target, learn
from driftboard.suite.checks.tiny import NETWORKS, TRAINING, tiny_cohort
from driftboard.suite.errors import StrategyError
from driftboard.suite.training.cuda_graph import WARM_UP, GraphRunner, StepFunction
from driftboard.suite.training.networks import Mode

SEEDS = (0, 1)

LONGER = replace(TRAINING, minimum_steps=WARM_UP + 2)
"""Long enough that steps are recorded."""

ELSEWHERE = torch.device("meta")
"""The device of the pretended GPU; with "cuda" autograd would look for the driver of a real one."""

REFUSED = frozenset(
    {
        # From the list of torch.use_deterministic_algorithms, those that images may need.
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
"""Operations that raise an error on a GPU in deterministic mode."""

WAITING = frozenset(
    {
        "aten::_local_scalar_dense",
        "aten::nonzero",
        "aten::masked_select",
        "aten::_unique2",
        # In deterministic mode these become index_put with accumulation, which is a sort; some
        # versions of torch first check the range of the indices on the host.
        "aten::index_put",
        "aten::index_put_",
        "aten::scatter_add",
        "aten::scatter_add_",
        "aten::index_add",
        "aten::index_add_",
    }
)
"""Operations after which the host waits, or may wait, for the GPU."""

_COPIES = frozenset(
    {
        "aten::_to_copy",
        "aten::copy_",
        # Other operations pass a CPU scalar as an argument of the kernel; this one copies it.
        "aten::where.self",
    }
)
"""Operations that copy a CPU tensor to the GPU when they get one."""


class MixedDevicesError(RuntimeError):
    """An operation got tensors of both the CPU and the pretended GPU."""


class Operation(NamedTuple):
    """An operation, and on which device its arguments and results were."""

    name: str
    reads: bool  # tensors of the pretended GPU
    takes: bool  # tensors of the CPU
    makes: bool  # tensors of the pretended GPU

    @property
    def synchronizes(self) -> bool:
        """Whether a recorded step cannot contain it: the host waits for it, or feeds it."""
        comes = self.name in _COPIES and self.takes and self.makes
        goes = self.reads and not self.makes
        return self.name in WAITING or comes or goes


class _Elsewhere(Tensor):
    """Wraps a CPU tensor and claims to be on the device ``ELSEWHERE``."""

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
    """Return the CPU tensor inside of a wrapper; anything else unchanged."""
    return value.held if isinstance(value, _Elsewhere) else value


class _TensorsFromNumbers(TorchFunctionMode):
    """Makes ``torch.tensor(..., device=ELSEWHERE)`` a CPU tensor that is then copied there.

    That is how torch does it for a real GPU; on the meta device it would drop the numbers.
    """

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
    """Return the name of an operation as in torch's own lists, such as "aten::median.dim"."""
    schema = func._schema
    return f"{schema.name}.{schema.overload_name}" if schema.overload_name else str(schema.name)


@contextmanager
def pretended_gpu() -> Iterator[list[Operation]]:
    """Run operations on the pretended GPU within this block; yield the list that records them.

    ``tensor.to(ELSEWHERE)`` moves a tensor there. An operation on tensors of both devices raises
    MixedDevicesError.

    >>> with pretended_gpu() as operations:
    ...     total = torch.ones(2).to(ELSEWHERE) + 1
    >>> [operation.name for operation in operations]
    ['aten::ones', 'aten::_to_copy', 'aten::add.Tensor']
    """
    operations: list[Operation] = []
    with _TensorsFromNumbers(), _Recording(operations):
        yield operations


class _Recording(TorchDispatchMode):
    """Runs every operation on the wrapped CPU tensors, and records it."""

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
        # A zero-dimensional CPU tensor is allowed: it is passed as an argument of the kernel.
        if there and any(leaf.dim() for leaf in here) and name != "aten::copy_":
            raise MixedDevicesError(f"tensors of the CPU and of the GPU meet in {name}")
        makes = self._goes_elsewhere(name, args, options, bool(there))
        if options.get("device") is not None:
            options["device"] = torch.device("cpu")
        self._operations.append(Operation(name, bool(there), bool(here), makes))
        result = func(*pytree.tree_map(_held, args), **pytree.tree_map(_held, options))
        if torch.Tag.inplace_view in func.tags and there:
            with no_dispatch():  # such as unsqueeze_: the wrapper needs the new shape, too
                func(*args, **options)
        same = {id(tensor.held): tensor for tensor in there}

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor) or not makes:
                return value
            return same[id(value)] if id(value) in same else _Elsewhere(value)

        return pytree.tree_map(placed, result)

    @staticmethod
    def _goes_elsewhere(name: str, args: Any, options: Mapping[str, Any], reads: bool) -> bool:
        """Tell whether the results of an operation are on the pretended GPU."""
        if name == "aten::copy_":
            return isinstance(args[0], _Elsewhere)
        asked = options.get("device")
        return reads if asked is None else torch.device(asked) == ELSEWHERE


def gpu_results(target: Target) -> list[Result]:
    """Train on the pretended GPU; a step that synchronizes is slow there, which is a warning."""
    warning = None
    for network in NETWORKS:
        result = _result(target, network)
        if result is not None and result.status == "FAILED":
            return [result]
        warning = warning or result
    steps = "steps are recorded" if target.strategy.vectorized else "steps are not recorded"
    return [warning or Result("gpu", "ok", f"tensors are where they are needed; {steps}")]


def _result(target: Target, network: str) -> Result | None:
    """Return what is wrong on one network, if anything."""
    synchronizing: set[str] = set()

    def record(step: StepFunction, place: Tensor) -> Callable[[], None]:
        def replay() -> None:
            began = len(operations)
            step(place)
            synchronizing.update(each.name for each in operations[began:] if each.synchronizes)

        return replay

    try:
        with pretended_gpu() as operations:
            # Hooks that are not mapped may wait for the host; their steps are not recorded.
            mapped = target.strategy.vectorized
            mode: Mode = "vmap" if mapped else "loop"
            cohort = tiny_cohort(network, SEEDS if mapped else SEEDS[:1]).on(ELSEWHERE)
            runner = GraphRunner(record) if mapped else None
            learn(replace(cohort, training=LONGER), target.fresh().strategy, mode, runner)
    except StrategyError as error:
        return _of_error(error, network)
    if refused := {each.name for each in operations} & REFUSED:
        found = f"{_named(refused)} has no deterministic form on a GPU, and is refused there"
        return Result("gpu", "FAILED", f"{found} [{network}]; use another operation")
    if synchronizing:
        found = f"{_named(synchronizing)} in a step waits for the host, or copies from it"
        advice = "on a GPU every step is slow then; take task.loss, make constants with torch.full"
        return Result("gpu", "warning", f"{found} [{network}]; {advice}")
    return None


def _of_error(error: StrategyError, network: str) -> Result:
    what = f"{error} [{network}]"
    if error.__cause__ is None:  # the engine rejected a result that is on the wrong device
        return Result("gpu", "FAILED", what, error)
    if isinstance(error.__cause__, MixedDevicesError):
        advice = "make tensors with zeros_like, new_zeros or device=task.noise.device"
        return Result("gpu", "FAILED", f"{what}; {advice}", error)
    return Result("gpu", "warning", f"could not be tried on a pretended GPU: {what}")


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

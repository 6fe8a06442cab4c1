"""Pretrained weights: a file of the data folder, read without running anything in it."""

import hashlib
import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from driftboard.suite.errors import DataError, cause_of, one_line
from driftboard.suite.places import find_data_folder
from driftboard.suite.sequences.network import Weights

MOST_BYTES = 2**30
"""Of a file. The models of a benchmark that runs on a CPU are far smaller."""

_DAMAGED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError, struct.error),
    *(pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError),
)
"""What the two readers raise for a file that is not what its name says."""

State = dict[str, Tensor]
"""Tensors by the names that ``state_dict`` gives them."""


def read_weights(weights: Weights, data: Path | None) -> State:
    """Return the tensors of a file of weights, on the CPU.

    Args:
        weights: the file and its digest.
        data: the data folder, if it is not Driftboard's own.

    Raises:
        DataError: the file is missing, too large, another one than the sequence names, or holds
            anything but tensors.
    """
    path = find_data_folder(data) / weights.file
    content = _content(path)
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise DataError(
            f"{path} has the SHA-256 digest {found}, and the sequence wants {weights.sha256}; put "
            "the right file there, or write the digest of this one if it is the right one"
        )
    return _tensors(content, path)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(
            f"there is no file of weights {path}; put it there, or name its folder with --data"
        )
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} has more than {MOST_BYTES} bytes, the most that weights may have")
    return content


def _tensors(content: bytes, path: Path) -> State:
    """Return what a file holds.

    Raises:
        DataError: it is damaged, is no file of its format, or would have to be trusted.
    """
    try:
        state = load_safetensors(content) if path.suffix == ".safetensors" else _unpickled(content)
    except _DAMAGED as error:
        raise DataError(
            f"{path} is no file of weights: {one_line(cause_of(error))}; save a state dict, "
            "tensors by name and nothing else, with safetensors or torch.save"
        ) from error
    if not isinstance(state, dict):
        raise DataError(f"{path} holds a {type(state).__name__}; save a state dict")
    for name, value in state.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided
        if not (isinstance(name, str) and plain and value.device.type == "cpu"):
            raise DataError(
                f"{path} holds {one_line(repr(name))[:80]}, a {type(value).__name__} and no tensor "
                "of the CPU; save the state dict of the model alone"
            )
    return dict(state)


def _unpickled(content: bytes) -> object:
    """Return what ``torch.save`` has written, if that is nothing but tensors in containers."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
    # What torch writes is not compressed; a small file that grows when it is read is an attack.
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > len(content):
        raise ValueError("its members are compressed, which torch.save does not do")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that are refused anyway
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def load_body(module: nn.Module, state: Mapping[str, Tensor], head: Collection[str]) -> None:
    """Set all parameters and buffers of a module but those of its head, in place.

    Args:
        module: on the CPU.
        state: the tensors, by their names in the module; those of the head are not used.
        head: the names of the head's parameters.

    Raises:
        ValueError: a tensor is missing, has no place, another shape, or a value that is not finite.
    """
    places = {name: place for name, place in module.state_dict().items() if name not in head}
    for name, place in places.items():
        if name.endswith("num_batches_tracked"):  # counted in training, and used nowhere else
            continue
        value = state.get(name)
        if value is None:
            raise ValueError(f"there is no tensor {name!r}")
        if value.shape != place.shape:
            raise ValueError(
                f"tensor {name!r} has the shape {tuple(value.shape)}, and {tuple(place.shape)} in "
                "the network"
            )
        if value.is_floating_point() != place.is_floating_point():
            raise ValueError(f"tensor {name!r} is {value.dtype}, and {place.dtype} in the network")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"tensor {name!r} has values that are not finite")
        place.copy_(value)  # shares its memory with the module's
    unknown = sorted(state.keys() - places.keys() - set(head))
    if unknown:
        raise ValueError(f"the network has no tensor {one_line(unknown[0])!r}")

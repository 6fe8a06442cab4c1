"""Reading pickles of plain values and byte arrays without running anything of theirs."""

import io
import pickle
from typing import Any

import numpy as np

from driftboard.suite.data.files import one_line
from driftboard.suite.data.pool import Images


def load_plain(content: bytes) -> Any:
    """Return what was pickled: containers, numbers, strings, and a ByteArray for each array.

    Raises:
        pickle.UnpicklingError: the pickle is damaged or holds anything else.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    # What pickle documents it may raise on damaged input, and what the stand-ins do.
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:
        raise pickle.UnpicklingError(one_line(error)) from error


class _DType:
    """Stands in for numpy.dtype while a pickle is read."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, _: object) -> None:
        """Byte order means nothing for the only type taken, single bytes."""


class ByteArray:
    """Stands in for numpy.ndarray, which trusts what a pickle tells it."""

    values: Images | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], _DType, bool, bytes | str]) -> None:
        """Take the array's values from the state that numpy pickled."""
        _, shape, kind, is_fortran, raw = state
        if kind.code != "u1":
            raise pickle.UnpicklingError(f"an array of type {kind.code!r} instead of bytes")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(content, np.uint8)
        self.values = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(*_: object) -> ByteArray:
    return ByteArray()


def _encode(text: str, _: str) -> bytes:
    """Stand in for _codecs.encode, by which Python 3 keeps bytes in pickles of protocol 2."""
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): ByteArray,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name of the pickle; refuse every other name."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module!r} {name!r}")
        return _STAND_INS[module, name]

"""Reading a JSON file of a known shape; whatever else the file is ends in one line."""

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import msgspec

from driftboard.suite.errors import RecordError

Shape = TypeVar("Shape")


def read_json(path: Path | Traversable, shape: type[Shape], name: str, advice: str) -> Shape:
    """Return what a JSON file holds, read as ``shape``.

    ``name`` says what the file should be, with its article, and ``advice`` what to do if it is
    not.

    Raises:
        RecordError: the file is unreadable, truncated, of another schema or inconsistent.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{path} is not {name}: {error}; {advice}") from error

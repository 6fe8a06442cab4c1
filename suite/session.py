"""Objects of a Python session, which ``driftboard.run`` keeps in files for worker processes."""

import io
import linecache
import pickle
import sys
from collections import ChainMap
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from driftboard.suite.errors import DriftboardError, cause_of, is_cell, one_line, place_of
from driftboard.suite.records import write_atomically

SESSION_SUFFIX = ".pkl"


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Keeps the files that code comes from, whose lines messages quote; cloudpickle drops them."""

    @staticmethod
    def _reduced(code: CodeType) -> tuple[Any, ...]:
        _, arguments = cloudpickle.Pickler.dispatch_table[CodeType](code)
        return _code, (code.co_filename, *arguments)

    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: _reduced}, cloudpickle.Pickler.dispatch_table
    )


def _code(file: str, *arguments: Any) -> CodeType:
    return CodeType(*arguments).replace(co_filename=file)


def write_session_object(path: Path, content: Any, source: str) -> None:
    """Write a class or a task sequence of a Python session so that worker processes find it.

    It is written by value, for they may not be able to import its module. Only ``driftboard.run``
    writes such a file, into its own results folder.

    Args:
        path: of the file.
        content: the class or the task sequence.
        source: the text whose digest records carry.

    Raises:
        DriftboardError: it refers to what cannot be copied, such as an open file.
    """
    home = content.__module__
    module = sys.modules.get(home)
    by_value = module is not None and home != "__main__" and home.split(".")[0] != "driftboard"
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        cells = {name: linecache.getlines(name) for name in [*linecache.cache] if is_cell(name)}
        pickled = io.BytesIO()
        _Pickler(pickled).dump((content, source, cells))
    except Exception as error:  # pickling runs code of whatever the object refers to
        name = getattr(content, "__name__", home)
        raise DriftboardError(
            f"{name} cannot be sent to worker processes: {one_line(str(error))}; "
            "create what cannot be copied within its methods"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    write_atomically(path, pickled.getvalue())


def read_session_object(path: Path) -> tuple[Any, str]:
    """Return content and source that ``write_session_object`` wrote.

    This runs code of whoever wrote the file, as importing a Python file does.

    Raises:
        DriftboardError: the file is missing or does not load.
    """
    try:
        content, source, cells = pickle.loads(path.read_bytes())
    except Exception as error:  # anything may come out of somebody else's code
        raise DriftboardError(
            f"{path} does not load: {cause_of(error)}{place_of(error)}; pass the object to "
            "driftboard.run again"
        ) from error
    for name, lines in cells.items():  # no file has them, and messages quote them
        linecache.cache.setdefault(name, (sum(map(len, lines)), None, lines, name))
    return content, source

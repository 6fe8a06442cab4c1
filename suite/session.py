"""Objects of a Python session, which ``driftboard.run`` keeps in files for worker processes."""

import io
import linecache
import pickle
import sys
from collections import ChainMap
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from driftboard.suite.errors import DriftboardError, cause_of, is_cell, one_line, place_of
from driftboard.suite.records import write_atomically
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.source import File, Source
from driftboard.suite.source.modules import serve

SESSION_SUFFIX = ".pkl"


@dataclass(frozen=True)
class SessionSequence:
    """A task sequence of a session, with the digest of each of its classes of the user's own.

    They stand in the order of ``own_classes``. Each digest is of one class, whatever the others
    are: sequences that share a class, and are kept in files of their own, have to agree on it.
    """

    sequence: TaskSequence
    digests: tuple[str, ...]


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


def write_session_object(path: Path, content: Any, code: Source) -> None:
    """Write a class or a task sequence of a Python session so that worker processes find it.

    It is written by value, for they may not be able to import its module; what it imports of the
    user's modules goes along as files. Only ``driftboard.run`` writes such a file, into its own
    results folder.

    Args:
        path: of the file.
        content: the class or the task sequence.
        code: what it consists of, with all files that it imports.

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
        _Pickler(pickled).dump((content, cells))
    except Exception as error:  # pickling runs code of whatever the object refers to
        name = getattr(content, "__name__", home)
        raise DriftboardError(
            f"{name} cannot be sent to worker processes: {one_line(str(error))}; "
            "create what cannot be copied within its methods"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    write_atomically(path, pickle.dumps((code, pickled.getvalue())))


def read_session_file(path: Path) -> Source:
    """Return what ``write_session_object`` wrote, as any other process can read it.

    Raises:
        DriftboardError: the file is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _not_loaded(str(path), error) from error
    return Source((File(path.name, str(path), content),), path.name)


def session_object(file: Source) -> tuple[Any, Source]:
    """Return content and code of what ``read_session_file`` returned.

    This runs code of whoever wrote the file, as importing a Python file does.

    Raises:
        DriftboardError: it does not load.
    """
    try:
        code, pickled = pickle.loads(file.files[0].content)
        serve(code)
        content, cells = pickle.loads(pickled)
    except Exception as error:  # anything may come out of somebody else's code
        raise _not_loaded(file.path, error) from error
    for name, lines in cells.items():  # no file has them, and messages quote them
        linecache.cache.setdefault(name, (sum(map(len, lines)), None, lines, name))
    return content, code


def _not_loaded(path: str, error: Exception) -> DriftboardError:
    return DriftboardError(
        f"{path} does not load: {cause_of(error)}{place_of(error)}; pass the object to "
        "driftboard.run again"
    )

"""Objects of a Python session, which ``driftboard.run`` keeps in files for worker processes."""

import pickle
import sys
from pathlib import Path
from typing import Any

from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.records import write_atomically

SESSION_SUFFIX = ".pkl"


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
    import cloudpickle

    home = content.__module__
    module = sys.modules.get(home)
    by_value = module is not None and home != "__main__" and home.split(".")[0] != "driftboard"
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled = cloudpickle.dumps((content, source))
    except Exception as error:  # pickling runs code of whatever the object refers to
        name = getattr(content, "__name__", home)
        raise DriftboardError(
            f"{name} cannot be sent to worker processes: {one_line(str(error))}; "
            "create what cannot be copied within its methods"
        ) from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    write_atomically(path, pickled)


def read_session_object(path: Path) -> tuple[Any, str]:
    """Return content and source that ``write_session_object`` wrote.

    This runs code of whoever wrote the file, as importing a Python file does.

    Raises:
        DriftboardError: the file is missing or does not load.
    """
    try:
        content, source = pickle.loads(path.read_bytes())
    except Exception as error:  # anything may come out of somebody else's code
        raise DriftboardError(
            f"{path} does not load: {error}; pass the object to driftboard.run again"
        ) from error
    return content, source

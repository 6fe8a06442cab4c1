"""Strategies and sequences of a Python session, written so that worker processes load them."""

import dataclasses
import hashlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftboard.suite.errors import DriftboardError, StrategyError

if TYPE_CHECKING:
    from driftboard.strategies.base import Strategy
    from driftboard.suite.sequences.task_sequence import TaskSequence


def specifications(
    strategies: "Iterable[str | Strategy | type[Strategy]]", folder: Path
) -> list[str]:
    """Return the text by which any process loads each strategy; classes are kept in ``folder``.

    Raises:
        StrategyError: something is neither a name, a strategy nor a class of strategies.
    """
    from driftboard.strategies.base import Strategy

    found = []
    for one in strategies:
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, type) and issubclass(one, Strategy):
            found.append(_specification(_instance(one), folder))
        elif isinstance(one, Strategy):
            found.append(_specification(one, folder))
        else:
            raise StrategyError(
                f"{one!r} is no strategy; give a name, a subclass of driftboard.Strategy or an "
                "object of one"
            )
    return found


def _instance(kind: "type[Strategy]") -> "Strategy":
    try:
        return kind()
    except TypeError as error:
        raise StrategyError(f"{kind.__name__}() fails: {error}; give fields defaults") from None


def _specification(strategy: "Strategy", folder: Path) -> str:
    from driftboard.strategies.catalogue import BUILTIN, FURTHER
    from driftboard.suite.loading import SESSION_SUFFIX, SessionObject, write_session_object

    for name, known in (BUILTIN | FURTHER).items():
        if strategy == known:
            return name
    kind = type(strategy)
    if kind.__module__.startswith("driftboard.strategies."):
        return ",".join([kind.name, *_settings(strategy)])
    source = source_of(kind)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    path = folder / f"{kind.__name__}-{digest}{SESSION_SUFFIX}"
    write_session_object(path, SessionObject(kind, source))
    return ",".join([str(path), *_settings(strategy)])


def _settings(strategy: "Strategy") -> list[str]:
    """Return ``field=value`` for every field that is not at its default, in order."""
    return [
        f"{field.name}={getattr(strategy, field.name)}"
        for field in dataclasses.fields(strategy)
        if getattr(strategy, field.name) != field.default
    ]


def source_of(kind: type) -> str:
    """Return the source of a class, whose digest tells its versions apart in records.

    Of a class in a module that is the whole file, as for a file named on the command line; of one
    written in a script or a notebook the class alone, since a script's other lines say what is run
    and not how. What such a class uses of the lines around it is not covered.
    """
    if kind.__module__ != "__main__":
        try:
            return Path(inspect.getfile(kind)).read_text("utf-8")
        except (OSError, TypeError):
            pass  # made by exec, say
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):  # a notebook's class has no file, its methods have
        return "\n".join(_text_of(name, value) for name, value in sorted(vars(kind).items()))


def _text_of(name: str, value: Any) -> str:
    """Return a class member as text that depends on nothing but what was written."""
    if not inspect.isfunction(value):
        return f"{name} = {value!r}" if isinstance(value, bool | int | float | str) else name
    try:
        return inspect.getsource(value)
    except OSError:  # made by dataclass, or typed where nothing is kept
        code = value.__code__
        return f"{name}: {code.co_code.hex()} {code.co_names} {code.co_varnames}"


def sequence_files(
    sequences: "Iterable[str | TaskSequence]", folder: Path
) -> tuple[list[str], tuple[Path, ...]]:
    """Return names of, or patterns for, sequences, and files that hold those of the session.

    Raises:
        DriftboardError: something is neither a name nor a ``TaskSequence``.
    """
    from driftboard.suite.loading import SESSION_SUFFIX, SessionObject, write_session_object
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.sequences.task_sequence import TaskSequence

    known, names, files = registered(), [], []
    for one in sequences:
        if isinstance(one, str):
            names.append(one)
        elif isinstance(one, TaskSequence):
            names.append(one.name)
            if known.get(one.name) != one:
                path = folder / f"sequence-{one.hash()[:12]}{SESSION_SUFFIX}"
                write_session_object(path, SessionObject(one, repr(one)))
                files.append(path)
        else:
            raise DriftboardError(f"{one!r} is no sequence; give names or TaskSequence objects")
    return names, tuple(files)

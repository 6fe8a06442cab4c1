"""Strategies and sequences of a Python session, written so that worker processes load them."""

import dataclasses
import dis
import functools
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from driftboard.suite.errors import DriftboardError, StrategyError, cause_of, of_library, place_of

if TYPE_CHECKING:
    from driftboard.strategies.base import Strategy
    from driftboard.suite.loading import LoadedStrategy
    from driftboard.suite.sequences.task_sequence import TaskSequence

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def load_strategies(
    strategies: "str | Strategy | type[Strategy] | Iterable[str | Strategy | type[Strategy]]",
    folder: Path,
) -> "list[LoadedStrategy]":
    """Return strategies such that any process can load them; classes are kept in ``folder``.

    Raises:
        StrategyError: something is neither a name, a strategy nor a class of strategies, or a
            worker process would not get the same strategy.
    """
    from driftboard.strategies.base import Strategy
    from driftboard.suite.loading import load_strategy

    alone = isinstance(strategies, str | Strategy | type)
    loaded = []
    for one in [strategies] if alone else strategies:  # type: ignore[union-attr]
        if isinstance(one, str):
            loaded.append(load_strategy(one))
            continue
        strategy = _instance(one)
        loaded.append(load_strategy(*_specification(strategy, folder)))
        _check_same(strategy, loaded[-1].strategy)
    return loaded


def _instance(one: object) -> "Strategy":
    from driftboard.strategies.base import Strategy

    if isinstance(one, Strategy):
        return one
    if not (isinstance(one, type) and issubclass(one, Strategy)):
        raise StrategyError(
            f"{one!r} is no strategy; give a name, a subclass of driftboard.Strategy or an "
            "object of one"
        )
    try:
        return one()
    except Exception as error:  # the constructor of a user's class may raise anything
        raise StrategyError(
            f"{one.__name__}() fails: {cause_of(error)}{place_of(error)}; give every field a sound "
            "default"
        ) from error


def _specification(
    strategy: "Strategy", folder: Path
) -> "tuple[str, tuple[type[Strategy], str] | None]":
    """Return what ``load_strategy`` takes."""
    from driftboard.strategies.catalogue import BUILTIN, FURTHER
    from driftboard.suite.session import SESSION_SUFFIX, write_session_object

    builtin = BUILTIN | FURTHER
    for name, known in builtin.items():
        if strategy == known:
            return name, None
    kind = type(strategy)
    text, base, session = kind.name, builtin.get(kind.name), None
    if base is None or type(base) is not kind:
        source, base = source_of(kind), _instance(kind)
        session = (kind, source)
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        path = folder / f"{kind.__name__}-{digest}{SESSION_SUFFIX}"
        write_session_object(path, kind, source)
        text = str(path)
    values = [(f.name, getattr(strategy, f.name)) for f in dataclasses.fields(strategy)]
    changed = [f"{name}={value}" for name, value in values if value != getattr(base, name)]
    return ",".join([text, *changed]), session


def _check_same(given: "Strategy", loaded: "Strategy") -> None:
    """Check that nothing plain that a strategy's object holds is lost on the way."""
    lost = [
        name
        for name, value in vars(given).items()
        if isinstance(value, PLAIN)
        and not isinstance(getattr(type(given), name, None), functools.cached_property)
        and getattr(loaded, name, None) != value
    ]
    if lost:
        raise StrategyError(
            f"{', '.join(lost)} of {type(given).__name__} would be lost, for only the fields of a "
            "@dataclass(frozen=True) reach the workers and the records; make a field of each"
        )


# What tells the versions of a class apart in records.


def source_of(kind: type) -> str:
    """Return text that differs where what a class does differs; records carry its digest.

    Of a class in a module that is the whole file, as for a file named on the command line, with
    the files of its bases. Of a class in a script or a notebook, and where a file has changed
    since it was imported, it is the code: of all methods and bases, and of the functions, classes
    and values around them that they use. So comments do not count there, and other cells only as
    far as they matter; but another minor version of Python, with other bytecode, does.
    """
    own = [one for one in kind.__mro__ if not _of_library(one)] or [kind]
    return "".join(dict.fromkeys(_file_of(one) or _described(one, set()) for one in own))


def _of_library(value: Any) -> bool:
    """Tell whether a class or function is of Python, of an installed package or of ours."""
    name = str(value.__module__)
    if name == "__main__":  # whatever started it
        return False
    return of_library(name, getattr(sys.modules.get(name), "__file__", None) or "")


def _file_of(kind: type) -> str:
    """Return the file of a class, or nothing if it is not of a module or not what the file says."""
    if kind.__module__ == "__main__":
        return ""
    try:
        path = inspect.getfile(kind)
        content = Path(path).read_bytes()
        codes = set(_nested(compile(content, path, "exec", dont_inherit=True)))
        functions = [_unwrapped(value) for value in vars(kind).values()]
        used = {one.__code__ for one in functions if isinstance(one, FunctionType)}
        return content.decode() if {c for c in used if c.co_filename == path} <= codes else ""
    except (OSError, SyntaxError, TypeError, ValueError):  # TypeError: its module has no file
        return ""


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _nested(one)


def _unwrapped(member: Any) -> Any:
    """Return the function behind a member of a class such as a property."""
    if isinstance(member, staticmethod | classmethod):
        return member.__func__
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    # What functools.cache returns is no function; another wrapper closes over what it wraps.
    return member if isinstance(member, FunctionType) else getattr(member, "__wrapped__", member)


def _described(value: Any, seen: set[int]) -> str:
    """Return text that depends on nothing but what was written; ``seen`` are the parents."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_described(one, seen) for one in value)}]"
    if isinstance(value, dict):
        return _described(list(value.items()), seen)
    if isinstance(value, set | frozenset):
        return str(sorted(_described(one, seen) for one in value))
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, CodeType):
        parts = (value.co_code, value.co_names, value.co_varnames, value.co_consts)
        return _described(parts, seen)
    value = _unwrapped(value)
    if isinstance(value, functools.partial):
        return _described((value.func, value.args, value.keywords), seen)
    if isinstance(value, MethodType):
        return _described((value.__func__, value.__self__), seen)
    if not isinstance(value, type | FunctionType):
        known = id(value) in seen
        seen.add(id(value))
        return f"{type(value).__qualname__} {'' if known else _described(_content(value), seen)}"
    if id(value) in seen or _of_library(value):
        return f"{value.__module__}.{value.__qualname__}"
    seen.add(id(value))
    members = _members(value) if isinstance(value, type) else _surroundings(value)
    return f"{value.__qualname__} {_described(members, seen)}"


def _content(value: Any) -> Any:
    """Return what an object holds, as far as it is of numbers or of a class whose parts we know."""
    if hasattr(value, "tolist"):  # of NumPy and torch
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None if _of_library(type(value)) else (type(value), getattr(value, "__dict__", None))


def _members(kind: type) -> dict[str, Any]:
    """Return the bases and members of a class without what Python and dataclasses add."""
    members = {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__")
        or name == "__post_init__"
        or (isinstance(value, FunctionType) and value.__code__.co_filename != "<string>")
    }
    return {"bases": kind.__bases__, **dict(sorted(members.items()))}


def _surroundings(function: FunctionType) -> dict[str, Any]:
    """Return a function's code, its defaults, and what it uses of the lines around it."""
    names = {
        instruction.argval
        for code in _nested(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    used = {name: function.__globals__[name] for name in sorted(names & {*function.__globals__})}
    cells = function.__closure__ or ()
    closure = [cell.cell_contents for cell in cells]
    defaults = (function.__defaults__, function.__kwdefaults__)
    return {"code": function.__code__, "defaults": defaults, "closure": closure, "uses": used}


def load_all_sequences(
    sequences: "Iterable[str | TaskSequence]", folder: Path
) -> "tuple[list[str], tuple[Path, ...], dict[str, TaskSequence]]":
    """Return names of, or patterns for, sequences, files that hold those of the session, and all.

    Raises:
        DriftboardError: something is neither a name nor a ``TaskSequence``, one of these is not
            sound, or two different sequences have one name.
    """
    from driftboard.suite.loading import add_sequence
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.sequences.task_sequence import TaskSequence
    from driftboard.suite.sequences.validation import problem_of
    from driftboard.suite.session import SESSION_SUFFIX, write_session_object

    builtin, names = registered(), []
    own: dict[str, TaskSequence] = {}
    for one in sequences:
        if not isinstance(one, str | TaskSequence):
            raise DriftboardError(f"{one!r} is no sequence; give names or TaskSequence objects")
        if isinstance(one, TaskSequence) and (problem := problem_of(one)):
            raise DriftboardError(f"sequence {one.name!r}: {problem}")
        names.append(one if isinstance(one, str) else one.name)
        if isinstance(one, str) or builtin.get(one.name) == one:
            continue
        if one.name in builtin or own.setdefault(one.name, one) != one:
            raise DriftboardError(
                f"there is another sequence '{one.name}'; give yours a name of its own"
            )
    files, known = [], builtin
    for sequence in own.values():
        source = source_of(type(sequence.scenario))
        files.append(folder / f"sequence-{sequence.name}-{sequence.hash()[:12]}{SESSION_SUFFIX}")
        add_sequence(known, sequence, source, files[-1])
        write_session_object(files[-1], sequence, source)
    return names, tuple(files), known

"""Strategies and sequences of a Python session, written so that worker processes load them."""

import ast
import dataclasses
import dis
import functools
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from driftboard.suite.errors import DriftboardError, StrategyError, cause_of, place_of
from driftboard.suite.installed import is_installed
from driftboard.suite.source import Source
from driftboard.suite.source.code import source_text, syntax_tree
from driftboard.suite.source.modules import OwnModules

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
) -> "tuple[str, tuple[type[Strategy], Source] | None]":
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
        code, base = source_of(kind), _instance(kind)
        session = (kind, code)
        path = folder / f"{kind.__name__}-{code.digest[:12]}{SESSION_SUFFIX}"
        write_session_object(path, kind, code)
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


@dataclass
class _Seen:
    """What has been seen of what a class uses.

    Args:
        by_value: modules whose objects are sent as they are; those of the user's other modules are
            imported from the same files.
        files: these modules.
        objects: the identities of objects, so that each is described once.
    """

    by_value: set[str]
    files: OwnModules = field(default_factory=OwnModules)
    objects: set[int] = field(default_factory=set)

    def is_of_file(self, module: str) -> bool:
        """Tell whether a module is one of the user's that is imported anew; read it then."""
        return module not in self.by_value and self.files.find(module)


def source_of(*kinds: type) -> Source:
    """Return what classes consist of, so that it differs where what one of them does differs.

    Of a class in a module that is the module's file with all that it imports of the user's, as for
    a file named on the command line. Of a class in a script or a notebook, and where the file has
    changed since it was imported, it is a text of the code: of all methods and bases, and of the
    functions, classes and values around them that they use; what is in other modules of the user's
    counts as files. So comments do not count, and other cells only as far as they matter; but for a
    text another minor version of Python, with other bytecode, does.
    """
    seen = _Seen(by_value={"__main__", *(kind.__module__ for kind in kinds)})
    own = list(
        dict.fromkeys(
            one
            for kind in kinds
            for one in [base for base in kind.__mro__ if not _of_library(base)] or [kind]
        )
    )
    texts = [
        _described(one, seen)
        for one in own
        if not (_is_imported(one, seen) or _is_as_written(one, seen.files))
    ]
    return Source(seen.files.source.files, text="".join(texts))


def _of_library(value: Any) -> bool:
    """Tell whether a class or function is of Python, of an installed package or of ours."""
    name = str(value.__module__)
    if name == "__main__":  # whatever started it
        return False
    return is_installed(name, getattr(sys.modules.get(name), "__file__", None) or "")


def _is_imported(value: Any, seen: _Seen) -> bool:
    """Tell whether worker processes import a class or function from one of the user's files."""
    module, path = (getattr(value, name, None) for name in ("__module__", "__qualname__"))
    if not (isinstance(module, str) and isinstance(path, str)):
        return False
    found = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found is value and seen.is_of_file(module)


def _is_as_written(kind: type, files: OwnModules) -> bool:
    """Tell whether a class is what its file says, which may have changed since the import."""
    if kind.__module__ == "__main__" or not files.find(kind.__module__):
        return False
    file = files.files[kind.__module__]
    with suppress(SyntaxError, ValueError):
        text = source_text(file.content)
        codes, names = _uses(kind)
        written = set(_nested(compile(text, file.path, "exec", dont_inherit=True)))
        here = vars(sys.modules[kind.__module__])
        constants = [(name, value) for name, value in _constants(text) if name in names]
        if codes <= written and all(here.get(name, here) == value for name, value in constants):
            return True
    del files.files[kind.__module__]
    return False


def _uses(kind: type) -> tuple[set[CodeType], set[str]]:
    """Return the code of a class and of what it uses of its module, and the names in these."""
    codes: set[CodeType] = set()
    names: set[str] = set()
    waiting: list[Any] = [kind]
    while waiting:
        value = _unwrapped(waiting.pop())
        if getattr(value, "__module__", None) != kind.__module__:
            continue
        if isinstance(value, type):
            waiting += vars(value).values()
        elif isinstance(value, FunctionType) and value.__code__ not in codes:
            codes.add(value.__code__)
            new = {name for code in _nested(value.__code__) for name in code.co_names} - names
            waiting += [value.__globals__[name] for name in new if name in value.__globals__]
            names |= new
    # Decorators such as that of dataclasses make some of their own.
    own = {code for code in codes if not code.co_filename.startswith("<")}
    return {code for code in own if not is_installed("", code.co_filename)}, names


def _constants(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the names that a file gives to literals, and these."""
    for node in syntax_tree(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                yield name, value


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


def _described(value: Any, seen: _Seen) -> str:
    """Return text that depends on nothing but what was written; ``seen`` grows."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(_described(one, seen) for one in value)}]"
    if isinstance(value, dict):
        return _described(list(value.items()), seen)
    if isinstance(value, set | frozenset):
        return str(sorted(_described(one, seen) for one in value))
    if isinstance(value, ModuleType):
        seen.is_of_file(value.__name__)  # which reads it
        return value.__name__
    if isinstance(value, CodeType):
        parts = (value.co_code, value.co_names, value.co_varnames, value.co_consts)
        return _described(parts, seen)
    if _is_imported(value, seen):
        return f"{value.__module__}.{value.__qualname__}"
    value = _unwrapped(value)
    if isinstance(value, functools.partial):
        return _described((value.func, value.args, value.keywords), seen)
    if isinstance(value, MethodType):
        return _described((value.__func__, value.__self__), seen)
    if not isinstance(value, type | FunctionType):
        known = id(value) in seen.objects
        seen.objects.add(id(value))
        return f"{type(value).__qualname__} {'' if known else _described(_content(value), seen)}"
    if id(value) in seen.objects or _of_library(value):
        return f"{value.__module__}.{value.__qualname__}"
    seen.objects.add(id(value))
    members = _members(value) if isinstance(value, type) else _surroundings(value, seen)
    return f"{value.__qualname__} {_described(members, seen)}"


def _content(value: Any) -> Any:
    """Return what an object holds, as far as it is of numbers or of a class whose parts we know."""
    if hasattr(value, "tolist"):  # of NumPy and torch
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None if _of_library(type(value)) else (type(value), getattr(value, "__dict__", None))


def _members(kind: type) -> dict[str, Any]:
    """Return the bases and members of a class without what Python, dataclasses and we add."""
    members = {
        name: value
        for name, value in vars(kind).items()
        if name != "source_hash"  # which ``add_sequence`` writes
        and (
            not name.startswith("__")
            or name == "__post_init__"
            or (isinstance(value, FunctionType) and value.__code__.co_filename != "<string>")
        )
    }
    return {"bases": kind.__bases__, **dict(sorted(members.items()))}


def _surroundings(function: FunctionType, seen: _Seen) -> dict[str, Any]:
    """Return a function's code, its defaults, and what it uses of the lines around it."""
    codes = list(_nested(function.__code__))
    instructions = [instruction for code in codes for instruction in dis.get_instructions(code)]
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    names = {one.argval for one in instructions if one.opname in loads}
    used = {name: function.__globals__[name] for name in sorted(names & {*function.__globals__})}
    mentioned = {name for code in codes for name in code.co_names}
    for module in (*_imported_by(instructions), *_submodules(used.values(), mentioned)):
        seen.is_of_file(module)  # which reads it
    cells = function.__closure__ or ()
    closure = [cell.cell_contents for cell in cells]
    defaults = (function.__defaults__, function.__kwdefaults__)
    return {"code": function.__code__, "defaults": defaults, "closure": closure, "uses": used}


def _imported_by(instructions: Iterable[dis.Instruction]) -> Iterator[str]:
    """Yield what import statements within a function may load."""
    module = ""
    for one in instructions:
        if one.opname == "IMPORT_NAME":
            module = one.argval
            yield module
        elif one.opname == "IMPORT_FROM":
            yield f"{module}.{one.argval}"


def _submodules(used: Iterable[Any], mentioned: set[str]) -> Iterator[str]:
    """Yield the modules below those used that are loaded and whose names occur in the code."""
    for package in (one for one in used if isinstance(one, ModuleType)):
        for name in list(sys.modules):
            below = name.removeprefix(f"{package.__name__}.")
            if below != name and mentioned.issuperset(below.split(".")):
                yield name


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
    from driftboard.suite.sequences.task_sequence import TaskSequence, own_classes
    from driftboard.suite.sequences.validation import problem_of
    from driftboard.suite.session import SESSION_SUFFIX, SessionSequence, write_session_object

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
        kinds = own_classes(sequence)
        digests = tuple(source_of(kind).digest for kind in kinds)
        files.append(folder / f"sequence-{sequence.name}-{sequence.hash()[:12]}{SESSION_SUFFIX}")
        add_sequence(known, sequence, digests, files[-1])
        write_session_object(files[-1], SessionSequence(sequence, digests), source_of(*kinds))
    return names, tuple(files), known

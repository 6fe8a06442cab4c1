"""Loading strategies and sequences by name or from a user's Python file or folder."""

import dataclasses
import difflib
import inspect
import re
import reprlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from msgspec import UNSET

from driftboard.strategies.base import HOOKS, Strategy, overrides
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.errors import DriftboardError, StrategyError, cause_of, one_line, place_of
from driftboard.suite.records import NAME, NAME_RULE, StrategyStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import KnownSequences, TaskSequence, own_classes
from driftboard.suite.sequences.validation import problem_of
from driftboard.suite.session import SESSION_SUFFIX, read_session_file, session_object
from driftboard.suite.settings import RATE, changed, name_with_settings, parse_settings
from driftboard.suite.source import SUFFIX, File, Source
from driftboard.suite.source.modules import INIT, OwnModules
from driftboard.suite.training.attributes import kept_attributes
from driftboard.suite.training.global_state import kept_global_state
from driftboard.suite.training.networks import is_network_name

RESERVED = "overall"
DECLARED = ("role", "summary", "literature", "search", "trains_on_all_tasks")
"""What a class says of itself, besides its name."""


_IMPORTS: dict[type[DriftboardError], str] = {
    StrategyError: "'from driftboard.strategies import Strategy'",
    DriftboardError: "'from driftboard.suite.sequences import TaskSequence, Split' (Sequence is "
    "called TaskSequence now, and every scenario is imported from there)",
}
"""What a user's file writes to get at our names, some of which had other names and places."""


@dataclass(frozen=True)
class LoadedStrategy:
    """A strategy ready to run, and what another process can load it from.

    Args:
        specification: what it was loaded from.
        strategy: itself, with its settings.
        stamp: what records say of it.
        rate: a factor of the protocol's learning rate.
        source: what was read, so that nobody has to read it again; None for a built-in one.
    """

    specification: str
    strategy: Strategy
    stamp: StrategyStamp
    rate: float = 1.0
    source: Source | None = None


def load_strategy(
    specification: str,
    session: tuple[type[Strategy], Source] | None = None,
    source: Source | None = None,
) -> LoadedStrategy:
    """Return the strategy that a specification names.

    Args:
        specification: ``NAME`` of a built-in one, ``FILE.py`` with one strategy class, a
            ``FOLDER`` whose ``__init__.py`` holds or imports one, or one of these with ``:CLASS``.
            Each may be followed by ``,parameter=value`` any number of times. In addition to its own
            fields every strategy has the parameter ``rate``, a factor of the protocol's learning
            rate. The rate and then the fields, in the order of the class and as far as they are not
            the defaults, become part of the name on the board.
        session: class and source of what was kept in ``FILE.pkl``, in the process that kept it:
            reading it there would replace the methods of the user's own class.
        source: what was read when this was loaded before, perhaps elsewhere; no file is read then.

    Raises:
        StrategyError: with one line that says what is wrong and what to do.

    >>> loaded = load_strategy("ewc,strength=2.00,rate=0.5,decay=1")
    >>> loaded.stamp.name, loaded.strategy.strength, loaded.rate
    ('ewc-rate-0.5-strength-2.0', 2.0, 0.5)
    """
    base, class_name, settings = split_specification(specification)
    if not _names_file(base):
        name, strategy, code = _built_in(base + class_name)
    elif base.endswith(SESSION_SUFFIX):
        source = source or read_session_file(Path(base))
        chosen, code = session or session_object(source)
        name, strategy = _named_instance(chosen, base)
    else:
        module, code = _run(source or Path(base), StrategyError)
        source = code
        name, strategy = _named_instance(_class_in(module, base, class_name[1:]), base)
    rate, changes = parse_settings(strategy, settings, name)
    plain, strategy = strategy, changed(strategy, changes, name)
    name = name_with_settings(name, plain, strategy, rate)
    if not NAME.fullmatch(name):
        raise StrategyError(f"'{name}' cannot be a strategy's name; {NAME_RULE}")
    parameters = dataclasses.asdict(strategy) | ({} if rate == 1.0 else {RATE: rate})
    stamp = StrategyStamp(
        name,
        strategy.role,
        parameters,
        code.digest,
        files=code.names,
        stores=UNSET if strategy.stores is None else strategy.stores,
        optimiser="own" if overrides(strategy, "update") else UNSET,
    )
    if not _fits_a_record(stamp):
        raise StrategyError(
            f"{name}: no record can hold role '{stamp.role}' with parameters {stamp.parameters} "
            f"from {', '.join(stamp.files)}; the role is 'ranked' or 'bound', numbers are finite, "
            "text is one line of up to 200 characters"
        )
    return LoadedStrategy(specification, strategy, stamp, rate, source)


_FILE = re.compile(r"(.+?\.(?:py|pkl))(:[^,]*)?(,.*)?", re.DOTALL)


def split_specification(specification: str) -> tuple[str, str, str]:
    """Return name, file or folder of a strategy, ``:CLASS``, and settings with their first comma.

    The path of a file may hold commas and colons; it ends where ``.py`` or ``.pkl`` ends a part.

    >>> split_specification("a,b/mine.py:Mine,strength=2"), split_specification("ewc,strength=2")
    (('a,b/mine.py', ':Mine', ',strength=2'), ('ewc', '', ',strength=2'))
    """
    if found := _FILE.fullmatch(specification):
        return found[1], found[2] or "", found[3] or ""
    named, comma, settings = specification.partition(",")
    base, colon, class_name = named.partition(":")
    return base, colon + class_name, comma + settings


def _names_file(base: str) -> bool:
    """Tell whether a specification's first part is a file or a folder, and no built-in name."""
    if SUFFIX in base or "/" in base or base.endswith(SESSION_SUFFIX):
        return True
    return base not in BUILTIN | FURTHER and base != "" and Path(base).is_dir()


def _fits_a_record(stamp: StrategyStamp) -> bool:
    try:
        return msgspec.json.decode(msgspec.json.encode(stamp), type=StrategyStamp) == stamp
    except (msgspec.MsgspecError, TypeError, ValueError):
        return False


def load_sequences(files: Iterable[Path | Source] = ()) -> KnownSequences:
    """Return the registered sequences and those that users' files define, by name.

    Args:
        files: Python files or folders, or what was read of them before.

    One that is not sound is kept apart with the line that says why: it only matters if chosen.

    Raises:
        DriftboardError: a file does not import, or defines no sequence.

    >>> load_sequences()["digits-split"].tier
    'quick'
    """
    sequences = KnownSequences(registered())
    for file in files:
        path = file if isinstance(file, Path) else Path(file.path)
        if path.suffix == SESSION_SUFFIX:
            kept, _ = session_object(_read(file))
            contents: list[Any] = [kept.sequence]
            digests: Iterable[str] = kept.digests
        else:
            module, code = _run(file, DriftboardError)
            contents = list(vars(module).values())
            digests = repeat(code.digest)
        values = {id(value): value for value in contents}  # each one once
        found = [value for value in values.values() if isinstance(value, TaskSequence)]
        if not found:
            raise DriftboardError(
                f"{path} defines no sequence; assign a driftboard.TaskSequence to a name in it"
            )
        for sequence in found:
            try:
                add_sequence(sequences, sequence, digests, path)
            except DriftboardError as error:
                sequences.unsound.setdefault(str(sequence.name), str(error))
    return sequences


def read_source(file: Path) -> Source:
    """Return what a file that defines sequences is loaded from, here or in another process.

    Raises:
        DriftboardError: it does not import.
    """
    return _read(file) if file.suffix == SESSION_SUFFIX else _run(file, DriftboardError)[1]


def add_sequence(
    known: dict[str, TaskSequence], sequence: TaskSequence, digests: Iterable[str], path: Path
) -> None:
    """Add a user's sequence to those that are known.

    Where scenario, transformations or network are of classes of the user's own, the sequence's hash
    covers ``digests``, one for each in the order of ``own_classes``: that of their file, or of the
    class in a session, with all that it imports of the user's.

    Raises:
        DriftboardError: it is not valid; ``path`` is named as its origin.
    """
    for kind, digest in zip(own_classes(sequence), digests, strict=False):  # one may be repeated
        kind.source_hash = digest  # type: ignore[attr-defined]
    if problem := _problem(sequence, known):
        raise DriftboardError(f"sequence {one_line(repr(sequence.name))} of {path}: {problem}")
    known[sequence.name] = sequence


def _problem(sequence: TaskSequence, known: dict[str, TaskSequence]) -> str | None:
    """Return what is wrong with a user's sequence, if anything."""
    if problem := problem_of(sequence):
        return problem
    if not NAME.fullmatch(sequence.name):
        return f"that cannot be its name; {NAME_RULE}"
    if sequence.name in known:
        return "a sequence of that name exists already"
    if sequence.name == RESERVED:
        return f"'{RESERVED}' is what the tables call the mean over all sequences"
    if sequence.tier != "own":
        return "its tier must be 'own'; the others belong to the benchmark"
    known_name = is_network_name(sequence.network_name)
    if isinstance(sequence.network, str) and not known_name:
        return f"there is no network '{sequence.network}'"
    if known_name and not isinstance(sequence.network, str):
        return f"its network is called '{sequence.network_name}', which names another; rename it"
    return None


def _built_in(name: str) -> tuple[str, Strategy, Source]:
    """Return name, strategy and source of one that comes with the package."""
    known = BUILTIN | FURTHER
    if name in known:
        file = f"{type(known[name]).__module__.rpartition('.')[2]}{SUFFIX}"
        content = files("driftboard.strategies").joinpath(file).read_bytes()
        return name, known[name], Source((File(file, file, content),), file)
    raise StrategyError(no_strategy(name, known))


def no_strategy(name: str, known: Iterable[str]) -> str:
    """Return a line that says that there is no strategy of a name, with the nearest of those known.

    >>> no_strategy("ewk", ["ewc", "sgd"])
    "there is no strategy 'ewk'; did you mean ewc?"
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "see `driftboard strategies`"
    return f"there is no strategy '{name}'; {hint}"


def _named_instance(chosen: type[Strategy], file: str) -> tuple[str, Strategy]:
    """Return the name of a user's class, and an object of it."""
    name = str(chosen.name)
    if name in BUILTIN | FURTHER or not name:
        raise StrategyError(
            f"{file}: give {chosen.__name__} a name of its own, "
            f"'{name}' is {'taken' if name else 'empty'}"
        )
    return name, _instance(chosen, file)


def _class_in(module: ModuleType, file: str, class_name: str) -> type[Strategy]:
    """Return the strategy class of a user's module, the only one if ``class_name`` is empty.

    Those that it imports from its own source count if it defines none.
    """
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy)
    ]
    source = module.__name__.partition(".")[0]
    defined = [kind for kind in kinds if kind.__module__ == module.__name__]
    defined = defined or [k for k in kinds if k.__module__.partition(".")[0] == source]
    classes = {kind.__name__: kind for kind in defined}
    if not classes:
        raise StrategyError(
            f"{file} defines no strategy; write a class that derives from "
            "driftboard.strategies.Strategy"
        )
    if class_name and class_name not in classes:
        raise StrategyError(f"{file} has no strategy '{class_name}'; it has {', '.join(classes)}")
    if not class_name and len(classes) > 1:
        raise StrategyError(
            f"{file} defines several strategies; choose one: "
            + " or ".join(shlex.quote(f"{file}:{name}") for name in classes)
        )
    chosen = classes[class_name] if class_name else next(iter(classes.values()))
    alike = [name for name, kind in classes.items() if kind.name == chosen.name]
    if len(alike) > 1:  # records would not tell them apart
        raise StrategyError(
            f"{file}: {' and '.join(alike)} are both called '{chosen.name}'; give each a name of "
            "its own"
        )
    return chosen


def _instance(chosen: type[Strategy], file: str) -> Strategy:
    try:
        strategy = chosen()
        for name in DECLARED:
            getattr(strategy, name)  # it may be a property, and raise when it is read
    except (Exception, SystemExit) as error:  # a user's class may raise anything
        raise StrategyError(
            f"{file}: {chosen.__name__}() fails: {cause_of(error)}{place_of(error)}; give every "
            "field a sound default"
        ) from error
    for field in dataclasses.fields(strategy):
        if not isinstance(getattr(strategy, field.name), bool | int | float | str):
            raise StrategyError(
                f"{file}: field '{field.name}' of {chosen.__name__} must be bool, int, float or str"
            )
        if field.name == RATE:
            raise StrategyError(
                f"{file}: call the field '{RATE}' of {chosen.__name__} something else: that is the "
                "factor of the learning rate, which every strategy has"
            )
    if problem := _declared_problem(strategy):
        raise StrategyError(f"{file}: {chosen.__name__}.{problem}")
    return strategy


def _declared_problem(strategy: Strategy) -> str | None:
    """Return what is wrong with what a class says of its memory and its hooks, if anything."""
    if strategy.stores not in (None, "nothing", "parameters", "examples"):
        return f"stores must be 'nothing', 'parameters' or 'examples', not {strategy.stores!r}"
    capacity = getattr(strategy, "capacity", None)
    is_field = "capacity" in {field.name for field in dataclasses.fields(strategy)}
    if strategy.stores == "examples" and not (is_field and type(capacity) is int and capacity >= 0):
        return (
            "stores is 'examples', so the class needs an int field capacity, the most images that "
            "it keeps, at least 0"
        )
    if not isinstance(strategy.vectorized, bool):
        return f"vectorized must be True or False, not {strategy.vectorized!r}"
    return next(filter(None, (_hook_problem(strategy, hook) for hook in HOOKS)), None)


def _hook_problem(strategy: Strategy, hook: str) -> str | None:
    """Return what is wrong with a hook, if it cannot be called as the engine calls it."""
    if not overrides(strategy, hook):
        return None
    wanted = [*inspect.signature(getattr(Strategy, hook)).parameters][1:]
    called = f"{hook}({', '.join(wanted)})"
    method = getattr(strategy, hook)
    if not callable(method):
        return f"{hook} is {reprlib.repr(method)}, and must be a method {called}"
    try:
        signature = inspect.signature(method)
        signature.bind(*wanted)
    except TypeError:
        return f"{hook}{signature} cannot be called as {called}"
    except ValueError:  # something written in C, which has none
        return None
    return None


def _read(file: Path | Source) -> Source:
    return file if isinstance(file, Source) else read_session_file(file)


def _run(file: Path | Source, kind: type[DriftboardError]) -> tuple[ModuleType, Source]:
    """Run a user's Python file or folder anew; return its module and all that belongs to it.

    A user's file may raise anything, so everything is caught except KeyboardInterrupt.
    """
    path = file if isinstance(file, Path) else Path(file.path)
    if isinstance(file, Path):
        wanted = path / INIT if path.is_dir() else path
        if not wanted.is_file():
            of_folder = ", which defines or imports what a folder is named for"
            raise kind(f"there is no file {wanted}{of_folder if path.is_dir() else ''}")
        if wanted.suffix != SUFFIX:
            raise kind(f"{path} is not a Python file")
    try:
        own = OwnModules.at(file) if isinstance(file, Path) else OwnModules.of(file)
        # A seed or a setting of this file is no other strategy's.
        with kept_global_state(), kept_attributes() as replaced:
            module = own.run()
    except StrategyError as error:
        raise kind(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        cause = cause_of(error) + place_of(error)
        if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "driftboard":
            cause += f"; write {_IMPORTS[kind]}"
        raise kind(f"{path} does not import: {cause}") from error
    if replaced:
        raise kind(
            f"{path} replaces {' and '.join(replaced)}, which all strategies share; write a "
            "function or class of your own and call that"
        )
    return module, own.source

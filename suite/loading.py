"""Loading strategies and sequences by name or from a user's Python file."""

import dataclasses
import difflib
import hashlib
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from driftboard.strategies.base import Strategy
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.errors import DriftboardError, StrategyError, cause_of, one_line, place_of
from driftboard.suite.records import LONGEST_NAME, NAME, StrategyStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import KnownSequences, TaskSequence
from driftboard.suite.sequences.validation import problem_of
from driftboard.suite.session import SESSION_SUFFIX, read_session_object
from driftboard.suite.training.networks import is_network_name

RESERVED = "overall"
RATE = "rate"
HIGHEST_RATE = 100.0
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
    """A strategy ready to run, and the specification from which another process can load it."""

    specification: str
    strategy: Strategy
    stamp: StrategyStamp
    rate: float = 1.0  # factor of the protocol's learning rate


def load_strategy(
    specification: str, session: tuple[type[Strategy], str] | None = None
) -> LoadedStrategy:
    """Return the strategy that a specification names.

    Args:
        specification: ``NAME`` of a built-in one, ``FILE.py`` with one strategy class, or
            ``FILE.py:CLASS``. Each may be followed by ``,parameter=value`` any number of times,
            which also becomes part of the name on the board. In addition to its own fields every
            strategy has the parameter ``rate``, a factor of the protocol's learning rate.
        session: class and source of what was kept in ``FILE.pkl``, in the process that kept it:
            reading it there would replace the methods of the user's own class.

    Raises:
        StrategyError: with one line that says what is wrong and what to do.

    >>> loaded = load_strategy("ewc,strength=2,rate=0.5")
    >>> loaded.stamp.name, loaded.strategy.strength, loaded.rate
    ('ewc-strength-2.0-rate-0.5', 2.0, 0.5)
    """
    base, class_name, settings = split_specification(specification)
    if _names_file(base):
        name, strategy, source = _from_file(base, class_name, session)
    else:
        name, strategy, source = _built_in(base)
    rate: float | None = None
    if settings:
        strategy, rate, suffix = _with_parameters(strategy, settings[1:].split(","), name)
        name = with_suffix(name, suffix)
    if not NAME.fullmatch(name):
        raise StrategyError(
            f"'{name}' cannot be a strategy's name; use up to 64 lower-case letters, digits, "
            "dots, hyphens and underscores"
        )
    parameters = dataclasses.asdict(strategy) | ({} if rate is None else {RATE: rate})
    digest = hashlib.sha256(source).hexdigest()
    file = base if _names_file(base) else _file_of(type(strategy))
    stamp = StrategyStamp(name, strategy.role, parameters, digest, files=(Path(file).name,))
    if not _fits_a_record(stamp):
        raise StrategyError(
            f"{name}: no record can hold role '{stamp.role}' with parameters {stamp.parameters}; "
            "the role is 'ranked' or 'bound', numbers are finite, text is one line of up to 200 "
            "characters"
        )
    return LoadedStrategy(specification, strategy, stamp, 1.0 if rate is None else rate)


def with_suffix(name: str, suffix: str) -> str:
    """Return the name of a strategy with its settings; one too long ends in a digest of the whole.

    >>> with_suffix("mine", "rate-0.5"), with_suffix("m" * 60, "rate-0.5")[-15:]
    ('mine-rate-0.5', 'mmmmmm-ff98dcd7')
    """
    whole = f"{name}-{suffix}"
    if len(whole) <= LONGEST_NAME or len(name) > LONGEST_NAME:
        return whole
    end = f"-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return whole[: LONGEST_NAME - len(end)] + end


_FILE = re.compile(r"(.+?\.(?:py|pkl))(:[^,]*)?(,.*)?", re.DOTALL)


def split_specification(specification: str) -> tuple[str, str, str]:
    """Return the name or file of a strategy, ``:CLASS``, and the settings with their first comma.

    A path may hold commas and colons; it ends where ``.py`` or ``.pkl`` ends a part.

    >>> split_specification("a,b/mine.py:Mine,strength=2"), split_specification("ewc,strength=2")
    (('a,b/mine.py', ':Mine', ',strength=2'), ('ewc', '', ',strength=2'))
    """
    if found := _FILE.fullmatch(specification):
        return found[1], found[2] or "", found[3] or ""
    base, comma, settings = specification.partition(",")
    return base, "", comma + settings


def files_of(specification: str) -> tuple[Path, ...]:
    """Return the file that a strategy's specification names, if it names one.

    >>> files_of("mine.py:Mine,strength=2"), files_of("ewc")
    ((PosixPath('mine.py'),), ())
    """
    base, _, _ = split_specification(specification)
    return (Path(base),) if _names_file(base) else ()


def _names_file(base: str) -> bool:
    return ".py" in base or base.endswith(SESSION_SUFFIX)


def moved(specification: str, places: Mapping[Path, Path]) -> str:
    """Return the specification of the same strategy after its file has moved.

    >>> moved("mine.py:Mine,strength=2", {Path("mine.py"): Path("/tmp/mine.py")})
    '/tmp/mine.py:Mine,strength=2'
    """
    base, class_name, settings = split_specification(specification)
    return f"{places.get(Path(base), base)}{class_name}{settings}"


def _fits_a_record(stamp: StrategyStamp) -> bool:
    try:
        return msgspec.json.decode(msgspec.json.encode(stamp), type=StrategyStamp) == stamp
    except (msgspec.MsgspecError, TypeError, ValueError):
        return False


def load_sequences(files: tuple[Path, ...] = ()) -> KnownSequences:
    """Return the registered sequences and those that the given Python files define, by name.

    One that is not sound is kept apart with the line that says why: it only matters if chosen.

    Raises:
        DriftboardError: a file does not import, or defines no sequence.

    >>> load_sequences()["digits-split"].tier
    'quick'
    """
    sequences = KnownSequences(registered())
    for path in files:
        if path.suffix == SESSION_SUFFIX:
            content, source = read_session_object(path)
            contents: list[Any] = [content]
        else:
            contents = list(vars(_import_file(path, DriftboardError)).values())
            source = importlib.util.decode_source(path.read_bytes())
        values = {id(value): value for value in contents}  # each one once
        found = [value for value in values.values() if isinstance(value, TaskSequence)]
        if not found:
            raise DriftboardError(
                f"{path} defines no sequence; assign a driftboard.TaskSequence to a name in it"
            )
        for sequence in found:
            try:
                add_sequence(sequences, sequence, source, path)
            except DriftboardError as error:
                sequences.unsound.setdefault(str(sequence.name), str(error))
    return sequences


def add_sequence(
    known: dict[str, TaskSequence], sequence: TaskSequence, source: str, path: Path
) -> None:
    """Add a user's sequence to those that are known.

    Where the scenario is a class of the user's own, the sequence's hash covers ``source``, the text
    of its file or session, but not what that imports.

    Raises:
        DriftboardError: it is not valid; ``path`` is named as its origin.
    """
    kind = type(sequence.scenario)
    if dataclasses.is_dataclass(kind) and not kind.__module__.startswith("driftboard."):
        kind.source_hash = hashlib.sha256(source.encode()).hexdigest()
    if problem := _problem(sequence, known):
        raise DriftboardError(f"sequence {one_line(repr(sequence.name))} of {path}: {problem}")
    known[sequence.name] = sequence


def _problem(sequence: TaskSequence, known: dict[str, TaskSequence]) -> str | None:
    """Return what is wrong with a user's sequence, if anything."""
    if problem := problem_of(sequence):
        return problem
    if not NAME.fullmatch(sequence.name):
        return "its name may hold up to 64 lower-case letters, digits, dots, hyphens, underscores"
    if sequence.name in known:
        return "a sequence of that name exists already"
    if sequence.name == RESERVED:
        return f"'{RESERVED}' is what the tables call the mean over all sequences"
    if sequence.tier != "own":
        return "its tier must be 'own'; the others belong to the benchmark"
    if not is_network_name(sequence.network):
        return f"there is no network '{sequence.network}'"
    return None


def _built_in(name: str) -> tuple[str, Strategy, bytes]:
    """Return name, strategy and source of one that comes with the package."""
    known = BUILTIN | FURTHER
    if name in known:
        return name, known[name], _file_of(type(known[name])).read_bytes()
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "see `driftboard strategies`"
    raise StrategyError(f"there is no strategy '{name}'; {hint}")


def _from_file(
    file: str, class_name: str, session: tuple[type[Strategy], str] | None
) -> tuple[str, Strategy, bytes]:
    """Return name, strategy and source of what ``FILE.py[:CLASS]`` or ``FILE.pkl`` holds."""
    if file.endswith(SESSION_SUFFIX):
        chosen, text = session or read_session_object(Path(file))
        source = text.encode()
    else:
        chosen = _class_in(file, class_name.removeprefix(":"))
        source = _file_of(chosen).read_bytes()
    name = str(chosen.name)
    if name in BUILTIN | FURTHER or not name:
        raise StrategyError(
            f"{file}: give {chosen.__name__} a name of its own, "
            f"'{name}' is {'taken' if name else 'empty'}"
        )
    return name, _instance(chosen, file), source


def _file_of(strategy: type[Strategy]) -> Path:
    return Path(inspect.getfile(strategy))


def _class_in(file: str, class_name: str) -> type[Strategy]:
    """Return the strategy class of a Python file, the only one if ``class_name`` is empty."""
    module = _import_file(Path(file), StrategyError)
    classes = {
        value.__name__: value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and value.__module__ == module.__name__
    }
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
    return classes[class_name] if class_name else next(iter(classes.values()))


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
    return strategy


def _with_parameters(
    strategy: Strategy, settings: list[str], name: str
) -> tuple[Strategy, float | None, str]:
    """Return the strategy with its parameters set, the rate if any, and the suffix of its name."""
    known = {field.name: getattr(strategy, field.name) for field in dataclasses.fields(strategy)}
    known[RATE] = 1.0
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            names = ", ".join(known)
            raise StrategyError(f"'{setting}' does not set a parameter of {name}; it has: {names}")
        changes[key] = _parse(text, known[key], setting)
    own = {key: value for key, value in changes.items() if key != RATE}
    rate = changes.get(RATE)
    if rate is not None and not 0 < rate <= HIGHEST_RATE:
        raise StrategyError(
            f"{name}: rate must be above 0 and at most {HIGHEST_RATE:g}, not {rate}"
        )
    try:
        changed = dataclasses.replace(strategy, **own)
    except (Exception, SystemExit) as error:  # as above
        # How a class says that a value is no good; anything else is a mistake of its own.
        cause = cause_of(error).removeprefix("ValueError: ")
        raise StrategyError(f"{name}: {cause}{place_of(error)}") from error
    suffix = "-".join(f"{key}-{value}" for key, value in changes.items()).lower()
    return changed, rate, suffix.replace("_", "-").replace("+", "")


def _parse(text: str, model: bool | int | float | str, setting: str) -> bool | int | float | str:
    """Read ``text`` as the type that the parameter has."""
    if isinstance(model, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise StrategyError(f"'{setting}': use true or false")
    try:
        return type(model)(text)
    except ValueError as error:
        raise StrategyError(f"'{setting}': expected {type(model).__name__}") from error


class _Uncached(SourceFileLoader):
    """Compiles a file every time. Python recognises outdated bytecode by the file's size and the
    second of its change, which misses a quick edit of one digit."""

    def path_stats(self, path: str | bytes) -> dict[str, Any]:
        """Raise OSError, which tells importlib that there is no bytecode."""
        raise OSError("no bytecode is kept")


def _import_file(path: Path, kind: type[DriftboardError]) -> ModuleType:
    """Import a user's Python file as a module of its own, every time anew.

    A user's file may raise anything, so everything is caught except KeyboardInterrupt.
    """
    if not path.is_file():
        raise kind(f"there is no file {path}")
    name = f"driftboard_file_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    loader = _Uncached(name, str(path))
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    if path.suffix != ".py" or specification is None:
        raise kind(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        cause = cause_of(error) + place_of(error)
        if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "driftboard":
            cause += f"; write {_IMPORTS[kind]}"
        raise kind(f"{path} does not import: {cause}") from error
    return module

"""The two files that a strategy of one's own starts from: a strategy that works, and its test."""

import importlib.util
import inspect
import keyword
from pathlib import Path
from types import ModuleType

from driftboard.strategies import template
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.checks import own_tests
from driftboard.suite.errors import DriftboardError
from driftboard.suite.records import NAME


def write_scaffold(name: str, folder: Path) -> tuple[Path, Path]:
    """Write the strategy and its test into a folder; return their paths.

    Args:
        name: the strategy's name on the board, such as ``my-method``. The files are called
            ``my_method.py`` and ``test_my_method.py``, the class ``MyMethod``.
        folder: made if it is not there. A file that is there already is never written over.

    Raises:
        DriftboardError: there cannot be a strategy of that name, a file is there already, or
            the folder cannot be written.
    """
    stem = name.replace("-", "_").replace(".", "_")
    own_class = "".join(part.capitalize() for part in stem.split("_"))
    if problem := _problem(name, stem, own_class):
        raise DriftboardError(f"a strategy cannot be called '{name}': {problem}")
    strategy, test = folder / f"{stem}.py", folder / f"test_{stem}.py"
    there = [path for path in (strategy, test) if path.exists()]
    if there:
        raise DriftboardError(f"{there[0]} is there already; choose another name or another --out")
    _write(strategy, _filled_in(template, {"MyMethod": own_class, "my-method": name}))
    _write(test, _filled_in(own_tests, {"my_method": stem, "my-method": name}))
    return strategy, test


def _problem(name: str, stem: str, own_class: str) -> str | None:
    """Return why a name cannot be, or file and class not be called what follows from it."""
    if name.endswith(".py"):
        return "give the name alone; the file is called after it"
    if not NAME.fullmatch(name):
        return "use up to 64 lower-case letters, digits, dots, hyphens and underscores"
    if name in BUILTIN | FURTHER:
        return "a built-in strategy has that name; see `driftboard strategies`"
    if not stem.isidentifier() or keyword.iskeyword(stem):
        return f"{stem}.py is no name of a Python module; begin with a letter"
    if importlib.util.find_spec(stem) is not None:
        return f"{stem}.py would hide the Python module {stem}"
    taken = vars(template).keys() - {"MyMethod"}
    if own_class in taken or keyword.iskeyword(own_class):
        return f"its class would be {own_class}, which has a meaning already"
    return None


def _filled_in(source: ModuleType, names: dict[str, str]) -> str:
    text = inspect.getsource(source)
    for placeholder, name in names.items():
        text = text.replace(placeholder, name)
    return text


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DriftboardError(
            f"cannot write {path}: {error.strerror or error}; choose another --out"
        ) from error

"""``driftboard new``: write a strategy that works, and its test, to be changed step by step."""

import importlib.util
import inspect
import keyword
import shlex
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError


def new(
    name: Annotated[str, typer.Argument(help="The strategy's name on the board, as my-method.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")] = Path(),
) -> None:
    """Write a strategy that works, and a test of it: two files to start from.

    A file that is there already is never written over.
    """
    from driftboard.strategies import template
    from driftboard.suite.checks import own_tests

    stem = name.replace("-", "_").replace(".", "_")
    own_class = "".join(part.capitalize() for part in stem.split("_"))
    if problem := _problem(name, stem, own_class):
        raise DriftboardError(f"a strategy cannot be called '{name}': {problem}")
    strategy, test = out / f"{stem}.py", out / f"test_{stem}.py"
    there = [path for path in (strategy, test) if path.exists()]
    if there:
        raise DriftboardError(f"{there[0]} is there already; choose another name or another --out")
    _write(strategy, _filled_in(template, {"MyMethod": own_class, "my-method": name}))
    _write(test, _filled_in(own_tests, {"my_method": stem, "my-method": name}))
    _show_next_steps(strategy, test)


def _problem(name: str, stem: str, own_class: str) -> str | None:
    """Return why a name cannot be, or file and class not be called what follows from it."""
    from driftboard.strategies import template
    from driftboard.strategies.catalogue import BUILTIN, FURTHER
    from driftboard.suite.records import NAME

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


def _show_next_steps(strategy: Path, test: Path) -> None:
    own, its_test = shlex.quote(str(strategy)), shlex.quote(str(test))
    for line in (
        f"wrote {strategy} and {test}",
        "next:",
        f"  driftboard check {own}",
        f"  python -m pytest {its_test}",
        f"  driftboard run --suite quick --strategy sgd --strategy {own}",
        f"  driftboard tune {own}",
    ):
        typer.echo(line)

"""The two files that a strategy of one's own starts from: a strategy that works, and its test."""

import importlib.util
import inspect
import keyword
from pathlib import Path

from driftboard.strategies import template
from driftboard.strategies.catalogue import BUILTIN, FURTHER
from driftboard.suite.errors import DriftboardError, refusal_of
from driftboard.suite.records import NAME, NAME_RULE


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
    text = inspect.getsource(template).replace("MyMethod", own_class)
    _write(strategy, text.replace("my-method", name))
    _write(test, OWN_TESTS.replace("my_method", stem).replace("my-method", name))
    return strategy, test


def _problem(name: str, stem: str, own_class: str) -> str | None:
    """Return why a name cannot be, or file and class not be called what follows from it."""
    if name.endswith(".py"):
        return "give the name alone; the file is called after it"
    if not NAME.fullmatch(name):
        return NAME_RULE
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


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DriftboardError(f"cannot write {path}: {refusal_of(error)}, with --out") from error


OWN_TESTS = '''\
"""Tests of my-method: the checks of ``driftboard check``, and one hook by value.

Run them with ``python -m pytest`` and the name of this file.
"""

from pathlib import Path

import torch

from driftboard.suite.checks import check_strategy, example_task
from driftboard.suite.loading import load_strategy

FILE = Path(__file__).with_name("my_method.py")


def test_all_checks_pass() -> None:
    """A failed check says in its message what to do."""
    failed = [result for result in check_strategy(str(FILE)) if result.status == "FAILED"]
    assert failed == []


def test_the_gradient_is_pulled_towards_the_last_solution() -> None:
    """The pull is the strength times the way back; change this test along with your idea."""
    strategy = load_strategy(f"{FILE},strength=0.5").strategy
    first, second = example_task(index=0), example_task(index=1)
    parameters = {name: value + 0.1 for name, value in first.initial.items()}
    gradient = second.gradient(parameters)

    assert strategy.correct(first, gradient, parameters, {}) is gradient
    _, memory = strategy.finish(first, first.initial, {})
    corrected = strategy.correct(second, gradient, parameters, memory)

    for name, value in corrected.items():
        pull = 0.5 * (parameters[name] - first.initial[name])
        torch.testing.assert_close(value, gradient[name] + pull)
'''

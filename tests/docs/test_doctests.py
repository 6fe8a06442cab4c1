"""Every example in a docstring of the package runs.

``pytest --doctest-modules`` cannot do it: it imports our folders under other names than the
package's. So modules with examples are found by their text and imported as anybody would.
"""

import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "suite/api": "driftboard",
    "suite": "driftboard.suite",
    "leaderboard": "driftboard.leaderboard",
    "strategies": "driftboard.strategies",
    "baselines": "driftboard.baselines",
}
EXAMPLE = re.compile(r"(?m)^\s*>>> ")
TRAINING = ("driftboard.strategies", "driftboard.suite")


def modules():
    """Yield name and path of every module of the package with an example in it."""
    for room, package in ROOMS.items():
        for path in sorted((ROOT / room).rglob("*.py")):
            inside = path.relative_to(ROOT / room).with_suffix("").parts
            is_of_api = room == "suite" and inside[0] == "api"
            if is_of_api or not EXAMPLE.search(path.read_text()):
                continue
            yield ".".join([package, *(part for part in inside if part != "__init__")]), path


def on_workers():
    """Yield the modules, those that may import torch together: it takes seconds."""
    for name, path in modules():
        marks = pytest.mark.xdist_group("doctests") if name.startswith(TRAINING) else ()
        yield pytest.param(name, path, marks=marks, id=name)


def run(tests):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    for test in tests:
        runner.run(test)
    assert runner.failures == 0
    return runner.tries


@pytest.mark.parametrize(("name", "path"), list(on_workers()))
def test_examples_of_docstrings_run(name, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = importlib.import_module(name)
    assert Path(module.__file__).read_text() == path.read_text()  # installed, not linked, maybe
    tests = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    # None may be overlooked, as doctest does with what decorators hide.
    assert run(tests) == len(EXAMPLE.findall(path.read_text()))


@pytest.mark.parametrize("script", sorted((ROOT / "docs").glob("*.py")), ids=lambda path: path.name)
def test_examples_of_the_documentations_scripts_run(script):
    if script.name == "doctests_as_examples.py":
        pytest.importorskip("griffe")
    names = runpy.run_path(str(script))
    parser = doctest.DocTestParser()
    documented = {name: one for name, one in names.items() if callable(one) and one.__doc__}
    own = {name: one for name, one in documented.items() if one.__module__ == "<run_path>"}
    tests = [
        parser.get_doctest(one.__doc__, names, name, str(script), 0) for name, one in own.items()
    ]
    assert run(tests) == len(EXAMPLE.findall(script.read_text()))


def test_an_example_that_is_wrong_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", "wrong", 0)
    with pytest.raises(AssertionError):
        run([test])

"""The digest of the package's code, and where new processes import from."""

import os
import subprocess
import sys
from types import ModuleType

import pytest

from driftboard.suite import package
from driftboard.suite.package import import_variables, importing_as_here, package_digest


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Return what writes a package of two rooms in a form, and returns its digest."""

    def digest(form, texts):
        top, room = tmp_path / form / "driftboard", tmp_path / form / "driftboard" / "suite"
        if form == "a checkout":  # the modules of the package itself lie below the room
            top, room = tmp_path / form / "suite" / "api", tmp_path / form / "suite"
        for name, text in texts.items():
            path = (room if "/" in name else top) / name.removeprefix("suite/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, folder in (("driftboard", top), ("driftboard.suite", room)):
            module = ModuleType(name)
            module.__path__ = [str(folder)]
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(package, "ROOMS", ("suite",))
        return package_digest.__wrapped__()

    return digest


FILES = {"__init__.py": "a = 1\n", "suite/__init__.py": "", "suite/runs/cells.py": "b = 2\n"}


def test_the_same_code_has_the_same_digest_however_it_is_installed(made_up):
    assert made_up("a wheel", FILES) == made_up("a checkout", FILES)


@pytest.mark.parametrize(
    "change",
    [
        {"__init__.py": "a = 2\n"},
        {"suite/runs/cells.py": "b = 3\n"},
        {"suite/runs/more.py": ""},
        {"suite/more.py": "", "more.py": "a = 1\n"},
    ],
)
def test_other_code_has_another_digest(made_up, change):
    assert made_up("before", FILES) != made_up("after", FILES | change)


def test_the_digest_is_of_this_package():
    names = [name for name, _ in package._modules()]
    for name in ("_run.py", "suite/training/engine.py", "strategies/sgd.py", "baselines/paper.py"):
        assert names.count(name) == 1
    assert not [name for name in names if name.startswith("suite/api")]
    assert len(package_digest()) == 64


def found_by_a_new_process(folder, name):
    """Return the file that a Python started in a folder imports under a name."""
    program = f"import {name}; print({name}.__file__)"
    with importing_as_here():
        done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True)
    return done.stdout.decode().strip()


def test_a_new_process_imports_what_this_one_does(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "made_up_helper.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(here)])
    assert found_by_a_new_process(there, "made_up_helper") == str(here / "made_up_helper.py")
    monkeypatch.setattr(sys, "path", ["", *sys.path[:-1]])
    assert found_by_a_new_process(there, "made_up_helper") == ""


def test_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    with importing_as_here():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert dict(os.environ) == before


def test_a_package_of_the_current_folder_is_found_there(tmp_path, monkeypatch):
    """As where it is not installed at all, and Python was started beside it."""
    home = ModuleType("driftboard")
    home.__path__ = [str(tmp_path / "driftboard")]
    monkeypatch.setitem(sys.modules, "driftboard", home)
    monkeypatch.setattr(sys, "path", ["", "/lib"])
    assert import_variables()["PYTHONPATH"] == os.pathsep.join([str(tmp_path), "/lib"])
    home.__path__ = ["/lib/driftboard"]
    assert import_variables()["PYTHONPATH"] == "/lib"

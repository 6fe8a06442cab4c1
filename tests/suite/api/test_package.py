"""What ``import driftboard`` gives."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import driftboard as db


def python(code):
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_public_name_is_there_and_documented():
    assert len(set(db.__all__)) == len(db.__all__)
    for name in db.__all__:
        value = getattr(db, name)
        assert value.__doc__, name
    assert set(db.__all__) <= set(dir(db))
    assert db.__version__ == version("driftboard")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = db.nothing


def test_importing_the_package_imports_nothing_heavy():
    heavy = "torch", "pandas", "numpy", "msgspec", "typer", "rich"
    found = python(f"import driftboard, sys; print([n for n in {heavy} if n in sys.modules])")
    assert found == "[]"


def test_boards_are_made_without_torch():
    code = "import driftboard as db, sys; db.leaderboard(db.published('quick')).markdown(); "
    assert python(code + "db.sequences(); print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "first", ["import driftboard.leaderboard.analysis.board", "import driftboard.strategies.sgd"]
)
def test_functions_keep_their_names_when_the_packages_of_these_names_are_imported(first):
    code = f"{first}; import driftboard as db; board = db.leaderboard(db.published('quick')); "
    assert python(code + "print(type(board).__name__, 'ewc' in db.strategies().index)") == (
        "Leaderboard True"
    )


def test_what_authors_import_is_the_interface_itself():
    from driftboard.strategies import Strategy
    from driftboard.strategies.base import Strategy as Same

    assert db.Strategy is Strategy is Same


def test_the_module_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "driftboard", "--help"], capture_output=True, text=True, check=True
    )
    assert "leaderboard" in done.stdout
    assert done.stderr == ""

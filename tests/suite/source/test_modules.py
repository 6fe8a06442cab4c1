"""What belongs to a strategy's source, and that each source has modules of its own."""

import importlib.util
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.loading import load_sequences, load_strategy, read_source
from driftboard.suite.sequences.scenarios import Split
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.source.code import code_digest
from driftboard.suite.source.loaders import only_own_imports

STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy
{imports}

@dataclass(frozen=True)
class Mine(Strategy):
    size: float = 1.0
    name: ClassVar[str] = "mine"

    def begin(self, task, parameters, memory):
        {late}
        return {value}
"""


def strategy(imports="", value="1", late="pass"):
    return STRATEGY.format(imports=imports, value=value, late=late)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes files, each by its path, and returns the folder."""

    def write(files, folder="own"):
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / folder

    return write


@pytest.fixture(autouse=True)
def nothing_leaks():
    """Whatever is loaded, the path of imports and the modules of others stay as they are."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    left = {name.partition(".")[0] for name in set(sys.modules) - modules}
    assert not left & {"helpers", "lib", "labtools", "mine", "other", "beside"}


def begun(loaded):
    """Return what the only hook returns."""
    return loaded.strategy.begin(None, None, None)


def refusal(specification):
    with pytest.raises(StrategyError) as caught:
        load_strategy(str(specification))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_file_imports_what_lies_beside_it(write):
    folder = write(
        {"mine.py": strategy("import helpers", "helpers.SIZE"), "helpers.py": "SIZE = 2"}
    )
    loaded = load_strategy(f"{folder / 'mine.py'},size=3")
    assert begun(loaded) == 2
    assert loaded.stamp.files == ("helpers.py", "mine.py")
    assert loaded.stamp.name == "mine-size-3.0"


def test_what_is_imported_is_part_of_the_version(write):
    def stamp(helper):
        folder = write(
            {"mine.py": strategy("import helpers", "helpers.SIZE"), "helpers.py": helper}
        )
        loaded = load_strategy(str(folder / "mine.py"))
        return loaded.stamp.source_hash, begun(loaded)

    first = stamp("SIZE = 2")
    assert stamp("# a remark\n\nSIZE = 2\n") == first
    assert stamp("SIZE = 3")[1] == 3
    assert stamp("SIZE = 3")[0] != first[0]
    assert stamp("SIZE = 2") == first


def test_two_strategies_have_helpers_of_one_name(write):
    folders = [
        write(
            {"mine.py": strategy("import helpers", "helpers.SIZE"), "helpers.py": f"SIZE = {n}"}, n
        )
        for n in ("1", "2")
    ]
    one, two = (load_strategy(str(folder / "mine.py")) for folder in folders)
    assert (begun(one), begun(two)) == (1, 2)
    assert one.stamp.source_hash != two.stamp.source_hash
    late = strategy("", "helpers.SIZE", late="import helpers")
    for folder in folders:
        write({"mine.py": late}, folder.name)
    one, two = (load_strategy(str(folder / "mine.py")) for folder in folders)
    assert (begun(two), begun(one), begun(two)) == (2, 1, 2)
    assert one.stamp.files == two.stamp.files == ("helpers.py", "mine.py")


FORMS = {
    "from helpers import SIZE as size": "size",
    "from helpers import *": "SIZE",
    "from . import helpers": "helpers.SIZE",
    "from .helpers import SIZE": "SIZE",
    "import helpers as h": "h.SIZE",
    "import lib.deep": "lib.deep.SIZE",
    "import lib.deep as deep": "deep.SIZE",
    "from lib import deep": "deep.SIZE",
    "from lib.deep import SIZE": "SIZE",
    "from spaces import deep": "deep.SIZE",
    "import spaces.deep": "spaces.deep.SIZE",
    'helpers = __import__("helpers")': "helpers.SIZE",
    'import importlib\nhelpers = importlib.import_module(".helpers", __package__)': "helpers.SIZE",
    "try:\n    import absent\nexcept ImportError:\n    import helpers": "helpers.SIZE",
}
TREE = {
    "helpers.py": "SIZE = 7",
    "lib/__init__.py": "from . import more",
    "lib/more.py": "import helpers",
    "lib/deep.py": "from .. import helpers\nfrom ..helpers import SIZE\nimport lib.more",
    "spaces/deep.py": "from helpers import SIZE",  # without an __init__.py
    "unused.py": "1 / 0",
    "test_mine.py": "import mine",
}


@pytest.mark.parametrize("place", ["top", "late"])
@pytest.mark.parametrize(("statement", "value"), FORMS.items())
def test_every_form_of_an_import(write, statement, value, place):
    if place == "late":
        if "*" in statement:
            pytest.skip("Python allows it at the top only")
        text = strategy(value=value, late=statement.replace("\n", "\n        "))
    else:
        text = strategy(statement, value)
    folder = write({**TREE, "mine.py": text})
    loaded = load_strategy(str(folder / "mine.py"))
    assert {"mine.py", "helpers.py"} <= set(loaded.stamp.files) <= {"mine.py", *TREE}
    assert not {"unused.py", "test_mine.py"} & set(loaded.stamp.files)
    is_of_lib = statement.startswith(("import lib.", "from lib"))
    assert ("lib/__init__.py" in loaded.stamp.files) is is_of_lib
    shutil.rmtree(folder)  # what was read is what runs, and nothing is looked for again
    assert begun(loaded) == 7
    again = load_strategy(str(folder / "mine.py"), source=pickle.loads(pickle.dumps(loaded.source)))
    assert begun(again) == 7
    assert again.stamp == loaded.stamp


FOLDERS = {
    "the class itself": {"__init__.py": strategy("from . import helpers", "helpers.SIZE")},
    "imported": {
        "__init__.py": "from .impl import Mine, Strategy",
        "impl.py": strategy("from .helpers import SIZE", "SIZE"),
    },
    "by its own name": {
        "__init__.py": "from own.impl import Mine",
        "impl.py": strategy("import own.helpers", "own.helpers.SIZE"),
    },
    "with a module of its own name": {
        "__init__.py": "from own.own import Mine",
        "own.py": strategy("from own import helpers", "helpers.SIZE"),
    },
    "as in a file": {"__init__.py": strategy("import helpers", "helpers.SIZE")},
}


@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS.keys())
@pytest.mark.parametrize("end", ["", "/", ":Mine", "/__init__.py", "/:Mine,size=2", ",size=1"])
def test_a_strategy_may_be_a_folder(write, files, end):
    folder = write({**files, "helpers.py": "SIZE = 4"})
    loaded = load_strategy(f"{folder}{end}")
    assert begun(loaded) == 4
    assert loaded.stamp.files == tuple(sorted([*files, "helpers.py"]))
    assert loaded.stamp.name == ("mine-size-2.0" if "size=2" in end else "mine")


def test_a_folder_is_found_where_the_command_runs(write, monkeypatch):
    folder = write({"__init__.py": strategy()}, "ewc")
    monkeypatch.chdir(folder.parent)
    assert load_strategy("./ewc").stamp.name == "mine"
    assert load_strategy("ewc").stamp.name == "ewc"
    folder.rename("another")
    assert load_strategy("another").stamp.name == "mine"
    assert load_strategy("another:Mine,size=2").stamp.name == "mine-size-2.0"
    monkeypatch.chdir("another")
    assert load_strategy(".").stamp.name == "mine"
    assert "there is no file" in refusal("./lib")


def test_a_file_of_a_package_runs_its_init(write):
    folder = write(
        {
            "__init__.py": "SIZE = 5\nfrom .mine import Mine",
            "mine.py": strategy("from . import SIZE", "SIZE"),
        }
    )
    loaded = load_strategy(f"{folder / 'mine.py'}:Mine")
    assert begun(loaded) == 5
    assert loaded.stamp.files == ("__init__.py", "mine.py")
    write({"mine.py": strategy()})
    assert load_strategy(str(folder / "mine.py")).stamp.files == ("mine.py",)


def test_modules_on_the_path_elsewhere_are_part_of_the_source(write, monkeypatch):
    lab = write(
        {"labtools/__init__.py": "from labtools.core import SIZE", "labtools/core.py": "SIZE = 6"},
        "lab",
    )
    monkeypatch.syspath_prepend(str(lab))
    text = strategy("import labtools", "labtools.SIZE")
    folder = write({"mine.py": text})
    loaded = load_strategy(str(folder / "mine.py"))
    assert begun(loaded) == 6
    assert loaded.stamp.files == ("labtools/__init__.py", "labtools/core.py", "mine.py")
    assert "labtools" not in sys.modules
    # Copied beside the file, as a submission holds it, it is the same strategy.
    shutil.copytree(lab / "labtools", folder / "labtools")
    monkeypatch.undo()
    assert load_strategy(str(folder / "mine.py")).stamp == loaded.stamp


def test_a_path_that_the_file_extends_holds_for_it_alone(write):
    folder = write({"mine.py": "", "lib/helpers.py": "SIZE = 8", "lib/later.py": "SIZE = 9"})
    extend = f"import sys\nsys.path.insert(0, {str(folder / 'lib')!r})\nimport helpers"
    write({"mine.py": strategy(extend, "helpers.SIZE + later.SIZE", late="import later")})
    loaded = load_strategy(str(folder / "mine.py"))
    assert begun(loaded) == 17
    assert loaded.stamp.files == ("helpers.py", "later.py", "mine.py")


def test_what_lies_beside_comes_before_what_is_installed_but_for_the_engine(write):
    folder = write(
        {
            "mine.py": strategy("import statistics, torch", "statistics.SIZE, torch.__name__"),
            "statistics.py": "SIZE = 1",
            "torch/__init__.py": "1 / 0",
            "driftboard/__init__.py": "1 / 0",
            "json/readme.txt": "a folder of data hides no module",
        }
    )
    loaded = load_strategy(str(folder / "mine.py"))
    assert begun(loaded) == (1, "torch")
    assert loaded.stamp.files == ("mine.py", "statistics.py")
    write({"mine.py": strategy("import json", "json.dumps(2)")})
    assert begun(load_strategy(str(folder / "mine.py"))) == "2"


def test_the_hash_is_of_what_was_read(write, monkeypatch):
    """Whatever a file says of itself, and whatever becomes of it meanwhile."""
    folder = write({"other.py": strategy(value="1"), "mine.py": ""})
    lie = f"__file__ = {str(folder / 'other.py')!r}\n__name__ = 'other'\n"
    text = lie + strategy(value="2")
    write({"mine.py": text})
    assert load_strategy(str(folder / "mine.py")).stamp.source_hash == code_digest(text.encode())
    changes = f"from pathlib import Path\nPath({str(folder / 'mine.py')!r}).write_text('')\n"
    write({"mine.py": changes + strategy(value="3")})
    loaded = load_strategy(str(folder / "mine.py"))
    assert loaded.stamp.source_hash == code_digest((changes + strategy(value="3")).encode())
    assert begun(loaded) == 3


def test_a_helper_that_changes_meanwhile_is_run_as_it_was_read(write):
    folder = write(
        {"mine.py": strategy("", "helpers.SIZE", "import helpers"), "helpers.py": "SIZE = 2"}
    )
    loaded = load_strategy(str(folder / "mine.py"))
    write({"helpers.py": "SIZE = 3"})
    assert begun(loaded) == 2
    assert begun(load_strategy(str(folder / "mine.py"))) == 3


@pytest.mark.parametrize("is_on_path", [False, True])
def test_an_import_by_other_means_is_refused(write, monkeypatch, is_on_path):
    by_name = "import importlib\nhelpers = importlib.import_module('help' + 'ers')"
    folder = write({"mine.py": strategy(by_name), "helpers.py": "SIZE = 2"})
    if is_on_path:
        monkeypatch.syspath_prepend(str(folder))
    message = refusal(folder / "mine.py")
    assert "write 'import helpers'" in message
    assert "helpers" not in sys.modules


def test_a_hook_that_imports_by_other_means_is_refused(write, monkeypatch):
    late = "import importlib; helpers = importlib.import_module('help' + 'ers')"
    folder = write({"mine.py": strategy("", "helpers.SIZE", late), "helpers.py": "SIZE = 2"})
    monkeypatch.syspath_prepend(str(folder))
    loaded = load_strategy(str(folder / "mine.py"))
    for _ in range(2):
        with (
            pytest.raises(StrategyError, match="is no part of the source; write"),
            only_own_imports(),
        ):
            begun(loaded)


BROKEN = {
    "not there": ("import absent", "No module named 'absent'"),
    "not there below": ("import lib.absent", "No module named 'lib.absent'"),
    "no such name": ("from helpers import absent", "cannot import name 'absent' from 'helpers'"),
    "above": ("from ..helpers import SIZE", "beyond top-level package"),
    "that fails": ("import failing", "ZeroDivisionError"),
    "no Python": ("import broken", "SyntaxError"),
    "not in UTF-8": ("import latin", "SyntaxError: it is not UTF-8 from byte 5 on"),
    "no package": ("import helpers.absent", "No module named 'helpers.absent'"),
}


@pytest.mark.parametrize(("statement", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_an_import_that_fails_is_told_in_a_line(write, statement, words):
    files = {**TREE, "failing.py": "1 / 0", "broken.py": "def :", "latin.py": b"x = '\xff'"}
    before = set(sys.modules)
    message = refusal(write({**files, "mine.py": strategy(statement)}) / "mine.py")
    assert "mine.py does not import: " in message
    assert words in message
    assert "driftboard_source" not in message
    assert {name for name in set(sys.modules) - before if name.startswith("driftboard_")} == set()


def test_a_module_that_is_compiled_is_covered_by_its_bytes(write):
    speedups = importlib.util.find_spec("markupsafe._speedups")
    compiled = Path(speedups.origin)
    text = strategy("import _speedups", "_speedups._escape_inner('<')")
    folder = write({"mine.py": text, compiled.name: compiled.read_bytes()})
    loaded = load_strategy(str(folder / "mine.py"))
    assert begun(loaded) == "&lt;"
    assert loaded.stamp.files == (compiled.name, "mine.py")
    (folder / compiled.name).unlink()
    again = load_strategy("gone.py", source=loaded.source)
    assert begun(again) == "&lt;"


def test_two_classes_of_one_name_are_refused(write):
    text = strategy() + "\n\nclass Other(Mine):\n    pass\n"
    folder = write({"mine.py": text})
    message = f"{folder / 'mine.py'}: Mine and Other are both called 'mine'; give each a name"
    assert refusal(f"{folder / 'mine.py'}:Other").startswith(message)
    write({"mine.py": f"{text}    name = 'other'\n"})
    assert load_strategy(f"{folder / 'mine.py'}:Other").stamp.name == "other"


SEQUENCES = """
from dataclasses import dataclass
from driftboard import TaskSequence
{imports}
mine = TaskSequence(
    name="own", description="", source="digits", scenario={scenario}, network="mlp-8x1"
)
"""
SCENARIO = """
from dataclasses import dataclass
from driftboard.suite.sequences import Split

@dataclass(frozen=True)
class Halves(Split):
    shift: int = {shift}
"""


def test_a_file_of_sequences_imports_what_lies_beside_it(write):
    def digest(shift, remark=""):
        text = SEQUENCES.format(imports="from helpers import Halves", scenario="Halves(5)")
        folder = write({"own.py": text + remark, "helpers.py": SCENARIO.format(shift=shift)})
        source = read_source(folder / "own.py")
        assert source.names == ("helpers.py", "own.py")
        first = load_sequences([folder / "own.py"])["own"].hash()
        shutil.rmtree(folder)
        assert load_sequences([source])["own"].hash() == first
        return first

    assert digest(1) == digest(1, "# remark\n") != digest(2)


def test_code_beside_a_scenario_of_ours_does_not_count(write):
    imports = "from driftboard.suite.sequences import Split\nimport helpers"
    text = SEQUENCES.format(imports=imports, scenario="Split(5)")
    folder = write({"own.py": text, "helpers.py": "SIZE = 1"})
    found = load_sequences([folder / "own.py"])["own"]
    wanted = TaskSequence("own", "", "digits", Split(5), "mlp-8x1").hash()
    assert found.hash() == wanted
    write({"own.py": "import absent"})
    with pytest.raises(DriftboardError, match="does not import"):
        load_sequences([folder / "own.py"])


def test_nothing_of_the_current_folder_is_imported_by_chance(write):
    """A command that is not started there does not look there."""
    folder = write({"mine.py": strategy("import beside")})
    elsewhere = write({"beside.py": "1 / 0"}, "elsewhere")
    program = (
        "import sys; from driftboard.suite.cli.main import main; sys.path[:] = sys.path[1:]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "check", str(folder / "mine.py")],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'beside'" in done.stdout

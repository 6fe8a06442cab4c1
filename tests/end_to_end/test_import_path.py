"""Where worker processes import from: where the commanding process does, not the current folder."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import asdict

from driftboard.suite.records import read_record, record_paths

SEQUENCE = """
from driftboard import TaskSequence
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Relabelled

tiny = TaskSequence(
    name="tiny", description="", source="digits", scenario=Relabelled(2, 5), network="mlp-8x1",
    train_per_class=10, test_per_class=10,
    training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
)
"""

OPTIONS = ["--strategy", "sgd", "--seeds", "2", "--workers", "1", "--device", "cpu"]
PROGRAM = "from driftboard.suite.cli.main import main\nmain()\n"
SCRIPT = """
import sys
from pathlib import Path
from runpy import run_path

sys.path.remove(str(Path(__file__).parent))  # which has modules of the names of others

import driftboard

tiny = run_path(sys.argv[1])["tiny"]
options = {"seeds": 2, "workers": 1, "device": "cpu", "out": sys.argv[2]}
driftboard.run(sequences=tiny, strategies="sgd", **options)
"""


def copied(folder, change=lambda text: text):
    """Copy the package's code into a folder, with the engine's step changed by a function."""
    for room in ("", "suite", "strategies", "leaderboard", "baselines"):
        package = importlib.import_module(f"driftboard.{room}".rstrip("."))
        home = Path(package.__path__[0])
        for path in sorted(home.rglob("*.py") if room else home.glob("*.py")):
            place = folder / room / path.relative_to(home)
            if "api" not in place.relative_to(folder).parts:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(path.read_text())
    step = folder / "suite" / "training" / "descent.py"
    step.write_text(change(step.read_text()))


def half_of_every_step(text):
    """Change the code so that results are others."""
    assert "value=-1.0" in text
    return text.replace("value=-1.0", "value=-0.5")


def results(folder):
    """Return what records tell, but for what it cost."""
    found = [asdict(read_record(path)) for path in record_paths(folder)]
    return [{name: value for name, value in one.items() if name != "cost"} for one in found]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with an installed package, ``site``, and a user's files."""
    folder = tmp_path_factory.mktemp("place")
    copied(folder / "site" / "driftboard")
    (folder / "tiny.py").write_text(SEQUENCE)
    (folder / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture(scope="module")
def start(place):
    """Return a function that runs Python with the installed package, in a folder."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    paths = [str(place / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(place / "cache")}

    def start(where, *arguments):
        command = [sys.executable, *map(str, arguments)]
        environment = inherited | own | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return start


@pytest.fixture(scope="module")
def expected(place, start):
    """Return the records of a run in a folder that has nothing."""
    (place / "empty").mkdir()
    words = ["run", "--sequence-file", place / "tiny.py", *OPTIONS, "--out", place / "expected"]
    start(place / "empty", place / "program.py", *words)
    records = results(place / "expected")
    assert len(records) == 2
    return records


@pytest.fixture
def decoy(tmp_path):
    """Return a folder with another version of the package and modules of well-known names."""
    folder = tmp_path / "decoy"
    copied(folder / "driftboard", half_of_every_step)
    for name in ("numpy", "torch", "random", "signal", "threading"):
        text = "from pathlib import Path\nPath(__file__).with_suffix('.seen').touch()\n"
        (folder / f"{name}.py").write_text(text + "raise ImportError('a decoy')\n")
    yield folder
    assert sorted(folder.glob("*.seen")) == []


@pytest.mark.parametrize("called", ["program.py", "-m driftboard"])
def test_a_command_takes_nothing_from_the_current_folder(
    called, decoy, place, start, expected, tmp_path
):
    if called == "program.py":
        words = [place / called]
    else:
        words = called.split()
        # A folder without it, such as a checkout, is a package too, but comes last. With it
        # Python would take the other package before ours is asked.
        (decoy / "driftboard" / "__init__.py").unlink()
    options = ["--sequence-file", place / "tiny.py", *OPTIONS, "--out", tmp_path / "out"]
    start(decoy, *words, "run", *options)
    assert results(tmp_path / "out") == expected


def test_nor_does_a_script_that_lies_there(decoy, place, start, expected, tmp_path):
    (decoy / "script.py").write_text(SCRIPT)
    start(decoy, decoy / "script.py", place / "tiny.py", tmp_path / "out")
    assert results(tmp_path / "out") == expected

"""Texts, paths and folders of users: shown as they are, quoted where they are to be pasted."""

import os
import shlex
import subprocess
import sys

import pytest

from driftboard.suite.records import write_record

AWKWARD = "a [b/x] 'c'; $d"
"""The name of a folder with brackets, quotes, spaces and what else has a meaning to a shell."""

STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class One(Strategy):
    name: ClassVar[str] = "one"

@dataclass(frozen=True)
class Two(One):
    name: ClassVar[str] = "two"
"""
SEQUENCES = """
from driftboard import TaskSequence
from driftboard.suite.sequences import Relabelled
own = TaskSequence("own", "[red]All[/red] of :smile: [/x]", "digits", Relabelled(2, 5), "mlp-8x1")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / AWKWARD
    place.mkdir(parents=True)
    (place / "two.py").write_text(STRATEGY)
    (place / "own.py").write_text(SEQUENCES)
    monkeypatch.chdir(tmp_path)
    return place.relative_to(tmp_path)


@pytest.mark.parametrize("width", [40, 80, 300])
def test_brackets_in_a_description_are_shown(call, folder, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, errors = call("sequences", "--sequence-file", folder / "own.py", "--suite", "own")
    assert (code, errors) == (0, "")
    assert "[red]All[/red] of :smile: [/x]" in " ".join(out.split())


def test_brackets_in_a_label_of_a_job_are_no_markup(call, folder, one_thread):
    """The progress bar shows the strategy as it was written, its path included."""
    words = ("--suite", "linear", "--seeds", 1, "--out", folder / "r", "--reference", "one")
    code, out, errors = call("run", "--strategy", f"{folder / 'two.py'}:One", *words)
    assert code == 0, errors
    assert f"  driftboard leaderboard {shlex.quote(str(folder / 'r'))} " in out


def pasted(text):
    """Return the words that a shell makes of the first command in backticks."""
    return shlex.split(text.split("`")[1])


def test_commands_in_messages_can_be_pasted(call, folder, make_record):
    file, tuned = str(folder / "two.py"), str(folder / "tuned")
    words = ("--title", "T", "--author", "A", "--licence", "MIT", "--tuning", tuned)
    _, _, errors = call("submit", f"{file}:One,rate=0.5", "--suite", "linear", *words)
    assert pasted(errors) == ["driftboard", "tune", f"{file}:One", "--out", tuned]

    _, _, errors = call("check", file)
    _, out, _ = call("check", file)
    offered = out.partition("choose one: ")[2].strip().split(" or ")
    assert [shlex.split(one) for one in offered] == [[f"{file}:One"], [f"{file}:Two"]]

    write_record(folder / "r", make_record())
    (folder / "r" / "submission.json").write_text("{")
    _, _, errors = call("leaderboard", folder / "r")
    assert pasted(errors) == ["driftboard", "verify", str(folder / "r")]


def test_a_reference_that_is_not_there_is_quoted(call, folder):
    _, _, errors = call("run", "--strategy", "ewc", "--reference", "a b", "--out", folder / "r")
    assert "add --strategy 'a b' or choose another with --reference" in errors


def test_what_is_trained_into_a_folder_needs_a_folder(call, folder, monkeypatch):
    """Before anything is trained."""
    monkeypatch.setattr("driftboard.suite.runs.local.local_executor", lambda *_: 1 / 0)
    monkeypatch.setattr("driftboard.suite.runs.local.start_server", lambda: False)
    for command in ("grade digits-split", "sweep digits-split", "tune sgd", "run"):
        code, _, errors = call(*command.split(), "--out", folder / "own.py" / "r")
        assert code == 1
        assert errors.splitlines()[-1].endswith(
            ": Not a directory; a file is where a folder is needed; move it away or choose another "
            "folder, then run the same command again"
        )


def test_a_folder_of_grades_is_a_folder(call, folder):
    code, _, errors = call("sequences", "--results", folder / "absent")
    assert (code, errors) == (
        1,
        f"driftboard: there is no folder {folder / 'absent'}; name one that has grades\n",
    )


def test_a_path_that_the_system_refuses_is_a_line(call, folder):
    code, _, errors = call("run", "--strategy", "sgd", "--strategy", "x" * 300 + ".py")
    assert (code, errors) == (1, f"driftboard: {'x' * 300}.py: File name too long\n")


def test_a_sequence_file_in_another_encoding_is_refused_in_a_line(call, tmp_path):
    file = tmp_path / "own.py"
    file.write_bytes(("# -*- coding: latin-1 -*-\n# \u00e9\n" + SEQUENCES).encode("latin-1"))
    code, out, errors = call("sequences", "--sequence-file", file, "--suite", "own")
    assert (code, out) == (1, "")
    assert errors.startswith("driftboard: ")
    assert "own.py does not import: SyntaxError: it is not UTF-8 from byte 28 on" in errors
    assert len(errors.splitlines()) == 1


def test_a_folder_that_was_removed_is_a_line(tmp_path):
    place = tmp_path / "gone"
    place.mkdir(parents=True)
    program = (
        f"import os; os.chdir({str(place)!r}); os.rmdir({str(place)!r})\n"
        "import sys; sys.argv = ['driftboard', 'strategies']\n"
        "from driftboard.suite.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "driftboard: the current folder cannot be used: No such file or directory; change to "
        "another, with cd\n"
    )


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("latin-1", b" ----"), ("utf-8", " ────".encode())],
)
def test_signs_that_an_encoding_lacks_have_plainer_ones(encoding, shown, tmp_path):
    """And bytes of a path that are no characters are shown as they are."""
    name = os.fsdecode(b"b\xff")
    words = ["leaderboard", "--published", "quick", "--format", "csv", "--out", tmp_path / name]
    done = subprocess.run(
        [sys.executable, "-c", "from driftboard.suite.cli.main import main; main()", *words],
        env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "60"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout
    assert b"wrote " + os.fsencode(tmp_path / name) + b"/leaderboard.csv" in done.stdout


def test_lines_of_a_run_are_not_broken(capsys, monkeypatch):
    from driftboard.suite.runs.backend import ProgressBar
    from driftboard.suite.runs.scheduler import Log, Progress

    monkeypatch.setenv("COLUMNS", "40")
    line = f"results in {'long/' * 20}{AWKWARD} :smile: [/x]"
    with ProgressBar() as bar:
        bar(Log(line))
        bar(Progress(line, 1.0, 2.0))
    assert line in capsys.readouterr().err.splitlines()

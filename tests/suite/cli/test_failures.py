"""How what a user's code raises ends: one line that quotes it, or with --traceback all of it."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import driftboard
from driftboard.suite.cli.main import app

HELPER = """
def helper(task):
    return task.no_such_thing # [not markup]
"""
QUOTED = "mine.py, line 15: return task.no_such_thing # [not markup]"

SEQUENCES = """
from dataclasses import dataclass
from driftboard import TaskSequence
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Relabelled

training = Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05)

@dataclass(frozen=True)
class Own:
    tasks: int = 2
    fresh_sets: int = 1

    def recipes(self, view):
        return view.no_such_thing

def sequence(name, scenario):
    return TaskSequence(name, "", "digits", scenario, "mlp-8x1", train_per_class=10,
                        test_per_class=10, training=training)

bad, fine = sequence("bad", Own()), sequence("fine", Relabelled(2, 5))
"""

ONCE = """
import pathlib
seen = pathlib.Path(__file__).with_suffix(".seen")
if seen.exists():
    raise RuntimeError("only once")
seen.touch()
"""
"""So that a file fails in the worker, and not before."""


@pytest.fixture
def folder(tmp_path, monkeypatch, one_thread, strategy_text):
    """Work in a folder with a strategy that fails and sequences one of which fails."""
    (tmp_path / "mine.py").write_text(strategy_text("mine", "return helper(task), memory", HELPER))
    (tmp_path / "sequences.py").write_text(SEQUENCES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last_line(errors):
    return [line for line in errors.splitlines() if line.startswith("driftboard: ")][-1]


OF_STRATEGIES = {
    "run": "run --sequence-file sequences.py --seeds 1 --sequence fine --strategy {} "
    "--reference mine",
    "tune": "tune {} --sequence-file sequences.py --sequence fine",
    "submit": "submit {} --suite linear --title T --author A --licence MIT",
}  # fmt: skip
OF_SEQUENCES = {
    "run": "run --sequence-file {} --sequence bad --strategy sgd --seeds 1",
    "tune": "tune sgd --sequence-file {} --sequence bad",
    "grade": "grade bad --sequence-file {} --seeds 1",
    "sweep": "sweep bad --sequence-file {} --seeds 1",
}


OF_HOOK = (
    "begin() raised AttributeError: 'Task' object has no attribute 'no_such_thing' (task 1); "
    + QUOTED
)
OF_SCENARIO = (
    "driftboard: bad: its scenario makes no recipes, AttributeError: 'View' object has no "
    "attribute 'no_such_thing'; sequences.py, line 15: return view.no_such_thing"
)
TOLD = [
    *(pytest.param(words, "mine.py", OF_HOOK, id=name) for name, words in OF_STRATEGIES.items()),
    *(
        pytest.param(words, "sequences.py", OF_SCENARIO, id=f"{name} a sequence")
        for name, words in OF_SEQUENCES.items()
    ),
]


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize(("command", "file", "told"), TOLD)
def test_the_line_of_a_users_file_is_quoted(call, folder, command, file, told, absolute):
    code, _, errors = call(*command.format(folder / file if absolute else file).split())
    assert code == 1
    assert "Traceback" not in errors
    assert last_line(errors).endswith(told)


@pytest.mark.parametrize("way_out", ["raise SystemExit(3)", "exit()", "raise KeyboardInterrupt"])
def test_code_that_wants_to_leave_is_quoted(call, folder, way_out):
    text = (folder / "mine.py").read_text()
    (folder / "mine.py").write_text(
        text.replace("return task.no_such_thing # [not", f"{way_out} # [not")
    )
    code, _, errors = call(*OF_STRATEGIES["run"].format("mine.py").split())
    assert code == 1
    assert "Traceback" not in errors
    assert last_line(errors).endswith(f"; mine.py, line 15: {way_out} # [not markup]")


@pytest.mark.parametrize(
    ("way_out", "told"),
    [
        ("os._exit(3)", "its worker process ended with exit code 3: what it ran has ended it, as "
                        "os._exit does"),
        ("os.kill(os.getpid(), 9)", "its worker process died with exit code -9 (SIGKILL): it "
                                    "crashed or ran out of memory"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt; mine.py, line 15: raise KeyboardInterrupt"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["a hook", "the file"])
def test_code_that_ends_a_check_is_told_in_one_line(call, folder, way_out, told, place):
    text = (folder / "mine.py").read_text()
    if place == "a hook":
        text = text.replace("return task.no_such_thing # [not markup]", f"import os; {way_out}")
        told = told.replace("15: raise", "15: import os; raise")
    else:
        text = f"{text}\nimport os; {way_out}\n"
        told = told.replace("15: raise", "17: import os; raise")
    (folder / "mine.py").write_text(text)
    assert call("check", "mine.py") == (1, "", f"driftboard: mine.py: {told}\n")


def test_a_run_whose_folder_is_removed_meanwhile_ends_with_1(call, folder):
    """Though nothing failed, the records are not there."""
    text = (folder / "mine.py").read_text()
    gone = "return __import__('shutil').rmtree('out', True) or task.everything()"
    (folder / "mine.py").write_text(text.replace("return task.no_such_thing # [not markup]", gone))
    command = "run --sequence-file sequences.py --sequence fine --seeds 1 --strategy sgd"
    words = [*command.split(), "--strategy", "mine.py", "--out", "out"]
    code, _, errors = call(*words)
    assert code == 1
    assert last_line(errors) == (
        "driftboard: 1 cell of this run vanished from out, which was removed, moved or emptied "
        "meanwhile; run the same command again"
    )


@pytest.mark.parametrize(
    "command", ["grade fine", "sweep fine", "run --sequence fine --strategy sgd"]
)
def test_what_fails_in_a_worker_is_quoted_from_there(call, folder, command):
    (folder / "sequences.py").write_text(ONCE + SEQUENCES)
    words = (*command.split(), "--sequence-file", "sequences.py", "--seeds", 1)
    code, _, errors = call(*words)
    assert code == 1
    assert "Traceback" not in errors
    assert last_line(errors).endswith(
        "sequences.py does not import: RuntimeError: only once; "
        'sequences.py, line 5: raise RuntimeError("only once")'
    )


def test_a_traceback_of_a_worker_is_shown_where_it_is_asked_for(call, folder):
    words = OF_STRATEGIES["run"].format("mine.py").split()
    code, _, errors = call(*words, "--traceback")
    assert code == 1
    shown = [line.strip() for line in errors.splitlines()]
    inner, outer = shown.index(f'File "{folder / "mine.py"}", line 15, in helper'), len(shown) - 1
    assert shown[inner + 1] == "return task.no_such_thing # [not markup]"
    assert "was the direct cause of the following exception:" in "".join(shown[inner:outer])
    assert shown[outer].startswith("driftboard.suite.runs.scheduler.TrainingError: training failed")


def test_a_traceback_of_this_process_is_shown_where_it_is_asked_for(call, folder):
    words = OF_SEQUENCES["grade"].format("sequences.py").split()
    code, _, errors = call(*words, "--traceback")
    assert code == 1
    assert 'sequences.py", line 15, in recipes' in errors
    assert errors.splitlines()[-1].startswith("driftboard.suite.errors.DataError: bad: ")
    assert "Traceback" not in call(*words)[2]  # the next command is not asked


def test_jobs_that_fail_are_a_line_each(call, folder):
    text = (folder / "mine.py").read_text()
    (folder / "other.py").write_text(text.replace('"mine"', '"other"'))
    words = OF_STRATEGIES["run"].format("mine.py").split()
    code, _, errors = call(*words, "--strategy", "other.py")
    assert code == 1
    failed = [
        line for line in errors.splitlines() if line.startswith("driftboard: failed: fine / ")
    ]
    assert [line.split(":")[2].strip() for line in failed] == ["fine / mine.py", "fine / other.py"]


def test_python_says_what_the_command_line_says(folder):
    with pytest.raises(driftboard.DriftboardError) as failed:
        driftboard.run("linear", strategies=["mine.py"], seeds=1, out="results")
    assert QUOTED in str(failed.value)
    assert f'File "{folder / "mine.py"}", line 15, in helper' in str(failed.value.__cause__)
    (sequence,) = (s for s in load("sequences.py").values() if s.name == "bad")
    with pytest.raises(driftboard.DriftboardError, match=r"sequences\.py, line 15: return view"):
        driftboard.grade(sequence, seeds=1, out="results")


def load(file):
    from pathlib import Path

    from driftboard.suite.loading import load_sequences

    return load_sequences((Path(file),))


def test_a_class_of_a_notebook_is_quoted_from_a_real_worker(tmp_path, strategy_text):
    """Its cells are in no file, and a worker is another process."""
    cell = strategy_text("mine", "return helper(task), memory", HELPER)
    cell = cell.replace("from driftboard.strategies", "from driftboard")
    program = f"""
import linecache
import driftboard
cell = {cell!r}
name = "/tmp/ipykernel_3/21.py"
linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
exec(compile(cell, name, "exec"))
try:
    driftboard.run("linear", strategies=[Mine], seeds=1, out={str(tmp_path / "out")!r}, workers=1)
except driftboard.DriftboardError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "; cell, line 15: return task.no_such_thing # [not markup]" in done.stdout, done.stderr


def commands():
    def below(words, command):
        yield words
        for name, one in getattr(command, "commands", {}).items():
            yield from below([*words, name], one)

    return list(below([], typer.main.get_command(app)))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_can_be_asked_for_a_traceback(words):
    shown = CliRunner().invoke(app, [*words, "--help"]).stdout
    assert shown.count("--traceback") == 1


@pytest.mark.parametrize("words", ["--traceback data list", "data --traceback list"])
def test_a_traceback_may_be_asked_for_before_a_command(call, tmp_path, words):
    file = tmp_path / "file"
    file.write_text("")
    code, _, errors = call(*words.split(), "--data", file)
    assert code == 1
    assert errors.startswith("Traceback (most recent call last):")

"""``driftboard new``: what it writes works at once, and nothing is written over."""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from driftboard.suite.loading import load_strategy


@pytest.fixture
def refusal(call, tmp_path):
    """Return a function that runs ``new``, which must fail and write nothing; gives the line."""

    def refused(name, *more):
        before = sorted(tmp_path.rglob("*"))
        code, out, errors = call("new", name, "--out", tmp_path, *more)
        assert (code, out) == (1, "")
        assert sorted(tmp_path.rglob("*")) == before
        (line,) = errors.splitlines()
        return line.removeprefix("driftboard: ")

    return refused


@pytest.mark.parametrize(
    ("name", "stem", "own_class"),
    [
        ("my-method", "my_method", "MyMethod"),
        ("drift", "drift", "Drift"),
        ("a.b_c-2d", "a_b_c_2d", "ABC2d"),
        ("a" * 64, "a" * 64, "A" + 63 * "a"),
    ],
)
def test_the_name_is_filled_in_everywhere(call, tmp_path, name, stem, own_class):
    code, out, errors = call("new", name, "--out", tmp_path / "deep" / "er")
    assert (code, errors) == (0, "")
    file, test = (tmp_path / "deep" / "er" / f"{start}{stem}.py" for start in ("", "test_"))
    assert sorted(file.parent.iterdir()) == sorted([file, test])
    assert out.startswith(f"wrote {file} and {test}\n")
    for command in ("check", "run --suite quick --strategy sgd --strategy", "tune"):
        assert f"  driftboard {command} {file}\n" in out
    assert f"  python -m pytest {test}\n" in out
    loaded = load_strategy(str(file))
    assert (loaded.stamp.name, loaded.stamp.role) == (name, "ranked")
    assert type(loaded.strategy).__name__ == own_class
    assert loaded.stamp.parameters == {"strength": 0.01}
    texts = file.read_text() + test.read_text()
    if name != "my-method":
        assert not any(word in texts for word in ("my-method", "my_method", "MyMethod"))
    assert f'with_name("{stem}.py")' in texts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Method", "use up to 64 lower-case letters, digits, dots, hyphens and underscores"),
        ("", "use up to 64 lower-case letters"),
        ("a" * 65, "use up to 64 lower-case letters"),
        ("_mine", "use up to 64 lower-case letters"),
        ("../mine", "use up to 64 lower-case letters"),
        ("mine\n", "use up to 64 lower-case letters"),
        ("ewc", "a built-in strategy has that name"),
        ("fraction", "a built-in strategy has that name"),
        ("3d", "3d.py is no name of a Python module; begin with a letter"),
        ("lambda", "lambda.py is no name of a Python module"),
        ("random", "random.py would hide the Python module random"),
        ("torch", "torch.py would hide the Python module torch"),
        ("strategy", "its class would be Strategy, which has a meaning already"),
        ("none", "its class would be None, which has a meaning already"),
        ("mine.py", "give the name alone"),
    ],
)
def test_names_that_cannot_be_are_refused(refusal, name, words):
    line = refusal(name)
    assert line.startswith("a strategy cannot be called '")
    assert words in line


def test_the_next_commands_can_be_pasted(call, tmp_path):
    folder = tmp_path / "my ideas"
    code, out, _ = call("new", "mine", "--out", folder)
    assert code == 0
    for line in out.partition("next:\n")[2].splitlines():
        assert Path(shlex.split(line)[-1]).parent == folder


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_nothing_is_written_over(refusal, tmp_path, there):
    (tmp_path / there).write_text("dear to me")
    assert refusal("mine") == (
        f"{tmp_path / there} is there already; choose another name or another --out"
    )
    assert (tmp_path / there).read_text() == "dear to me"


def test_a_folder_that_cannot_be_is_one_line(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    line = refusal("mine", "--out", tmp_path / "file")
    assert line.startswith(f"cannot write {tmp_path / 'file' / 'mine.py'}: ")


def test_new_then_its_tests_check_and_run(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert call("new", "my-own")[0] == 0

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_own.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout

    code, out, _ = call("check", "my_own.py")
    assert (code, "FAILED" in out, "warning" in out) == (0, False, False)

    code, out, errors = call(
        *("run", "--suite", "quick", "--sequence", "digits-repeat", "--seeds", 1),
        *("--strategy", "sgd", "--strategy", "my_own.py"),
        *("--device", "cpu", "--workers", 1, "--out", "results"),
    )
    assert code == 0, errors
    assert "my-own" in out
    assert (tmp_path / "results/records/digits-repeat/my-own/seed-0000.json").exists()


def test_the_tests_that_are_written_can_fail(call, tmp_path):
    call("new", "my-own", "--out", tmp_path)
    file = tmp_path / "my_own.py"
    file.write_text(
        file.read_text()
        .replace("value + self.strength", "value - self.strength")
        .replace("Range(0.001", "Range(0.1")
    )
    tests = runpy.run_path(str(tmp_path / "test_my_own.py"))
    with pytest.raises(AssertionError):
        tests["test_all_checks_pass"]()
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        tests["test_the_gradient_is_pulled_towards_the_last_solution"]()

"""Submissions: what may be written into one, and the command that puts it together."""

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from driftboard.leaderboard.analysis.collect import collect
from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL, TUNING, Training
from driftboard.suite.records import StrategyStamp, cell_path, write_record
from driftboard.suite.runs.scheduler import Failure
from driftboard.suite.sealing import sealed
from driftboard.suite.sequences.scenarios import Relabelled
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.submissions import (
    SUBMISSION,
    Credits,
    Submission,
    check_specification,
    explained,
    file_digests,
    kind_of,
    make_credits,
)
from driftboard.suite.tuning import Trial, TuningRecord

TEMPLATE = Path(__file__).resolve().parents[2] / "strategies" / "template.py"
GOOD = {
    "title": "A method",
    "authors": ["Ada L.", "王"],
    "links": ["https://arxiv.org/abs/1234.56789", "https://xn--bcher-kva.example:8443/a?b=c#d"],
    "licence": "MIT OR Apache-2.0",
    "description": "Moves less.",
    "remarks": ["It sees more images."],
}


def test_good_words_are_kept():
    words = make_credits(**GOOD)
    assert words == Credits(**{k: tuple(v) if isinstance(v, list) else v for k, v in GOOD.items()})


BAD = {
    "title": ["", " ", " a", "a ", "a\nb", "a\x1b[31m", "a\u202eb", "a\u200bb", "a" * 201],
    "authors": [[], [""], ["a\tb"], ["a"] * 51, ["a" * 201]],
    "links": [
        ["http://example.org"],
        ["HTTPS://example.org"],
        ["ftp://example.org"],
        ["example.org"],
        ["https://"],
        ["https://localhost"],
        ["https://a b.org"],
        ["https://example.org/a b"],
        ["https://example.org/<script>"],
        ["https://example.org/\u202e"],
        ["https://user@example.org/"],
        ["https://example.org\n"],
        ["https://example.org/" + "a" * 300],
        ["https://example.org"] * 11,
    ],
    "licence": ["", "MIT\n", "<b>", "-", "a" * 101],
    "description": ["a\nb", "\x00", "a" * 201],
    "remarks": [[""], ["a\nb"], ["a"] * 21],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_bad_words_are_refused_with_the_rule(name, value):
    with pytest.raises(DriftboardError, match=f"^{name}: ") as caught:
        make_credits(**GOOD | {name: value})
    assert "regex" not in str(caught.value)


def test_a_schemas_complaint_is_said_in_words():
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"name": "A", "role": "ranked", "parameters": {}}, StrategyStamp)
    assert explained(caught.value) == "a text not as it must be at `$.name`"


PLACES = {
    "submission.json": "submission",
    "driftboard.json": "marker",
    "my_method.py": "source",
    "my_method/__init__.py": "source",
    "lib/deeper/helpers.py": "source",
    "tuning/my-method.json": "tuning",
    "records/digits-split/my-method-rate-0.5/seed-0003.json": "record",
    "records/digits-split/my-method/seed-12345.json": "record",
}
NO_PLACES = [
    *("", ".", "..", "/", "/my_method.py", "../my_method.py", "./my_method.py", "my_method.py/"),
    *("My method.py", "my_method.pyc", ".py", "-a.py", "a-b/.py", "my_method.py\n"),
    *(
        "/a/my_method.py",
        "a//my_method.py",
        "a/../my_method.py",
        "a.b/my_method.py",
        f"{'a/' * 9}b.py",
    ),
    *("records/../my_method.py", "records/a/../seed-0000.json", "records/a/b/seed-1.json"),
    *("records/a/b/seed-0000.json.part", "records/A/b/seed-0000.json", "records//b/seed-0000.json"),
    *("records/a/seed-0000.json", "records/a/b/c/seed-0000.json", "tuning/.json", "tuning\\a.json"),
]


@pytest.mark.parametrize(("place", "kind"), [*PLACES.items(), *((one, None) for one in NO_PLACES)])
def test_every_file_of_a_submission_has_its_place(place, kind):
    assert kind_of(place) == kind


@given(st.lists(st.sampled_from(["..", ".", "", "a", "records", "a.py", "\\", "~"]), max_size=5))
def test_no_place_leads_out_of_the_folder(parts):
    place = "/".join(parts)
    if kind_of(place) is not None:
        assert not place.startswith("/")
        assert not {"", ".", ".."}.intersection(place.split("/"))


def test_only_what_belongs_to_a_submission_is_listed(tmp_path):
    more = ("conftest.py", "lib/unused.py", "notes.txt", "leaderboard.md")
    for place in (*PLACES, *more, "records/a/b/.seed.json.part"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(place)
    sources = [place for place, kind in PLACES.items() if kind == "source"]
    digests = file_digests(tmp_path, sources)
    assert digests.keys() == PLACES.keys() - {SUBMISSION}
    for place, digest in digests.items():
        assert digest == hashlib.sha256(place.encode()).hexdigest()


# The command.

PLAIN = """
from driftboard.strategies import Strategy

class Mine(Strategy):
    name = "my-method"
"""
WORDS = ["--title", "My method", "--author", "A. Person", "--licence", "MIT"]


@pytest.fixture
def my_method(tmp_path):
    """The template as a user's file."""
    return shutil.copy(TEMPLATE, tmp_path / "my_method.py")


@pytest.fixture
def no_training(monkeypatch):
    """Fail if a mistake is found only after training has begun."""

    def refuse(*_):
        pytest.fail("training has begun")

    monkeypatch.setattr("driftboard.suite.cli.options.Training.run_jobs", refuse)


def complaint(call, *arguments):
    code, out, errors = call("submit", *arguments)
    assert (code, out) == (1, "")
    (line,) = errors.splitlines()
    return line.removeprefix("driftboard: ")


def test_mistakes_are_found_before_any_training(call, no_training, my_method, tmp_path):
    out = ["--out", tmp_path / "out"]
    assert "name the Python file" in complaint(call, "sgd", *WORDS, *out)
    assert "name the Python file" in complaint(call, "joint", *WORDS, *out)
    assert "no file" in complaint(call, tmp_path / "other.py", *WORDS, *out)
    link = ["--link", "http://example.org"]
    assert complaint(call, my_method, *WORDS, *link, *out).startswith("links: ")
    assert complaint(call, my_method, *WORDS, "--title", "", *out).startswith("title: ")
    odd = shutil.copy(TEMPLATE, tmp_path / "my method.py")
    assert complaint(call, odd, *WORDS, *out).startswith("rename my method.py")
    text = TEMPLATE.read_text()
    for name, old, new, words in (
        ("taken", '"my-method"', '"sgd"', "'sgd' is taken"),
        ("bound", "    literature:", '    role = "bound"\n    literature:', "is a bound"),
    ):
        path = tmp_path / f"{name}.py"
        path.write_text(text.replace(old, new))
        assert words in complaint(call, path, *WORDS, *out)
    line = complaint(call, my_method, *WORDS, *out, "--tuning", tmp_path)
    assert "make it with `driftboard tune" in line
    assert not (tmp_path / "out").exists()


@pytest.fixture
def tiny_suite(monkeypatch):
    """Let the suite `quick` have two tiny sequences, for the run as for the checks."""
    tiny = {
        name: TaskSequence(
            name=name,
            description="",
            source="digits",
            scenario=Relabelled(2, exchanged),
            network="mlp-8x1",
            tier="quick",
            train_per_class=10,
            test_per_class=10,
            training=Training(epochs=1, minimum_steps=20, batch_size=10, learning_rate=0.05),
        )
        for name, exchanged in (("tiny-one", 5), ("tiny-two", 3))
    }
    for module in (
        "suite.sequences.registry",
        "suite.loading",
        "leaderboard.verification.checks",
    ):
        monkeypatch.setattr(f"driftboard.{module}.registered", lambda: tiny)


def test_a_submission_is_run_put_together_and_checked(
    call, one_thread, tiny_suite, my_method, tmp_path
):
    Path(my_method).write_text(PLAIN)
    folder = tmp_path / "sub"
    words = ["submit", my_method, *WORDS, "--suite", "quick", "--out", folder, "--device", "cpu"]
    words += ["--link", "https://example.org/paper", "--remark", "A test."]
    code, out, errors = call(*words)
    assert code == 0, out + errors
    assert "badge: records checked" in out
    found = msgspec.json.decode((folder / SUBMISSION).read_bytes(), type=Submission)
    assert (found.title, found.authors, found.remarks) == (
        "My method",
        ("A. Person",),
        ("A test.",),
    )
    assert (found.tier, found.source) == ("quick", "my_method.py")
    assert found.strategy.name == "my-method"
    assert found.protocol == PROTOCOL.stamp()
    assert found.strategy.files == ("my_method.py",)
    assert found.files == file_digests(folder, ["my_method.py"])
    assert len(found.files) == 2 + 2 * len(PROTOCOL.seeds_of("quick"))
    assert (folder / "my_method.py").read_text() == PLAIN
    cells = collect([folder]).cells
    assert {(cell.strategy, cell.role) for cell in cells} == {("my-method", "ranked")}

    lost = cell_path(folder, "tiny-one", "my-method", 3)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    lost.unlink()
    code, out, _ = call("verify", folder)
    assert code == 1
    assert "tiny-one [3]" in out
    code, out, errors = call(*words)
    assert code == 0
    assert "already there: 9 cells" in errors
    after = {path: path.read_bytes() for path in folder.rglob("*.json")}
    changed = {path for path in before if before[path] != after[path]}
    assert changed <= {lost, folder / SUBMISSION}  # seconds differ, and so the digest

    Path(my_method).write_text(f"{PLAIN}\n# the same in other words\n")
    assert call(*words)[0] == 0
    Path(my_method).write_text(f"{PLAIN}another = 'version'\n")
    code, _, errors = call(*words)
    assert code == 1
    assert "holds 10 records of another version of the strategy my-method" in errors


def test_the_tuning_record_goes_with_the_submission(
    call, make_record, monkeypatch, my_method, tmp_path
):
    """Settings may be given, so the record bears the strategy's name without them."""
    tuned = TuningRecord(
        schema=2,
        protocol=PROTOCOL.stamp(),
        tuning=TUNING.stamp(),
        sequences={},
        seeds=(1000,),
        trials=(Trial("x", make_record().strategy, 0.5, 0.5, 0.1, 0),),
        chosen=0,
    )
    content = sealed(tuned)
    (tmp_path / "tuned" / "tuning").mkdir(parents=True)
    (tmp_path / "tuned" / "tuning" / "my-method.json").write_bytes(content)

    def pretend(backend, request, what):
        (loaded,) = request.strategies
        record = make_record("digits-split", loaded.stamp.name)
        write_record(request.results, replace(record, strategy=loaded.stamp))
        return []

    monkeypatch.setattr("driftboard.suite.cli.options.Training.run_jobs", pretend)
    folder = tmp_path / "sub"
    code, out, _ = call(
        *("submit", f"{my_method},rate=0.5", *WORDS, "--suite", "quick", "--out", folder),
        *("--tuning", tmp_path / "tuned"),
    )
    assert code == 1  # of the made-up record, and of the tuning record too
    assert "FAILED   tuning " in out
    assert (folder / "tuning" / "my-method.json").read_bytes() == content
    found = json.loads((folder / SUBMISSION).read_text())
    assert found["strategy"]["name"] == "my-method-rate-0.5"
    assert found["files"]["tuning/my-method.json"] == hashlib.sha256(content).hexdigest()


def test_a_source_that_changes_while_it_runs_is_submitted_as_it_was(
    call, make_record, monkeypatch, my_method, tmp_path
):
    before = Path(my_method).read_bytes()

    def pretend(backend, request, what):
        (loaded,) = request.strategies
        record = make_record("digits-split", loaded.stamp.name)
        write_record(request.results, replace(record, strategy=loaded.stamp))
        Path(my_method).write_text("# changed\n")
        return []

    monkeypatch.setattr("driftboard.suite.cli.options.Training.run_jobs", pretend)
    folder = tmp_path / "sub"
    _, out, _ = call("submit", my_method, *WORDS, "--suite", "quick", "--out", folder)
    assert (folder / "my_method.py").read_bytes() == before
    assert "'my-method' from my_method.py" in out


@pytest.mark.parametrize("words", [":M\u00e9thode", ",\u00e4=1", ",a=b c"])
def test_what_a_submission_cannot_hold_is_refused_before_it_is_run(words):
    with pytest.raises(StrategyError, match="a submission cannot hold '"):
        check_specification(f"mine.py{words}")
    check_specification("a b/mine.py:Mine_2,alphaT=1e-05,mode=Exact,_x=+1.5")


def test_failed_cells_leave_no_submission(call, monkeypatch, my_method, tmp_path):
    monkeypatch.setattr(
        "driftboard.suite.cli.options.Training.run_jobs",
        lambda *_: [Failure("digits-split / my-method: too bad")],
    )
    line = complaint(call, my_method, *WORDS, "--suite", "quick", "--out", tmp_path / "sub")
    assert line == "failed: digits-split / my-method: too bad"
    assert not (tmp_path / "sub" / SUBMISSION).exists()


# A strategy of several files.

PACKAGE = {
    "__init__.py": "from .impl import Mine\n",
    "impl.py": f"from . import helpers\n{PLAIN}",
    "helpers.py": "from lib import deep\n",
    "lib/deep.py": "",
    "unused.py": "1 / 0\n",
    "weights.npz": "data",
}


@pytest.fixture
def package(tmp_path):
    """A strategy in a folder."""
    for name, text in PACKAGE.items():
        path = tmp_path / "my_method" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "my_method"


@pytest.mark.parametrize("form", ["folder", "file"])
def test_all_files_of_a_strategy_are_submitted_and_no_others(
    call, one_thread, tiny_suite, package, tmp_path, form
):
    named = {"folder": f"{package}/:Mine", "file": f"{package / 'impl.py'}"}[form]
    folder = tmp_path / "sub"
    words = [named, *WORDS, "--suite", "quick", "--out", folder, "--device", "cpu"]
    code, out, errors = call("submit", *words)
    assert code == 0, out + errors
    found = msgspec.json.decode((folder / SUBMISSION).read_bytes(), type=Submission)
    files = ("__init__.py", "helpers.py", "impl.py", "lib/deep.py")
    assert found.strategy.files == files
    above = "my_method/" if form == "folder" else ""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert there == {f"{above}{name}" for name in files}
    assert there <= found.files.keys()
    assert (found.source, found.specification) == {
        "folder": ("my_method", "my_method:Mine"),
        "file": ("impl.py", "impl.py"),
    }[form]
    # What is in the folder is that strategy.
    loaded = load_strategy(f"{folder}/{found.specification}")
    assert loaded.stamp == found.strategy == load_strategy(named).stamp
    assert call("verify", folder)[0] == 0

    (folder / "conftest.py").write_text("")
    code, out, _ = call("verify", folder)
    assert (code, "no part of the strategy, which imports none of it: conftest.py" in out) == (
        1,
        True,
    )
    (folder / "conftest.py").unlink()
    helper = folder / f"{above}helpers.py"
    helper.write_text(f"{helper.read_text()}changed = True\n")
    code, out, _ = call("verify", folder)
    assert code == 1
    assert f"changed since they were listed: {above}helpers.py" in out
    assert "is not the source that the submission was made from" in out
    helper.unlink()
    assert "its source" in call("verify", folder)[1]


def test_what_a_submission_cannot_hold_is_refused_before_any_training(
    call, no_training, package, tmp_path
):
    out = ["--out", tmp_path / "out"]
    compiled = Path(importlib.util.find_spec("markupsafe._speedups").origin)
    shutil.copy(compiled, package)
    (package / "helpers.py").write_text("import _speedups\n")
    line = complaint(call, package, *WORDS, *out)
    assert line.startswith(
        f"my_method/{compiled.name} is compiled, so nobody can read what it does"
    )
    (package / "helpers.py").write_text("from . import hélper\n")
    (package / "hélper.py").write_text("")
    assert complaint(call, package, *WORDS, *out).startswith("rename my_method/hélper.py: ")
    (package / "helpers.py").write_text("")
    odd = package.rename(tmp_path / "my method")
    assert complaint(call, odd, *WORDS, *out).startswith("rename my method/__init__.py: ")

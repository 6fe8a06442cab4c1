"""Training from Python: the same records as from the command line, with a session's objects."""

import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest

import driftboard as db
from driftboard.suite.protocol import Training
from driftboard.suite.sequences.scenarios import Rotated


@dataclass(frozen=True)
class Slow(db.Strategy):
    """Take a part of every step."""

    share: float = 0.5

    name: ClassVar[str] = "slow"

    def begin(self, task, parameters, memory):
        plan = task.everything()
        return db.UpdatePlan(self.share * plan.share, plan.restart), memory


TINY = db.TaskSequence(
    name="tiny-rotated",
    description="Two small tasks.",
    source="digits",
    scenario=Rotated(tasks=2, step=20),
    network="mlp-8x1",
    train_per_class=5,
    test_per_class=5,
    training=Training(epochs=1, batch_size=10, learning_rate=0.05, minimum_steps=3),
)


def test_strategies_and_sequences_of_the_session(one_thread, tmp_path):
    results = db.run(
        strategies=["sgd", Slow(share=0.25), Slow], sequences=TINY, seeds=2, out=tmp_path
    )
    assert results.strategies == ("sgd", "slow", "slow-share-0.25")
    assert results.sequences == ("tiny-rotated",)
    assert results.seeds == (0, 1)
    shares = {r.strategy.name: r.plans[1].share for r in results.records}
    assert shares == {"sgd": (1.0, 1.0), "slow": (0.5, 0.5), "slow-share-0.25": (0.25, 0.25)}
    again = db.run(strategies=[Slow(share=0.25), "sgd"], sequences=[TINY], seeds=2, out=tmp_path)
    assert again.strategies == ("sgd", "slow-share-0.25")
    assert again.records == results.select(strategies=again.strategies).records  # not run again
    assert db.load(tmp_path).records == results.records


def test_a_class_of_a_file_has_the_stamp_that_its_file_has(one_thread, tmp_path, weighing):
    import importlib.util

    file = weighing(2.0)
    spec = importlib.util.spec_from_file_location("mine_in_a_file", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mine_in_a_file"] = module
    try:
        spec.loader.exec_module(module)
        ours = db.run(
            strategies=[module.Mine(weight=3.0)], sequences=TINY, seeds=1, out=tmp_path / "a"
        )
        theirs = db.run(
            strategies=[f"{file},weight=3.0"], sequences=TINY, seeds=1, out=tmp_path / "b"
        )
    finally:
        del sys.modules["mine_in_a_file"]
    (one,), (other,) = ours.records, theirs.records
    assert one.strategy == other.strategy
    assert one.correct == other.correct


def test_the_records_are_those_of_the_command(one_thread, tmp_path, call):
    ours = db.run(
        "quick", sequences="digits-repeat", strategies=["ewc"], seeds=1, out=tmp_path / "a"
    )
    code, *_ = call(
        *("run", "--sequence", "digits-repeat", "--strategy", "ewc", "--seeds", 1),
        *("--reference", "ewc", "--out", tmp_path / "b"),
    )
    assert code == 0
    (one,), (other,) = ours.records, db.load(tmp_path / "b").records
    assert one.correct == other.correct
    assert one.update_norms == other.update_norms
    assert one.strategy == other.strategy


def test_only_what_was_asked_for_is_returned(one_thread, tmp_path):
    db.run(strategies=["sgd", "noop"], sequences=TINY, seeds=1, out=tmp_path)
    assert db.run(strategies=["noop"], sequences=TINY, seeds=1, out=tmp_path).strategies == (
        "noop",
    )


def test_a_failed_strategy_raises_and_keeps_the_others(one_thread, tmp_path):
    @dataclass(frozen=True)
    class Broken(db.Strategy):
        name: ClassVar[str] = "broken"

        def begin(self, task, parameters, memory):
            raise ZeroDivisionError("on purpose")

    with pytest.raises(db.DriftboardError, match=r"training failed: .*on purpose.* kept in"):
        db.run(strategies=["sgd", Broken], sequences=TINY, seeds=1, out=tmp_path)
    assert db.load(tmp_path).strategies == ("sgd",)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"strategies": ["sgd", "sgd"]}, "named twice"),
        ({"strategies": []}, "no strategy was given"),
        ({"strategies": [3]}, "3 is no strategy"),
        ({"strategies": ["egc"]}, "did you mean ewc"),
        ({"sequences": "digits-splat"}, "did you mean digits-split"),
        ({"sequences": [4]}, "4 is no sequence"),
        ({"suite": "quik"}, "no suite 'quik'"),
        ({"seeds": 99}, "seeds"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": "3"}, "seeds is '3'"),
        ({"workers": 0}, "workers is 0"),
        ({"sequences": []}, "no sequence was given"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(tmp_path, arguments, complaint):
    with pytest.raises(db.DriftboardError, match=complaint) as raised:
        db.run(**{"strategies": ["sgd"], "out": tmp_path, **arguments})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "records").exists()


def test_grades_are_measured_and_shown(one_thread, tmp_path):
    grades = db.grade(TINY, seeds=2, out=tmp_path)
    frame = grades.frame()
    assert frame.index.tolist() == ["tiny-rotated"]
    assert frame.loc["tiny-rotated", "low"] <= frame.loc["tiny-rotated", "distance"]
    assert set(grades.pairs()["second_task"]) == {2}
    assert "tiny-rotated" in repr(grades)
    with pytest.raises(db.DriftboardError, match="at least 2"):
        db.grade(TINY, parts=1, out=tmp_path)


def test_a_script_needs_no_guard(tmp_path):
    """Worker processes do not run the user's script, which would start workers of their own."""
    script = tmp_path / "script.py"
    script.write_text("""
from dataclasses import dataclass
from typing import ClassVar
import driftboard as db
print("running")

@dataclass(frozen=True)
class Mine(db.Strategy):
    name: ClassVar[str] = "mine"
    def begin(self, task, parameters, memory):
        return helper(task), memory

def helper(task):
    return task.everything()

results = db.run(sequences="digits-repeat", strategies=["sgd", Mine], seeds=1, out="out")
print(results.strategies)
""")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["running", "('mine', 'sgd')"]


FACTOR = 1.0


@dataclass(frozen=True)
class Scaled(db.Strategy):
    """Scales every gradient by a value of this module."""

    name: ClassVar[str] = "scaled"

    def correct(self, task, gradient, parameters, memory):
        return {name: FACTOR * value for name, value in gradient.items()}


def test_a_run_leaves_the_class_as_it_was(one_thread, tmp_path, monkeypatch):
    """So what it uses can be changed, and the next run trains with the change."""
    from driftboard._session import load_strategies

    before = Scaled.correct
    load_strategies(Scaled, tmp_path)
    assert Scaled.correct is before
    assert Scaled.correct.__globals__ is globals()


SCENARIO = """
from dataclasses import dataclass
import driftboard as db
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Rotated

@dataclass(frozen=True)
class Turned:
    tasks: int = 2
    fresh_sets: int = 1

    def recipes(self, view):
        return Rotated(tasks=2, step=DEGREES).recipes(view)

turned = db.TaskSequence("turned", "Turned.", "digits", Turned(), "mlp-8x1", train_per_class=5,
    test_per_class=5, training=Training(1, 10, 0.05, minimum_steps=3))
"""


def test_code_of_an_own_scenario_is_part_of_the_version_of_its_sequences(
    one_thread, tmp_path, call
):
    def run(degrees, out):
        file = tmp_path / "mine.py"
        file.write_text(SCENARIO.replace("DEGREES", str(degrees)))
        arguments = ("run", "--sequence-file", file, "--strategy", "sgd", "--seeds", 1)
        code, _, errors = call(*arguments, "--out", tmp_path / out)
        return code, errors

    assert run(20, "first")[0] == 0
    assert run(180, "second")[0] == 0
    (first,), (second,) = (db.load(tmp_path / name).records for name in ("first", "second"))
    assert first.sequence.hash != second.sequence.hash
    assert first.correct != second.correct
    code, errors = run(180, "first")
    assert code == 1
    assert "holds 1 record of another version of the sequence" in errors
    assert run(20, "first")[0] == 0  # the same code again is the same sequence


def test_a_scenario_of_the_session_is_told_apart_by_its_code(one_thread, tmp_path):
    def hash_of(degrees, out):
        session = {"__name__": "__main__"}  # as in a script or a notebook
        exec(SCENARIO.replace("DEGREES", str(degrees)), session)
        results = db.run(strategies=["sgd"], sequences=session["turned"], seeds=1, out=out)
        return results.records[0].sequence.hash

    assert hash_of(20, tmp_path / "a") == hash_of(20, tmp_path / "b")
    assert hash_of(20, tmp_path / "c") != hash_of(180, tmp_path / "d")


TRANSFORMATION = """
from dataclasses import dataclass
import driftboard as db
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Relabelled, Transformed

@dataclass(frozen=True)
class Dimmed:
    def __call__(self, images):
        return images // SHARE

dimmed = db.TaskSequence("dimmed", "", "digits", Transformed(Relabelled(2, 5), (None, Dimmed())),
    "mlp-8x1", train_per_class=5, test_per_class=5, training=Training(1, 10, 0.05, minimum_steps=3))
"""


def test_a_transformation_of_the_session_is_told_apart_by_its_code(one_thread, tmp_path):
    def record_of(share, out):
        session = {"__name__": "__main__"}
        exec(compile(TRANSFORMATION.replace("SHARE", str(share)), "mine.py", "exec"), session)
        results = db.run(strategies=["sgd"], sequences=session["dimmed"], seeds=1, out=out)
        return results.records[0]

    first, same, other = (record_of(share, tmp_path / str(n)) for n, share in enumerate((2, 2, 9)))
    assert first.sequence.hash == same.sequence.hash != other.sequence.hash
    assert first.drift_norms == same.drift_norms != other.drift_norms


def test_sequences_of_a_session_that_share_a_class_have_the_hashes_that_each_has_alone(
    one_thread, tmp_path
):
    more = """
@dataclass(frozen=True)
class Inverted:
    def __call__(self, images):
        return 255 - images

both = db.TaskSequence("both", "", "digits", Transformed(Relabelled(2, 5), (Inverted(), Dimmed())),
    "mlp-8x1", train_per_class=5, test_per_class=5, training=Training(1, 10, 0.05, minimum_steps=3))
"""
    session = {"__name__": "__main__"}
    exec(compile(TRANSFORMATION.replace("SHARE", "2") + more, "mine.py", "exec"), session)
    together = [session["dimmed"], session["both"]]
    found = []
    for number, chosen in enumerate((together, together[:1], together[1:], together[::-1])):
        out = tmp_path / str(number)
        results = db.run(strategies=["sgd"], sequences=chosen, seeds=1, out=out)
        again = db.run(strategies=["sgd"], sequences=together[:1], seeds=1, out=out)
        assert {record.sequence.name for record in again.records} == {"dimmed"}
        found.append({record.sequence.name: record.sequence.hash for record in results.records})
    assert found[0] == found[1] | found[2] == found[3]


def test_what_was_asked_for_can_be_loaded_again_as_it_says(one_thread, tmp_path):
    db.run(strategies=["sgd", "noop"], sequences=TINY, seeds=2, out=tmp_path)
    some = db.run(strategies=["noop"], sequences=TINY, seeds=1, out=tmp_path)
    again = eval(some.made_by, {"driftboard": db})
    assert again.records == some.records
    every = db.run(strategies=["sgd", "noop"], sequences=TINY, seeds=2, out=tmp_path)
    assert every.made_by == f"driftboard.load({str(tmp_path)!r})"


def test_a_class_is_checked_without_a_file():
    results = db.check_strategy(Slow(share=0.25))
    assert {result.status for result in results} <= {"ok", "warning"}
    assert len(results) > 10


def test_no_worker_starts_where_nothing_is_missing(one_thread, tmp_path, monkeypatch, capfd):
    db.run(strategies=["sgd"], sequences=TINY, seeds=1, out=tmp_path)

    def start(*_):
        raise AssertionError("a worker was started")

    monkeypatch.setattr("driftboard.suite.runs.local.local_executor", start)
    assert len(db.run(strategies=["sgd"], sequences=TINY, seeds=1, out=tmp_path)) == 1
    assert "1 sequence x 1 strategy, 1 cell: all there already" in capfd.readouterr().err

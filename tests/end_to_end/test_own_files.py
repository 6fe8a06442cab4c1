"""Strategies of several files, edited strategies, and sessions that import: as a user has them."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import MARKER, read_record, record_paths

SEQUENCES = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Relabelled, TaskSequence

tiny = TaskSequence(
    name="tiny", description="", source="digits", scenario=Relabelled(2, 5), network="mlp-8x1",
    train_per_class=10, test_per_class=10,
    training=Training(epochs=1, minimum_steps=2, batch_size=10, learning_rate=0.05),
)
"""
CLASS = """
@dataclass(frozen=True)
class {kind}(db.Strategy):
    name: ClassVar[str] = "{name}"

    def begin(self, task, parameters, memory):
        {first}
        plan = task.everything()
        return db.UpdatePlan({share} * plan.share, plan.restart), memory
"""
LATER = "from helpers import later"
STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
import driftboard as db
import helpers
"""


def write(folder, name="mine", share=0.5, later=0.5):
    """Write a strategy with a package of helpers and return its file."""
    (folder / "helpers").mkdir(parents=True, exist_ok=True)
    (folder / "helpers" / "__init__.py").write_text(f"SHARE = {share}\n")
    (folder / "helpers" / "later.py").write_text(f"SHARE = {later}\n")
    own = CLASS.format(kind="Mine", name=name, first=LATER, share="helpers.SHARE * later.SHARE")
    (folder / "mine.py").write_text(STRATEGY + own)
    (folder / "sequences.py").write_text(SEQUENCES)
    return folder / "mine.py"


def shares(results):
    """Return what each strategy did in its second task."""
    found = [read_record(path) for path in record_paths(results)]
    return {one.strategy.name: one.plans[1].share[0] for one in found}


def words(folder, *strategies, seeds=2):
    """Return the words of a run."""
    chosen = [word for one in ("sgd", *strategies) for word in ("--strategy", one)]
    run = ["run", "--sequence-file", folder / "sequences.py", *chosen, "--seeds", seeds]
    return [*run, "--out", folder / "out", "--device", "cpu"]


def test_two_strategies_with_helpers_of_one_name_run_together(call, one_thread, tmp_path):
    one = write(tmp_path / "a", "one", 0.5, 0.5)
    two = write(tmp_path / "b", "two", 0.25, 1.0)
    code, _, errors = call(*words(tmp_path / "a", one, two))
    assert code == 0, errors
    assert shares(tmp_path / "a" / "out") == {"sgd": 1.0, "one": 0.25, "two": 0.25}
    for path in record_paths(tmp_path / "a" / "out"):
        stamp = read_record(path).strategy
        if stamp.name != "sgd":
            file = {"one": one, "two": two}[stamp.name]
            assert stamp == load_strategy(str(file)).stamp
            assert stamp.files == ("helpers/__init__.py", "helpers/later.py", "mine.py")


def test_an_edited_strategy_is_refused_and_trained_again_only_where_asked_for(
    call, one_thread, tmp_path
):
    file = write(tmp_path)
    run = words(tmp_path, file)
    assert call(*run)[0] == 0
    before = {path: path.read_bytes() for path in record_paths(tmp_path / "out")}

    file.write_text(f"# A remark.\n\n{file.read_text()}\n")
    code, _, errors = call(*run)
    assert (code, "4 cells: all there already" in errors) == (0, True)

    write(tmp_path, later=0.25)
    code, out, errors = call(*run)
    first = tmp_path / "out" / "records" / "tiny" / "mine" / "seed-0000.json"
    assert (code, out) == (1, "")
    assert errors == (
        f"driftboard: {tmp_path / 'out'} holds 2 records of another version of the strategy mine, "
        f"such as {first}; add --overwrite (in Python overwrite=True) to measure them again, or "
        "choose another --out\n"
    )
    assert {path: path.read_bytes() for path in record_paths(tmp_path / "out")} == before

    code, _, errors = call(*run, "--overwrite")
    assert code == 0
    assert "measured again: 2 records of another version of the strategy mine" in errors
    assert shares(tmp_path / "out") == {"sgd": 1.0, "mine": 0.125}
    for path, content in before.items():
        assert (path.read_bytes() == content) is ("sgd" in path.parts)


def test_whatever_is_of_another_version_is_overwritten(call, one_thread, tmp_path):
    """Records of an older schema, of another protocol and of another sequence, and broken ones."""
    file = write(tmp_path)
    run = words(tmp_path, file)
    assert call(*run)[0] == 0
    paths = list(record_paths(tmp_path / "out"))
    content = json.loads(paths[0].read_text())
    paths[0].write_text(json.dumps(content | {"schema": 2}))
    paths[1].write_text("{")
    marker = tmp_path / "out" / MARKER
    stamp = PROTOCOL.stamp()
    marker.write_bytes(msgspec.json.encode(replace(stamp, version=stamp.version - 1)))
    changed = SEQUENCES.replace("train_per_class=10", "train_per_class=20")
    (tmp_path / "sequences.py").write_text(changed)
    code, _, errors = call(*run)
    assert code == 1
    assert "2 records that this version cannot read" in errors
    assert "2 records of another version of the sequence tiny" in errors
    # A part of them would leave records of both protocols in one folder.
    code, _, errors = call(*words(tmp_path, seeds=1), "--overwrite")
    assert (code, "choose another --out" in errors) == (1, True)
    assert call(*run, "--overwrite")[0] == 0
    assert msgspec.json.decode(marker.read_bytes(), type=type(stamp)) == stamp
    assert "4 cells: all there already" in call(*run)[2]


SCRIPT = f"""
import sys
{STRATEGY}
import helpers.more
from helpers import cached
from sequences import tiny
{CLASS.format(kind="Global", name="global", first="", share="helpers.more.ONE * helpers.SHARE")}
{CLASS.format(kind="Cached", name="cached", first="", share="cached()")}
{CLASS.format(kind="Late", name="late", first=LATER, share="later.SHARE")}
results = db.run(
    strategies=["sgd", Global, Cached(), Late, "mine.py"], sequences=tiny, seeds=1, out="out",
    workers=2, overwrite="again" in sys.argv,
)
for one in results.records:
    print(one.strategy.name, one.plans[1].share[0], *one.strategy.files)
"""


@pytest.fixture
def script(tmp_path):
    """Return a function that runs a script beside its helpers, with worker processes."""

    def run(*arguments):
        (tmp_path / "script.py").write_text(SCRIPT)
        (tmp_path / "helpers" / "more.py").write_text("ONE = 1.0")
        init = tmp_path / "helpers" / "__init__.py"
        more = "import functools\n@functools.cache\ndef cached():\n    return SHARE\n"
        init.write_text(init.read_text().partition("\n")[0] + f"\n{more}")
        done = subprocess.run(
            [sys.executable, "script.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.splitlines(), done.stderr

    return run


def test_what_a_session_imports_is_part_of_its_strategies(tmp_path, script):
    write(tmp_path, share=0.5, later=0.25)
    lines, errors = script()
    package = "helpers/__init__.py"
    assert lines == [
        f"cached 0.5 {package}",
        f"global 0.5 {package} helpers/more.py",
        f"late 0.25 {package} helpers/later.py",
        f"mine 0.125 {package} helpers/later.py mine.py",
        "sgd 1.0 sgd.py",
    ], errors
    write(tmp_path, share=0.5, later=0.75)
    lines, errors = script()
    assert lines == []
    for name in ("late", "mine"):
        assert f"1 record of another version of the strategy {name}" in errors
    assert "strategy global" not in errors
    lines, errors = script("again")
    assert lines[2:4] == [
        f"late 0.75 {package} helpers/later.py",
        f"mine 0.375 {package} helpers/later.py mine.py",
    ], errors
    assert not list(Path(tmp_path).rglob("__pycache__/mine*"))


NETWORK = """
from dataclasses import dataclass
from math import prod
from torch import nn

@dataclass(frozen=True)
class Net:
    width: int
    name: str = "net"

    def build(self, image_shape, units):
        first, last = nn.Linear(prod(image_shape), self.width), nn.Linear(self.width, units)
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
"""


def test_a_users_network_gives_the_counts_of_the_built_in_one(call, one_thread, tmp_path):
    """Trained by workers, which build it from the source that was read here."""
    counts = {}
    own = NETWORK + SEQUENCES.replace('"mlp-8x1"', "Net(8)")
    for name, text in (("ours", SEQUENCES), ("theirs", own)):
        write(tmp_path / name)
        (tmp_path / name / "sequences.py").write_text(text)
        code, _, errors = call(*words(tmp_path / name, "ewc"))
        assert code == 0, errors
        found = [read_record(path) for path in record_paths(tmp_path / name / "out")]
        counts[name] = [(one.strategy.name, one.seed, one.correct) for one in found]
        lanes = {one.environment.lane for one in found}
        assert lanes == {"stacked"}
    assert counts["ours"] == counts["theirs"]
    assert found[0].sequence.blocks == ("1", "3")


def test_a_users_network_that_is_none_ends_a_run_in_a_line(call, one_thread, tmp_path):
    write(tmp_path)
    text = NETWORK.replace("nn.ReLU()", "nn.BatchNorm1d(self.width)")
    text += SEQUENCES.replace('"mlp-8x1"', "Net(8)")
    (tmp_path / "sequences.py").write_text(text)
    code, _, errors = call(*words(tmp_path))
    assert code == 1
    last = errors.strip().splitlines()[-1]
    place = "driftboard: network 'net' (sequences.py, line 11)"
    assert last.startswith(f"{place}: '2' is a BatchNorm1d with running statistics")

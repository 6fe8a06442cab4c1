"""Objects of a session: workers get what was given, and no two versions share records."""

import dataclasses
import importlib.util
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import driftboard as db
from driftboard._session import load_all_sequences, load_strategies, source_of
from driftboard.strategies.algorithm_1 import AlgorithmOne
from driftboard.strategies.constrained import Constrained
from driftboard.strategies.template import MyMethod
from driftboard.suite.loading import load_strategy
from driftboard.suite.sequences import Rotated
from driftboard.suite.sequences.registry import registered

FACTOR = 1.0


def helper(share):
    return FACTOR * share


@dataclass(frozen=True)
class Mine(db.Strategy):
    """Take a part of every step."""

    share: float = 0.5
    whole: bool = False
    kind: str = "near"

    name: ClassVar[str] = "mine"

    def begin(self, task, parameters, memory):
        plan = task.everything()
        return db.UpdatePlan(helper(self.share) * plan.share, plan.restart), memory


@pytest.mark.parametrize(
    "given",
    [
        *(Mine(), Mine(share=0.25), Mine(share=1e-05, whole=True, kind="far")),
        *(Constrained(), Constrained(share=0.1), Constrained(share=0.1, first_block=0.3)),
        *(AlgorithmOne(), AlgorithmOne(threshold=0.5, anchor="initial"), MyMethod(strength=2.0)),
    ],
)
def test_the_same_object_arrives(tmp_path, given):
    (loaded,) = load_strategies(given, tmp_path)
    assert type(loaded.strategy).__name__ == type(given).__name__
    assert dataclasses.asdict(loaded.strategy) == dataclasses.asdict(given)


def test_one_strategy_needs_no_list(tmp_path):
    for one, name in (("ewc", "ewc"), (Mine, "mine"), (Mine(share=2.0), "mine-share-2.0")):
        assert [loaded.stamp.name for loaded in load_strategies(one, tmp_path)] == [name]


def test_a_folder_may_have_commas_and_colons_in_its_name(tmp_path):
    folder = tmp_path / "a,b=1:c"
    (loaded,) = load_strategies(Mine(share=0.25), folder)
    assert loaded.strategy.share == 0.25
    assert next(folder.iterdir()).name.startswith("Mine-")


class WithInit(db.Strategy):
    name: ClassVar[str] = "with-init"

    def __init__(self, k=1):
        object.__setattr__(self, "k", k)


@dataclass(frozen=True)
class Refuses(db.Strategy):
    name: ClassVar[str] = "refuses"

    def __post_init__(self):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (WithInit(5), "k of WithInit would be lost"),
        (Refuses, r"Refuses\(\) fails: ValueError: no; test_session.py, line"),
        (db.Strategy, "give Strategy a name of its own, '' is empty"),
        ([int], "is no strategy"),
        (Mine(kind="a,b"), "'b' does not set a parameter"),
        (Mine(share=float("nan")), "numbers are finite"),
    ],
)
def test_what_would_not_arrive_is_refused(tmp_path, given, complaint):
    with pytest.raises(db.StrategyError, match=complaint):
        load_strategies(given, tmp_path)


def test_what_cannot_be_copied_is_an_error_of_one_line(tmp_path):
    import threading

    lock = threading.Lock()

    @dataclass(frozen=True)
    class Locks(db.Strategy):
        name: ClassVar[str] = "locks"

        def begin(self, task, parameters, memory):
            with lock:
                return task.everything(), memory

    with pytest.raises(db.DriftboardError, match="Locks cannot be sent to worker processes"):
        load_strategies(Locks, tmp_path)


# Versions. Each pair of snippets is run as a notebook or a prompt runs it: in the main module.

CLASS = """
@dataclass(frozen=True)
class Mine(Base):
    share: float = 0.5
    name: ClassVar[str] = "mine"
    search: ClassVar[dict] = {"share": db.Range(0.1, 1.0)}

    def begin(self, task, parameters, memory):
        return [use(task) for _ in range(2)], self.half, memory

    @property
    def half(self):
        return 0.5 * self.share

    @staticmethod
    def fixed():
        return {"a", "b", "c"}
"""
CELLS = """
from dataclasses import dataclass
from typing import ClassVar
import driftboard as db

LIMIT = 3.0
unused = 1

class Base(db.Strategy):
    def finish(self, task, parameters, memory):
        return parameters, {"seen": 1}

def use(task, power=2):
    return task.noise ** power + LIMIT
"""


def versions(*sources):
    """Return the text that tells each version of Mine apart, all in one interpreter."""
    code = [CELLS, "from driftboard._session import source_of", "found = []"]
    for source in sources:
        code += [f"exec({source!r})", "found.append(source_of(Mine))"]
    code += ["print([found.index(one) for one in found])"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_matters_makes_another_version():
    changed = [
        CLASS.replace("0.5 *", "0.25 *"),  # a property
        CLASS.replace('"b"', '"d"'),
        CLASS.replace("range(2)", "range(3)"),  # within a comprehension
        CLASS.replace("float = 0.5", "float = 0.75"),  # a default
        CLASS.replace("0.1, 1.0", "0.2, 1.0"),
        CLASS.replace("    def begin", "    def _begin"),
        CLASS + "    def finish(self, *given):\n        return given\n",
        "LIMIT = 4.0\n" + CLASS,
        "LIMIT = 3.0\ndef use(task, power=3):\n    return task.noise ** power + LIMIT\n" + CLASS,
        CELLS.replace('"seen": 1', '"seen": 2') + CLASS,  # what it inherits
    ]
    assert versions(CLASS, *changed) == str([0, *range(1, len(changed) + 1)])


@pytest.mark.parametrize(
    "used",
    [
        "import torch\nused = torch.full((2,), {})\n",
        "import functools\nused = functools.partial(max, {})\n",
        "import functools\n@functools.cache\ndef used():\n    return {}\n",
        "def wrap(inner):\n    return lambda task: inner(task) + {}\nused = wrap(use)\n",
        "class Kept:\n    def __init__(self):\n        self.x = {}\nused = Kept()\n",
        "class Kept:\n    def x(self):\n        return {}\nused = Kept()\n",
        "class Kept:\n    def x(self):\n        return {}\nused = Kept().x\n",
        "used = [db.Range(0.5, {})]\n",
    ],
)
def test_what_a_method_uses_makes_another_version(used):
    own = CLASS.replace("use(task)", "used")
    assert versions(*(used.format(number) + own for number in (2, 2, 3))) == "[0, 0, 2]"


def test_what_does_not_matter_makes_no_version():
    same = [
        CLASS,
        CLASS.replace("    @property", "    # a remark\n    @property"),
        "unused = 2\nhalf = 3\n" + CLASS,
        CELLS + CLASS,
    ]
    assert versions(CLASS, *same) == str([0] * 5)


def test_a_version_is_the_same_in_every_process():
    script = CELLS + CLASS + "from driftboard._session import source_of\nprint(source_of(Mine))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


def made(factor):
    class Closes(db.Strategy):
        name: ClassVar[str] = "closes"

        def begin(self, task, parameters, memory):
            super().begin(task, parameters, memory)
            return factor, memory

    Closes.__module__ = "__main__"
    return Closes


def test_a_class_within_a_function_is_told_apart_by_what_it_closes_over():
    assert source_of(made(1)) == source_of(made(1)) != source_of(made(2))


@pytest.fixture
def module(tmp_path):
    """Return a function that writes a module and imports it."""
    names = []

    def imported(name, text):
        file = tmp_path / f"{name}.py"
        file.write_bytes(textwrap.dedent(text).encode())
        spec = importlib.util.spec_from_file_location(name, file)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        names.append(name)
        spec.loader.exec_module(loaded)
        return loaded, file

    yield imported
    for name in names:
        del sys.modules[name]


METHOD = """\
    import driftboard as db\r
    class Mine(db.Strategy):
        name = "mine"
        def begin(self, task, parameters, memory):
            return 1, memory
"""


def test_a_class_of_a_module_has_its_file(module):
    loaded, file = module("session_of_a_file", METHOD)
    source = source_of(loaded.Mine)
    assert [one.content for one in source.files] == [file.read_bytes()]
    assert source.text == ""
    assert source.digest == load_strategy(str(file)).stamp.source_hash


def test_a_file_that_has_changed_since_its_import_does_not_speak_for_the_class(module):
    loaded, file = module("session_of_an_old_file", METHOD)
    before = source_of(loaded.Mine)
    file.write_text(file.read_text().replace("return 1", "return 2"))
    after = source_of(loaded.Mine)
    assert after.files == ()
    assert after.digest not in (before.digest, load_strategy(str(file)).stamp.source_hash)


def test_the_files_of_bases_count(module):
    base, file = module("session_of_a_base", METHOD)
    first, second = (
        dataclass(frozen=True)(type("Derived", (base.Mine,), {"__module__": "__main__"}))
        for _ in range(2)
    )
    assert source_of(first) == source_of(second)
    assert [one.content for one in source_of(first).files] == [file.read_bytes()]


# Sequences.


def test_sequences_of_the_session(tmp_path):
    split = registered()["digits-split"]
    own = dataclasses.replace(split, name="mine", tier="own")
    names, files, _ = load_all_sequences([own, own, split, "digits-r*"], tmp_path)
    assert names == ["mine", "mine", "digits-split", "digits-r*"]
    assert len(files) == 1


@pytest.mark.parametrize(
    "changes",
    [{"train_per_class": np.int64(3)}, {"scenario": Rotated(5, 1.5)}, {"name": []}, {"source": 5}],
    ids=str,
)
def test_a_sequence_that_is_not_sound_is_refused_in_a_line(changes, tmp_path):
    own = dataclasses.replace(registered()["digits-split"], **({"name": "mine"} | changes))
    with pytest.raises(db.DriftboardError, match="expected") as caught:
        load_all_sequences([own], tmp_path)
    assert "\n" not in str(caught.value)
    assert next(iter(changes)) in str(caught.value) or "step" in str(caught.value)


def test_another_sequence_of_the_same_name_is_refused(tmp_path):
    split = registered()["digits-split"]
    own = dataclasses.replace(split, name="mine", tier="own")
    for given in (
        [dataclasses.replace(split, train_per_class=5)],
        [own, dataclasses.replace(own, train_per_class=5)],
    ):
        with pytest.raises(db.DriftboardError, match="give yours a name of its own"):
            load_all_sequences(given, tmp_path)

"""Loading strategies and sequences: by name, from a user's file, and every way to get it wrong."""

import inspect
import json
import os
import sys
from pathlib import Path

import msgspec
import pytest

from driftboard import baselines
from driftboard.baselines.published import published_records, published_sets
from driftboard.strategies import Strategy, template
from driftboard.strategies.catalogue import BUILTIN
from driftboard.suite.errors import DriftboardError, StrategyError
from driftboard.suite.loading import load_sequences, load_strategy
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import choose_sequences
from driftboard.suite.source.code import code_digest

HEADER = """
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy
"""

ONE = f"""{HEADER}
@dataclass(frozen=True)
class Mine(Strategy):
    strength: float = 0.5
    count: int = 3
    slow_start: bool = False
    labels: str = "exact"
    name: ClassVar[str] = "mine"
"""

TWO = f"""{ONE}
@dataclass(frozen=True)
class Other(Mine):
    name: ClassVar[str] = "other"
"""

OWN = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Corrupted, Overlap, Split, TaskSequence

def sequence(**changes):
    settings = dict(name="own", description="", source="digits", scenario=Split(5),
                    network="mlp-8x1")
    return TaskSequence(**(settings | changes))
"""


@pytest.fixture
def make_file(tmp_path):
    """Return a function that writes a Python file and returns its path."""

    def make(text, name="file.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def refusal(specification):
    """Return the one line with which ``load_strategy`` refuses a specification."""
    with pytest.raises(StrategyError) as caught:
        load_strategy(str(specification))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def sequence_refusal(*paths):
    """Return the one line with which ``load_sequences`` refuses files."""
    with pytest.raises(DriftboardError) as caught:
        load_sequences(paths)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Built-in strategies.


@pytest.mark.parametrize("name", BUILTIN)
def test_builtin_by_name(name):
    loaded = load_strategy(name)
    assert loaded.specification == name
    assert loaded.strategy is BUILTIN[name]
    assert loaded.stamp.name == name
    assert loaded.stamp.role == BUILTIN[name].role
    assert loaded.stamp.parameters == vars(BUILTIN[name])
    file = Path(inspect.getfile(type(BUILTIN[name])))
    assert loaded.stamp.source_hash == code_digest(file.read_bytes())
    assert loaded.stamp.files == (file.name,)


def test_unknown_strategy_shows_the_nearest_names():
    assert refusal("ewk") == "there is no strategy 'ewk'; did you mean ewc, er?"
    assert "see `driftboard strategies`" in refusal("zzzzzzzzz")
    assert "''" in refusal("")


def test_parameter_becomes_value_and_part_of_the_name():
    loaded = load_strategy("ewc,strength=10")
    assert loaded.specification == "ewc,strength=10"
    assert loaded.strategy.strength == 10.0
    assert type(loaded.strategy.strength) is float
    assert loaded.stamp.name == "ewc-strength-10.0"
    assert loaded.stamp.parameters == vars(BUILTIN["ewc"]) | {"strength": 10.0}


def test_several_parameters_of_every_type(make_file):
    path = make_file(ONE)
    loaded = load_strategy(f"{path},slow_start=True,count=7,strength=1e-5,labels=sampled")
    expected = {"strength": 1e-5, "count": 7, "slow_start": True, "labels": "sampled"}
    assert loaded.stamp.parameters == expected
    assert {key: type(value) for key, value in loaded.stamp.parameters.items()} == {
        "strength": float,
        "count": int,
        "slow_start": bool,
        "labels": str,
    }
    assert loaded.stamp.name == "mine-strength-1e-05-count-7-slow-start-true-labels-sampled"


def test_settings_have_one_name_however_they_are_written(make_file):
    path = make_file(ONE)
    name, *others = [
        "strength=0.25,count=7,rate=0.5",
        "rate=.5,count=7,strength=2.5e-1",
        "count=07,strength=0.250,labels=exact,rate=5e-1,slow_start=false",
        "strength=9,count=7,rate=0.5,strength=0.25",
    ]
    stamp = load_strategy(f"{path},{name}").stamp
    assert stamp.name == "mine-rate-0.5-strength-0.25-count-7"
    assert {str(load_strategy(f"{path},{other}").stamp) for other in others} == {str(stamp)}


@pytest.mark.parametrize(
    ("specification", "name"),
    [
        ("ewc,strength=30", "ewc"),
        ("ewc,strength=3e1,decay=1,labels=exact", "ewc"),
        ("ewc,rate=1", "ewc"),
        ("sgd,rate=1.00", "sgd"),
        ("ewc,rate=0.234,strength=64.60", "ewc-rate-0.234-strength-64.6"),
        ("constrained", "constrained-0.1"),
        ("constrained,share=0.3", "constrained-0.3"),
        ("constrained-0.3,share=.1", "constrained-0.1"),
        ("constrained-0.1,share=1,first_block=0.1", "constrained-first-0.1"),
        ("constrained,rate=0.5", "constrained-0.1-rate-0.5"),
        ("constrained,share=0.2", "constrained-share-0.2"),
        ("algorithm-1,anchor=initial,threshold=0.5", "algorithm-1-initial"),
        ("hybrid-scalar,share=-0.0,related=0", "hybrid-scalar-share-0.0-related-0.0"),
    ],
)
def test_settings_that_change_nothing_are_left_out(specification, name):
    loaded = load_strategy(specification)
    assert loaded.stamp.name == name
    if name in BUILTIN:
        assert loaded.strategy == BUILTIN[name]
        assert loaded.stamp == load_strategy(name).stamp
    assert ("rate" in loaded.stamp.parameters) is ("rate" in name)


def test_published_names_are_those_that_their_specifications_give():
    """Those of tuning records too, but for ``constrained``, which is ``constrained-0.1``."""
    tuned = Path(baselines.__file__).parent.glob("tuning/*/*.json")
    trials = [trial for path in tuned for trial in json.loads(path.read_bytes())["trials"]]
    given = {one["specification"]: one["strategy"] for one in trials}
    for one in published_sets().values():
        records = published_records(one.name)
        stamps = {one.strategy.name: msgspec.to_builtins(one.strategy) for one in records}
        given |= {text: stamps[name] for name, text in one.specifications.items()}
    assert len(given) == 164
    for specification, stamp in given.items():
        found = load_strategy(specification).stamp
        plain = specification == "constrained"
        assert found.name == ("constrained-0.1" if plain else stamp["name"])
        assert found.parameters.items() >= stamp["parameters"].items()


def test_parameters_do_not_touch_the_builtin():
    load_strategy("ewc,strength=10")
    assert load_strategy("ewc").strategy.strength == BUILTIN["ewc"].strength != 10.0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ("power=1", "'power=1' does not set a parameter of ewc; it has: strength, decay"),
        ("strength", "'strength' does not set a parameter"),
        ("", "does not set a parameter"),
        ("name=other", "does not set a parameter"),
        ("strength=much", "'strength=much': expected float"),
        ("strength=", "expected float"),
        ("separate=1", "use true or false"),
        ("strength=-1", "strength must be at least 0"),
        ("strength=nan", "strength must be at least 0"),
        ("strength=inf", "numbers are finite"),
        ("labels=all", "labels must be one of"),
    ],
)
def test_bad_parameter_is_refused(settings, word):
    assert word in refusal(f"ewc,{settings}")


def test_a_strategy_without_parameters_has_the_rate():
    assert "it has: rate" in refusal("sgd,strength=1")


def test_whole_number_is_not_rounded(make_file):
    assert "expected int" in refusal(f"{make_file(ONE)},count=2.5")


@pytest.mark.parametrize("value", ["with space", "a/b", "ü"])
def test_value_that_cannot_stand_in_a_name(make_file, value):
    assert "cannot be a strategy's name" in refusal(f"{make_file(ONE)},labels={value}")


# A user's file.


def test_file_with_one_strategy(make_file):
    path = make_file(ONE)
    loaded = load_strategy(str(path))
    assert loaded.stamp.name == "mine"
    assert loaded.stamp.role == "ranked"
    assert loaded.stamp.source_hash == code_digest(path.read_bytes())
    assert loaded.stamp.files == (path.name,)
    assert isinstance(loaded.strategy, Strategy)


def test_class_of_a_file_is_chosen_by_name(make_file):
    path = make_file(TWO)
    assert load_strategy(f"{path}:Other").stamp.name == "other"
    assert load_strategy(f"{path}:Mine,count=1").stamp.name == "mine-count-1"


def test_several_strategies_need_a_choice(make_file):
    path = make_file(TWO)
    message = refusal(path)
    assert f"{path}:Mine or {path}:Other" in message
    assert "it has Mine, Other" in refusal(f"{path}:Third")


def test_imported_strategies_are_not_those_of_the_file(make_file):
    path = make_file(f"from driftboard.strategies.sgd import Sgd\n{ONE}")
    assert load_strategy(str(path)).stamp.name == "mine"
    path = make_file("from driftboard.strategies.sgd import Sgd\n")
    assert "defines no strategy" in refusal(path)


def test_the_template_runs_as_a_users_copy(make_file):
    path = make_file(Path(template.__file__).read_text(), "copied.py")
    loaded = load_strategy(str(path))
    assert loaded.stamp.name == "my-method"
    assert loaded.stamp.parameters == {"strength": 0.01}
    assert load_strategy(f"{path},strength=0.5").strategy.strength == 0.5


def mine(body, decorator="@dataclass(frozen=True)"):
    return f"{HEADER}\n{decorator}\nclass Mine(Strategy):\n" + "".join(
        f"    {line}\n" for line in body.splitlines()
    )


NAMED = 'name: ClassVar[str] = "mine"\n'
BROKEN = {
    "no strategy": (HEADER, "defines no strategy"),
    "syntax error": ("def :\n", "does not import: SyntaxError"),
    "not text": ("\x00", "does not import"),
    "raises": ("raise RuntimeError('first\\nsecond')", "does not import: RuntimeError: first"),
    "raises without words": ("raise KeyError()", "KeyError; file.py, line 1: raise KeyError()"),
    "leaves": ("import sys\nsys.exit(3)", "does not import: SystemExit: 3"),
    "imports what is not there": ("import driftboard_absent", "ModuleNotFoundError"),
    "field without default": (mine(f"size: float\n{NAMED}"), "'size'"),
    "field of a strange type": (
        mine(f"rates: tuple = (1, 2)\n{NAMED}"),
        "field 'rates' of Mine must be bool, int, float or str",
    ),
    "default that is not finite": (mine(f'size: float = float("inf")\n{NAMED}'), "finite"),
    "default with a control character": (mine(f"text: str = '\\x1b'\n{NAMED}"), "one line"),
    "not frozen": (mine(NAMED, "@dataclass"), "does not import: TypeError"),
    "refuses its own defaults": (
        mine(f"{NAMED}def __post_init__(self): raise ValueError('never')"),
        "Mine() fails: ValueError: never; file.py, line 9: def __post_init__",
    ),
    "fails at its own defaults": (
        mine(f"{NAMED}def __post_init__(self): 1 / 0"),
        "Mine() fails: ZeroDivisionError: division by zero; file.py, line 9: def __post_init__",
    ),
    "fails at what it declares": (
        mine(f"{NAMED}search = property(lambda self: 1 / 0)"),
        "Mine() fails: ZeroDivisionError: division by zero; file.py, line 9: ",
    ),
    "taken name": (mine('name: ClassVar[str] = "ewc"'), "'ewc' is taken"),
    "empty name": (mine("pass"), "'' is empty"),
    "upper-case name": (mine('name: ClassVar[str] = "Mine"'), "cannot be a strategy's name"),
    "name that looks like an option": (
        mine('name: ClassVar[str] = "-x"'),
        "and underscores, and begin with a letter or digit",
    ),
    "name with a path": (mine('name: ClassVar[str] = "../x"'), "cannot be a strategy's name"),
    "long name": (mine('name: ClassVar[str] = "x" * 65'), "cannot be a strategy's name"),
    "name that is no text": (mine("name: ClassVar[list] = []"), "cannot be a strategy's name"),
    "strange role": (mine(f"{NAMED}role: ClassVar[str] = 'winner'"), "'ranked' or 'bound'"),
}


@pytest.mark.parametrize(("text", "word"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused(make_file, text, word):
    path = make_file(text)
    before = set(sys.modules)
    message = refusal(path)
    assert word in message
    if "does not import" in message:
        assert set(sys.modules) == before


def test_parameter_refused_by_a_users_code(make_file):
    check = "def __post_init__(self): 1 / (self.size - 2)"
    path = make_file(mine(f"size: float = 1.0\n{NAMED}{check}"))
    assert load_strategy(str(path)).strategy.size == 1.0
    assert refusal(f"{path},size=2") == (
        "mine: ZeroDivisionError: float division by zero; file.py, line 10: " + check
    )
    refuses = "def __post_init__(self):\n        if self.size > 1: raise ValueError('too large')"
    path = make_file(mine(f"size: float = 1.0\n{NAMED}{refuses}"))
    assert refusal(f"{path},size=2").startswith("mine: too large; file.py, line 11: if self.size")


def test_ctrl_c_while_a_file_is_imported_is_not_swallowed(make_file):
    with pytest.raises(KeyboardInterrupt):
        load_strategy(str(make_file("raise KeyboardInterrupt")))


def test_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "absent.py") == f"there is no file {tmp_path / 'absent.py'}"
    folder = tmp_path / "folder.py"
    folder.mkdir()
    assert "there is no file" in refusal(folder)


def test_file_of_another_kind_is_refused(make_file):
    assert "is not a Python file" in refusal(make_file(ONE, "file.py.txt"))


# Sequences.


def test_without_files_there_is_the_registry():
    assert load_sequences() == registered()


def test_own_sequences_are_added(make_file):
    first = make_file(f"{OWN}\none = sequence()\ntwo = sequence(name='own-2')", "first.py")
    second = make_file(f"{OWN}\nthree = sequence(name='own-3', scenario=Overlap(2, 4, 2))", "b.py")
    found = load_sequences((first, second))
    assert list(found) == [*registered(), "own", "own-2", "own-3"]
    assert found["own"].tier == "own"
    assert found["own"].scenario.tasks == 5
    assert found["own-3"].scenario.tasks == 2


def test_one_sequence_with_two_names_counts_once(make_file):
    assert "own" in load_sequences((make_file(f"{OWN}\na = b = sequence()"),))


UNSOUND = {
    "taken": ("name='digits-split'", "exists already"),
    "upper-case name": ("name='Own'", "lower-case letters"),
    "name that looks like an option": ("name='-x'", "and begin with a letter or digit"),
    "name with a path": ("name='../own'", "lower-case letters"),
    "name that is no text": ("name=5", "name of TaskSequence is 5; expected str, got int"),
    "name of the mean": ("name='overall'", "mean over all sequences"),
    "tier of the benchmark": ("tier='quick'", "tier must be 'own'"),
    "unknown tier": ("tier='mine'", "tier must be 'own'"),
    "one task": ("scenario=Split(1)", "tasks of Split is 1; expected int of at least 2"),
    "no scenario": ("scenario=None", "scenario of TaskSequence is None, which is no scenario"),
    "unknown network": ("network='mlp'", "there is no network 'mlp'"),
    "network that is no text": ("network=8", "network of TaskSequence is 8; expected a name"),
    "no training images": ("train_per_class=0", "train_per_class of TaskSequence is 0; expected"),
    "images that are no number": ("train_per_class='all'", "expected int"),
    "empty batches": ("training=Training(1, 0, 0.1)", "batch_size of Training is 0; expected"),
    "training of another type": ("training={'epochs': 1}", "training of TaskSequence is"),
    "noise that is not there": ("scenario=Corrupted(Split(5), 7)", "severity of Corrupted is 7"),
    "data that nobody knows": ("source='diggits'", "no data set is called 'diggits'"),
}


@pytest.mark.parametrize(("change", "word"), UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_sequence_is_refused_where_it_is_chosen(make_file, change, word):
    path = make_file(f"{OWN}\nmine = sequence({change})\ngood = sequence(name='good')")
    known = load_sequences((path,))
    (name,) = known.unsound
    for patterns in (None, ["*"], [name]):
        with pytest.raises(DriftboardError) as caught:
            choose_sequences(known, None, patterns, own=True)
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        assert word in message
        assert str(path) in message


@pytest.mark.parametrize(("change", "_"), UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_sequence_is_no_matter_where_others_are_chosen(make_file, change, _):
    others = "\n".join(f"good_{i} = sequence(name='good-{i}')" for i in range(11))
    known = load_sequences((make_file(f"{OWN}\nmine = sequence({change})\n{others}"),))
    assert len(known) == len(registered()) + 11
    chosen = choose_sequences(known, None, ["good-*"], own=True)
    assert [sequence.name for sequence in chosen] == [f"good-{i}" for i in range(11)]
    assert [s.name for s in choose_sequences(known, None, ["good-3"], own=True)] == ["good-3"]


def test_a_sequence_of_another_suite_is_said_to_be_of_that():
    known = registered()
    with pytest.raises(DriftboardError) as caught:
        choose_sequences(known, "quick", iter(["digits-*", "fashion-split"]), own=False)
    assert str(caught.value) == (
        "the suite quick has no sequence 'fashion-split', which is of core; name that suite, or "
        "none"
    )
    with pytest.raises(DriftboardError, match=r"there is no sequence 'digits-splot'; did you mean"):
        choose_sequences(known, "quick", ["digits-splot"], own=False)
    (chosen,) = choose_sequences(known, "quick", iter(["digits-split"]), own=False)
    assert chosen.name == "digits-split"


def test_two_own_sequences_of_one_name_are_refused(make_file):
    known = load_sequences((make_file(f"{OWN}\na, b = sequence(), sequence(source='mnist')"),))
    with pytest.raises(DriftboardError, match="exists already"):
        choose_sequences(known, None, ["own"], own=True)


def test_file_without_sequences_is_refused(make_file):
    assert "defines no sequence" in sequence_refusal(make_file(OWN))


@pytest.mark.parametrize(("text", "word"), [("1 / 0", "ZeroDivision"), ("exit(1)", "SystemExit")])
def test_sequence_file_that_does_not_import(make_file, text, word):
    assert f"does not import: {word}" in sequence_refusal(make_file(text))


@pytest.mark.parametrize(
    "line",
    [
        "from driftboard.suite.sequences import Sequence",
        "from driftboard.suite.scenarios import Split",
        "import driftboard.suite.registry",
    ],
)
def test_a_sequence_file_with_names_of_before_says_what_to_write_now(make_file, line):
    now = "from driftboard.suite.sequences import TaskSequence, Split"
    message = sequence_refusal(make_file(line))
    assert f"; write '{now}' (Sequence is called TaskSequence now" in message
    assert "defines no sequence" in sequence_refusal(make_file(now))


def test_a_strategy_file_with_a_wrong_import_of_ours_says_what_to_write(make_file):
    now = "from driftboard.strategies import Strategy"
    assert refusal(make_file("from driftboard.strategies.base import Plans")).endswith(
        f"; write '{now}'"
    )
    assert "write" not in refusal(make_file("import numpy.absent"))
    assert "defines no strategy" in refusal(make_file(now))


def test_missing_sequence_file(tmp_path):
    assert "there is no file" in sequence_refusal(tmp_path / "absent.py")


def test_an_edit_of_one_digit_in_the_same_second_is_seen(weighing, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for weight in (1.0, 2.0):
        file = weighing(weight)
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert load_strategy(str(file)).stamp.parameters == {"weight": weight}
    assert not (tmp_path / "__pycache__").exists()


@pytest.mark.parametrize("length", [1, 50, 64])
def test_settings_of_a_strategy_of_a_long_name_have_names_that_differ(tmp_path, length):
    name = "m" * length
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from driftboard.strategies import Strategy\n@dataclass(frozen=True)\n"
        f"class Mine(Strategy):\n    name: ClassVar[str] = {name!r}\n    strength: float = 1.0\n"
    )
    names = [load_strategy(f"{file},strength={value}").stamp.name for value in (2.0, 3.0, 2.0)]
    assert names[0] == names[2] != names[1]
    assert all(len(one) <= 64 for one in names)
    if length == 1:
        assert names == ["m-strength-2.0", "m-strength-3.0", "m-strength-2.0"]


def test_a_name_that_is_too_long_itself_is_refused_with_settings_too(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from typing import ClassVar\nfrom driftboard.strategies import Strategy\n"
        f"class Mine(Strategy):\n    name: ClassVar[str] = {'m' * 65!r}\n"
    )
    for specification in (str(file), f"{file},rate=0.5"):
        with pytest.raises(StrategyError, match="use up to 64 lower-case letters"):
            load_strategy(specification)


# Networks of a user's own.

NET = """
from dataclasses import dataclass
from driftboard.suite.sequences import Split, TaskSequence

@dataclass(frozen=True)
class Net:
    width: int = 4
    name: str = "net"

    def build(self, image_shape, units):
        raise NotImplementedError  # not before something is trained

def sequence(network, **changes):
    return TaskSequence("own", "", "digits", Split(5), network, **changes)
"""


def hash_of(make_file, text):
    (sequence,) = (one for name, one in load_sequences((make_file(text),)).items() if name == "own")
    return sequence.hash()


def test_a_users_network_is_told_apart_by_its_fields_and_its_code(make_file):
    plain = f"{NET}\nmine = sequence(Net())"
    changed = plain.replace("raise NotImplementedError", "raise ValueError")
    texts = plain, plain.replace("  # not", "  # never"), changed, plain.replace("Net()", "Net(5)")
    one, commented, other, wider = (hash_of(make_file, text) for text in texts)
    assert one == commented
    assert len({one, other, wider}) == 3


def test_a_users_network_is_listed_by_its_name(make_file, call):
    path = make_file(f"{NET}\nmine = sequence(Net())")
    code, listed, _ = call("sequences", "--sequence-file", path, "--suite", "own")
    assert code == 0
    assert "5 tasks, net, own." in " ".join(listed.split())
    code, plain, _ = call("sequences", "--sequence-file", path, "--suite", "own", "--json")
    network = json.loads(plain)[0]["network"]
    assert (network["class"], network["name"], network["width"]) == ("Net", "net", 4)
    assert len(network["source"]) == 64


@pytest.mark.parametrize(
    ("mine", "words"),
    [
        ("sequence(Net(name='mlp-8x1'))", "its network is called 'mlp-8x1', which names another"),
        ("sequence(Net(name='No Name'))", "name of Net is 'No Name'; use up to 64 lower-case"),
        ("sequence(Net)", "expected a name, or an object of a frozen dataclass"),
        ("sequence(Net(width=[1]))", "its fields may hold only plain data that can be hashed"),
        ("sequence(Split(5))", "which has no method build(image_shape, units)"),
        ("sequence('mlp-8x1', weights='a.pt')", "weights of TaskSequence is 'a.pt'; expected"),
        (
            "sequence('mlp-8x1', weights=Weights('a.pt', '0' * 64))",
            "weights are for networks timm:MODEL, and this one is mlp-8x1",
        ),
        (
            "sequence('timm:resnet18', weights=Weights('../a.pt', '0' * 64))",
            "file of Weights is '../a.pt'; expected",
        ),
    ],
)
def test_a_network_that_is_none_is_refused_before_it_is_built(make_file, mine, words):
    path = make_file(f"from driftboard.suite.sequences import Weights\n{NET}\nmine = {mine}")
    known = load_sequences((path,))
    assert words in known.unsound["own"]
    assert len(known.unsound["own"].splitlines()) == 1

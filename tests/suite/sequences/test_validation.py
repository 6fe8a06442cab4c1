"""Fields of sequences, scenarios and training: what is refused whatever the data, in one line."""

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from driftboard.suite.protocol import AdamTraining, Training
from driftboard.suite.sequences import groups, scenarios
from driftboard.suite.sequences.groups import ByGroup
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.network import Weights
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import (
    Corrupted,
    FewShot,
    Overlap,
    Permuted,
    Relabelled,
    Repeat,
    Rotated,
    RotatedTo,
    Split,
    Unequal,
)
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sequences.validation import problem_of

SOUND = {
    Split: Split(5),
    Unequal: Unequal((6, 2, 2)),
    ByGroup: ByGroup(8),
    Overlap: Overlap(5, 4, 2),
    Permuted: Permuted(5, 0.5),
    RotatedTo: RotatedTo((0, -15, 370)),
    Rotated: Rotated(5, -15),
    Relabelled: Relabelled(5, 3),
    Repeat: Repeat(5),
    Corrupted: Corrupted(Split(5), 5),
    FewShot: FewShot(Corrupted(Rotated(5, 15), 1), 1),
}
TRAINING = AdamTraining(epochs=1, batch_size=10, learning_rate=0.001)


def sequence(scenario=Split(5), **changes):  # noqa: B008
    return replace(TaskSequence("own", "Words.", "digits", scenario, "mlp-8x1"), **changes)


def test_every_scenario_has_a_sound_one_above():
    public = {
        value
        for module in (scenarios, groups)
        for value in vars(module).values()
        if hasattr(value, "recipes") and value is not scenarios.Scenario
    }
    assert set(SOUND) == public


@pytest.mark.parametrize("scenario", SOUND.values(), ids=str)
def test_sound_scenarios_have_no_problem(scenario):
    assert problem_of(sequence(scenario)) is None


@pytest.mark.parametrize("name", registered())
def test_registered_sequences_have_no_problem(name):
    assert problem_of(registered()[name]) is None


NUMBERS = [
    (kind, field.name)
    for kind in SOUND
    for field in fields(kind)
    if field.name not in ("base", "degrees")
    and kind is not ByGroup  # its fields have tests of their own
]
NEVER = ["3", None, True, math.nan, math.inf, -math.inf, (3,), np.int64(3), 3j]


@pytest.mark.parametrize("value", NEVER, ids=repr)
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=lambda one: getattr(one, "__name__", one))
def test_no_field_of_a_scenario_takes_what_is_no_number(kind, name, value):
    message = problem_of(sequence(replace(SOUND[kind], **{name: value})))
    assert message.startswith(f"{name} of {kind.__name__} is ")
    assert "\n" not in message
    assert problem_of(sequence(FewShot(replace(SOUND[kind], **{name: value}), 3))) == message


OUTSIDE = [
    (Split, "tasks", (1, 0, -1, 5.0)),
    (Overlap, "tasks", (1, 0, -1, 5.0)),
    (Overlap, "classes", (1, 0, -1, 4.0)),
    (Overlap, "shared", (-1, 2.0)),
    (Permuted, "tasks", (1, 0, -1, 5.0)),
    (Permuted, "share", (0, 0.0, -0.5, 1.5, 2)),
    (Rotated, "tasks", (1, 0, -1, 5.0)),
    (Rotated, "step", (10.5, 15.0, 361, -361)),
    (RotatedTo, "degrees", ((), (15,), (0, 10.5), (0, math.nan), (0, True), "90", (0, 721), 15)),
    (Relabelled, "tasks", (1, 0, -1, 5.0)),
    (Relabelled, "classes", (1, 0, -1, 3.0)),
    (Repeat, "tasks", (1, 0, -1, 5.0)),
    (Corrupted, "severity", (0, 6, 7, -1, 3.0)),
    (FewShot, "per_class", (0, -1, 10.0)),
]


@pytest.mark.parametrize(
    ("kind", "name", "values"), OUTSIDE, ids=lambda one: getattr(one, "__name__", one)
)
def test_what_is_out_of_range_is_refused(kind, name, values):
    for value in values:
        message = problem_of(sequence(replace(SOUND[kind], **{name: value})))
        assert message is not None, value
        assert f"{name} of {kind.__name__} is " in message
        assert repr(value)[:20] in message
        assert "\n" not in message


def test_the_message_says_what_is_expected():
    assert problem_of(sequence(Corrupted(Split(5), 7))) == (
        "severity of Corrupted is 7; expected int of at most 5"
    )
    assert problem_of(sequence(Permuted(5, 1.5))) == (
        "share of Permuted is 1.5; expected float of at most 1.0"
    )
    assert problem_of(sequence(Rotated(5, 10.5))) == (
        "step of Rotated is 10.5; expected int, got float"
    )
    assert problem_of(sequence(FewShot(Split(5), 0))) == (
        "per_class of FewShot is 0; expected int of at least 1"
    )
    assert problem_of(sequence(RotatedTo([0, 15]))) == (
        "degrees of RotatedTo is [0, 15]; expected a tuple"
    )


@pytest.mark.parametrize(
    "base", [None, 5, "Split(5)", Split, LinearSetting(2, 0, 5, 20, shared_norm=0)]
)
@pytest.mark.parametrize("outer", [lambda base: Corrupted(base, 3), lambda base: FewShot(base, 3)])
def test_what_is_altered_has_to_be_a_scenario(base, outer):
    message = problem_of(sequence(outer(base)))
    assert "base of " in message
    assert "is no scenario" in message


def test_a_base_is_checked_as_deep_as_it_lies():
    deep = FewShot(Corrupted(FewShot(Rotated(5, 1.5), 3), 3), 3)
    assert "step of Rotated is 1.5" in problem_of(sequence(deep))


SEQUENCE_FIELDS = {
    "name": (5, None, b"own"),
    "description": (5, None),
    "source": (5, None, "diggits", "folder:../x", "", "digits+", "digits+diggits", "digits+digits"),
    "scenario": (None, 5, Split, "Split(5)"),
    "network": (8, None),
    "tier": (5, None),
    "train_per_class": (0, -5, True, 2.0, math.nan, "all", np.int64(3)),
    "test_per_class": (0, -5, True, 2.0, math.nan, "all", np.int64(3)),
    "training": ({"epochs": 1}, 5, "adam", Training),
    "balance": (None, 0, 1, "no"),
    "class_incremental": (None, 0, 1, "seen"),
    "weights": (
        "a.pt",
        Weights("a.bin", 64 * "0"),
        Weights("../a.pt", 64 * "0"),
        Weights("a.pt", ""),
    ),
}


def test_every_field_of_a_sequence_is_above():
    assert set(SEQUENCE_FIELDS) == {field.name for field in fields(TaskSequence)}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in SEQUENCE_FIELDS.items() for v in values]
)
def test_no_field_of_a_sequence_takes_what_it_should_not(name, value):
    message = problem_of(sequence(**{name: value}))
    assert message is not None
    assert "\n" not in message


TRAINING_FIELDS = {
    "epochs": (0, -1, 1.0, True, None),
    "batch_size": (0, -1, 10.0, True),
    "learning_rate": (0, 0.0, -0.1, math.nan, math.inf, True, "0.1", None),
    "momentum": (-0.1, 1.0, 2, math.nan, True),
    "minimum_steps": (-1, 1.5, True),
    "second_momentum": (-0.1, 1.0, math.nan),
    "epsilon": (0.0, -1e-8, math.nan, math.inf),
}


def test_every_field_of_training_is_above():
    assert set(TRAINING_FIELDS) == {field.name for field in fields(AdamTraining)}
    assert problem_of(sequence(training=TRAINING)) is None


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in TRAINING_FIELDS.items() for v in values]
)
def test_training_out_of_range_is_refused(name, value):
    message = problem_of(sequence(training=replace(TRAINING, **{name: value})))
    assert message.startswith(f"{name} of AdamTraining is ")


def test_a_float_of_numpy_is_a_float():
    assert problem_of(sequence(Permuted(5, np.float64(0.5)))) is None


@dataclass(frozen=True)
class Own:
    """A scenario of a user's."""

    tasks: object = 3
    fresh_sets: object = 1
    more: object = ()

    def recipes(self, view):
        return []


@dataclass(frozen=True)
class Half:
    """Lacks what makes recipes."""

    tasks: int = 3
    fresh_sets: int = 1


class NoDataclass:
    """Nothing says what decides its tasks."""

    tasks = 3
    fresh_sets = 1
    recipes = None.__init__


def test_a_scenario_of_a_user_may_have_any_plain_fields():
    assert problem_of(sequence(Own(more=(1, "a", None, 2.5)))) is None
    assert problem_of(sequence(FewShot(Own(), 3))) is None


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (Own(tasks=1), "tasks of Own is 1; expected int of at least 2"),
        (Own(tasks=2.5), "tasks of Own is 2.5; expected int"),
        (Own(tasks=True), "tasks of Own is True; expected int"),
        (Own(fresh_sets=0), "fresh_sets of Own is 0; expected int of at least 1"),
        (Own(fresh_sets=None), "fresh_sets of Own is None; expected int"),
        (Own(more=[1, 2]), "can be hashed"),
        (Own(more=np.arange(3)), "plain data"),
        (Half(), "is no scenario"),
        (NoDataclass(), "plain data"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_scenario_of_a_user_that_cannot_be_run_is_refused(scenario, words):
    assert words in problem_of(sequence(scenario))


def test_a_scenario_of_a_user_that_raises_is_refused():
    class Raises(Own):
        @property
        def tasks(self):
            raise RuntimeError("two\nlines")

        @tasks.setter
        def tasks(self, value):
            pass

    message = problem_of(sequence(Raises()))
    assert message == (
        "tasks of Raises fails: RuntimeError: two; "
        'test_validation.py, line 270: raise RuntimeError("two\\nlines")'
    )


def test_regressions_have_no_classes_to_see():
    setting = LinearSetting(2, 0, 5, 20, shared_norm=0)
    linear = sequence(setting, source="linear", network="linear")
    assert problem_of(linear) is None
    message = problem_of(replace(linear, class_incremental=True))
    assert message == "a linear regression has no classes; leave out class_incremental"

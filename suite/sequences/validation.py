"""What is wrong with a user's sequence whatever its data: types and limits of every field.

The limits stand in the annotations of the fields. What only the data can tell, such as more
classes than there are, is found when the splits are made.
"""

import dataclasses
import inspect
import reprlib
from typing import Any, get_type_hints

import msgspec

from driftboard.suite.data import find_sources
from driftboard.suite.errors import DataError, cause_of, one_line, place_of
from driftboard.suite.protocol import FromOne, Training
from driftboard.suite.records import NAME, NAME_RULE
from driftboard.suite.sequences.linear import LinearSetting
from driftboard.suite.sequences.network import AnyNetwork, Weights
from driftboard.suite.sequences.scenarios import Scenario, Several
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.sequences.transformed import Transformations, transformations_of

_WORDS = (
    ("`array` of length >= ", "tuple of at least "),
    ("`array`", "tuple"),
    ("`", ""),
    (">= ", "of at least "),
    ("<= ", "of at most "),
    ("> ", "above "),
    ("< ", "below "),
)
"""What msgspec writes of a limit, and what a message says."""


def problem_of(sequence: TaskSequence) -> str | None:
    """Return what is wrong with a sequence, in a line, or None if nothing is.

    >>> from driftboard.suite.sequences import Corrupted, Split
    >>> problem_of(TaskSequence("own", "", "digits", Corrupted(Split(5), 7), "mlp-8x1"))
    'severity of Corrupted is 7; expected int of at most 5'
    """
    if problem := _problem_of_fields(sequence):
        return problem
    try:
        hash(sequence)
        sequence.hash()
    except (TypeError, ValueError, RecursionError) as error:
        return (
            "its fields may hold only plain data that can be hashed, such as tuples for lists: "
            f"{one_line(str(error))}"
        )
    if problem := _problem_of_weights(sequence):
        return problem
    if isinstance(sequence.scenario, LinearSetting):
        if sequence.class_incremental:
            return "a linear regression has no classes; leave out class_incremental"
    else:
        try:
            find_sources(sequence.source)
        except DataError as error:
            return str(error)
    return None


def _problem_of_fields(owner: Any) -> str | None:
    """Return the first problem of an object of a dataclass of ours."""
    hints = get_type_hints(type(owner), include_extras=True)
    for field in dataclasses.fields(owner):
        value, hint = getattr(owner, field.name), hints[field.name]
        where = f"{field.name} of {type(owner).__name__}"
        if hint == AnyNetwork:
            problem = _problem_of_network(value, where)
        elif hint is Scenario:
            # What is drawn anew for every task cannot be altered.
            problem = _problem_of_scenario(value, where, drawn=isinstance(owner, TaskSequence))
        elif hint == Transformations:
            problem = _problem_of_transformations(value, where)
        elif isinstance(value, Training | Weights):
            problem = _problem_of_fields(value)
        else:
            problem = _problem_of_value(value, hint, where)
        if problem:
            return problem
    return None


def _problem_of_network(network: Any, where: str) -> str | None:
    """Return what is wrong with a network before it is built, if anything."""
    if isinstance(network, str):
        return None
    kind = type(network)
    if not (dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        return (
            f"{where} is {reprlib.repr(network)}; expected a name, or an object of a frozen "
            "dataclass with a name and build(image_shape, units)"
        )
    if not callable(getattr(kind, "build", None)):
        return f"{where} is {reprlib.repr(network)}, which has no method build(image_shape, units)"
    try:
        name = network.name
    except (Exception, SystemExit) as error:  # a property of a user's class
        return f"name of {kind.__name__} fails: {cause_of(error)}{place_of(error)}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"name of {kind.__name__} is {reprlib.repr(name)}; {NAME_RULE}"
    return None


def _problem_of_weights(sequence: TaskSequence) -> str | None:
    if sequence.weights is None:
        return None
    if not isinstance(sequence.network, str) or not sequence.network.startswith("timm:"):
        return f"weights are for networks timm:MODEL, and this one is {sequence.network_name}"
    return None


def _problem_of_scenario(scenario: Any, where: str, *, drawn: bool) -> str | None:
    absent = object()
    whole = not isinstance(scenario, type) and all(
        inspect.getattr_static(scenario, name, absent) is not absent
        for name in ("tasks", "fresh_sets", "recipes")
    )
    if not whole or (isinstance(scenario, LinearSetting) and not drawn):
        return f"{where} is {reprlib.repr(scenario)}, which is no scenario"
    kind = type(scenario)
    if kind.__module__.startswith("driftboard.suite."):
        return _problem_of_fields(scenario)
    for name, hint in (("tasks", Several), ("fresh_sets", FromOne)):
        try:
            value = getattr(scenario, name)
        except (Exception, SystemExit) as error:  # a property of a user's class
            return f"{name} of {kind.__name__} fails: {cause_of(error)}{place_of(error)}"
        if problem := _problem_of_value(value, hint, f"{name} of {kind.__name__}"):
            return problem
    try:
        transformations = transformations_of(scenario)
    except (Exception, SystemExit) as error:
        return f"transformations of {kind.__name__} fails: {cause_of(error)}{place_of(error)}"
    return _problem_of_transformations(transformations, f"transformations of {kind.__name__}")


def _problem_of_transformations(value: Any, where: str) -> str | None:
    if not isinstance(value, tuple):
        return f"{where} is {reprlib.repr(value)}; expected a tuple"
    for one in value:
        is_object = dataclasses.is_dataclass(one) and not isinstance(one, type)
        if one is not None and not (is_object and callable(one)):
            return (
                f"{where} has {reprlib.repr(one)}; expected None, or an object of a frozen "
                "dataclass with a method __call__(self, images)"
            )
    return None


def _problem_of_value(value: Any, hint: Any, where: str) -> str | None:
    """Return a line that says what is expected, if a value is of another type or out of range."""
    plain = float(value) if isinstance(value, float) else value  # those of NumPy are floats, too
    try:
        msgspec.convert(plain, hint)
    except msgspec.ValidationError as error:
        expected = str(error).removeprefix("Expected ")
        for written, said in _WORDS:
            expected = expected.replace(written, said)
    else:
        if not isinstance(value, list):
            return None
        expected = "a tuple"  # msgspec takes either
    return f"{where} is {reprlib.repr(value)}; expected {expected}"

"""Options that commands share: what typer sees of a group, and what the command gets."""

import doctest
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from driftboard.suite.cli import options
from driftboard.suite.cli.options import (
    Training,
    chosen_sequences,
    excluded,
    expand_groups,
    known_sequences,
)
from driftboard.suite.errors import DriftboardError
from driftboard.suite.sequences.registry import registered

TRAINING = ["data", "device", "workers", "cluster", "ray_address", "overwrite"]


@dataclass(frozen=True, kw_only=True)
class Fruit:
    """A group of two options."""

    apples: Annotated[int, typer.Option(help="How many apples.")] = 2
    pear: Annotated[str | None, typer.Option("--pear", help="Which pear.")] = None


@pytest.fixture
def basket():
    """Return a command with options before, in and after a group, and what it was called with."""
    calls = []

    def fill(
        *,
        name: Annotated[str, typer.Argument(help="Whose basket.")],
        big: Annotated[bool, typer.Option("--big", help="A big one.")] = False,
        fruit: Fruit,
        leaves: Annotated[int, typer.Option(help="How many leaves.")] = 0,
    ) -> None:
        """Fill a basket.

        With fruit.
        """
        calls.append((name, big, fruit, leaves))

    return fill, calls


def invoke(command, *arguments):
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(command)
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "80"})


def test_the_signature_has_the_fields_in_the_place_of_the_group(basket):
    expanded = expand_groups(basket[0])
    parameters = inspect.signature(expanded).parameters
    assert list(parameters) == ["name", "big", "apples", "pear", "leaves"]
    defaults = {name: one.default for name, one in parameters.items()}
    assert defaults == {
        "name": inspect.Parameter.empty,
        "big": False,
        "apples": 2,
        "pear": None,
        "leaves": 0,
    }
    assert parameters["apples"].annotation.__metadata__[0].help == "How many apples."
    assert expanded.__name__ == "fill"
    assert expanded.__doc__ == basket[0].__doc__


def test_the_help_is_that_of_a_command_that_lists_the_options(basket):
    def fill(
        name: Annotated[str, typer.Argument(help="Whose basket.")],
        big: Annotated[bool, typer.Option("--big", help="A big one.")] = False,
        apples: Annotated[int, typer.Option(help="How many apples.")] = 2,
        pear: Annotated[str | None, typer.Option("--pear", help="Which pear.")] = None,
        leaves: Annotated[int, typer.Option(help="How many leaves.")] = 0,
    ) -> None:
        """Fill a basket.

        With fruit.
        """

    grouped, listed = invoke(expand_groups(basket[0]), "--help"), invoke(fill, "--help")
    assert (grouped.exit_code, listed.exit_code) == (0, 0)
    assert grouped.stdout == listed.stdout
    assert "--apples" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("me",), ("me", False, Fruit(), 0)),
        (
            ("me", "--pear", "Conference", "--leaves", 3, "--big"),
            ("me", True, Fruit(pear="Conference"), 3),
        ),
        (("me", "--apples", 5), ("me", False, Fruit(apples=5), 0)),
    ],
)
def test_the_command_gets_one_object(basket, arguments, expected):
    command, calls = basket
    assert invoke(expand_groups(command), *arguments).exit_code == 0
    assert calls == [expected]


def test_a_command_without_groups_is_called_as_before():
    calls = []

    def plain(name: str, count: int = 1) -> None:
        calls.append((name, count))

    assert list(inspect.signature(expand_groups(plain)).parameters) == ["name", "count"]
    assert invoke(expand_groups(plain), "x", "--count", 4).exit_code == 0
    assert calls == [("x", 4)]


def test_two_options_of_one_name_are_refused():
    def twice(*, pear: int = 1, fruit: Fruit) -> None:
        """Nothing."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'pear'"):
        expand_groups(twice)


@pytest.mark.parametrize("name", ["run", "grade", "sweep", "tune", "submit", "reproduce"])
def test_every_command_that_trains_has_the_options_for_it_together(name):
    from driftboard.suite.cli.main import COMMANDS

    (command,) = [one for one in COMMANDS if one.__name__ == name]
    names = list(inspect.signature(expand_groups(command)).parameters)
    place = names.index("data")
    assert names[place : place + len(TRAINING)] == TRAINING


def test_training_says_where_to_train():
    backend = Training(workers=3, cluster="ray", ray_address="here:1").backend()
    assert (backend.workers, backend.cluster, backend.ray_address) == (3, "ray", "here:1")
    with pytest.raises(DriftboardError, match="add --cluster ray to use it"):
        Training(ray_address="here:1")


def test_training_makes_a_request(tmp_path):
    sequences = chosen_sequences("quick", ["digits-split"])
    file = Path("own.py")
    training = Training(data=tmp_path / "data", device="cpu")
    request = training.request(
        tmp_path, sequences, [], sequence_files=[file], seed_count=2, purpose="validation"
    )
    assert not request.overwrite
    assert Training(overwrite=True).request(tmp_path, sequences, []).overwrite
    assert request.sequences == sequences
    assert (request.sequence_files, request.strategies, request.seed_count) == ((file,), (), 2)
    assert (request.purpose, request.results) == ("validation", tmp_path)
    assert (request.data, request.device) == (tmp_path / "data", "cpu")
    assert training.request(tmp_path, sequences, []).purpose == "test"


def test_sequences_are_the_built_in_ones_and_those_of_files(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from driftboard.suite.sequences.scenarios import Split\n"
        "from driftboard.suite.sequences.task_sequence import TaskSequence\n"
        "mine = TaskSequence('mine', 'Words.', 'digits', Split(2), 'mlp-8x1')\n"
    )
    assert known_sequences() == known_sequences([]) == registered()
    assert list(known_sequences([file])) == [*registered(), "mine"]
    assert [one.name for one in chosen_sequences(None, None, [file])] == ["mine"]
    assert {one.tier for one in chosen_sequences(None, None)} == {"quick"}
    assert [one.name for one in chosen_sequences(None, ["mine", "digits-split"], [file])] == [
        "digits-split",
        "mine",
    ]


def test_not_more_seeds_than_the_protocol_has_for_the_sequences():
    assert chosen_sequences("core", None, seed_count=10)
    with pytest.raises(DriftboardError, match="more than the 10 that"):
        chosen_sequences("core", None, seed_count=11)
    with pytest.raises(DriftboardError, match="more than the 5 that"):
        chosen_sequences("core", None, seed_count=10, tuning=True)


class Asked(Exception):  # noqa: N818
    """Carries a request that would have been run."""


@pytest.fixture
def asked(call, monkeypatch):
    """Return a function that gives the names of what a command would have run."""

    def refuse(training, request, what):
        raise Asked(request)

    monkeypatch.setattr(Training, "run_jobs", refuse)
    monkeypatch.setattr("driftboard.suite.runs.local.start_server", lambda: False)

    def run(command, tmp_path):
        with pytest.raises(Asked) as found:
            call(*command.split(), "--out", tmp_path)
        (request,) = found.value.args
        strategies = [one.stamp.name for one in request.strategies]
        return [one.name for one in request.sequences], strategies

    return run


QUICK = [name for name, one in registered().items() if one.tier == "quick"]
WITHOUT = [name for name in QUICK if not name.startswith("digits-rotated")]


@pytest.mark.parametrize(
    ("command", "sequences", "strategies"),
    [
        ("run --strategy sgd --strategy ewc", WITHOUT, ["sgd"]),
        (
            "run --suite quick --strategy sgd --strategy ewc --sequence *5 --sequence *t",
            [QUICK[0], QUICK[5]],
            ["sgd"],
        ),
        ("grade", WITHOUT, []),
        ("tune sgd ewc", WITHOUT, ["sgd"]),
        ("reproduce quick --strategy sgd --strategy ewc", WITHOUT, ["sgd"]),
    ],
)
def test_exclusions_leave_out_sequences_and_strategies(
    asked, tmp_path, command, sequences, strategies
):
    words = f"{command} --exclude digits-rotated-*"
    words += " --exclude ewc" if strategies else ""
    found, of = asked(words, tmp_path)
    assert sorted(found) == sorted(sequences)
    assert list(dict.fromkeys(name.split("-")[0] for name in of)) == strategies


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        (
            ["ewk"],
            "there is no sequence and no strategy to exclude called 'ewk'; did you mean ewc?",
        ),
        (["*s*t"], "--exclude leaves no sequence; leave out a part of them only"),
        (["sgd", "e*"], "--exclude leaves no strategy; leave out a part of them only"),
    ],
)
def test_exclusions_name_something_and_leave_something(patterns, words):
    with pytest.raises(DriftboardError) as refused:
        excluded(patterns, ["digits-split", "digits-tight"], ["sgd", "ewc"])
    assert str(refused.value) == words
    assert excluded(None, ["digits-split"], ["sgd"]) == set()


def test_the_reference_may_not_be_excluded(call, tmp_path):
    words = "run --strategy sgd --strategy ewc --exclude sgd --sequence digits-repeat --out"
    code, _, errors = call(*words.split(), tmp_path)
    assert code == 1
    assert errors == (
        "driftboard: the reference 'sgd' is left out by --exclude; keep it, or choose another with "
        "--reference\n"
    )


def test_the_examples_hold():
    assert doctest.testmod(options).failed == 0

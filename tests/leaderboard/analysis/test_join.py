"""Records from several sources: which stand, and what is said of those that do not."""

import itertools
import math

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import PUBLISHED, collect
from driftboard.leaderboard.analysis.join import (
    Choice,
    LeftOut,
    OtherKind,
    Source,
    Unchosen,
)
from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.records import cell_path, write_record

QUICK = Source("published quick", is_published=True)


def change(part, **changes):
    """Return a function that replaces fields of one part of a record."""
    return lambda record: replace(record, **{part: replace(getattr(record, part), **changes)})


def last(make_record, count, strategy="sgd", seed=0, sequence="alpha", **changes):
    """Return a record whose Avg.Acc is (60 + count) / 200."""
    return make_record(sequence, strategy, seed, ((90, 10), (60, count)), **changes)


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes records below a name and returns the folder."""

    def write(name, *records):
        for record in records:
            write_record(tmp_path / name, record)
        return tmp_path / name

    return write


def accuracies(collection):
    return {
        (cell.sequence, cell.strategy, cell.seed): round(200 * cell.metrics["avg_acc"]) - 60
        for cell in collection.cells
    }


def test_equal_cells_count_once_whatever_they_cost(make_record, folder):
    first = folder("first", make_record())
    again = change("cost", seconds=(7.0, 7.0))(make_record())
    second = folder("second", change("environment", device="another")(again))
    collection = collect([first, second])
    assert len(collection.cells) == 1
    assert collection.versions["device"] == ("cpu",)
    (pair,) = collection.left_out.same_cells
    assert (pair.left, pair.standing, pair.equal, pair.different) == (str(second), str(first), 1, 0)
    assert math.isnan(pair.largest)
    assert math.isnan(pair.average)
    assert collection.left_out.records == 0
    assert collect([first, first]).left_out == LeftOut()


def test_records_that_did_not_count_operations_may_be_equal(make_record, folder):
    first = folder("first", make_record(operations=(5, 5)))
    second = folder("second", make_record(operations=None))
    third = folder("third", make_record(operations=(5, 6)))
    assert met(collect([first, second, third])) == [(1, 0), (0, 1)]


def test_records_that_do_not_tell_what_passes_may_be_equal(make_record, folder):
    passed = ((1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    first = folder("first", make_record(passed=passed))
    second = folder("second", make_record())
    third = folder("third", make_record(passed=(passed[0], passed[0])))
    assert met(collect([first, second])) == [(1, 0)]
    assert met(collect([second, first])) == [(1, 0)]
    assert met(collect([first, third])) == [(0, 1)]


def met(found):
    return [(pair.equal, pair.different) for pair in found.left_out.same_cells]


def test_a_renamed_file_makes_no_other_strategy(make_record, folder):
    first = folder("first", make_record())
    second = folder("second", change("strategy", files=("renamed.py",))(make_record()))
    left = collect([first, second]).left_out
    assert (left.records, left.same_cells[0].equal) == (0, 1)


def test_of_one_cell_with_two_contents_the_first_folder_stands(make_record, folder):
    own = [last(make_record, 80, seed=seed) for seed in range(3)]
    first = folder("first", *own)
    other = [last(make_record, count, seed=seed) for seed, count in enumerate((80, 81, 77, 50))]
    second = folder("second", *other)
    collection = collect([first, second])
    assert accuracies(collection) == {
        ("alpha", "sgd", seed): count for seed, count in enumerate((80, 80, 80, 50))
    }
    (pair,) = collection.left_out.same_cells
    assert (pair.left, pair.standing) == (str(second), str(first))
    assert (pair.equal, pair.different) == (1, 2)
    assert pair.largest == pytest.approx(3 / 200)
    assert pair.average == pytest.approx(2 / 200)
    turned = accuracies(collect([second, first]))
    assert [turned["alpha", "sgd", seed] for seed in range(4)] == [80, 81, 77, 50]


@pytest.mark.parametrize(("prefer", "count"), [("own", 80), ("published", 70)])
def test_own_records_stand_before_published_ones_unless_asked_otherwise(
    make_record, folder, prefer, count
):
    own = folder("own", last(make_record, 80))
    published = {QUICK: [last(make_record, 70), last(make_record, 60, seed=1)]}
    collection = collect([own], records=published, choice=Choice(prefer=prefer))
    assert accuracies(collection) == {("alpha", "sgd", 0): count, ("alpha", "sgd", 1): 60}
    (pair,) = collection.left_out.same_cells
    assert (pair.equal, pair.different) == (0, 1)
    assert {pair.left, pair.standing} == {str(own), "published quick"}
    assert (pair.standing == "published quick") == (prefer == "published")
    assert pair.largest == pair.average == pytest.approx(10 / 200)


@pytest.mark.parametrize(
    ("edit", "aspects"),
    [
        (change("strategy", source_hash="e" * 64), ("source",)),
        (change("strategy", parameters={"rate": 0.5}), ("parameters",)),
        (change("strategy", source_hash="e" * 64, role="bound"), ("role", "source")),
    ],
)
def test_a_published_strategy_that_is_another_one_is_left_out_whole(
    make_record, folder, edit, aspects
):
    """Also in cells that only it has: one row is never made of two versions."""
    own = folder("own", edit(last(make_record, 80, "ewc")), last(make_record, 60))
    published = [last(make_record, 70, name, seed) for name in ("ewc", "sgd") for seed in range(3)]
    collection = collect([own], records={QUICK: published})
    assert [(cell.strategy, cell.seed) for cell in collection.cells] == [
        ("ewc", 0),
        *(("sgd", seed) for seed in range(3)),
    ]
    assert collection.left_out.other_kinds == (
        OtherKind("published quick", str(own), "strategy ewc", aspects, 3),
    )
    turned = collect([own], records={QUICK: published}, choice=Choice(prefer="published"))
    assert [cell.seed for cell in turned.cells if cell.strategy == "ewc"] == [0, 1, 2]
    (left,) = turned.left_out.other_kinds
    assert (left.left, left.standing, left.records) == (str(own), "published quick", 1)


def test_published_records_on_another_version_of_a_sequence_are_left_out(make_record, folder):
    own = folder("own", change("sequence", hash="f" * 64)(last(make_record, 80)))
    published = [last(make_record, 70, name, sequence=s) for name in ("ewc", "sgd") for s in "ab"]
    published += [last(make_record, 70, "ewc"), last(make_record, 70, "sgd", 1)]
    collection = collect([own], records={QUICK: published})
    assert [cell.strategy for cell in collection.cells if cell.sequence == "alpha"] == ["sgd"]
    (left,) = collection.left_out.other_kinds
    assert (left.subject, left.aspects, left.records) == ("sequence alpha", ("definition",), 2)


@pytest.mark.parametrize(
    ("edit", "subject"),
    [
        (change("protocol", version=3), "the protocol"),
        (lambda record: replace(record, split="validation"), "the split"),
    ],
)
def test_published_records_of_another_protocol_or_split_are_left_out(
    make_record, folder, edit, subject
):
    own = folder("own", edit(last(make_record, 80)))
    published = {QUICK: [last(make_record, 70, "ewc", seed) for seed in range(2)]}
    collection = collect([own], records=published)
    assert [cell.strategy for cell in collection.cells] == ["sgd"]
    (left,) = collection.left_out.other_kinds
    assert (left.subject, left.records) == (subject, 2)
    with pytest.raises(RecordError, match=r"'ewc'.*--reference: sgd; 2 records of another pro"):
        build_board(collection, "ewc")


def test_another_measure_is_left_out_beside_published_records_and_else_refused(
    make_record, make_loss_record, folder
):
    own = folder("own", make_loss_record())
    collection = collect([own], records={QUICK: [make_record("beta")]})
    assert collection.measure == "excess-loss"
    assert collection.left_out.other_kinds[0].subject == "the measure"
    with pytest.raises(RecordError, match="the measure is not the same"):
        collect([own, folder("other", make_record("beta"))])


def test_what_is_left_out_decides_nothing(make_record, folder):
    """A record that is left out for its strategy does not say what its sequence is."""
    own = folder("own", last(make_record, 80, "ewc"))
    other = change("strategy", source_hash="e" * 64)(last(make_record, 1, "ewc", sequence="beta"))
    second = folder("second", change("sequence", hash="f" * 64)(other))
    third = folder("third", last(make_record, 70, "sgd", sequence="beta"))
    collection = collect([own, second, third])
    assert accuracies(collection) == {("alpha", "ewc", 0): 80, ("beta", "sgd", 0): 70}
    assert [left.subject for left in collection.left_out.other_kinds] == ["strategy ewc"]


def test_a_mixture_inside_one_folder_is_refused_wherever_it_stands(make_record, folder):
    mixed = [make_record(seed=0), change("strategy", source_hash="e" * 64)(make_record(seed=1))]
    clean = folder("clean", make_record("alpha", "ewc"))
    for folders in ([folder("mixed", *mixed), clean], [clean, folder("mixed", *mixed)]):
        with pytest.raises(RecordError, match="strategy sgd is not the same in all records"):
            collect(folders)
    first = folder("first", make_record(seed=0))
    assert len(collect([first, folder("mixed", *mixed)]).cells) == 1


def test_two_contents_in_one_source_are_refused(make_record):
    source = Source("results")
    with pytest.raises(RecordError, match="one cell with different content"):
        collect([], records={source: [last(make_record, 80), last(make_record, 81)]})


def test_backing_names_the_sources_of_all_of_a_strategys_records(make_record, folder):
    own = folder("own", last(make_record, 80), last(make_record, 80, "ewc"))
    published = [last(make_record, 80), last(make_record, 70, "ewc"), last(make_record, 1, "joint")]
    other = Source("published other", is_published=True)
    more = [last(make_record, 2, "joint", seed=1)]
    backing = collect([own], records={QUICK: published, other: more}).backing
    assert backing == {
        "sgd": {Source(str(own)), PUBLISHED},
        "ewc": {Source(str(own))},
        "joint": {PUBLISHED},
    }


CELLS = tuple(itertools.product(("alpha", "alpha-2", "beta"), ("sgd", "ewc", "ewc-rate-2")))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (Choice(), CELLS),
        (Choice(strategies=("ewc*",)), [cell for cell in CELLS if cell[1] != "sgd"]),
        (Choice(strategies=("ewc", "sgd")), [cell for cell in CELLS if cell[1] != "ewc-rate-2"]),
        (Choice(sequences=("alpha*",)), [cell for cell in CELLS if cell[0] != "beta"]),
        (
            Choice(exclude=("ewc-*", "beta")),
            [cell for cell in CELLS if "rate" not in cell[1] and cell[0] != "beta"],
        ),
        (Choice(("ewc*",), ("beta",), ("ewc",)), [("beta", "ewc-rate-2")]),
    ],
)
def test_patterns_choose_strategies_and_sequences(make_record, folder, choice, expected):
    own = folder("own", *(make_record(*cell) for cell in CELLS[:5]))
    published = {QUICK: [make_record(*cell) for cell in CELLS[5:]]}
    collection = collect([own], records=published, choice=choice)
    assert sorted((c.sequence, c.strategy) for c in collection.cells) == sorted(expected)
    left = collection.left_out.unchosen
    if choice == Choice():
        assert left is None
        return
    assert left.records == len(CELLS) - len(expected)
    assert set(left.strategies) == {c[1] for c in CELLS} - {c[1] for c in expected}
    assert set(left.sequences) == {c[0] for c in CELLS} - {c[0] for c in expected}


def test_what_is_not_asked_for_is_not_read(make_record, folder):
    """So one broken or contradicting strategy can be left out."""
    own = folder("own", make_record(), make_record(strategy="ewc"))
    own = folder("own", change("strategy", source_hash="e" * 64)(make_record("alpha", "ewc", 1)))
    cell_path(own, "alpha", "late", 0).parent.mkdir()
    cell_path(own, "alpha", "late", 0).write_text("{")
    collection = collect([own], choice=Choice(exclude=("late", "ewc")))
    assert [cell.strategy for cell in collection.cells] == ["sgd"]
    assert collection.left_out.unchosen == Unchosen(3, ("ewc", "late"), ())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(strategies=("egc",)), "no strategy 'egc'; did you mean ewc"),
        (Choice(sequences=("gamma",)), "no sequence 'gamma'; .*alpha"),
        (Choice(exclude=("sgd", "x*")), r"no strategy or sequence 'x\*'"),
        (Choice(sequences=("alpha",), exclude=("alpha", "x y*")), r"no strategy or sequence 'x y"),
        (
            Choice(strategies=("sgd",), exclude=("al*",)),
            r"^--exclude 'al\*' leaves no record; leave out a part of them only$",
        ),
        (Choice(prefer="published"), "published records are preferred and there are none; name"),
    ],
)
def test_a_pattern_that_matches_nothing_is_one_line(make_record, folder, choice, message):
    own = folder("own", make_record(), make_record(strategy="ewc"))
    with pytest.raises(DriftboardError, match=message) as caught:
        collect([own], choice=choice)
    assert "\n" not in str(caught.value)


def test_the_options_say_what_the_choice_is():
    choice = Choice(("a*", "b"), ("s",), ("x",), "published")
    assert choice.options() == [
        *("--strategy", "a*", "--strategy", "b"),
        *("--sequence", "s", "--exclude", "x", "--prefer", "published"),
    ]
    assert Choice().options() == []

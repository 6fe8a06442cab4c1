"""``driftboard leaderboard`` and ``claim`` on records from several sources, as users join them."""

import csv
import html
import shlex

import pytest
from msgspec.structs import replace

from driftboard.baselines.published import published_records
from driftboard.suite.records import write_record


def published(strategy, sequences=("digits-split", "digits-permuted")):
    return [
        record
        for record in published_records("quick")
        if record.strategy.name == strategy and record.sequence.name in sequences
    ]


def one_off(record):
    """Return a record as another processor might have made it: one count differs by one."""
    (*rest, last) = record.correct
    return replace(record, correct=(*rest, (*last[:-1], abs(last[-1] - 1))))


@pytest.fixture
def own(tmp_path):
    """A results folder with sgd as it is published, and ewc as another processor made it."""
    for record in (*published("sgd"), *map(one_off, published("ewc"))):
        write_record(tmp_path / "own", record)
    return tmp_path / "own"


def rows_of(folder, sequence="digits-split"):
    with (folder / "leaderboard.csv").open() as file:
        return {
            row["strategy"]: row
            for row in csv.DictReader(file)
            if row["sequence"] == sequence and row["metric"] == "avg_acc"
        }


def test_own_results_of_published_strategies_join_them(call, own, tmp_path):
    words = ("leaderboard", own, "--published", "quick", "--format", "csv", "--format", "md")
    code, out, err = call(*words, "--out", tmp_path / "a")
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    note = f"published quick: 20 records of cells that stand as they are in {own}; 10 equal"
    assert note.replace("/", "") in said.replace(" ", " ").replace("/", "")
    assert "10 different and left out, in Avg.Acc" in said
    first = rows_of(tmp_path / "a")
    assert call(*words, "--prefer", "published", "--out", tmp_path / "b")[0] == 0
    turned = rows_of(tmp_path / "b")
    assert set(first) == set(turned)
    assert len(first) == 52
    assert first["ewc"]["mean"] != turned["ewc"]["mean"]
    assert first["hybrid"]["mean"] == turned["hybrid"]["mean"]
    assert (first["ewc"]["evidence"], first["sgd"]["evidence"]) == ("", "published")
    assert turned["ewc"]["evidence"] == "published"
    assert call("leaderboard", "--published", "quick", "--format", "csv", "--out", tmp_path / "c")
    assert turned == rows_of(tmp_path / "c")


def test_an_edited_copy_of_a_published_strategy_takes_its_row(call, tmp_path):
    for record in published("ewc"):
        stamp = replace(record.strategy, source_hash="e" * 64)
        write_record(tmp_path / "own", replace(record, strategy=stamp))
    words = ("leaderboard", tmp_path / "own", "--published", "quick", "--format", "csv")
    code, out, _ = call(*words, "--out", tmp_path / "a", "--sequence", "digits-split")
    assert code == 0
    assert "5 records left out, because strategy ewc has another source in" in " ".join(out.split())
    assert rows_of(tmp_path / "a")["ewc"]["missing"] == "0"


def test_strategies_and_sequences_are_chosen(call, tmp_path):
    words = ("leaderboard", "--published", "quick", "--format", "md", "--out", tmp_path)
    choice = ("--strategy", "sgd", "--strategy", "ewc*", "--exclude", "*-rate-*")
    code, out, _ = call(*words, *choice, "--sequence", "digits-r*")
    assert code == 0
    text = html.unescape((tmp_path / "leaderboard.md").read_text())
    assert "3 strategies on 3 sequences with 5 seeds, 45 records" in text
    assert "Left out as asked for: 1515 records, among them all of" in " ".join(out.split())
    asked = f"{shlex.join(choice[:4])} --sequence 'digits-r*' --exclude '*-rate-*'"
    assert f"--published quick {asked} --out" in text


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("--strategy", "egc"), "these records have no strategy 'egc'; did you mean ewc"),
        (("--sequence", "digits"), "these records have no sequence 'digits'; did you mean digits-"),
        (("--exclude", "nothing-*"), "these records have no strategy or sequence 'nothing-*'"),
        (
            ("--exclude", "sgd"),
            "'sgd' has records, but --strategy, --sequence or --exclude leaves all of them out; "
            "take it in, or name one of these with --reference: a-gem, algorithm-1",
        ),
        (("--strategy", "ewc"), "take it in, or name one of these with --reference: ewc\n"),
        (
            ("--reference", "nosuch", "--strategy", "ewc"),
            "no records of the reference strategy 'nosuch'; name one of these with --reference: "
            "ewc; 1530 records that were not asked for are left out",
        ),
        (("--exclude", "*"), "--exclude '*' leaves no record; leave out a part of them only"),
    ],
)
def test_a_choice_that_leaves_no_board_is_one_line(call, tmp_path, choice, message):
    code, _, err = call("leaderboard", "--published", "quick", *choice, "--out", tmp_path / "out")
    assert code == 1
    assert message in err
    assert err.count("\n") == 1


def test_published_records_are_preferred_only_where_there_are_some(call, own, tmp_path):
    for command in ("leaderboard", "claim"):
        code, _, err = call(command, own, "--prefer", "published", "--out", tmp_path / "out")
        assert (code, err) == (
            1,
            "driftboard: published records are preferred and there are none; name some with "
            "--published, such as --published quick, or leave --prefer out\n",
        )


def test_long_names_stand_whole_in_the_terminal(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ("leaderboard", "--published", "quick", "--format", "csv", "--out", tmp_path)
    lines = call(*words)[1].splitlines()
    (first,) = (n for n, line in enumerate(lines) if line.startswith(" ewc-rate-0.234- "))
    assert lines[first + 1].startswith(" strength-64.6 ")
    assert "…" not in "".join(lines)


def test_the_claim_takes_the_same_options(call, tmp_path):
    words = ("claim", "--published", "quick", "--out", tmp_path, "--exclude", "scratch")
    code, out, _ = call(*words)
    assert code == 0
    assert "Left out as asked for: 30 records, among them all of scratch." in out
    page = html.unescape((tmp_path / "claim.md").read_text())
    assert "Left out as asked for: 30 records, among them all of `scratch`." in page
    assert "driftboard claim --published quick --exclude scratch --out" in page
    assert "There are no records of `scratch`." in page


def test_a_board_of_folders_of_two_protocols_is_refused(call, own, tmp_path):
    record = published("ewc")[0]
    protocol = replace(record.protocol, version=99)
    write_record(tmp_path / "old", replace(record, protocol=protocol))
    code, _, err = call("leaderboard", own, tmp_path / "old", "--out", tmp_path / "out")
    assert code == 1
    assert "the protocol is not the same in all records" in err


def test_a_low_reliability_is_marked(call, tmp_path):
    out = call("sequences", "--suite", "core")[1]
    assert [line.split()[-2:] for line in out.splitlines() if "fashion-corrupted-5 " in line]
    assert "0.43!" in out
    assert "!: low, below 0.5." in out


def test_latex_tables_fit_a_width_that_is_told(call, make_record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        write_record(tmp_path / "r", make_record(seed=seed))
    words = ("leaderboard", "r", "--format", "tex", "--latex-width")
    assert call(*words, "icml-column")[0] == 0
    text = (tmp_path / "board" / "leaderboard.tex").read_text()
    assert "fits 234 points" in text
    assert "--latex-width icml-column" in text
    code, _, errors = call(*words, "wide")
    assert code == 1
    assert errors.startswith("driftboard: 'wide' is no width of a text; use a number such as 397pt")

"""Badges on the board: whose they are, and which reports are refused."""

import hashlib
import json

import pytest

from driftboard.leaderboard.analysis.collect import PUBLISHED
from driftboard.leaderboard.analysis.evidence import credits_of, evidence, submitted_among
from driftboard.leaderboard.analysis.join import Source
from driftboard.leaderboard.build import build_leaderboard
from driftboard.leaderboard.table import overall_table
from driftboard.suite.errors import RecordError
from driftboard.suite.records import write_record


@pytest.fixture
def submitted(make_record, tmp_path):
    """A results folder of a strategy ``mine`` with a submission.json, and one of sgd."""
    for seed in range(2):
        write_record(tmp_path / "mine", make_record(strategy="mine", seed=seed))
        write_record(tmp_path / "other", make_record(seed=seed))
    stamp = {"name": "mine", "role": "ranked", "parameters": {}, "source_hash": "d" * 64}
    stamp["files"] = ["mine.py"]
    content = {
        "title": "Mine",
        "authors": ["A"],
        "licence": "MIT",
        "schema": 2,
        "tier": "quick",
        "strategy": stamp,
        "source": "mine.py",
        "specification": "mine.py",
        "protocol": {"name": "made-up", "version": 1, "hash": "a" * 64},
        "environment": {"driftboard": "0", "python": "3", "torch": "2", "device": "cpu"},
        "files": {},
    }
    (tmp_path / "mine" / "submission.json").write_text(json.dumps(content))
    return tmp_path


def badges(folder, reports):
    """Return the badges where all of the strategies' records come from the submission."""
    backing = {"mine": frozenset({Source(str(folder))})}
    return evidence(backing, submitted_among([folder]), reports)


def report(folder, badge="spot re-run", **changes):
    digest = hashlib.sha256((folder / "mine" / "submission.json").read_bytes()).hexdigest()
    content = {"schema": 1, "submission": digest, "badge": badge, "findings": []} | changes
    path = folder / "report.json"
    path.write_text(json.dumps(content))
    return path


def test_a_report_gives_its_submission_a_badge(submitted):
    folders = [submitted / "mine", submitted / "other"]
    assert badges(submitted / "mine", [report(submitted)]) == {"mine": "spot re-run"}
    board = build_leaderboard(folders, submitted / "out", reports=[report(submitted)])
    shown = {
        row["Strategy"].text: row["Evidence"].text
        for rows in overall_table(board).groups.values()
        for row in rows
    }
    assert shown == {"mine": "spot re-run", "sgd": "-"}
    assert "--report" in (submitted / "out" / "leaderboard.md").read_text()


def test_published_strategies_are_published():
    backing = {"ewc": frozenset({PUBLISHED, Source("mine")}), "sgd": frozenset({Source("mine")})}
    assert evidence(backing, [], []) == {"ewc": "published"}


def test_a_badge_and_authors_are_of_all_records_or_of_none(submitted):
    found = submitted_among([submitted / "mine", submitted / "other"])
    assert [one.submission.title for one in found] == ["Mine"]
    for sources in (frozenset[Source](), frozenset({Source("elsewhere"), PUBLISHED})):
        backing = {"mine": sources}
        assert evidence(backing, found, [report(submitted)]) == dict.fromkeys(
            ["mine"] if PUBLISHED in sources else [], "published"
        )
        assert credits_of(backing, found) == {}
    backing = {"mine": frozenset({Source(str(submitted / "mine"))})}
    assert credits_of(backing, found)["mine"].authors == ("A",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"badge": None}, "failed a check"),
        ({"submission": "0" * 64}, "of none of these submissions"),
        ({"schema": 2}, "not a report"),
        ({"badge": "trust me"}, "not a report"),
    ],
)
def test_reports_that_say_nothing_are_refused(submitted, changes, message):
    path = report(submitted, **changes)
    with pytest.raises(RecordError, match=message) as caught:
        badges(submitted / "mine", [path])
    assert str(path) in str(caught.value)


def test_a_report_of_an_older_state_is_refused(submitted):
    path = report(submitted)
    with (submitted / "mine" / "submission.json").open("a") as file:
        file.write("\n")
    with pytest.raises(RecordError, match="none of these submissions as they are now"):
        badges(submitted / "mine", [path])


@pytest.mark.parametrize("content", [None, "{", "\x00"])
def test_a_file_that_is_no_report_is_one_line(submitted, content):
    path = submitted / "nothing.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RecordError) as caught:
        badges(submitted / "mine", [path])
    assert "\n" not in str(caught.value)


def test_a_broken_submission_is_one_line(submitted):
    (submitted / "mine" / "submission.json").write_text("{}")
    with pytest.raises(RecordError, match="driftboard verify"):
        badges(submitted / "mine", [])

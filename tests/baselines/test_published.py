"""What is published: every file is the one in the log, and every table follows from the records."""

import csv
import hashlib
import io
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
import typer
from msgspec.structs import replace

from driftboard.baselines import published
from driftboard.baselines.published import (
    PublishedSet,
    publish_records,
    published_records,
    published_set,
    published_sets,
)
from driftboard.leaderboard.build import build_leaderboard
from driftboard.suite.archive import read_archive
from driftboard.suite.cli.leaderboard import build_claim
from driftboard.suite.cli.publish import publish
from driftboard.suite.errors import DriftboardError, RecordError
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import write_record
from driftboard.suite.sequences.registry import registered

BASELINES = Path(__file__).resolve().parents[2] / "baselines"
SETS = published_sets()


def log_entries():
    """Return the lines of the log: set, hash, number of records, reason."""
    lines = (BASELINES / "CHANGES.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        (row[1], row[2].strip("`"), int(row[3]), row[4])
        for row in cells
        if len(row) == 5 and re.fullmatch(r"\d{4}-\d\d-\d\d", row[0])
    ]


def test_something_is_published():
    assert "quick" in SETS


@pytest.mark.parametrize("name", SETS)
def test_no_file_changes_without_a_reason_in_the_log(name):
    entry = SETS[name]
    digest = hashlib.sha256((BASELINES / entry.file).read_bytes()).hexdigest()
    assert digest == entry.sha256
    logged = [line for line in log_entries() if line[0] == name]
    assert logged[-1][1:3] == (digest, entry.records)
    assert all(len(reason.split()) >= 3 for *_, reason in logged)


def test_the_log_tells_of_published_sets_only():
    assert {line[0] for line in log_entries()} == set(SETS)


@pytest.mark.parametrize("name", SETS)
def test_records_are_of_this_protocol_and_registry(name):
    registry = registered()
    count = 0
    for record in published_records(name):
        count += 1
        assert record.protocol == PROTOCOL.stamp()
        assert record.split == "test"
        assert record.sequence.hash == registry[record.sequence.name].hash()
        assert record.seed in PROTOCOL.seeds_of(record.sequence.tier, tuning=False)
        assert record.strategy.name in SETS[name].specifications
    assert count == SETS[name].records


@pytest.mark.parametrize("name", SETS)
def test_every_strategy_can_be_run_again(name):
    from driftboard.suite.loading import load_strategy

    stamps = {record.strategy.name: record.strategy for record in published_records(name)}
    for strategy, specification in SETS[name].specifications.items():
        loaded = load_strategy(specification).stamp
        assert loaded.name == strategy
        assert loaded.parameters == stamps[strategy].parameters


def test_unknown_sets_are_named():
    with pytest.raises(DriftboardError, match=r"no published records 'nope'; known: .*quick"):
        published_set("nope")


def test_a_file_that_is_not_the_published_one_is_refused(monkeypatch, tmp_path):
    entry = SETS["quick"]
    (tmp_path / "records").mkdir()
    shutil.copy(BASELINES / "published.json", tmp_path)
    content = (BASELINES / entry.file).read_bytes()
    (tmp_path / entry.file).write_bytes(content + b"\0")
    monkeypatch.setattr(published, "files", lambda package: tmp_path)
    with pytest.raises(RecordError, match="not what was published as 'quick'"):
        next(published_records("quick"))


def comparable(name, text):
    """Return what must be equal: numbers with ten digits, without the versions of this machine."""
    if name.endswith(".csv"):
        rows = csv.reader(io.StringIO(text))
        return [[_ten_digits(cell) for cell in row] for row in rows]
    return [
        line
        for line in text.splitlines()
        if not line.startswith(("- Table made with", "- Made with"))
    ]


def _ten_digits(cell):
    try:
        return f"{float(cell):.10g}"
    except ValueError:
        return cell


@pytest.mark.parametrize("name", SETS)
def test_every_published_table_follows_from_the_records(name, tmp_path):
    """Byte for byte where scipy is the one that made it; else to ten digits."""
    folder = BASELINES / name
    command = f"driftboard leaderboard --published {name} --out baselines/{name} --reference sgd"
    records = {name: published_records(name)}
    build_leaderboard([], tmp_path, published=records, command=command)
    same_scipy = f"scipy {version('scipy')}." in (folder / "leaderboard.md").read_text("utf-8")
    for file in ("leaderboard.md", "leaderboard.csv"):
        made, kept = (tmp_path / file).read_bytes(), (folder / file).read_bytes()
        if same_scipy:
            assert made == kept
        else:
            assert comparable(file, made.decode()) == comparable(file, kept.decode())


@pytest.mark.parametrize(
    "name", [name for name in SETS if (BASELINES / name / "claim.md").exists()]
)
def test_every_published_claim_follows_from_the_records(name, tmp_path):
    command = f"driftboard claim --published {name} --out baselines/{name}"
    build_claim([], tmp_path, published=[name], command=command)
    for file in ("claim.md", "claim.csv"):
        made, kept = (tmp_path / file).read_text(), (BASELINES / name / file).read_text()
        assert comparable(file, made) == comparable(file, kept)


@pytest.fixture
def publish_one(tmp_path, make_record):
    """Return a function that publishes one made-up record, and the folder it goes into."""
    write_record(tmp_path / "results", make_record(strategy="sgd"))
    into = tmp_path / "baselines"
    (into / "records").mkdir(parents=True)
    (into / "published.json").write_text("[]")

    def run(hardware, reason="a test", name="made-up"):
        publish(name, [tmp_path / "results"], into, "driftboard run", hardware, reason)

    return run, into


def test_publishing_writes_archive_manifest_and_log(publish_one, make_record):
    run, into = publish_one

    run("a made-up CPU")
    run("another CPU", "once more")

    file = into / "records" / "made-up.jsonl.xz"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert list(read_archive(file)) == [make_record(strategy="sgd")]
    (entry,) = msgspec.json.decode((into / "published.json").read_bytes(), type=list[PublishedSet])
    assert (entry.name, entry.sha256, entry.records) == ("made-up", digest, 1)
    assert (entry.hardware, entry.specifications) == ("another CPU", {"sgd": "sgd"})
    first, second = (into / "CHANGES.md").read_text("utf-8").splitlines()[-2:]
    assert first.endswith(f"| made-up | `{digest}` | 1 | a test |")
    assert second.endswith(f"| made-up | `{digest}` | 1 | once more |")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hardware": "x" * 201}, "length <= 200"),
        ({"hardware": "a CPU", "name": "Made up"}, "matching regex"),
    ],
)
def test_what_a_reader_would_refuse_is_not_published(publish_one, changes, complaint):
    run, into = publish_one

    with pytest.raises(typer.BadParameter, match=complaint):
        run(**changes)

    assert [path.name for path in into.rglob("*") if path.is_file()] == ["published.json"]
    assert (into / "published.json").read_text() == "[]"


@pytest.mark.parametrize("what", ["counts", "source"])
def test_records_that_contradict_each_other_are_not_published(make_record, tmp_path, what):
    record = make_record()
    other = make_record(correct=((90, 10), (60, 81)))
    if what == "source":
        stamp = replace(record.strategy, source_hash="e" * 64)
        other = replace(make_record(seed=1), strategy=stamp)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, one in zip(folders, (record, other), strict=True):
        write_record(folder, one)
    with pytest.raises(RecordError, match="hold 1 record that cannot stand beside the others"):
        publish_records("made-up", folders, tmp_path, "command", "hardware", "reason")
    assert not (tmp_path / "records").exists()

"""Checking submissions: honest ones pass, and each forgery is refused by the check made for it.

The corpus is made from one honest made-up submission of the suite `quick`, whose records come from
the generator with which false alarms are counted.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binom, chi2

from driftboard.baselines.published import published_records
from driftboard.leaderboard.verification import reading, rerun
from driftboard.leaderboard.verification.checks import FORENSIC, examine, examine_folder
from driftboard.leaderboard.verification.comparison import (
    check_above_joint,
    check_copies_of_others,
    check_learning,
    check_untrained,
    log_chance,
)
from driftboard.leaderboard.verification.contents import LEAST, check_norms, lower_tail, spread
from driftboard.leaderboard.verification.identity import halton_rates
from driftboard.leaderboard.verification.reading import check_source, decode
from driftboard.leaderboard.verification.report import Finding, badge, report_json, report_lines
from driftboard.suite.errors import RecordError
from driftboard.suite.protocol import PROTOCOL, TUNING
from driftboard.suite.records import AnyRecord, ProtocolStamp, cell_path, write_record
from driftboard.suite.sequences.registry import registered
from driftboard.suite.submissions import Submission
from driftboard.suite.tuning.records import Trial, TuningRecord

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "verification_false_alarms.py"


def load_benchmark():
    specification = importlib.util.spec_from_file_location("false_alarms", BENCHMARK)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


made_up = load_benchmark()

SOURCE = b"# a strategy\n"
STAMP = replace(made_up.made_up_stamp(1), source_hash=hashlib.sha256(SOURCE).hexdigest())
OTHER = made_up.made_up_stamp(2)
WORDS = {"title": "Made up", "authors": ["A. Person"], "links": ["https://example.org/paper"]}


@pytest.fixture(scope="session")
def honest():
    return tuple(made_up.honest_records(STAMP))


@pytest.fixture(scope="session")
def others():
    return tuple(made_up.honest_records(OTHER))


@pytest.fixture(scope="session")
def against(others, tmp_path_factory):
    """A results folder of another strategy."""
    folder = tmp_path_factory.mktemp("others")
    for record in others:
        path = cell_path(folder, record.sequence.name, record.strategy.name, record.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(record))
    return folder


def honest_tuning():
    rates = [None, *halton_rates()]
    trials = []
    for place, rate in enumerate(rates):
        parameters = {} if rate is None else {"rate": float(f"{rate:.3g}")}
        stamp = replace(STAMP, name=f"trial-{place}", parameters=parameters)
        trials.append(Trial(f"trial {place}", stamp, 0.9 - 0.01 * place, 0.9, 0.1, 0))
    return TuningRecord(
        schema=1,
        protocol=PROTOCOL.stamp(),
        tuning=TUNING.stamp(),
        sequences={"digits-split": registered()["digits-split"].hash()},
        seeds=PROTOCOL.tuning_seeds,
        trials=tuple(trials),
        chosen=0,
    )


@dataclass
class Draft:
    """A submission before it is written: what a forger may change."""

    records: list[AnyRecord]
    source: bytes = SOURCE
    tuning: TuningRecord | None = field(default_factory=honest_tuning)
    words: dict = field(default_factory=lambda: dict(WORDS))
    tier: str = "quick"
    stamp: object = STAMP

    def place_of(self, name="digits-rotated-15", seed=0):
        """Return the position of a cell in the list of records."""
        cells = [(record.sequence.name, record.seed) for record in self.records]
        return cells.index((name, seed))

    def change(self, name="digits-rotated-15", seed=0, **changes):
        place = self.place_of(name, seed)
        self.records[place] = replace(self.records[place], **changes)

    def change_all(self, function):
        self.records = [function(record) for record in self.records]

    def contents(self):
        """Return all files but submission.json."""
        found = {"made_up.py": self.source}
        if self.tuning is not None:
            found["tuning/made-up-1.json"] = msgspec.json.encode(self.tuning)
        for record in self.records:
            name, strategy, seed = record.sequence.name, record.strategy.name, record.seed
            place = cell_path(Path(), name, strategy, seed).as_posix()
            found[place] = msgspec.json.encode(record)
        return found

    def submission(self, found):
        return {
            **self.words,
            "licence": "Apache-2.0",
            "schema": 1,
            "tier": self.tier,
            "strategy": msgspec.to_builtins(self.stamp),
            "source": "made_up.py",
            "specification": "made_up.py",
            "protocol": msgspec.to_builtins(PROTOCOL.stamp()),
            "environment": msgspec.to_builtins(made_up.VERSIONS),
            "files": {place: hashlib.sha256(data).hexdigest() for place, data in found.items()},
        }

    def write(self, folder):
        found = self.contents()
        write_files(folder, found)
        (folder / "submission.json").write_text(json.dumps(self.submission(found)))
        return folder


def write_files(folder, contents):
    for place, data in contents.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def rewrite(folder, change):
    """Change submission.json as a value."""
    path = folder / "submission.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def relist(folder):
    """List all files with the digests that they have now."""
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "submission.json"
    }
    rewrite(folder, lambda value: value.update(files=digests))


@pytest.fixture
def draft(honest):
    return Draft(list(honest))


def failures(findings):
    return {finding.check for finding in findings if finding.level == "FAILED"}


def check(folder, *against):
    """Return all findings, of which each must be one printable line."""
    _, findings = examine_folder(folder, against)
    for finding in findings:
        line = finding.line()
        assert line.isprintable()
        assert len(line) < 1400
        assert finding.level == "ok" or finding.advice
    return findings


# Honest submissions.


def test_published_records_can_be_compared_with(draft, tmp_path):
    _, findings = examine_folder(draft.write(tmp_path), (), published_records("quick"))
    (untrained,) = (finding for finding in findings if finding.check == "untrained")
    # the untrained networks of made-up records are made up
    assert untrained.level == "FAILED"
    assert "algorithm-1" in untrained.found


def test_an_honest_submission_passes_every_check(draft, against, tmp_path):
    findings = check(draft.write(tmp_path), against)
    assert {finding.level for finding in findings} == {"ok"}
    assert badge(findings) == "records checked"
    names = [finding.check for finding in findings]
    assert len(names) == len(set(names)) == 20


def test_without_a_tuning_record_there_is_a_warning_and_the_badge(draft, tmp_path):
    draft.tuning = None
    findings = check(draft.write(tmp_path))
    assert [finding.check for finding in findings if finding.level != "ok"] == ["tuning"]
    assert badge(findings) == "records checked"


def test_honest_made_up_submissions_raise_no_alarm():
    for data in made_up.made_up_submissions(10):
        found = examine(data, FORENSIC)
        assert {finding.level for finding in found} == {"ok"}


def test_the_command_prints_a_line_for_each_check(draft, call, against, tmp_path):
    folder, report = draft.write(tmp_path / "sub"), tmp_path / "report.json"
    code, out, errors = call("verify", folder, "--against", against, "--json", report)
    assert (code, errors) == (0, "")
    *lines, last = out.splitlines()
    assert last == "badge: records checked"
    assert all(line.startswith("ok ") for line in lines)
    found = json.loads(report.read_text())
    assert found["badge"] == "records checked"
    assert len(found["findings"]) == len(lines)
    digest = hashlib.sha256((folder / "submission.json").read_bytes()).hexdigest()
    assert found["submission"] == digest
    (folder / "made_up.py").write_text("# another\n")
    code, out, errors = call("verify", folder, "--json", report)
    assert (code, errors) == (1, "")
    assert out.splitlines()[-1] == "no badge: a check failed"
    assert json.loads(report.read_text())["badge"] is None


def test_records_are_checked_without_torch(draft, tmp_path):
    program = (
        "import sys\nfrom driftboard.suite.cli.main import main\n"
        "sys.argv[0] = 'driftboard'\nmain_code = None\n"
        "try:\n    main()\nexcept SystemExit as left:\n    main_code = left.code\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'continuum'} & set(sys.modules)\n"
        "print(main_code, sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", draft.write(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.endswith("badge: records checked\n")
    assert done.stderr.strip() in ("None []", "0 []")


# What lies in the folder.


def outside(folder):
    path = folder.parent / "secret.json"
    path.write_text("{}")
    return path


def add_link(folder):
    (folder / "other.py").symlink_to(outside(folder))


def add_linked_folder(folder):
    target = folder.parent / "elsewhere"
    target.mkdir()
    (folder / "records" / "linked").symlink_to(target)


def add_broken_link(folder):
    (folder / "other.py").symlink_to(folder.parent / "nowhere")


def add_hard_link(folder):
    os.link(outside(folder), folder / "other.py")


def add_pipe(folder):
    os.mkfifo(folder / "other.py")


def add_hidden_file(folder):
    (folder / ".hidden").write_text("")


def add_notes(folder):
    (folder / "records" / "notes.txt").write_text("")


def add_folder(folder):
    (folder / ".git" / "hooks").mkdir(parents=True)


def add_deep_folder(folder):
    deep = folder / "records" / "digits-split" / "made-up-1" / "deeper"
    deep.mkdir()
    (deep / "seed-0000.json").write_text("{}")


def add_strange_name(folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[31m\n.py")).write_text("")


def add_large_source(folder):
    (folder / "other.py").write_bytes(b"#" * (reading.LARGEST["source"] + 1))


def add_bad_marker(folder):
    (folder / "driftboard.json").write_text('{"name": "a", "name": "b"}')
    relist(folder)


FOLDERS = [
    *(add_link, add_linked_folder, add_broken_link, add_hard_link, add_pipe, add_hidden_file),
    *(add_notes, add_folder, add_deep_folder, add_strange_name, add_large_source, add_bad_marker),
]


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda function: function.__name__)
def test_what_does_not_belong_into_a_folder_is_refused(draft, spoil, tmp_path):
    folder = draft.write(tmp_path / "sub")
    spoil(folder)
    assert failures(check(folder)) == {"folder"}


def test_a_folder_that_is_a_link_or_missing_or_a_file_is_refused(draft, tmp_path):
    draft.write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("")
    for name in ("link", "missing", "file"):
        assert [one.check for one in check(tmp_path / name)] == ["folder"]


def test_an_empty_folder_has_no_submission(tmp_path):
    assert failures(check(tmp_path)) == {"submission.json", "records"}


def test_nothing_is_opened_through_a_link_or_outside_of_the_folder(draft, monkeypatch, tmp_path):
    folder = draft.write(tmp_path / "sub")
    for spoil in (add_link, add_linked_folder, add_pipe):
        (folder / "other.py").unlink(missing_ok=True)
        spoil(folder)
    opened, real = [], os.open

    def watched(path, flags, *rest, **options):
        opened.append((path, flags, options.get("dir_fd")))
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(reading.os, "open", watched)
    check(folder)
    (root, flags, above), *others = opened
    assert (root, above) == (folder, None)
    assert flags & os.O_NOFOLLOW
    for name, flags, above in others:
        assert above is not None
        assert "/" not in name
        assert flags & os.O_NOFOLLOW
    assert "other.py" not in [name for name, *_ in others]


@pytest.mark.parametrize("spoil", [add_link, add_pipe])
def test_a_file_that_is_changed_between_looking_and_opening_is_refused(
    draft, spoil, monkeypatch, tmp_path
):
    folder = draft.write(tmp_path / "sub")
    spoil(folder)
    real = os.stat

    def fooled(path, **options):
        return real("submission.json" if path == "other.py" else path, **options)

    monkeypatch.setattr(reading.os, "stat", fooled)
    assert failures(check(folder)) == {"folder"}


def test_many_or_large_files_are_not_read_to_the_end(draft, monkeypatch, tmp_path):
    folder = draft.write(tmp_path)
    monkeypatch.setattr(reading, "LARGEST_IN_ALL", 30_000)
    assert "folder" in failures(check(folder))
    monkeypatch.undo()
    monkeypatch.setattr(reading, "MOST_FILES", 20)
    reader = reading.FolderReader(folder)
    assert len(list(reader.read())) <= 21
    assert reader.problems


# submission.json.


def as_bytes(change):
    def spoil(folder):
        path = folder / "submission.json"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def as_value(**changes):
    return lambda folder: rewrite(folder, lambda value: value.update(changes))


def without(name):
    return lambda folder: rewrite(folder, lambda value: value.pop(name))


def listing(place):
    return lambda folder: rewrite(folder, lambda value: value["files"].update({place: "a" * 64}))


DOCUMENTS = {
    "missing": lambda folder: (folder / "submission.json").unlink(),
    "empty": as_bytes(lambda data: b""),
    "truncated": as_bytes(lambda data: data[:-10]),
    "not an object": as_bytes(lambda data: b"[]"),
    "utf-16": as_bytes(lambda data: data.decode().encode("utf-16")),
    "utf-32": as_bytes(lambda data: data.decode().encode("utf-32")),
    "byte order mark": as_bytes(lambda data: b"\xef\xbb\xbf" + data),
    "invalid utf-8": as_bytes(lambda data: data.replace(b"Made up", b"Made \xff")),
    "lone surrogate": as_bytes(lambda data: data.replace(b"Made up", b"Made \\ud800")),
    "NaN": as_bytes(lambda data: data.replace(b'"schema": 1', b'"schema": NaN')),
    "infinity": as_bytes(lambda data: data.replace(b'"schema": 1', b'"schema": -Infinity')),
    "huge number": as_bytes(lambda data: data.replace(b'"schema": 1', b'"schema": 1e999')),
    "long number": as_bytes(lambda data: data.replace(b'"schema": 1', b'"schema": ' + b"9" * 9000)),
    "field twice": as_bytes(lambda data: b'{"schema": 1, ' + data[1:]),
    "deep": as_bytes(lambda data: b'{"title": ' + b"[" * 100_000),
    "trailing": as_bytes(lambda data: data + b"{}"),
    "unknown field": as_value(score=1.0),
    "missing field": without("licence"),
    "schema 2": as_value(schema=2),
    "title is a number": as_value(title=5),
    "title is empty": as_value(title=""),
    "title is blank": as_value(title="   "),
    "title is long": as_value(title="a" * 201),
    "title on two lines": as_value(title="one\ntwo"),
    "title turns right to left": as_value(title="abc\u202etxt"),
    "title with zero width": as_value(title="abc\u200btxt"),
    "no author": as_value(authors=[]),
    "an author is empty": as_value(authors=["A", ""]),
    "http": as_value(links=["http://example.org"]),
    "script": as_value(links=["javascript:alert(1)"]),
    "user in link": as_value(links=["https://good.org@evil.org/"]),
    "link on two lines": as_value(links=["https://example.org/\nx"]),
    "quote in link": as_value(links=['https://example.org/"onload=']),
    "many links": as_value(links=["https://example.org"] * 11),
    "licence of two lines": as_value(licence="MIT\nx"),
    "own tier": as_value(tier="own"),
    "source is a path": as_value(source="../made_up.py"),
    "specification of another file": as_value(specification="other.py,strength=1"),
    "specification with a command": as_value(specification="made_up.py,x=1;ls"),
    "up": listing("../made_up.py"),
    "up within": listing("records/../../made_up.py"),
    "absolute": listing("/etc/passwd"),
    "backslash": listing("records\\a.json"),
    "digest": as_value(files={"made_up.py": "A" * 64}),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_bad_submission_document_is_one_clear_line(draft, name, tmp_path):
    folder = draft.write(tmp_path)
    DOCUMENTS[name](folder)
    findings = check(folder)
    assert failures(findings) == {"submission.json"}
    (line,) = [one.line() for one in findings if one.check == "submission.json"]
    assert "regex" not in line


def test_a_huge_submission_document_is_not_parsed(draft, tmp_path):
    folder = draft.write(tmp_path)
    (folder / "submission.json").write_bytes(b" " * (reading.LARGEST["submission"] + 1))
    assert failures(check(folder)) == {"folder", "submission.json"}


def test_what_is_wrong_is_said_in_words(draft, tmp_path):
    folder = draft.write(tmp_path)
    for name, words in {
        "utf-16": "it is UTF-16",
        "byte order mark": "byte order mark",
        "invalid utf-8": "not UTF-8 from byte",
        "NaN": "it holds NaN",
        "field twice": "'schema' twice",
        "deep": "nested too deeply",
        "http": "links: at most 10 addresses that begin with https://",
        "title turns right to left": "title: one line",
        "no author": "authors: 1 to 50 names",
    }.items():
        draft.write(folder)
        DOCUMENTS[name](folder)
        assert any(words in one.line() for one in check(folder)), name


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data):
    for kind in (Submission, AnyRecord, TuningRecord):
        with pytest.raises(RecordError):
            decode(data, kind)
    with contextlib.suppress(RecordError):
        check_source(data)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
nested = st.lists(plain, max_size=3) | st.dictionaries(st.text(), plain, max_size=3)
values = plain | nested | st.lists(nested, max_size=2)


@settings(max_examples=50)
@given(st.sampled_from(sorted(Submission.__struct_fields__)), values)
def test_any_value_of_a_field_is_decoded_or_refused(name, value):
    fields = Draft([]).submission({}) | {name: value}
    with contextlib.suppress(RecordError):
        assert isinstance(decode(json.dumps(fields).encode(), Submission), Submission)


def test_a_source_that_looks_other_than_it_reads_is_refused(draft, tmp_path):
    draft.source = "# \u202e\n".encode()
    draft.stamp = replace(STAMP, source_hash=hashlib.sha256(draft.source).hexdigest())
    draft.change_all(lambda record: replace(record, strategy=draft.stamp))
    draft.tuning = None
    assert failures(check(draft.write(tmp_path))) == {"source"}


# The list of files.


def test_files_must_be_those_listed(draft, tmp_path):
    folder = draft.write(tmp_path)
    (folder / "other.py").write_bytes(b"")
    assert failures(check(folder)) == {"files"}
    relist(folder)
    assert failures(check(folder)) == set()
    (folder / "other.py").unlink()
    assert failures(check(folder)) == {"files"}
    relist(folder)
    path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
    path.write_bytes(path.read_bytes() + b" ")
    (finding,) = [one for one in check(folder) if one.level == "FAILED"]
    assert finding.check == "files"
    assert "seed-0000.json" in finding.found


# Records, one forger each.


def spoil_record(change):
    """Return a forger who changes a record's bytes and lists it anew."""

    def spoil(folder):
        path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
        path.write_bytes(change(path.read_bytes()))
        relist(folder)

    return spoil


def misplaced(folder):
    path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
    path.rename(path.with_name("seed-0007.json"))
    relist(folder)


BROKEN = {
    "truncated": spoil_record(lambda data: data[:-5]),
    "NaN": spoil_record(lambda data: data.replace(b'"seconds":[1.0', b'"seconds":[NaN')),
    "unknown field": spoil_record(lambda data: b'{"bonus":1,' + data[1:]),
    "field twice": spoil_record(lambda data: b'{"seed":1,' + data[1:]),
    "negative": spoil_record(lambda data: data.replace(b'"seed":0', b'"seed":-1')),
    "schema 1": spoil_record(lambda data: data.replace(b'"schema":2', b'"schema":1')),
    "counts above the test images": spoil_record(
        lambda data: data.replace(b'"test_sizes":[100', b'"test_sizes":[1')
    ),
    "fractions of answers": spoil_record(
        lambda data: data.replace(b'"test_sizes":[100', b'"test_sizes":[100.5')
    ),
    "in another place": misplaced,
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unreadable_record_is_named_and_missed(draft, name, tmp_path):
    folder = draft.write(tmp_path)
    before = draft.contents()
    BROKEN[name](folder)
    after = {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}
    assert len(after) == len(before)  # without the source, with submission.json
    findings = check(folder)
    assert failures(findings) == {"records", "seeds"}
    assert "seed-000" in next(one.found for one in findings if one.check == "records")


def other_protocol(draft):
    draft.change(protocol=ProtocolStamp("driftboard", 1, "b" * 64))


def tuning_run(draft):
    draft.change(split="validation")


def other_sequence(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, hash="f" * 64))


def other_tier(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, tier="core"))


def unknown_sequence(draft):
    easy = dataclasses.replace(registered()["digits-rotated-15"], name="digits-easy")
    draft.records += [made_up.honest_record(easy, STAMP, seed) for seed in range(5)]


def other_data(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, data_hash="e" * 64))


def other_settings(draft):
    draft.change(strategy=replace(STAMP, parameters={"strength": 2.0}))


def other_source(draft):
    draft.source = b"# what was run was something else\n"


def a_bound(draft):
    draft.stamp = replace(STAMP, role="bound")
    draft.change_all(lambda record: replace(record, strategy=draft.stamp))


def left_out_seed(draft):
    del draft.records[draft.place_of(seed=3)]


def left_out_sequence(draft):
    draft.records = [one for one in draft.records if one.sequence.name != "digits-split"]


def chosen_seeds(draft):
    """Run more seeds than the protocol has and keep the best."""
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 7)
    environment = replace(record.environment, cohort=(0, 1, 2, 3, 7))
    draft.records[draft.place_of(seed=4)] = replace(record, environment=environment)


def one_seed_more(draft):
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 7)
    draft.records.append(replace(record, environment=replace(record.environment, cohort=(7,))))


def foreign_cohort(draft):
    environment = draft.records[0].environment
    draft.change(seed=0, environment=replace(environment, cohort=(1, 2)))


def hidden_divergence(draft):
    record = draft.records[draft.place_of()]
    still = tuple((*part[:3], (0.0,) * 3, (0.0,) * 3) for part in norms_of(record))
    draft.change(
        status="diverged",
        diverged_at=3,
        **dict(zip(("update_norms", "solution_norms", "drift_norms"), still, strict=True)),
    )


def norms_of(record):
    return record.update_norms, record.solution_norms, record.drift_norms


def more_test_images(draft):
    draft.change(test_sizes=(1000,) * 5)


def other_classes(draft):
    draft.change("digits-split", classes=(5,) * 5)


def drift_at_the_start(draft):
    record = draft.records[draft.place_of()]
    draft.change(drift_norms=((0.1, 0.0, 0.0), *record.drift_norms[1:]))


def drift_without_update(draft):
    record = draft.records[draft.place_of()]
    draft.change(update_norms=(*record.update_norms[:3], (0.0,) * 3, record.update_norms[4]))


def made_up_norms(draft):
    draft.change(drift_norms=((0.0,) * 3, *((9.0, 9.0, 9.0),) * 4))


def jumping_solution(draft):
    record = draft.records[draft.place_of()]
    solution = (*record.solution_norms[:4], (1e6, 1e6, 1e6))
    draft.change(solution_norms=solution)


def answers_without_moving(draft):
    """A network that does not move cannot answer otherwise."""
    zero = ((0.0,) * 3,) * 4
    record = draft.records[draft.place_of()]
    draft.change(
        update_norms=(record.update_norms[0], *zero),
        drift_norms=((0.0,) * 3, *zero),
        solution_norms=(record.solution_norms[0],) * 5,
    )


def no_time(draft):
    record = draft.records[draft.place_of()]
    draft.change(cost=replace(record.cost, seconds=(0.0,) * 5))


def endless_time(draft):
    record = draft.records[draft.place_of()]
    draft.change(cost=replace(record.cost, seconds=(1e308,) * 5))


def copied_seed(draft):
    draft.change(seed=1, correct=draft.records[draft.place_of(seed=2)].correct)


def copied_sequence(draft):
    source = draft.records[draft.place_of("digits-permuted", 2)]
    draft.change("digits-rotated-45", 1, correct=source.correct)


def permuted_columns(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(seed=1, correct=tuple((*row[2:], *row[:2]) for row in rows))


def permuted_rows(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(seed=1, correct=(*rows[3:], *rows[:3]))


def touched_up(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(
        seed=1,
        correct=tuple(
            tuple(count + (row + column) % 3 - 1 for column, count in enumerate(counts))
            for row, counts in enumerate(rows)
        ),
    )


def copied_norms(draft):
    record = draft.records[draft.place_of(seed=2)]
    draft.change(
        seed=1,
        update_norms=record.update_norms,
        solution_norms=record.solution_norms,
        drift_norms=record.drift_norms,
    )


def smooth_numbers(draft):
    """Write every count near one value instead of running the seeds."""
    random = np.random.default_rng(1)
    first = {one.sequence.name: one.correct for one in draft.records if one.seed == 0}

    def near(record):
        counts = np.asarray(first[record.sequence.name]) + random.integers(-2, 3, (5, 5))
        counts = np.clip(counts, 0, record.test_sizes)
        return replace(record, correct=tuple(map(tuple, counts.tolist())))

    draft.change_all(near)


FORGERIES = {
    other_protocol: {"protocol"},
    tuning_run: {"protocol"},
    other_sequence: {"sequences"},
    other_tier: {"sequences"},
    unknown_sequence: {"sequences"},
    other_data: {"sequences"},
    other_settings: {"strategy"},
    other_source: {"strategy"},
    a_bound: {"strategy"},
    left_out_seed: {"seeds"},
    left_out_sequence: {"seeds"},
    chosen_seeds: {"seeds", "environment"},
    one_seed_more: {"seeds", "environment"},
    foreign_cohort: {"environment"},
    hidden_divergence: {"divergence"},
    more_test_images: {"test sets"},
    other_classes: {"test sets"},
    drift_at_the_start: {"norms"},
    drift_without_update: {"norms"},
    made_up_norms: {"norms"},
    jumping_solution: {"norms"},
    answers_without_moving: {"norms"},
    no_time: {"cost"},
    endless_time: {"cost"},
    copied_seed: {"copies"},
    copied_sequence: {"copies"},
    permuted_columns: {"copies"},
    permuted_rows: {"copies"},
    touched_up: {"copies"},
    copied_norms: {"copies"},
    smooth_numbers: {"variance"},
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda function: function.__name__)
def test_a_forgery_is_refused_by_the_check_made_for_it(draft, forge, tmp_path):
    forge(draft)
    assert failures(check(draft.write(tmp_path))) == FORGERIES[forge]


def test_endless_copies_are_not_all_looked_at(honest):
    """As many records of one content as a folder may hold; more than this would take for ever."""
    own = [replace(honest[0], seed=seed) for seed in range(reading.MOST_FILES)]
    assert "copies" in failures(examine(made_up.as_submission(own, ()), FORENSIC))


# Tuning records.


def tuned(**changes):
    return replace(honest_tuning(), **changes)


def with_trial(place, **changes):
    trials = list(honest_tuning().trials)
    trials[place] = replace(trials[place], **changes)
    return tuned(trials=tuple(trials))


TUNINGS = {
    "of the protocol's seeds": tuned(seeds=(0, 1, 2, 3, 4)),
    "of fewer seeds": tuned(seeds=(1000, 1001)),
    "of another protocol": tuned(protocol=ProtocolStamp("driftboard", 1, "b" * 64)),
    "of other trials": tuned(tuning=ProtocolStamp("driftboard-tuning", 2, "b" * 64)),
    "of an unknown sequence": tuned(sequences={"digits-easy": "b" * 64}),
    "of no sequence": tuned(sequences={}),
    "with fewer trials": tuned(trials=honest_tuning().trials[:7]),
    "with more trials": tuned(trials=(*honest_tuning().trials, honest_tuning().trials[1])),
    "with none": tuned(trials=()),
    "chosen badly": tuned(chosen=3),
    "chosen beyond the end": tuned(chosen=8),
    "with a rate of its own": with_trial(
        2, strategy=replace(STAMP, name="trial-2", parameters={"rate": 0.5})
    ),
    "from two sources": with_trial(2, strategy=replace(STAMP, name="x", source_hash="9" * 64)),
    "with impossible scores": with_trial(2, avg_acc=1.5),
    "that chose another setting": tuned(
        chosen=1,
        trials=tuple(
            replace(trial, avg_acc=0.95 if place == 1 else 0.5)
            for place, trial in enumerate(honest_tuning().trials)
        ),
    ),
}


@pytest.mark.parametrize("name", TUNINGS)
def test_a_tuning_record_that_is_not_the_protocols_is_refused(draft, name, tmp_path):
    draft.tuning = TUNINGS[name]
    assert failures(check(draft.write(tmp_path))) == {"tuning"}


def test_a_choice_that_is_not_the_best_is_told_from_a_setting_that_was_not_chosen(draft, tmp_path):
    for name, words in (("chosen badly", "not the best"), ("that chose another setting", "has {")):
        draft.tuning = TUNINGS[name]
        (finding,) = [one for one in check(draft.write(tmp_path)) if one.level == "FAILED"]
        assert words in finding.found


def test_broken_or_several_tuning_records_are_refused(draft, tmp_path):
    folder = draft.write(tmp_path)
    second = folder / "tuning" / "second.json"
    second.write_bytes((folder / "tuning" / "made-up-1.json").read_bytes())
    relist(folder)
    assert failures(check(folder)) == {"tuning"}
    second.write_text('{"schema": 1}')
    relist(folder)
    assert failures(check(folder)) == {"tuning"}


def test_a_tuning_record_of_an_older_source_is_a_warning(draft, tmp_path):
    older = tuple(
        replace(trial, strategy=replace(trial.strategy, source_hash="9" * 64))
        for trial in honest_tuning().trials
    )
    draft.tuning = tuned(trials=older)
    levels = {one.check: one.level for one in check(draft.write(tmp_path))}
    assert levels.pop("tuning") == "warning"
    assert set(levels.values()) == {"ok"}


def test_the_rates_are_those_of_the_command():
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.tuning.trials import trial_specifications

    texts = trial_specifications(load_strategy("sgd"))[1:]
    rates = [float(text.partition("rate=")[2]) for text in texts]
    assert rates == pytest.approx(halton_rates(), rel=0.01)


# Beside other results.


def test_another_seeds_untrained_network_is_recognised(draft, against, tmp_path):
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 31)
    draft.records[draft.place_of(seed=2)] = replace(record, seed=2)
    folder = draft.write(tmp_path)
    assert failures(check(folder)) == set()
    assert failures(check(folder, against)) == {"untrained"}


def test_untrained_answers_may_differ_a_little_on_another_machine_only(honest, others):
    first, *rest = honest
    answers = (first.correct_untrained[0] + 1, *first.correct_untrained[1:])
    changed = replace(first, correct_untrained=answers)
    assert check_untrained(made_up.as_submission([changed, *rest], others)).level == "FAILED"
    elsewhere = replace(changed, environment=replace(first.environment, device="another"))
    assert check_untrained(made_up.as_submission([elsewhere, *rest], others)).level == "warning"
    nameless = replace(first.environment, device="x86_64 CPU, 1 thread(s)")
    mine = replace(changed, environment=nameless)
    theirs = [replace(other, environment=nameless) for other in others]
    assert check_untrained(made_up.as_submission([mine, *rest], theirs)).level == "warning"
    far = (first.correct_untrained[0] + 9, *first.correct_untrained[1:])
    elsewhere = replace(elsewhere, correct_untrained=far)
    assert check_untrained(made_up.as_submission([elsewhere, *rest], others)).level == "FAILED"


def test_other_data_than_that_of_others_is_recognised(draft, against, tmp_path):
    for seed in range(5):
        for name in registered():
            if name.startswith("digits-"):
                stamp = draft.records[draft.place_of(name, seed)].sequence
                draft.change(name, seed, sequence=replace(stamp, data_hash="e" * 64))
    folder = draft.write(tmp_path)
    assert failures(check(folder)) == set()
    assert failures(check(folder, against)) == {"test sets"}


def test_a_name_that_another_strategy_has_is_refused(draft, honest, tmp_path):
    other = replace(STAMP, source_hash="9" * 64)
    for record in honest:
        write_record(tmp_path / "results", replace(record, strategy=other))
        break
    folder = draft.write(tmp_path / "sub")
    assert "strategy" in failures(check(folder, tmp_path / "results"))


def test_counts_of_anothers_other_seed_are_copied(draft, others, against, tmp_path):
    source = next(
        one for one in others if (one.sequence.name, one.seed) == ("digits-rotated-15", 3)
    )
    draft.change(seed=1, correct=source.correct)
    assert failures(check(draft.write(tmp_path), against)) == {"copies of others"}


def test_agreement_at_the_same_seed_is_weighed(honest, others):
    def levels(own):
        return [one.level for one in check_copies_of_others(made_up.as_submission(own, others))]

    as_other = [replace(one, strategy=STAMP) for one in others]
    assert levels(honest) == ["ok"]
    assert levels([*as_other[:5], *honest[5:]]) == ["ok"]  # as a rule that is never triggered
    assert levels(as_other) == ["warning"]
    norms_of_its_own = replace(as_other[0], solution_norms=honest[0].solution_norms)
    assert levels([norms_of_its_own, *honest[1:]]) == ["warning"]
    assert check_copies_of_others(made_up.as_submission(honest, ())) == []


def test_better_than_joint_training_asks_for_an_explanation(honest):
    joint = replace(STAMP, name="joint", role="bound")

    def scaled(record, factor):
        correct = tuple(tuple(int(factor * count) for count in row) for row in record.correct)
        return replace(record, strategy=joint, correct=correct)

    below = made_up.as_submission(honest, [scaled(one, 0.8) for one in honest])
    finding = check_above_joint(below)
    assert finding.level == "warning"
    assert "digits-permuted (by " in finding.found
    assert finding.found.endswith("and 2 more")
    explained = replace(below.submission, remarks=("It sees more images.",))
    data = made_up.SubmissionData(explained, below.records, None, (), below.against)
    assert check_above_joint(data).level == "ok"
    same = made_up.as_submission(honest, [replace(one, strategy=joint) for one in honest])
    assert check_above_joint(same).level == "ok"
    one_seed_lower = [scaled(one, 0.5 if one.seed == 2 else 1.0) for one in honest]
    assert check_above_joint(made_up.as_submission(honest, one_seed_lower)).level == "ok"


def test_learning_nothing_is_a_warning(honest):
    nothing = [
        replace(
            one,
            correct=(tuple(s // c - 1 for s, c in zip(one.test_sizes, one.classes, strict=True)),)
            * 5,
        )
        for one in honest
    ]
    assert check_learning(made_up.as_submission(nothing, ())).level == "warning"
    assert check_learning(made_up.as_submission(honest, ())).level == "ok"


def test_a_submission_is_not_compared_with_itself(draft, tmp_path):
    folder = draft.write(tmp_path)
    findings = check(folder, folder)
    assert {one.level for one in findings} == {"ok"}
    assert "nothing to compare with" in " ".join(one.found for one in findings)


def test_a_folder_to_compare_with_must_hold_records(draft, call, tmp_path):
    folder = draft.write(tmp_path / "sub")
    code, _, errors = call("verify", folder, "--against", tmp_path / "nothing")
    assert code == 1
    assert errors.startswith("driftboard: no records in ")


# The numbers behind the checks.


def test_the_chance_of_two_equal_counts_is_about_that_of_binomials(make_record):
    for count in (20, 50, 90):
        each = binom.pmf(np.arange(101), 100, count / 100)
        record = make_record(correct=((count, count), (count, count)))
        # both columns are equal and count once, and the second row tells nothing
        assert 10 ** log_chance(record) == pytest.approx((each**2).sum(), rel=0.02)


def test_only_what_moves_and_differs_is_evidence(make_record):
    still = make_record(correct=((80, 50), (80, 50)))
    moving = make_record(correct=((80, 50), (70, 59)))
    assert log_chance(moving) == pytest.approx(log_chance(still) - math.log10(11 * 10))
    assert log_chance(make_record(correct=((100, 100), (100, 100)))) == 0.0
    # within two images of five counts each: of the first row's two, and of the two that moved
    assert log_chance(still, slack=2) == pytest.approx(log_chance(still) + 2 * math.log10(5))
    assert log_chance(moving, slack=2) == pytest.approx(log_chance(moving) + 4 * math.log10(5))
    assert log_chance(still, slack=60) == 0.0


def test_spread_by_hand(make_record):
    counts = (60, 64, 68)
    own = [make_record(seed=s, correct=((90, 10), (c, 50))) for s, c in enumerate(counts)]
    # the diagonal, 90 and 50 whatever the seed, does not vary at all
    assert spread(own) == (0.0, 2)
    varied = [make_record(seed=s, correct=((c, 10), (c, 50 + s))) for s, c in enumerate(counts)]
    after, right = 16.0 + 1.0, 64 * 0.36 + 51 * 0.49
    assert spread(varied)[0] == pytest.approx(after / right / LEAST)
    assert spread(own[:2]) == (0.0, 1)


def test_what_cannot_vary_is_not_tested(make_record):
    def rows(*correct):
        return [make_record(seed=s, correct=correct) for s in range(5)]

    assert spread(rows((100, 99), (100, 99))) is None  # at the ceiling
    assert spread(rows((10, 10), (10, 10))) is None  # a network that always says the same
    assert spread(rows((50, 50), (50, 50))[:1]) is None
    assert spread(rows((50, 50), (50, 50))) == (0.0, 4)


def test_the_tail_is_that_of_chi_square():
    for statistic, freedom in ((0.1, 4), (3.0, 9), (100.0, 207)):
        assert lower_tail(statistic, freedom) == pytest.approx(chi2.cdf(statistic, freedom))


PATHS = {
    "those of a path": {},
    "after the second task drift is not the update": {"drift": (0.0, 2.5, 5.0)},
    "drift changes by more than the update": {"drift": (0.0, 3.0, 7.1)},
    "the solution changes by more than the update": {
        "solution": (10.0, 11.0, 15.1),
        "drift": (0.0, 3.0, 7.0),
    },
    "the solution is farther from the first than its drift": {"drift": (0.0, 3.0, 1.9)},
}


@pytest.mark.parametrize("why", PATHS)
def test_norms_by_hand(make_record, why):
    """Of one block: each broken path breaks one inequality only, and just so."""
    norms = {"update": (10.0, 3.0, 4.0), "solution": (10.0, 11.0, 12.0), "drift": (0.0, 3.0, 5.0)}
    rows = {
        f"{name}_norms": tuple((value,) * 3 for value in values)
        for name, values in (norms | PATHS[why]).items()
    }
    record = make_record(correct=((90, 10, 10), (80, 90, 10), (70, 80, 90)), **rows)
    (finding,) = check_norms(made_up.as_submission([record], ()))
    assert why in finding.found
    assert finding.level == ("FAILED" if PATHS[why] else "ok")


def test_frozen_blocks_that_move_are_worth_a_warning(honest):
    plan = replace(honest[0].plans[1], share=(0.0, 1.0, 1.0))
    plans = (honest[0].plans[0], plan, *honest[0].plans[2:])

    def levels(record):
        return [one.level for one in check_norms(made_up.as_submission([record], ()))]

    assert levels(replace(honest[0], plans=plans)) == ["warning"]
    restarted = (plans[0], replace(plan, restart=(True, False, False)), *plans[2:])
    assert levels(replace(honest[0], plans=restarted)) == ["ok"]


def test_linear_records_are_checked_too(make_loss_record):
    own = [make_loss_record(seed=seed) for seed in range(2)]
    data = made_up.as_submission(own, ())
    failed = failures(examine(data, FORENSIC))
    assert failed == {"norms", "copies"}  # the fixture's norms are no path, and twice the same


def test_reports_are_for_people_and_for_programs():
    findings = [
        Finding("ok", "files", "three"),
        Finding("FAILED", "norms", "a\x1b[31m\nb" + "x" * 5000, "mend it"),
    ]
    first, second, last = report_lines(findings)
    assert first == "ok       files            three"
    assert second.startswith("FAILED   norms            a\\x1b[31m b")
    assert second.endswith("...; mend it")
    assert last == "no badge: a check failed"
    assert json.loads(report_json(findings, None))["findings"][0]["check"] == "files"


# Running again: drawing and comparing.


def test_drawing_depends_on_digest_and_salt_and_not_on_the_order():
    cells = [(name, seed) for name in "abcd" for seed in range(10)]
    drawn = rerun.draw_cells(cells, 5, "d" * 64)
    assert len(set(drawn)) == 5
    assert rerun.draw_cells(cells[::-1], 5, "d" * 64) == drawn
    assert rerun.draw_cells(cells, 8, "d" * 64)[:5] == drawn
    assert rerun.draw_cells(cells, 5, "e" * 64) != drawn
    assert rerun.draw_cells(cells, 5, "d" * 64, "salt") != drawn
    assert set(rerun.draw_cells(cells, 99, "d" * 64)) == set(cells)


def test_every_cell_is_drawn_equally_often():
    cells = [("a", seed) for seed in range(10)]
    times = dict.fromkeys(cells, 0)
    for salt in range(2000):
        for cell in rerun.draw_cells(cells, 3, "d" * 64, str(salt)):
            times[cell] += 1
    # 600 each with a standard deviation of 20.5
    assert all(abs(count - 600) < 90 for count in times.values())


def elsewhere(record, **changes):
    return replace(record, environment=replace(record.environment, device="another"), **changes)


def levels(pairs, noise=None):
    return [finding.level for finding in rerun.compare(pairs, {"alpha": noise})]


def test_on_the_same_machine_results_must_be_equal(make_record):
    one, again = make_record(), make_record(cost=replace(make_record().cost, peak_memory_bytes=7))
    assert levels([(one, again)]) == ["ok"]
    other = make_record(correct=((90, 10), (60, 81)))
    assert levels([(one, other)]) == ["FAILED"]
    assert levels([(one, elsewhere(other))]) == ["warning"]
    assert levels([(one, elsewhere(one))]) == ["ok"]
    generous = rerun.Noise(0.5, 10)
    assert levels([(one, other)], generous) == ["FAILED"]
    assert levels([(one, elsewhere(other))], generous) == ["ok"]


def test_a_processor_without_a_name_may_be_another_one(make_record):
    def on(device, **changes):
        record = make_record(**changes)
        return replace(record, environment=replace(record.environment, device=device))

    for device, level in (
        ("x86_64 CPU, 1 thread(s)", "ok"),
        ("arm64 CPU, 8 thread(s)", "ok"),
        ("x86_64 CPU (A Processor, AVX2), 1 thread(s)", "FAILED"),
        ("NVIDIA H200", "FAILED"),
    ):
        pair = on(device), on(device, correct=((90, 10), (60, 81)))
        assert levels([pair], rerun.Noise(0.5, 10)) == [level]


def test_elsewhere_the_noise_decides(make_record):
    """t(0.975, 4) is 2.776 and t(0.9875, 4) is 3.495, from a table."""

    def found(*shifts):
        pairs = [
            (
                make_record(seed=seed, correct=((90, 10), (500, 500)), size=1000),
                elsewhere(
                    make_record(seed=seed, correct=((90, 10), (500, 500 - 2 * shift)), size=1000)
                ),
            )
            for seed, shift in enumerate(shifts)
        ]
        return [one.found for one in rerun.compare(pairs, {"alpha": rerun.Noise(0.01, 4)})]

    # a shift of 1 is a difference of Avg.Acc of 0.001
    assert found(27) == ["1 cell, 0 with equal results, the others off by 0.0270 at most"]
    assert found(28)[0].endswith("than another seed would be: alpha seed 0 (+0.0280)")
    assert "2 cells, 0 with equal" in found(34, -34)[0]
    assert "2 cells, 1 with equal" in found(0, 20)[0]
    assert "seed 1" in found(0, 35)[0]
    # on average 0.0200 of two cells against 2.776 * 0.01 / sqrt(2) = 0.0196
    assert found(20, 20) == ["+0.0200 from the re-runs on average, more than 0.0196"]
    assert "2 cells" in found(19, 20)[0]


def test_noise_of_several_sequences_adds_up(make_record):
    """Of noises 0.01 and 0.02 the sum has sqrt(5) * 0.01; t(0.975, 2) is 4.303."""

    def found(**shifts):
        pairs = [
            (
                make_record(name, correct=((90, 10), (500, 500)), size=1000),
                elsewhere(make_record(name, correct=((90, 10), (500, 500 - shift)), size=1000)),
            )
            for name, shift in shifts.items()
        ]
        noise = {"alpha": rerun.Noise(0.01, 9), "beta": rerun.Noise(0.02, 2)}
        return [one.found for one in rerun.compare(pairs, noise)]

    # differences of 0.02 and 0.076 or 0.077 against 4.303 * 0.0224 = 0.0962 for their sum
    assert "2 cells, 0 with equal" in found(alpha=40, beta=152)[0]
    assert found(alpha=40, beta=154) == ["+0.0485 from the re-runs on average, more than 0.0481"]


def test_what_was_learned_is_told_in_points(make_record):
    """Of 100 images of ten classes 90 and 80 are right, so 80 and 70 above guessing."""
    own = [make_record(correct=((90, 10), (60, 80)))]
    found = check_learning(made_up.as_submission(own, ())).found
    assert found == "75.0 points above guessing right after training"


def test_noise_over_seeds_is_that_of_two_trainings(make_record, make_loss_record):
    """Final accuracies .5, .6 and .7 have a deviation of .1."""
    own = [
        make_record(seed=seed, correct=((90, 10), (500 + 100 * seed, 500 + 100 * seed)), size=1000)
        for seed in range(3)
    ]
    assert rerun.noise_over_seeds(own) == rerun.Noise(pytest.approx(0.1 * 2**0.5), 2)
    assert rerun.noise_over_seeds(own[:2]) == rerun.Noise(pytest.approx(0.1), 1)
    assert rerun.noise_over_seeds(own[:1]) is None
    # of equal cells one image of one of the two tasks
    equal = [replace(own[0], seed=seed) for seed in range(3)]
    assert rerun.noise_over_seeds(equal) == rerun.Noise(pytest.approx(0.0005), 2)
    losses = [make_loss_record(losses=((0.5, 1.0), (last, 1.0))) for last in (0.0, 0.2, 0.4)]
    assert rerun.noise_over_seeds(losses) == rerun.Noise(pytest.approx(0.1 * 2**0.5), 2)


def test_losses_as_large_as_numbers_go_end_in_a_finding(make_loss_record):
    largest = [[1.7e308, 1.7e308], [1.7e308, 1.7e308]]
    own = [make_loss_record(seed=seed, losses=largest) for seed in range(3)]
    pairs = [(one, elsewhere(make_loss_record(seed=one.seed))) for one in own]
    assert levels(pairs, rerun.noise_over_seeds(own))
    assert "FAILED" in levels(pairs, rerun.Noise(1.0, 2))


def test_linear_cells_are_compared_by_their_loss(make_loss_record):
    one = make_loss_record(losses=((0.5, 1.5), (0.75, 0.25)))
    assert rerun.score(one) == pytest.approx(0.5)
    other = make_loss_record(losses=((0.5, 1.5), (0.75, 0.26)))
    assert levels([(one, other)]) == ["FAILED"]


def test_badges_follow_the_evidence():
    fine, failed = [Finding("ok", "re-run", "")], [Finding("FAILED", "re-run", "")]
    assert rerun.rerun_badge(fine, 5, 30) == "spot re-run"
    assert rerun.rerun_badge(fine, 30, 30) == "fully re-run"
    assert rerun.rerun_badge(fine, 0, 30) is None
    assert rerun.rerun_badge(failed, 30, 30) is None


def test_pipes_and_modes_are_told_apart():
    assert reading._oddity(stat.S_IFIFO) == "a named pipe"
    assert reading._oddity(stat.S_IFLNK) == "a symbolic link"

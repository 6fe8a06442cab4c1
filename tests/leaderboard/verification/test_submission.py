"""Reading a submission: an honest one passes, and nothing else in its folder does harm.

All are made from one honest made-up submission of the suite `quick`, whose records come from the
generator with which false alarms are counted.
"""

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from submission_drafts import STAMP, Draft, check, failures, made_up, relist, rewrite

from driftboard.baselines.published import published_records
from driftboard.leaderboard.verification import submission
from driftboard.leaderboard.verification.checks import FORENSIC, examine, examine_folder
from driftboard.leaderboard.verification.report import badge
from driftboard.leaderboard.verification.strict_json import decode
from driftboard.leaderboard.verification.submission import check_source
from driftboard.suite.errors import RecordError
from driftboard.suite.records import AnyRecord
from driftboard.suite.source.code import code_digest
from driftboard.suite.submissions import Submission
from driftboard.suite.tuning import TuningRecord

# Honest submissions.


def test_published_records_can_be_compared_with(draft, tmp_path):
    _, findings = examine_folder(draft.write(tmp_path), (), published_records("quick"))
    (untrained,) = (finding for finding in findings if finding.check == "untrained")
    # the untrained networks of made-up records are made up
    assert untrained.level == "FAILED"
    assert "a-gem" in untrained.found


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
    (folder / "other.py").write_bytes(b"#" * (submission.LARGEST["source"] + 1))


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

    monkeypatch.setattr(submission.os, "open", watched)
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

    monkeypatch.setattr(submission.os, "stat", fooled)
    assert failures(check(folder)) == {"folder"}


def test_many_or_large_files_are_not_read_to_the_end(draft, monkeypatch, tmp_path):
    folder = draft.write(tmp_path)
    monkeypatch.setattr(submission, "LARGEST_IN_ALL", 30_000)
    assert "folder" in failures(check(folder))
    monkeypatch.undo()
    monkeypatch.setattr(submission, "MOST_FILES", 20)
    reader = submission.FolderReader(folder)
    assert len(list(reader.read())) <= 21
    assert reader.problems


def test_pipes_and_modes_are_told_apart():
    assert submission._oddity(stat.S_IFIFO) == "a named pipe"
    assert submission._oddity(stat.S_IFLNK) == "a symbolic link"


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
    "NaN": as_bytes(lambda data: data.replace(b'"schema": 2', b'"schema": NaN')),
    "infinity": as_bytes(lambda data: data.replace(b'"schema": 2', b'"schema": -Infinity')),
    "huge number": as_bytes(lambda data: data.replace(b'"schema": 2', b'"schema": 1e999')),
    "long number": as_bytes(lambda data: data.replace(b'"schema": 2', b'"schema": ' + b"9" * 9000)),
    "field twice": as_bytes(lambda data: b'{"schema": 2, ' + data[1:]),
    "deep": as_bytes(lambda data: b'{"title": ' + b"[" * 100_000),
    "trailing": as_bytes(lambda data: data + b"{}"),
    "unknown field": as_value(score=1.0),
    "missing field": without("licence"),
    "schema 1": as_value(schema=1),
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
    (folder / "submission.json").write_bytes(b" " * (submission.LARGEST["submission"] + 1))
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
    draft.stamp = replace(STAMP, source_hash=code_digest(draft.source))
    draft.change_all(lambda record: replace(record, strategy=draft.stamp))
    draft.tuning = None
    assert failures(check(draft.write(tmp_path))) == {"source"}


# The list of files.


def test_files_must_be_those_listed(draft, tmp_path):
    folder = draft.write(tmp_path)
    tuning = folder / "tuning" / "made-up-1.json"
    content = tuning.read_bytes()
    tuning.unlink()
    assert failures(check(folder)) == {"files"}
    relist(folder)
    assert failures(check(folder)) == set()
    tuning.write_bytes(content)
    assert failures(check(folder)) == {"files"}
    relist(folder)
    path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
    path.write_bytes(path.read_bytes() + b" ")
    (finding,) = [one for one in check(folder) if one.level == "FAILED"]
    assert finding.check == "files"
    assert "seed-0000.json" in finding.found

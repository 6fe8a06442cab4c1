"""Records: what goes in comes out, nothing unsound is read, and no half file is ever seen."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from functools import reduce
from itertools import accumulate
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from driftboard.suite import records
from driftboard.suite.errors import RecordError
from driftboard.suite.records import (
    Record,
    cell_path,
    decode_record,
    read_json,
    read_record,
    record_paths,
    write_atomically,
    write_record,
)
from driftboard.suite.sealing import sealed

CAUSES = ("not finite", "blow-up")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=200)
COUNTS = st.integers(0, 2**53)
NORMS = st.floats(0.0, allow_infinity=False)


def tuples(elements, size):
    return st.tuples(*[elements] * size)


@st.composite
def sound_records(draw):
    tasks, blocks = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    sizes = draw(tuples(st.integers(1, 10_000), tasks))
    classes = draw(tuples(st.integers(1, 1000), tasks))
    seen = draw(st.sampled_from([msgspec.UNSET, tuple(accumulate(classes))]))
    row = st.tuples(*(st.integers(0, size) for size in sizes))
    norms = tuples(tuples(NORMS, blocks), tasks)
    parts = tuples(tuples(st.floats(allow_nan=False, allow_infinity=False), blocks), tasks)
    shifts = tuples(st.none() | NORMS, tasks)
    plan = st.builds(
        records.PlanStamp, tuples(st.floats(0.0, 1.0), blocks), tuples(st.booleans(), blocks)
    )
    diverged_at = draw(st.none() | st.integers(0, tasks - 1))
    values = st.booleans() | st.integers(-(2**63), 2**63) | TEXTS
    values |= st.floats(allow_nan=False, allow_infinity=False)
    return Record(
        schema=3,
        protocol=records.ProtocolStamp(draw(NAMES), draw(st.integers(1, 9)), draw(DIGESTS)),
        sequence=records.SequenceStamp(
            name=draw(NAMES),
            hash=draw(DIGESTS),
            tier=draw(NAMES),
            data=draw(TEXTS),
            data_hash=draw(DIGESTS),
            blocks=draw(tuples(TEXTS, blocks)),
        ),
        strategy=records.StrategyStamp(
            name=draw(NAMES),
            role=draw(st.sampled_from(["ranked", "bound"])),
            parameters=draw(st.dictionaries(TEXTS, values, max_size=3)),
            source_hash=draw(DIGESTS),
            files=draw(st.lists(TEXTS, max_size=2).map(tuple)),
        ),
        seed=draw(COUNTS),
        split=draw(st.sampled_from(["test", "validation"])),
        correct=draw(tuples(row, tasks)),
        correct_untrained=draw(row) if seen is msgspec.UNSET else (0,) * tasks,
        test_sizes=sizes,
        classes=classes,
        seen=seen,
        passed=draw(st.just(msgspec.UNSET) | parts),
        shift_new=draw(st.just(msgspec.UNSET) | shifts),
        shift_old=draw(st.just(msgspec.UNSET) | shifts.map(lambda row: (None, *row[1:]))),
        update_norms=draw(norms),
        solution_norms=draw(norms),
        drift_norms=draw(norms),
        plans=draw(tuples(plan, tasks)),
        memory_bytes=draw(tuples(COUNTS, tasks)),
        status="finished" if diverged_at is None else "diverged",
        diverged_at=diverged_at,
        diverged_by=None if diverged_at is None else draw(st.sampled_from(CAUSES)),
        operations=draw(st.none() | tuples(COUNTS, tasks)),
        cost=records.Cost(draw(tuples(NORMS, tasks)), draw(NORMS), draw(COUNTS)),
        environment=records.Environment(
            driftboard=draw(TEXTS),
            package=draw(st.none() | DIGESTS),
            python=draw(TEXTS),
            torch=draw(TEXTS),
            device=draw(TEXTS),
            lane=draw(st.sampled_from(["solo", "stacked"])),
            cohort=draw(st.lists(COUNTS, max_size=3).map(tuple)),
        ),
    )


def refusal(path):
    """Return the one line with which ``read_record`` refuses a file."""
    with pytest.raises(RecordError) as caught:
        read_record(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@given(sound_records())
def test_what_is_written_is_what_is_read(record):
    assert decode_record(sealed(record), "here") == record


@given(sound_records(), st.data())
def test_no_flipped_bit_gives_another_record(record, data):
    content = bytearray(msgspec.json.format(sealed(record), indent=1))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(RecordError):
        assert decode_record(bytes(content), "here") == record  # such as 1E3 for 1e3


def test_the_digest_is_that_of_the_line_with_null_in_its_place(make_record):
    line = sealed(make_record())
    content = json.loads(line)
    digest = content.pop("digest")
    plain = line.replace(f'"{digest}"'.encode(), b"null")
    assert digest == hashlib.sha256(plain).hexdigest()
    assert list(json.loads(plain))[-1] == "digest"
    with pytest.raises(
        RecordError, match=r"^here is damaged: its content does not fit its digest$"
    ):
        decode_record(plain, "here")


@pytest.mark.parametrize(("old", "new"), [("[90,10]", "[91,10]"), ('"seed":0', '"seed":1')])
def test_a_changed_count_is_refused_with_what_to_do(make_record, tmp_path, old, new):
    path = write_record(tmp_path, make_record())
    changed = sealed(make_record()).decode().replace(old, new)
    path.write_text(changed)
    assert refusal(path).endswith(
        "does not fit its digest; delete the file and run again to make it anew"
    )


def test_record_lies_in_its_place_as_readable_json(make_record, tmp_path):
    record = make_record("alpha", "ewc", 7)
    path = write_record(tmp_path, record)
    assert path == tmp_path / "records" / "alpha" / "ewc" / "seed-0007.json"
    assert path == cell_path(tmp_path, "alpha", "ewc", 7)
    assert read_record(path) == record
    text = path.read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["correct"] == [[90, 10], [60, 80]]


def test_record_paths_are_sorted_and_leave_out_what_is_no_record(make_record, tmp_path):
    written = [
        write_record(tmp_path, make_record(sequence, strategy, seed))
        for sequence, strategy, seed in (("b", "x", 0), ("a", "y", 1), ("a", "y", 0))
    ]
    for stray in (".seed-0002.json-1-ab.part", "notes.txt"):
        (tmp_path / "records" / "a" / "y" / stray).write_text("")
    assert list(record_paths(tmp_path)) == [written[2], written[1], written[0]]
    assert list(record_paths(tmp_path / "nothing")) == []


# What a record must not hold: the place of a value in the file, the value, and a word of the
# refusal.

HIDDEN = ["\n", "\x00", "\x1b[2J", "\x7f", "\x9b", "\u061c", "\u200f", "\u2028", "\u202e", "\u2066"]
UNSOUND = {
    "other schema": ("schema", 1, "it has schema 1"),
    "schema as text": ("schema", "2", "schema"),
    "unknown field": ("extra", 1, "extra"),
    "unknown field within": ("protocol.extra", 1, "extra"),
    "protocol version 0": ("protocol.version", 0, "version"),
    "more correct than images": ("correct", [[90, 10], [101, 80]], "more correct"),
    "more correct untrained": ("correct_untrained", [5, 101], "more correct"),
    "negative count": ("correct", [[90, 10], [60, -1]], "correct"),
    "broken count": ("correct", [[90, 10], [60, 80.5]], "correct"),
    "size beyond all bounds": ("test_sizes", [10**400, 100], "test_sizes"),
    "size that no float holds": ("test_sizes", [2**53 + 1, 100], "test_sizes"),
    "count beyond all bounds": ("memory_bytes", [10**400, 0], "memory_bytes"),
    "count that no float holds": ("memory_bytes", [2**53 + 1, 0], "memory_bytes"),
    "no images": ("test_sizes", [100, 0], "test_sizes"),
    "row too short": ("correct", [[90, 10], [60]], "row of counts"),
    "row too long": ("correct", [[90, 10], [60, 80, 0]], "row of counts"),
    "rows missing": ("correct", [[90, 10]], "2 tasks"),
    "untrained too short": ("correct_untrained", [5], "2 tasks"),
    "classes too short": ("classes", [10], "2 tasks"),
    "norms too short": ("update_norms", [[3, 4, 9]], "2 tasks"),
    "solution norms too short": ("solution_norms", [[3, 4, 9]], "2 tasks"),
    "drift norms too short": ("drift_norms", [[3, 4, 9]], "2 tasks"),
    "other measure": ("measure", "excess-loss", "correct"),
    "unknown measure": ("measure", "beauty", "measure"),
    "no measure": ("measure", None, "measure"),
    "memory too long": ("memory_bytes", [0, 0, 0], "2 tasks"),
    "seconds too short": ("cost.seconds", [1.0], "2 tasks"),
    "plans missing": ("plans", [], "two tasks"),
    "norms of two blocks": ("update_norms", [[3, 4, 9], [3, 4]], "3 blocks"),
    "solution norms of no block": ("solution_norms", [[3, 4, 9], []], "3 blocks"),
    "plan of two blocks": (
        "plans",
        [{"share": [1, 1, 1], "restart": [False] * 2}] * 2,
        "3 blocks",
    ),
    "share above one": ("plans", [{"share": [1, 1, 1.5], "restart": [False] * 3}] * 2, "share"),
    "negative share": ("plans", [{"share": [1, 1, -0.5], "restart": [False] * 3}] * 2, "share"),
    "negative norm": ("update_norms", [[3, 4, 9], [3, 4, -1]], "update_norms"),
    "negative seconds": ("cost.seconds", [1.0, -1.0], "seconds"),
    "null for not a number": ("solution_norms", [[3, 4, 9], [3, 4, None]], "solution_norms"),
    "diverged and finished": ("diverged_at", 1, "contradict"),
    "diverged nowhere": ("status", "diverged", "contradict"),
    "strange status": ("status", "lost", "status"),
    "strange split": ("split", "train", "split"),
    "strange role": ("strategy.role", "winner", "role"),
    "strange lane": ("environment.lane", "fast", "lane"),
    "negative seed": ("seed", -1, "seed"),
    "seed that is no number": ("seed", True, "seed"),
    "upper-case name": ("strategy.name", "SGD", "strategy.name"),
    "name with a path": ("sequence.name", "../../up", "sequence.name"),
    "name that is hidden": ("sequence.name", ".hidden", "sequence.name"),
    "empty name": ("sequence.name", "", "sequence.name"),
    "long name": ("sequence.name", "a" * 65, "sequence.name"),
    "name with a line break": ("sequence.name", "alpha\n", "sequence.name"),
    "short digest": ("sequence.hash", "b" * 63, "hash"),
    "upper-case digest": ("protocol.hash", "A" * 64, "hash"),
    "long text": ("environment.device", "x" * 201, "device"),
    "list as a parameter": ("strategy.parameters", {"rates": [1, 2]}, "parameters"),
    **{f"hidden {mark!r}": ("sequence.data", f"a{mark}b", "data") for mark in HIDDEN},
    "hidden in a block's name": ("sequence.blocks", ["first", "se\x1bcond", "head"], "blocks"),
    "hidden in a parameter": ("strategy.parameters", {"labels": "\u202e"}, "parameters"),
    "hidden in a parameter's name": ("strategy.parameters", {"\x1b": 1}, "parameters"),
}


def seal(path):
    """Give a record that was changed the digest of its new content, if it is a sound one."""
    with suppress(msgspec.MsgspecError):
        record = msgspec.json.decode(path.read_bytes(), type=records.AnyRecord)
        path.write_bytes(sealed(replace(record, digest=None)))


@pytest.fixture
def change_file(make_record, tmp_path):
    """Return a function that writes a record with one value changed and returns its path."""

    def change(place, value, record=None):
        path = write_record(tmp_path, record or make_record())
        content = json.loads(path.read_bytes())
        *parents, last = place.split(".")
        reduce(lambda part, name: part[name], parents, content)[last] = value
        path.write_text(json.dumps(content))
        seal(path)
        return path

    return change


@pytest.mark.parametrize(("place", "value", "word"), UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_record_is_refused(change_file, place, value, word):
    assert word in refusal(change_file(place, value))


def test_the_changes_above_are_refused_for_their_own_sake(change_file):
    path = change_file("correct", [[100, 0], [60, 80]])
    assert read_record(path).correct == ((100, 0), (60, 80))


OPTIONAL = ("seen", "passed", "shift_new", "shift_old")
NEEDED = [name for name in Record.__struct_fields__ if name not in OPTIONAL]


@pytest.mark.parametrize("missing", ["measure", *NEEDED])
def test_every_field_is_needed(make_record, tmp_path, missing):
    path = write_record(tmp_path, make_record())
    content = json.loads(path.read_bytes())
    del content[missing]
    path.write_text(json.dumps(content))
    assert missing in refusal(path)


CLASS_INCREMENTAL = {"correct_untrained": (0, 0), "classes": (2, 3), "seen": (2, 5)}


def test_only_class_incremental_records_tell_of_seen_classes(make_record, tmp_path):
    record = make_record(**CLASS_INCREMENTAL)
    assert read_record(write_record(tmp_path, record)) == record
    assert record.choices == (2, 5)
    assert b'"seen":[2,5]' in sealed(record)
    plain = make_record()
    assert plain.choices == plain.classes == (10, 10)
    assert b"seen" not in sealed(plain)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"seen": [2]}, "2 tasks"),
        ({"seen": [2, 6]}, "seen classes do not fit"),
        ({"seen": [3, 5]}, "seen classes do not fit"),
        ({"seen": [2, 2]}, "seen classes do not fit"),
        ({"classes": [4, 3], "seen": [4, 3]}, "seen classes do not fit"),
        ({"seen": [0, 2]}, "seen"),
        ({"seen": None}, "seen"),
        ({"correct_untrained": [0, 1]}, "before any class was seen"),
    ],
)
def test_unsound_numbers_of_seen_classes_are_refused(make_record, tmp_path, changes, word):
    content = json.loads(sealed(make_record(**CLASS_INCREMENTAL)))
    path = cell_path(tmp_path, "alpha", "sgd", 0)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content | changes))
    seal(path)
    assert word in refusal(path)


PASSED = ((1.0, 1.0, 0.5), (0.25, -0.125, 0.0))  # two tasks of three blocks


def test_what_passes_is_read_as_it_was_written_and_else_nothing_is_said_of_it(
    make_record, tmp_path
):
    record = make_record(passed=PASSED)
    assert b'"passed":[[1.0,1.0,0.5],[0.25,-0.125,0.0]]' in sealed(record)
    assert read_record(write_record(tmp_path, record)).passed == PASSED
    assert b"passed" not in sealed(make_record())


@pytest.mark.parametrize(
    ("passed", "word"),
    [
        ([PASSED[0]], "2 tasks"),
        ([*PASSED, PASSED[0]], "2 tasks"),
        ([PASSED[0], (0.25, 0.5)], "row of passed"),
        ([(*PASSED[0], 1.0), (*PASSED[1], 1.0)], "row of passed"),
        ([PASSED[0], (0.25, 0.5, None)], "passed"),
        (None, "passed"),
    ],
)
def test_parts_of_other_tasks_or_blocks_are_refused(make_record, tmp_path, passed, word):
    content = json.loads(sealed(make_record(passed=PASSED)))
    path = cell_path(tmp_path, "alpha", "sgd", 0)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content | {"passed": passed}))
    seal(path)
    assert word in refusal(path)


SHIFTS = {"shift_new": (0.5, None), "shift_old": (None, 0.25)}


def test_how_far_outputs_moved_is_read_as_it_was_written_and_else_nothing_is_said_of_it(
    make_record, tmp_path
):
    record = make_record(**SHIFTS)
    assert b'"shift_new":[0.5,null],"shift_old":[null,0.25]' in sealed(record)
    assert read_record(write_record(tmp_path, record)) == record
    assert b"shift" not in sealed(make_record())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shift_new": [0.5]}, "2 tasks"),
        ({"shift_old": [None]}, "2 tasks"),
        ({"shift_new": [0.5, -0.25]}, "shift_new"),
        ({"shift_new": None}, "shift_new"),
        ({"shift_old": [0.5, 0.25]}, "no task before the first"),
    ],
)
def test_unsound_shifts_of_outputs_are_refused(make_record, tmp_path, changes, word):
    content = json.loads(sealed(make_record(**SHIFTS)))
    path = cell_path(tmp_path, "alpha", "sgd", 0)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content | changes))
    seal(path)
    assert word in refusal(path)


@pytest.fixture
def loss_record(make_record):
    """Return a sound record of a linear sequence."""
    content = msgspec.structs.asdict(make_record())
    for name in ("correct", "correct_untrained", "test_sizes", "classes", *OPTIONAL):
        del content[name]
    return records.LossRecord(
        **content, losses=((0.5, 1.0), (0.7, 0.4)), losses_untrained=(1.0, 1.0), draws=50
    )


def test_losses_are_read_as_they_were_written(loss_record, tmp_path):
    assert read_record(write_record(tmp_path, loss_record)) == loss_record


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        ("losses", [[0.5, 1.0], [0.7]], "2 tasks"),
        ("losses", [[0.5, 1.0]], "2 tasks"),
        ("losses", [[0.5, -1.0], [0.7, 0.4]], "losses"),
        ("losses", [[0.5, None], [0.7, 0.4]], "losses"),
        ("losses_untrained", [1.0], "2 tasks"),
        ("draws", 0, "draws"),
        ("plans", [], "two tasks"),
        ("measure", "accuracy", "losses"),
    ],
)
def test_unsound_losses_are_refused(change_file, loss_record, place, value, word):
    assert word in refusal(change_file(place, value, loss_record))


def test_divergence_names_a_task(make_record, change_file):
    diverged = make_record(status="diverged", diverged_at=1, diverged_by="not finite")
    assert read_record(change_file("diverged_at", 0, diverged)).diverged_at == 0
    assert "not one of the 2 tasks" in refusal(change_file("diverged_at", 2, diverged))
    assert "contradict" in refusal(change_file("diverged_at", None, diverged))
    assert "contradict" in refusal(change_file("status", "finished", diverged))


def test_one_task_is_no_record(make_record):
    with pytest.raises(ValueError, match="two tasks"):
        make_record(correct=((5,),))


def test_record_cut_at_any_byte_is_refused(make_record, tmp_path):
    whole = msgspec.json.encode(make_record())
    path = tmp_path / "cut.json"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "not a driftboard record" in refusal(path)


NOT_RECORDS = {
    "empty": b"",
    "another object": b'{"results": [1, 2, 3]}',
    "a list": b"[1, 2, 3]",
    "null": b"null",
    "binary": bytes(range(256)),
    "not UTF-8": b'{"schema": "\xff"}',
    "NaN": b'{"schema": NaN}',
    "deep": b"[" * 200_000,
    "deep within": b'{"protocol": ' + b'{"a": ' * 200_000,
    "two records": b"{}{}",
}


@pytest.mark.parametrize("content", NOT_RECORDS.values(), ids=NOT_RECORDS.keys())
def test_other_content_is_refused(tmp_path, content):
    path = tmp_path / "seed-0000.json"
    path.write_bytes(content)
    assert "delete the file and run again" in refusal(path)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text().map(str.encode))
def test_any_bytes_are_refused_by_the_same_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / f"any-{os.getpid()}.json"
    path.write_bytes(content)
    refusal(path)


def test_absent_file_and_folder_are_refused(tmp_path):
    assert "cannot read" in refusal(tmp_path / "absent.json")
    assert "cannot read" in refusal(tmp_path)


# Writing: all or nothing.


@pytest.mark.parametrize("existing", [None, b"earlier"])
@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_full_disk_leaves_neither_half_a_file_nor_a_part(tmp_path, monkeypatch, existing, broken):
    path = tmp_path / "below" / "file.json"
    if existing is not None:
        write_atomically(path, existing)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[broken], fail)
    with pytest.raises(RecordError) as caught:
        write_atomically(path, b"later")
    message = str(caught.value)
    assert message.startswith(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")
    assert "run the same command again" in message
    assert files_below(tmp_path) == ([] if existing is None else [path])
    assert existing is None or path.read_bytes() == existing


def test_interruption_leaves_no_part(tmp_path, monkeypatch):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file.json", b"content")
    assert files_below(tmp_path) == []


def test_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(RecordError, match=r"^cannot write .*choose another folder.*$"):
        write_atomically(tmp_path / "results" / "file.json", b"")
    assert files_below(tmp_path) == [tmp_path / "results"]


def test_later_content_replaces_earlier_whole(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, b"long content")
    write_atomically(path, b"short")
    assert path.read_bytes() == b"short"
    assert files_below(tmp_path) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_umask_decides_who_may_read(tmp_path, umask, mode):
    path = tmp_path / "file.json"
    before = os.umask(umask)
    try:
        write_atomically(path, b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


WRITER = """
import sys
from pathlib import Path
from driftboard.suite.records import write_atomically
for _ in range(50):
    write_atomically(Path(sys.argv[1]), 200_000 * sys.argv[2].encode())
"""


def test_concurrent_writers_leave_one_whole_file(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, 200_000 * b"0")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), mark]) for mark in "abc"]
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        assert content == 200_000 * content[:1]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert path.read_bytes() in [200_000 * mark for mark in (b"a", b"b", b"c")]
    assert files_below(tmp_path) == [path]


def test_replaced_fields_are_checked_too(make_record):
    with pytest.raises(ValueError, match="more correct"):
        replace(make_record(), correct_untrained=(5, 101))


# JSON files of a known shape.


class Pair(Struct, forbid_unknown_fields=True):
    """A shape of two numbers."""

    first: int
    second: float


def read_pair(path):
    return read_json(path, Pair, "a pair", "write it anew")


def test_a_sound_file_is_read(tmp_path):
    path = tmp_path / "pair.json"
    path.write_text('{"second": 0.5, "first": 3}')
    assert read_pair(path) == Pair(3, 0.5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"first": 3, "second": 0.5',
        b'{"first": 3}',
        b'{"first": "3", "second": 0.5}',
        b'{"first": 3, "second": 0.5, "third": 1}',
        b'{"first": 3, "second": NaN}',
        b'{"first": 3, "second": 0.5, "\xff": 1}',
        b"[" * 100_000,
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "pair.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_pair(path)
    assert str(caught.value).startswith(f"{path} is not a pair: ")
    assert str(caught.value).endswith("; write it anew")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"^cannot read .*pair\.json: No such file or directory$"):
        read_pair(tmp_path / "pair.json")
    with pytest.raises(RecordError, match="Is a directory"):
        read_pair(tmp_path)

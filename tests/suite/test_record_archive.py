"""Archives of records: what goes in comes out, and a damaged file is one line."""

import lzma
import random

import pytest

from driftboard.suite.errors import RecordError
from driftboard.suite.record_archive import read_archive, write_archive


@pytest.fixture
def records(make_record, make_loss_record):
    found = [make_record("beta", name, seed) for name in ("sgd", "ewc") for seed in (2, 0, 11)]
    return [*found, make_loss_record("alpha")]


def test_what_goes_in_comes_out_sorted_by_cell(records, tmp_path):
    write_archive(tmp_path / "a.jsonl.xz", records)
    found = list(read_archive(tmp_path / "a.jsonl.xz"))
    assert found == sorted(records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed))


def test_any_order_gives_the_same_bytes(records, tmp_path):
    write_archive(tmp_path / "a.jsonl.xz", records)
    random.Random(0).shuffle(records)
    write_archive(tmp_path / "b.jsonl.xz", records)
    assert (tmp_path / "a.jsonl.xz").read_bytes() == (tmp_path / "b.jsonl.xz").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not compressed", "cannot read"),
        (lzma.compress(b"{}\n"), "line 1 of .* is not a driftboard record of schema 2"),
        (lzma.compress(b"\xff\n"), "line 1 of"),
        (None, "cannot read"),
    ],
)
def test_a_damaged_archive_is_one_line(content, message, tmp_path):
    path = tmp_path / "a.jsonl.xz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        list(read_archive(path))
    assert "\n" not in str(caught.value)


def test_a_truncated_archive_is_one_line(records, tmp_path):
    path = tmp_path / "a.jsonl.xz"
    write_archive(path, records)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordError, match="cannot read"):
        list(read_archive(path))

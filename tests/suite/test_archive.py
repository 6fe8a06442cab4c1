"""Archives: what goes in comes out, in one order, and a damaged file is one line."""

import lzma
import random

import pytest

from driftboard.suite.archive import read_archive, write_archive
from driftboard.suite.errors import RecordError


@pytest.fixture
def several_records(make_record, make_loss_record):
    found = [make_record("beta", name, seed) for name in ("sgd", "ewc") for seed in (2, 0, 11)]
    return [*found, make_loss_record("alpha")]


def test_what_goes_in_comes_out_sorted_by_cell(several_records, tmp_path):
    write_archive(tmp_path / "a.jsonl.xz", several_records)
    found = list(read_archive(tmp_path / "a.jsonl.xz"))
    assert found == sorted(
        several_records, key=lambda r: (r.sequence.name, r.strategy.name, r.seed)
    )


def test_any_order_gives_the_same_bytes(several_records, tmp_path):
    write_archive(tmp_path / "a.jsonl.xz", several_records)
    random.Random(0).shuffle(several_records)
    write_archive(tmp_path / "b.jsonl.xz", several_records)
    assert (tmp_path / "a.jsonl.xz").read_bytes() == (tmp_path / "b.jsonl.xz").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not compressed", "cannot read"),
        (lzma.compress(b"{}\n"), "line 1 of .* is not a driftboard record of schema 3"),
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


def test_a_truncated_archive_is_one_line(several_records, tmp_path):
    path = tmp_path / "a.jsonl.xz"
    write_archive(path, several_records)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordError, match="cannot read"):
        list(read_archive(path))

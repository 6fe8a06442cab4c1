"""Reading a JSON file of a known shape, and the line that says what is wrong with another."""

import pytest
from msgspec import Struct

from driftboard.suite.errors import RecordError
from driftboard.suite.json_file import read_json


class Pair(Struct, forbid_unknown_fields=True):
    """A shape of two numbers."""

    first: int
    second: float


def read(path):
    return read_json(path, Pair, "a pair", "write it anew")


def test_a_sound_file_is_read(tmp_path):
    path = tmp_path / "pair.json"
    path.write_text('{"second": 0.5, "first": 3}')
    assert read(path) == Pair(3, 0.5)


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
        read(path)
    assert str(caught.value).startswith(f"{path} is not a pair: ")
    assert str(caught.value).endswith("; write it anew")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"^cannot read .*pair\.json: No such file or directory$"):
        read(tmp_path / "pair.json")
    with pytest.raises(RecordError, match="Is a directory"):
        read(tmp_path)

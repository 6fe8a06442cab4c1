"""Putting a table into a file between markers: all else stays, and every mistake is one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftboard.leaderboard.build import build_leaderboard
from driftboard.leaderboard.render.markdown import BEGIN, END, between_markers, update_file
from driftboard.suite.errors import RecordError
from driftboard.suite.records import write_record

outside = st.text().filter(lambda text: BEGIN not in text and END not in text and "\r" not in text)


@given(outside, outside, outside)
def test_all_else_stays_and_a_second_time_changes_nothing(before, old, after):
    text = f"{before}\n{BEGIN}{old}{END}\n{after}"
    found = between_markers(text, "| a |\n| b |")
    assert found == f"{before}\n{BEGIN}\n\n| a |\n| b |\n\n{END}\n{after}"
    assert between_markers(found, "| a |\n| b |") == found


def test_line_ends_follow_the_file(tmp_path):
    path = tmp_path / "README.md"
    path.write_bytes(f"\ufefftitle\r\n{BEGIN}\r\n{END}\r\nend".encode())
    update_file(path, "a\nb\n")
    expected = f"\ufefftitle\r\n{BEGIN}\r\n\r\na\r\nb\r\n\r\n{END}\r\nend"
    assert path.read_bytes() == expected.encode()


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "real.md", tmp_path / "link.md"
    target.write_text(f"{BEGIN}{END}")
    link.symlink_to(target)
    update_file(link, "a")
    assert link.is_symlink()
    assert target.read_text() == f"{BEGIN}\n\na\n\n{END}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"no markers", "stands 0 times, not once"),
        (BEGIN.encode(), f"the marker {END} stands 0 times"),
        (f"{BEGIN}{END}{BEGIN}{END}".encode(), "stands 2 times"),
        (f"{END}{BEGIN}".encode(), "comes before"),
    ],
)
def test_mistakes_are_one_line_and_leave_the_file(tmp_path, content, message):
    path = tmp_path / "README.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        update_file(path, "a")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert content is None or path.read_bytes() == content


def test_the_overall_table_goes_into_the_file(make_record, tmp_path):
    for seed in range(3):
        write_record(tmp_path / "results", make_record(seed=seed))
    path = tmp_path / "README.md"
    path.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n")
    board = build_leaderboard([tmp_path / "results"], tmp_path / "out", update=path)
    text = path.read_text()
    assert "old" not in text
    assert text.startswith(f"# Mine\n\n{BEGIN}\n\n1 strategy on 1 sequence with 3 seeds")
    (line,) = (line for line in text.splitlines() if "| `sgd`" in line)
    mean = 100 * board.overall.ranked[0].first.interval.mean
    assert f"| {mean:.1f} [{mean:.1f}, {mean:.1f}] |" in line
    assert "Made with <code>driftboard leaderboard" in text

"""A board's files: which are written where, and the command that makes them again."""

import doctest
import html
from pathlib import Path

import pytest

from driftboard.leaderboard import build
from driftboard.leaderboard.build import Format, build_leaderboard, write_board
from driftboard.suite.records import write_record


@pytest.fixture
def results(make_record, tmp_path):
    for seed in range(3):
        write_record(tmp_path / "results", make_record(seed=seed))
    return tmp_path / "results"


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_a_format_is_one_file_or_folder(results, tmp_path):
    names = {one: one.file_name for one in Format}
    assert names == {
        "md": "leaderboard.md",
        "csv": "leaderboard.csv",
        "tex": "leaderboard.tex",
        "html": "index.html",
        "figures": "figures",
    }
    for one in (Format.MARKDOWN, Format.CSV, Format.LATEX, Format.HTML):
        build_leaderboard([results], tmp_path / one, formats=[one])
        assert below(tmp_path / one) == [one.file_name]
    build_leaderboard([results], tmp_path / "drawn", formats=[Format.FIGURES])
    found = below(tmp_path / "drawn")
    assert found
    assert {(Path(name).parent.name, Path(name).suffix) for name in found} == {
        ("figures", ".svg"),
        ("figures", ".png"),
    }
    build_leaderboard([results], tmp_path / "usual")
    assert below(tmp_path / "usual") == ["leaderboard.csv", "leaderboard.md"]


def test_the_legend_has_the_command_with_these_arguments(make_record, results, tmp_path):
    published = {"other set": iter([make_record("digits-split", "ewc")])}
    board = build_leaderboard(
        [results], tmp_path / "out", "ewc", skip_broken=True, published=published
    )
    text = html.unescape((tmp_path / "out" / "leaderboard.md").read_text())
    assert (
        f"driftboard leaderboard {results} --published 'other set' --out {tmp_path / 'out'} "
        "--reference ewc --skip-broken"
    ) in text
    assert {cell.strategy for cell in board.source.cells} == {"sgd", "ewc"}


def test_a_board_is_written_a_second_time_with_other_formats(results, tmp_path):
    board = build_leaderboard([results], tmp_path / "first", command="the same")
    paths = write_board(board, {}, "the same", tmp_path / "second", (Format.LATEX, Format.MARKDOWN))
    assert paths == [tmp_path / "second" / name for name in ("leaderboard.md", "leaderboard.tex")]
    assert all(path.is_file() for path in paths)
    first, second = (tmp_path / one / "leaderboard.md" for one in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_the_example_holds():
    assert doctest.testmod(build) == (0, 1)

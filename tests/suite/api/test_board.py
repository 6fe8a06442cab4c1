"""The leaderboard from Python is that of the command line."""

import csv
import html

import pytest
from msgspec.structs import replace

import driftboard as db
from driftboard.suite.records import write_record


@pytest.fixture
def folder(tmp_path, make_record):
    """Return a results folder with two strategies, two sequences and three seeds."""
    for sequence in ("alpha", "beta"):
        for strategy, last in (("sgd", 60), ("ewc", 80)):
            for seed in range(3):
                correct = ((90, 10), (last + seed, 80))
                write_record(tmp_path / "one", make_record(sequence, strategy, seed, correct))
    return tmp_path / "one"


def without_command(text):
    return [line for line in text.splitlines() if "driftboard" not in line.lower()]


def test_files_are_those_of_the_command(folder, tmp_path, call):
    code, *_ = call("leaderboard", folder, "--out", tmp_path / "command")
    paths = db.leaderboard(db.load(folder)).save(tmp_path / "python")
    assert code == 0
    assert {path.name for path in paths} >= {"leaderboard.md", "leaderboard.csv", "index.html"}
    for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.tex"):
        ours = (tmp_path / "python" / name).read_text()
        theirs = (tmp_path / "command" / name).read_text()
        assert without_command(ours) == without_command(theirs)
    assert (tmp_path / "python" / "leaderboard.csv").read_bytes() == (
        tmp_path / "command" / "leaderboard.csv"
    ).read_bytes()


def test_the_legend_says_how_the_board_was_made(folder):
    text = db.leaderboard(db.load(folder, strategies=["sgd", "ewc"])).markdown()
    made = f"driftboard.leaderboard(driftboard.load('{folder}').select(strategies=['sgd', 'ewc'])"
    assert made in html.unescape(text)


def test_the_frame_is_the_csv(folder, tmp_path):
    board = db.leaderboard(db.load(folder), reference="sgd")
    frame = board.frame()
    board.save(tmp_path, formats=["csv"])
    with (tmp_path / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert frame.columns.tolist() == list(rows[0])
    assert len(frame) == len(rows)
    assert frame["mean"].tolist() == [float(row["mean"]) for row in rows]
    overall = frame.query("sequence == 'overall' and metric == 'avg_acc'").set_index("strategy")
    assert overall.loc["ewc", "difference"] == pytest.approx(0.10)
    assert [path.name for path in board.save(tmp_path, formats=["csv"])] == ["leaderboard.csv"]


def test_several_results_make_one_board(folder, tmp_path, make_record):
    for sequence in ("alpha", "beta"):
        for seed in range(3):
            record = make_record(sequence, "mine", seed, ((90, 10), (85, 80)))
            write_record(tmp_path / "two", record)
    both = db.leaderboard([db.load(folder), db.load(tmp_path / "two")])
    assert {"ewc", "mine", "sgd"} <= set(both.frame()["strategy"])
    twice = db.leaderboard([db.load(folder), db.load(folder)])
    assert twice.frame().equals(db.leaderboard(db.load(folder)).frame())


def test_published_strategies_are_marked_so():
    frame = db.leaderboard(db.published("quick", strategies=["sgd", "ewc"])).frame()
    assert set(frame["evidence"].dropna()) == {"published"}


def test_parts_of_a_published_set_are_all_marked_so():
    parts = [db.published("quick", strategies=[name]) for name in ("sgd", "ewc")]
    frame = db.leaderboard(parts).frame().query("sequence == 'overall'")
    assert dict(zip(frame["strategy"], frame["evidence"], strict=True)) == {
        "sgd": "published",
        "ewc": "published",
    }


def test_a_notebook_and_a_terminal_show_the_overall_table(folder):
    board = db.leaderboard(db.load(folder))
    assert "ewc" in repr(board)
    shown = board._repr_html_()
    assert "<table" in shown
    assert "Avg.Acc" in shown
    part = db.leaderboard(db.load(folder), exclude="ewc")
    assert "Left out as asked for: 6 records" in repr(part)
    assert "<p>Left out as asked for: 6 records" in part._repr_html_()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda results: db.leaderboard(results, reference="none"), "none"),
        (lambda results: db.leaderboard([]), "no results were given"),
        (
            lambda results: db.leaderboard(results).save("x", ["pdf"]),
            "no format 'pdf'",
        ),
    ],
)
def test_mistakes_are_one_line(folder, make, complaint):
    with pytest.raises(db.DriftboardError, match=complaint) as raised:
        make(db.load(folder))
    assert "\n" not in str(raised.value)


def test_the_first_of_contradicting_records_stands_and_the_board_says_so(
    folder, tmp_path, make_record
):
    other = tmp_path / "other"
    write_record(other, make_record("alpha", "sgd", 0, ((90, 10), (50, 80))))
    note = f"{other}: 1 record of cells that stand as they are in {folder}; 0 equal to these, 1 "
    frames = []
    for results in (db.load(folder, other), [db.load(folder), db.load(other)]):
        board = db.leaderboard(results)
        assert note + "different and left out, in Avg.Acc 5 points" in html.unescape(
            board.markdown()
        )
        frames.append(board.frame())
    assert frames[0].equals(frames[1])
    assert frames[0].equals(db.leaderboard(db.load(folder)).frame())
    turned = db.leaderboard([db.load(other), db.load(folder)]).frame()
    assert not turned.equals(frames[0])


def test_own_results_stand_beside_published_ones(tmp_path):
    """As if they had been made again on another processor: one count differs."""
    quick = db.published("quick", strategies=["sgd", "ewc"])
    for record in quick.select(strategies="ewc", seeds=[0]).records:
        (*rest, last) = record.correct
        last = (*last[:-1], max(0, last[-1] - 1))
        write_record(tmp_path, replace(record, correct=(*rest, last)))
    own = db.load(tmp_path)
    board = db.leaderboard([quick, own])
    means = board.frame().query("sequence == 'overall' and metric == 'avg_acc'")
    assert means.set_index("strategy")["n"].to_dict() == {"ewc": 5, "sgd": 5}
    badges = means.set_index("strategy")["evidence"].dropna().to_dict()
    assert badges == {"sgd": "published"}
    assert "6 different and left out" in board.markdown()
    turned = db.leaderboard([own, quick], prefer="published")
    assert turned.frame().equals(db.leaderboard(quick).frame())
    with pytest.raises(db.DriftboardError, match="prefer is 'own' or 'published', not 'mine'"):
        db.leaderboard([own, quick], prefer="mine")


def test_strategies_and_sequences_are_chosen_by_patterns(folder):
    board = db.leaderboard(db.load(folder), strategies="s*", exclude=["beta"])
    frame = board.frame()
    assert set(frame["strategy"]) == {"sgd"}
    assert set(frame["sequence"]) == {"overall", "alpha"}
    text = html.unescape(board.markdown())
    assert "Left out as asked for: 9 records, among them all of `ewc`, `beta`." in text
    assert "reference='sgd', strategies=['s*'], exclude=['beta'])" in text
    assert set(db.leaderboard(db.load(folder), sequences=["beta"]).frame()["sequence"]) == {
        "overall",
        "beta",
    }
    with pytest.raises(db.DriftboardError, match="no strategy 'egc'; did you mean ewc"):
        db.leaderboard(db.load(folder), strategies=["egc"])


def test_results_of_one_folder_do_not_hide_each_other(folder):
    both = [db.load(folder).select(strategies=[name]) for name in ("sgd", "ewc")]
    for part in both:
        object.__setattr__(part, "made_by", "the same")
    frame = db.leaderboard(both).frame()
    assert {"sgd", "ewc"} <= set(frame["strategy"])


def test_text_has_no_codes_for_a_terminal(folder):
    assert "\x1b" not in repr(db.leaderboard(db.load(folder)))


def test_what_is_no_results_is_named(folder):
    with pytest.raises(db.DriftboardError, match=r"'folder' is no results; driftboard\.load"):
        db.leaderboard("folder")
    assert [p.name for p in db.leaderboard(db.load(folder)).save(folder, "md")] == [
        "leaderboard.md"
    ]

"""What stands around the tables: every note, in the words that a reader sees."""

import pytest
from msgspec.structs import replace
from rich.console import Console

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.analysis.join import Choice, Source
from driftboard.leaderboard.render.latex import latex
from driftboard.leaderboard.render.markdown import markdown, overall_tables
from driftboard.leaderboard.render.page import html_page
from driftboard.leaderboard.render.terminal import terminal_table
from driftboard.leaderboard.words import Quote, collection_notes, section_notes
from driftboard.suite.records import write_record

QUICK = Source("published quick", is_published=True)
CHANCE = ((10, 10), (10, 10))


def diverged(record):
    return replace(record, status="diverged", diverged_at=0, diverged_by="not finite")


def built_by(record, package):
    return replace(record, environment=replace(record.environment, package=package))


def shown(notes):
    return ["".join(note) for note in notes]


@pytest.fixture
def collected(tmp_path):
    """Return a function that collects records from folders by name, and published ones."""

    def collection(folders, published=(), choice=Choice()):  # noqa: B008
        for name, records in folders.items():
            for record in records:
                write_record(tmp_path / name, record)
        paths = [tmp_path / name for name in folders]
        return collect(paths, records={QUICK: published} if published else {}, choice=choice)

    return collection


def test_a_plain_collection_needs_no_note(make_record, collected):
    collection = collected({"own": [make_record(), make_record("alpha", "ewc")]})
    assert collection_notes(collection) == []
    assert section_notes(build_board(collection).overall) == ()


def test_cells_of_two_sources_are_counted_and_compared(make_record, collected, tmp_path):
    own = [make_record(seed=seed, correct=((90, 10), (60, 80))) for seed in range(3)]
    published = [make_record(seed=s, correct=((90, 10), (60, 80 + 2 * s))) for s in range(3)]
    (note,) = collection_notes(collected({"own": own}, published))
    assert "".join(note) == (
        f"published quick: 3 records of cells that stand as they are in {tmp_path / 'own'}; 1 "
        "equal to these, 2 different and left out, in Avg.Acc 2 points apart at most, 1.5 on "
        "average."
    )
    assert [part for part in note if isinstance(part, Quote)] == [
        "published quick",
        str(tmp_path / "own"),
    ]


def test_different_cells_may_have_the_same_score(make_record, collected):
    other = make_record(drift_norms=((0.0, 0.0, 0.0), (3.0, 4.5, 9.0)))
    (note,) = shown(collection_notes(collected({"own": [make_record()], "b": [other]})))
    assert note.endswith("0 equal to these, 1 different and left out, all with the same Avg.Acc.")


def test_equal_cells_are_said_to_be_equal(make_record, collected, tmp_path):
    collection = collected({"own": [make_record()], "again": [make_record()]})
    assert shown(collection_notes(collection)) == [
        f"{tmp_path / 'again'}: 1 record of cells that stand as they are in {tmp_path / 'own'}, "
        "all equal to these."
    ]


def test_losses_are_compared_in_their_own_unit(make_loss_record, collected):
    collection = collected(
        {"own": [make_loss_record()], "b": [make_loss_record(losses=((0.5, 1.5), (0.75, 0.5)))]}
    )
    assert (
        "in Avg.Loss 0.12 apart at most, 0.12 on average" in shown(collection_notes(collection))[0]
    )


def test_other_versions_are_named_with_what_differs(make_record, collected, tmp_path):
    other = make_record("alpha", "ewc")
    other = replace(other, strategy=replace(other.strategy, source_hash="e" * 64))
    published = [make_record("alpha", "ewc", seed) for seed in range(2)]
    notes = collection_notes(collected({"own": [make_record(), other]}, published))
    assert shown(notes) == [
        "published quick: 2 records left out, because strategy ewc has another source in "
        f"{tmp_path / 'own'}."
    ]


def test_another_protocol_is_said_to_be_one(make_record, collected, tmp_path):
    own = make_record()
    own = replace(own, protocol=replace(own.protocol, version=3))
    notes = collection_notes(collected({"own": [own]}, [make_record("alpha", "ewc")]))
    assert shown(notes) == [
        "published quick: 1 record left out, because the protocol is not that of "
        f"{tmp_path / 'own'}."
    ]


def test_what_was_not_asked_for_is_counted(make_record, collected):
    records = [make_record(s, name) for s in ("alpha", "beta") for name in ("sgd", "ewc", "x")]
    choice = Choice(exclude=("x", "beta"))
    (note,) = shown(collection_notes(collected({"own": records}, choice=choice)))
    assert note == "Left out as asked for: 4 records, among them all of x, beta."


def test_builds_of_the_package_are_counted(make_record, collected):
    builds = {0: "1" * 64, 1: "1" * 64, 2: None, 3: "2" * 64}
    records = [built_by(make_record(seed=seed), package) for seed, package in builds.items()]
    (note,) = shown(collection_notes(collected({"own": records})))
    assert note == (
        "The records are of 3 builds of the package: 2 of 111111111111, 1 of an unrecorded one, 1 "
        "of 222222222222."
    )
    for package in ("1" * 64, None):
        one = collected({str(package): [built_by(make_record(), package)]})
        assert collection_notes(one) == []


@pytest.fixture
def troubled(make_record, collected):
    """A board with a diverged run, first tasks near chance, builds, and records left out."""
    low = ((15, 10), (60, 80))
    records = [built_by(make_record(seed=seed), "1" * 64) for seed in range(3)]
    records += [make_record("alpha", "ewc", seed, low) for seed in range(2)]
    records.append(diverged(make_record("alpha", "ewc", 2, CHANCE)))
    records += [make_record("alpha", "x", seed) for seed in range(3)]
    return build_board(collected({"own": records}, choice=Choice(exclude=("x",))))


DIVERGED = (
    "1 of 3 runs diverged and count with the accuracy of chance; without them Avg.Acc 70.0 "
    "(Δ +0.0), Forgetting -45.0 (Δ -75.0), Task.Acc 47.5 (Δ -37.5)."
)


def test_notes_of_a_table(troubled):
    assert shown(section_notes(troubled.overall)) == [
        f"ewc: {DIVERGED}",
        "The first task ends near chance, less than a tenth of the way from there to 100 %, so "
        "nothing was learned that could be forgotten: 3 of 3 runs of ewc.",
    ]


@pytest.mark.parametrize(
    ("near", "words"),
    [
        ({"a": 2, "b": 2, "sgd": 2}, "2 of 2 runs of all strategies."),
        ({"a": 1, "b": 2, "sgd": 2}, "1 of 2 runs of a; 2 of 2 runs of all others."),
        ({"a": 1, "b": 1, "sgd": 0}, "1 of 2 runs of all strategies but sgd."),
        ({"a": 1, "b": 0, "sgd": 0}, "1 of 2 runs of a."),
        (
            {"a": 1, "b": 2, "c": 2, "d": 2, "sgd": 0},
            "1 of 2 runs of a; 2 of 2 runs of all others but sgd.",
        ),
    ],
)
def test_strategies_near_chance_are_named_in_few_words(make_record, collected, near, words):
    records = [
        make_record("alpha", name, seed, ((15 if seed < count else 90, 10), (60, 80)))
        for name, count in near.items()
        for seed in range(2)
    ]
    (note,) = shown(section_notes(build_board(collected({"own": records})).overall))
    assert note.endswith(words)


def test_all_formats_say_it(troubled):
    console = Console(width=100, record=True)
    console.print(terminal_table(troubled))
    seen = {
        "markdown": markdown(troubled, "x"),
        "readme": overall_tables(troubled, "x"),
        "latex": latex(troubled, "x"),
        "page": html_page(troubled, "x", []),
        "terminal": " ".join(console.export_text().split()),
    }
    for name, text in seen.items():
        plain = text.replace("`", "").replace(r"$\Delta$", "Δ").replace(r"\%", "%")
        for words in (
            DIVERGED,
            "so nothing was learned that could be forgotten: 3 of 3 runs of",
            "The records are of 2 builds of the package: 3 ",
            "Left out as asked for: 3 records, among them all of",
        ):
            assert words in plain, (name, words)
    assert "- `ewc`: 1 of 3 runs" in seen["markdown"]
    assert r"\texttt{ewc}: 1 of 3 runs" in seen["latex"]
    assert "<li>ewc: 1 of 3 runs" in seen["page"]


def test_a_board_on_which_sequences_are_not_shared_says_how_to_rank(make_record, collected):
    records = [make_record(sequence) for sequence in ("alpha", "beta")]
    records += [make_record("beta", "ewc"), make_record("gamma", "ewc")]
    board = build_board(collected({"own": records}))
    assert board.overall.ranked == ()
    assert [row.strategy for row in board.sections[1].ranked] == ["ewc", "sgd"]
    (note,) = shown(section_notes(board.overall))
    assert "--sequence" in note

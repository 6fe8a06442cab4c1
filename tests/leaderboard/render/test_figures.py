"""The figures of a board: what is drawn equals its numbers, nothing overlaps, equal bytes."""

import math
import os
import pickle
import random
import statistics
import struct
import subprocess
import sys
from itertools import combinations

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.cells import METRICS, Cell
from driftboard.leaderboard.analysis.collect import Collection
from driftboard.leaderboard.analysis.join import LeftOut
from driftboard.leaderboard.claim.trend import make_claim
from driftboard.leaderboard.formatting import LONGEST_LABEL, short_names
from driftboard.leaderboard.render.figures.board import (
    REACH,
    forest_figure,
    illustrate,
    ranks_figure,
)
from driftboard.leaderboard.render.figures.curves import claim_figure
from driftboard.leaderboard.render.figures.drawing import house_style, images
from driftboard.leaderboard.render.figures.plane import MOST_NAMES, Box, place_labels, plane_figure
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.records import ProtocolStamp, SequenceStamp

LEVELS = ("near", "near", "medium", "far", "far", None)
SEEDS = 6
NAMES = {
    "initialized": "ranked",
    "sgd": "ranked",
    "frozen": "ranked",
    "hybrid": "ranked",
    "joint": "bound",
    "noop": "bound",
}


def drift_figure(board):
    return plane_figure(board, "drift")


FIGURES = (plane_figure, drift_figure, forest_figure, ranks_figure)


def make_cells(roles, measure, seeds, step):
    """Return cells whose every strategy is better by ``step``, with four times that of luck."""
    generator = random.Random(3)
    names = [metric.name for metric in METRICS[measure]]
    scale = 1.0 if measure == "accuracy" else 300.0
    return tuple(
        Cell(
            sequence=f"sequence-{place}",
            tier="small",
            strategy=strategy,
            role=role,
            seed=seed,
            status="finished",
            metrics={
                name: scale * (0.3 + step * (skill + 4 * generator.random())) for name in names
            },
            step=0.1,
            drift=0.2,
            memory_bytes=0,
            seconds=1.0,
            operations=1000,
            near_chance=False,
            passed=None,
            shift_new=None,
            shift_old=None,
            track="nothing",
            own_optimiser=False,
        )
        for place in range(len(LEVELS))
        for skill, (strategy, role) in enumerate(roles.items())
        for seed in range(seeds)
    )


def make_collection(roles=NAMES, measure="accuracy", seeds=SEEDS, step=0.02):
    stamps = [
        SequenceStamp(f"sequence-{place}", f"{place:064x}", "small", "Data", "c" * 64, ("q",))
        for place in range(len(LEVELS))
    ]
    return Collection(
        cells=make_cells(roles, measure, seeds, step),
        matrices={},
        measure=measure,
        protocol=ProtocolStamp("made-up", 1, "a" * 64),
        split="test",
        sequences={stamp.name: stamp for stamp in stamps},
        versions={},
        builds={},
        backing={},
        left_out=LeftOut(),
        skipped=(),
    )


GRADES = {
    f"{place:064x}": Grade(
        sequence=f"sequence-{place}",
        sequence_hash=f"{place:064x}",
        distance=Estimate(place / 3, place / 3 - 0.1, place / 3 + 0.1, 5),
        reliability=0.9,
        level=level,
        crosses=False,
        note="",
    )
    for place, level in enumerate(LEVELS)
}


def make_board(grades=GRADES, reference=None, **changes):
    collection = make_collection(**changes)
    return build_board(collection, reference or collection.cells[0].strategy, grades)


@pytest.fixture(scope="module")
def board():
    return make_board(reference="sgd")


@pytest.fixture(scope="module")
def claim():
    return make_claim(make_collection(), GRADES)


@pytest.fixture(scope="module")
def drawn(board, claim):
    return {one.name: one for one in illustrate(board, claim)}


# What is drawn


def line_of(panel, label):
    """Return the points of the only line with a label."""
    (line,) = (line for line in panel.lines if line.get_label() == label)
    return list(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))


def spans_of(panel, label):
    """Return the ends of all lines in the collections with a label."""
    return [
        tuple(map(tuple, path.vertices.tolist()))
        for collection in panel.collections
        if collection.get_label() == label
        for path in collection.get_paths()
    ]


def by_seed(strategy, metric, sequences):
    """Return the mean over sequences for each seed, in percent, straight from the cells."""
    cells = [
        cell
        for cell in make_collection().cells
        if cell.strategy == strategy and cell.sequence in sequences
    ]
    return [
        100 * statistics.fmean(cell.metrics[metric] for cell in cells if cell.seed == seed)
        for seed in range(SEEDS)
    ]


def t_interval(values):
    found = scipy.stats.ttest_1samp(values, 0.0).confidence_interval()
    return statistics.fmean(values), found.low, found.high


ALL = tuple(f"sequence-{place}" for place in range(len(LEVELS)))
PANELS = {"overall": ALL, "near": ALL[:2], "medium": ALL[2:3], "far": ALL[3:5], "ungraded": ALL[5:]}
ORDER = ("hybrid", "frozen", "sgd", "initialized")


def test_plane_shows_both_means_with_their_intervals(board):
    (panel,) = plane_figure(board).axes
    spans = spans_of(panel, "95 % interval")
    expected = []
    for label, strategies in (("nothing", ORDER), ("bound", ("joint", "noop"))):
        points = []
        for strategy in strategies:
            x, left, right = t_interval(by_seed(strategy, "forgetting", ALL))
            y, low, high = t_interval(by_seed(strategy, "avg_acc", ALL))
            points.append((x, y))
            expected += [((left, y), (right, y)), ((x, low), (x, high))]
        assert line_of(panel, label) == [pytest.approx(point) for point in points]
    flat = sorted(sum(map(sum, span)) for span in spans)
    assert flat == pytest.approx(sorted(sum(map(sum, span)) for span in expected))
    for span in expected:
        assert any(
            all(a == pytest.approx(b) for a, b in zip(span, other, strict=True)) for other in spans
        )


def test_the_other_plane_shows_the_drift_of_seeds_with_all_their_runs():
    collection = make_collection(measure="accuracy")
    random.seed(4)

    def changed(cell):
        fields = {name: getattr(cell, name) for name in Cell.__slots__}
        drift = 0.5 + random.random()
        status = "diverged" if (cell.strategy, cell.sequence, cell.seed) == LOST else "finished"
        stored = {"hybrid": "parameters", "sgd": "examples (5)"}.get(cell.strategy, "nothing")
        return Cell(**fields | {"drift": drift, "status": status, "track": stored})

    cells = tuple(map(changed, collection.cells))
    fields = {name: getattr(collection, name) for name in Collection.__slots__}
    (panel,) = drift_figure(build_board(Collection(**fields | {"cells": cells}), "sgd")).axes
    spans = spans_of(panel, "95 % interval")
    for strategy, label in (("hybrid", "parameters"), ("sgd", "examples"), ("frozen", "nothing")):
        own = [cell for cell in cells if cell.strategy == strategy]
        seeds = {cell.seed for cell in own} - ({LOST[2]} if strategy == LOST[0] else set())
        means = [statistics.fmean(c.drift for c in own if c.seed == seed) for seed in seeds]
        mean, low, high = t_interval(means)
        y = 100 * statistics.fmean(cell.metrics["avg_acc"] for cell in own)
        assert pytest.approx((mean, y)) in line_of(panel, label)
        assert any(a == pytest.approx((low, y)) and b == pytest.approx((high, y)) for a, b in spans)


LOST = ("frozen", "sequence-1", 0)


def test_bounds_are_open_on_the_plane(board):
    (panel,) = plane_figure(board).axes
    ranked, bound = (line for line in panel.lines if line.get_label() in ("nothing", "bound"))
    assert ranked.get_markerfacecolor() == ranked.get_markeredgecolor()
    assert bound.get_markerfacecolor() == "white"
    assert ranked.get_marker() != bound.get_marker()


def test_labels_of_few_points_are_names_and_of_many_numbers_with_a_key(board):
    few = plane_figure(board)
    assert sorted(text.get_text() for text in few.axes[0].texts) == sorted(NAMES)
    assert [text.get_text() for text in few.texts if text.get_text()] == [
        "● stores nothing",
        "◇ bounds, not ranked",
        "Lines: 95 % intervals",
    ]
    roles = {f"s{place}": "ranked" for place in range(MOST_NAMES)} | {"joint": "bound"}
    many = plane_figure(make_board(roles=roles, step=0.005))
    assert [text.get_text() for text in many.axes[0].texts] == [
        str(number) for number in range(1, MOST_NAMES + 2)
    ]
    lines = [text.get_text().replace("\u2007", "") for text in many.texts]
    assert lines[:3] == ["● stores nothing", f"1 s{MOST_NAMES - 1}", f"2 s{MOST_NAMES - 2}"]
    assert lines[-4:-2] == ["◇ bounds, not ranked", f"{MOST_NAMES + 1} joint"]


def test_labels_lie_at_their_points(board):
    (panel,) = plane_figure(board).axes
    points = line_of(panel, "nothing") + line_of(panel, "bound")
    for name, point in zip((*ORDER, "joint", "noop"), points, strict=True):
        (text,) = (text for text in panel.texts if text.get_text() == name)
        place, point = panel.transData.transform([text.get_position(), point])
        assert math.dist(place, point) < 72  # pixels, of 700


def test_forest_shows_the_paired_differences_of_every_grade(board):
    figure = forest_figure(board)
    assert [panel.get_title().split("\n")[0] for panel in figure.axes] == list(PANELS)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["hybrid", "frozen", "sgd (reference)", "initialized"]
    for panel, sequences in zip(figure.axes, PANELS.values(), strict=True):
        reference = by_seed("sgd", "avg_acc", sequences)
        points, spans = {}, {}
        for height, strategy in enumerate(ORDER):
            if strategy == "sgd":
                continue
            own = by_seed(strategy, "avg_acc", sequences)
            mean, low, high = t_interval([a - b for a, b in zip(own, reference, strict=True)])
            points[height] = (mean, height)
            spans[height] = ((low, height), (high, height))
        drawn = line_of(panel, "significant (p < .05)") + line_of(panel, "not significant")
        assert {y: (x, y) for x, y in drawn} == {y: pytest.approx(p) for y, p in points.items()}
        found = {span[0][1]: span for span in spans_of(panel, "95 % interval")}
        assert set(found) == set(spans)
        for height, ends in spans.items():
            for end, other in zip(ends, found[height], strict=True):
                assert other == pytest.approx(end)
        assert any(list(line.get_xdata()) == [0.0, 0.0] for line in panel.lines)


def test_significant_differences_are_filled(board):
    for panel, section in zip(
        forest_figure(board).axes, (board.overall, *board.strata), strict=True
    ):
        significant = {
            ORDER.index(row.strategy) for row in section.ranked if row.first.is_significant
        }
        assert {y for _, y in line_of(panel, "significant (p < .05)")} == significant
        rest = set(range(len(ORDER))) - significant - {ORDER.index("sgd")}
        assert {y for _, y in line_of(panel, "not significant")} == rest
        faces = [line.get_markerfacecolor() for line in panel.lines[1:]]
        assert faces[0] != "white"
        assert faces[1] == "white"


def test_both_kinds_of_significance_occur(board):
    """So the test above can tell."""
    found = [
        row.first.is_significant
        for section in (board.overall, *board.strata)
        for row in section.ranked
        if row.strategy != "sgd"
    ]
    assert {True, False} == set(found)


def test_ranks_are_those_of_the_board(board):
    figure = ranks_figure(board)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(ORDER)
    kinds = set()
    for panel, section in zip(figure.axes, (board.overall, *board.strata), strict=True):
        rows = {ORDER.index(row.strategy): row for row in section.ranked}
        spans = {start[1]: (start[0], end[0]) for start, end in spans_of(panel, "possible ranks")}
        assert spans == {
            height: pytest.approx((row.rank_set.best - REACH, row.rank_set.worst + REACH))
            for height, row in rows.items()
        }
        tied = line_of(panel, "rank by the mean, not ruled out as best")
        assert dict(map(reversed, tied)) == {
            height: row.rank for height, row in rows.items() if row.may_be_best
        }
        others = line_of(panel, "rank by the mean")
        assert dict(map(reversed, others)) == {
            height: row.rank for height, row in rows.items() if not row.may_be_best
        }
        kinds |= {row.may_be_best for row in rows.values()}
    assert kinds == {True, False}


def test_arrows_point_to_where_it_is_better():
    losses, accuracies = (make_board(measure=measure) for measure in ("excess-loss", "accuracy"))
    for found, up in ((losses, "Avg.Loss   ← better"), (accuracies, "Avg.Acc (%)   better →")):
        (panel,) = plane_figure(found).axes
        assert panel.get_ylabel() == up
        assert panel.get_xlabel().endswith("← better")
    title = forest_figure(losses).texts[0].get_text()
    assert title == "Δ Avg.Loss from initialized   ← better"
    (panel,) = plane_figure(losses).axes
    means = [row.first.interval.mean for row in losses.overall.ranked]
    assert [y for _, y in line_of(panel, "nothing")] == means
    assert means[0] > 90.0  # not in percent


def test_strategies_ranked_in_a_grade_only_have_a_row_below():
    collection = make_collection()
    cells = [c for c in collection.cells if (c.strategy, c.sequence) != ("hybrid", "sequence-5")]
    fields = {name: getattr(collection, name) for name in Collection.__slots__}
    found = build_board(Collection(**fields | {"cells": tuple(cells)}), "sgd", GRADES)
    for draw in (forest_figure, ranks_figure):
        panels = draw(found).axes
        labels = [text.get_text() for text in panels[0].get_yticklabels()]
        assert [label.split()[0] for label in labels] == ["frozen", "sgd", "initialized", "hybrid"]
        rows = [{y for line in panel.lines for y in line.get_ydata()} for panel in panels]
        assert [3 in heights for heights in rows] == [False, True, True, True, False]


# Small and empty boards

ONE_SEED = {"seeds": 1}
ALONE = {"roles": {"sgd": "ranked"}, "grades": {}}
UNRANKED = {"roles": {"sgd": "bound", "noop": "bound"}}


def test_one_seed_shows_points_without_intervals():
    found = make_board(**ONE_SEED)
    plane, forest = plane_figure(found), forest_figure(found)
    for panel in (*plane.axes, *forest.axes):
        assert not spans_of(panel, "95 % interval")
    assert len(line_of(plane.axes[0], "nothing")) == 4
    assert not any("interval" in text.get_text() for text in plane.texts)
    assert [len(line_of(panel, "not significant")) for panel in forest.axes] == [3] * 5


@pytest.mark.parametrize("changes", [ONE_SEED, ALONE, UNRANKED])
def test_small_boards_are_drawn_and_described(changes):
    for drawn in illustrate(make_board(**changes), None):
        assert drawn.svg
        assert "nan" not in drawn.description


def test_board_without_ranked_strategies_says_so():
    found = make_board(**UNRANKED)
    for draw in (forest_figure, ranks_figure):
        labels = draw(found).axes[0].get_yticklabels()
        assert [text.get_text() for text in labels] == ["no strategy is ranked"]
    assert all("no strategy is ranked" in drawn.description for drawn in illustrate(found, None))


# Texts


def drawn_texts(figure, monkeypatch):
    """Return what was written, with its bounding box in pixels."""
    from matplotlib.text import Text

    written = []
    draw = Text.draw

    def note(self, renderer, *args, **kwargs):
        if self.get_visible() and self.get_text():
            written.append(self)
        return draw(self, renderer, *args, **kwargs)

    with monkeypatch.context() as patch, house_style():
        patch.setattr(Text, "draw", note)
        figure.canvas.draw()
    return [(text.get_text(), Box(*text.get_window_extent().extents)) for text in written]


LONG = {f"{'constrained-' * 5}{place:04d}": "ranked" for place in range(40)}
WIDE = {f"{'m' * 62}{place:02d}": "ranked" for place in range(4)} | {"w" * 64: "bound"}
FORMULAS = {
    "a$b\\frac$": "ranked",
    "$x_2$": "ranked",
    "\\frac{1": "ranked",
    "sgd_a^b": "ranked",
    "${}$": "bound",
}
BOARDS = {
    "usual": {},
    "many": {"roles": LONG | {"joint": "bound", "noop": "bound"}, "step": 0.01},
    "wide names": {"roles": WIDE},
    "formulas": {"roles": FORMULAS},
    "tiny differences": {"measure": "excess-loss", "step": 1e-7},
    "one seed": ONE_SEED,
    "alone": ALONE,
    "unranked": UNRANKED,
}
CROWDED = {"roles": LONG, "step": 0.0001, "seeds": 2, "grades": {}}
EQUAL = {"roles": LONG, "step": 0.0, "seeds": 1, "grades": {}}
CASES = [pytest.param(draw, BOARDS[name], id=name) for name in BOARDS for draw in FIGURES]
CASES += [pytest.param(plane_figure, CROWDED, id="crowded")]
CASES += [pytest.param(plane_figure, EQUAL, id="all equal")]


@pytest.mark.parametrize(("draw", "changes"), CASES)
def test_no_text_overlaps_another_or_leaves_the_figure(draw, changes, monkeypatch):
    figure = draw(make_board(**changes))
    written = drawn_texts(figure, monkeypatch)
    assert len(written) > 4
    paper = Box(0.0, 0.0, *figure.bbox.size)
    assert [text for text, box in written if not paper.contains(box)] == []
    pairs = combinations(written, 2)
    assert [(a, b) for (a, one), (b, other) in pairs if one.overlaps(other)] == []


def test_labels_of_one_place_stand_around_it():
    roles = {f"s{place}": "ranked" for place in range(MOST_NAMES + 1)}
    figure = plane_figure(make_board(**EQUAL | {"roles": roles}))
    figure.canvas.draw()  # which would fit the axes anew, lines to labels included
    (panel,) = figure.axes
    places = panel.transData.transform([text.get_position() for text in panel.texts])
    (point,) = set(line_of(panel, "nothing"))
    middle = panel.transData.transform(point)
    assert len(places) == len(roles)
    assert 10 < max(math.dist(place, middle) for place in places) < 60  # pixels, of 400


@pytest.mark.parametrize("draw", FIGURES)
def test_names_are_text_and_no_formulas(draw, monkeypatch):
    from matplotlib.text import Text

    figure = draw(make_board(roles=FORMULAS))
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if text.get_text())
    written = " ".join(text for text, _ in drawn_texts(figure, monkeypatch))
    for name, role in FORMULAS.items():
        assert name in written or (role == "bound" and draw in (forest_figure, ranks_figure))
    assert images(figure)["svg"]


@given(st.lists(st.text("abm-.1", min_size=1, max_size=64), unique=True, max_size=6))
def test_long_names_keep_both_ends_and_stay_apart(names):
    short = short_names(names)
    assert len(set(short.values())) == len(names)
    for name in names:
        alone = short_names([name])[name]
        assert len(alone) <= LONGEST_LABEL
        if len(name) + name.count("m") <= LONGEST_LABEL:
            assert alone == short[name] == name
        else:
            start, end = alone.split("…")
            assert name.startswith(start)
            assert name.endswith(end)


def test_long_names_are_cut_where_a_setting_begins():
    names = {
        "ewc-rate-0.234-strength-64.6": "ewc-rate-0.234-strength-64.6",
        "gpm-rate-0.838-threshold-0.977": "gpm…threshold-0.977",
        "hybrid-scalar-rate-0.838-share-0.459-unrel-e70196ed": "hybrid-scalar…unrel-e70196ed",
        "fraction-rate-1.96-fraction-0.556-share-0.14": "fraction-rate-1.96…share-0.14",
        "aname-of-another-thirty-letter": "aname-of-another…letter",
        "a" * 40: "a" * 15 + "…" + "a" * 14,
        "m" * 40: "m" * 7 + "…" + "m" * 7,
    }
    assert short_names(names) == names


def test_names_that_would_be_cut_alike_are_cut_less():
    one, other = (f"ogd-pull-0.{n}-rate-0.5-strength-12345" for n in (11, 12))
    assert short_names([one])[one] == "ogd-pull-0.11…strength-12345"
    assert list(short_names([one, other]).values()) == [
        "ogd-pull-0.11…strength-12345",
        "ogd-pull-0.12…strength-12345",
    ]
    one, other = (f"ewc-{name}-0.5-rate-0.125-strength-12345" for name in ("decay", "delay"))
    assert short_names([one])[one] == "ewc-decay-0.5…strength-12345"
    one, other = (f"ewc-decay-{value}-strength-1234567890123" for value in (0.25, 0.5))
    assert short_names([one])[one] == "ewc…strength-1234567890123"
    assert list(short_names([one, other]).values()) == ["ewc…strength-1234567890123", other]


AREA = Box(0.0, 0.0, 300.0, 200.0)
PLACES = st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), max_size=20)


@given(PLACES, st.integers(1, 60))
def test_labels_keep_clear_of_each_other_and_of_points(points, width):
    solid = [Box(x - 2, y - 2, x + 2, y + 2) for x, y in points]
    placed = place_labels(points, [(width, 8.0)] * len(points), AREA, solid)
    for (x, y), box in zip(points, placed, strict=True):
        assert (box.right - box.left, box.top - box.bottom) == pytest.approx((width, 8.0))
        assert AREA.contains(box)
        assert not any(box.overlaps(other) for other in solid)
        assert box.nearest((x, y)) != (x, y)
    assert not any(one.overlaps(other) for one, other in combinations(placed, 2))


def test_first_label_is_right_of_its_point():
    (box,) = place_labels([(100.0, 100.0)], [(20.0, 10.0)], AREA, [])
    assert (box.left, box.bottom, box.right, box.top) == pytest.approx((102, 95, 122, 105))


def test_label_crosses_a_line_only_where_it_must():
    line = Box(0.0, 100.0, 300.0, 100.0)
    (box,) = place_labels([(100.0, 100.0)], [(20.0, 10.0)], AREA, [], [line])
    assert not box.overlaps(line)
    low = Box(0.0, 95.0, 300.0, 105.0)
    (box,) = place_labels([(100.0, 100.0)], [(20.0, 10.0)], low, [], [line])
    assert box.overlaps(line)


def test_label_without_any_place_lies_on_its_point():
    (box,) = place_labels([(100.0, 100.0)], [(20.0, 10.0)], AREA, [AREA])
    assert box.centre == (100.0, 100.0)


# Words and bytes


def test_figures_come_in_order_and_the_distance_needs_a_claim(board, drawn):
    assert list(drawn) == ["distance", "drift", "plane", "forest", "ranks"]
    assert list(illustrate(board, None)) == list(drawn.values())[1:]


def percent(values, sign=""):
    mean, low, high = t_interval(values)
    digits = 2 if high - low < 0.2 else 1
    return " ".join(
        (f"{mean:{sign}.{digits}f}", f"[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]")
    )


def test_descriptions_hold_the_numbers(board, claim, drawn):
    distance, drift, plane, forest, ranks = (one.description for one in drawn.values())
    for strategy in NAMES:
        first, second = (by_seed(strategy, name, ALL) for name in ("avg_acc", "forgetting"))
        assert f"{strategy}: {percent(first)} and {percent(second)}" in plane
        assert f"{strategy}: {percent(first)} and 0.2000 [0.2000, 0.2000]" in drift
    own, reference = (by_seed(strategy, "avg_acc", ALL[:2]) for strategy in ("hybrid", "sgd"))
    text = percent([a - b for a, b in zip(own, reference, strict=True)], "+")
    near = forest.partition("Near, 2 sequences: ")[2].partition(" Medium")[0]
    assert f"hybrid {text}, significant;" in near
    assert "sgd is the reference;" in near
    assert "Far, 2 sequences: " in forest
    (first, *_) = board.overall.ranked
    assert f"hybrid 1, possible {first.rank_set.best}, not ruled out as best;" in ranks
    slope = claim.results[0].trend.slope.sequences
    assert f"slope {100 * slope.value:+.1f} [{100 * slope.low:+.1f}," in distance
    for words in (distance, drift, plane, forest, ranks):
        assert not set("*`★\n") & set(words)


def test_images_are_as_wide_as_a_page_and_hold_no_traces(drawn):
    for one in drawn.values():
        width, _ = struct.unpack(">II", one.png[16:24])
        assert width == 1400  # 7 inches at 200 dots
        assert b"tEXt" not in one.png
        assert b"<svg" in one.svg
        assert b"dc:date" not in one.svg


def test_both_forms_show_the_same_layout(claim):
    def places(figure):
        return [panel.get_position().bounds for panel in figure.axes]

    one, other = claim_figure(claim), claim_figure(claim)
    images(one)
    with house_style():
        other.savefig(os.devnull, format="svg", dpi=200)
    assert places(one) == places(other)


PROGRAM = """
import pickle, sys
from pathlib import Path
board, claim = pickle.loads(Path("in").read_bytes())
from driftboard.leaderboard.render.figures.board import illustrate
early = {"torch", "matplotlib"} & set(sys.modules)
assert not early, early
Path("out").write_bytes(pickle.dumps(illustrate(board, claim)))
slow = {"torch", "scipy.stats", "matplotlib.pyplot"} & set(sys.modules)
assert not slow, slow
"""


def test_same_board_same_bytes_whatever_a_user_has_set(board, claim, drawn, tmp_path):
    (tmp_path / "in").write_bytes(pickle.dumps((board, claim)))
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 20\naxes.grid: True\nsvg.fonttype: none\nsavefig.dpi: 30\n")
    changed = {**os.environ, "MATPLOTLIBRC": str(settings), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=changed, check=True)
    assert pickle.loads((tmp_path / "out").read_bytes()) == tuple(drawn.values())

"""The numbers behind the checks, by hand and against scipy."""

import json
import math

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import binom, chi2
from submission_drafts import failures, made_up

from driftboard.leaderboard.verification.checks import FORENSIC, examine
from driftboard.leaderboard.verification.comparison import check_learning, log_chance
from driftboard.leaderboard.verification.contents import (
    LEAST,
    check_divergence,
    check_norms,
    check_passed,
    lower_tail,
    spread,
)
from driftboard.leaderboard.verification.report import Finding, report_json, report_lines

# The numbers behind the checks.


def test_the_chance_of_two_equal_counts_is_about_that_of_binomials(make_record):
    for count in (20, 50, 90):
        each = binom.pmf(np.arange(101), 100, count / 100)
        record = make_record(correct=((count, count), (count, count)))
        # both columns are equal and count once, and the second row tells nothing
        assert 10 ** log_chance(record) == pytest.approx((each**2).sum(), rel=0.02)


def test_only_what_moves_and_differs_is_evidence(make_record):
    still = make_record(correct=((80, 50), (80, 50)))
    moving = make_record(correct=((80, 50), (70, 59)))
    assert log_chance(moving) == pytest.approx(log_chance(still) - math.log10(11 * 10))
    assert log_chance(make_record(correct=((100, 100), (100, 100)))) == 0.0
    # within two images of five counts each: of the first row's two, and of the two that moved
    assert log_chance(still, slack=2) == pytest.approx(log_chance(still) + 2 * math.log10(5))
    assert log_chance(moving, slack=2) == pytest.approx(log_chance(moving) + 4 * math.log10(5))
    assert log_chance(still, slack=60) == 0.0


def test_spread_by_hand(make_record):
    counts = (60, 64, 68)
    own = [make_record(seed=s, correct=((90, 10), (c, 50))) for s, c in enumerate(counts)]
    # the diagonal, 90 and 50 whatever the seed, does not vary at all
    assert spread(own) == (0.0, 2)
    varied = [make_record(seed=s, correct=((c, 10), (c, 50 + s))) for s, c in enumerate(counts)]
    after, right = 16.0 + 1.0, 64 * 0.36 + 51 * 0.49
    assert spread(varied)[0] == pytest.approx(after / right / LEAST)
    assert spread(own[:2]) == (0.0, 1)


def test_what_cannot_vary_is_not_tested(make_record):
    def rows(*correct):
        return [make_record(seed=s, correct=correct) for s in range(5)]

    assert spread(rows((100, 99), (100, 99))) is None  # at the ceiling
    assert spread(rows((10, 10), (10, 10))) is None  # a network that always says the same
    assert spread(rows((50, 50), (50, 50))[:1]) is None
    assert spread(rows((50, 50), (50, 50))) == (0.0, 4)


def test_the_tail_is_that_of_chi_square():
    for statistic, freedom in ((0.1, 4), (3.0, 9), (100.0, 207)):
        assert lower_tail(statistic, freedom) == pytest.approx(chi2.cdf(statistic, freedom))


PATHS = {
    "those of a path": {},
    "after the second task drift is not the update": {"drift": (0.0, 2.5, 5.0)},
    "drift changes by more than the update": {"drift": (0.0, 3.0, 7.1)},
    "the solution changes by more than the update": {
        "solution": (10.0, 11.0, 15.1),
        "drift": (0.0, 3.0, 7.0),
    },
    "the solution is farther from the first than its drift": {"drift": (0.0, 3.0, 1.9)},
}


@pytest.mark.parametrize("why", PATHS)
def test_norms_by_hand(make_record, why):
    """Of one block: each broken path breaks one inequality only, and just so."""
    norms = {"update": (10.0, 3.0, 4.0), "solution": (10.0, 11.0, 12.0), "drift": (0.0, 3.0, 5.0)}
    rows = {
        f"{name}_norms": tuple((value,) * 3 for value in values)
        for name, values in (norms | PATHS[why]).items()
    }
    record = make_record(correct=((90, 10, 10), (80, 90, 10), (70, 80, 90)), **rows)
    (finding,) = check_norms(made_up.as_submission([record], ()))
    assert why in finding.found
    assert finding.level == ("FAILED" if PATHS[why] else "ok")


STILL = {
    "as it was": (((90, 0, 0), (90, 0, 0), (90, 0, 0)), (2, 2, 2)),
    "old answers lost to new classes": (((90, 0, 0), (80, 7, 0), (70, 6, 5)), (2, 4, 6)),
    "old answers found": (((90, 0, 0), (80, 7, 0), (70, 8, 5)), (2, 4, 6)),
    "answers lost to no class": (((90, 0, 0), (80, 7, 0), (79, 7, 0)), (2, 4, 4)),
}


@pytest.mark.parametrize("case", STILL)
def test_a_network_that_stands_still_answers_otherwise_only_where_classes_are_new(
    make_record, case
):
    correct, seen = STILL[case]
    zero = ((0.0,) * 3,) * 3
    record = make_record(
        correct=correct,
        correct_untrained=(0, 0, 0),
        classes=(2, 2, 2),
        seen=seen,
        update_norms=((3.0,) * 3, *zero[1:]),
        solution_norms=((5.0,) * 3,) * 3,
        drift_norms=zero,
    )
    (finding,) = check_norms(made_up.as_submission([record], ()))
    assert finding.level == ("ok" if case in list(STILL)[:2] else "FAILED")
    assert ("answers changed" in finding.found) == (finding.level == "FAILED")


def class_incremental(record, **changes):
    """The record of a sequence of two tasks of two classes each."""
    return replace(record, classes=(2, 2), seen=(2, 4), correct_untrained=(0, 0), **changes)


def test_a_guess_is_among_the_classes_seen(make_record):
    found = [
        check_learning(made_up.as_submission([class_incremental(record)], ())).found
        for record in (make_record(correct=((70, 0), (0, 65))), make_record(correct=((70, 0),) * 2))
    ]
    assert found[0].startswith("30.0 points above guessing")  # mean of 70 - 50 and 65 - 25
    assert found[1].startswith("no cell is better than guessing")  # of 70 - 50 and 0 - 25


def test_who_diverged_has_guessed_among_the_classes_seen(make_record):
    quiet = {f"{name}_norms": ((1.0,) * 3, (0.0,) * 3) for name in ("update", "solution")}
    lost = {"status": "diverged", "diverged_at": 1, "diverged_by": "not finite"}
    for guesses, level in (((25, 25), "ok"), ((50, 50), "FAILED"), ((25, 0), "FAILED")):
        record = make_record(correct=((90, 0), guesses), drift_norms=((0.0,) * 3,) * 2, **quiet)
        own = class_incremental(record, **lost)
        assert check_divergence(made_up.as_submission([own], ())).level == level


def test_a_network_that_always_says_the_same_is_one_guess_at_every_task(make_record):
    own = [class_incremental(make_record(seed=s, correct=((50, 0), (25, 25)))) for s in range(5)]
    assert spread(own) is None
    own = [class_incremental(make_record(seed=s, correct=((50, 0), (50, 50)))) for s in range(5)]
    assert spread(own) == (0.0, 4)


def test_frozen_blocks_that_move_are_worth_a_warning(honest):
    plan = replace(honest[0].plans[1], share=(0.0, 1.0, 1.0))
    plans = (honest[0].plans[0], plan, *honest[0].plans[2:])

    def levels(record):
        return [one.level for one in check_norms(made_up.as_submission([record], ()))]

    assert levels(replace(honest[0], plans=plans)) == ["warning"]
    restarted = (plans[0], replace(plan, restart=(True, False, False)), *plans[2:])
    assert levels(replace(honest[0], plans=restarted)) == ["ok"]


LOST = {"status": "diverged", "diverged_at": 1, "diverged_by": "blow-up"}
WHOLE = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("row", "changes", "words"),
    [
        ((1.0, -0.5, 1000.0), {}, "told by 1 cell"),
        ((1e30, 1.0, 1.0), {}, "more than 1,000 times the gradient passes: alpha seed 0"),
        ((-1000.1, 1.0, 1.0), {}, "more than 1,000 times"),
        ((math.inf, 1.0, 1.0), {}, "alpha seed 0 (not finite)"),
        ((0.0, 500.0, 1.0), {"share": (0.0, 0.5, 1.0)}, "told by 1 cell"),
        ((0.0, 500.1, 1.0), {"share": (0.0, 0.5, 1.0)}, "more than 1,000 times"),
        ((0.1, 0.5, 1.0), {"share": (0.0, 0.5, 1.0)}, "alpha seed 0 (of a frozen block)"),
        ((0.0, 0.0, 0.0), LOST, "told by 1 cell"),
        ((0.0, 0.0, 0.1), LOST, "alpha seed 0 (after it diverged)"),
    ],
)
def test_what_passes_of_a_gradient_by_hand(make_record, row, changes, words):
    changes = dict(changes)
    first = make_record().plans[0]
    plans = (first, replace(first, share=changes.pop("share", WHOLE)))
    record = make_record(passed=(WHOLE, row), plans=plans, **changes)
    (finding,) = check_passed(made_up.as_submission([record], ()))
    assert words in finding.found
    levels = {"told": "ok", "more": "warning"}
    assert finding.level == levels.get(words[:4], "FAILED")


def test_who_tells_of_some_cells_only_is_asked_why(make_record):
    own = [make_record(seed=0), make_record(seed=1, passed=(WHOLE, WHOLE))]
    (finding,) = check_passed(made_up.as_submission(own, ()))
    assert (finding.level, finding.found) == (
        "warning",
        "told by 1 cell, but not by alpha seed 0",
    )
    assert check_passed(made_up.as_submission(own[:1], ())) == []


def test_linear_records_are_checked_too(make_loss_record):
    own = [make_loss_record(seed=seed) for seed in range(2)]
    data = made_up.as_submission(own, ())
    failed = failures(examine(data, FORENSIC))
    assert failed == {"norms", "copies"}  # the fixture's norms are no path, and twice the same


def test_reports_are_for_people_and_for_programs():
    findings = [
        Finding("ok", "files", "three"),
        Finding("FAILED", "norms", "a\x1b[31m\nb" + "x" * 5000, "mend it"),
    ]
    first, second, last = report_lines(findings)
    assert first == "ok       files            three"
    assert second.startswith("FAILED   norms            a\\x1b[31m b")
    assert second.endswith("...; mend it")
    assert last == "no badge: a check failed"
    assert json.loads(report_json(findings, None))["findings"][0]["check"] == "files"

"""The simulation against known truths, its shortcuts against our functions and scipy."""

import importlib.util
import math
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import coverage_studies
import numpy as np
import pytest
import scipy.stats
from coverage_rules import (
    CORRELATED,
    NORMAL,
    RESAMPLES,
    SKEWED,
    UNEQUAL,
    bca_bounds,
    bootstrap_ranks_hold,
    draw,
    percentile_bounds,
    resampled_means,
    resampling_weights,
    t_tests,
    welch,
    z_bounds,
)
from coverage_studies import (
    DISTRIBUTIONS,
    FAILURE_SHARES,
    RANKS_PER_SET,
    SEEDS,
    STRATEGIES,
    STUDIES,
    Study,
    aggregate_study,
    clopper_pearson_coverage,
    difference_study,
    mean_study,
    measured_row,
    rank_study,
    reference_study,
    simulated_rank_sets,
)

from driftboard.leaderboard.analysis.section import CEILING
from driftboard.leaderboard.analysis.statistics import (
    RankSet,
    all_comparisons,
    clopper_pearson,
    paired_difference,
    rank_sets,
)

SCRIPT = Path(__file__).with_name("coverage.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies" / "coverage.md"


def load_script():
    """Return the script as a module; there is a package of the same name."""
    specification = importlib.util.spec_from_file_location("coverage_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


script = load_script()
REPETITIONS = 1000


def generator(seed=0):
    return np.random.default_rng(seed)


def near(share, truth, repetitions=REPETITIONS):
    """Whether a measured share is within four standard errors of the true one."""
    return abs(share - truth) < 4 * math.sqrt(truth * (1 - truth) / repetitions)


def power(gap, deviation, n):
    """Return the exact power of the two-sided t test of normal differences."""
    t = scipy.stats.t.ppf(0.975, n - 1)
    true = scipy.stats.nct(n - 1, gap / deviation * math.sqrt(n))
    return true.sf(t) + true.cdf(-t)


# What is drawn.


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda one: one.name)
def test_draws_have_the_moments_they_promise(distribution):
    values = draw(generator(), distribution, 20_000, 4, 5)
    assert values.shape == (20_000, 4, 5)
    assert values.max() <= 1.0
    flat = values.transpose(1, 0, 2).reshape(4, -1)
    deviations = np.resize(distribution.deviations, 4)
    np.testing.assert_allclose(flat.mean(axis=1), distribution.mean, atol=6e-4)
    np.testing.assert_allclose(flat.std(axis=1), deviations, rtol=0.02)
    correlations = np.corrcoef(flat)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(correlations, distribution.correlation, atol=0.02)
    skewness = -2 * deviations / (1 - distribution.mean) if distribution.is_skewed else 0.0
    np.testing.assert_allclose(scipy.stats.skew(flat, axis=1), skewness, atol=0.05)


def test_seeds_are_independent():
    values = draw(generator(), CORRELATED, 20_000, 1, 2)[:, 0]
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.03


def test_typical_deviation_is_the_root_mean_square():
    assert NORMAL.deviation == pytest.approx(0.02)
    assert UNEQUAL.deviation == pytest.approx(math.sqrt((0.01**2 + 0.04**2) / 2))


# The shortcuts are our functions.


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("n", [2, *SEEDS])
def test_t_tests_equal_paired_difference(distribution, n):
    values = draw(generator(n), distribution, 100, 2, n)
    means, p_values = t_tests(values[:, 0] - values[:, 1])
    ours = [paired_difference(dict(enumerate(a)), dict(enumerate(b))) for a, b in values.tolist()]
    np.testing.assert_allclose(means, [one.mean for one in ours], rtol=0, atol=1e-12)
    np.testing.assert_allclose(p_values, [one.p for one in ours], rtol=0, atol=1e-12)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda one: one.name)
def test_simulated_rank_sets_equal_those_of_the_board(distribution):
    values = draw(generator(), distribution, 60, 5, 10)
    values[:40] -= np.arange(5)[:, None] * distribution.deviation
    names = tuple("abcde")
    found = simulated_rank_sets(values)
    assert len({ranks for sets in found for ranks in sets}) > 5
    assert [RankSet(1, 5)] * 5 in found[40:]
    for sets, board in zip(found, values.tolist(), strict=True):
        by_seed = {name: dict(enumerate(row)) for name, row in zip(names, board, strict=True)}
        expected = rank_sets(names, all_comparisons(by_seed), lower_is_better=False)
        assert sets == list(expected.values())


# The rules that were not chosen are what they are called.


@pytest.mark.parametrize("n", SEEDS)
def test_z_bounds_equal_scipy(n):
    values = draw(generator(n), SKEWED, 20, 1, n)[:, 0]
    low, high = scipy.stats.norm.interval(
        0.95, values.mean(axis=1), scipy.stats.sem(values, axis=1)
    )
    np.testing.assert_allclose(z_bounds(values), (low, high), rtol=1e-12)


@pytest.mark.parametrize("n", SEEDS)
def test_welch_equals_scipy(n):
    a, b = draw(generator(n), UNEQUAL, 20, 2, n).transpose(1, 0, 2)
    expected = scipy.stats.ttest_ind(a, b, axis=1, equal_var=False).confidence_interval()
    mean, half = welch(a, b)
    np.testing.assert_allclose(mean - half, expected.low, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean + half, expected.high, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", SEEDS)
def test_resamples_draw_n_values_with_replacement(n):
    counts = n * resampling_weights(generator(n), n)
    assert counts.shape == (n, RESAMPLES)
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-12)
    np.testing.assert_allclose(counts.sum(axis=0), n)
    # each count is binomial: mean 1, variance 1 - 1/n
    assert counts.var() == pytest.approx(1 - 1 / n, rel=0.1)
    assert not np.array_equal(counts, n * resampling_weights(generator(n + 1), n))


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_bootstrap_intervals_equal_scipy_on_the_same_resamples(n, method):
    random = generator(n)
    values = draw(random, SKEWED, 10, 1, n)[:, 0]
    resampled = resampled_means(values, resampling_weights(random, n))
    ours = percentile_bounds(resampled) if method == "percentile" else bca_bounds(values, resampled)
    for row, means, low, high in zip(values, resampled, *ours, strict=True):
        # scipy counts a mean as equal to that of the sample only to the last bit
        means = np.where(np.abs(means - row.mean()) < 1e-12, row.mean(), means)
        given = scipy.stats.bootstrap((row,), np.mean, n_resamples=9, method="percentile")
        given.bootstrap_distribution = means
        expected = scipy.stats.bootstrap(
            (row,), np.mean, n_resamples=0, method=method, bootstrap_result=given
        ).confidence_interval
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=0, abs=1e-12)


@pytest.mark.parametrize("blocks", [(5,), (2, 3), (1, 1, 1, 1, 1)])
def test_bootstrap_ranks_equal_a_count(blocks):
    random = generator(1)
    ends = np.cumsum(blocks).tolist()
    truth = [
        RankSet(end - size + 1, end)
        for size, end in zip(blocks, ends, strict=True)
        for _ in range(size)
    ]
    lower = np.array([ranks.best for ranks in truth])[:, None]
    values = draw(random, NORMAL, 100, 5, 20) - 0.006 * lower
    weights = resampling_weights(random, 20)
    expected = []
    for board in values:
        # rank 1 is the highest mean; the middle 95 % of 1,000 are those from 25th to 976th
        ranks = np.sort(6 - scipy.stats.rankdata(board @ weights, axis=0), axis=1)
        intervals = ranks[:, RESAMPLES // 40 - 1], ranks[:, RESAMPLES - RESAMPLES // 40]
        expected.append(
            all(
                low <= true.best and true.worst <= high
                for low, high, true in zip(*intervals, truth, strict=True)
            )
        )
    assert bootstrap_ranks_hold(values, weights, truth).tolist() == expected
    assert 0 < sum(expected) < 100


# Known truths.


@pytest.mark.parametrize("n", SEEDS)
def test_mean_of_normal_values_is_covered_as_theory_says(n):
    measured = mean_study(generator(n), REPETITIONS, NORMAL, n)
    assert near(measured["t, clipped"], 0.95)
    exact = 1 - 2 * scipy.stats.t.sf(scipy.stats.norm.ppf(0.975), n - 1)
    assert n != 5 or exact == pytest.approx(0.8784, abs=1e-4)
    assert near(measured["z"], exact)
    for rule in ("percentile bootstrap", "BCa bootstrap"):
        assert measured[rule] < measured["t, clipped"]


def test_skewed_mean_is_covered_too_seldom():
    measured = mean_study(generator(), REPETITIONS, SKEWED, 5)
    assert measured["t, clipped"] < 0.95 - 4 * math.sqrt(0.95 * 0.05 / REPETITIONS)
    assert measured["percentile bootstrap"] < measured["z"] < measured["t, clipped"]


@pytest.mark.parametrize("distribution", [NORMAL, CORRELATED, UNEQUAL], ids=lambda one: one.name)
@pytest.mark.parametrize("n", [5, 20])
def test_normal_difference_is_covered_and_found_as_theory_says(distribution, n):
    measured = difference_study(generator(n), REPETITIONS, distribution, n)
    assert near(measured["paired t covers"], 0.95)
    assert near(measured["paired t false alarm"], 0.05)
    # the variance of the difference is that of both, less what they share
    shared = math.sqrt(2 * (1 - distribution.correlation))
    assert near(measured["paired t power"], power(0.5, shared, n))


def test_a_test_and_its_interval_agree_and_pairing_pays():
    measured = difference_study(generator(), REPETITIONS, CORRELATED, 10)
    for rule in ("paired t", "Welch"):
        together = measured[f"{rule} covers"] + measured[f"{rule} false alarm"]
        assert together == pytest.approx(1.0, abs=0.002)
    assert measured["Welch covers"] > 0.99
    assert measured["Welch power"] < 0.2 < measured["paired t power"]


@pytest.mark.parametrize("distribution", [NORMAL, CORRELATED, UNEQUAL], ids=lambda one: one.name)
def test_mean_over_sequences_is_covered(distribution):
    measured = aggregate_study(generator(1), REPETITIONS, distribution, 5)
    assert near(measured["t over seed averages"], 0.95)


def test_stratified_bootstrap_takes_shared_luck_for_independent():
    n, sequences, correlation = 20, 6, CORRELATED.correlation
    measured = aggregate_study(generator(), REPETITIONS, CORRELATED, n)
    # its variance is that of independent runs, divided by n instead of n - 1
    believed = (n - 1) / n / sequences
    true = correlation + (1 - correlation) / sequences
    z = scipy.stats.norm.ppf(0.975) * math.sqrt(believed / true)
    assert measured["stratified bootstrap"] == pytest.approx(
        1 - 2 * scipy.stats.norm.sf(z), abs=0.06
    )


@pytest.mark.parametrize("distribution", [NORMAL, CORRELATED, UNEQUAL], ids=lambda one: one.name)
def test_rank_sets_hold_together(distribution):
    measured = rank_study(generator(), 300, distribution, 10)
    allowed = 4 * math.sqrt(0.95 * 0.05 / 300)
    for case in ("8 tied", "4 above 4"):
        assert measured[f"{case}, rank sets"] > 0.95 - allowed
        assert measured[f"{case}, bootstrap"] < 0.3
    assert 4.0 < measured[RANKS_PER_SET] < 8.0


def test_rank_sets_of_far_blocks_are_the_blocks(monkeypatch):
    monkeypatch.setattr(type(CORRELATED), "deviation", property(lambda self: 1.0))
    measured = rank_study(generator(), 100, CORRELATED, 10)
    assert measured[RANKS_PER_SET] == pytest.approx(4.0, abs=0.05)
    assert measured["4 above 4, rank sets"] > 0.85


@pytest.mark.parametrize("distribution", [NORMAL, CORRELATED, UNEQUAL], ids=lambda one: one.name)
def test_holm_holds_the_error_of_the_family(distribution):
    measured = reference_study(generator(), REPETITIONS, distribution, 10)
    allowed = 4 * math.sqrt(0.95 * 0.05 / REPETITIONS)
    for case in ("8 tied", "4 above 4"):
        assert measured[f"{case}, Holm"] < 0.05 + allowed
        assert measured[f"{case}, uncorrected"] > 0.05 + allowed


def test_reference_study_counts_by_hand(monkeypatch):
    """With seeds and gaps so large that every true difference is found."""
    monkeypatch.setattr(type(NORMAL), "deviation", property(lambda self: 1.0))
    tied = draw(generator(3), NORMAL, 200, STRATEGIES, 10)
    families = scipy.stats.ttest_rel(tied[:, 1:], tied[:, :1], axis=2).pvalue
    measured = reference_study(generator(3), 200, NORMAL, 10)
    lowest = families.min(axis=1)
    assert measured["8 tied, uncorrected"] == np.mean(lowest < 0.05)
    assert measured["8 tied, Holm"] == np.mean(lowest < 0.05 / 7)
    # the four others are rejected first, which leaves a family of three
    lowest = families[:, :3].min(axis=1)
    assert measured["4 above 4, uncorrected"] == np.mean(lowest < 0.05)
    assert measured["4 above 4, Holm"] == np.mean(lowest < 0.05 / 3)


def test_clopper_pearson_coverage_by_hand():
    # of 3, only the interval of 3 failures, [0.29, 1], leaves out 0.1
    assert clopper_pearson_coverage(0.1, 3) == pytest.approx(1 - 0.1**3)
    # of 5, only that of 5 failures, [0.48, 1], leaves out 0.3
    assert clopper_pearson_coverage(0.3, 5) == pytest.approx(1 - 0.3**5)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("share", FAILURE_SHARES)
def test_clopper_pearson_coverage_equals_a_simulation_and_keeps_the_promise(n, share):
    counts = generator(n).binomial(n, share, 4000)
    intervals = [clopper_pearson(count, n) for count in counts.tolist()]
    simulated = np.mean([one.low <= share <= one.high for one in intervals])
    exact = clopper_pearson_coverage(share, n)
    assert exact >= 0.95
    assert abs(simulated - exact) < 4 * math.sqrt(exact * (1 - exact) / 4000) + 1e-9


# Rows, command and document.


def test_a_row_depends_on_seed_and_place_only(monkeypatch):
    def first_numbers(random, repetitions, distribution, n):
        return {"first": random.random()}

    studies = [Study(name, "", DISTRIBUTIONS, first_numbers) for name in ("a", "b")]
    monkeypatch.setattr(coverage_studies, "STUDIES", studies)
    places = list(product(studies, DISTRIBUTIONS, SEEDS, (0, 1)))
    rows = [measured_row(*place, 100)["first"] for place in places]
    assert len(set(rows)) == len(places)
    assert rows == [measured_row(*place, 100)["first"] for place in places]


@pytest.fixture(scope="module")
def small_page():
    return script.coverage_page(seed=3, repetitions=100)


def tables(page):
    """Return each table of a page by its heading, as lists of cells."""
    found = {}
    for section in page.split("\n## ")[1:]:
        rows = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
        if rows:
            cells = [[cell.strip() for cell in row] for row in rows]
            found[section.splitlines()[0]] = [cells[0], *cells[2:]]
    return found


def prose(page):
    """Return the lines of a page that are no rows of a table; the last one is the footnote."""
    return [line for line in page.splitlines() if line and not line.startswith("|")]


def test_the_script_writes_equal_bytes(tmp_path, small_page):
    options = ["--repetitions", "100", "--seed", "3"]
    file = tmp_path / "new" / "coverage.md"
    command = [sys.executable, SCRIPT, *options, "--out", file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"wrote {file}\n", "")
    assert file.read_bytes() == small_page.encode()
    assert f"`python tests/studies/coverage.py {' '.join(options)}`" in small_page
    # sqrt(0.95 x 0.05 / 100) and sqrt(0.5 x 0.5 / 100)
    assert "2.18 points where" in small_page
    assert "5.00 where" in small_page


def test_the_script_prints_the_page_of_its_options(capsys, monkeypatch):
    def page(seed, repetitions):
        return f"{seed} {repetitions}\n"

    monkeypatch.setattr(script, "coverage_page", page)
    script.main([])
    script.main(["--seed", "7", "--repetitions", "100"])
    both = f"{script.DEFAULT_SEED} {script.DEFAULT_REPETITIONS}\n7 100\n"
    assert capsys.readouterr() == (both, "")


def test_a_table_shows_what_was_measured(small_page):
    (header, *rows) = tables(small_page)[STUDIES[3].title]
    row = measured_row(STUDIES[3], CORRELATED, 20, 3, 100)
    expected = [f"{100 * row[name]:.1f}" for name in header[2:-1]] + [f"{row[RANKS_PER_SET]:.1f}"]
    assert header[-1] == RANKS_PER_SET
    assert ["correlated", "20", *expected] in rows


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--repetitions", "99"], "--repetitions 99 is too few to measure a share; give at least"),
        (["--repetitions", "-5"], "--repetitions -5 is too few"),
        (["--seed", "-1"], "--seed -1 is negative; give 0"),
    ],
)
def test_bad_options_end_in_one_line(options, words):
    with pytest.raises(SystemExit, match=f"^coverage: {words}[^\n]*$"):
        script.main(options)


def test_the_document_has_the_tables_of_the_command(small_page):
    """All but the simulated numbers; those of the last failures' table are exact."""
    text = PAGE.read_text()
    made, written = tables(small_page), tables(text)
    assert list(made) == list(written)
    for title in made:
        assert [row[:2] for row in made[title]] == [row[:2] for row in written[title]]
        assert made[title][0] == written[title][0]
    assert made["Share of failed seeds"] == written["Share of failed seeds"]
    assert prose(small_page)[:-1] == prose(text)[-len(prose(small_page)) : -1]
    assert "Made with `python tests/studies/coverage.py`." in text
    assert f"{script.DEFAULT_REPETITIONS:,} repetitions" in text


@pytest.mark.parametrize("study", STUDIES, ids=lambda one: one.title)
def test_the_document_has_the_numbers_of_the_command(study):
    """The whole takes most of a minute; a row depends on no other, so one per table will do."""
    distribution = study.distributions[-1]
    header, *rows = tables(PAGE.read_text())[study.title]
    row = measured_row(study, distribution, 5, script.DEFAULT_SEED, script.DEFAULT_REPETITIONS)
    scales = [1 if name == RANKS_PER_SET else 100 for name in header[2:]]
    expected = [f"{scale * row[name]:.1f}" for scale, name in zip(scales, header[2:], strict=True)]
    assert [distribution.name, "5", *expected] in rows


def test_every_number_of_the_text_stands_in_a_table():
    text, printed = PAGE.read_text().split("\n---\n")
    numbers = re.findall(r"\d+\.\d", text)
    cells = {cell for rows in tables(printed).values() for row in rows for cell in row}
    assert len(numbers) > 15
    assert set(numbers) <= cells | {f"{100 * CEILING:.1f}"}

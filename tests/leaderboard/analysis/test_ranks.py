"""Rank sets and letters: against their definitions, recomputed from scipy and statsmodels."""

import math
import random
from itertools import combinations

import networkx
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from driftboard.leaderboard.analysis.statistics import (
    Comparison,
    RankSet,
    all_comparisons,
    letters,
    rank_sets,
)


def made_up(names, gaps, seeds=8, noise=1.0, start=0):
    """Return values by seed for each name, gaps apart on average."""
    generator = random.Random(start)
    luck = [generator.gauss(0, 2) for _ in range(seeds)]
    return {
        name: {seed: gap + luck[seed] + generator.gauss(0, noise) for seed in range(seeds)}
        for name, gap in zip(names, gaps, strict=True)
    }


def compared(names, different):
    """Return comparisons by hand; ``different`` holds the pairs (better, worse), higher wins."""
    found = []
    for first, second in combinations(names, 2):
        sign = ((first, second) in different) - ((second, first) in different)
        found.append(Comparison(first, second, float(sign), 0.01 if sign else 0.5))
    return tuple(found)


@pytest.mark.parametrize("start", range(4))
def test_comparisons_equal_scipy_and_statsmodels(start):
    values = made_up("abcde", (0.0, 0.2, 1.0, 3.0, 3.1), start=start)
    found = all_comparisons(values)
    assert [(c.first, c.second) for c in found] == list(combinations("abcde", 2))
    p_values = []
    for comparison in found:
        one, two = (list(values[name].values()) for name in (comparison.first, comparison.second))
        test = scipy.stats.ttest_rel(one, two)
        p_values.append(test.pvalue)
        assert comparison.difference == pytest.approx(np.mean(np.subtract(one, two)))
    rejected, adjusted, *_ = multipletests(p_values, alpha=0.05, method="holm")
    assert [c.p_holm for c in found] == pytest.approx(list(adjusted))
    assert [c.is_significant for c in found] == list(rejected)


@pytest.mark.parametrize(("p", "expected"), [(0.049, True), (0.05, False), (math.nan, False)])
def test_five_percent_is_not_significant(p, expected):
    assert Comparison("a", "b", 1.0, p).is_significant == expected


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_rank_sets_equal_the_definition(lower_is_better):
    values = made_up("abcde", (0.0, 0.2, 4.0, 4.1, 9.0))
    comparisons = all_comparisons(values)
    significant = {(c.first, c.second) for c in comparisons if c.is_significant}
    assert {("a", "c"), ("a", "e"), ("c", "e")} <= significant
    sign = -1.0 if lower_is_better else 1.0
    means = {name: sign * sum(of.values()) for name, of in values.items()}
    sets = rank_sets(tuple(values), comparisons, lower_is_better)
    for name in values:
        others = [n for n in values if (n, name) in significant or (name, n) in significant]
        better = sum(means[other] > means[name] for other in others)
        worse = sum(means[other] < means[name] for other in others)
        assert sets[name] == RankSet(1 + better, 5 - worse)


def test_rank_sets_by_hand():
    # a beats c and d, b beats d: the example of which none beats a and b
    comparisons = compared("abcd", {("a", "c"), ("a", "d"), ("b", "d")})
    sets = rank_sets(tuple("abcd"), comparisons, lower_is_better=False)
    assert sets == {"a": RankSet(1, 2), "b": RankSet(1, 3), "c": RankSet(2, 4), "d": RankSet(3, 4)}


def test_one_strategy_alone_is_first():
    assert all_comparisons({"a": {0: 1.0}}) == ()
    assert rank_sets(("a",), (), lower_is_better=False) == {"a": RankSet(1, 1)}
    assert letters(("a",), ()) == {"a": "a"}


def test_one_seed_decides_nothing():
    comparisons = all_comparisons({"a": {0: 1.0}, "b": {0: 2.0}})
    sets = rank_sets(("a", "b"), comparisons, lower_is_better=False)
    assert sets == {"a": RankSet(1, 2), "b": RankSet(1, 2)}


def test_letters_by_hand():
    # a chain: neighbours do not differ, all others do
    chain = compared("abcd", {("a", "c"), ("a", "d"), ("b", "d")})
    assert letters(tuple("abcd"), chain) == {"a": "a", "b": "a b", "c": "b c", "d": "c"}
    assert set(letters(tuple("abc"), compared("abc", set())).values()) == {"a"}


@given(st.sets(st.sampled_from(list(combinations("abcdefgh", 2)))))
def test_letters_are_the_maximal_cliques_of_those_who_do_not_differ(different):
    alike = networkx.Graph()
    alike.add_nodes_from("abcdefgh")
    alike.add_edges_from(set(combinations("abcdefgh", 2)) - different)
    found = letters(tuple("abcdefgh"), compared("abcdefgh", different))
    groups = {}
    for name, text in found.items():
        for letter in text.split():
            groups.setdefault(letter, set()).add(name)
    expected = {frozenset(clique) for clique in networkx.find_cliques(alike)}
    assert {frozenset(group) for group in groups.values()} == expected
    assert len(groups) == len(expected)


def test_letters_go_on_after_z():
    names = tuple(f"s{index:02d}" for index in range(30))
    found = letters(names, compared(names, set(combinations(names, 2))))
    assert [found[name] for name in names[24:28]] == ["y", "z", "a1", "b1"]


@given(st.sets(st.sampled_from(list(combinations("abcdef", 2)))))
def test_strategies_share_a_letter_iff_they_do_not_differ(different):
    found = {
        name: set(text.split())
        for name, text in letters(tuple("abcdef"), compared("abcdef", different)).items()
    }
    assert all(found.values())
    for pair in combinations("abcdef", 2):
        assert bool(found[pair[0]] & found[pair[1]]) == (pair not in different)
    # no letter says only what another one says as well
    groups = {
        letter: {name for name, own in found.items() if letter in own}
        for letter in set().union(*found.values())
    }
    assert not any(groups[a] <= groups[b] for a in groups for b in groups if a != b)

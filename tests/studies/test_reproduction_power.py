"""The studies of re-runs: pairs and tallies by hand, and the document."""

import re
import statistics
from pathlib import Path

import pytest
import reproduction_power as power
import rerun_noise as study
from msgspec.structs import replace

from driftboard.baselines.published import published_records
from driftboard.baselines.reproduction import values_of
from driftboard.baselines.rerun_noise import measured_noise
from driftboard.suite.sequences.task_sequence import family_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies" / "reproduction.md"


@pytest.fixture(scope="module")
def quick():
    return list(published_records("quick"))


def test_a_strategys_values_stand_under_another_name_on_the_seeds_asked_for(quick):
    values = values_of(quick)
    found = power.of_strategy(values, "ewc", "sgd", [0, 2])
    assert {strategy for _, strategy in found["avg_acc"]} == {"sgd"}
    for (sequence, _), by_seed in found["avg_acc"].items():
        published = values["avg_acc"][sequence, "ewc"]
        assert by_seed == {seed: published[seed] for seed in (0, 2)}


@pytest.mark.parametrize("seeds", [None, 3])
def test_every_wrong_rerun_of_the_quick_suite_is_contradicted_and_none_reproduced(quick, seeds):
    values = values_of(quick)
    strategies = {strategy for _, strategy in values["avg_acc"]}
    means = [power.overall(values, strategy) for strategy in strategies]
    gaps = sum(abs(a - b) >= 0.02 for a in means for b in means)
    tally = power.wrong_pairs("quick", seeds)
    assert (tally.count, tally.contradicted, tally.reproduced) == (gaps, gaps, 0)


def test_an_equal_rerun_is_reproduced_and_made_up_ones_without_noise_too(quick):
    pairs = [(one, one) for one in quick if one.strategy.name in ("sgd", "ewc")]
    for tally in (
        power.judge_honest("quick", pairs, None),
        power.made_up("quick", pairs, None, 2),
    ):
        assert (tally.count, tally.numbers, tally.reproduced_numbers) == (2, 42, 42)


def test_made_up_reruns_have_the_differences_of_real_ones(quick, monkeypatch):
    """Each cell is off by that of a real cell of the same strategy and family, or its opposite."""
    by_cell = {(one.sequence.name, one.strategy.name, one.seed): one for one in quick}
    pairs = [
        (one, replace(one, correct=by_cell[one.sequence.name, "ewc", one.seed].correct))
        for one in quick
        if one.strategy.name == "sgd"
    ]
    judge, shown = power.judge_values, []
    monkeypatch.setattr(power, "judge_values", lambda *parts: shown.append(parts) or judge(*parts))
    assert power.made_up("quick", pairs, 3, 1).count == 1
    before, after = values_of(one for one, _ in pairs), values_of(one for _, one in pairs)
    real = {family_of(sequence): set() for (sequence, _) in before["avg_acc"]}
    for place, by_seed in before["avg_acc"].items():
        for seed, value in by_seed.items():
            off = abs(after["avg_acc"][place][seed] - value)
            real[family_of(place[0])].add(round(off, 9))
    ((old, new, *_),) = shown
    for place, by_seed in new["avg_acc"].items():
        assert sorted(by_seed) == [0, 1, 2]
        for seed, value in by_seed.items():
            off = abs(value - old["avg_acc"][place][seed])
            assert round(off, 9) in real[family_of(place[0])]


def test_earlier_records_are_other_runs_of_the_same_cells():
    try:
        pairs = study.earlier_pairs("quick")
    except study.subprocess.CalledProcessError:
        pytest.skip("this checkout has no history")
    assert len(pairs) == 60
    assert {one.strategy.name for one, _ in pairs} == {"ewc", "ewc-rate-0.234-strength-64.6"}
    assert any(one.correct != again.correct for one, again in pairs)
    assert all(one.correct_untrained == again.correct_untrained for one, again in pairs)


def test_parts_name_what_is_published():
    for part in study.PARTS.values():
        known = list(published_records(part.published))
        sequences, strategies = study.names_of(part)
        assert set(sequences) <= {one.sequence.name for one in known}
        assert set(strategies) <= {one.strategy.name for one in known}
        assert set(part.variations) <= set(study.VARIATIONS)


def tables(text):
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def test_the_document_has_the_noise_that_comes_with_the_package():
    shown = tables(PAGE.read_text())
    for row in measured_noise().rows:
        numbers = [f"{100 * row.differences[metric.name]:.2f}" for metric in power.ACCURACIES]
        assert [row.network, row.name, str(row.cells), *numbers] in shown


def test_the_document_has_the_numbers_of_the_quick_suite():
    shown = tables(PAGE.read_text())
    for seeds in (None, 3):
        tally = power.wrong_pairs("quick", seeds)
        detectable = f"{100 * statistics.median(tally.detectable):.1f}"
        row = ["quick", str(seeds or "all"), str(tally.count), "100.0", "100.0", detectable]
        assert [*row, "0", "yes"] in shown


def test_the_document_names_its_commands():
    text = PAGE.read_text()
    for script in ("rerun_noise", "reproduction_power"):
        assert re.search(rf"`python tests/studies/{script}\.py [^`]*`", text)

"""A re-run beside published records: verdicts by hand, pages, and the command itself."""

import csv
import dataclasses
import io
import math
import random
import statistics

import pytest
import scipy.stats
from msgspec.structs import replace

from driftboard.baselines.paper import (
    Ours,
    literature_values,
    literature_verdicts,
    paper_comparison,
)
from driftboard.baselines.published import choose_records, published_records, published_sets
from driftboard.baselines.reproduction import (
    LEAST_MARGIN,
    MOST_MARGIN,
    compare,
    reproduction_csv,
    reproduction_page,
    summary,
)
from driftboard.baselines.rerun_noise import NoiseRow, noise_of
from driftboard.baselines.verdict import margin, mean_noise
from driftboard.suite.errors import RecordError
from driftboard.suite.sequences.registry import registered

SEEDS = range(6)
ALPHA, BETA = "digits-rotated-15", "digits-split"
NOISE = [
    NoiseRow(
        "mlp-128x2",
        "family",
        family,
        40,
        dict.fromkeys(("avg_acc", "forgetting", "task_acc"), size),
    )
    for family, size in (("rotated", 0.01), ("split", 0.02))
]
COLUMNS = (
    "sequence strategy metric verdict published found difference low high margin p_contradicted "
    "detectable noise sequences seeds identical"
)


@pytest.fixture
def published(make_record):
    """Two strategies on two sequences; the last accuracy varies by a few points over the seeds."""
    generator = random.Random(3)
    return [
        make_record(sequence, strategy, seed, ((90, 0), (60 + generator.randint(-4, 4), 80)))
        for sequence in (ALPHA, BETA)
        for strategy in ("sgd", "ewc")
        for seed in SEEDS
    ]


def moved(record, by):
    (first, last) = record.correct
    return replace(record, correct=(first, (last[0] + by, last[1])))


def renamed(records, strategy):
    """Return records as if another strategy had made them."""
    return [replace(one, strategy=replace(one.strategy, name=strategy)) for one in records]


def verdicts(reproduction):
    return {
        (row.sequence, row.strategy, row.metric.name): row.judgement.verdict
        for row in reproduction.rows
    }


def row_of(reproduction, sequence, strategy, metric):
    (row,) = (
        row
        for row in reproduction.rows
        if (row.sequence, row.strategy, row.metric.name) == (sequence, strategy, metric)
    )
    return row


def test_equality_comes_first(published):
    found = compare(published, published, NOISE)
    assert len(found.rows) == 2 * 3 + 2 * 2 * 3
    assert set(verdicts(found).values()) == {"REPRODUCED"}
    lines = summary(found)
    assert lines[:3] == [
        "equal on the same seeds: 24 of 24 cells",
        "6 overall means: 6 REPRODUCED, 0 INCONCLUSIVE, 0 CONTRADICTED",
        "12 numbers of single sequences: 12 REPRODUCED, 0 INCONCLUSIVE, 0 CONTRADICTED",
    ]
    assert [line.partition(",")[0] for line in lines[3:]] == [
        "REPRODUCED: ewc over 2 sequences",
        "REPRODUCED: sgd over 2 sequences",
    ]


def test_cells_are_equal_only_if_all_counts_are(published):
    (first, last) = published[0].correct
    other = replace(published[0], correct=((first[0] - 1, first[1]), last))
    found = compare(published, [other, *published[1:]], NOISE)
    assert (found.equal, found.cells) == (23, 24)


def test_published_stands_over_the_same_seeds_as_found(published):
    some = [record for record in published if record.seed in (1, 4)]
    found = compare(published, [moved(record, 2) for record in some], NOISE)
    for row in found.rows:
        if row.metric.name == "avg_acc":
            before = [
                (record.correct[-1][0] + record.correct[-1][1]) / 200
                for record in some
                if record.strategy.name == row.strategy
                and row.sequence in (record.sequence.name, "overall")
            ]
            assert row.published == pytest.approx(statistics.fmean(before))
            assert row.found - row.published == pytest.approx(0.01)
            assert row.judgement.difference.mean == pytest.approx(0.01)
            assert row.judgement.difference.n == 2


def test_overall_means_are_over_the_sequences_and_seeds_that_both_have(published):
    new = [record for record in published if (record.sequence.name, record.seed) != (BETA, 0)]
    new = [moved(record, 4 if record.sequence.name == ALPHA else 0) for record in new]
    row = row_of(compare(published, new, NOISE), "overall", "sgd", "avg_acc")
    assert (row.sequences, row.judgement.difference.n) == (2, 5)
    assert row.judgement.difference.mean == pytest.approx(0.02 / 2)
    # of the mean over both sequences, on five seeds found and on six published
    cells = [noise_of(name, "sgd", "avg_acc", NOISE) for name in (ALPHA, BETA)]
    assert row.judgement.difference.noise == mean_noise(cells, 5)
    assert row.judgement.margin == margin(mean_noise(cells, 6), LEAST_MARGIN, MOST_MARGIN)


def test_one_sequence_has_no_overall_mean(published):
    some = [record for record in published if record.sequence.name == ALPHA]
    assert {row.sequence for row in compare(published, some, NOISE).rows} == {ALPHA}


def test_the_margin_of_an_overall_mean_is_at_most_two_points(published):
    loud = [replace(row, differences=dict.fromkeys(row.differences, 0.3)) for row in NOISE]
    found = compare(published, [moved(record, 1) for record in published], loud)
    for row in found.rows:
        assert (row.judgement.margin == MOST_MARGIN) == (row.sequence == "overall")
    quiet = [replace(row, differences=dict.fromkeys(row.differences, 0.001)) for row in NOISE]
    for row in compare(published, published, quiet).rows:
        assert row.judgement.margin == LEAST_MARGIN


def test_a_large_shift_of_one_strategy_is_contradicted_there_and_overall(published):
    generator = random.Random(8)
    new = [
        moved(record, -30 + generator.randint(-1, 1))
        if record.strategy.name == "ewc" and record.sequence.name == BETA
        else record
        for record in published
    ]
    found = compare(published, new, NOISE)
    contradicted = {place for place, v in verdicts(found).items() if v == "CONTRADICTED"}
    places = (BETA, "overall")
    assert contradicted == {(p, "ewc", m) for p in places for m in ("avg_acc", "forgetting")}
    assert verdicts(found)[BETA, "ewc", "task_acc"] == "REPRODUCED"
    lines = summary(found)
    assert lines[3].startswith("CONTRADICTED: ewc over 2 sequences, Avg.Acc")
    assert [line.split(",")[0] for line in lines[5:]] == [
        "CONTRADICTED: ewc over 2 sequences",
        f"CONTRADICTED: ewc on {BETA}",
        f"CONTRADICTED: ewc on {BETA}",
    ]


def test_two_noisy_seeds_are_inconclusive_and_say_what_they_would_have_told(published):
    new = [
        moved(record, {0: 4, 1: -4}[record.seed])
        for record in published
        if record.seed < 2 and record.strategy.name == "sgd"
    ]
    found = compare(published, new, NOISE)
    assert {row.strategy for row in found.rows} == {"sgd"}
    row = row_of(found, ALPHA, "sgd", "avg_acc")
    assert row.judgement.verdict == "INCONCLUSIVE"
    (line,) = (x for x in summary(found) if f"on {ALPHA}, Avg.Acc" in x)
    detectable = 100 * row.judgement.detectable
    assert f"a true one of {detectable:.2f} would have been contradicted with 90 %" in line


def test_what_has_no_measured_noise_is_judged_by_its_own_spread(make_record):
    old = [make_record("mine", "sgd", seed, ((90, 0), (60, 80))) for seed in SEEDS]
    new = [moved(record, -20 + record.seed) for record in old]
    found = compare(old, new, NOISE)
    assert found.unmeasured == ("mine",)
    assert "no noise is measured for: mine" in "\n".join(summary(found))
    row = row_of(found, "mine", "sgd", "avg_acc")
    assert row.judgement.difference.noise is None
    assert row.judgement.margin == LEAST_MARGIN
    assert row.judgement.verdict == "CONTRADICTED"


def test_diverged_cells_are_counted(published):
    new = [
        replace(published[0], status="diverged", diverged_at=1, diverged_by="blow-up"),
        *published[1:],
    ]
    found = compare(published, new, NOISE)
    assert found.diverged == (0, 1)
    assert "diverged, with the accuracy of chance: 0 published, 1 found" in summary(found)


@pytest.mark.parametrize(
    ("name", "strategy", "offered"),
    [
        ("core-cifar10", "sgd", "hybrid-scalar"),
        ("core-fashion", "hybrid-scalar", "constrained-0.1"),
        ("core-fashion", "sgd", "frozen"),
        ("quick", "sgd", "hybrid-scalar"),
    ],
)
def test_another_strategys_records_are_not_taken_for_a_rerun(name, strategy, offered):
    """Not even where the overall means are less than a point apart."""
    old = choose_records(name, None, [strategy])
    found = compare(old, renamed(choose_records(name, None, [offered]), strategy))
    overall = [row for row in found.rows if row.is_overall]
    assert "REPRODUCED" not in {row.judgement.verdict for row in overall}
    assert found.count("REPRODUCED") < len(found.rows) / 5
    assert (found.count("CONTRADICTED") > 0) == (name != "core-cifar10")  # noise of some points


def test_other_strategies_and_sequences_are_left_out(published, make_record):
    new = [*published, make_record("gamma", "sgd"), make_record(ALPHA, "mine")]
    new.append(make_record(ALPHA, "sgd", 17))
    assert len(compare(published, new, NOISE).rows) == 18
    with pytest.raises(RecordError, match="no sequence, strategy and seed that was published"):
        compare(published, new[-1:])


def test_what_cannot_be_compared_is_refused(published, make_record):
    protocol = replace(published[0].protocol, version=9, hash="e" * 64)
    with pytest.raises(RecordError, match="not of one protocol"):
        compare(published, [replace(record, protocol=protocol) for record in published])
    stamp = replace(published[0].sequence, hash="f" * 64)
    with pytest.raises(RecordError, match=f"sequence {ALPHA} has changed"):
        compare(published, [replace(published[0], sequence=stamp)])
    with pytest.raises(RecordError, match="no records"):
        compare(published, [])


def test_a_changed_source_is_named(published):
    new = [
        replace(record, strategy=replace(record.strategy, source_hash="9" * 64))
        if record.strategy.name == "ewc"
        else record
        for record in published
    ]
    found = compare(published, new, NOISE)
    assert found.changed == ("ewc",)
    assert "source changed since the records were published: ewc" in summary(found)


def test_page_and_csv_hold_every_number(published):
    new = [moved(record, record.seed % 3 - 1) for record in published]
    found = compare(published, new, NOISE)
    rows = list(csv.DictReader(io.StringIO(reproduction_csv(found))))
    assert " ".join(rows[0]) == COLUMNS
    page = [
        line for line in reproduction_page(found).splitlines() if line.startswith(("| `", "| o"))
    ]
    assert len(rows) == len(page) == len(found.rows)
    for raw, line, row in zip(rows, page, found.rows, strict=True):
        assert float(raw["difference"]) == pytest.approx(row.found - row.published, abs=1e-12)
        assert float(raw["published"]) == row.published
        assert raw["verdict"] == row.judgement.verdict
        low, high = row.judgement.difference.interval(0.90)
        assert (float(raw["low"]), float(raw["high"])) == (low, high)
        for text in (row.judgement.verdict, f"{100 * row.published:z.1f}", f"{100 * low:+z.1f}"):
            assert text in line


def test_the_command_runs_and_compares(call, tmp_path):
    options = ["--sequence", "digits-repeat", "--strategy", "noop", "--seeds", "2"]
    out = tmp_path / "again"
    code, output, _ = call("reproduce", "quick", *options, "--out", out, "--device", "cpu")
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "equal on the same seeds: 2 of 2 cells"
    assert lines[1].startswith("3 numbers of single sequences: 3 REPRODUCED")
    assert "on the same 2 seeds, difference +0.0 [+0.0, +0.0]" in lines[2]
    assert (out / "reproduction.md").exists()
    path = out / "records" / "digits-repeat" / "noop" / "seed-0000.json"
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "there are no published records 'nope'"),
        (("quick", "--strategy", "nope"), "'quick' has no strategy 'nope'; did you mean noop"),
        (("quick", "--strategy", "nosuch"), "'nosuch'; there are a-gem, algorithm-1"),
        (
            ("quick", "--strategy", "sgd", "--strategy", "sgd,rate=0.153"),
            "'quick' has no strategy 'sgd,rate=0.153'; did you mean sgd-rate-0.153",
        ),
        (("quick", "--sequence", "fashion-*"), "'quick' has no sequence 'fashion-*'"),
    ],
)
def test_mistakes_are_one_line(call, tmp_path, arguments, message):
    code, _, errors = call("reproduce", *arguments, "--out", tmp_path)
    assert code == 1
    assert errors.count("\n") == 1
    assert message in errors


def test_the_list_names_every_set(call):
    code, output, _ = call("reproduce", "--list")
    assert code == 0
    assert "quick: " in output
    assert "driftboard run" in output


def test_paper_and_ours_stand_side_by_side(call):
    code, output, _ = call("reproduce", "--paper")
    assert code == 0
    assert output.strip() == paper_comparison()
    (line,) = (
        line
        for line in output.splitlines()
        if line.startswith("| `mnist-permuted`") and "`frozen`" in line and "Avg.Acc" in line
    )
    values = [
        sum(record.correct[-1]) / sum(record.test_sizes)
        for record in published_records("core-fashion")
        if (record.sequence.name, record.strategy.name) == ("fashion-permuted", "frozen")
    ]
    assert "76.78" in line
    assert f"{100 * sum(values) / len(values):.1f} [" in line
    assert "2502.11756" in output


def test_other_publications_stand_beside_what_was_run_in_their_setting():
    published = [record for name in published_sets() for record in published_records(name)]
    lines = paper_comparison().partition("## Other publications")[2].splitlines()
    compared = 0
    for value in literature_values():
        assert value.our_sequence in registered()
        error = "" if value.standard_error is None else f" ± {value.standard_error:.2f}"
        theirs = f" {value.mean:.2f}{error} "
        (line,) = (line for line in lines if theirs in line)
        if not value.our_strategy:
            continue
        accuracies = [
            100 * statistics.fmean(c / n for c, n in zip(r.correct[-1], r.test_sizes, strict=True))
            for r in published
            if (r.sequence.name, r.strategy.name) == (value.our_sequence, value.our_strategy)
        ]
        assert f" {statistics.fmean(accuracies):.1f} [" in line
        compared += 1
    assert compared >= 2


def ours_of(value):
    """Return what we have published in the setting of another publication's number."""
    return [
        statistics.fmean(c / n for c, n in zip(r.correct[-1], r.test_sizes, strict=True))
        for r in published_records("van-de-ven-mnist")
        if r.strategy.name == value.our_strategy
    ]


def test_the_literatures_claims_are_judged_by_welch_with_their_standard_error():
    """By the rule plain training does not carry over, and EWC is left open."""
    known = [v for v in literature_values() if v.our_sequence == "mnist-split-van-de-ven"]
    ours = {(v.our_sequence, v.our_strategy, v.metric): Ours(ours_of(v), diverged=0) for v in known}
    found = literature_verdicts(known, ours)
    assert {value.our_strategy: found[value].verdict for value in known} == {
        "sgd": "CONTRADICTED",
        "ewc-strength-100000.0": "INCONCLUSIVE",
    }
    for value in known:
        mine = ours_of(value)
        deviation = value.standard_error / 100 * math.sqrt(value.seeds)
        test = scipy.stats.ttest_ind_from_stats(
            *(statistics.fmean(mine), statistics.stdev(mine), len(mine)),
            *(value.mean / 100, deviation, value.seeds),
            equal_var=False,
        )
        difference = found[value].difference
        assert difference.mean / difference.noise.size == pytest.approx(test.statistic)
        theirs, own = deviation**2 / value.seeds, statistics.variance(mine) / len(mine)
        freedom = (theirs + own) ** 2 / (theirs**2 / (value.seeds - 1) + own**2 / (len(mine) - 1))
        assert difference.noise.freedom == math.floor(freedom)
    assert "speaks of the publication's claim, not of a re-run" in paper_comparison()


def test_what_we_have_not_run_is_not_judged():
    assert literature_verdicts(literature_values(), {}) == {}


def test_a_number_without_a_standard_error_is_not_judged():
    known = [v for v in literature_values() if v.our_sequence == "mnist-split-van-de-ven"]
    ours = {(v.our_sequence, v.our_strategy, v.metric): Ours(ours_of(v), diverged=0) for v in known}
    first, second = (dataclasses.replace(v, standard_error=None) for v in known)
    assert literature_verdicts([first, known[1]], ours).keys() == {known[1]}
    assert literature_verdicts([first, second], ours) == {}

"""A re-run beside published records: verdicts by hand, pages, and the command itself."""

import csv
import io
import random
import statistics

import pytest
from msgspec.structs import replace

from driftboard.baselines.paper import literature_values, paper_comparison
from driftboard.baselines.published import published_records, published_sets
from driftboard.baselines.reproduction import (
    compare,
    reproduction_csv,
    reproduction_page,
    summary,
)
from driftboard.suite.errors import RecordError
from driftboard.suite.sequences.registry import registered

SEEDS = range(6)
COLUMNS = (
    "sequence strategy metric verdict published found difference low high margin p_contradicted "
    "seeds paired identical seeds_needed"
)


@pytest.fixture
def published(make_record):
    """Two strategies on two sequences; the last accuracy varies by a few points over the seeds."""
    generator = random.Random(3)
    return [
        make_record(sequence, strategy, seed, ((90, 0), (60 + generator.randint(-4, 4), 80)))
        for sequence in ("alpha", "beta")
        for strategy in ("sgd", "ewc")
        for seed in SEEDS
    ]


def moved(record, by):
    (first, last) = record.correct
    return replace(record, correct=(first, (last[0] + by, last[1])))


def verdicts(reproduction):
    return {
        (row.sequence, row.strategy, row.metric.name): row.judgement.verdict
        for row in reproduction.rows
    }


def test_equal_records_are_reproduced_to_the_last_digit(published):
    found = compare(published, published)
    assert len(found.rows) == 2 * 2 * 3
    assert set(verdicts(found).values()) == {"REPRODUCED"}
    assert summary(found) == [
        "12 numbers: 12 REPRODUCED, 0 INCONCLUSIVE, 0 CONTRADICTED; 12 of them equal to the last "
        "digit"
    ]


def test_a_large_shift_of_one_strategy_is_contradicted_there_only(published):
    generator = random.Random(8)
    new = [
        moved(record, -30 + generator.randint(-1, 1))
        if record.strategy.name == "ewc" and record.sequence.name == "beta"
        else record
        for record in published
    ]
    found = verdicts(compare(published, new))
    contradicted = {place for place, verdict in found.items() if verdict == "CONTRADICTED"}
    assert contradicted == {("beta", "ewc", "avg_acc"), ("beta", "ewc", "forgetting")}
    assert found["beta", "ewc", "task_acc"] == "REPRODUCED"
    lines = summary(compare(published, new))
    assert len(lines) == 3
    assert lines[1].startswith("CONTRADICTED: ewc on beta, Avg.Acc")


def test_two_noisy_seeds_are_inconclusive_and_say_how_many_would_do(published):
    new = [
        moved(record, {0: 4, 1: -4}[record.seed])
        for record in published
        if record.seed < 2 and record.strategy.name == "sgd"
    ]
    found = compare(published, new)
    assert {(row.sequence, row.strategy) for row in found.rows} == {
        ("alpha", "sgd"),
        ("beta", "sgd"),
    }
    (row,) = (r for r in found.rows if (r.sequence, r.metric.name) == ("alpha", "avg_acc"))
    assert row.judgement.verdict == "INCONCLUSIVE"
    assert row.judgement.seeds is not None
    assert f"about {row.judgement.seeds} seeds would settle it" in "\n".join(summary(found))


def test_other_strategies_and_sequences_are_left_out(published, make_record):
    new = [*published, make_record("gamma", "sgd"), make_record("alpha", "mine")]
    assert len(compare(published, new).rows) == 12
    with pytest.raises(RecordError, match="no sequence and strategy that was published"):
        compare(published, new[-1:])


def test_what_cannot_be_compared_is_refused(published, make_record):
    protocol = replace(published[0].protocol, version=9, hash="e" * 64)
    with pytest.raises(RecordError, match="not of one protocol"):
        compare(published, [replace(record, protocol=protocol) for record in published])
    stamp = replace(published[0].sequence, hash="f" * 64)
    with pytest.raises(RecordError, match="sequence alpha has changed"):
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
    found = compare(published, new)
    assert found.changed == ("ewc",)
    assert "source changed since the records were published: ewc" in summary(found)


def test_page_and_csv_hold_every_number(published):
    new = [moved(record, record.seed % 3 - 1) for record in published]
    found = compare(published, new)
    rows = list(csv.DictReader(io.StringIO(reproduction_csv(found))))
    assert " ".join(rows[0]) == COLUMNS
    page = [line for line in reproduction_page(found).splitlines() if line.startswith("| `")]
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
    assert output.startswith("3 numbers: 3 REPRODUCED")
    assert (out / "reproduction.md").exists()
    path = out / "records" / "digits-repeat" / "noop" / "seed-0000.json"
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope",), "there are no published records 'nope'"),
        (("quick", "--strategy", "nope"), "'quick' has no strategy 'nope'; did you mean noop"),
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
        theirs = f" {value.mean:.2f} ± {value.standard_error:.2f} "
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

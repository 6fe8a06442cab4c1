"""Each forgery is refused by the check that was made for it."""

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace
from submission_drafts import STAMP, check, failures, honest_tuning, made_up, relist

from driftboard.leaderboard.verification.checks import FORENSIC, examine, halton_rates
from driftboard.suite.records import ProtocolStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.submissions import MOST_FILES

# Records, one forger each.


def spoil_record(change):
    """Return a forger who changes a record's bytes and lists it anew."""

    def spoil(folder):
        path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
        path.write_bytes(change(path.read_bytes()))
        relist(folder)

    return spoil


def misplaced(folder):
    path = folder / "records" / "digits-split" / "made-up-1" / "seed-0000.json"
    path.rename(path.with_name("seed-0007.json"))
    relist(folder)


BROKEN = {
    "truncated": spoil_record(lambda data: data[:-5]),
    "NaN": spoil_record(lambda data: data.replace(b'"seconds":[1.0', b'"seconds":[NaN')),
    "unknown field": spoil_record(lambda data: b'{"bonus":1,' + data[1:]),
    "field twice": spoil_record(lambda data: b'{"seed":1,' + data[1:]),
    "negative": spoil_record(lambda data: data.replace(b'"seed":0', b'"seed":-1')),
    "schema 1": spoil_record(lambda data: data.replace(b'"schema":3', b'"schema":1')),
    "counts above the test images": spoil_record(
        lambda data: data.replace(b'"test_sizes":[100', b'"test_sizes":[1')
    ),
    "fractions of answers": spoil_record(
        lambda data: data.replace(b'"test_sizes":[100', b'"test_sizes":[100.5')
    ),
    "in another place": misplaced,
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_unreadable_record_is_named_and_missed(draft, name, tmp_path):
    folder = draft.write(tmp_path)
    before = draft.contents()
    BROKEN[name](folder)
    after = {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}
    assert len(after) == len(before)  # without the source, with submission.json
    findings = check(folder)
    assert failures(findings) == {"records", "seeds"}
    assert "seed-000" in next(one.found for one in findings if one.check == "records")


def other_protocol(draft):
    draft.change(protocol=ProtocolStamp("driftboard", 1, "b" * 64))


def tuning_run(draft):
    draft.change(split="validation")


def other_sequence(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, hash="f" * 64))


def other_tier(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, tier="core"))


def unknown_sequence(draft):
    easy = dataclasses.replace(registered()["digits-rotated-15"], name="digits-easy")
    draft.records += [made_up.honest_record(easy, STAMP, seed) for seed in range(5)]


def other_data(draft):
    stamp = draft.records[draft.place_of()].sequence
    draft.change(sequence=replace(stamp, data_hash="e" * 64))


def other_settings(draft):
    draft.change(strategy=replace(STAMP, parameters={"strength": 2.0}))


def other_source(draft):
    draft.source = b"what_was_run = 'something else'\n"


def a_bound(draft):
    draft.stamp = replace(STAMP, role="bound")
    draft.change_all(lambda record: replace(record, strategy=draft.stamp))


def left_out_seed(draft):
    del draft.records[draft.place_of(seed=3)]


def left_out_sequence(draft):
    draft.records = [one for one in draft.records if one.sequence.name != "digits-split"]


def chosen_seeds(draft):
    """Run more seeds than the protocol has and keep the best."""
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 7)
    environment = replace(record.environment, cohort=(0, 1, 2, 3, 7))
    draft.records[draft.place_of(seed=4)] = replace(record, environment=environment)


def one_seed_more(draft):
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 7)
    draft.records.append(replace(record, environment=replace(record.environment, cohort=(7,))))


def foreign_cohort(draft):
    environment = draft.records[0].environment
    draft.change(seed=0, environment=replace(environment, cohort=(1, 2)))


def hidden_divergence(draft):
    record = draft.records[draft.place_of()]
    still = tuple((*part[:3], (0.0,) * 3, (0.0,) * 3) for part in norms_of(record))
    draft.change(
        status="diverged",
        diverged_at=3,
        diverged_by="not finite",
        **dict(zip(("update_norms", "solution_norms", "drift_norms"), still, strict=True)),
    )


def norms_of(record):
    return record.update_norms, record.solution_norms, record.drift_norms


def more_test_images(draft):
    draft.change(test_sizes=(1000,) * 5)


def other_classes(draft):
    draft.change("digits-split", classes=(5,) * 5)


def drift_at_the_start(draft):
    record = draft.records[draft.place_of()]
    draft.change(drift_norms=((0.1, 0.0, 0.0), *record.drift_norms[1:]))


def drift_without_update(draft):
    record = draft.records[draft.place_of()]
    draft.change(update_norms=(*record.update_norms[:3], (0.0,) * 3, record.update_norms[4]))


def made_up_norms(draft):
    draft.change(drift_norms=((0.0,) * 3, *((9.0, 9.0, 9.0),) * 4))


def jumping_solution(draft):
    record = draft.records[draft.place_of()]
    solution = (*record.solution_norms[:4], (1e6, 1e6, 1e6))
    draft.change(solution_norms=solution)


def answers_without_moving(draft):
    """A network that does not move cannot answer otherwise."""
    zero = ((0.0,) * 3,) * 4
    record = draft.records[draft.place_of()]
    draft.change(
        update_norms=(record.update_norms[0], *zero),
        drift_norms=((0.0,) * 3, *zero),
        solution_norms=(record.solution_norms[0],) * 5,
    )


def no_time(draft):
    record = draft.records[draft.place_of()]
    draft.change(cost=replace(record.cost, seconds=(0.0,) * 5))


def endless_time(draft):
    record = draft.records[draft.place_of()]
    draft.change(cost=replace(record.cost, seconds=(1e308,) * 5))


def copied_seed(draft):
    draft.change(seed=1, correct=draft.records[draft.place_of(seed=2)].correct)


def copied_sequence(draft):
    source = draft.records[draft.place_of("digits-permuted", 2)]
    draft.change("digits-rotated-45", 1, correct=source.correct)


def permuted_columns(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(seed=1, correct=tuple((*row[2:], *row[:2]) for row in rows))


def permuted_rows(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(seed=1, correct=(*rows[3:], *rows[:3]))


def touched_up(draft):
    rows = draft.records[draft.place_of(seed=2)].correct
    draft.change(
        seed=1,
        correct=tuple(
            tuple(count + (row + column) % 3 - 1 for column, count in enumerate(counts))
            for row, counts in enumerate(rows)
        ),
    )


def copied_norms(draft):
    record = draft.records[draft.place_of(seed=2)]
    draft.change(
        seed=1,
        update_norms=record.update_norms,
        solution_norms=record.solution_norms,
        drift_norms=record.drift_norms,
    )


def smooth_numbers(draft):
    """Write every count near one value instead of running the seeds."""
    random = np.random.default_rng(1)
    first = {one.sequence.name: one.correct for one in draft.records if one.seed == 0}

    def near(record):
        counts = np.asarray(first[record.sequence.name]) + random.integers(-2, 3, (5, 5))
        counts = np.clip(counts, 0, record.test_sizes)
        return replace(record, correct=tuple(map(tuple, counts.tolist())))

    draft.change_all(near)


FORGERIES = {
    other_protocol: {"protocol"},
    tuning_run: {"protocol"},
    other_sequence: {"sequences"},
    other_tier: {"sequences"},
    unknown_sequence: {"sequences"},
    other_data: {"sequences"},
    other_settings: {"strategy"},
    other_source: {"strategy"},
    a_bound: {"strategy"},
    left_out_seed: {"seeds"},
    left_out_sequence: {"seeds"},
    chosen_seeds: {"seeds", "environment"},
    one_seed_more: {"seeds", "environment"},
    foreign_cohort: {"environment"},
    hidden_divergence: {"divergence"},
    more_test_images: {"test sets"},
    other_classes: {"test sets"},
    drift_at_the_start: {"norms"},
    drift_without_update: {"norms"},
    made_up_norms: {"norms"},
    jumping_solution: {"norms"},
    answers_without_moving: {"norms"},
    no_time: {"cost"},
    endless_time: {"cost"},
    copied_seed: {"copies"},
    copied_sequence: {"copies"},
    permuted_columns: {"copies"},
    permuted_rows: {"copies"},
    touched_up: {"copies"},
    copied_norms: {"copies"},
    smooth_numbers: {"variance"},
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda function: function.__name__)
def test_a_forgery_is_refused_by_the_check_made_for_it(draft, forge, tmp_path):
    forge(draft)
    assert failures(check(draft.write(tmp_path))) == FORGERIES[forge]


def test_endless_copies_are_not_all_looked_at(honest):
    """As many records of one content as a folder may hold; more than this would take for ever."""
    own = [replace(honest[0], seed=seed) for seed in range(MOST_FILES)]
    assert "copies" in failures(examine(made_up.as_submission(own, ()), FORENSIC))


# Tuning records.


def tuned(**changes):
    return replace(honest_tuning(), **changes)


def with_trial(place, **changes):
    trials = list(honest_tuning().trials)
    trials[place] = replace(trials[place], **changes)
    return tuned(trials=tuple(trials))


TUNINGS = {
    "of the protocol's seeds": tuned(seeds=(0, 1, 2, 3, 4)),
    "of fewer seeds": tuned(seeds=(1000, 1001)),
    "of another protocol": tuned(protocol=ProtocolStamp("driftboard", 1, "b" * 64)),
    "of other trials": tuned(tuning=ProtocolStamp("driftboard-tuning", 2, "b" * 64)),
    "of an unknown sequence": tuned(sequences={"digits-easy": "b" * 64}),
    "of no sequence": tuned(sequences={}),
    "with fewer trials": tuned(trials=honest_tuning().trials[:7]),
    "with more trials": tuned(trials=(*honest_tuning().trials, honest_tuning().trials[1])),
    "with none": tuned(trials=()),
    "chosen badly": tuned(chosen=3),
    "chosen beyond the end": tuned(chosen=8),
    "with a rate of its own": with_trial(
        2, strategy=replace(STAMP, name="trial-2", parameters={"rate": 0.5})
    ),
    "from two sources": with_trial(2, strategy=replace(STAMP, name="x", source_hash="9" * 64)),
    "with impossible scores": with_trial(2, avg_acc=1.5),
    "that chose another setting": tuned(
        chosen=1,
        trials=tuple(
            replace(trial, avg_acc=0.95 if place == 1 else 0.5)
            for place, trial in enumerate(honest_tuning().trials)
        ),
    ),
}


@pytest.mark.parametrize("name", TUNINGS)
def test_a_tuning_record_that_is_not_the_protocols_is_refused(draft, name, tmp_path):
    draft.tuning = TUNINGS[name]
    assert failures(check(draft.write(tmp_path))) == {"tuning"}


def test_a_choice_that_is_not_the_best_is_told_from_a_setting_that_was_not_chosen(draft, tmp_path):
    for name, words in (("chosen badly", "not the best"), ("that chose another setting", "has {")):
        draft.tuning = TUNINGS[name]
        (finding,) = [one for one in check(draft.write(tmp_path)) if one.level == "FAILED"]
        assert words in finding.found


def test_broken_or_several_tuning_records_are_refused(draft, tmp_path):
    folder = draft.write(tmp_path)
    second = folder / "tuning" / "second.json"
    second.write_bytes((folder / "tuning" / "made-up-1.json").read_bytes())
    relist(folder)
    assert failures(check(folder)) == {"tuning"}
    second.write_text('{"schema": 1}')
    relist(folder)
    assert failures(check(folder)) == {"tuning"}


def test_a_tuning_record_of_an_older_source_is_a_warning(draft, tmp_path):
    older = tuple(
        replace(trial, strategy=replace(trial.strategy, source_hash="9" * 64))
        for trial in honest_tuning().trials
    )
    draft.tuning = tuned(trials=older)
    levels = {one.check: one.level for one in check(draft.write(tmp_path))}
    assert levels.pop("tuning") == "warning"
    assert set(levels.values()) == {"ok"}


def test_the_rates_are_those_of_the_command():
    from driftboard.suite.loading import load_strategy
    from driftboard.suite.tuning import trial_specifications

    texts = trial_specifications(load_strategy("sgd"))[1:]
    rates = [float(text.partition("rate=")[2]) for text in texts]
    assert rates == pytest.approx(halton_rates(), rel=0.01)

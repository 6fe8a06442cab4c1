"""The results beside those of other strategies."""

from msgspec.structs import replace
from submission_drafts import STAMP, check, failures, made_up

from driftboard.leaderboard.verification.comparison import (
    check_above_joint,
    check_copies_of_others,
    check_learning,
    check_untrained,
)
from driftboard.suite.records import write_record
from driftboard.suite.sequences.registry import registered

# Beside other results.


def test_another_seeds_untrained_network_is_recognised(draft, against, tmp_path):
    record = made_up.honest_record(registered()["digits-rotated-15"], STAMP, 31)
    draft.records[draft.place_of(seed=2)] = replace(record, seed=2)
    folder = draft.write(tmp_path)
    assert failures(check(folder)) == set()
    assert failures(check(folder, against)) == {"untrained"}


def test_untrained_answers_may_differ_a_little_on_another_machine_only(honest, others):
    first, *rest = honest
    answers = (first.correct_untrained[0] + 1, *first.correct_untrained[1:])
    changed = replace(first, correct_untrained=answers)
    assert check_untrained(made_up.as_submission([changed, *rest], others)).level == "FAILED"
    elsewhere = replace(changed, environment=replace(first.environment, device="another"))
    assert check_untrained(made_up.as_submission([elsewhere, *rest], others)).level == "warning"
    nameless = replace(first.environment, device="x86_64 CPU, 1 thread(s)")
    mine = replace(changed, environment=nameless)
    theirs = [replace(other, environment=nameless) for other in others]
    assert check_untrained(made_up.as_submission([mine, *rest], theirs)).level == "warning"
    far = (first.correct_untrained[0] + 9, *first.correct_untrained[1:])
    elsewhere = replace(elsewhere, correct_untrained=far)
    assert check_untrained(made_up.as_submission([elsewhere, *rest], others)).level == "FAILED"


def test_other_data_than_that_of_others_is_recognised(draft, against, tmp_path):
    for seed in range(5):
        for name, sequence in registered().items():
            if sequence.tier == "quick":
                stamp = draft.records[draft.place_of(name, seed)].sequence
                draft.change(name, seed, sequence=replace(stamp, data_hash="e" * 64))
    folder = draft.write(tmp_path)
    assert failures(check(folder)) == set()
    assert failures(check(folder, against)) == {"test sets"}


def test_a_name_that_another_strategy_has_is_refused(draft, honest, tmp_path):
    other = replace(STAMP, source_hash="9" * 64)
    for record in honest:
        write_record(tmp_path / "results", replace(record, strategy=other))
        break
    folder = draft.write(tmp_path / "sub")
    assert "strategy" in failures(check(folder, tmp_path / "results"))


def test_counts_of_anothers_other_seed_are_copied(draft, others, against, tmp_path):
    source = next(
        one for one in others if (one.sequence.name, one.seed) == ("digits-rotated-15", 3)
    )
    draft.change(seed=1, correct=source.correct)
    assert failures(check(draft.write(tmp_path), against)) == {"copies of others"}


def test_agreement_at_the_same_seed_is_weighed(honest, others):
    def levels(own):
        return [one.level for one in check_copies_of_others(made_up.as_submission(own, others))]

    as_other = [replace(one, strategy=STAMP) for one in others]
    assert levels(honest) == ["ok"]
    assert levels([*as_other[:5], *honest[5:]]) == ["ok"]  # as a rule that is never triggered
    assert levels(as_other) == ["warning"]
    norms_of_its_own = replace(as_other[0], solution_norms=honest[0].solution_norms)
    assert levels([norms_of_its_own, *honest[1:]]) == ["warning"]
    assert check_copies_of_others(made_up.as_submission(honest, ())) == []


def test_better_than_joint_training_asks_for_an_explanation(honest):
    joint = replace(STAMP, name="joint", role="bound")

    def scaled(record, factor):
        correct = tuple(tuple(int(factor * count) for count in row) for row in record.correct)
        return replace(record, strategy=joint, correct=correct)

    below = made_up.as_submission(honest, [scaled(one, 0.8) for one in honest])
    finding = check_above_joint(below)
    assert finding.level == "warning"
    assert "digits-permuted (by " in finding.found
    assert finding.found.endswith("and 2 more")
    explained = replace(below.submission, remarks=("It sees more images.",))
    data = made_up.SubmissionData(explained, below.records, None, (), below.against)
    assert check_above_joint(data).level == "ok"
    same = made_up.as_submission(honest, [replace(one, strategy=joint) for one in honest])
    assert check_above_joint(same).level == "ok"
    one_seed_lower = [scaled(one, 0.5 if one.seed == 2 else 1.0) for one in honest]
    assert check_above_joint(made_up.as_submission(honest, one_seed_lower)).level == "ok"


def test_learning_nothing_is_a_warning(honest):
    nothing = [
        replace(
            one,
            correct=(tuple(s // c - 1 for s, c in zip(one.test_sizes, one.classes, strict=True)),)
            * 5,
        )
        for one in honest
    ]
    assert check_learning(made_up.as_submission(nothing, ())).level == "warning"
    assert check_learning(made_up.as_submission(honest, ())).level == "ok"


def test_a_submission_is_not_compared_with_itself(draft, tmp_path):
    folder = draft.write(tmp_path)
    findings = check(folder, folder)
    assert {one.level for one in findings} == {"ok"}
    assert "nothing to compare with" in " ".join(one.found for one in findings)


def test_a_folder_to_compare_with_must_hold_records(draft, call, tmp_path):
    folder = draft.write(tmp_path / "sub")
    code, _, errors = call("verify", folder, "--against", tmp_path / "nothing")
    assert code == 1
    assert errors.startswith("driftboard: no records in ")


def test_what_was_learned_is_told_in_points(make_record):
    """Of 100 images of ten classes 90 and 80 are right, so 80 and 70 above guessing."""
    own = [make_record(correct=((90, 10), (60, 80)))]
    found = check_learning(made_up.as_submission(own, ())).found
    assert found == "75.0 points above guessing right after training"

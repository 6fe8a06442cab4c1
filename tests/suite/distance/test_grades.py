"""Grade records and the grades made of them, and measuring itself on a small sequence."""

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import (
    Grade,
    GradeRecord,
    SeedProducts,
    all_pairs,
    grade_of,
    grade_path,
    grading_in,
    known_grades,
    level_of,
    merged,
    plain_grade,
    read_grade,
    shipped_records,
    write_record,
)
from driftboard.suite.errors import RecordError
from driftboard.suite.protocol import GRADING, PROTOCOL
from driftboard.suite.records import SequenceStamp
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import FewShot, Rotated, RotatedTo, Split
from driftboard.suite.sequences.task_sequence import TaskSequence

HALF = math.sqrt(0.75)


def triangle(vectors):
    """Return the upper triangle of the inner products of vectors, shape (tasks, parts, size)."""
    rows = np.asarray(vectors, dtype=float).reshape(-1, np.shape(vectors)[-1])
    return tuple((rows @ rows.T)[np.triu_indices(len(rows))].tolist())


def make_grade(*seeds, refusal=None, name="made-up"):
    """Return a record of two tasks, two parts, and blocks ``body`` and ``head``.

    Each seed is given by the solutions of the body, shape (2, 2, size); those of the head are
    unrelated.
    """
    head = [[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2]
    return GradeRecord(
        schema=2,
        grading=GRADING.stamp(),
        protocol=PROTOCOL.stamp(),
        sequence=SequenceStamp(name, "a" * 64, "own", "Data", "b" * 64, ("body", "head")),
        tasks=2,
        parts=2,
        images=10,
        seeds=tuple(
            SeedProducts(number, (triangle(body), triangle(head)))
            for number, body in enumerate(seeds)
        ),
        refusal=refusal,
        python="3.12",
        torch="2.11",
        device="cpu",
    )


def pair(one, other, noise=0.0):
    """Return solutions of two tasks; the parts of a task differ by orthogonal noise."""
    return [
        [[*one, noise, 0.0], [*one, -noise, 0.0]],
        [[*other, 0.0, noise], [*other, 0.0, -noise]],
    ]


def test_the_head_does_not_count():
    grade = grade_of(make_grade(pair((1, 0), (0.5, HALF))))
    assert grade.distance.value == pytest.approx(1.0)
    assert grade.level == "medium"
    (of_head,) = all_pairs(make_grade(pair((1, 0), (0.5, HALF))), (1,))
    assert of_head.distance.value == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("distance", "level"),
    [(-0.1, "near"), (0.499, "near"), (0.5, "medium"), (1.199, "medium"), (1.2, "far"), (4, "far")],
)
def test_levels(distance, level):
    assert level_of(distance) == level


def test_a_grade_whose_interval_contains_a_cut_off_says_so():
    at = {d: pair((1, 0), (1 - d / 2, math.sqrt(1 - (1 - d / 2) ** 2))) for d in (0.4, 0.45, 0.7)}
    assert not grade_of(make_grade(at[0.4], at[0.45], at[0.4])).crosses
    assert grade_of(make_grade(at[0.4], at[0.7], at[0.4])).crosses


@pytest.mark.parametrize(
    ("reliability", "level", "note"),
    [
        (0.98, "far", ""),
        (0.51, "far", ""),
        (0.49, "far", "low reliability"),
        (0.31, "far", "low reliability"),
        (0.29, None, "reliability 0.29 is below 0.3: no grade"),
        (-0.2, None, "reliability -0.20 is below 0.3: no grade"),
    ],
)
def test_an_unreliable_measurement_is_noted_or_gives_no_grade(reliability, level, note):
    # Noise of opposite sign in both parts: <t^a, t^b> = 1 - n^2 where ||t||^2 = 1 + n^2.
    noise = math.sqrt((1 - reliability) / (1 + reliability))
    grade = grade_of(make_grade(pair((1, 0), (0, 1), noise)))
    assert grade.reliability == pytest.approx(reliability)
    assert (grade.level, grade.note) == (level, note)


def test_a_refusal_gives_no_grade_and_its_reason():
    grade = grade_of(make_grade(refusal="too few"))
    assert (grade.level, grade.note, grade.crosses) == (None, "too few", False)
    assert math.isnan(grade.distance.value)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = make_grade(pair((1, 0), (0, 1)), pair((1, 0), (0.1, 1)))
    path = grade_path(tmp_path, "made-up")
    write_record(path, record)
    assert read_grade(path) == record
    assert known_grades((tmp_path,))["a" * 64] == grade_of(record)


def test_records_of_another_number_of_parts_are_known_and_those_of_another_grading_are_not(
    tmp_path,
):
    three = msgspec.structs.replace(
        make_grade(refusal="too few"), parts=3, grading=grading_in(3).stamp()
    )
    write_record(grade_path(tmp_path, "made-up"), three)
    assert known_grades((tmp_path,))["a" * 64].note == "too few"
    write_record(grade_path(tmp_path, "made-up"), msgspec.structs.replace(three, parts=4))
    assert "a" * 64 not in known_grades((tmp_path,))
    assert grading_in(2).stamp() == GRADING.stamp() != grading_in(3).stamp()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema": 1}, "schema"),
        ({"extra": 1}, "extra"),
        ({"seeds": []}, "measurements or a refusal"),
        ({"refusal": "no"}, "measurements or a refusal"),
        ({"tasks": 3}, "does not have 6 rows"),
        ({"parts": 1}, "two parts"),
        ({"tasks": 0}, "tasks"),
        ({"seeds": [{"seed": 0, "blocks": [[1.0] * 10]}]}, "lacks a block"),
        ({"seeds": [{"seed": 0, "blocks": [[1.0] * 10, [None] * 10]}]}, "blocks"),
    ],
)
def test_unsound_grades_are_refused_in_one_line(tmp_path, change, word):
    content = json.loads(msgspec.json.encode(make_grade(pair((1, 0), (0, 1)))))
    path = tmp_path / "grade.json"
    path.write_text(json.dumps(content | change))
    with pytest.raises(RecordError) as caught:
        read_grade(path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_and_foreign_grades_are_refused(tmp_path):
    with pytest.raises(RecordError, match="cannot read"):
        read_grade(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(RecordError, match="delete it and grade again"):
        read_grade(tmp_path / "other.json")


def test_seeds_merge_in_order_and_refusals_win():
    both = make_grade(pair((1, 0), (0, 1)), pair((1, 0), (0.1, 1)))
    one, other = (msgspec.structs.replace(both, seeds=(seed,)) for seed in both.seeds)
    assert merged([other, one]) == both
    refused = make_grade(refusal="too few")
    assert merged([one, refused]) == refused
    with pytest.raises(RecordError, match="not all of the same"):
        merged([one, make_grade(pair((1, 0), (0, 1)), name="other")])


# The measured grades of the package


def shipped():
    return {record.sequence.name: record for record in shipped_records()}


def test_every_sequence_that_could_be_measured_has_its_grade_shipped():
    known = registered()
    expected = {name for name, value in known.items() if value.tier in ("quick", "core")}
    kinds = ("unequal", "class-unequal", "class-incremental")
    expected |= {f"{data}-{kind}" for data in ("digits", "fashion") for kind in kinds}
    assert set(shipped()) == expected
    for name, record in shipped().items():
        assert record.sequence.hash == known[name].hash(), f"{name}: grade it again"
        assert (record.grading, record.protocol) == (GRADING.stamp(), PROTOCOL.stamp())
        assert [seed.seed for seed in record.seeds] == sorted({s.seed for s in record.seeds})
        assert set(known_grades()) >= {record.sequence.hash}


def test_ladders_are_ranked_and_repeats_are_at_zero():
    from scipy.stats import spearmanr

    distance = {name: grade_of(record).distance for name, record in shipped().items()}
    ladders = [
        [f"fashion-rotated-{step}" for step in (5, 15, 30, 60)],
        [f"fashion-overlap-{share}" for share in (75, 50, 25, 0)],
        [f"fashion-corrupted-{severity}" for severity in (1, 3, 5)],
        ["fashion-repeat", "fashion-permuted-25", "fashion-permuted"],
        ["fashion-repeat", "fashion-relabelled-5"],
        ["digits-repeat", "digits-rotated-15", "digits-rotated-45"],
        [f"fashion-fewshot-rotated-{step}" for step in (5, 15, 30, 60)],
    ]
    for ladder in ladders:
        values = [distance[name].value for name in ladder]
        assert spearmanr(range(len(ladder)), values).statistic >= 0.95, ladder
    for name in ("digits-repeat", "fashion-repeat"):
        assert distance[name].low <= 0 <= distance[name].high


# Measuring


def sequence(scenario, **changes):
    made = TaskSequence(
        name="small",
        description="Words.",
        source="digits",
        scenario=scenario,
        network="mlp-32x2",
        train_per_class=40,
        test_per_class=10,
    )
    return replace(made, **changes)


def measured(made, seeds=(0, 1, 2), parts=2, at_once=99):
    from driftboard.suite.distance.measurement import measure
    from driftboard.suite.training.cohort import Setting

    setting = Setting(made, seeds, "test", None, "cpu")
    steps = []
    records = measure(setting, parts, at_once, lambda: steps.append(1))
    return records, len(steps)


@dataclass(frozen=True)
class TwiceThenTurned:
    """The same task twice, and then the images turned; no scenario of ours repeats a task."""

    tasks: ClassVar[int] = 3
    fresh_sets: ClassVar[int] = 1

    def recipes(self, view):
        first, turned = RotatedTo((0, 60)).recipes(view)
        return [first, first, turned]


def test_tasks_that_are_the_same_measure_zero_and_turned_ones_do_not():
    records, steps = measured(sequence(TwiceThenTurned()))
    record = merged(records)
    assert steps == 3  # one cohort, three tasks
    assert record.images == 200
    same, _, turned = all_pairs(record)
    assert abs(same.distance.value) < 0.05
    assert turned.distance.low > 1


def test_seeds_measured_together_are_what_each_is_alone():
    together, _ = measured(sequence(Rotated(2, 15)))
    (alone,), _ = measured(sequence(Rotated(2, 15)), seeds=(1,))
    assert_close(together[1], alone)


@pytest.mark.parametrize(("at_once", "cohorts"), [(1, 6), (4, 2)])
def test_learners_in_several_cohorts_are_what_they_are_in_one(at_once, cohorts):
    together, steps = measured(sequence(Rotated(2, 15)))
    apart, more_steps = measured(sequence(Rotated(2, 15)), at_once=at_once)
    assert (steps, more_steps) == (2, 2 * cohorts)
    for one, other in zip(together, apart, strict=True):
        assert_close(one, other)


def assert_close(one, other):
    (seed,), (same_seed,) = one.seeds, other.seeds
    assert seed.seed == same_seed.seed
    for block, same_block in zip(seed.blocks, same_seed.blocks, strict=True):
        assert block == pytest.approx(same_block, rel=1e-3, abs=1e-3)


def test_inner_products_are_those_of_trainings_on_the_parts(monkeypatch):
    """Every solution again, found one by one from what the engine was given."""
    import torch

    from driftboard.suite.distance import measurement

    calls = []
    original = measurement.train_task

    def noted(cohort, strategy, task, parameters, *rest):
        result = original(cohort, strategy, task, parameters, *rest)
        assert all(torch.equal(parameters[k], cohort.initial[k]) for k in parameters)
        moved = {k: (result.parameters[k] - cohort.initial[k]).double() for k in parameters}
        calls.append((cohort.train[task].images, moved))
        return result

    monkeypatch.setattr(measurement, "train_task", noted)
    (record, *_), _ = measured(sequence(Rotated(2, 15)))
    rows = [moved for _, moved in calls for _ in range(2)]
    vectors = [
        torch.cat([moved[f"hidden1.{p}"][part].flatten() for p in ("weight", "bias")])
        for moved, part in zip(rows, [0, 1, 0, 1], strict=True)
    ]
    stacked = torch.stack(vectors)
    expected = (stacked @ stacked.T).numpy()[np.triu_indices(4)]
    assert record.seeds[0].blocks[0] == pytest.approx(expected.tolist(), rel=1e-7, abs=1e-9)
    first, second = (images.flatten(2) for images, _ in calls)
    assert first.shape[1] == second.shape[1] == 200
    own = {bytes(row) for row in first[0].numpy()}
    assert own.isdisjoint(bytes(row) for row in first[1].numpy())


def test_three_parts_are_measured_as_two_are():
    """More parts, fewer images each, and the same distance; one seed then has an interval."""
    (two,), _ = measured(sequence(Rotated(2, 45)), seeds=(0,))
    (three,), steps = measured(sequence(Rotated(2, 45)), seeds=(0,), parts=3)
    assert steps == 2
    assert (three.parts, three.images) == (3, 400 // 3)
    assert three.grading == grading_in(3).stamp()
    assert len(three.seeds[0].blocks[0]) == 6 * 7 // 2
    grade = grade_of(three)
    assert math.isnan(grade_of(two).distance.low)
    assert grade.distance.low < grade_of(two).distance.value < grade.distance.high
    assert grade.note == "measured with 3 parts; one seed: the interval is over its parts only"


def test_few_shot_sequences_are_measured_with_all_images():
    records, _ = measured(sequence(FewShot(Rotated(2, 15), 3)))
    assert records[0].images == 200
    assert records[0].sequence.hash == sequence(FewShot(Rotated(2, 15), 3)).hash()


def test_too_few_images_are_recorded_as_such():
    (record,), _ = measured(sequence(Rotated(2, 15), train_per_class=1))
    assert "too few" in record.refusal
    assert record.seeds == ()
    (record,), _ = measured(sequence(Rotated(2, 15)), parts=41)
    assert record.refusal == (
        "task 1 has a class with fewer than 41 training images, too few to be trained on in 41 "
        "separate parts"
    )
    assert record.parts == 41


def test_seeds_of_which_unequal_numbers_are_left_over_are_trained_apart():
    """With an odd number of images of a class, what comes out even depends on the classes."""
    odd = sequence(Split(5), train_per_class=31)
    together, _ = measured(odd, seeds=(0, 1, 2, 3))
    assert len({record.images for record in together}) > 1
    for seed, record in enumerate(together):
        (alone,), _ = measured(odd, seeds=(seed,))
        assert record.images == alone.images
        assert_close(record, alone)


def request_for(results, parts, seed_count=None):
    """Return the request for grading a registered sequence."""
    from driftboard.suite.distance.measurement import Distances
    from driftboard.suite.runs.request import Request

    return Request(
        sequences=(registered()["digits-rotated-15"],),
        seed_count=seed_count,
        results=results,
        device="cpu",
        work=Distances(parts),
    )


def test_a_measurement_with_another_number_of_parts_is_not_gone_on_with(tmp_path, monkeypatch):
    from driftboard.suite.distance.measurement import Distances
    from driftboard.suite.runs import request as request_module
    from driftboard.suite.runs.cells import plan

    made = registered()["digits-rotated-15"]
    request = request_for(tmp_path, parts=4, seed_count=1)
    (job,) = plan(request)
    assert (job.payload, job.learners, job.steps) == (Distances(4), 4, made.scenario.tasks)
    folder, known = tmp_path / "grades" / made.name, shipped()["digits-rotated-15"]
    write_record(folder / "seed-0000.json", msgspec.structs.replace(known, seeds=known.seeds[:1]))
    with pytest.raises(
        RecordError, match=r"1 record of another number of parts, such as .*add --overwrite"
    ):
        plan(request)
    monkeypatch.setattr(request_module, "load_pool", None)  # not needed where nothing is left
    request = replace(request, work=Distances(2))
    assert plan(request) == []
    for copied in (known, msgspec.structs.replace(known, seeds=known.seeds[1:2])):
        write_record(folder / "seed-0000.json", copied)
        with pytest.raises(RecordError, match=r"1 record of another seed, such as .*seed-0000"):
            plan(request)


def test_no_seed_counts_twice_in_a_grade():
    known = shipped()["digits-rotated-15"]
    with pytest.raises(ValueError, match="a seed was measured twice"):
        msgspec.structs.replace(known, seeds=(*known.seeds, known.seeds[0]))


@pytest.mark.parametrize(
    ("room", "seeds", "note"),
    [
        (99, [(0, 1, 2, 3, 4)], ""),
        (20, [(0, 1, 2, 3, 4)], ""),
        (19, [(0, 1, 2, 3), (4,)], "20 learners do not fit into memory at once, trained 19"),
        (4, [(0,), (1,), (2,), (3,), (4,)], "20 learners do not fit"),
        (3, [(0,), (1,), (2,), (3,), (4,)], "20 learners do not fit"),
    ],
)
def test_a_grading_takes_no_more_learners_than_fit(room, seeds, note, tmp_path, monkeypatch):
    from driftboard.suite.runs import request
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.training.memory_plan import Stacking

    monkeypatch.setattr(request, "stacking_of", lambda *_: Stacking("vmap", room))
    told = []
    jobs = plan(request_for(tmp_path, parts=4), told.append)
    assert [job.seeds for job in jobs] == seeds
    assert {job.at_once for job in jobs} == {room}
    assert [line.startswith(f"digits-rotated-15: {note}") for line in told] == [True] * bool(note)


def test_a_grading_can_be_done_with_half_as_many_learners_at_a_time(tmp_path):
    from driftboard.suite.runs.cells import plan

    (planned,) = plan(request_for(tmp_path, parts=3, seed_count=2))
    job = replace(planned, at_once=99)
    assert job.together == 6
    halves = job.smaller()
    assert [(one.seeds, one.at_once) for one in halves] == [((0,), 3), ((1,), 3)]
    assert [one.effort for one in halves] == [job.effort / 2] * 2
    assert halves[0].smaller() == [replace(halves[0], at_once=2)]
    assert replace(job, at_once=1).smaller() == []


def test_a_grading_plans_for_what_a_learner_is_trained_on(tmp_path, monkeypatch):
    """One part of every task's images, for as many epochs more; nothing is tested."""
    from driftboard.suite.runs import request
    from driftboard.suite.runs.cells import plan
    from driftboard.suite.training.memory_plan import Stacking

    asked = []

    def noted(network, shape, trained, tested, training, device):
        head = network.module.head.out_features
        asked.append((tuple(shape), head, trained, tested, training, device))
        return Stacking("vmap", 99)

    monkeypatch.setattr(request, "stacking_of", noted)
    made = registered()["digits-rotated-15"]
    plan(request_for(tmp_path, parts=4))
    training = made.training_under(PROTOCOL)
    longer = replace(training, epochs=4 * training.epochs)
    # a quarter of 120 images of each of ten classes
    assert asked == [((1, 8, 8), 10, [300] * 5, (), longer, "cpu")]


def test_one_task_is_recorded_as_such():
    (record,), _ = measured(sequence(RotatedTo((0,))))
    assert record.refusal == "one task has no distance to another"


def test_diverged_trainings_are_recorded_as_such():
    training = replace(PROTOCOL.other_training, learning_rate=1e6)
    (record,), _ = measured(sequence(Rotated(2, 15), training=training))
    assert "diverged" in record.refusal


def test_measuring_again_finds_the_shipped_distance():
    (record, *others), _ = measured_shipped("digits-rotated-15")
    found = grade_of(merged([record, *others])).distance
    published = grade_of(shipped()["digits-rotated-15"]).distance
    assert published.low <= found.value <= published.high


def measured_shipped(name):
    from driftboard.suite.distance.measurement import measure
    from driftboard.suite.training.cohort import Setting

    made = registered()[name]
    setting = Setting(made, PROTOCOL.seeds_of(made.tier), "test", None, "cpu")
    return measure(setting, parts=2, at_once=99), None


def test_a_grade_is_plain_data_without_nan():
    estimate = Estimate(0.5, math.nan, math.nan, 1)
    grade = Grade("digits-split", "0" * 64, estimate, 0.9, None, False, "one seed")
    plain = plain_grade(grade)
    assert plain == {
        "distance": 0.5,
        "distance_low": None,
        "distance_high": None,
        "reliability": 0.9,
        "seeds": 1,
        "level": None,
        "crosses_cut_off": False,
        "note": "one seed",
    }
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain

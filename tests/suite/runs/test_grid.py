"""The grid: which cells are missing, which learners are trained together, which folders fit."""

from dataclasses import replace as changed
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from driftboard.suite.data import Pool
from driftboard.suite.errors import DataError, RecordError
from driftboard.suite.loading import load_strategy
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.records import MARKER, cell_path, read_record, write_record
from driftboard.suite.runs import request as request_module
from driftboard.suite.runs.cells import plan, survey
from driftboard.suite.runs.request import Request
from driftboard.suite.runs.results_folder import claim_folder
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.scenarios import Recipe
from driftboard.suite.training import memory_plan
from driftboard.suite.training.memory_plan import demand_of
from driftboard.suite.training.networks import build_network

QUICK = registered()["digits-overlap-50"]
CORE = registered()["fashion-overlap-50"]
CONVOLUTIONAL = registered()["cifar10-overlap-50"]
SGD, NOOP = load_strategy("sgd"), load_strategy("noop")

# One head unit, two tasks of 100 training and 50 test images of 4 x 4.
TRAINING = QUICK.training_under(PROTOCOL)
BYTES_PER_SEED = demand_of(
    build_network(QUICK.network, (1, 4, 4), 1),
    (1, 4, 4),
    (100, 100),
    (50, 50),
    TRAINING,
).total


def is_complete(request, sequence):
    return survey(changed(request, sequences=(sequence,))).rows == {sequence.name: []}


@pytest.fixture
def request_for(tmp_path):
    """Return a function that makes a request; ``changes`` replace its fields."""

    def make(**changes):
        request = Request(
            sequences=(QUICK,),
            sequence_files=(),
            strategies=(SGD, NOOP),
            seed_count=None,
            purpose="test",
            results=tmp_path / "results",
            data=None,
            device="cpu",
        )
        return changed(request, **changes)

    return make


@pytest.fixture
def write_cell(make_record, tmp_path):
    """Return a function that writes the record of one cell of the request."""

    def write(seed, loaded=SGD, sequence=QUICK, **changes):
        record = make_record(sequence.name, loaded.stamp.name, seed)
        record = replace(
            record,
            protocol=PROTOCOL.stamp(),
            sequence=replace(record.sequence, hash=sequence.hash()),
            strategy=loaded.stamp,
        )
        return write_record(tmp_path / "results", replace(record, **changes))

    return write


@pytest.fixture(scope="module")
def pool():
    images, labels = np.zeros((100, 1, 4, 4), np.uint8), np.zeros(100, np.int64)
    return Pool("made up", images, labels, images, labels)


@pytest.fixture(scope="module")
def recipes():
    units, active = np.arange(1), np.ones(1, dtype=bool)
    return [Recipe(np.arange(100), np.arange(50), units, active) for _ in range(2)]


def refusal(function, *arguments):
    """Return the one line with which a function refuses."""
    with pytest.raises(RecordError) as caught:
        function(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def missing_seeds(request, sequence, loaded):
    """Return what one row of cells lacks."""
    found = survey(changed(request, sequences=(sequence,), strategies=(loaded,)))
    return next((row.seeds for row in found.rows[sequence.name]), ())


def test_a_tier_decides_the_seeds(request_for):
    assert request_for().seeds(QUICK) == (0, 1, 2, 3, 4)
    assert request_for().seeds(CORE) == tuple(range(10))
    assert request_for(seed_count=3).seeds(CORE) == (0, 1, 2)
    assert request_for(seed_count=99).seeds(QUICK) == (0, 1, 2, 3, 4)
    assert request_for(purpose="validation").seeds(CORE) == (1000, 1001, 1002, 1003, 1004)
    assert request_for(purpose="validation", seed_count=1).seeds(QUICK) == (1000,)


def test_cells_are_counted_over_strategies_sequences_and_seeds(request_for):
    assert request_for().cell_count() == 2 * 5
    assert request_for(sequences=(QUICK, CORE)).cell_count() == 2 * (5 + 10)
    assert request_for(sequences=(QUICK, CORE), seed_count=2).cell_count() == 2 * (2 + 2)


# Missing seeds.


def test_without_records_every_seed_is_missing(request_for):
    assert missing_seeds(request_for(), QUICK, SGD) == (0, 1, 2, 3, 4)


def test_seeds_with_a_record_are_not_missing(request_for, write_cell):
    for seed in (3, 0):
        write_cell(seed)
    write_cell(1, NOOP)
    assert missing_seeds(request_for(), QUICK, SGD) == (1, 2, 4)
    assert missing_seeds(request_for(), QUICK, NOOP) == (0, 2, 3, 4)
    assert missing_seeds(request_for(seed_count=1), QUICK, SGD) == ()


def test_every_strategy_has_its_missing_seeds_in_order(request_for, write_cell):
    for seed in range(5):
        write_cell(seed, NOOP)
    write_cell(1)
    write_cell(3, NOOP).unlink()
    rows = survey(request_for()).rows[QUICK.name]
    assert [(row.strategy, row.seeds) for row in rows] == [("sgd", (0, 2, 3, 4)), ("noop", (3,))]


def test_sequence_is_complete_when_no_cell_is_missing(request_for, write_cell):
    for loaded in (SGD, NOOP):
        for seed in range(5):
            assert not is_complete(request_for(), QUICK)
            write_cell(seed, loaded)
    assert is_complete(request_for(), QUICK)
    assert not is_complete(request_for(), CORE)
    assert not is_complete(request_for(purpose="validation"), QUICK)


def test_complete_sequence_needs_no_data(request_for, write_cell, tmp_path):
    """Its jobs are none, and they are found without the data set, which is not there."""
    request = request_for(sequences=(CORE,), data=tmp_path / "empty", strategies=(SGD,))
    for seed in range(9):
        write_cell(seed, sequence=CORE)
    with pytest.raises(DataError):
        plan(request)
    write_cell(9, sequence=CORE)
    assert plan(request) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"protocol": replace(PROTOCOL.stamp(), version=1)}, "another protocol"),
        ({"protocol": replace(PROTOCOL.stamp(), hash="0" * 64)}, "another protocol"),
        ({"strategy": replace(SGD.stamp, source_hash="0" * 64)}, "version of the strategy"),
        ({"strategy": replace(SGD.stamp, parameters={"a": 1})}, "version of the strategy"),
        ({"split": "validation"}, "another split"),
    ],
)
def test_record_of_another_kind_is_refused(request_for, write_cell, change, word):
    path = write_cell(2, **change)
    message = refusal(missing_seeds, request_for(), QUICK, SGD)
    assert word in message
    assert str(path) in message
    assert "--out" in message


def test_a_copied_record_is_no_record_of_the_seed_that_its_file_names(request_for, write_cell):
    path = write_cell(0)
    copied = path.with_name("seed-0001.json")
    copied.write_bytes(path.read_bytes())
    message = refusal(missing_seeds, request_for(), QUICK, SGD)
    assert f"holds 1 record of another seed, such as {copied}; add --overwrite" in message
    assert missing_seeds(request_for(overwrite=True), QUICK, SGD) == (1, 2, 3, 4)


def test_record_of_another_version_of_the_sequence_is_refused(request_for, write_cell):
    write_cell(0, sequence=changed(QUICK, train_per_class=7))
    assert "version of the sequence" in refusal(missing_seeds, request_for(), QUICK, SGD)
    reworded = changed(QUICK, description="New words.")
    write_cell(0)
    assert missing_seeds(request_for(), reworded, SGD) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:100], lambda content: content.replace(b'"seed": 1', b'"seed": 3')],
    ids=["cut", "a digit"],
)
def test_broken_record_is_refused_and_named(request_for, write_cell, damage):
    path = write_cell(1)
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    message = refusal(missing_seeds, request_for(), QUICK, SGD)
    assert f"holds 1 record that this version cannot read, such as {path}" in message
    assert "--overwrite" in message


def test_all_records_of_something_else_are_counted_before_anything_is_trained(
    request_for, write_cell
):
    """Also those of a sequence that comes after one that lacks cells."""
    other = replace(NOOP.stamp, source_hash="0" * 64)
    for seed in (0, 1, 4):
        write_cell(seed, NOOP, sequence=CORE, strategy=other)
    write_cell(2, sequence=QUICK, protocol=replace(PROTOCOL.stamp(), version=1))
    broken = write_cell(3, sequence=CORE)
    broken.write_text("{")
    request = request_for(sequences=(QUICK, CORE))
    first = cell_path(request.results, QUICK.name, "sgd", 2)
    assert refusal(survey, request) == (
        f"{request.results} holds 1 record of another protocol, 1 record that this version "
        "cannot read, 3 records of another version of the strategy noop, such as "
        f"{first}; add --overwrite (in Python overwrite=True) to measure them again, or choose "
        "another --out"
    )


def test_what_is_overwritten_is_what_is_of_something_else(request_for, write_cell, jobs_of):
    kept = [write_cell(0), write_cell(1)]
    old = write_cell(2, strategy=replace(SGD.stamp, source_hash="0" * 64))
    content = {path: path.read_bytes() for path in (*kept, old)}
    request = request_for(strategies=(SGD,), overwrite=True)
    (job,) = jobs_of(request, QUICK)
    assert (job.seeds, job.wanted) == ((0, 1, 2, 3, 4), (2, 3, 4))
    assert {path: path.read_bytes() for path in (*kept, old)} == content  # until there are new ones
    made = [read_record(kept[0])] * 5
    job.keep([replace(one, seed=seed, memory_bytes=(7, 7)) for seed, one in enumerate(made)])
    assert {path: path.read_bytes() for path in kept} == {path: content[path] for path in kept}
    assert [read_record(path).memory_bytes for path in (*kept, old)][2] == (7, 7)
    assert missing_seeds(request_for(), QUICK, SGD) == ()


# Cohorts and jobs.


@pytest.fixture
def jobs_of(pool, recipes, monkeypatch):
    """Return a function that plans one sequence, as if its data were the made-up ones."""
    monkeypatch.setattr(request_module, "load_pool", lambda *_: pool)
    monkeypatch.setattr(
        request_module, "cached_splits", lambda _, __, ___, seeds, ____: [recipes] * len(seeds)
    )
    return lambda request, sequence: plan(changed(request, sequences=(sequence,)))


@pytest.fixture
def cohorts(jobs_of):
    """Return a function that finds the seeds of every job of one strategy with nothing done."""

    def cohorts(request, sequence):
        fresh = changed(request, strategies=(NOOP,), results=request.results / "fresh")
        return [job.seeds for job in jobs_of(fresh, sequence)]

    return cohorts


def test_small_cohort_holds_all_seeds(request_for, cohorts):
    assert cohorts(request_for(), QUICK) == [(0, 1, 2, 3, 4)]
    assert cohorts(request_for(seed_count=2), QUICK) == [(0, 1)]


@pytest.mark.parametrize(
    ("limit", "groups"),
    [
        (5 * BYTES_PER_SEED, [(0, 1, 2, 3, 4)]),
        (5 * BYTES_PER_SEED - 1, [(0, 1, 2, 3), (4,)]),
        (2 * BYTES_PER_SEED, [(0, 1), (2, 3), (4,)]),
        (2 * BYTES_PER_SEED - 1, [(0,), (1,), (2,), (3,), (4,)]),
        (1, [(0,), (1,), (2,), (3,), (4,)]),
    ],
)
def test_cohorts_are_cut_to_the_bytes_allowed(request_for, cohorts, monkeypatch, limit, groups):
    monkeypatch.setitem(memory_plan.COHORT_BYTES, "cpu", limit)
    assert cohorts(request_for(), QUICK) == groups
    assert cohorts(request_for(device="cuda"), QUICK) == [(0, 1, 2, 3, 4)]


def test_only_seeds_of_equally_many_training_images_are_trained_together(
    request_for, cohorts, recipes, monkeypatch
):
    sizes = [100, 90, 100, 80, 90]
    splits = [[changed(one, train=one.train[:size]) for one in recipes] for size in sizes]
    monkeypatch.setattr(request_module, "cached_splits", lambda *_: splits)
    assert cohorts(request_for(), QUICK) == [(0, 2), (1, 4), (3,)]


def test_a_plan_says_how_many_images_are_left_out(request_for, jobs_of, pool, recipes, monkeypatch):
    labels = np.repeat([0, 1], [70, 30])
    uneven = Pool("made up", pool.train_images, labels, pool.test_images, labels, ("a", "b"))
    monkeypatch.setattr(request_module, "load_pool", lambda *_: uneven)
    all_images = changed(QUICK, name="own", train_per_class=None)
    for sequence, expected in (
        (
            all_images,
            ["own: 30 of 70 training images a class are used because class b has 30; "
             "balance=False keeps all"],
        ),
        (changed(all_images, balance=False), []),
        (QUICK, []),
    ):  # fmt: skip
        lines = []
        plan(changed(request_for(), sequences=(sequence,)), lines.append)
        assert lines == expected


def test_a_plan_says_in_a_line_what_does_not_fit(request_for, monkeypatch):
    request, told = request_for(), []
    plan(request, told.append)
    assert told == []
    monkeypatch.setitem(memory_plan.COHORT_BYTES, "cpu", 1)
    assert {job.seeds for job in plan(request, told.append)} == {(seed,) for seed in range(5)}
    line = "digits-overlap-50: 5 seeds do not fit into memory at once, trained 1 at a time"
    assert told == [line]


def test_convolutions_are_trained_one_by_one_on_a_cpu(request_for, cohorts):
    seeds = tuple(range(10))
    assert cohorts(request_for(), CONVOLUTIONAL) == [(seed,) for seed in seeds]
    assert cohorts(request_for(device="cuda"), CONVOLUTIONAL) == [seeds]


def test_cohorts_do_not_depend_on_what_is_done(
    request_for, write_cell, jobs_of, cohorts, monkeypatch
):
    monkeypatch.setitem(memory_plan.COHORT_BYTES, "cpu", 2 * BYTES_PER_SEED)
    request = request_for()
    before = jobs_of(request, QUICK)
    groups = [(0, 1), (2, 3), (4,)]
    assert [(job.strategy, job.seeds) for job in before] == [
        (name, group) for group in groups for name in ("sgd", "noop")
    ]
    for seed in (0, 1, 3):
        write_cell(seed)
    assert cohorts(request, QUICK) == groups
    after = jobs_of(request, QUICK)
    # Where a part of a cohort is done it is trained whole again.
    left = [job for job in before if (job.strategy, job.seeds) != ("sgd", (0, 1))]
    assert [changed(job, wanted=()) for job in after] == [changed(job, wanted=()) for job in left]
    assert {job.wanted for job in after if job.strategy == "sgd"} == {(2, 4)}


def test_job_names_all_that_a_process_needs(request_for, jobs_of, tmp_path):
    (tmp_path / "own.py").write_text("import helpers\n")
    (tmp_path / "helpers.py").write_text("")
    request = request_for(
        sequence_files=(tmp_path / "own.py",),
        strategies=(load_strategy("ewc,strength=2"),),
        seed_count=2,
        data=Path("data"),
    )
    (job,) = jobs_of(request, QUICK)
    (source,) = job.sequence_sources
    assert (job.sequence, source.names) == (QUICK.name, ("helpers.py", "own.py"))
    assert (job.strategy, job.source) == ("ewc,strength=2", None)
    assert (job.seeds, job.wanted) == ((0, 1), (0, 1))
    assert (job.seeds, job.tasks) == ((0, 1), QUICK.scenario.tasks)
    assert (job.purpose, job.device) == ("test", "cpu")
    assert (job.data, job.results) == (Path("data"), request.results)


def test_a_job_can_be_done_in_halves(request_for, jobs_of):
    (job,) = jobs_of(request_for(strategies=(SGD,)), QUICK)
    assert job.together == 5
    pieces = job.smaller()
    assert [piece.seeds for piece in pieces] == [(0, 1, 2), (3, 4)]
    assert [piece.effort for piece in pieces] == [0.6 * job.effort, 0.4 * job.effort]
    for piece in pieces:
        assert piece.at_once == 3
        assert changed(piece, seeds=job.seeds, at_once=job.at_once, effort=job.effort) == job
    assert [piece.seeds for piece in pieces[1].smaller()] == [(3,), (4,)]
    assert pieces[1].smaller()[0].smaller() == []


def test_nothing_is_left_when_all_is_done(request_for, write_cell, jobs_of):
    for seed in range(5):
        write_cell(seed)
    assert jobs_of(request_for(strategies=(SGD,)), QUICK) == []


# The mark of a results folder.


def test_folder_is_marked_with_the_protocol(tmp_path):
    results = tmp_path / "new" / "results"
    claim_folder(results, "test")
    stamp = msgspec.json.decode((results / MARKER).read_bytes())
    assert stamp == {"name": "driftboard", "version": 2, "hash": PROTOCOL.stamp().hash}
    before = (results / MARKER).stat().st_mtime_ns
    claim_folder(results, "validation")
    assert (results / MARKER).stat().st_mtime_ns == before


@pytest.mark.parametrize("change", [{"version": 1}, {"hash": "0" * 64}, {"name": "other"}])
def test_folder_of_another_protocol_is_refused_and_left_alone(tmp_path, change):
    marker = tmp_path / MARKER
    content = msgspec.json.encode(replace(PROTOCOL.stamp(), **change))
    marker.write_bytes(content)
    message = refusal(claim_folder, tmp_path, "test")
    assert f"{tmp_path} holds results of protocol" in message
    assert "choose another --out" in message
    assert marker.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"name": "\xff"}', b"[" * 200_000, b"\x00\xff"]
)
def test_unreadable_mark_is_refused(tmp_path, content):
    (tmp_path / MARKER).write_bytes(content)
    assert "is not readable" in refusal(claim_folder, tmp_path, "test")


def test_a_folder_is_marked_anew_where_all_that_it_holds_is_measured_again(tmp_path, make_record):
    marker = tmp_path / MARKER
    marker.write_bytes(msgspec.json.encode(replace(PROTOCOL.stamp(), version=1)))
    paths = [write_record(tmp_path, make_record(seed=seed)) for seed in (0, 1)]
    assert "choose another --out" in refusal(claim_folder, tmp_path, "test", paths[:1])
    assert "choose another --out" in refusal(claim_folder, tmp_path, "test", [])
    claim_folder(tmp_path, "test", paths)
    assert msgspec.json.decode(marker.read_bytes())["version"] == PROTOCOL.version


def test_folder_in_the_place_of_the_mark_is_refused(tmp_path):
    (tmp_path / MARKER).mkdir()
    assert "is not readable" in refusal(claim_folder, tmp_path, "test")


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "results").write_text("")
    assert "cannot write" in refusal(claim_folder, tmp_path / "results", "test")


def test_folder_of_the_other_split_is_refused_before_anything_is_trained(request_for, write_cell):
    results = request_for().results
    write_cell(0)
    claim_folder(results, "test")
    message = refusal(claim_folder, results, "validation")
    assert str(cell_path(results, QUICK.name, "sgd", 0)) in message

"""Results and the images that they are of: compared before anything is trained or shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from driftboard.suite.data import Pool
from driftboard.suite.data.store import write_store
from driftboard.suite.distance.measurement import Distances
from driftboard.suite.errors import DataError
from driftboard.suite.loading import load_strategy
from driftboard.suite.records import record_paths
from driftboard.suite.runs import backend as backend_module
from driftboard.suite.runs.backend import Backend
from driftboard.suite.runs.request import check_data
from driftboard.suite.sequences import Permuted, TaskSequence
from driftboard.suite.sweeps import Sweep

FILE = """
from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Permuted, TaskSequence
leaves = TaskSequence("leaves", "", "folder:leaves", Permuted(2, 0.5), "mlp-4x1",
                      training=Training(1, 10, 0.05, minimum_steps=2))
"""


def pool(seed):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 10)
    images = random.integers(0, 256, (2, 30, 1, 4, 4), dtype=np.uint8)
    return Pool("leaves (PNG)", images[0], labels, images[1], labels)


@pytest.fixture
def request_of(requests_on):
    """Return a function that makes a request on images of a user's."""
    strategies = (load_strategy("sgd"),)
    return requests_on(FILE, "leaves", "leaves", pool(0), strategies=strategies, seed_count=1)


WORKS = {
    "run": {},
    "tune": {"purpose": "validation", "seed_count": None},
    "sweep": {"work": Sweep("fraction", (0.0, 1.0)), "strategies": ()},
    "grade": {"work": Distances(2), "strategies": ()},
}


def measured(request):
    return sorted(
        path for path in request.results.rglob("*.json") if path.name != "driftboard.json"
    )


def run(request):
    lines = []
    failures = Backend(workers=1).run_jobs(request, "a test", lambda event: lines.append(event))
    assert failures == []
    return [event.line for event in lines if hasattr(event, "line")]


@pytest.mark.parametrize("name", WORKS)
def test_new_images_under_a_name_that_has_results_are_refused(
    name, request_of, tmp_path, monkeypatch
):
    request = request_of(**WORKS[name])
    run(request)
    before = {path: path.read_bytes() for path in measured(request)}
    assert before
    run(request)  # the same images go on
    write_store(tmp_path / "data/leaves.npz", pool(1))
    monkeypatch.setattr(backend_module.Backend, "warm_up", None)  # no worker is started
    for other in ({}, {"seed_count": 2}):
        with pytest.raises(DataError) as caught:
            run(replace(request, **(other if name != "tune" else {})))
        message = str(caught.value)
        assert len(message.splitlines()) == 1
        first, last = pool(0).fingerprint[:12], pool(1).fingerprint[:12]
        assert f"leaves (PNG) ({first}), and now leaves (PNG) ({last})" in message
        assert "choose another --out" in message
    assert {path: path.read_bytes() for path in measured(request)} == before


@pytest.mark.parametrize("name", WORKS)
def test_what_is_of_other_images_is_measured_again_where_that_is_asked_for(
    name, request_of, tmp_path
):
    request = request_of(**WORKS[name])
    run(request)
    before = {path: path.read_bytes() for path in measured(request)}
    write_store(tmp_path / "data/leaves.npz", pool(1))
    with pytest.raises(DataError, match="add --overwrite"):
        run(request)
    again = replace(request, overwrite=True)
    (line,) = [line for line in run(again) if line.startswith("measured again")]
    count = len(before)
    assert line.startswith(f"measured again: {count} record{'s'[: count != 1]} of other images")
    after = {path: path.read_bytes() for path in measured(request)}
    assert after.keys() == before.keys()
    assert not [path for path in before if before[path] == after[path]]
    assert run(request)[-1].endswith("all there already")


def test_records_are_not_left_on_other_images_beside_those_measured_again(request_of, tmp_path):
    run(request_of(seed_count=2))
    write_store(tmp_path / "data/leaves.npz", pool(1))
    with pytest.raises(DataError, match=r"ask for all that .* holds, or choose another --out"):
        run(request_of(overwrite=True))
    run(request_of(seed_count=2, overwrite=True))


def test_what_another_command_has_measured_waits_for_that_command(request_of, tmp_path):
    grades = request_of(**WORKS["grade"])
    run(request_of())
    run(grades)
    write_store(tmp_path / "data/leaves.npz", pool(1))
    lines = run(request_of(overwrite=True))
    assert [line for line in lines if line.endswith("measure it again as well")]
    with pytest.raises(DataError, match="grades/leaves"):
        run(request_of())
    run(replace(grades, overwrite=True))
    assert run(request_of())[-1].endswith("all there already")


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("later", WORKS)
def test_what_was_measured_in_another_way_counts_as_well(name, later, request_of, tmp_path):
    """A board shows the grades beside the records of its folder."""
    run(request_of(**WORKS[name]))
    write_store(tmp_path / "data/leaves.npz", pool(1))
    with pytest.raises(DataError, match="was measured on other images"):
        check_data(request_of(**WORKS[later]))


def test_records_of_other_strategies_and_sequences(request_of, tmp_path):
    run(request_of(strategies=(load_strategy("frozen"),)))
    other = TaskSequence("other", "", "folder:leaves", Permuted(2, 0.5), "mlp-4x1")
    elsewhere = replace(other, source="digits")
    for sequence in (other, elsewhere):
        assert check_data(request_of(sequences=(sequence,))) == []
    write_store(tmp_path / "data/leaves.npz", pool(1))
    for request in (request_of(), request_of(sequences=(other,))):
        with pytest.raises(DataError, match="frozen"):
            check_data(request)
    # Another variant under another title may stand beside it, as for another sequence.
    write_store(tmp_path / "data/leaves.npz", replace(pool(1), title="leaves (JPEG)"))
    with pytest.raises(DataError, match="frozen"):
        check_data(request_of())
    for sequence in (other, elsewhere):
        assert check_data(request_of(sequences=(sequence,))) == []


def test_a_broken_file_is_left_to_who_needs_it(request_of, tmp_path):
    request = request_of()
    run(request)
    (path,) = record_paths(request.results)
    path.write_bytes(path.read_bytes()[:50])
    (request.results / "grades").mkdir()
    (request.results / "grades/leaves.json").write_text(json.dumps({"sequence": 5}))
    assert check_data(request) == []


def test_a_complete_folder_without_its_images_is_shown_and_a_line_says_so(request_of, tmp_path):
    request = request_of()
    run(request)
    Path(tmp_path / "data/leaves.npz").unlink()
    lines = run(request)
    assert lines[0].startswith("results on folder:leaves are not compared with its images: ")
    assert lines[1].endswith("all there already")


def test_images_in_a_plain_folder_are_compared_too(request_of, tmp_path):
    from PIL import Image

    def write(seed):
        made = pool(seed)
        for split, images, labels in zip(
            ("train", "test"), (made.train_images, made.test_images), [made.train_labels] * 2,
            strict=True,
        ):  # fmt: skip
            for row, (image, label) in enumerate(zip(images, labels, strict=True)):
                path = tmp_path / f"data/leaves/{split}/{label}/{row}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image[0]).save(path)

    (tmp_path / "data/leaves.npz").unlink()
    write(0)
    request = request_of()
    run(request)
    write(1)
    with pytest.raises(DataError, match="was measured on other images"):
        run(request)


def test_linear_sequences_have_no_images(request_of):
    from driftboard.suite.sequences.registry import registered

    assert check_data(request_of(sequences=(registered()["linear-many-50"],))) == []

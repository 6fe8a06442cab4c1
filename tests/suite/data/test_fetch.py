"""Downloads, some of which fail, and the commands on the data folder."""

import gzip
import hashlib
import json
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.error import URLError

import pytest
from made_up_data import (
    SMALL_MNIST,
    assert_one_line,
    make_pool,
    state_of,
    tree,
    write_idx,
    write_zip,
)
from typer.testing import CliRunner

from driftboard.suite.cli.data import app
from driftboard.suite.data import SOURCES, load_pool
from driftboard.suite.data import folder as data_folder
from driftboard.suite.data.folder import fetch, import_images
from driftboard.suite.data.store import write_store
from driftboard.suite.errors import DataError

# Fetch


def set_fetch(monkeypatch, function):
    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
    monkeypatch.setattr(data_folder, "download", lambda _, place: function(place))


def test_fetched_files_are_checked_and_become_a_store(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw"))
    entry = fetch("mnist", folder)
    assert (entry.state, entry.path) == ("present", str(folder / "mnist.npz"))
    assert load_pool("mnist", folder).classes == 10
    assert [path.name for path in folder.iterdir()] == ["mnist.npz"]
    set_fetch(monkeypatch, lambda place: pytest.fail("fetched"))
    assert fetch("mnist", folder) == entry


def test_what_is_there_is_not_fetched_again(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: pytest.fail("fetched"))
    write_idx(folder / "MNIST/raw")
    assert fetch("mnist", folder).state == "present"
    assert fetch("digits", folder).state == "present"


@pytest.mark.parametrize(
    "failure",
    [
        URLError(OSError(101, "Network is unreachable")),
        RuntimeError("Error downloading\ntrain-images"),
        TimeoutError("timed out"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(failure, folder, monkeypatch):
    def fail(place):
        (place / "MNIST").mkdir()
        (place / "MNIST/half").write_bytes(b"half")
        raise failure

    set_fetch(monkeypatch, fail)
    with pytest.raises(DataError) as error:
        fetch("mnist", folder)
    assert_one_line(
        error,
        "cannot download MNIST",
        "train-images-idx3-ubyte",
        f"into {folder / 'MNIST/raw'} by hand",
    )
    assert list(folder.iterdir()) == []


def test_an_incomplete_download_is_refused(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw", count=9))
    with pytest.raises(DataError, match="9 training images instead of 10"):
        fetch("mnist", folder)
    assert list(folder.iterdir()) == []


def test_a_download_that_brings_nothing_is_refused(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: None)
    with pytest.raises(DataError) as error:
        fetch("mnist", folder)
    assert_one_line(error, "train-images-idx3-ubyte")
    assert list(folder.iterdir()) == []


def test_a_variant_is_not_taken_for_the_original(folder, monkeypatch):
    set_fetch(monkeypatch, lambda place: write_idx(place / "MNIST/raw"))
    variant = make_pool(range(10), range(10), (1, 28, 28), title="MNIST (PNG)")
    write_store(folder / "mnist.npz", variant)
    assert fetch("mnist", folder).title == "MNIST"
    assert load_pool("mnist", folder).fingerprint != variant.fingerprint


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


def test_a_download_shows_its_progress_on_stderr(folder, tmp_path, monkeypatch, capsys):
    from torchvision import datasets

    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
    site = tmp_path / "site"
    write_idx(site)
    resources = []
    for path in sorted(site.iterdir()):
        content = gzip.compress(path.read_bytes(), mtime=0)
        path.with_name(f"{path.name}.gz").write_bytes(content)
        resources.append((f"{path.name}.gz", hashlib.md5(content).hexdigest()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        assert fetch("mnist", folder).state == "present"
        server.shutdown()
    written = capsys.readouterr()
    assert "100%" in written.err
    assert written.out == ""
    assert load_pool("mnist", folder).title == "MNIST"


def test_what_cannot_be_fetched_says_what_to_do(folder):
    with pytest.raises(DataError) as error:
        fetch("cub200", folder)
    assert_one_line(error, "cannot be downloaded", "driftboard data import cub200 FOLDER")
    with pytest.raises(DataError, match="did you mean mnist"):
        fetch("mnits", folder)


# Command line


def test_list_as_json(folder, tmp_path):
    import_images("own", write_zip(tmp_path / "x.zip", tree()), folder)
    result = CliRunner().invoke(app, ["list", "--json", "--data", str(folder)])
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert content["folder"] == str(folder)
    assert content["sources"][-1] == {
        "name": "folder:own",
        "title": "own (PNG)",
        "state": "present",
        "reason": "",
        "classes": 2,
        "train_count": 4,
        "test_count": 2,
        "path": str(folder / "own.npz"),
        "next_step": "",
    }
    assert len(content["sources"]) == len(SOURCES) + 1


GROUPED = replace(
    make_pool([0, 0, 0, 1, 1, 2], [0, 1, 1, 2], (1, 2, 3), title="signs"),
    class_names=("Greek/a", "Latin/b", "Greek/c"),
)


def test_show_names_classes_groups_and_counts(folder, monkeypatch):
    write_store(folder / "signs.npz", GROUPED)
    result = CliRunner().invoke(app, ["show", "folder:signs", "--data", str(folder)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "folder:signs: signs",
        "  images: 3x2, grey",
        "  classes: 3: Greek/a, Latin/b, Greek/c",
        "  groups: 2: Greek 2, Latin 1 classes",
        "  training images: 6, 1 to 3 of each class",
        "  test images: 4, 1 to 2 of each class",
        f"  fingerprint: {GROUPED.fingerprint}",
    ]


def test_show_as_json(folder):
    write_store(folder / "signs.npz", GROUPED)
    result = CliRunner().invoke(app, ["show", "folder:signs", "--json", "--data", str(folder)])
    assert json.loads(result.stdout) == {
        "name": "folder:signs",
        "title": "signs",
        "fingerprint": GROUPED.fingerprint,
        **{"channels": 1, "height": 2, "width": 3},
        "classes": ["Greek/a", "Latin/b", "Greek/c"],
        "groups": {"Greek": 2, "Latin": 1},
        "training": [3, 2, 1],
        "test": [1, 2, 1],
    }


def test_show_of_a_data_set_without_groups_or_names():
    result = CliRunner().invoke(app, ["show", "digits"])
    assert "  classes: 10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" in result.stdout
    assert "  test images: 500, 50 of each class\n" in result.stdout
    assert "groups" not in result.stdout


def test_the_list_has_the_numbers_of_classes_and_the_title_of_what_was_converted(folder):
    write_idx(folder / "MNIST/raw")
    result = CliRunner().invoke(app, ["list", "--json", "--data", str(folder)])
    classes = {entry["name"]: entry["classes"] for entry in json.loads(result.stdout)["sources"]}
    assert classes == {name: source.classes for name, source in SOURCES.items()}


def test_a_title_that_tells_other_files_is_shown_once_they_are_converted(folder, monkeypatch):
    other = replace(SMALL_MNIST, digests=SOURCES["mnist"].digests)
    monkeypatch.setitem(SOURCES, "mnist", other)
    monkeypatch.setattr(data_folder, "download", lambda *_: pytest.fail("fetched"))
    write_idx(folder / "MNIST/raw")
    assert fetch("mnist", folder).title == "MNIST (other files)"
    assert state_of(folder, "mnist").title == "MNIST (other files)"
    assert fetch("mnist", folder).title == "MNIST (other files)"  # and is not downloaded


def test_files_that_were_converted_before_checksums_were_known_are_converted_again(
    folder, monkeypatch
):
    monkeypatch.setitem(SOURCES, "mnist", SMALL_MNIST)
    write_idx(folder / "MNIST/raw")
    assert fetch("mnist", folder).title == "MNIST"
    other = replace(SMALL_MNIST, digests={"t10k-labels-idx1-ubyte": ""})
    monkeypatch.setitem(SOURCES, "mnist", other)
    assert fetch("mnist", folder).title == "MNIST (other files)"


def test_no_command_lists(folder, monkeypatch):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(folder))
    monkeypatch.setenv("COLUMNS", "120")
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert f"data folder: {folder}" in result.stdout
    assert "driftboard data fetch fashion-mnist" in result.stdout
    assert "1,297" in result.stdout


def test_import_command_says_what_came(folder, tmp_path):
    source_path = write_zip(tmp_path / "x.zip", tree())
    result = CliRunner().invoke(app, ["import", "own", str(source_path), "--data", str(folder)])
    assert result.exit_code == 0
    assert result.stdout == (
        f"folder:own: own (PNG), 4 training and 2 test images in {folder / 'own.npz'}\n"
        "  2 classes (a, b) of 2 training images and 1 test image each\n"
    )


def test_commands_leave_errors_to_the_caller(folder):
    result = CliRunner().invoke(app, ["import", "own", str(folder / "gone"), "--data", str(folder)])
    assert isinstance(result.exception, DataError)
    result = CliRunner().invoke(app, ["fetch", "cub200", "--data", str(folder)])
    assert isinstance(result.exception, DataError)

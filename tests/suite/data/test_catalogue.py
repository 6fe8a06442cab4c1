"""The catalogue: names, and what is said where there is no such data set or it is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from driftboard.suite.data import SOURCES, find_source, load_pool
from driftboard.suite.errors import DataError
from driftboard.suite.places import find_data_folder


def assert_one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert "Traceback" not in message
    for part in parts:
        assert part in message


def test_unknown_name_offers_the_nearest():
    with pytest.raises(DataError) as error:
        load_pool("fashion_mnist", Path("/nowhere"))
    assert_one_line(error, "'fashion_mnist'", "did you mean fashion-mnist")


def test_name_like_no_other_lists_all():
    with pytest.raises(DataError) as error:
        find_source("zzz")
    assert_one_line(error, *SOURCES)


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "A", "-x", "a\n", "x" * 65])
def test_own_images_need_a_plain_name(name, tmp_path):
    with pytest.raises(DataError, match="cannot name a data set") as error:
        load_pool(f"folder:{name}", tmp_path)
    assert_one_line(error)


def test_data_folder_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(tmp_path))
    assert find_data_folder() == tmp_path
    monkeypatch.setenv("DRIFTBOARD_DATA", "")
    assert find_data_folder().name == "driftboard"


def test_load_pool_without_a_folder_looks_in_the_default_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DRIFTBOARD_DATA", str(tmp_path))
    with pytest.raises(DataError, match="MNIST is not in") as error:
        load_pool("mnist", None)
    assert_one_line(error, str(tmp_path))


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "digits"])
def test_missing_data_says_where_and_what_to_do(name, tmp_path):
    source = SOURCES[name]
    with pytest.raises(DataError) as error:
        load_pool(name, tmp_path)
    first = tmp_path / source.subfolder / next(iter(source.files))
    assert_one_line(error, str(first), "is missing", "--data", "DRIFTBOARD_DATA")
    if not source.torchvision:
        what = "FILE" if name == "tiny-imagenet" else "FOLDER"
        assert_one_line(error, f"driftboard data import {name} {what}")
    else:
        assert_one_line(error, f"driftboard data fetch {name}")


def test_importing_the_module_loads_neither_torch_nor_other_heavy_packages():
    code = (
        "import sys, driftboard.suite.data, driftboard.suite.data.folder, "
        "driftboard.suite.cli.data\n"
        "heavy = ('torch', 'torchvision', 'sklearn', 'PIL', 'pandas')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

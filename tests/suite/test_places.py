"""Where data and caches lie: named, below the home folder, or nowhere without one."""

from pathlib import Path

import pytest

from driftboard.suite import places
from driftboard.suite.data import load_pool
from driftboard.suite.errors import DataError
from driftboard.suite.places import cache_folder, find_data_folder


@pytest.fixture
def homeless(monkeypatch):
    """Be a user whom the system has no entry of."""

    def absent(*_):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("DRIFTBOARD_DATA", raising=False)
    monkeypatch.setattr(places.platformdirs, "user_data_path", absent)
    monkeypatch.setattr(places.platformdirs, "user_cache_path", absent)
    monkeypatch.setattr(Path, "home", absent)
    monkeypatch.setattr(Path, "expanduser", lambda path: absent() if "~" in str(path) else path)


def test_a_folder_may_be_named_from_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DRIFTBOARD_DATA", "~/sets")
    assert find_data_folder() == find_data_folder(Path("~/sets")) == tmp_path / "sets"
    assert find_data_folder(tmp_path) == tmp_path


def test_without_a_home_a_line_says_what_to_name(homeless, tmp_path):
    words = "there is no home folder to find data in; name the data folder from the root, with "
    for named in (None, Path("~/sets")):
        with pytest.raises(DataError, match=words):
            find_data_folder(named)
    assert find_data_folder(tmp_path) == tmp_path
    assert cache_folder() is None


def test_without_a_home_a_folder_that_is_named_is_listed(homeless, call, tmp_path):
    code, out, errors = call("data", "list", "--data", tmp_path)
    assert (code, errors) == (0, "")
    assert f"  driftboard data fetch mnist --data {tmp_path}" in out.splitlines()


def test_what_needs_no_data_folder_needs_no_home(homeless):
    assert load_pool("digits", None).classes == 10
    with pytest.raises(DataError, match="there is no home folder"):
        load_pool("mnist", None)


def test_without_a_home_splits_are_made_each_time(homeless):
    from driftboard.suite.protocol import PROTOCOL
    from driftboard.suite.sequences.registry import registered
    from driftboard.suite.sequences.splits import cached_splits

    chosen, pool = registered()["digits-overlap-50"], load_pool("digits", None)
    first, second = (cached_splits(chosen, pool, PROTOCOL, [0], "test") for _ in range(2))
    assert [len(task.train) for task in first[0]] == [len(task.train) for task in second[0]]


def test_a_file_is_no_data_folder(tmp_path, call, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    for command in ("data list", "data fetch mnist", "run --sequence mnist-split-van-de-ven"):
        code, _, errors = call(*command.split(), "--data", file)
        assert code == 1
        assert errors.splitlines()[-1] == (
            f"driftboard: {file} is a file; name the folder that has the data sets, with --data or "
            "DRIFTBOARD_DATA"
        )
